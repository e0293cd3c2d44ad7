//! `evenkeel standby list`.

use anyhow::Result;
use evenkeel_event::clock::{Clock as _, SystemClock, Timestamp};
use evenkeel_store::{Alarm, Alarms, Hold, PlaceStats};
use evenkeel_worker::applications::{Application, Looked};
use serde::Serialize;

use super::partition_of;
use crate::config::Settings;
use crate::exit::Outcome;
use crate::output::{Format, Tabular, print_list, say};
use crate::shared_standby;
use crate::standby::applications;

#[derive(Debug, Serialize)]
struct Row {
    application: String,
    /// A running process holds the store, and drains it.
    in_use: bool,
    /// `shared` between processes, or on this machine's `disk`.
    store: &'static str,
    topic: String,
    /// Absent for events that were parked before their partition was known, and for what is kept aside.
    partition: Option<i32>,
    /// Dead letters that their own topic refuses: they are in nobody's way.
    aside: bool,
    /// An operator holds it.
    held: bool,
    hold_reason: Option<String>,
    events: u64,
    bytes: u64,
    /// Positions of the first and after the last event.
    positions: (u64, u64),
    oldest: Option<String>,
    oldest_age_seconds: Option<u64>,
    /// What only an operator can mend.
    alarms: Vec<Told>,
    #[serde(skip)]
    shown_partition: String,
}

/// An alarm as it is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    pub(crate) kind: &'static str,
    pub(crate) topic: String,
    pub(crate) partition: Option<i32>,
    pub(crate) since: String,
    pub(crate) message: String,
}

impl Tabular for Row {
    const COLUMNS: &'static [&'static str] = &[
        "application",
        "store",
        "topic",
        "partition",
        "events",
        "bytes",
        "oldest",
        "age (s)",
        "state",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.application.clone(),
            self.store.to_owned(),
            self.topic.clone(),
            self.shown_partition.clone(),
            self.events.to_string(),
            self.bytes.to_string(),
            self.oldest.clone().unwrap_or_else(|| "-".to_owned()),
            self.oldest_age_seconds
                .map_or_else(|| "-".to_owned(), |age| age.to_string()),
            self.state(),
        ]
    }
}

impl Row {
    fn state(&self) -> String {
        let kinds: Vec<&str> = self.alarms.iter().map(|alarm| alarm.kind).collect();
        let way = match (self.held, self.aside, self.in_use) {
            (true, ..) => "held",
            (_, true, _) => "aside",
            (.., true) => "in use",
            _ => "waiting",
        };
        match kinds.as_slice() {
            [] => way.to_owned(),
            kinds => format!("{way}; {}", kinds.join(", ")),
        }
    }

    fn of(application: &Application, looked: &Looked, held: &PlaceStats, now: Timestamp) -> Self {
        let place = &held.place;
        let hold = looked.holds.of(place);
        let alarms = looked.alarms.all().iter().filter(|alarm| is_about(alarm, held));
        Self {
            application: application.name.clone(),
            in_use: looked.in_use,
            store: store(looked),
            topic: place.topic.to_string(),
            partition: place.partition.filter(|_| !place.is_aside()),
            aside: place.is_aside(),
            held: hold.is_some(),
            hold_reason: hold.map(|hold| hold.reason.clone()),
            events: held.events,
            bytes: held.bytes,
            positions: (held.span.head, held.span.tail),
            oldest: Some(held.oldest.to_rfc3339()),
            oldest_age_seconds: Some(now.since(held.oldest).as_secs()),
            alarms: alarms.map(Told::of).collect(),
            shown_partition: partition_of(place),
        }
    }

