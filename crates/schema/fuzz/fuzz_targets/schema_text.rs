//! Any text is refused or is a schema that prints to itself.
#![no_main]

use evenkeel_schema::avro::Schema;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(schema) = Schema::parse(text) {
        let printed = schema.to_json();
        let again = Schema::parse(&printed).expect("what is printed is a schema");
        assert_eq!(again.to_json(), printed);
        assert_eq!(again.canonical_form(), schema.canonical_form());
    }
});
