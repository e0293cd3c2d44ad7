//! What the fuzz targets start from and have found, played once.

use std::path::Path;
use std::sync::Arc;

use evenkeel_schema::avro::Schema;
use evenkeel_schema::{Contract, SchemaId};

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let files = std::fs::read_dir(&folder)
        .expect("the corpus is there")
        .map(|file| file.unwrap().path());
    let files: Vec<_> = files
        .map(|file| (file.display().to_string(), std::fs::read(file).unwrap()))
        .collect();
    assert!(files.len() > 5, "{} files in {}", files.len(), folder.display());
    files
}

#[test]
fn schema_texts_are_refused_or_print_to_themselves() {
    for (name, text) in corpus("schema_text") {
        let Ok(schema) = Schema::parse(&String::from_utf8_lossy(&text)) else {
            continue;
        };
        let printed = schema.to_json();
        let again = Schema::parse(&printed).unwrap_or_else(|error| panic!("{name}\n{printed}\n{error}"));
        assert_eq!(again.to_json(), printed, "{name}");
        assert_eq!(again.canonical_form(), schema.canonical_form(), "{name}");
    }
}

#[test]
fn content_is_judged_alike_by_scan_and_reader() {
    let mut judged = 0;
    for (name, input) in corpus("content") {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
            continue;
        };
        let (text, content) = (&input[..end], &input[end + 1..]);
        let Ok(schema) = Schema::parse(&String::from_utf8_lossy(text)) else {
            continue;
        };
        let contract = Contract::new(SchemaId(1), Arc::new(schema));
        let json = contract.own_reader().to_json(content);
        assert_eq!(contract.check_content(content).err(), json.err(), "{name}");
        if let Ok(valid) = contract.encode_json(content) {
            contract
                .check_content(valid.get().content())
                .unwrap_or_else(|error| panic!("{name}\n{error}"));
        }
        judged += 1;
    }
    assert!(judged > 5, "only {judged} judged");
}
