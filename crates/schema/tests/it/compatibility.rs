//! The compatibility rules, one by one and against Java's verdicts.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schema::avro::Schema;
use evenkeel_schema::avro::compatibility::{Direction, Incompatibility, Level, check_level, check_pair};
use serde_json::{Value, json};

use crate::java;
use crate::schema_pairs;

fn parse(text: &str) -> Schema {
    Schema::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"shop.Order","fields":[{fields}]}}"#)
}

/// `expected`: the findings as `TYPE pointer`, one a line.
#[track_caller]
fn check(reader: &str, writer: &str, expected: &[&str]) {
    let findings = check_pair(&parse(reader), &parse(writer)).unwrap();
    let found: Vec<String> = findings
        .iter()
        .map(|finding| format!("{} {}", finding.kind().as_str(), finding.pointer()))
        .collect();
    assert_eq!(found, expected, "reader {reader}, writer {writer}");
}

#[test]
fn promotions() {
    for (reader, writer) in [
        ("long", "int"),
        ("float", "int"),
        ("float", "long"),
        ("double", "int"),
        ("double", "long"),
        ("double", "float"),
        ("bytes", "string"),
        ("string", "bytes"),
    ] {
        check(&format!("{reader:?}"), &format!("{writer:?}"), &[]);
    }
    for (reader, writer) in [
        ("int", "long"),
        ("int", "float"),
        ("long", "float"),
        ("float", "double"),
        ("boolean", "int"),
        ("null", "int"),
        ("string", "int"),
    ] {
        check(
            &format!("{reader:?}"),
            &format!("{writer:?}"),
            &["TYPE_MISMATCH /"],
        );
    }
}

