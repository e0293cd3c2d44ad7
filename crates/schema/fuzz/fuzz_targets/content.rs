//! A schema on the first line, content after it: the scan and the reader judge alike, and JSON that is written is read.
#![no_main]

use std::sync::Arc;

use evenkeel_schema::avro::Schema;
use evenkeel_schema::{Contract, SchemaId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (text, content) = (&input[..end], &input[end + 1..]);
    let Some(schema) = std::str::from_utf8(text).ok().and_then(|text| Schema::parse(text).ok()) else { return };
    let contract = Contract::new(SchemaId(1), Arc::new(schema));
    let checked = contract.check_content(content);
    let json = contract.own_reader().to_json(content);
    assert_eq!(checked.err(), json.as_ref().err().cloned());
    if let Ok(valid) = contract.encode_json(content) {
        contract.check_content(valid.get().content()).expect("what is encoded is valid");
    }
});
