//! This process among those that share a standby store: what [`evenkeel_flow::diversion`] orders is carried out here, and
//! the lines are told where their events go.
//!
//! A partition has one line that publishes, and while this process drains its lane, another one for that.

mod ask;
mod drain;
mod topics;
mod untold;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_broker::Leader;
use evenkeel_event::{TopicName, TopicPartition};
use evenkeel_flow::diversion::{Input, Left, Member, Mode, Order, Placed, Process, Settings, Way};
use evenkeel_flow::session::{self, Partition};
use evenkeel_store::{AlarmKind, Place, SharedStandby};
use futures_util::StreamExt as _;

use super::batch::Batch;
use super::done::Done;
use super::engine::Engine;
use super::fate::Refusal;
use super::line::Line;
use super::pulse::boot_time;
use crate::config::Fleet as Config;
pub(super) use ask::Asked;
use ask::asked;
use untold::Untold;

/// Records with which a drain has little left.
const LITTLE_RECORDS: u64 = 4_096;
/// Longest wait for the lease to be taken away at the end.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// What is known of the others.
#[derive(Debug)]
pub(super) struct Fleet {
    store: Arc<dyn SharedStandby>,
    member: Member<Place>,
    mode: Mode,
    /// Longest wait for an answer that the lease depends on.
    answer_within: Duration,
    wake: Option<Duration>,
    drains: HashMap<Place, u32>,
    /// Why the store did not answer when it was asked last.
    trouble: Option<String>,
    /// An alarm says so.
    is_blamed: bool,
    /// By what topics' keys are placed, as the store does not know yet.
    unremembered: HashMap<TopicName, Placed>,
}

/// What a line does for its partition.
#[derive(Debug)]
pub(super) enum Role {
    /// Its lane is this process's own.
    Alone,
    /// It publishes; the lane is shared.
    Publishes(Publishes),
    /// It drains a shared lane.
    Drains(Drains),
}

#[derive(Debug, Default)]
pub(super) struct Publishes {
    told: Option<session::Way>,
    /// The epoch of the newest append.
    epoch: u64,
    /// Callers whose events are durable, and who are told when no process publishes ahead of them.
    untold: Vec<Untold>,
}

#[derive(Debug)]
pub(super) struct Drains {
    pub(super) term: u64,
    left: Option<Left>,
}

impl Fleet {
    pub(super) fn new(config: &Config, process: u128) -> Self {
        let settings = Settings {
            lease: config.lease,
            poll_every: config.poll_every,
            mode: config.mode,
            ..Settings::default()
        };
        Self {
            store: config.store.clone(),
            member: Member::new(Process(process), settings),
            mode: config.mode,
            answer_within: config.lease / 2,
            wake: None,
            drains: HashMap::new(),
            trouble: None,
            is_blamed: false,
            unremembered: HashMap::new(),
        }
    }

    /// The epoch under which what is published to a place is parked; `None` when it is not parked now.
    pub(super) fn epoch(&self, place: &Place) -> Option<u64> {
        match self.member.way(boot_time(), place) {
            Way::Park { epoch } | Way::Linger { epoch } => Some(epoch),
            Way::Direct | Way::Hold | Way::Refuse => None,
        }
    }

    pub(super) fn store(&self) -> Arc<dyn SharedStandby> {
        self.store.clone()
    }

    /// The term under which a line stores stamps, and where; `None` for one that drains no shared lane.
    pub(super) fn term_of(&self, role: &Role) -> Option<(Arc<dyn SharedStandby>, u64)> {
        match role {
            Role::Drains(drains) => Some((self.store(), drains.term)),
            Role::Alone | Role::Publishes(_) => None,
        }
    }

    pub(super) fn is_open(&self, place: &Place) -> bool {
        !self.member.record(place).record.phase.takes_appends()
    }

    /// Why the store takes nothing, when it did not answer the last time.
    pub(super) fn trouble(&self) -> Option<Arc<Refusal>> {
        let trouble = self.trouble.as_ref()?;
        let cause = match self.mode {
            Mode::Available => {
                format!("Kafka cannot take the event, and the standby store cannot be asked: {trouble}")
            }
            Mode::Strict => format!(
                "nothing is published without the standby store (standby.without_store is \"refuse\"), and that cannot be asked: {trouble}"
            ),
        };
        Some(Arc::new(Refusal {
            is_full: false,
            cause,
        }))
    }

    fn way(&self, place: &Place) -> session::Way {
        match self.member.way(boot_time(), place) {
            Way::Direct => session::Way::Direct,
            Way::Park { .. } => session::Way::Park,
            Way::Linger { .. } | Way::Hold => session::Way::Hold,
            Way::Refuse => session::Way::Refuse,
        }
    }
}

impl Role {
    /// For a line that publishes.
    pub(super) fn of_publishing(fleet: Option<&Fleet>) -> Self {
        match fleet {
            None => Self::Alone,
            Some(_) => Self::Publishes(Publishes::default()),
        }
    }

