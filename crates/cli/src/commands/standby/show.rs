//! `evenkeel standby show`.

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use evenkeel_store::{Kind, Place};
use serde::Serialize;

use super::walk::{Parked, walk};
use super::{Chosen, partition_of};
use crate::config::Settings;
use crate::decode::Decoder;
use crate::exit::Outcome;
use crate::output::{Format, print_next, say, write_stdout};
use crate::parked_look::ParkedLook;
use crate::record_line::RecordLine;
use crate::registry::Registry;

#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    chosen: Chosen,
    /// Begin at this position of each place.
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    from: u64,
    /// Print at most so many events of each place.
    #[arg(long, value_name = "EVENTS", default_value_t = 100)]
    limit: u64,
}

/// One parked event.
#[derive(Debug, Serialize)]
struct Line {
    topic: String,
    partition: Option<i32>,
    /// Kept aside, because its dead-letter topic refuses it.
    aside: bool,
    position: u64,
    parked_at: String,
    /// It was sent before and may have landed; it is sent again under the same stamp.
    stamped: bool,
    /// event, or letter for a dead letter.
    kind: &'static str,
    #[serde(flatten)]
    event: RecordLine,
}

pub(super) fn show(options: Show, format: Format, settings: &Settings) -> Result<Outcome> {
    let (application, mut look) = ParkedLook::open(settings, options.chosen.application.clone())?;
    let scope = options.chosen.scope();
    let places = look.open_places()?;
    let mut decoder = Decoder::of_parked(&application, Arc::new(Registry::new(settings)));
    for held in places.iter().filter(|held| scope.covers(&held.place)) {
        let mut shown = 0;
        let limit = options.limit;
        walk(&mut look, &held.place, options.from, |parked, record| {
            if shown == limit {
                say!(
                    "{} partition {}: more from position {} on (--from, --limit)",
                    held.place.topic,
                    partition_of(&held.place),
                    parked.position
                );
                return Ok(ControlFlow::Break(()));
            }
            shown += 1;
            let event = RecordLine::of(record, &mut decoder)?;
            print(&line(&held.place, parked, event), &held.place, format)?;
            Ok(ControlFlow::Continue(()))
        })?;
    }
    for damage in look.damaged()? {
        say!(
            "alarm: {} cannot be read from byte {} on; what is there is left out",
            damage.file.display(),
            damage.offset
        );
    }
    Ok(Outcome::Fine)
}

fn line(place: &Place, parked: Parked, event: RecordLine) -> Line {
    Line {
        topic: place.topic.to_string(),
        partition: place.partition.filter(|_| !place.is_aside()),
        aside: place.is_aside(),
        position: parked.position,
        parked_at: parked.at.to_rfc3339(),
        stamped: parked.stamped,
        kind: match parked.kind {
            Kind::Event => "event",
            Kind::Letter => "letter",
        },
        event,
    }
}

fn print(line: &Line, place: &Place, format: Format) -> Result<()> {
    if format != Format::Table {
        return print_next(format, line);
    }
    let stamped = if line.stamped { " stamped" } else { "" };
    write_stdout(&format!(
        "{}/{}@{} {}{stamped} {} {}\n",
        line.topic,
        partition_of(place),
        line.position,
        line.parked_at,
        line.event.id.as_deref().unwrap_or("-"),
        line.event.short()
    ))
}
