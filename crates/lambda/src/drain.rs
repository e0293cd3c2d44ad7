//! One drain: as much as is parked, moves and fits into the time.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use evenkeel::{Config, Fleet, Publisher};
use evenkeel_store::{Alarms, SharedStandby, address};
use serde::Serialize;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::deadline::Deadline;
use crate::settings::Settings;
use crate::standing::Standing;

/// Between looks at what is left.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A drain that moves nothing for this long ends. A drainer that was killed holds its partitions for 5.5 s.
const GIVE_UP_AFTER: Duration = Duration::from_secs(15);
/// Longest wait, when all is sent, for partitions to be published to directly again.
const OPEN_WITHIN: Duration = Duration::from_secs(5);
/// Longest wait for Kafka to say why it takes nothing.
const ASK_WITHIN: Duration = Duration::from_secs(3);
/// Bytes of parked events that a store may take. Only dead letters that their topic refuses are appended here.
const STORE_BYTES_MAX: u64 = 10 << 30;

/// What became of a drain.
#[derive(Debug)]
pub(crate) struct Drained {
    /// Events that this function has sent on.
    pub(crate) drained: u64,
    /// How the store stands in the end.
    pub(crate) left: Standing,
    /// Something has left the store, by whomever it was sent.
    pub(crate) has_moved: bool,
    pub(crate) ended: Ended,
    /// What only an operator can mend.
    pub(crate) alarms: Vec<String>,
    /// What Kafka said when nothing moved.
    pub(crate) reason: Option<String>,
}

/// Why a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ended {
    /// Nothing is left.
    Empty,
    /// The time of the invocation is nearly over.
    Time,
    /// Nothing moves.
    Stuck,
}

/// Sends on what is parked. The store and the publisher are opened here and let go here: nothing outlives an invocation.
pub(crate) async fn drain(settings: &Settings, deadline: Deadline) -> Result<Drained> {
    let store = address::open(settings.store.reveal(), &settings.application, STORE_BYTES_MAX);
    let store = timeout_at(deadline.drain_until, store)
        .await
        .context("no answer in the time of the invocation")
        .and_then(|opened| Ok(opened?))
        .context("the standby store cannot be opened (EVENKEEL_STANDBY__URL says where it is)")?;
    let before = look(&*store, deadline.drain_until).await?;
    if before.waiting() == 0 && !before.is_diverted {
        // Nothing is written then, not even a lease: what wakes the function by a stream must not come of the function.
        return Ok(Drained::nothing(before));
    }
    let directory =
        tempfile::tempdir().context("the function needs a directory for its alarms, under TMPDIR or /tmp")?;
    let mut config = Config::new(&settings.application, settings.kafka.clone(), directory.path());
    config.fleet = Some(Fleet::new(store.clone()));
    let publisher = Publisher::start(config)
        .await
        .context("the drain did not start")?;
    let mut course = Course::new(store, before, deadline);
    let followed = course.follow(&publisher).await;
    let reason = match followed {
        Ok(Ended::Empty) => None,
        _ if course.has_moved => None,
        _ => why(&publisher, deadline).await,
    };
    publisher.close(deadline.close_within).await;
    let mut drained = course.end(followed?).await?;
    drained.drained = publisher.drained();
    drained.reason = reason;
    drained.alarms = alarms(directory.path());
    Ok(drained)
}

impl Drained {
    fn nothing(left: Standing) -> Self {
        Self {
            drained: 0,
            left,
            has_moved: false,
            ended: Ended::Empty,
            alarms: Vec::new(),
            reason: None,
        }
    }

    /// True when the schedule has to call for help: events are left, and nobody could move any.
    pub(crate) fn is_standstill(&self) -> bool {
        self.left.waiting() > 0 && !self.has_moved
    }
}

async fn look(store: &dyn SharedStandby, until: Instant) -> Result<Standing> {
    timeout_at(until, Standing::look(store))
        .await
        .context("no answer in the time of the invocation")
        .and_then(|looked| Ok(looked?))
        .context("the standby store cannot be looked into (EVENKEEL_STANDBY__URL says where it is)")
}

/// A drain that is under way.
struct Course {
    store: Arc<dyn SharedStandby>,
    deadline: Deadline,
    seen: Standing,
    moved_at: Instant,
    has_moved: bool,
    /// Since when nothing is left to be sent.
    empty_since: Option<Instant>,
}

impl Course {
    fn new(store: Arc<dyn SharedStandby>, seen: Standing, deadline: Deadline) -> Self {
        Self {
            store,
            deadline,
            seen,
            moved_at: Instant::now(),
            has_moved: false,
            empty_since: None,
        }
    }

    /// Waits until nothing is left, nothing moves, or the time is over.
    async fn follow(&mut self, publisher: &Publisher) -> Result<Ended> {
        let mut drained = 0;
        loop {
            let now = Instant::now();
            match look(&*self.store, self.deadline.drain_until).await {
                Ok(standing) => self.note(standing),
                Err(error) if now.duration_since(self.moved_at) > GIVE_UP_AFTER => return Err(error),
                Err(error) => tracing::debug!(error = format!("{error:#}"), "it is looked at again"),
            }
            if publisher.drained() > drained {
                drained = publisher.drained();
                self.moves();
            }
            if let Some(ended) = self.ended() {
                return Ok(ended);
            }
            sleep_until((now + LOOK_EVERY).min(self.deadline.drain_until)).await;
        }
    }

    fn note(&mut self, standing: Standing) {
        if standing.has_moved_since(&self.seen) {
            self.moves();
        }
        self.empty_since = match standing.waiting() {
            0 => Some(self.empty_since.unwrap_or_else(Instant::now)),
            _ => None,
        };
        self.seen = standing;
    }

    fn moves(&mut self) {
        self.moved_at = Instant::now();
        self.has_moved = true;
    }

    fn ended(&self) -> Option<Ended> {
        let is_open = !self.seen.is_diverted;
        match self.empty_since {
            Some(since) if is_open || since.elapsed() > OPEN_WITHIN => return Some(Ended::Empty),
            _ => {}
        }
        if Instant::now() >= self.deadline.drain_until {
            return Some(Ended::Time);
        }
        (self.moved_at.elapsed() > GIVE_UP_AFTER).then_some(Ended::Stuck)
    }

    /// Looks once more, when the publisher is closed: it sends until then.
    async fn end(mut self, ended: Ended) -> Result<Drained> {
        let left = look(&*self.store, self.deadline.answer_at).await?;
        self.note(left);
        let ended = match self.seen.waiting() {
            0 => Ended::Empty,
            _ => ended,
        };
        Ok(Drained {
            has_moved: self.has_moved,
            ended,
            ..Drained::nothing(self.seen)
        })
    }
}

/// What Kafka says when it is asked now.
async fn why(publisher: &Publisher, deadline: Deadline) -> Option<String> {
    let left = (deadline.answer_at - deadline.close_within).saturating_duration_since(Instant::now());
    publisher.cluster().complaint(ASK_WITHIN.min(left)).await
}

/// What the publisher could not mend, a sentence each.
fn alarms(directory: &std::path::Path) -> Vec<String> {
    match Alarms::read(directory) {
        Ok(alarms) => alarms
            .all()
            .iter()
            .map(|alarm| format!("{}: {}", alarm.kind.as_str(), alarm.message))
            .collect(),
        Err(error) => vec![format!("the alarms cannot be read: {error}")],
    }
}
