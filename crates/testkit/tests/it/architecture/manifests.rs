use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::sources::repository;

/// What a crate declares that it uses.
pub(crate) struct Manifest {
    /// Folder under `crates/`.
    pub(crate) folder: String,
    pub(crate) package: String,
    /// Packages that its product code uses.
    pub(crate) product: Vec<String>,
    /// Packages that only its tests, benches and examples use.
    pub(crate) tests: Vec<String>,
}

/// The manifest of every crate.
pub(crate) fn manifests() -> Vec<Manifest> {
    let mut folders: Vec<PathBuf> = fs::read_dir(repository().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    let manifests: Vec<Manifest> = folders.into_iter().map(read).collect();
    assert!(manifests.len() >= 10, "the crates are not found");
    manifests
}

fn read(folder: PathBuf) -> Manifest {
    let text = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let mut sections = BTreeMap::from([
        ("dependencies", vec![]),
        ("build-dependencies", vec![]),
        ("dev-dependencies", vec![]),
    ]);
    collect(&table, &mut sections);
    let mut product = sections["dependencies"].clone();
    product.extend(sections["build-dependencies"].clone());
    Manifest {
        folder: folder.file_name().unwrap().to_str().unwrap().to_owned(),
        package: table["package"]["name"].as_str().unwrap().to_owned(),
        product,
        tests: sections["dev-dependencies"].clone(),
    }
}

/// Collects the dependencies of this table and of its `target.*` tables.
fn collect(table: &toml::Table, sections: &mut BTreeMap<&str, Vec<String>>) {
    for (section, packages) in sections.iter_mut() {
        for (name, value) in table
            .get(*section)
            .and_then(toml::Value::as_table)
            .into_iter()
            .flatten()
        {
            let renamed = value.get("package").and_then(toml::Value::as_str);
            packages.push(renamed.unwrap_or(name).to_owned());
        }
    }
    for target in table
        .get("target")
        .and_then(toml::Value::as_table)
        .into_iter()
        .flat_map(toml::Table::values)
    {
        collect(target.as_table().unwrap(), sections);
    }
}
