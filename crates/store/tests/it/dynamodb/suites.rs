//! The store over DynamoDB passes both suites, also where answers are lost and throttles are made up.

use std::sync::{Arc, Mutex};

use evenkeel_store::dynamodb::{Config, DynamoStandby};
use evenkeel_store::{BoxFuture, SharedStandby, Standby};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::proxy::{Act, Proxy};
use super::{connect, create, endpoint, fresh};
use crate::{conformance, shared};

const LIMIT: u64 = 1 << 30;

/// Stores over a table of each call that is not made `again`, reached by way of `endpoint`.
struct Tables {
    endpoint: String,
    table: Mutex<Option<Config>>,
}

impl Tables {
    fn new(endpoint: &str) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            table: Mutex::default(),
        }
    }

    async fn store(&self, again: bool) -> Arc<DynamoStandby> {
        let kept = self.table.lock().unwrap().clone();
        let config = match kept.filter(|_| again) {
            Some(config) => config,
            None => {
                let config = fresh();
                create(&self.endpoint, &config).await;
                *self.table.lock().unwrap() = Some(config.clone());
                config
            }
        };
        let keeper = connect(&self.endpoint, &config).await;
        Arc::new(DynamoStandby::new(keeper, LIMIT))
    }
}

impl conformance::Factory for Tables {
    fn open(&self, again: bool) -> BoxFuture<'_, Arc<dyn Standby>> {
        Box::pin(async move { self.store(again).await as Arc<dyn Standby> })
    }
}

impl shared::Factory for Tables {
    fn open_shared(&self, again: bool) -> BoxFuture<'_, Arc<dyn SharedStandby>> {
        Box::pin(async move { self.store(again).await as Arc<dyn SharedStandby> })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn belongs_to_one_application() {
    let Some(endpoint) = endpoint() else { return };
    let config = fresh();
    create(endpoint, &config).await;
    crate::owner::belongs_to_one_application(async || connect(endpoint, &config).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_suites() {
    let Some(endpoint) = endpoint() else { return };
    conformance::run(&Tables::new(endpoint)).await;
    shared::run(&Tables::new(endpoint)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_suites_where_requests_fail() {
    let Some(endpoint) = endpoint() else { return };
    let proxy = Proxy::start(endpoint).await;
    let mut random = StdRng::seed_from_u64(1);
    proxy.decide(move |operation| match random.random_range(0..40) {
        0 => Act::LoseAnswer,
        1 => Act::LoseRequest,
        2 => Act::refuse("ThrottlingException"),
        3 if operation == "TransactWriteItems" => Act::cancel(&["TransactionConflict"]),
        _ => Act::Pass,
    });
    conformance::run(&Tables::new(&proxy.endpoint)).await;
    shared::run(&Tables::new(&proxy.endpoint)).await;
}
