//! `evenkeel standby hold` and `release`.

use anyhow::{Result, bail};
use clap::Args;
use evenkeel_event::clock::{Clock as _, SystemClock};
use evenkeel_store::{Holds, PlaceStats};
use serde::Serialize;

use super::Chosen;
use crate::config::Settings;
use crate::exit::Outcome;
use crate::output::{Format, Tabular, print_list, say};
use crate::shared_standby;
use crate::standby::application;

#[derive(Debug, Args)]
pub(crate) struct Hold {
    #[command(flatten)]
    chosen: Chosen,
    /// Why; shown by list and status.
    #[arg(long, default_value = "")]
    reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Release {
    #[command(flatten)]
    chosen: Chosen,
}

#[derive(Debug, Serialize)]
struct Row {
    application: String,
    /// Absent for a hold of the whole application.
    topic: Option<String>,
    /// Absent for a hold of the whole topic.
    partition: Option<i32>,
    since: String,
    reason: String,
}

impl Tabular for Row {
    const COLUMNS: &'static [&'static str] = &["application", "topic", "partition", "since", "reason"];

    fn cells(&self) -> Vec<String> {
        let all = || "(all)".to_owned();
        vec![
            self.application.clone(),
            self.topic.clone().unwrap_or_else(all),
            self.partition.map_or_else(all, |partition| partition.to_string()),
            self.since.clone(),
            self.reason.clone(),
        ]
    }
}

pub(super) async fn hold(options: Hold, format: Format, settings: &Settings) -> Result<Outcome> {
    let (scope, now) = (options.chosen.scope(), SystemClock::default().now());
    let application = options.chosen.application.as_deref();
    let (name, holds, parked): (_, _, Vec<PlaceStats>) =
        match shared_standby::named(settings, application).await? {
            Some(store) => {
                let keep = |holds: &mut Holds| holds.keep(scope.clone(), now, &options.reason);
                let holds = shared_standby::change_holds(&*store, keep).await?;
                let parked = store.open_places().await.unwrap_or_default();
                (settings.publish.application.clone(), holds, parked)
            }
            None => {
                let application = self::application(settings, options.chosen.application.clone())?;
                let holds = Holds::hold(&application.directory, scope.clone(), now, &options.reason)?;
                // The hold stands whether or not the store can be looked at.
                let parked = application.look().map(|looked| looked.places);
                (application.name, holds, parked.unwrap_or_default())
            }
        };
    let events: u64 = parked
        .iter()
        .filter(|held| scope.covers(&held.place))
        .map(|held| held.events)
        .sum();
    say!(
        "{events} parked events are held; what is not parked goes on being published, and is held once it is parked"
    );
    print(&name, &holds, format)
}

pub(super) async fn release(options: Release, format: Format, settings: &Settings) -> Result<Outcome> {
    let scope = options.chosen.scope();
    let application = options.chosen.application.as_deref();
    let (name, holds) = match shared_standby::named(settings, application).await? {
        Some(store) => {
            let let_go = |holds: &mut Holds| {
                holds.let_go(&scope);
                Ok(())
            };
            let holds = shared_standby::change_holds(&*store, let_go).await?;
            (settings.publish.application.clone(), holds)
        }
        None => {
            let application = self::application(settings, options.chosen.application.clone())?;
            let holds = Holds::release(&application.directory, &scope)?;
            (application.name, holds)
        }
    };
    let is_still_held = holds.all().iter().find(|hold| {
        let is_wider = hold.scope.topic.is_none() || hold.scope.partition.is_none();
        is_wider && (hold.scope.topic.is_none() || hold.scope.topic == scope.topic)
    });
    if let Some(wider) = is_still_held.filter(|hold| hold.scope != scope) {
        let what = match &wider.scope.topic {
            None => format!("all of {name}"),
            Some(topic) => format!("all of {topic}"),
        };
        print(&name, &holds, format)?;
        bail!("{what} is held, so that this stays held too: release that first");
    }
    print(&name, &holds, format)
}

/// Prints what is held now.
fn print(application: &str, holds: &Holds, format: Format) -> Result<Outcome> {
    let rows: Vec<Row> = holds
        .all()
        .iter()
        .map(|hold| Row {
            application: application.to_owned(),
            topic: hold.scope.topic.as_ref().map(ToString::to_string),
            partition: hold.scope.partition,
            since: hold.since.to_rfc3339(),
            reason: hold.reason.clone(),
        })
        .collect();
    if rows.is_empty() {
        say!("nothing of {application} is held");
    }
    print_list(format, &rows)?;
    Ok(Outcome::Fine)
}