    /// A row for a hold of something of which nothing is parked yet.
    fn of_hold(application: &Application, looked: &Looked, hold: &Hold) -> Self {
        let all = || "(all)".to_owned();
        let partition = hold.scope.partition;
        Self {
            application: application.name.clone(),
            in_use: looked.in_use,
            store: store(looked),
            topic: hold.scope.topic.as_ref().map_or_else(all, ToString::to_string),
            partition,
            aside: false,
            held: true,
            hold_reason: Some(hold.reason.clone()),
            events: 0,
            bytes: 0,
            positions: (0, 0),
            oldest: None,
            oldest_age_seconds: None,
            alarms: Vec::new(),
            shown_partition: partition.map_or_else(all, |partition| partition.to_string()),
        }
    }

    /// A row for an alarm about something of which nothing is parked.
    fn of_alarm(application: &Application, looked: &Looked, alarm: &Alarm) -> Self {
        Self {
            application: application.name.clone(),
            in_use: looked.in_use,
            store: store(looked),
            topic: alarm.topic.to_string(),
            partition: alarm.partition,
            aside: false,
            held: false,
            hold_reason: None,
            events: 0,
            bytes: 0,
            positions: (0, 0),
            oldest: None,
            oldest_age_seconds: None,
            alarms: vec![Told::of(alarm)],
            shown_partition: alarm
                .partition
                .map_or_else(|| "-".to_owned(), |partition| partition.to_string()),
        }
    }
}

impl Told {
    pub(crate) fn of(alarm: &Alarm) -> Self {
        Self {
            kind: alarm.kind.as_str(),
            topic: alarm.topic.to_string(),
            partition: alarm.partition,
            since: alarm.since.to_rfc3339(),
            message: alarm.message.clone(),
        }
    }
}

const fn store(looked: &Looked) -> &'static str {
    match looked.is_shared {
        true => "shared",
        false => "disk",
    }
}

fn is_about(alarm: &Alarm, held: &PlaceStats) -> bool {
    let is_letters = alarm.kind == evenkeel_store::AlarmKind::LetterRefused;
    alarm.topic == held.place.topic
        && (!is_letters || held.place.is_aside())
        && (alarm.partition.is_none() || alarm.partition == held.place.partition)
}

pub(super) async fn list(format: Format, settings: &Settings) -> Result<Outcome> {
    let now = SystemClock::default().now();
    let mut rows = Vec::new();
    let (shared, unread) = match shared_standby::look(settings).await {
        Ok(shared) => (shared, None),
        Err(error) => (None, Some(error)),
    };
    let mut all = Vec::from_iter(shared);
    tokio::task::block_in_place(|| {
        for application in applications(settings)? {
            let mut looked = application.look()?;
            if unread.is_none() && shared_standby::is_of(settings, Some(&application.name)) {
                // They are told with the store that is shared.
                looked.alarms = Alarms::default();
            }
            all.push((application, looked));
        }
        anyhow::Ok(())
    })?;
    for (application, looked) in all {
        rows.extend(
            looked
                .places
                .iter()
                .map(|held| Row::of(&application, &looked, held, now)),
        );
        let alone = |alarm: &&Alarm| !looked.places.iter().any(|held| is_about(alarm, held));
        let alone = looked.alarms.all().iter().filter(alone);
        rows.extend(alone.map(|alarm| Row::of_alarm(&application, &looked, alarm)));
        let empty = |hold: &&Hold| !looked.places.iter().any(|held| hold.scope.covers(&held.place));
        let empty = looked.holds.all().iter().filter(empty);
        rows.extend(empty.map(|hold| Row::of_hold(&application, &looked, hold)));
        tell(&application, &looked);
    }
    print_list(format, &rows)?;
    match unread {
        None => Ok(Outcome::Fine),
        Some(error) => Err(error),
    }
}

/// Says in sentences what the table cannot hold.
fn tell(application: &Application, looked: &Looked) {
    let name = &application.name;
    for alarm in looked.alarms.all() {
        say!("alarm: {name}: {}: {}", alarm.kind.as_str(), alarm.message);
    }
    for damage in &looked.damages {
        say!(
            "alarm: {name}: {} cannot be read from byte {} on; see docs/errors/standby-unavailable.md",
            damage.file.display(),
            damage.offset
        );
    }
}
