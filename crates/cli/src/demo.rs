//! The main job on real input: the whole story of 512 invoices, then proof from the topics.

mod contracts;
mod narrator;
mod orders;
mod reader;
mod reconcile;
mod redrive;
mod revenue;
mod stage;
mod story;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use clap::Args;

use crate::commands::broker;
use crate::config::Settings;
use crate::connect;
use crate::exit::Outcome;
use crate::output::{Format, print_document, say};
use narrator::Narrator;
use orders::Orders;
use reconcile::Report;
use stage::Stage;
use story::Story;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Play against this running Kafka instead of the embedded broker; topics are made under a prefix and left there.
    #[arg(long, value_name = "HOST:PORT")]
    broker: Option<String>,
    /// Events to publish; the order data is repeated to any size. Without it every invoice once.
    #[arg(long, value_parser = clap::value_parser!(u32).range(8..))]
    events: Option<u32>,
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

pub(crate) async fn run(options: Options, format: Format, settings: &Settings) -> Result<Outcome> {
    let orders = Orders::read()?;
    // One that cannot be written is told now, and not after the story.
    let mut file = options.report.as_deref().map(created).transpose()?;
    let count = options.events.map_or(orders.len(), |events| events as usize);
    let directory = tempfile::tempdir().context("no temporary directory can be made")?;
    let kafka = connect::kafka(&settings.kafka);
    let mut stage = Stage::set(directory.path(), options.broker.as_deref(), &kafka).await?;
    let story = Story {
        stage: &mut stage,
        orders: &orders,
        count,
        directory: directory.path(),
        narrator: Narrator::new(),
    };
    let played = tokio::select! {
        played = story.play() => played,
        // What it made is taken down before it ends.
        caught = broker::interrupted() => caught.and_then(|()| Err(anyhow!("stopped by a signal"))),
    };
    let struck = stage.strike().await;
    let (report, differences) = played?;
    struck.context("the demo's platform did not stop cleanly")?;
    print(format, &report)?;
    if let Some((file, path)) = file.as_mut().zip(options.report) {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        file.write_all(text.as_bytes())
            .with_context(|| format!("the report {} cannot be written", path.display()))?;
    }
    if differences.is_empty() {
        say!("the topics agree with the order file");
        return Ok(Outcome::Fine);
    }
    anyhow::bail!(
        "the topics differ from the order file: {}",
        differences.join("; ")
    )
}

fn created(report: &Path) -> Result<File> {
    File::create(report).with_context(|| format!("the report {} cannot be written", report.display()))
}

fn print(format: Format, report: &Report) -> Result<()> {
    print_document(format, report)
}
