//! `evenkeel verify`: publishes through every fault there is, and proves from the topics that each promise held.
//!
//! ```text
//! feed ──numbers──> publishers (processes) ──> fault proxy ──> Kafka
//!   │                    │ receipts                              │
//!   └──────> ledger <────┘            judge <────independent─────┘
//! ```

mod control;
mod event;
mod feed;
mod fleet;
mod ground;
mod judge;
mod ledger;
mod machine;
mod play;
mod process;
pub(crate) mod publisher;
mod report;
mod scenario;
mod scenarios;
mod workers;

use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use serde::Serialize;

use crate::config::Settings;
use crate::connect;
use crate::exit::{Outcome, usage};
use crate::output::{Format, Tabular, print_document, print_list, say, write_stdout};
use control::Control;
use ground::Site;
use scenario::{Place, Scenario};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The scenario: a name of --list, or a file that ends with .toml.
    #[arg(long, value_name = "NAME|FILE", default_value = "outage")]
    scenario: String,
    /// List the scenarios and what each promises, and do nothing else.
    #[arg(long)]
    list: bool,
    /// Play against this running Kafka instead of the embedded broker; topics are made under a prefix, and deleted when every
    /// promise held.
    #[arg(long, value_name = "HOST:PORT,...")]
    broker: Option<String>,
    /// Break nothing: publish and watch while others break the cluster that kafka.brokers or --broker names. Ctrl-C ends it.
    #[arg(long)]
    attach: bool,
    /// The publishers share this standby store, postgres://USER@HOST/DATABASE or dynamodb:TABLE, and all keys.
    #[arg(long, value_name = "URL")]
    standby: Option<String>,
    /// File with the commands that kill, start, pause and resume a node of the cluster.
    #[arg(long, value_name = "FILE")]
    control: Option<PathBuf>,
    /// Plays a run again: it drew from this.
    #[arg(long)]
    seed: Option<u64>,
    /// Times are multiplied by this: 6 makes minutes of tens of seconds.
    #[arg(long, default_value_t = 1.0)]
    stretch: f64,
    /// Events a second, instead of the scenario's.
    #[arg(long)]
    rate: Option<u64>,
    /// Seconds of publishing, instead of the scenario's; what is broken later is not.
    #[arg(long)]
    seconds: Option<f64>,
    /// Processes that publish, instead of the scenario's.
    #[arg(long)]
    publishers: Option<u64>,
    /// Keys of each process, instead of the scenario's.
    #[arg(long)]
    keys: Option<u64>,
    /// Bytes of an event's data, instead of the scenario's.
    #[arg(long)]
    bytes: Option<usize>,
}

pub(crate) async fn run(options: Options, format: Format, settings: &Settings) -> Result<Outcome> {
    if options.list {
        return list(format);
    }
    let scenario = options.scenario().map_err(usage)?;
    let directory = tempfile::tempdir().context("no temporary directory can be made")?;
    let site = options.site(&scenario, directory.path(), settings)?;
    let place = options.place(&scenario).map_err(usage)?;
    let seed = options.seed.unwrap_or_else(rand::random);
    say!("scenario {}, seed {seed}: {}", scenario.name, scenario.promise);
    let report = play::play(&scenario, place, seed, site).await;
    let report = report.with_context(|| format!("the run with seed {seed} broke off"));
    if report
        .as_ref()
        .map_or(true, |report| !report.violations.is_empty())
    {
        let kept = directory.keep();
        say!("what the publishers wrote is kept in {}", kept.display());
    }
    let report = report?;
    match format {
        Format::Table => write_stdout(&report.text())?,
        Format::Json | Format::Yaml => print_document(format, &report)?,
    }
    if report.violations.is_empty() {
        say!("every promise held");
        return Ok(Outcome::Fine);
    }
    for violation in &report.violations {
        say!("broken: {violation}");
    }
    say!("play it again with --scenario {} --seed {seed}", report.scenario);
    Ok(Outcome::Findings)
}

