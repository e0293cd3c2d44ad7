use std::collections::BTreeSet;
use std::fs;

use evenkeel_event::failure::Code;

use super::sources::repository;

#[test]
fn every_failure_code_has_a_page_that_says_what_to_do() {
    let folder = repository().join("docs/errors");
    let index = fs::read_to_string(folder.join("README.md")).unwrap();
    let mut expected = BTreeSet::from(["README.md".to_owned()]);
    for code in Code::ALL {
        let name = format!("{}.md", code.as_str());
        let page = fs::read_to_string(folder.join(&name))
            .unwrap_or_else(|error| panic!("docs/errors/{name}: {error}"));
        for heading in ["## What happened", "## What to do"] {
            assert!(page.contains(heading), "docs/errors/{name} lacks `{heading}`");
        }
        assert!(
            index.contains(&name),
            "docs/errors/README.md does not name {name}"
        );
        expected.insert(name);
    }
    let files: BTreeSet<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, expected, "a page without a code");
}
