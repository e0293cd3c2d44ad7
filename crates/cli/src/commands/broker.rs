//! `evenkeel broker`: the embedded broker by itself.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::config::Settings;
use crate::exit::{Outcome, usage};
use crate::output::say;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where to listen; a loopback address. Port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<SocketAddr>,
    /// Where to keep everything.
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
}

pub(crate) async fn run(options: Options, settings: &Settings) -> Result<Outcome> {
    let directory = options
        .data_dir
        .unwrap_or_else(|| settings.data.directory.join("broker"));
    let started = start(&directory, options.listen.unwrap_or(settings.broker.listen)).await;
    let broker = started.map_err(|error| match error.downcast_ref() {
        Some(evenkeel_embedded::Error::NotLoopback { .. }) if options.listen.is_some() => usage(error),
        _ => error,
    })?;
    say!(
        "embedded broker on {}, data in {}",
        broker.address(),
        directory.display()
    );
    say!("not for production: one node, no replication. Ctrl-C stops it.");
    interrupted().await?;
    broker
        .stop()
        .await
        .context("the embedded broker did not stop cleanly")?;
    Ok(Outcome::Fine)
}

/// Starts the embedded broker on `directory`.
pub(crate) async fn start(
    directory: &std::path::Path,
    listen: SocketAddr,
) -> Result<evenkeel_embedded::Broker> {
    let mut config = evenkeel_embedded::Config::new(directory);
    config.listen = listen;
    evenkeel_embedded::start(config)
        .await
        .context("the embedded broker did not start")
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn interrupted() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("the signal SIGTERM cannot be watched")?;
    tokio::select! {
        outcome = tokio::signal::ctrl_c() => outcome.context("Ctrl-C cannot be watched"),
        _ = terminate.recv() => Ok(()),
    }
}
