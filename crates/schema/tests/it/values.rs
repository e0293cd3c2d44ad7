//! Values in and out: JSON to bytes to JSON, what is refused and where.

use std::sync::Arc;

use evenkeel_schema::avro::Schema;
use evenkeel_schema::{Contract, Limits, SchemaId, ViolationKind};

pub(crate) fn contract(text: &str) -> Contract {
    let schema = Schema::parse(text).unwrap_or_else(|error| panic!("{text}\n{error}"));
    Contract::new(SchemaId(7), Arc::new(schema))
}

pub(crate) const ORDER: &str = r#"{"type":"record","name":"OrderPlaced","namespace":"shop","fields":[
    {"name":"id","type":{"type":"string","logicalType":"uuid"}},
    {"name":"customer","type":["null","string"],"default":null},
    {"name":"placed","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"channel","type":{"type":"enum","name":"Channel","symbols":["WEB","SHOP"]},"default":"WEB"},
    {"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
        {"name":"stock_code","type":"string"},
        {"name":"quantity","type":"int"},
        {"name":"unit_price","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":3}}]}}},
    {"name":"notes","type":{"type":"map","values":"string"},"default":{}}]}"#;

/// Encodes, checks, decodes; the JSON comes back as `expected`.
fn round(contract: &Contract, json: &str, expected: &str) {
    let valid = contract
        .encode_json(json.as_bytes())
        .unwrap_or_else(|error| panic!("{json}\n{error}"));
    let payload = valid.get();
    assert_eq!(&payload.bytes()[..5], &[0, 0, 0, 0, 7]);
    let checked = contract
        .check(payload.bytes())
        .unwrap_or_else(|error| panic!("{json}\n{error}"));
    assert_eq!(checked.get(), payload);
    assert_eq!(
        contract.own_reader().to_json(payload.content()).as_deref(),
        Ok(expected),
        "{json}"
    );
}

fn refused(contract: &Contract, json: &str, kind: ViolationKind, expected: &str) {
    let violation = contract.encode_json(json.as_bytes()).expect_err(json);
    assert_eq!(
        (violation.kind(), violation.to_string().as_str()),
        (kind, expected),
        "{json}"
    );
}

#[test]
fn an_order_comes_back_in_schema_order_with_its_defaults() {
    let order = contract(ORDER);
    let expected = r#"{"id":"0198f0a0-7c3e-7000-8000-000000000001","customer":null,"placed":"2010-12-01T08:26:00Z","channel":"WEB","lines":[{"stock_code":"85123A","quantity":6,"unit_price":"2.550"},{"stock_code":"é\n","quantity":-1,"unit_price":"0.001"}],"notes":{}}"#;
    let given = r#" { "lines" : [{"unit_price":2.55,"quantity":6,"stock_code":"85123A"},{"stock_code":"\u00e9\n","quantity":-1,"unit_price":"1e-3"}],
        "placed":1291191960000, "id":"0198f0a0-7c3e-7000-8000-000000000001" } "#;
    round(&order, given, expected);
    round(&order, expected, expected);
}

