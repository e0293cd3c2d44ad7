//! `evenkeel standby skip`: accepts that parked events are lost which cannot be read back, so that those behind them go on.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use evenkeel_event::TopicName;
use evenkeel_event::clock::{Clock as _, SystemClock};
use evenkeel_store::{DiskStandby, Error, Place, Unreadable};
use evenkeel_worker::applications::Application;
use serde::Serialize;

use crate::config::Settings;
use crate::exit::Outcome;
use crate::output::{Format, Tabular, print_list, say};
use crate::standby::application;

/// Beside the store, a line for every loss that was accepted; never deleted by us.
const RECORD: &str = "standby-losses.ndjson";

#[derive(Debug, Args)]
pub(crate) struct Skip {
    /// The application; without it publish.application of the settings. It must not run.
    #[arg(long)]
    application: Option<String>,
    /// The topic.
    #[arg(long)]
    topic: TopicName,
    /// The partition; without it events that were parked before their partition was known.
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Exactly the positions that cannot be read, FROM..TO (TO is not among them). Without it they are shown, and nothing
    /// changes.
    #[arg(long)]
    positions: Option<Positions>,
    /// Why the loss is accepted; it is recorded.
    #[arg(long, requires = "positions")]
    reason: Option<String>,
}

/// `FROM..TO`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Positions(Range<u64>);

impl FromStr for Positions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("\"{text}\" is no range of positions: write FROM..TO, for example 2..3");
        let (from, to) = text.split_once("..").ok_or_else(wanted)?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| wanted());
        let (from, to) = (number(from)?, number(to)?);
        if from >= to {
            return Err(wanted());
        }
        Ok(Self(from..to))
    }
}

#[derive(Debug, Serialize)]
struct Row {
    application: String,
    topic: String,
    partition: Option<i32>,
    from: u64,
    to: u64,
    /// True when the loss was accepted now.
    accepted: bool,
    /// Copies of the bytes.
    kept_at: Vec<String>,
}

/// A line of the record.
#[derive(Debug, Serialize)]
struct Loss<'a> {
    at: String,
    by: String,
    reason: &'a str,
    #[serde(flatten)]
    what: &'a Row,
}

impl Tabular for Row {
    const COLUMNS: &'static [&'static str] = &[
        "application",
        "topic",
        "partition",
        "positions",
        "accepted",
        "kept at",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.application.clone(),
            self.topic.clone(),
            self.partition
                .map_or_else(|| "-".to_owned(), |partition| partition.to_string()),
            format!("{}..{}", self.from, self.to),
            self.accepted.to_string(),
            self.kept_at.join(", "),
        ]
    }
}

pub(crate) async fn skip(options: Skip, format: Format, settings: &Settings) -> Result<Outcome> {
    let application = &application(settings, options.application)?;
    let store = open(application)?;
    let place = Place {
        topic: options.topic.clone(),
        partition: options.partition,
    };
    let Some(found) = store.unreadable(&place).await? else {
        match &options.positions {
            Some(_) => bail!("nothing is to be given up: the oldest parked event of this lane can be read"),
            None => say!("the oldest parked event of this lane can be read: nothing holds it up here"),
        }
        return Ok(Outcome::Fine);
    };
    let mut row = Row::of(application, &place, &found);
    let Some(Positions(positions)) = options.positions else {
        print_list(format, &[row])?;
        say!(
            "these cannot be read back, and nothing behind them is sent on; --positions {}..{} --reason TEXT gives them up",
            found.positions.start,
            found.positions.end
        );
        return Ok(Outcome::Findings);
    };
    let Some(reason) = options.reason.filter(|reason| !reason.trim().is_empty()) else {
        bail!("--reason TEXT is missing: a loss is recorded with why it was accepted");
    };
    if found.positions == positions {
        // First the record: a loss without one must not be.
        row.accepted = true;
        record(&application.directory, &reason, &row)?;
    }
    store.accept_loss(&place, positions).await?;
    print_list(format, &[row])?;
    Ok(Outcome::Fine)
}

fn open(application: &Application) -> Result<DiskStandby> {
    let config = evenkeel_store::Config::new(application.directory.join("standby"));
    match DiskStandby::open(&config) {
        Err(Error::Locked { .. }) => bail!(
            "{} runs and has its standby store open: stop it, give the events up, and start it again",
            application.name
        ),
        other => Ok(other?),
    }
}

impl Row {
    fn of(application: &Application, place: &Place, found: &Unreadable) -> Self {
        Self {
            application: application.name.clone(),
            topic: place.topic.to_string(),
            partition: place.partition,
            from: found.positions.start,
            to: found.positions.end,
            accepted: false,
            kept_at: found
                .damages
                .iter()
                .map(|damage| damage.kept_at.display().to_string())
                .collect(),
        }
    }
}

fn record(directory: &Path, reason: &str, row: &Row) -> Result<()> {
    let path = directory.join(RECORD);
    let mut line = serde_json::to_vec(&Loss {
        at: SystemClock::default().now().to_rfc3339(),
        by: std::env::var("USER").unwrap_or_default(),
        reason,
        what: row,
    })?;
    line.push(b'\n');
    let written = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file: File| {
            file.write_all(&line)?;
            file.sync_all()
        })
        .and_then(|()| File::open(directory)?.sync_all());
    written.with_context(|| {
        format!(
            "the loss cannot be recorded in {}, and is not accepted",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_strictly() {
        assert_eq!("2..3".parse(), Ok(Positions(2..3)));
        for wrong in ["", "2", "2..", "..3", "3..3", "4..3", "-1..3", "2...3", "a..b"] {
            let error = wrong.parse::<Positions>().unwrap_err();
            assert!(error.contains("FROM..TO"), "{wrong}: {error}");
        }
    }
}
