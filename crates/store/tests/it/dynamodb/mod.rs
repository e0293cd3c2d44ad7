//! The store in DynamoDB, over Amazon's own DynamoDB local.

mod deploy;
mod faults;
mod keeper;
mod kill;
mod proxy;
mod suites;
mod table;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Builder, Credentials, Region};
use aws_sdk_dynamodb::types::AttributeValue;
use evenkeel_store::dynamodb::{Config, DynamoKeeper};
use evenkeel_testkit::{DynamoDb, dynamodb_or_skip};

/// One server for all tests of this process.
pub(crate) fn endpoint() -> Option<&'static str> {
    static SERVER: OnceLock<Option<DynamoDb>> = OnceLock::new();
    SERVER
        .get_or_init(dynamodb_or_skip)
        .as_ref()
        .map(DynamoDb::endpoint)
}

/// The configuration of a table that no other test of this process uses.
pub(crate) fn fresh() -> Config {
    static TABLES: AtomicU32 = AtomicU32::new(0);
    Config::new(format!("standby-{}", TABLES.fetch_add(1, Ordering::Relaxed)))
}

/// Settings that ask nothing of this machine's environment.
pub(crate) fn settings(endpoint: &str) -> Builder {
    Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "tests"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(endpoint)
}

pub(crate) async fn create(endpoint: &str, config: &Config) {
    DynamoKeeper::create_table_with(config, settings(endpoint))
        .await
        .unwrap();
}

pub(crate) async fn connect(endpoint: &str, config: &Config) -> DynamoKeeper {
    DynamoKeeper::connect_with(config, settings(endpoint))
        .await
        .unwrap()
}

/// A keeper over a table of its own.
pub(crate) async fn keeper(endpoint: &str) -> (Config, DynamoKeeper) {
    let config = fresh();
    create(endpoint, &config).await;
    let keeper = connect(endpoint, &config).await;
    (config, keeper)
}

/// The keys of all items, `pk sk`, in order.
pub(crate) async fn keys(endpoint: &str, config: &Config) -> Vec<String> {
    let client = Client::from_conf(settings(endpoint).build());
    let mut pages = client
        .scan()
        .table_name(&config.table)
        .projection_expression("pk, sk")
        .consistent_read(true)
        .into_paginator()
        .send();
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await {
        for item in page.unwrap().items() {
            let text = |name: &str| {
                item.get(name)
                    .and_then(|value: &AttributeValue| value.as_s().ok())
            };
            keys.push(format!("{} {}", text("pk").unwrap(), text("sk").unwrap()));
        }
    }
    keys.sort();
    keys
}