impl Options {
    /// Where the scenario is played.
    fn place(&self, scenario: &Scenario) -> Result<Place> {
        let place = match &self.broker {
            _ if self.attach => Place::Cluster,
            Some(_) => Place::Cluster,
            None if self.standby.is_some() => Place::Shared,
            None => Place::Embedded,
        };
        // What holds for processes by themselves is worth trying with a store that they share.
        let fits =
            |wanted: &Place| *wanted == place || (place == Place::Shared && *wanted == Place::Embedded);
        if !scenario.places.iter().any(fits) {
            bail!(
                "the scenario {} {}",
                scenario.name,
                match scenario.places.first() {
                    Some(Place::Shared) =>
                        "is played by processes that share a store only: name it with --standby",
                    Some(Place::Embedded) => "is played on the embedded broker only: leave --broker out",
                    _ => "is played on a cluster only: name one with --broker",
                }
            );
        }
        Ok(place)
    }

    /// The scenario as it is to be played.
    fn scenario(&self) -> Result<Scenario> {
        let mut scenario = Scenario::find(&self.scenario)?;
        if self.attach {
            scenario.acts.clear();
            scenario.workload.failpoints.clear();
            scenario.workload.kill_every = 0.0;
            scenario.workload.seconds = 86_400.0;
            "attach".clone_into(&mut scenario.name);
            scenario.places = vec![Place::Cluster];
        }
        if let Some(url) = &self.standby {
            evenkeel_store::address::check(url)?;
        }
        if !(0.01..=10_000.0).contains(&self.stretch) {
            bail!("--stretch is {}; it must be 0.01 to 10000", self.stretch);
        }
        scenario.stretch(self.stretch);
        let workload = &mut scenario.workload;
        workload.rate = self.rate.unwrap_or(workload.rate);
        workload.seconds = self.seconds.unwrap_or(workload.seconds);
        workload.publishers = self.publishers.unwrap_or(workload.publishers);
        workload.keys = self.keys.unwrap_or(workload.keys);
        workload.bytes = self.bytes.unwrap_or(workload.bytes);
        workload.check()?;
        let end = workload.seconds;
        scenario.acts.retain(|act| act.at <= end);
        Ok(scenario)
    }

    fn site<'run>(
        &self,
        scenario: &Scenario,
        directory: &'run std::path::Path,
        settings: &Settings,
    ) -> Result<Site<'run>> {
        let cluster = match (&self.broker, self.attach) {
            (Some(brokers), _) => {
                let mut kafka = connect::kafka(&settings.kafka);
                kafka.brokers = brokers.split(',').map(str::to_owned).collect();
                Some(kafka)
            }
            (None, true) => Some(connect::kafka(&settings.kafka)),
            (None, false) => None,
        };
        let control = self.control.as_deref().map(Control::read).transpose()?;
        if cluster.is_some() && control.is_none() && scenario.needs_control() {
            return Err(usage(anyhow!(
                "the scenario {} kills or pauses nodes: --control names a file with the commands that do it on your cluster",
                scenario.name
            )));
        }
        if let Some(control) = &control {
            for what in scenario.measures() {
                control.measure(what)?;
            }
        }
        let random: [u8; 4] = rand::random();
        Ok(Site {
            standby: self.standby.clone(),
            directory,
            cluster,
            control,
            attach: self.attach,
            within: scenario.breaks_within(),
            breaks_network: scenario.breaks_network(),
            prefix: format!("evenkeel-verify-{:08x}-", u32::from_be_bytes(random)),
        })
    }
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    places: Vec<Place>,
    promise: String,
}

impl Tabular for Row {
    const COLUMNS: &'static [&'static str] = &["scenario", "on", "promise"];

    fn cells(&self) -> Vec<String> {
        let places: Vec<&str> = self.places.iter().map(|place| place.as_str()).collect();
        vec![self.name.clone(), places.join(", "), self.promise.clone()]
    }
}

fn list(format: Format) -> Result<Outcome> {
    let rows = Scenario::all()?.into_iter().map(|scenario| Row {
        name: scenario.name,
        places: scenario.places,
        promise: scenario.promise,
    });
    print_list(format, &rows.collect::<Vec<_>>())?;
    Ok(Outcome::Fine)
}