#[test]
fn logical_types_do_not_matter() {
    check(
        r#""bytes""#,
        r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#,
        &[],
    );
    check(r#"{"type":"int","logicalType":"date"}"#, r#""int""#, &[]);
}

#[test]
fn a_new_field_needs_a_default() {
    let old = record(r#"{"name":"id","type":"string"}"#);
    check(
        &record(r#"{"name":"id","type":"string"},{"name":"note","type":"string","default":""}"#),
        &old,
        &[],
    );
    check(
        &record(r#"{"name":"id","type":"string"},{"name":"note","type":"string"}"#),
        &old,
        &["READER_FIELD_MISSING_DEFAULT_VALUE /fields/1"],
    );
    check(
        &old,
        &record(r#"{"name":"id","type":"string"},{"name":"note","type":"string"}"#),
        &[],
    );
}

#[test]
fn a_field_is_found_by_its_alias() {
    let old = record(r#"{"name":"price","type":"int"}"#);
    check(
        &record(r#"{"name":"unit_price","aliases":["price"],"type":"long"}"#),
        &old,
        &[],
    );
    check(
        &record(r#"{"name":"unit_price","aliases":["price"],"type":"string"}"#),
        &old,
        &["TYPE_MISMATCH /fields/0/type"],
    );
    check(
        &record(r#"{"name":"unit_price","aliases":["cost"],"type":"int"}"#),
        &old,
        &["READER_FIELD_MISSING_DEFAULT_VALUE /fields/0"],
    );
}

#[test]
fn a_field_that_matches_two_is_refused() {
    let old = record(r#"{"name":"a","type":"int"},{"name":"b","type":"int"}"#);
    check(
        &record(r#"{"name":"a","aliases":["b"],"type":"int"}"#),
        &old,
        &["NAME_MISMATCH /fields/0"],
    );
}

#[test]
fn names_are_compared_without_namespace_and_with_aliases() {
    let fixed = |name: &str, aliases: &str| {
        format!(r#"{{"type":"fixed","name":"{name}","aliases":[{aliases}],"size":2}}"#)
    };
    check(&fixed("n.A", ""), &fixed("m.A", ""), &[]);
    check(&fixed("n.B", ""), &fixed("n.A", ""), &["NAME_MISMATCH /name"]);
    check(&fixed("n.B", r#""A""#), &fixed("n.A", ""), &[]);
    check(
        &fixed("n.B", r#""A""#),
        &fixed("m.A", ""),
        &["NAME_MISMATCH /name"],
    );
    check(&fixed("n.B", r#""m.A""#), &fixed("m.A", ""), &[]);
}

#[test]
fn fixed_sizes_agree() {
    check(
        r#"{"type":"fixed","name":"F","size":2}"#,
        r#"{"type":"fixed","name":"F","size":3}"#,
        &["FIXED_SIZE_MISMATCH /size"],
    );
}

#[test]
fn an_enum_default_takes_unknown_symbols() {
    let symbols = |symbols: &str, default: &str| {
        format!(r#"{{"type":"enum","name":"Colour","symbols":[{symbols}]{default}}}"#)
    };
    let writer = symbols(r#""RED","GREEN","BLUE""#, "");
    check(
        &symbols(r#""RED""#, ""),
        &writer,
        &["MISSING_ENUM_SYMBOLS /symbols"],
    );
    check(&symbols(r#""RED""#, r#","default":"RED""#), &writer, &[]);
    let findings = check_pair(&parse(&symbols(r#""RED""#, "")), &parse(&writer)).unwrap();
    assert_eq!(findings[0].detail(), "[BLUE, GREEN]");
}

#[test]
fn unions_read_what_one_of_their_branches_reads() {
    check(r#"["null","long"]"#, r#""int""#, &[]);
    check(r#"["null","int"]"#, r#""long""#, &["MISSING_UNION_BRANCH /"]);
    check(r#""long""#, r#"["int","long"]"#, &[]);
    check(
        r#""int""#,
        r#"["null","int","long"]"#,
        &["TYPE_MISMATCH /0", "TYPE_MISMATCH /2"],
    );
    check(r#"["null","long"]"#, r#"["null","int"]"#, &[]);
    check(
        r#"["null","int"]"#,
        r#"["null","string","int"]"#,
        &["MISSING_UNION_BRANCH /1"],
    );
}

#[test]
fn recursion_ends_and_a_disagreement_in_it_is_found_once() {
    let tree = |value: &str| {
        format!(
            r#"{{"type":"record","name":"Tree","fields":[{{"name":"left","type":["null","Tree"]}},{{"name":"value","type":{value:?}}},{{"name":"right","type":["null","Tree"]}}]}}"#
        )
    };
    check(&tree("long"), &tree("int"), &[]);
    check(&tree("int"), &tree("long"), &["TYPE_MISMATCH /fields/1/type"]);
}

/// Java notes `B` as readable while `n.A` around it is still in progress and taken to be readable, and does not take it back when
/// `n.A` turns out not to be: `Root.c` reads an int where a long was written.
#[test]
fn what_agreed_only_on_an_assumption_is_taken_back() {
    let (reader, writer) = UNSOUND_IN_JAVA;
    check(
        reader,
        writer,
        &["TYPE_MISMATCH /fields/1/type/fields/0/type/fields/1/type"],
    );
}

const UNSOUND_IN_JAVA: (&str, &str) = (
    r#"{"type":"record","name":"Root","fields":[
        {"name":"u","type":[
            {"type":"record","name":"n.A","fields":[
                {"name":"b","type":{"type":"record","name":"n.B","fields":[{"name":"a","type":"n.A"}]}},
                {"name":"bad","type":"int"}]},
            {"type":"record","name":"m.A","fields":[]}]},
        {"name":"c","type":"n.B"}]}"#,
    r#"{"type":"record","name":"Root","fields":[
        {"name":"u","type":{"type":"record","name":"n.A","fields":[
            {"name":"b","type":{"type":"record","name":"n.B","fields":[{"name":"a","type":"n.A"}]}},
            {"name":"bad","type":"long"}]}},
        {"name":"c","type":"n.B"}]}"#,
);

#[test]
fn findings_read_as_sentences() {
    let new = record(
        r#"{"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[{"name":"unit_price","type":"int"},{"name":"discount","type":["null","float"]}]}}}"#,
    );
    let old = record(
        r#"{"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[{"name":"unit_price","type":"string"}]}}}"#,
    );
    let conflicts = check_level(Level::Backward, &parse(&new), &[&parse(&old)]).unwrap();
    assert_eq!(
        conflicts[0].messages(),
        [
            "lines[].discount: the field \"discount\" of the new schema has no default and is not in the old schema",
            "lines[].unit_price: the new schema has int, which cannot read string of the old schema",
        ]
    );
}

#[test]
fn a_missing_branch_says_why_its_namesake_does_not_do() {
    let order = |fields: &str| format!(r#"["null",{}]"#, record(fields));
    let findings = check_pair(
        &parse(&order(r#"{"name":"id","type":"int"}"#)),
        &parse(&order(r#"{"name":"id","type":"string"}"#)),
    )
    .unwrap();
    assert_eq!(
        findings[0].to_string(),
        "no branch of union [null, shop.Order] in the reader's schema can read record shop.Order of the writer's schema \
         (id: the reader's schema has int, which cannot read string of the writer's schema)"
    );
}

#[test]
fn levels_choose_versions_and_directions() {
    let v1 = parse(&record(r#"{"name":"id","type":"int"}"#));
    let v2 = parse(&record(r#"{"name":"id","type":"long"}"#));
    let narrow = parse(&record(r#"{"name":"id","type":"int"}"#));
    let cases: [(Level, &[(usize, Direction)]); 7] = [
        (Level::None, &[]),
        (Level::Backward, &[(1, Direction::Backward)]),
        (Level::BackwardTransitive, &[(1, Direction::Backward)]),
        (Level::Forward, &[]),
        (Level::ForwardTransitive, &[]),
        (Level::Full, &[(1, Direction::Backward)]),
        (Level::FullTransitive, &[(1, Direction::Backward)]),
    ];
    for (level, expected) in cases {
        let conflicts = check_level(level, &narrow, &[&v1, &v2]).unwrap();
        let found: Vec<_> = conflicts
            .iter()
            .map(|conflict| (conflict.earlier, conflict.direction))
            .collect();
        assert_eq!(found, expected, "{level}");
        assert_eq!(level.as_str().parse::<Level>(), Ok(level));
    }
    let text = parse(&record(r#"{"name":"id","type":"string"}"#));
    let all = check_level(Level::FullTransitive, &text, &[&v1, &v2]).unwrap();
    assert_eq!(all.len(), 4);
    assert_eq!(check_level(Level::Full, &text, &[&v1, &v2]).unwrap().len(), 2);
    assert_eq!(check_level(Level::Full, &text, &[]).unwrap(), []);
    assert!("SIDEWARD".parse::<Level>().is_err());
}

/// Two rings of records of coprime lengths meet in lengths of their product: neither stack nor memory may follow.
#[test]
fn hostile_cycles_are_bounded() {
    let ring = |length: usize, leaf: &str| {
        let inner = (1..length).rev().fold(r#""R0""#.to_owned(), |next, index| {
            format!(r#"{{"type":"record","name":"n{index}.R","fields":[{{"name":"x","type":"{leaf}"}},{{"name":"next","type":{next}}}]}}"#)
        });
        format!(
            r#"{{"type":"record","name":"R0","aliases":["R"],"fields":[{{"name":"next","type":["null",{inner}]}}]}}"#
        )
    };
    let findings = check_pair(&parse(&ring(23, "int")), &parse(&ring(19, "string"))).unwrap();
    assert!(!findings.is_empty());
    assert!(findings.iter().map(|finding| finding.pointer().len()).max() < Some(10_000));
}

const PAIRS: u64 = 4000;

/// Where we answer otherwise than Java, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deviation {
    /// Java compares an enum field that has an enum default but no field default with the writer's whole record, and reports the
    /// mismatch of these two types. What is wrong is that the field has no default.
    EnumDefaultIsNoFieldDefault,
    /// Java remembers the findings of a pair of types with the path at which it first met the pair, counted from the branch when
    /// that was inside a union, and repeats them with that path wherever it meets the pair again. Ours is a path in the schema.
    RememberedPath,
    /// Java takes a union's branch to be readable when it fails only for the record around the union, and stops there. We follow
    /// it further out and say so, beside the finding that both have.
    ConsequenceOfTheRecordAround,
    /// Java throws when a field of the reader matches several of the writer. We report it.
    SeveralMatches,
    /// Java counts a field twice whose aliases repeat its own name, and throws. It is one match.
    AliasIsItsName,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Verdict {
    kind: String,
    path: String,
}

#[test]
fn java_agrees_on_generated_pairs() {
    let pairs = (0..PAIRS)
        .map(schema_pairs::pair)
        .map(|(before, after)| (before.to_string(), after.to_string()));
    let pairs: Vec<(String, String)> = pairs.collect();
    let both = pairs
        .iter()
        .flat_map(|(before, after)| [(before, after), (after, before)]);
    let questions = both
        .clone()
        .map(|(reader, writer)| json!({"reader": reader, "writer": writer}))
        .collect::<Vec<Value>>();
    let Some(answers) = java::ask(&questions) else {
        return;
    };
    let (mut compared, mut incompatible, mut differing) = (0, 0, Vec::new());
    let mut deviations = BTreeMap::new();
    for ((reader, writer), answer) in both.zip(&answers) {
        let (Ok(reads), Ok(writes)) = (Schema::parse(reader), Schema::parse(writer)) else {
            continue;
        };
        let ours = check_pair(&reads, &writes).unwrap();
        compared += 1;
        incompatible += u64::from(!ours.is_empty());
        match judge(answer, &ours, reader) {
            Ok(seen) => seen
                .into_iter()
                .for_each(|deviation| *deviations.entry(deviation).or_insert(0) += 1),
            Err(reason) => {
                differing.push(format!(
                    "{reason}\n reader {reader}\n writer {writer}\n java {answer}\n ours {ours:?}"
                ));
            }
        }
    }
    println!("{compared} pairs compared, {incompatible} incompatible, deviations {deviations:?}");
    assert!(
        differing.is_empty(),
        "{} differ:\n{}",
        differing.len(),
        differing.join("\n")
    );
    assert!(compared > PAIRS && incompatible > compared / 4 && incompatible < compared * 3 / 4);
    assert_eq!(
        deviations.len(),
        5,
        "every deviation in the table still exists: {deviations:?}"
    );
}

#[test]
fn java_is_unsound_where_we_say_so() {
    let (reader, writer) = UNSOUND_IN_JAVA;
    let Some(answers) = java::ask(&[json!({"reader": reader, "writer": writer})]) else {
        return;
    };
    assert_eq!(answers, [json!({"findings": []})]);
}

/// The deviations by which the two answers are the same, or how they differ.
fn judge(java: &Value, ours: &[Incompatibility], reader: &str) -> Result<BTreeSet<Deviation>, String> {
    let Some(theirs) = java["findings"].as_array() else {
        let ambiguous = java["error"]
            .as_str()
            .is_some_and(|error| error.contains("matches multiple fields"));
        return if ambiguous
            && ours
                .iter()
                .any(|finding| finding.to_string().contains("matches several"))
        {
            Ok(BTreeSet::from([Deviation::SeveralMatches]))
        } else if ambiguous && has_alias_of_its_name(&serde_json::from_str(reader).unwrap()) {
            Ok(BTreeSet::from([Deviation::AliasIsItsName]))
        } else {
            Err(format!("Java fails: {}", java["error"]))
        };
    };
    let theirs = theirs
        .iter()
        .map(|one| verdict(one["type"].as_str(), one["path"].as_str()));
    let theirs: BTreeSet<Verdict> = theirs.collect();
    let ours = ours
        .iter()
        .map(|one| verdict(Some(one.kind().as_str()), Some(one.pointer())));
    let ours: BTreeSet<Verdict> = ours.collect();
    if theirs.is_empty() != ours.is_empty() {
        return Err("one says compatible, the other not".to_owned());
    }
    let mut deviations = BTreeSet::new();
    for java in theirs.difference(&ours) {
        let alike = ours.iter().find_map(|ours| deviation(java, ours));
        deviations.insert(alike.ok_or_else(|| format!("only Java finds {java:?}"))?);
    }
    for ours in ours.difference(&theirs) {
        let consequence =
            (ours.kind == "MISSING_UNION_BRANCH").then_some(Deviation::ConsequenceOfTheRecordAround);
        let alike = theirs
            .iter()
            .find_map(|java| deviation(java, ours))
            .or(consequence);
        deviations.insert(alike.ok_or_else(|| format!("only we find {ours:?}"))?);
    }
    Ok(deviations)
}

fn deviation(java: &Verdict, ours: &Verdict) -> Option<Deviation> {
    let last = |path: &str| path.rsplit('/').next().map(str::to_owned);
    if java.kind == ours.kind && last(&java.path) == last(&ours.path) {
        return Some(Deviation::RememberedPath);
    }
    let field = java
        .path
        .strip_suffix("/type")
        .filter(|_| java.kind == "TYPE_MISMATCH")?;
    let same = ours.kind == "READER_FIELD_MISSING_DEFAULT_VALUE" && ours.path.ends_with(field);
    same.then_some(Deviation::EnumDefaultIsNoFieldDefault)
}

fn has_alias_of_its_name(node: &Value) -> bool {
    let own = node["aliases"]
        .as_array()
        .is_some_and(|aliases| aliases.contains(&node["name"]));
    let inner: Vec<&Value> = match node {
        Value::Object(map) => map.values().collect(),
        Value::Array(list) => list.iter().collect(),
        _ => Vec::new(),
    };
    own || inner.into_iter().any(has_alias_of_its_name)
}

fn verdict(kind: Option<&str>, path: Option<&str>) -> Verdict {
    Verdict {
        kind: kind.unwrap().to_owned(),
        path: path.unwrap().to_owned(),
    }
}
