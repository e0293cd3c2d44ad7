//! The files of deploy/aws make the table that the code makes, and permit what the code does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::TableDescription;
use bytes::Bytes;
use evenkeel_event::clock::Timestamp;
use evenkeel_flow::diversion::Process;
use evenkeel_store::Keeper as _;
use evenkeel_testkit::python_or_skip;

use super::keeper::{block, change};
use super::proxy::{Act, Proxy};
use super::{connect, create, endpoint, fresh, keeper, keys, settings};
use crate::rows::place;

/// What scripts/judges/standby_table.py says of a file.
#[derive(Debug, serde::Deserialize, PartialEq, Eq)]
struct Described {
    /// Name, role, type.
    keys: BTreeSet<(String, String, String)>,
    billing_mode: String,
    deletion_protection: bool,
    point_in_time_recovery: bool,
    /// What its stream tells.
    stream: String,
    /// What a process may do with the table.
    actions: BTreeSet<String>,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn described() -> Option<BTreeMap<String, Described>> {
    let output = Command::new(python_or_skip()?)
        .arg(repository().join("scripts/judges/standby_table.py"))
        .arg(repository().join("deploy/aws"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// What the code makes and does, seen from the server.
async fn made(endpoint: &str) -> Described {
    let proxy = Proxy::start(endpoint).await;
    let config = fresh();
    create(&proxy.endpoint, &config).await;
    let recovers = proxy.operations().contains("UpdateContinuousBackups");
    let client = Client::from_conf(settings(endpoint).build());
    let table = client.describe_table().table_name(&config.table);
    let table = table.send().await.unwrap().table.unwrap();
    let proxy = Proxy::start(endpoint).await;
    let keeper = connect(&proxy.endpoint, &config).await;
    let at = place("orders", Some(0));
    assert!(keeper.put_lease(Process(1), 1, Bytes::new(), true).await.unwrap());
    let large = vec![block(0, 1_000_000)];
    assert!(keeper.commit(vec![change(&at, None, large)]).await.unwrap());
    assert_eq!(keeper.blocks(&at, 0, 0).await.unwrap().len(), 1);
    assert_eq!(keeper.listed().await.unwrap().len(), 1);
    abandon(&proxy, &keeper).await;
    assert_eq!(keeper.sweep(Timestamp::from_millis(i64::MAX)).await.unwrap(), 1);
    keeper.clean(&at, 1).await.unwrap();
    Described {
        keys: keys_of(&table),
        billing_mode: table
            .billing_mode_summary()
            .unwrap()
            .billing_mode()
            .unwrap()
            .to_string(),
        deletion_protection: table.deletion_protection_enabled().unwrap(),
        point_in_time_recovery: recovers,
        stream: table
            .stream_specification()
            .and_then(|stream| stream.stream_view_type())
            .unwrap()
            .to_string(),
        // A transaction is permitted by what it does to its items, which single requests do as well.
        actions: proxy
            .operations()
            .into_iter()
            .filter(|operation| operation != "TransactWriteItems")
            .map(|operation| format!("dynamodb:{operation}"))
            .collect(),
    }
}

/// Leaves parts that nobody shows.
async fn abandon(proxy: &Proxy, keeper: &evenkeel_store::dynamodb::DynamoKeeper) {
    let blocks = vec![block(0, 1_000_000)];
    proxy.next("TransactWriteItems", vec![Act::refuse("AccessDeniedException")]);
    let refused = keeper
        .commit(vec![change(&place("returns", Some(0)), None, blocks)])
        .await;
    assert!(refused.is_err());
}

fn keys_of(table: &TableDescription) -> BTreeSet<(String, String, String)> {
    let kind = |name: &str| {
        let attributes = table.attribute_definitions().iter();
        let mut kinds = attributes.filter(|attribute| attribute.attribute_name() == name);
        kinds.next().unwrap().attribute_type().to_string()
    };
    assert_eq!(table.attribute_definitions().len(), table.key_schema().len());
    table
        .key_schema()
        .iter()
        .map(|key| {
            let name = key.attribute_name();
            (name.to_owned(), key.key_type().to_string(), kind(name))
        })
        .collect()
}

#[tokio::test]
async fn the_files_make_the_table_that_the_code_makes() {
    let Some(endpoint) = endpoint() else { return };
    let Some(files) = described() else { return };
    let made = made(endpoint).await;
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["standby.cloudformation.yaml", "standby.tf"]);
    for (name, file) in files {
        assert_eq!(file, made, "deploy/aws/{name}");
    }
}

/// The beginning of the sort keys whose insertion wakes the function of deploy/aws/function.
fn wakes() -> String {
    let file = repository().join("deploy/aws/function/drain.cloudformation.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let (_, rest) = text.split_once(r#""sk": {"S": [{"prefix": ""#).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_parked_wakes_the_function_and_leases_and_records_do_not() {
    let Some(endpoint) = endpoint() else { return };
    let (config, keeper) = keeper(endpoint).await;
    let wakes = wakes();
    let waking = async || {
        let all = keys(endpoint, &config).await;
        let is_waking = |key: &&String| key.split_once(' ').unwrap().1.starts_with(&wakes);
        (all.iter().filter(is_waking).count(), all.len())
    };
    assert!(keeper.put_lease(Process(1), 1, Bytes::new(), true).await.unwrap());
    let at = place("orders", Some(0));
    assert!(keeper.commit(vec![change(&at, None, Vec::new())]).await.unwrap());
    let (waking_before, all) = waking().await;
    assert!(
        waking_before == 0 && all >= 3,
        "{all} items, of which {waking_before} wake it"
    );
    // Small, and so large that it is staged.
    for (expected, bytes) in [(1, 10), (2, 1_000_000)] {
        let blocks = vec![block(expected - 1, bytes)];
        assert!(
            keeper
                .commit(vec![change(&at, Some(expected), blocks)])
                .await
                .unwrap()
        );
        assert_eq!(waking().await.0 as u64, expected);
    }
}
