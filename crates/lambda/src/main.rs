#![doc = include_str!("../README.md")]

mod answer;
mod deadline;
mod drain;
mod init_error;
mod metrics;
mod settings;
mod standing;
mod trigger;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use lambda_runtime::{LambdaEvent, service_fn};

use settings::Settings;
use trigger::Payload;

/// Where the function is told of its invocations. Set by AWS Lambda.
const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        // Lambda adds it to each line.
        .without_time()
        .with_env_filter(log_filter())
        .log_internal_errors(false)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the function ends");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let runtime_api = std::env::var(RUNTIME_API).with_context(|| {
        format!(
            "{RUNTIME_API} is not set: this program is AWS Lambda's to start; elsewhere run evenkeel worker"
        )
    })?;
    let settings = match Settings::read(environment()) {
        Ok(settings) => Arc::new(settings),
        Err(error) => {
            init_error::tell(&runtime_api, &error).await;
            return Err(error);
        }
    };
    let handler = service_fn(move |event: LambdaEvent<Option<Payload>>| {
        let settings = settings.clone();
        async move {
            let payload = event.payload.unwrap_or_default();
            answer::answer(&settings, &payload, event.context.deadline).await
        }
    });
    lambda_runtime::run(handler)
        .await
        .map_err(|error| anyhow::anyhow!("the runtime API at {runtime_api}: {error}"))
}

/// The variables that are text; no setting is anything else.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// `EVENKEEL_LOG` as `tracing`'s directives; without it warnings, and what this function says of each invocation.
fn log_filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::try_from_env("EVENKEEL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,evenkeel_lambda=info"))
}
