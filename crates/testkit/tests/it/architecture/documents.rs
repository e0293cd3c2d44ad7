use std::fs;
use std::path::{Path, PathBuf};

use super::manifests::manifests;
use super::sources::repository;

/// Every Markdown file of the repository.
fn documents() -> Vec<PathBuf> {
    let mut found = vec![repository().join("README.md"), repository().join("CHANGELOG.md")];
    for folder in ["docs", "crates", "scripts", "data"] {
        collect(&repository().join(folder), &mut found);
    }
    assert!(found.len() > 20, "the documents are not found");
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The targets of links within the repository: `[text](target)`, code blocks left out.
fn links(text: &str) -> Vec<String> {
    let prose = text.split("```").step_by(2);
    let targets = prose.flat_map(|part| {
        part.split("](")
            .skip(1)
            .map(|rest| rest.split(')').next().unwrap_or_default())
    });
    targets
        .filter(|target| !target.contains("://"))
        .map(|target| target.split('#').next().unwrap_or_default().to_owned())
        .filter(|target| !target.is_empty())
        .collect()
}

#[test]
fn links_are_found() {
    let text = "[a](b.md) [c](https://example.org) [d](e/f.md#g) [h](#i)\n```\nlist[0](x)\n```\n[j](k)";
    assert_eq!(links(text), ["b.md", "e/f.md", "k"]);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let folder = document.parent().unwrap();
        broken.extend(
            links(&text)
                .iter()
                .filter(|link| !folder.join(link).exists())
                .map(|link| format!("{} links to {link}, which does not exist", document.display())),
        );
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_map_names_every_crate() {
    let map = fs::read_to_string(repository().join("docs/ARCHITECTURE.md")).unwrap();
    for manifest in manifests() {
        assert!(
            map.contains(&format!("| `{}`", manifest.folder)),
            "docs/ARCHITECTURE.md lacks crates/{}",
            manifest.folder
        );
    }
}

#[test]
fn decisions_are_numbered_and_listed() {
    let folder = repository().join("docs/adr");
    let index = fs::read_to_string(folder.join("README.md")).unwrap();
    let mut numbers = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name == "README.md" {
            continue;
        }
        assert!(
            index.contains(&format!("({name})")),
            "docs/adr/README.md does not list {name}"
        );
        numbers.push(name.split('-').next().unwrap().parse::<usize>().unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(
        numbers,
        (0..numbers.len()).collect::<Vec<_>>(),
        "numbers are given once, without gaps"
    );
}