/// An order whose other members are `part`.
fn order_with(part: &str) -> String {
    format!(r#"{{"id":"0198f0a0-7c3e-7000-8000-000000000001","placed":0,{part}}}"#)
}

#[test]
fn violations_name_their_place() {
    use ViolationKind::{Missing, Range, Repeated, Type, Unknown};
    let order = contract(ORDER);
    let line = |part: &str| {
        let good = r#"{"stock_code":"A","quantity":1,"unit_price":"1"}"#;
        order_with(&format!(
            r#""lines":[{good},{good},{good},{{"stock_code":"A",{part}}}]"#
        ))
    };
    refused(
        &order,
        &line(r#""quantity":1,"unit_price":"free""#),
        Type,
        r#"lines[3].unit_price: expected decimal, found string "free""#,
    );
    refused(
        &order,
        &line(r#""quantity":1,"unit_price":"1.0001""#),
        Range,
        r#"lines[3].unit_price: string "1.0001" has more than 3 digits after the point"#,
    );
    refused(
        &order,
        &line(r#""quantity":1,"unit_price":1234567890.5"#),
        Range,
        "lines[3].unit_price: number 1234567890.5 has more than 12 digits",
    );
    refused(
        &order,
        &line(r#""quantity":"two","unit_price":"1""#),
        Type,
        r#"lines[3].quantity: expected int, found string "two""#,
    );
    refused(
        &order,
        &line(r#""quantity":2147483648,"unit_price":"1""#),
        Range,
        "lines[3].quantity: number 2147483648 is no int, which is a whole number from -2147483648 to 2147483647, written without point or exponent",
    );
    refused(
        &order,
        &line(r#""unit_price":"1""#),
        Missing,
        r#"lines[3]: field "quantity" is missing and has no default"#,
    );
    refused(
        &order,
        &line(r#""qantity":1,"unit_price":"1""#),
        Unknown,
        r#"lines[3]: field "qantity" is not in record shop.Line; did you mean "quantity"?"#,
    );
    refused(
        &order,
        &line(r#""colour":1"#),
        Unknown,
        r#"lines[3]: field "colour" is not in record shop.Line"#,
    );
    refused(
        &order,
        &line(r#""quantity":1,"quantity":2,"unit_price":"1""#),
        Repeated,
        r#"lines[3]: field "quantity" is there twice"#,
    );
}

#[test]
fn violations_of_an_order_name_the_member() {
    use ViolationKind::{Json, Symbol, Type};
    let order = contract(ORDER);
    refused(
        &order,
        &order_with(r#""lines":[],"channel":"WEP""#),
        Symbol,
        r#"channel: "WEP" is not a symbol of enum shop.Channel; did you mean "WEB"?"#,
    );
    refused(
        &order,
        &order_with(r#""lines":[],"customer":5"#),
        Type,
        "customer: expected null or string, found number 5",
    );
    refused(
        &order,
        &order_with(r#""lines":{}"#),
        Type,
        "lines: expected array, found object",
    );
    refused(
        &order,
        &order_with(r#""lines":[],"notes":{"a":1}"#),
        Type,
        r#"notes["a"]: expected string, found number 1"#,
    );
    refused(
        &order,
        &order_with(r#""lines":[]} x"#),
        Json,
        &format!(
            "not JSON: expected nothing after the value, found 'x' at byte {}",
            order_with(r#""lines":[]} "#).len() - 1
        ),
    );
    refused(
        &order,
        "[]",
        Type,
        "expected record shop.OrderPlaced, found array",
    );
}

#[test]
fn scalars_have_plain_forms() {
    let check = |ty: &str, json: &str, expected: &str| round(&contract(ty), json, expected);
    check(r#""null""#, "null", "null");
    check(r#""boolean""#, "true", "true");
    check(r#""long""#, "-9223372036854775808", "-9223372036854775808");
    check(r#""float""#, "0.1", "0.1");
    check(r#""double""#, "1e300", "1e300");
    check(r#""double""#, "\"NaN\"", "\"NaN\"");
    check(r#""double""#, "\"-Infinity\"", "\"-Infinity\"");
    check(
        r#""string""#,
        r#""\ud83d\ude00 \"\\\/\b\f\u0001""#,
        "\"😀 \\\"\\\\/\\u0008\\u000c\\u0001\"",
    );
    check(r#""bytes""#, r#""\u00ff\u0000a""#, "\"ÿ\\u0000a\"");
    check(
        r#"{"type":"fixed","name":"F","size":2}"#,
        r#""\u00ffa""#,
        "\"ÿa\"",
    );
}

#[test]
fn logical_types_are_text() {
    let check = |ty: &str, json: &str, expected: &str| round(&contract(ty), json, expected);
    check(
        r#"{"type":"int","logicalType":"date"}"#,
        r#""2010-12-01""#,
        r#""2010-12-01""#,
    );
    check(
        r#"{"type":"int","logicalType":"date"}"#,
        "14944",
        r#""2010-12-01""#,
    );
    check(
        r#"{"type":"int","logicalType":"date"}"#,
        "2147483647",
        "2147483647",
    );
    check(
        r#"{"type":"int","logicalType":"time-millis"}"#,
        r#""08:26""#,
        r#""08:26:00""#,
    );
    check(
        r#"{"type":"long","logicalType":"time-micros"}"#,
        r#""08:26:00.5""#,
        r#""08:26:00.500000""#,
    );
    check(
        r#"{"type":"long","logicalType":"local-timestamp-nanos"}"#,
        r#""2010-12-01T08:26:00.000000001""#,
        r#""2010-12-01T08:26:00.000000001""#,
    );
    check(
        r#"{"type":"fixed","name":"F","size":16,"logicalType":"uuid"}"#,
        r#""0198F0A0-7c3e-7000-8000-000000000001""#,
        r#""0198f0a0-7c3e-7000-8000-000000000001""#,
    );
    check(
        r#"{"type":"fixed","name":"F","size":12,"logicalType":"duration"}"#,
        r#""P1Y2DT0.5S""#,
        r#""P12M2DT0.500S""#,
    );
    check(
        r#"{"type":"fixed","name":"F","size":4,"logicalType":"decimal","precision":9,"scale":2}"#,
        "-0.01",
        r#""-0.01""#,
    );
}

#[test]
fn scalars_out_of_form_or_range_are_refused() {
    use ViolationKind::{Format, Json, Range, Type};
    let bad = |ty: &str, json: &str, kind: ViolationKind| {
        let found = contract(ty).encode_json(json.as_bytes()).map_err(|v| v.kind());
        assert_eq!(found, Err(kind), "{ty} {json}");
    };
    bad(r#""int""#, "1.0", Range);
    bad(r#""int""#, "01", Json);
    bad(r#""float""#, "1e39", Range);
    bad(r#""double""#, "1e309", Range);
    bad(r#""double""#, "\"1\"", Type);
    bad(r#""string""#, r#""\ud83d""#, Json);
    bad(r#""string""#, "\"a\nb\"", Json);
    bad(r#""string""#, "\"\\n\u{1}\"", Json);
    bad(r#""string""#, "\"a", Json);
    bad(r#""bytes""#, r#""\u0100""#, Format);
    bad(r#"{"type":"fixed","name":"F","size":2}"#, r#""abc""#, Range);
    bad(r#"{"type":"int","logicalType":"time-millis"}"#, "86400000", Range);
    bad(r#"{"type":"int","logicalType":"date"}"#, r#""yesterday""#, Format);
    bad(
        r#"{"type":"string","logicalType":"uuid"}"#,
        r#""0198f0a07c3e70008000000000000001""#,
        Format,
    );
}

#[test]
fn unions_are_plain_where_they_can_be() {
    let check = |ty: &str, json: &str, expected: &str| round(&contract(ty), json, expected);
    let bad = |ty: &str, json: &str, kind: ViolationKind| {
        assert_eq!(
            contract(ty).encode_json(json.as_bytes()).map_err(|v| v.kind()),
            Err(kind),
            "{ty} {json}"
        );
    };
    use ViolationKind::{Ambiguous, Type};
    let optional = r#"["null","string"]"#;
    check(optional, "null", "null");
    check(optional, r#"{"null":null}"#, "null");
    check(optional, r#"{"string":"a"}"#, r#""a""#);
    bad(optional, r#"{"string":5}"#, Type);
    bad(optional, r#"{"string":"a","int":5}"#, Ambiguous);
    check(
        r#"["int","string",{"type":"array","items":"int"},"boolean"]"#,
        "[1]",
        "[1]",
    );
    let numbers = r#"["int","double","null"]"#;
    check(numbers, r#"{"int":1}"#, r#"{"int":1}"#);
    check(numbers, r#"{"double":1}"#, r#"{"double":1.0}"#);
    check(numbers, "null", "null");
    bad(numbers, "1", Ambiguous);
    check(
        r#"["double","string"]"#,
        r#"{"double":"NaN"}"#,
        r#"{"double":"NaN"}"#,
    );
    check(r#"["double","string"]"#, r#""NaN""#, r#""NaN""#);
    check(r#"["double","null"]"#, r#""NaN""#, r#""NaN""#);
    check(
        r#"["long",{"type":"int","logicalType":"date"}]"#,
        r#""2010-12-01""#,
        r#""2010-12-01""#,
    );
    check(
        r#"["long",{"type":"int","logicalType":"date"}]"#,
        r#"{"int":2147483647}"#,
        r#"{"int":2147483647}"#,
    );
    let records =
        r#"[{"type":"record","name":"n.A","fields":[]},{"type":"record","name":"n.B","fields":[]}]"#;
    check(records, r#"{"n.B":{}}"#, r#"{"n.B":{}}"#);
    bad(records, "{}", Ambiguous);
    let map = r#"["null",{"type":"map","values":"string"}]"#;
    check(map, r#"{"a":"b"}"#, r#"{"a":"b"}"#);
    check(map, r#"{"map":{"map":"b"}}"#, r#"{"map":{"map":"b"}}"#);
    check(map, r#"{"a":"b","map":"c"}"#, r#"{"a":"b","map":"c"}"#);
    let look_alike =
        r#"["string",{"type":"record","name":"R","fields":[{"name":"string","type":"string"}]}]"#;
    check(look_alike, r#"{"R":{"string":"a"}}"#, r#"{"R":{"string":"a"}}"#);
    check(look_alike, r#"{"string":"a"}"#, r#""a""#);
    let second = r#"["int",{"type":"record","name":"R","fields":[{"name":"x","type":"int"},{"name":"int","type":"int"}]}]"#;
    bad(second, r#"{"x":1,"int":2}"#, Ambiguous);
}

#[test]
fn keys_of_a_map_are_unique_in_json() {
    let map = contract(r#"{"type":"map","values":"int"}"#);
    round(&map, r#"{"a":1,"b":2}"#, r#"{"a":1,"b":2}"#);
    refused(
        &map,
        r#"{"a":1,"\u0061":2}"#,
        ViolationKind::Repeated,
        r#"key "a" is there twice"#,
    );
}

#[test]
fn recursive_values_have_a_depth() {
    let list = contract(
        r#"{"type":"record","name":"L","fields":[{"name":"v","type":"int"},{"name":"next","type":["null","L"],"default":null}]}"#,
    );
    round(
        &list,
        r#"{"v":1,"next":{"v":2}}"#,
        r#"{"v":1,"next":{"v":2,"next":null}}"#,
    );
    let nested = |levels: usize| {
        format!(
            "{}{{\"v\":1}}{}",
            r#"{"v":1,"next":"#.repeat(levels - 1),
            "}".repeat(levels - 1)
        )
    };
    let encoded = list.encode_json(nested(64).as_bytes()).unwrap();
    assert!(list.check_content(encoded.get().content()).is_ok());
    assert_eq!(
        list.encode_json(nested(65).as_bytes()).map_err(|v| v.kind()),
        Err(ViolationKind::Depth)
    );
    let mut deeper = [2_u8, 2].repeat(64);
    deeper.extend([2, 0]);
    assert_eq!(
        list.check_content(&deeper).map_err(|v| v.kind()),
        Err(ViolationKind::Depth)
    );
    assert_eq!(
        list.encode_json("[".repeat(1_000_000).as_bytes())
            .map_err(|v| v.kind()),
        Err(ViolationKind::Type)
    );
}

#[test]
fn invalid_bytes_are_told_apart() {
    use ViolationKind::{Branch, Depth, Frame, Range, Size, Symbol, Trailing, Truncated, Utf8, Varint};
    let check = |ty: &str, bytes: &[u8], expected: Option<ViolationKind>| {
        let contract = contract(ty);
        assert_eq!(
            contract.check_content(bytes).err().map(|v| v.kind()),
            expected,
            "{ty} {bytes:?}"
        );
        assert_eq!(
            contract.own_reader().to_json(bytes).err().map(|v| v.kind()),
            expected,
            "{ty} {bytes:?}"
        );
    };
    check(r#""int""#, &[2], None);
    check(r#""int""#, &[], Some(Truncated));
    check(r#""int""#, &[2, 2], Some(Trailing));
    check(r#""int""#, &[0x82, 0], Some(Varint));
    check(r#""int""#, &[0x80, 0x80, 0x80, 0x80, 0x10], Some(Range));
    check(r#""boolean""#, &[2], Some(Range));
    check(r#""string""#, &[2, 0xff], Some(Utf8));
    check(r#""string""#, &[4, 0x61], Some(Truncated));
    check(r#""string""#, &[1], Some(Range));
    check(r#"["null","string"]"#, &[4], Some(Branch));
    check(r#"["null","string"]"#, &[1], Some(Branch));
    check(
        r#"{"type":"enum","name":"E","symbols":["A"]}"#,
        &[2],
        Some(Symbol),
    );
    let ints = r#"{"type":"array","items":"int"}"#;
    check(ints, &[2, 2, 0], None);
    check(ints, &[1, 2, 2, 0], None);
    check(ints, &[1, 4, 2, 0], Some(Range));
    check(ints, &[1, 6, 2, 0], Some(Truncated));
    check(ints, &[2, 2], Some(Truncated));
    check(
        ints,
        &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        Some(Truncated),
    );
    check(
        r#"{"type":"array","items":"null"}"#,
        &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        Some(Size),
    );
    check(
        r#"{"type":"map","values":"int"}"#,
        &[2, 2, 0xff, 2, 0],
        Some(Utf8),
    );
    check(
        r#"{"type":"record","name":"R","fields":[{"name":"r","type":"R"}]}"#,
        &[],
        Some(Depth),
    );
    let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":2}"#;
    check(decimal, &[2, 99], None);
    check(decimal, &[2, 100], Some(Range));
    check(decimal, &[0], Some(Range));
    let framed = |bytes: &'static [u8]| {
        contract(r#""int""#)
            .check(&bytes::Bytes::from_static(bytes))
            .err()
            .map(|v| v.kind())
    };
    assert_eq!(framed(&[0, 0, 0, 0, 7, 2]), None);
    assert_eq!(framed(&[0, 0, 0, 0, 8, 2]), Some(Frame));
    assert_eq!(framed(&[1, 0, 0, 0, 7, 2]), Some(Frame));
    assert_eq!(framed(&[0, 0, 0, 0, 7]), Some(Truncated));
}

#[test]
fn limits_hold_for_bytes_and_json() {
    let schema = Arc::new(Schema::parse(r#"{"type":"array","items":["null","string"]}"#).unwrap());
    let limits = Limits {
        content_bytes_max: 100,
        json_bytes_max: 200,
        ..Limits::default()
    };
    let small = Contract::with_limits(SchemaId(1), schema, limits);
    let text = format!("[\"{}\"]", "a".repeat(100));
    assert_eq!(
        small.encode_json(text.as_bytes()).map_err(|v| v.kind()),
        Err(ViolationKind::Size)
    );
    let nulls = [&[0xa0, 1][..], &[0; 80], &[0]].concat();
    assert!(small.check_content(&nulls).is_ok());
    assert_eq!(
        small.own_reader().to_json(&nulls).map_err(|v| v.kind()),
        Err(ViolationKind::Size)
    );
    assert_eq!(
        small.check_content(&[0; 101]).map_err(|v| v.kind()),
        Err(ViolationKind::Size)
    );
}

#[test]
fn defaults_are_held_to_the_limits_too() {
    let nulls = vec!["null"; 65_537].join(",");
    let many = contract(&format!(
        r#"{{"type":"record","name":"R","fields":[{{"name":"a","type":{{"type":"array","items":"null"}},"default":[{nulls}]}}]}}"#
    ));
    assert_eq!(
        many.encode_json(b"{}").map_err(|v| v.kind()),
        Err(ViolationKind::Size)
    );
    assert!(many.encode_json(br#"{"a":[null]}"#).is_ok());
}
