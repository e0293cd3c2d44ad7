use super::manifests::{Manifest, manifests};

/// A crate may import only crates that stand before it.
const ORDER: [&str; 12] = [
    "evenkeel-event",
    "evenkeel-schema",
    "evenkeel-flow",
    "evenkeel-embedded",
    "evenkeel-broker",
    "evenkeel-store",
    "evenkeel",
    "evenkeel-worker",
    "evenkeel-lambda",
    "evenkeel-server",
    "evenkeel-cli",
    "evenkeel-sim",
];

/// Crates that product code imports nowhere but here. `testkit` and `sim` belong to tests.
const IMPORTED_ONLY_BY: [(&str, &[&str]); 3] = [
    ("evenkeel-embedded", &["evenkeel-cli"]),
    ("evenkeel-sim", &[]),
    ("evenkeel-testkit", &[]),
];

/// Crates that import none of ours in their product code.
const IMPORT_NONE: [&str; 3] = ["evenkeel-event", "evenkeel-embedded", "evenkeel-testkit"];

/// Outside libraries and the crates that may know them, in tests too.
const OWNERS: [(&str, &[&str]); 10] = [
    ("kafka-protocol", &["evenkeel-broker", "evenkeel-embedded"]),
    ("axum", &["evenkeel-server"]),
    ("redb", &["evenkeel-store"]),
    ("sqlx", &["evenkeel-store"]),
    ("aws-config", &["evenkeel-broker", "evenkeel-store"]),
    ("aws-sdk-dynamodb", &["evenkeel-store"]),
    ("aws-sigv4", &["evenkeel-broker"]),
    ("tokio-rustls", &["evenkeel-broker"]),
    ("clap", &["evenkeel-cli"]),
    ("lambda_runtime", &["evenkeel-lambda"]),
];

/// Crates that hold decisions, and the libraries for I/O, threads and randomness that they must do without.
const PURE: [&str; 3] = ["evenkeel-event", "evenkeel-schema", "evenkeel-flow"];
const IMPURE_LIBRARIES: [&str; 8] = [
    "tokio",
    "futures-util",
    "ureq",
    "hyper",
    "rand",
    "axum",
    "redb",
    "tempfile",
];

fn is_ours(package: &str) -> bool {
    package == "evenkeel" || package.starts_with("evenkeel-")
}

fn rank(package: &str) -> Option<usize> {
    ORDER.iter().position(|name| *name == package)
}

/// Every breach of the rules above, one sentence each.
fn breaches(manifest: &Manifest) -> Vec<String> {
    let importer = manifest.package.as_str();
    let mut found = Vec::new();
    let all = || manifest.product.iter().chain(&manifest.tests);
    if rank(importer).is_none() && importer != "evenkeel-testkit" {
        found.push(format!(
            "{importer} (crates/{}) has no place in the order of imports",
            manifest.folder
        ));
    }
    for imported in all().filter(|name| is_ours(name) && *name != "evenkeel-testkit") {
        if rank(importer).is_some_and(|place| rank(imported).is_none_or(|other| other >= place)) {
            found.push(format!(
                "{importer} imports {imported}, which does not stand before it"
            ));
        }
    }
    for imported in manifest.product.iter().filter(|name| is_ours(name)) {
        if IMPORT_NONE.contains(&importer) {
            found.push(format!(
                "{importer} imports {imported}, and may import none of ours"
            ));
        }
        let only = IMPORTED_ONLY_BY.iter().find(|(name, _)| name == imported);
        if only.is_some_and(|(_, importers)| !importers.contains(&importer)) {
            found.push(format!("{importer} imports {imported} outside its tests"));
        }
    }
    for (library, owners) in OWNERS {
        if all().any(|name| name == library) && !owners.contains(&importer) {
            found.push(format!("{importer} uses {library}, which belongs to {owners:?}"));
        }
    }
    for library in IMPURE_LIBRARIES {
        if PURE.contains(&importer) && manifest.product.iter().any(|name| name == library) {
            found.push(format!("{importer} holds decisions, and uses {library}"));
        }
    }
    found
}

#[test]
fn crates_import_in_one_direction_and_libraries_have_owners() {
    let found: Vec<String> = manifests().iter().flat_map(breaches).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn breaches_are_seen() {
    let check = |package: &str, product: &[&str], tests: &[&str], expected: usize| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let manifest = Manifest {
            folder: "any".to_owned(),
            package: package.to_owned(),
            product: owned(product),
            tests: owned(tests),
        };
        let found = breaches(&manifest);
        assert_eq!(found.len(), expected, "{package}: {found:?}");
    };
    check("evenkeel-flow", &["evenkeel-event"], &["evenkeel-testkit"], 0);
    check("evenkeel-flow", &["evenkeel-broker"], &[], 1);
    check("evenkeel-flow", &[], &["evenkeel-broker"], 1);
    check("evenkeel-flow", &["tokio"], &[], 1);
    check("evenkeel-broker", &["kafka-protocol"], &["evenkeel-embedded"], 0);
    check("evenkeel-broker", &["evenkeel-embedded"], &[], 1);
    check("evenkeel-embedded", &["evenkeel-event"], &[], 1);
    check("evenkeel", &["kafka-protocol"], &[], 1);
    check("evenkeel-cli", &["evenkeel-testkit"], &[], 1);
    check("evenkeel-cli", &["axum"], &[], 1);
    check(
        "evenkeel-lambda",
        &["evenkeel-worker", "lambda_runtime"],
        &["evenkeel-embedded"],
        0,
    );
    check("evenkeel-lambda", &["evenkeel-cli"], &[], 1);
    check("evenkeel-server", &["lambda_runtime"], &[], 1);
    check("evenkeel-new", &[], &[], 1);
}
