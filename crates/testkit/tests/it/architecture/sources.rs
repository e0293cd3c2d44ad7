use std::fs;
use std::path::{Path, PathBuf};

/// A Rust file of the repository.
pub(crate) struct Source {
    /// From the repository's root, with `/` between the parts.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// What stands before the tests at the file's end.
    pub(crate) fn product(&self) -> &str {
        self.text
            .split_once("#[cfg(test)]\nmod tests")
            .map_or(&self.text, |(product, _)| product)
    }
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Every Rust file under `crates/`.
pub(crate) fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    collect(&repository().join("crates"), &mut found);
    assert!(found.len() > 50, "the sources are not found");
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path
                .strip_prefix(repository())
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            found.push(Source {
                path: relative,
                text: fs::read_to_string(&path).unwrap(),
            });
        }
    }
}