    pub(super) fn machine(&self, settings: session::Settings) -> Partition<Batch> {
        match self {
            Self::Publishes(_) => Partition::shared(settings),
            Self::Alone | Self::Drains(_) => Partition::new(settings),
        }
    }

    /// True while callers wait to be told that they are parked.
    pub(super) fn has_untold(&self) -> bool {
        matches!(self, Self::Publishes(publishes) if !publishes.untold.is_empty())
    }
}

impl Engine {
    /// Tells the member something, and carries out what it orders.
    pub(super) fn tell_fleet(&mut self, input: Input<Place>) {
        let Some(fleet) = &mut self.fleet else { return };
        let mut orders = Vec::new();
        fleet.member.handle(boot_time(), input, &mut orders);
        for order in orders {
            self.carry_out_for_fleet(order);
        }
    }

    fn carry_out_for_fleet(&mut self, order: Order<Place>) {
        match order {
            Order::List
            | Order::Load { .. }
            | Order::Put { .. }
            | Order::Renew { .. }
            | Order::ListLeases => {
                self.ask_store(order);
            }
            Order::Revoke { process, renewal } => {
                let Some(fleet) = &self.fleet else { return };
                let store = fleet.store();
                self.work.push(Box::pin(async move {
                    let revoked = store.revoke(process, renewal).await;
                    tracing::debug!(?process, ?revoked, "a lease has run out");
                    Done::Nothing
                }));
            }
            Order::Turned { place, .. } => self.tell_way(&place),
            Order::Settled { place, .. } => self.tell_settled(&place),
            Order::NotDiverted { place } => {
                if let Some(id) = self.publishing_line(&place) {
                    self.inbox.push_back((id, session::Input::NotDiverted));
                }
            }
            Order::Drain {
                place,
                term,
                head,
                tail,
            } => self.open_drain(place, term, head, tail),
            Order::Grown { place, head, tail } => self.drain_has_grown(&place, head, tail),
            Order::StopDrain { place } => self.stop_drain(&place),
            Order::Guarded(is_guarded) => self.guarded(is_guarded),
            Order::WakeAt(at) => self.wake_fleet_at(at),
        }
    }

    /// Asks the store what the member wants to know or to be done.
    fn ask_store(&mut self, order: Order<Place>) {
        let Some(fleet) = &self.fleet else { return };
        let (store, within) = (fleet.store(), fleet.answer_within);
        self.work.push(Box::pin(async move {
            Done::Fleet(asked(&*store, within, order).await)
        }));
    }

    fn wake_fleet_at(&mut self, at: Duration) {
        if let Some(fleet) = &mut self.fleet {
            fleet.wake = Some(at);
        }
        let wait = at.saturating_sub(boot_time());
        self.work.push(Box::pin(async move {
            tokio::time::sleep(wait).await;
            Done::FleetTimer { at }
        }));
    }

    pub(super) fn fleet_timer(&mut self, at: Duration) {
        let is_meant = |fleet: &mut Fleet| fleet.wake.take_if(|wake| *wake == at).is_some();
        if self.fleet.as_mut().is_some_and(is_meant) {
            self.tell_fleet(Input::Timer);
        }
        self.tell_late();
    }

    /// Takes in what the store answered.
    pub(super) fn fleet_answered(&mut self, asked: Asked) {
        let Asked { input, trouble } = asked;
        let is_listing = matches!(input, Input::Listed { .. });
        if let Some(fleet) = &mut self.fleet {
            fleet.trouble = trouble;
        }
        self.tell_fleet(input);
        self.blame_store();
        if is_listing {
            self.follow_diverted();
            self.place_by_records();
            self.adopt_partitions();
        }
    }

    fn guarded(&mut self, is_guarded: bool) {
        if is_guarded {
            let was_blamed = |fleet: &mut Fleet| std::mem::take(&mut fleet.is_blamed);
            if self.fleet.as_mut().is_some_and(was_blamed) {
                tracing::warn!("the shared standby store answers again: the order across processes is kept");
            }
            self.clear(&self.letters.clone(), None, &[AlarmKind::StandbyUnreachable]);
        }
        let places: Vec<Place> = self.line_ids.keys().map(place_of).collect();
        for place in places {
            self.tell_way(&place);
        }
    }

    /// Raises an alarm when this process has no lease because the store does not answer.
    fn blame_store(&mut self) {
        let Some(fleet) = &mut self.fleet else { return };
        let is_guarded = fleet.member.is_guarded(boot_time());
        let Some(trouble) = fleet.trouble.as_ref().filter(|_| !is_guarded) else {
            return;
        };
        let cost = match fleet.mode {
            Mode::Available => {
                "publishes alone, and its events may overtake those that other processes have parked"
            }
            Mode::Strict => "publishes nothing",
        };
        let message = format!("without the shared standby store this process {cost}: {trouble}");
        fleet.is_blamed = true;
        self.raise(AlarmKind::StandbyUnreachable, self.letters.clone(), None, message);
    }

