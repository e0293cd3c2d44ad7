//! Python's fastavro as the other reader and writer.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use evenkeel_schema::avro::Kind;
use serde_json::{Value, json};

use crate::random::cases;
use crate::values::{ORDER, contract};

/// One answer per question; none on a machine without the interpreter.
fn ask(questions: &[Value]) -> Option<Vec<Value>> {
    let python = evenkeel_testkit::python_or_skip()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fastavro_judge.py");
    let mut judge = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the interpreter starts");
    let mut stdin = judge.stdin.take().expect("stdin is piped");
    let lines: String = questions.iter().map(|question| format!("{question}\n")).collect();
    let asking = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = judge.wait_with_output().expect("the judge ends");
    asking
        .join()
        .expect("no panic")
        .expect("the judge reads all questions");
    let answers = String::from_utf8(output.stdout).expect("answers are text");
    let answers: Vec<Value> = answers
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    assert_eq!(answers.len(), questions.len(), "the judge answers every question");
    Some(answers)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().collect();
    let pairs = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16));
    pairs.collect::<Result<_, _>>().expect("hexadecimal digits")
}

#[test]
fn fastavro_reads_an_order_and_writes_the_same_bytes() {
    let contract = contract(ORDER);
    let json = r#"{"id":"0198f0a0-7c3e-7000-8000-000000000001","customer":"17850","placed":"2010-12-01T08:26:00.250Z",
        "lines":[{"stock_code":"85123A","quantity":6,"unit_price":"2.55"},{"stock_code":"é","quantity":-6,"unit_price":"-0.001"}]}"#;
    let valid = contract.encode_json(json.as_bytes()).unwrap();
    let content = hex(valid.get().content());
    let schema: Value = serde_json::from_str(ORDER).unwrap();
    let Some(answers) = ask(&[json!({"schema": schema, "bytes": content})]) else {
        return;
    };
    let text = "{'id': UUID('0198f0a0-7c3e-7000-8000-000000000001'), 'customer': '17850', \
        'placed': datetime.datetime(2010, 12, 1, 8, 26, 0, 250000, tzinfo=datetime.timezone.utc), 'channel': 'WEB', \
        'lines': [{'stock_code': '85123A', 'quantity': 6, 'unit_price': Decimal('2.550')}, \
        {'stock_code': 'é', 'quantity': -6, 'unit_price': Decimal('-0.001')}], 'notes': {}}";
    assert_eq!(answers[0]["text"], text, "{}", answers[0]);
    assert_eq!(answers[0]["left"], 0);
    assert_eq!(answers[0]["bytes"], content);
    assert_eq!(answers[0]["canonical"], contract.schema().canonical_form());
    let crc = contract.schema().fingerprint_crc64().to_le_bytes();
    assert_eq!(answers[0]["crc"], hex(&crc));
    assert_eq!(answers[0]["sha256"], hex(&contract.schema().fingerprint_sha256()));
    assert_eq!(answers[0]["md5"], hex(&contract.schema().fingerprint_md5()));
}

#[test]
fn fastavro_reads_what_we_write_and_we_read_what_it_writes() {
    let cases: Vec<_> = cases().take(600).collect();
    let questions: Vec<Value> = cases
        .iter()
        .map(|(_, _, contract, content)| {
            let schema: Value = serde_json::from_str(&contract.schema().to_json()).unwrap();
            json!({"schema": schema, "bytes": hex(content)})
        })
        .collect();
    let Some(answers) = ask(&questions) else { return };
    let mut judged = 0;
    for ((seed, _, contract, content), answer) in cases.iter().zip(&answers) {
        // It has its own opinion of names and logical types; what it can judge it must judge as we do.
        let Some(bytes) = answer["bytes"].as_str() else {
            continue;
        };
        let context = format!("seed {seed}\n{}\n{answer}", contract.schema().to_json());
        assert_eq!(answer["left"], 0, "{context}");
        let theirs = unhex(bytes);
        contract
            .check_content(&theirs)
            .unwrap_or_else(|error| panic!("{context}\n{error}"));
        if !contract
            .schema()
            .types()
            .any(|(_, ty)| matches!(ty.kind(), Kind::Union(_) | Kind::Float))
        {
            // Read from a union, a Python value does not tell its branch, and a float is a double.
            assert_eq!(&theirs, content, "{context}");
        }
        judged += 1;
    }
    assert!(
        judged > 300,
        "fastavro judged only {judged} of {}: {:?}",
        answers.len(),
        answers.iter().find(|a| a["error"].is_string())
    );
}
