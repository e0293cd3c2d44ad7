//! The files of deploy/aws/function make the same function, which is told what it reads and may do what it does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use evenkeel_testkit::python_or_skip;
use serde_json::{Value, json};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What scripts/judges/drain_function.py says of each file.
fn described() -> Option<BTreeMap<String, Value>> {
    let output = Command::new(python_or_skip()?)
        .arg(repository().join("scripts/judges/drain_function.py"))
        .arg(repository().join("deploy/aws/function"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn the_files_make_the_same_function_with_the_rights_and_alarms_that_it_needs() {
    let Some(files) = described() else { return };
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["drain.cloudformation.yaml", "drain.tf"]);
    let network = [
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
    ];
    let mut allowed = vec![
        "dynamodb:DescribeStream",
        "dynamodb:GetRecords",
        "dynamodb:GetShardIterator",
        "dynamodb:ListStreams",
        "kafka-cluster:Connect",
        "kafka-cluster:DescribeClusterDynamicConfiguration",
        "kafka-cluster:DescribeTopic",
        "kafka-cluster:ReadData",
        "kafka-cluster:WriteData",
        "kafka-cluster:WriteDataIdempotently",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
    ];
    allowed.extend(network);
    allowed.sort_unstable();
    let expected = json!({
        "runtime": ["provided.al2023", "bootstrap"],
        "timeout": 60,
        "memory": 256,
        "concurrency": 2,
        "variables": [
            "EVENKEEL_KAFKA__BROKERS", "EVENKEEL_KAFKA__SASL__MECHANISM", "EVENKEEL_KAFKA__TLS__ENABLED",
            "EVENKEEL_PUBLISH__APPLICATION", "EVENKEEL_STANDBY__URL"
        ],
        "allowed": allowed,
        "denied": network,
        "table_policies": 1,
        "schedule": ["rate(1 minute)"],
        "schedule_retries": 0,
        "stream_answers": ["ReportBatchItemFailures"],
        "stream_retries": 0,
        "stream_age": 60,
        "stream_filter": {"eventName": ["INSERT"], "dynamodb": {"Keys": {"sk": {"S": [{"prefix": "block/"}]}}}},
        "alarms": [
            ["AWS/Lambda", "Errors", "notBreaching"],
            ["Evenkeel", "OldestParkedAgeSeconds", "breaching"]
        ]
    });
    for (name, file) in files {
        assert_eq!(file, expected, "deploy/aws/function/{name}");
    }
}
