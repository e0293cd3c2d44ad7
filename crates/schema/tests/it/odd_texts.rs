//! Schema texts as people and hostile clients write them: correct, odd and wrong.

use serde_json::{Value, json};

use crate::schema_pairs::{Dice, pair};

/// Several hundred texts: some by hand for every rule that we know of, the others made by damaging good ones.
pub(crate) fn texts() -> Vec<String> {
    let mut texts: Vec<String> = BY_HAND.iter().map(|&text| text.to_owned()).collect();
    for default in DEFAULTS {
        for kind in TYPES {
            texts.push(format!(r#"{{"type":"record","name":"R","fields":[{{"name":"f","type":{kind},"default":{default}}}]}}"#));
        }
    }
    for name in NAMES {
        let name = json!(name);
        texts.push(format!(r#"{{"type":"record","name":{name},"fields":[]}}"#));
        texts.push(format!(
            r#"{{"type":"fixed","name":"F","namespace":{name},"size":1}}"#
        ));
        texts.push(format!(r#"{{"type":"enum","name":"E","symbols":[{name}]}}"#));
        texts.push(format!(
            r#"{{"type":"record","name":"R","fields":[{{"name":{name},"type":"int"}}]}}"#
        ));
        texts.push(format!(
            r#"{{"type":"record","name":"R","aliases":[{name}],"fields":[]}}"#
        ));
        texts.push(format!(
            r#"{{"type":"record","name":"n.R","fields":[{{"name":"f","aliases":[{name}],"type":"int"}}]}}"#
        ));
        texts.push(format!(
            r#"[{{"type":"enum","name":"n.E","symbols":["A"]}},{name}]"#
        ));
    }
    texts.extend((0..600).map(damaged));
    texts
}

/// A good schema with one node of its JSON replaced, removed or doubled.
fn damaged(seed: u64) -> String {
    let mut dice = Dice::new(seed);
    let (mut schema, _) = pair(seed.wrapping_mul(7919));
    let mut places = Vec::new();
    collect(&schema, String::new(), &mut places);
    let place = dice.pick(&places).clone();
    let odd = [
        json!(null),
        json!(7),
        json!(-1),
        json!(1.5),
        json!(true),
        json!(""),
        json!("int"),
        json!("no.Such"),
        json!([]),
        json!({}),
        json!(["null", "null"]),
        json!([["int"]]),
    ];
    let (parent, key) = place.rsplit_once('/').unwrap_or(("", ""));
    match (dice.below(3), schema.pointer_mut(parent)) {
        (0, Some(Value::Object(map))) if !place.is_empty() => drop(map.remove(key)),
        (1, Some(Value::Array(list))) if !list.is_empty() => list.push(list[0].clone()),
        _ => *schema.pointer_mut(&place).unwrap() = dice.pick(&odd).clone(),
    }
    schema.to_string()
}

fn collect(node: &Value, at: String, places: &mut Vec<String>) {
    match node {
        Value::Object(map) => map
            .iter()
            .for_each(|(key, inner)| collect(inner, format!("{at}/{key}"), places)),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(index, inner)| collect(inner, format!("{at}/{index}"), places)),
        _ => {}
    }
    places.push(at);
}

const NAMES: [&str; 17] = [
    "R", "_", "a1", "1a", "", "a-b", "a b", "é", "a.b", ".a", "a.", "a..b", "a.1b", "int", "record",
    "n.string", "$x",
];

const TYPES: [&str; 14] = [
    r#""null""#,
    r#""boolean""#,
    r#""int""#,
    r#""long""#,
    r#""float""#,
    r#""double""#,
    r#""bytes""#,
    r#""string""#,
    r#"{"type":"array","items":"int"}"#,
    r#"{"type":"map","values":["null","string"]}"#,
    r#"["null","int"]"#,
    r#"["string",{"type":"enum","name":"E","symbols":["A","B"]}]"#,
    r#"{"type":"fixed","name":"F","size":2}"#,
    r#"{"type":"record","name":"I","fields":[{"name":"a","type":"int"},{"name":"b","type":"string","default":"x"}]}"#,
];

const DEFAULTS: [&str; 20] = [
    "null",
    "true",
    "1",
    "-1",
    "2147483647",
    "2147483648",
    "9223372036854775808",
    "1.0",
    "1e2",
    "1.5",
    r#""A""#,
    r#""\u00ff\u0000""#,
    r#""NaN""#,
    r#""12""#,
    "[]",
    "[1,2]",
    r#"[1,"a"]"#,
    "{}",
    r#"{"a":1}"#,
    r#"{"a":null,"b":"x"}"#,
];

const BY_HAND: &[&str] = &[
    "",
    " ",
    "null",
    "int",
    r#""int""#,
    r#""int" "#,
    r#""int" x"#,
    r#""int" "int""#,
    r#""Int""#,
    r#""unknown""#,
    "7",
    "true",
    "{}",
    "[]",
    "[[]]",
    r#"["int"]"#,
    r#"["int","int"]"#,
    r#"["int",["string"]]"#,
    r#"["null",{"type":"array","items":"int"},{"type":"array","items":"string"}]"#,
    r#"["null",{"type":"map","values":"int"},{"type":"map","values":"int"}]"#,
    r#"[{"type":"int","logicalType":"date"},"int"]"#,
    r#"[{"type":"fixed","name":"A","size":1},{"type":"fixed","name":"A","size":1}]"#,
    r#"[{"type":"fixed","name":"A","size":1},{"type":"fixed","name":"A","size":2}]"#,
    r#"[{"type":"fixed","name":"n.A","size":1},{"type":"fixed","name":"m.A","size":1}]"#,
    r#"[{"type":"fixed","name":"A","size":1},"A"]"#,
    r#"["A",{"type":"fixed","name":"A","size":1}]"#,
    r#"{"type":"int","type":"string"}"#,
    r#"{"type":{"type":"int"}}"#,
    r#"{"type":["int","null"]}"#,
    r#"{"type":"record"}"#,
    r#"{"type":"record","name":"R"}"#,
    r#"{"type":"record","name":"R","fields":{}}"#,
    r#"{"type":"record","name":"R","fields":[7]}"#,
    r#"{"type":"record","name":"R","fields":[{}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a"}]}"#,
    r#"{"type":"record","name":"R","fields":[{"type":"int"}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","aliases":["b"]},{"name":"b","type":"int"}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","aliases":"b"}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","aliases":[7]}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","order":"ascending"}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","order":"DESCENDING"}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","order":"upward"}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","order":7}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","doc":7}]}"#,
    r#"{"type":"record","name":"R","doc":7,"fields":[]}"#,
    r#"{"type":"record","name":7,"fields":[]}"#,
    r#"{"type":"record","name":null,"fields":[]}"#,
    r#"{"type":"record","name":"R","namespace":7,"fields":[]}"#,
    r#"{"type":"record","name":"R","namespace":null,"fields":[]}"#,
    r#"{"type":"record","name":"a.R","namespace":"1bad","fields":[]}"#,
    r#"{"type":"record","name":"R","aliases":"A","fields":[]}"#,
    r#"{"type":"record","name":"R","aliases":[7],"fields":[]}"#,
    r#"{"type":"record","name":"R","aliases":["A","A"],"fields":[]}"#,
    r#"{"type":"error","name":"R","fields":[]}"#,
    r#"{"type":"record","name":"R","fields":[],"extra":{"any":[1,null]}}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"self","type":["null","R"],"default":null}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"self","type":"R"}]}"#,
    r#"{"type":"record","name":"n.R","fields":[{"name":"self","type":["null","R"]}]}"#,
    r#"{"type":"record","name":"n.R","fields":[{"name":"self","type":["null","n.R"]}]}"#,
    r#"{"type":"record","name":"n.R","fields":[{"name":"self","type":["null",".R"]}]}"#,
    r#"{"type":"record","name":"n.R","fields":[{"name":"self","type":{"type":"R"}}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":"Later"},{"name":"b","type":{"type":"fixed","name":"Later","size":1}}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"record","name":"R","fields":[]}}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"fixed","name":"R","size":1}}]}"#,
    r#"{"type":"record","name":"n.R","fields":[{"name":"a","type":{"type":"fixed","name":"F","size":1}},{"name":"b","type":"F"},{"name":"c","type":"n.F"}]}"#,
    r#"{"type":"record","name":"n.R","fields":[{"name":"a","type":{"type":"fixed","name":"m.F","size":1}},{"name":"b","type":"F"}]}"#,
    r#"{"type":"record","name":"n.R","fields":[{"name":"a","type":{"type":"fixed","name":"F","namespace":"","size":1}},{"name":"b","type":"F"}]}"#,
    r#"{"type":"record","name":"n.R","fields":[{"name":"a","type":{"type":"record","name":"m.S","fields":[{"name":"x","type":{"type":"fixed","name":"F","size":1}}]}},{"name":"b","type":"m.F"}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":1,"default":2}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":["int","null"],"default":null}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":["null",{"type":"record","name":"I","fields":[{"name":"x","type":"int"}]}],"default":{"x":1}}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"enum","name":"E","symbols":["A"]},"default":"A"}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"enum","name":"E","symbols":["A"]},"default":"B"}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"fixed","name":"F","size":2},"default":"x"}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":"bytes","default":"\u0100"}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"s","type":["null","R"],"default":null},{"name":"t","type":"R","default":{}}]}"#,
    r#"{"type":"enum","name":"E"}"#,
    r#"{"type":"enum","name":"E","symbols":[]}"#,
    r#"{"type":"enum","name":"E","symbols":"A"}"#,
    r#"{"type":"enum","name":"E","symbols":[7]}"#,
    r#"{"type":"enum","name":"E","symbols":["A","A"]}"#,
    r#"{"type":"enum","name":"E","symbols":["A"],"default":"A"}"#,
    r#"{"type":"enum","name":"E","symbols":["A"],"default":"B"}"#,
    r#"{"type":"enum","name":"E","symbols":["A"],"default":7}"#,
    r#"{"type":"enum","name":"E","symbols":["A"],"default":null}"#,
    r#"{"type":"enum","symbols":["A"]}"#,
    r#"{"type":"array"}"#,
    r#"{"type":"array","items":null}"#,
    r#"{"type":"array","items":"nope"}"#,
    r#"{"type":"array","items":["int"]}"#,
    r#"{"type":"array","items":"int","default":[]}"#,
    r#"{"type":"map"}"#,
    r#"{"type":"map","values":{"type":"map","values":"int"}}"#,
    r#"{"type":"fixed","name":"F"}"#,
    r#"{"type":"fixed","name":"F","size":0}"#,
    r#"{"type":"fixed","name":"F","size":-1}"#,
    r#"{"type":"fixed","name":"F","size":1.0}"#,
    r#"{"type":"fixed","name":"F","size":"1"}"#,
    r#"{"type":"fixed","name":"F","size":2147483647}"#,
    r#"{"type":"fixed","name":"F","size":2147483648}"#,
    r#"{"type":"fixed","size":1}"#,
    r#"{"type":"fixed","name":"F","size":12,"logicalType":"duration"}"#,
    r#"{"type":"fixed","name":"F","size":1,"logicalType":"duration"}"#,
    r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#,
    r#"{"type":"bytes","logicalType":"decimal"}"#,
    r#"{"type":"bytes","logicalType":"decimal","precision":0}"#,
    r#"{"type":"bytes","logicalType":"decimal","precision":2,"scale":3}"#,
    r#"{"type":"bytes","logicalType":"decimal","precision":"4"}"#,
    r#"{"type":"fixed","name":"F","size":1,"logicalType":"decimal","precision":9}"#,
    r#"{"type":"string","logicalType":"date"}"#,
    r#"{"type":"string","logicalType":"uuid"}"#,
    r#"{"type":"string","logicalType":7}"#,
    r#"{"type":"int","logicalType":"unheard-of"}"#,
    r#"{"type":"string","avro.java.string":"String"}"#,
    "/* a comment */ \"int\"",
    "// a comment\n{\"type\": /* here too */ \"int\"}",
    r##"{"type":"string" # no comment
}"##,
    r#"{'type':'int'}"#,
    r#"{type:"int"}"#,
    r#"{"type":"int",}"#,
    r#"["int",]"#,
    r#"{"type":"string","doc":"\ud800"}"#,
    r#"{"type":"string","n":1e400}"#,
    r#"{"type":"string","n":01}"#,
    r#"{"type":"string","n":NaN}"#,
    r#"{"type":"string","n":+1}"#,
    "\u{feff}\"int\"",
    "{\"type\":\"string\",\"doc\":\"a\tb\"}",
];
