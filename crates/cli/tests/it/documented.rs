//! Every command that the documents show is run, here or by `./test`.
//!
//! A fenced block that is marked `sh` is one script. It runs in an empty folder, with `evenkeel` on the path, and every command
//! of it must end well.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Blocks that are too large to be run here, and the words of `./test` or `.ci/run` that show who runs them.
const RUN_ELSEWHERE: [(&str, &str, &str); 2] = [
    ("./test", ".ci/run", "./test"),
    ("cargo run --release -- demo", "test", "--release -- demo"),
];

/// A block of shell commands in a document.
struct Script {
    document: PathBuf,
    commands: String,
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// A page whose commands need a machine on which something is wrong: `oncall` runs them.
const RUN_ON_A_STAGE: &str = "docs/ONCALL.md";

/// All `sh` blocks of the README and of docs/ that need nothing.
fn scripts() -> Vec<Script> {
    let mut documents = vec![repository().join("README.md")];
    collect(&repository().join("docs"), &mut documents);
    documents.retain(|document| !document.ends_with(RUN_ON_A_STAGE));
    let scripts = documents.into_iter().flat_map(|document| {
        let text = fs::read_to_string(&document).unwrap();
        blocks(&text)
            .into_iter()
            .map(move |commands| Script {
                document: document.clone(),
                commands,
            })
            .collect::<Vec<_>>()
    });
    scripts.collect()
}

fn collect(folder: &Path, documents: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, documents);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            documents.push(path);
        }
    }
}

/// The blocks that begin with ```` ```sh ````, without their fences.
pub(crate) fn blocks(text: &str) -> Vec<String> {
    let starts = text.split("\n```sh\n").skip(1);
    starts
        .map(|rest| rest.split("\n```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn blocks_are_found() {
    let text = "a\n```sh\none\ntwo\n```\nb\n```text\nthree\n```\n```sh\nfour\n```\n";
    assert_eq!(blocks(text), ["one\ntwo", "four"]);
}

#[test]
fn every_command_of_the_documents_runs() {
    let scripts = scripts();
    assert!(!scripts.is_empty(), "the documents show no command");
    for Script { document, commands } in scripts {
        let elsewhere = RUN_ELSEWHERE.iter().find(|(block, _, _)| *block == commands);
        if let Some((block, runner, words)) = elsewhere {
            let runner = fs::read_to_string(repository().join(runner)).unwrap();
            assert!(runner.contains(words), "nothing runs `{block}` any more");
            continue;
        }
        run(&document, &commands);
    }
}

/// Runs one block as a script.
fn run(document: &Path, commands: &str) {
    let folder = tempfile::tempdir().unwrap();
    let binaries = Path::new(env!("CARGO_BIN_EXE_evenkeel")).parent().unwrap();
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-eu", "-c", commands])
        .current_dir(folder.path())
        .env("PATH", path)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{} shows commands that fail:\n{commands}\n{}{}",
        document.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
