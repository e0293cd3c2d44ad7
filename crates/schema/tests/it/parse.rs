//! What is a schema and what is not, as the Java library 1.12 decides it, and that printing loses nothing.

use evenkeel_schema::avro::{Kind, Logical, Schema};

fn ok(text: &str) -> Schema {
    Schema::parse(text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

fn refused(text: &str, part: &str) {
    let error = Schema::parse(text)
        .map(|schema| schema.to_json())
        .expect_err(text)
        .to_string();
    assert!(error.contains(part), "{text}\n{error}\nshould contain {part:?}");
}

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"R","namespace":"n","fields":[{fields}]}}"#)
}

#[test]
fn what_is_no_schema_is_refused_with_its_place() {
    refused("", "not JSON");
    refused("\"int\" 5", "not JSON");
    refused("5", "at the top: expected a type name");
    refused("\"nope\"", "the name \"nope\" is not defined");
    refused(r#"{"type":5}"#, "needs a \"type\" that is a string");
    refused(r#"{"type":{"type":"int"}}"#, "needs a \"type\" that is a string");
    refused(r#"{"type":"array"}"#, "\"items\" is not there");
    refused(r#"{"type":"map"}"#, "\"values\" is not there");
    refused(r#"{"type":"record","fields":[]}"#, "needs a \"name\"");
    refused(r#"{"type":"record","name":"R"}"#, "needs \"fields\"");
    refused(r#"{"type":"record","name":"int","fields":[]}"#, "primitive");
    refused(
        r#"{"type":"record","name":"1R","fields":[]}"#,
        "name \"1R\" is not valid",
    );
    refused(
        r#"{"type":"record","name":"R","namespace":"a..b","fields":[]}"#,
        "namespace",
    );
    refused(r#"{"type":"enum","name":"E","symbols":["A","A"]}"#, "twice");
    refused(
        r#"{"type":"enum","name":"E","symbols":["a-b"]}"#,
        "symbol \"a-b\" is not valid",
    );
    refused(
        r#"{"type":"enum","name":"E","symbols":["A"],"default":"B"}"#,
        "enum default \"B\"",
    );
    refused(r#"{"type":"fixed","name":"F"}"#, "\"size\"");
    refused(r#"{"type":"fixed","name":"F","size":-1}"#, "\"size\"");
    refused(r#"{"type":"fixed","name":"F","size":1.0}"#, "\"size\"");
    refused(r#"["int",["null"]]"#, "union stands directly in a union");
    refused(r#"["int","int"]"#, "the union has \"int\" twice");
    refused(
        r#"[{"type":"array","items":"int"},{"type":"array","items":"long"}]"#,
        "\"array\" twice",
    );
    refused(
        &record(r#"{"name":"a","type":"int"},{"name":"a","type":"int"}"#),
        "fields[1] has the name \"a\"",
    );
    refused(&record(r#"{"name":"a b","type":"int"}"#), "fields[0] \"a b\"");
    refused(
        &record(r#"{"type":"int"}"#),
        "fields[0]: a field needs a \"name\"",
    );
    refused(&record(r#"{"name":"a"}"#), "needs a \"type\"");
    refused(
        &record(r#"{"name":"a","type":"int","order":"up"}"#),
        "\"order\" is \"up\"",
    );
    refused(
        &record(r#"{"name":"a","type":"int","aliases":"b"}"#),
        "\"aliases\" must be an array",
    );
    refused(
        &record(r#"{"name":"a","type":{"type":"record","name":"R","fields":[]}}"#),
        "\"n.R\" is defined a second time",
    );
}

#[test]
fn defaults_fit_their_types() {
    let good = |ty: &str, default: &str| {
        ok(&record(&format!(
            r#"{{"name":"a","type":{ty},"default":{default}}}"#
        )));
    };
    let bad = |ty: &str, default: &str| {
        refused(
            &record(&format!(r#"{{"name":"a","type":{ty},"default":{default}}}"#)),
            ": the default",
        );
    };
    good("\"int\"", "2147483647");
    bad("\"int\"", "2147483648");
    bad("\"int\"", "1.0");
    bad("\"long\"", "\"1\"");
    good("\"double\"", "1");
    good("\"double\"", "\"NaN\"");
    good("\"double\"", "\"1.5\"");
    bad("\"double\"", "\"one\"");
    bad("\"string\"", "null");
    good("[\"null\",\"string\"]", "null");
    good(
        "[\"null\",\"string\"]",
        "\"a later branch is allowed since 1.12\"",
    );
    bad("[\"null\",\"string\"]", "5");
    good(r#"{"type":"array","items":"int"}"#, "[1,2]");
    bad(r#"{"type":"array","items":"int"}"#, "[1,\"2\"]");
    good(r#"{"type":"map","values":"boolean"}"#, r#"{"a":true}"#);
    bad(r#"{"type":"map","values":"boolean"}"#, r#"{"a":1}"#);
    let inner = r#"{"type":"record","name":"I","fields":[{"name":"x","type":"int"},{"name":"y","type":"int","default":1}]}"#;
    good(inner, r#"{"x":1}"#);
    bad(inner, r#"{"y":1}"#);
    bad(
        r#"{"type":"record","name":"I","fields":[{"name":"x","type":"I","default":{}}]}"#,
        "{}",
    );
}

#[test]
fn names_are_found_in_their_namespace_before_and_after_their_definition() {
    let text = record(
        r#"{"name":"a","type":"Later"},{"name":"b","type":{"type":"fixed","name":"Later","size":2}},
           {"name":"c","type":["null","n.R"]},{"name":"d","type":{"type":"Later","ignored":1}}"#,
    );
    let schema = ok(&text);
    let Kind::Record(r) = schema.root().kind() else {
        panic!()
    };
    let later = schema.named("n.Later").unwrap();
    assert_eq!(
        r.fields().iter().map(|f| f.ty() == later).collect::<Vec<_>>(),
        [true, true, false, true]
    );
    assert_eq!(ok(&schema.to_json()).to_json(), schema.to_json());
}

#[test]
fn references_give_names_and_print_as_names() {
    let money = r#"{"type":"record","name":"Money","namespace":"n","fields":[]}"#;
    let text = record(r#"{"name":"a","type":"Money"}"#);
    refused(&text, "the name \"n.Money\" is not defined");
    let schema = Schema::parse_with(&text, &[money, money]).unwrap();
    assert!(schema.get(schema.named("n.Money").unwrap()).is_external());
    assert_eq!(
        schema.to_json(),
        r#"{"type":"record","name":"R","namespace":"n","fields":[{"name":"a","type":"Money"}]}"#
    );
    assert_eq!(
        schema.to_json_standalone(),
        r#"{"type":"record","name":"R","namespace":"n","fields":[{"name":"a","type":{"type":"record","name":"Money","fields":[]}}]}"#
    );
}

#[test]
fn printing_keeps_every_attribute() {
    let same = |text: &str| assert_eq!(ok(text).to_json(), text);
    same(r#""int""#);
    same(r#"{"type":"int","logicalType":"date"}"#);
    same(r#"{"type":"int","logicalType":"decimal","precision":4}"#);
    same(r#"{"type":"error","name":"E","doc":"d","fields":[],"x":{"y":[1,2.50]},"aliases":["F","o.H"]}"#);
    same(r#"{"type":"record","name":"E","namespace":"n","fields":[],"aliases":["F",".G","o.H"]}"#);
    same(r#"{"type":"enum","name":"E","doc":"d","symbols":["A","B"],"default":"B","p":null}"#);
    same(
        r#"{"type":"fixed","name":"F","namespace":"a.b","size":4,"logicalType":"decimal","precision":9,"scale":2}"#,
    );
    same(
        r#"{"type":"record","name":"R","fields":[{"name":"a","type":["null","long"],"doc":"d","default":null,"order":"ignore","aliases":["b"],"p":1}]}"#,
    );
    same(
        r#"{"type":"record","name":"R","namespace":"n","fields":[{"name":"a","type":{"type":"record","name":"R","namespace":"","fields":[]}}]}"#,
    );
}

#[test]
fn invalid_logical_types_are_ignored() {
    let check = |text: &str, expected: Option<Logical>| {
        assert_eq!(ok(text).root().logical(), expected.as_ref(), "{text}")
    };
    check(
        r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#,
        Some(Logical::Decimal {
            precision: 4,
            scale: 2,
        }),
    );
    check(
        r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":5}"#,
        None,
    );
    check(
        r#"{"type":"bytes","logicalType":"decimal","precision":"4"}"#,
        None,
    );
    check(r#"{"type":"bytes","logicalType":"decimal"}"#, None);
    check(
        r#"{"type":"fixed","name":"F","size":4,"logicalType":"decimal","precision":9}"#,
        Some(Logical::Decimal {
            precision: 9,
            scale: 0,
        }),
    );
    check(
        r#"{"type":"fixed","name":"F","size":4,"logicalType":"decimal","precision":10}"#,
        None,
    );
    check(r#"{"type":"string","logicalType":"date"}"#, None);
    check(r#"{"type":"string","logicalType":"uuid"}"#, Some(Logical::Uuid));
    check(r#"{"type":"string","logicalType":"telepathy"}"#, None);
}

#[test]
fn canonical_form_strips_what_does_not_matter() {
    let schema = ok(
        r#"{"namespace":"n","doc":"d","type":"record","name":"R","aliases":["Q"],"fields":[
            {"type":{"type":"enum","symbols":["A"],"name":"E","default":"A"},"name":"e","default":"A"},
            {"name":"f","type":["null",{"type":"fixed","size":3,"name":"m.F"}]},
            {"name":"g","type":{"type":"map","values":"E"}},{"name":"h","type":{"type":"int","logicalType":"date"}}]}"#,
    );
    assert_eq!(
        schema.canonical_form(),
        r#"{"name":"n.R","type":"record","fields":[{"name":"e","type":{"name":"n.E","type":"enum","symbols":["A"]}},{"name":"f","type":["null",{"name":"m.F","type":"fixed","size":3}]},{"name":"g","type":{"type":"map","values":"n.E"}},{"name":"h","type":"int"}]}"#
    );
}

#[test]
fn depth_and_size_have_limits() {
    let nested = |levels: usize| {
        format!(
            "{}\"int\"{}",
            r#"{"type":"array","items":"#.repeat(levels),
            "}".repeat(levels)
        )
    };
    ok(&nested(119));
    refused(&nested(121), "deeper than");
    refused(&nested(5000), "deeper than");
    let chain: Vec<String> = (0..60)
        .map(|n| {
            format!(
                r#"{{"type":"record","name":"R{n}","fields":[{{"name":"a","type":"R{}"}}]}}"#,
                n + 1
            )
        })
        .collect();
    let chain: Vec<&str> = chain.iter().map(String::as_str).collect();
    let end = r#"{"type":"record","name":"R60","fields":[]}"#;
    let text = format!("[{},{end}]", chain.join(","));
    refused(&text, "deeper than");
    let doubling = (0..30).rev().map(|n| {
        let ty = if n == 29 { "\"null\"".to_owned() } else { format!("\"R{}\"", n + 1) };
        format!(r#"{{"type":"record","name":"R{n}","fields":[{{"name":"a","type":{ty}}},{{"name":"b","type":{ty}}}]}}"#)
    });
    refused(
        &format!("[{}]", doubling.collect::<Vec<_>>().join(",")),
        "more than 100000 fields",
    );
    refused(&format!("\"{}\"", "a".repeat(1 << 20)), "limit is 1048576");
}
