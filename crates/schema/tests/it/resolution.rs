//! Reading with another schema: what changes on the way, and what cannot be read.

use evenkeel_schema::avro::Schema;

use crate::values::contract;

/// Writes `json` by one schema and reads it by another.
fn read(writer: &str, json: &str, reader: &str) -> Result<String, String> {
    let contract = contract(writer);
    let reader = Schema::parse(reader).unwrap_or_else(|error| panic!("{reader}\n{error}"));
    let valid = contract
        .encode_json(json.as_bytes())
        .unwrap_or_else(|error| panic!("{json}\n{error}"));
    contract
        .reader(&reader)
        .to_json(valid.get().content())
        .map_err(|violation| violation.to_string())
}

fn check(writer: &str, json: &str, reader: &str, expected: &str) {
    assert_eq!(
        read(writer, json, reader).as_deref(),
        Ok(expected),
        "{writer} -> {reader}"
    );
}

fn refused(writer: &str, json: &str, reader: &str, expected: &str) {
    assert_eq!(
        read(writer, json, reader).as_ref().map_err(String::as_str),
        Err(expected),
        "{writer} -> {reader}"
    );
}

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
}

#[test]
fn promotions() {
    check(r#""int""#, "5", r#""long""#, "5");
    check(r#""int""#, "5", r#""double""#, "5.0");
    check(r#""long""#, "5", r#""float""#, "5.0");
    check(r#""float""#, "0.5", r#""double""#, "0.5");
    check(r#""string""#, "\"a\"", r#""bytes""#, "\"a\"");
    check(r#""bytes""#, "\"a\"", r#""string""#, "\"a\"");
    refused(
        r#""bytes""#,
        "\"\u{ff}\"",
        r#""string""#,
        "1 bytes were written that are no string",
    );
    refused(
        r#""long""#,
        "5",
        r#""int""#,
        "a long was written, a int is expected",
    );
    let decimal =
        |scale| format!(r#"{{"type":"bytes","logicalType":"decimal","precision":9,"scale":{scale}}}"#);
    check(&decimal(2), "2.55", &decimal(4), "\"2.55\"");
    check(&decimal(2), "2.55", r#""bytes""#, "\"\\u0000ÿ\"");
    let timestamp = |unit| format!(r#"{{"type":"long","logicalType":"timestamp-{unit}"}}"#);
    check(
        &timestamp("millis"),
        "1000",
        &timestamp("micros"),
        "\"1970-01-01T00:00:01Z\"",
    );
    check(&timestamp("millis"), "1000", r#""long""#, "1000");
}

#[test]
fn records() {
    let a = r#"{"name":"a","type":"int"}"#;
    let b = r#"{"name":"b","type":"string"}"#;
    let both = record(&format!("{a},{b}"));
    check(&both, r#"{"a":1,"b":"x"}"#, &record(b), r#"{"b":"x"}"#);
    check(
        &both,
        r#"{"a":1,"b":"x"}"#,
        &record(&format!(
            r#"{b},{{"name":"c","type":["null","R"],"default":null}}"#
        )),
        r#"{"b":"x","c":null}"#,
    );
    check(
        &record(a),
        r#"{"a":1}"#,
        &record(r#"{"name":"z","aliases":["a"],"type":"long"}"#),
        r#"{"z":1}"#,
    );
    check(
        &record(a),
        r#"{"a":1}"#,
        r#"{"type":"record","name":"S","aliases":["R"],"fields":[{"name":"a","type":"int"}]}"#,
        r#"{"a":1}"#,
    );
    check(
        &record(a),
        r#"{"a":1}"#,
        &record(r#"{"name":"d","type":{"type":"map","values":"double"},"default":{"x":1}}"#),
        r#"{"d":{"x":1.0}}"#,
    );
    refused(
        &record(a),
        r#"{"a":1}"#,
        &record(b),
        r#"field "b" of record R was not written and has no default"#,
    );
    refused(
        &record(a),
        r#"{"a":1}"#,
        r#"{"type":"record","name":"S","fields":[]}"#,
        "a R was written, a S is expected",
    );
    refused(
        &record(a),
        r#"{"a":1}"#,
        &record(r#"{"name":"a","type":"string"}"#),
        "a: a int was written, a string is expected",
    );
    let tree = |ty: &str| {
        record(&format!(
            r#"{{"name":"v","type":"{ty}"}},{{"name":"next","type":["null","R"],"default":null}}"#
        ))
    };
    check(
        &tree("int"),
        r#"{"v":1,"next":{"v":2}}"#,
        &tree("double"),
        r#"{"v":1.0,"next":{"v":2.0,"next":null}}"#,
    );
}

#[test]
fn unions_and_enums() {
    check(r#"["int","string"]"#, "5", r#""int""#, "5");
    refused(
        r#"["int","string"]"#,
        "\"a\"",
        r#""int""#,
        "a string was written, a int is expected",
    );
    check(r#""int""#, "5", r#"["null","long"]"#, "5");
    check(r#""int""#, "5", r#"["null","long","int"]"#, r#"{"int":5}"#);
    check(r#""int""#, "5", r#"["null","double","string"]"#, "5.0");
    refused(
        r#""int""#,
        "5",
        r#"["null","string"]"#,
        "a int was written, one of null, string is expected",
    );
    check(r#"["null","int"]"#, "5", r#"["string","null","long"]"#, "5");
    let e =
        |symbols: &str, rest: &str| format!(r#"{{"type":"enum","name":"E","symbols":[{symbols}]{rest}}}"#);
    check(&e("\"A\",\"B\"", ""), "\"B\"", &e("\"B\",\"C\"", ""), "\"B\"");
    check(
        &e("\"A\",\"B\"", ""),
        "\"A\"",
        &e("\"B\",\"C\"", r#","default":"C""#),
        "\"C\"",
    );
    refused(
        &e("\"A\",\"B\"", ""),
        "\"A\"",
        &e("\"B\"", ""),
        "enum E has no symbol \"A\" and no default",
    );
}

#[test]
fn what_the_data_does_not_reach_is_not_held_against_it() {
    check(
        r#"{"type":"array","items":"string"}"#,
        "[]",
        r#"{"type":"array","items":"int"}"#,
        "[]",
    );
    refused(
        r#"{"type":"array","items":"string"}"#,
        "[\"a\"]",
        r#"{"type":"array","items":"int"}"#,
        "[0]: a string was written, a int is expected",
    );
}

#[test]
fn large_cycles_are_resolved_without_recursion() {
    let ring = |length: usize| {
        let records = (0..length).map(|n| {
            let next = (n + 1) % length;
            format!(r#"{{"type":"record","name":"R{n}","aliases":["R0","R1","R2"],"fields":[{{"name":"next","type":["null","R{next}"]}}]}}"#)
        });
        format!(r#"[{}]"#, records.collect::<Vec<_>>().join(","))
    };
    let json = read(&ring(7), r#"{"R0":{"next":null}}"#, &ring(11));
    assert_eq!(json.as_deref(), Ok(r#"{"R0":{"next":null}}"#));
}
