//! `evenkeel standby`: what is parked on this machine, and what an operator does about it.

mod drain;
mod export;
mod hold;
pub(crate) mod list;
mod show;
mod skip;
mod walk;

use anyhow::Result;
use clap::{Args, Subcommand};
use evenkeel_event::TopicName;
use evenkeel_store::{Place, Scope};

use crate::config::Settings;
use crate::exit::Outcome;
use crate::output::{Format, say};
use crate::shared_standby;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List what is parked, by application, topic and partition, with holds and alarms. Never disturbs an application.
    List,
    /// Print parked events, decoded by the schemas that their application keeps. Needs neither Kafka nor the registry.
    Show(show::Show),
    /// Print parked events as lines that `evenkeel publish` reads. Changes nothing.
    Export(export::Export),
    /// Keep parked events where they are until they are released, also while the application runs. Holds no publishing up:
    /// a partition with nothing parked goes on, and behind what is held events are parked too.
    Hold(hold::Hold),
    /// Let held events go.
    Release(hold::Release),
    /// Send an application's parked events on, and wait until none is left or Ctrl-C.
    Drain(drain::Drain),
    /// Make the tables of the shared store that standby.url names, where they are not there.
    Init {
        /// Let this application have the store, whoever had it: after a rename, or when the other one is no more. What is parked in
        /// it stays.
        #[arg(long)]
        take_over: bool,
    },
    /// Give up parked events that cannot be read back from the disk, by name, so that those behind them are sent on.
    Skip(skip::Skip),
}

/// Some of an application's places.
#[derive(Debug, Args)]
pub(crate) struct Chosen {
    /// The application; without it publish.application of the settings.
    #[arg(long)]
    application: Option<String>,
    /// Only this topic.
    #[arg(long)]
    topic: Option<TopicName>,
    /// Only this partition.
    #[arg(long, requires = "topic", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
}

impl Chosen {
    fn scope(&self) -> Scope {
        Scope {
            topic: self.topic.clone(),
            partition: self.partition,
        }
    }

    /// As what is drained: everything when nothing is named.
    fn only(&self) -> Vec<Scope> {
        let scope = self.scope();
        (scope != Scope::default()).then_some(scope).into_iter().collect()
    }
}

pub(crate) async fn run(verb: Verb, format: Format, settings: &Settings) -> Result<Outcome> {
    match verb {
        Verb::List => list::list(format, settings).await,
        Verb::Show(options) => tokio::task::block_in_place(|| show::show(options, format, settings)),
        Verb::Export(options) => tokio::task::block_in_place(|| export::export(options, settings)),
        Verb::Hold(options) => hold::hold(options, format, settings).await,
        Verb::Release(options) => hold::release(options, format, settings).await,
        Verb::Drain(options) => drain::drain(options, format, settings).await,
        Verb::Init { take_over } => {
            let url = settings.standby.url.reveal();
            shared_standby::create(url, &settings.publish.application, take_over).await?;
            say!(
                "the shared standby store of {} is there",
                settings.publish.application
            );
            Ok(Outcome::Fine)
        }
        Verb::Skip(options) => skip::skip(options, format, settings).await,
    }
}

/// The partition of a place as people read it.
fn partition_of(place: &Place) -> String {
    match place.partition {
        _ if place.is_aside() => "aside".to_owned(),
        Some(partition) => partition.to_string(),
        None => "-".to_owned(),
    }
}
