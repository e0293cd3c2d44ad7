//! Which texts are schemas, their canonical forms and fingerprints: Java's answers and ours.

use evenkeel_schema::avro::Schema;
use serde_json::{Value, json};

use crate::{java, odd_texts, schema_pairs};

/// Texts on which we answer otherwise than Java, and why.
const DEVIATIONS: [(&str, &str); 1] = [(
    r#"{"type":"string","doc":"\ud800"}"#,
    "Half a surrogate pair is no Unicode text: RFC 8259 leaves it open, and no UTF-8 can hold it.",
)];

#[test]
fn java_agrees_on_odd_and_generated_texts() {
    let mut texts = odd_texts::texts();
    texts.extend(
        (0..1000)
            .map(schema_pairs::pair)
            .flat_map(|(before, after)| [before.to_string(), after.to_string()]),
    );
    let questions: Vec<Value> = texts.iter().map(|text| json!({"parse": text})).collect();
    let Some(answers) = java::ask(&questions) else {
        return;
    };
    let (mut accepted, mut differing) = (0, Vec::new());
    for (text, java) in texts.iter().zip(&answers) {
        accepted += usize::from(java["accepted"] == true);
        let ours = Schema::parse(text);
        let same = match &ours {
            Ok(schema) => {
                java["accepted"] == true
                    && java["canonical"] == schema.canonical_form()
                    && java["fingerprint"] == format!("{:016x}", schema.fingerprint_crc64())
            }
            Err(_) => java["accepted"] == false,
        };
        let argued = DEVIATIONS.iter().any(|(deviating, _)| deviating == text);
        if same == argued {
            let ours =
                ours.map(|schema| format!("{} {:016x}", schema.canonical_form(), schema.fingerprint_crc64()));
            differing.push(format!("{text}\n  java {java}\n  ours {ours:?}"));
        }
    }
    println!("{} texts, {accepted} accepted by Java", texts.len());
    assert!(
        differing.is_empty(),
        "{} differ:\n{}",
        differing.len(),
        differing.join("\n")
    );
}