    fn publishing_line(&self, place: &Place) -> Option<u32> {
        let partition = TopicPartition::new(place.topic.clone(), place.partition?);
        self.line_ids.get(&partition).copied()
    }

    /// Tells a place's line where its events go, when that has changed.
    pub(super) fn tell_way(&mut self, place: &Place) {
        let (Some(fleet), Some(id)) = (&self.fleet, self.publishing_line(place)) else {
            return;
        };
        let way = fleet.way(place);
        if let Some(Line {
            role: Role::Publishes(publishes),
            ..
        }) = self.lines.get_mut(&id)
            && publishes.told.replace(way) != Some(way)
        {
            self.inbox.push_back((id, session::Input::Way(way)));
        }
    }

    /// True when the line may take what is published now. Asked after the calls were made.
    pub(super) fn may_feed(&mut self, id: u32) -> bool {
        let Some(fleet) = &self.fleet else { return true };
        let Some(line) = self.lines.get(&id) else {
            return false;
        };
        let Role::Publishes(publishes) = &line.role else {
            return true;
        };
        let place = line.intake.front.place.clone();
        let way = fleet.way(&place);
        if publishes.told != Some(way) {
            self.tell_way(&place);
            return false;
        }
        way != session::Way::Hold
    }

    /// Lets the member know how a line stands, after it was told something.
    pub(super) fn report_line(&mut self, id: u32) {
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        let place = || line.intake.front.place.clone();
        match &mut line.role {
            Role::Alone => {}
            Role::Publishes(_) if !line.machine.is_out() => {}
            Role::Publishes(_) => {
                let place = place();
                let topic_id = line.topic_id;
                let partition_count = self.partitions_of(&place);
                let placed = Placed {
                    topic_id,
                    partition_count,
                };
                self.tell_fleet(Input::Out { place, placed });
            }
            Role::Drains(drains) => {
                let parked = line.machine.parked();
                let left = match parked.end - parked.start {
                    0 => Left::Nothing,
                    1..=LITTLE_RECORDS => Left::Little,
                    _ => Left::Much,
                };
                if drains.left.replace(left) != Some(left) {
                    let (place, term) = (place(), drains.term);
                    self.tell_fleet(Input::Drained { place, term, left });
                }
            }
        }
    }

    /// Lets the member know whether what is parked of a line's partition can be sent on.
    pub(super) fn report_leader(&mut self, id: u32) {
        let Some(line) = self
            .lines
            .get(&id)
            .filter(|line| matches!(line.role, Role::Publishes(_)))
        else {
            return;
        };
        let place = line.intake.front.place.clone();
        let is_reachable = matches!(line.leader, Leader::At { .. }) && !self.held.holds(&place);
        self.tell_fleet(Input::Reachable { place, is_reachable });
    }

    /// An append under `epoch` found that this has passed.
    pub(super) fn passed_in(&mut self, id: u32, epoch: Option<u64>) {
        if let (Some(place), Some(epoch)) = (self.place_of(id), epoch) {
            self.tell_fleet(Input::Passed { place, epoch });
        }
    }

    fn partitions_of(&self, place: &Place) -> i32 {
        let known = self
            .metadata
            .topic(&place.topic)
            .map_or(0, |topic| topic.partitions.len());
        let used = self.partitions_used(&place.topic);
        i32::try_from(if used > 0 { used } else { known }).unwrap_or(0)
    }

    /// Tells the store what it is to remember, and takes the lease away, so that nobody waits for it.
    pub(super) async fn leave_fleet(&mut self) {
        let Some(fleet) = &self.fleet else { return };
        for (topic, placed) in &fleet.unremembered {
            let remembered = topics::remember(&*fleet.store, topic, *placed);
            let remembered = tokio::time::timeout(LEAVE_WITHIN, remembered).await;
            tracing::debug!(%topic, ?remembered, "the topic's partitions");
        }
        // When the last lane opens, the lease is renewed: that is usually under way now.
        let renewed = tokio::time::timeout(LEAVE_WITHIN, self.last_renewal()).await;
        tracing::debug!(?renewed, "the last renewal of the lease");
        let Some(fleet) = &self.fleet else { return };
        let Order::Revoke { process, renewal } = fleet.member.leave() else {
            return;
        };
        let left = tokio::time::timeout(LEAVE_WITHIN, fleet.store.revoke(process, renewal)).await;
        tracing::debug!(?left, "the lease is given back");
    }

    /// Waits until no renewal of the lease is under way. What else is under way is left to itself.
    async fn last_renewal(&mut self) {
        while self
            .fleet
            .as_ref()
            .is_some_and(|fleet| fleet.member.is_renewing())
        {
            match self.work.next().await {
                Some(Done::Fleet(asked)) => self.tell_fleet(asked.input),
                Some(_) => {}
                None => return,
            }
        }
    }
}

fn place_of(partition: &TopicPartition) -> Place {
    Place {
        topic: partition.topic.clone(),
        partition: Some(partition.partition),
    }
}
