//! The client: region, credentials and endpoint as AWS's own tools find them.

use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::{Client, config};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use tokio::sync::Semaphore;

use super::Config;
use super::call::{Caller, REQUESTS_MAX};
use super::failure::Verdict;
use crate::Error;

/// How long one attempt to connect may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// The part of a request's time that one attempt has. With the waits between them, one less fits when nothing answers.
const ATTEMPTS: u32 = 4;

/// What AWS's tools know of this machine: environment, profile, role.
async fn find(wanted: &Config) -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if let Some(region) = &wanted.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &wanted.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    loader.load().await
}

/// A caller by what this machine knows.
pub(super) async fn connect(wanted: &Config) -> Result<Caller, Error> {
    let found = find(wanted).await;
    over(wanted, config::Builder::from(&found))
}

/// A caller by what the settings say. What is tried again, and for how long, is decided here.
pub(super) fn over(wanted: &Config, settings: config::Builder) -> Result<Caller, Error> {
    let attempt_timeout = wanted.timeout / ATTEMPTS;
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_WITHIN.min(wanted.timeout))
        .operation_attempt_timeout(attempt_timeout)
        .build();
    let settings = settings
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .build();
    let region = settings.region().map(ToString::to_string);
    let caller = Caller {
        client: Client::from_conf(settings),
        table: wanted.table.clone(),
        name: match &region {
            Some(region) => format!("DynamoDB table {} in {region}", wanted.table),
            None => format!("DynamoDB table {}", wanted.table),
        },
        timeout: wanted.timeout,
        attempt_timeout,
        permits: Arc::new(Semaphore::new(REQUESTS_MAX)),
    };
    match region {
        Some(_) => Ok(caller),
        None => Err(caller.failed(
            "find the region",
            Verdict::Refused {
                reason: "no AWS region is set".to_owned(),
                remedy: "set AWS_REGION or the region of the profile",
            },
        )),
    }
}
