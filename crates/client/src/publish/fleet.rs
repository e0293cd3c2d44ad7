//! This process among those that share a standby store: what [`evenkeel_flow::diversion`] orders is carried out here, and
//! the lines are told where their events go.
//!
//! A partition has one line that publishes, and while this process drains its lane, another one for that.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_broker::Leader;
use evenkeel_event::{TopicId, TopicName, TopicPartition};
use evenkeel_flow::diversion::{
    Diversion, Input, Left, Loaded, Member, Order, Placed, Process, PutResult, RenewResult, Settings, Way,
};
use evenkeel_flow::session::{self, Claim, Partition, Reason};
use evenkeel_store::{AlarmKind, Error, Listed, Place, PlaceStats, SharedStandby};
use rustix::time::{ClockId, clock_gettime};

use super::batch::Batch;
use super::done::Done;
use super::engine::Engine;
use super::fate::Fate;
use super::line::Line;
use crate::config::Fleet as Config;

/// Records with which a drain has little left.
const LITTLE_RECORDS: u64 = 4_096;
/// Wait before a lane is looked at again that could not be.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Longest time that a durable append waits for the diversion to count for all, before its callers are told that it may be
/// sent: longer than a lease of the usual length takes to run out.
const TOLD_WITHIN: Duration = Duration::from_secs(15);
/// Longest wait for a topic's partitions, from Kafka or from the store.
const PLACED_WITHIN: Duration = Duration::from_secs(10);
/// Longest wait for the lease to be taken away at the end.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// What is known of the others.
#[derive(Debug)]
pub(super) struct Fleet {
    store: Arc<dyn SharedStandby>,
    member: Member<Place>,
    /// Longest wait for an answer that the lease depends on.
    answer_within: Duration,
    wake: Option<Duration>,
    drains: HashMap<Place, u32>,
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
struct Untold {
    epoch: u64,
    since: Duration,
    claim: Claim,
    fate: Fate,
}

#[derive(Debug)]
pub(super) struct Drains {
    pub(super) store: Arc<dyn SharedStandby>,
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
            answer_within: config.lease / 2,
            wake: None,
            drains: HashMap::new(),
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

    pub(super) fn is_open(&self, place: &Place) -> bool {
        !self.member.record(place).record.phase.takes_appends()
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

/// The monotonic clock that also runs while the machine sleeps.
fn boot_time() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
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
        self.give_up_untold();
    }

    /// Takes in what the store answered.
    pub(super) fn fleet_answered(&mut self, input: Input<Place>) {
        self.tell_fleet(input);
        self.follow_diverted();
        self.place_by_records();
    }

    /// Takes up the topics of which something is parked, whoever parked it: somebody has to send it on.
    fn follow_diverted(&mut self) {
        let Some(fleet) = &self.fleet else { return };
        let topics = fleet.diverted().map(|(place, _)| &place.topic);
        let new: BTreeSet<TopicName> = topics
            .filter(|topic| !self.topic_ids.contains_key(*topic))
            .cloned()
            .collect();
        for topic in new {
            self.topic_line(&topic);
        }
    }

    fn guarded(&mut self, is_guarded: bool) {
        match is_guarded {
            true => self.clear(&self.letters.clone(), None, &[AlarmKind::StandbyUnreachable]),
            false if self.has_been_guarded => self.raise(
                AlarmKind::StandbyUnreachable,
                self.letters.clone(),
                None,
                "the shared standby store does not answer: this process publishes alone, and its events may overtake those \
                 that other processes have parked"
                    .to_owned(),
            ),
            false => {}
        }
        self.has_been_guarded |= is_guarded;
        let places: Vec<Place> = self.line_ids.keys().map(place_of).collect();
        for place in places {
            self.tell_way(&place);
        }
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
        let place = line.intake.front.place.clone();
        match &mut line.role {
            Role::Alone => {}
            Role::Publishes(_) if !line.machine.is_out() => {}
            Role::Publishes(_) => {
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
                    let term = drains.term;
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

    /// An append under `epoch` was made.
    pub(super) fn made_in(&mut self, id: u32, epoch: Option<u64>) {
        if let (
            Some(Line {
                role: Role::Publishes(publishes),
                ..
            }),
            Some(epoch),
        ) = (self.lines.get_mut(&id), epoch)
        {
            publishes.epoch = epoch;
        }
    }

    /// An append under `epoch` found that this has passed.
    pub(super) fn passed_in(&mut self, id: u32, epoch: Option<u64>) {
        if let (Some(place), Some(epoch)) = (self.place_of(id), epoch) {
            self.tell_fleet(Input::Passed { place, epoch });
        }
    }

    /// Tells callers that they are parked, when nobody publishes ahead of them; else later. False: this does not concern it.
    pub(super) fn tell_parked(&mut self, id: u32, claim: Claim, fate: &Fate) -> bool {
        let (Some(fleet), Some(line)) = (&self.fleet, self.lines.get_mut(&id)) else {
            return false;
        };
        let (Role::Publishes(publishes), Fate::Parked { .. }) = (&mut line.role, fate) else {
            return false;
        };
        let epoch = publishes.epoch;
        if fleet.member.may_tell(&line.intake.front.place, epoch) {
            return false;
        }
        let (since, fate) = (boot_time(), fate.clone());
        publishes.untold.push(Untold {
            epoch,
            since,
            claim,
            fate,
        });
        true
    }

    fn tell_settled(&mut self, place: &Place) {
        let (Some(fleet), Some(id)) = (&self.fleet, self.publishing_line(place)) else {
            return;
        };
        let Some(Line {
            role: Role::Publishes(publishes),
            ..
        }) = self.lines.get_mut(&id)
        else {
            return;
        };
        let is_settled = |untold: &mut Untold| fleet.member.may_tell(place, untold.epoch);
        let settled: Vec<Untold> = publishes.untold.extract_if(.., is_settled).collect();
        for Untold { claim, fate, .. } in settled {
            self.acknowledge(claim, fate);
        }
    }

    /// What cannot be told in time is told as it is: durable perhaps, and not in order for all.
    fn give_up_untold(&mut self) {
        let now = boot_time();
        let mut over = Vec::new();
        for line in self.lines.values_mut() {
            if let Role::Publishes(publishes) = &mut line.role {
                over.extend(
                    publishes
                        .untold
                        .extract_if(.., |untold| now > untold.since + TOLD_WITHIN),
                );
            }
        }
        for Untold { claim, .. } in over {
            let fate = Fate::Failed {
                reason: Reason::StandbyUnknown,
                may_have_landed: true,
            };
            self.acknowledge(claim, fate);
        }
    }

    /// Looks what epochs of producers the lane remembers, then drains it.
    fn open_drain(&mut self, place: Place, term: u64, head: u64, tail: u64) {
        let Some(fleet) = &self.fleet else { return };
        let store = fleet.store();
        self.work.push(Box::pin(async move {
            let mut found = store.open_places().await;
            while let Err(error) = found {
                tracing::debug!(%error, topic = %place.topic, "the lane cannot be looked at yet");
                tokio::time::sleep(LOOK_AGAIN).await;
                found = store.open_places().await;
            }
            let stats = found.into_iter().flatten().find(|stats| stats.place == place);
            Done::DrainOpened {
                place,
                term,
                span: head..tail,
                stats,
            }
        }));
    }

    pub(super) fn drain_opened(
        &mut self,
        place: Place,
        term: u64,
        span: std::ops::Range<u64>,
        stats: Option<PlaceStats>,
    ) {
        let record = self
            .fleet
            .as_ref()
            .map(|fleet| fleet.member.record(&place).record);
        let (Some(partition), Some(fleet)) = (place.partition, &mut self.fleet) else {
            return;
        };
        if record.is_none_or(|record| record.term != term) || fleet.drains.contains_key(&place) {
            return;
        }
        let front = self.shared.front(&place.topic, place.partition);
        let id = front.id;
        let role = Role::Drains(Drains {
            store: fleet.store(),
            term,
            left: None,
        });
        fleet.drains.insert(place.clone(), id);
        let partition = TopicPartition::new(place.topic.clone(), partition);
        self.lines
            .insert(id, Line::new(partition, front, role, self.settings));
        let (span, epochs) = match stats {
            Some(stats) => (stats.span.head..stats.span.tail.max(span.end), stats.epochs),
            None => (span.end..span.end, Vec::new()),
        };
        let (head, tail) = (span.start, span.end);
        self.inbox
            .push_back((id, session::Input::Recovered { head, tail, epochs }));
        self.tell_hold(id);
        self.tell_leader(id);
    }

    fn drain_has_grown(&mut self, place: &Place, head: u64, tail: u64) {
        let id = self
            .fleet
            .as_ref()
            .and_then(|fleet| fleet.drains.get(place))
            .copied();
        let Some(id) = id else { return };
        if let Some(Line {
            role: Role::Drains(drains),
            ..
        }) = self.lines.get_mut(&id)
        {
            // How it stands is told anew, also when it has sent all of this already.
            drains.left = None;
        }
        self.inbox.push_back((id, session::Input::Grown { head, tail }));
    }

    fn stop_drain(&mut self, place: &Place) {
        let id = self.fleet.as_mut().and_then(|fleet| fleet.drains.remove(place));
        if let Some(id) = id {
            self.lines.remove(&id);
            self.turns.forget(id);
            self.give_turns();
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

    /// Places the events of topics that Kafka does not tell of by the partitions that other processes placed by.
    fn place_by_records(&mut self) {
        let Some(fleet) = &self.fleet else { return };
        let known: Vec<(u32, usize)> = self
            .unplaced_topics()
            .filter_map(|(id, topic)| {
                let counts = fleet.diverted().filter(|(place, _)| place.topic == *topic);
                let count = counts.map(|(_, count)| count).max()?;
                Some((id, usize::try_from(count).ok()?))
            })
            .filter(|(_, count)| *count > 0)
            .collect();
        for (id, count) in known {
            self.adopt(id, count);
        }
    }

    /// How long events wait under a topic. In a shared store lanes are partitions', so that they wait for these.
    pub(super) fn settings_under_topics(&self) -> session::Settings {
        match self.fleet {
            None => self.settings,
            Some(_) => session::Settings {
                out_after: self.settings.out_after.max(PLACED_WITHIN),
                ..self.settings
            },
        }
    }

    /// Asks the store by how many partitions a topic's keys are placed, for when Kafka does not tell.
    pub(super) fn ask_record(&mut self, id: u32) {
        let (Some(fleet), Some(place)) = (&self.fleet, self.topic_place(id)) else {
            return;
        };
        let (store, patience) = (fleet.store(), self.settings.out_after / 2);
        self.work.push(Box::pin(async move {
            let asked = store.lane(&place).await;
            tokio::time::sleep(patience).await;
            let partitions = asked.map_or(0, |lane| lane.diversion.record.partition_count);
            Done::TopicRecord {
                topic: id,
                partitions,
            }
        }));
    }

    pub(super) fn topic_remembered(&mut self, id: u32, partitions: i32) {
        let is_unplaced = self.unplaced_topics().any(|(unplaced, _)| unplaced == id);
        if let Some(count) = usize::try_from(partitions)
            .ok()
            .filter(|count| *count > 0 && is_unplaced)
        {
            self.adopt(id, count);
        }
    }

    /// Lets the store remember by how many partitions a topic's keys are placed.
    pub(super) fn remember_record(&mut self, topic: &TopicName, topic_id: TopicId, partitions: usize) {
        let (Some(fleet), Ok(partition_count)) = (&self.fleet, i32::try_from(partitions)) else {
            return;
        };
        let (store, topic) = (fleet.store(), topic.clone());
        let place = Place {
            topic,
            partition: None,
        };
        self.work.push(Box::pin(async move {
            // Others write the same, and what fails costs only those who start while Kafka is gone.
            if let Ok(lane) = store.lane(&place).await
                && (
                    lane.diversion.record.partition_count,
                    lane.diversion.record.topic_id,
                ) != (partition_count, topic_id)
            {
                let diversion = Diversion {
                    topic_id,
                    partition_count,
                    ..lane.diversion.record
                };
                let put = store
                    .put_diversion(&place, lane.diversion.version, None, diversion)
                    .await;
                tracing::debug!(topic = %place.topic, ?put, "the topic's partitions are remembered");
            }
            Done::Nothing
        }));
    }

    /// Takes the lease away, so that nobody waits for it.
    pub(super) async fn leave_fleet(&mut self) {
        let Some(fleet) = &self.fleet else { return };
        let Order::Revoke { process, renewal } = fleet.member.leave() else {
            return;
        };
        let left = tokio::time::timeout(LEAVE_WITHIN, fleet.store.revoke(process, renewal)).await;
        tracing::debug!(?left, "the lease is given back");
    }
}

impl Fleet {
    /// True while some partition of a topic is not open.
    pub(super) fn is_diverted(&self, topic: &TopicName) -> bool {
        self.diverted().any(|(place, _)| place.topic == *topic)
    }

    /// Places that are not open, with the partitions by which their topic's keys are placed.
    fn diverted(&self) -> impl Iterator<Item = (&Place, i32)> {
        let records = self.member.records();
        records
            .filter(|(_, record)| record.phase.takes_appends())
            .map(|(place, record)| (place, record.partition_count))
    }
}

fn place_of(partition: &TopicPartition) -> Place {
    Place {
        topic: partition.topic.clone(),
        partition: Some(partition.partition),
    }
}

/// Asks the store, and says what it answered in time.
async fn asked(store: &dyn SharedStandby, within: Duration, order: Order<Place>) -> Input<Place> {
    async fn timely<T>(within: Duration, asked: impl Future<Output = Result<T, Error>>) -> Option<T> {
        match tokio::time::timeout(within, asked).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the shared standby store cannot be asked");
                None
            }
            Err(_) => None,
        }
    }
    match order {
        Order::Load { place } => {
            let found = timely(within, store.lane(&place)).await.map(|lane| Loaded {
                diversion: lane.diversion,
                head: lane.span.head,
                tail: lane.span.tail,
            });
            Input::Loaded { place, found }
        }
        Order::Put {
            place,
            version,
            tail,
            diversion,
        } => {
            let put = timely(within, store.put_diversion(&place, version, tail, diversion)).await;
            let result = match put {
                Some(Some(version)) => PutResult::Made(version),
                Some(None) => PutResult::Moved,
                None => PutResult::Failed,
            };
            Input::Put { place, result }
        }
        Order::Renew { lease, joins } => {
            let result = match timely(within, store.renew(lease, joins)).await {
                Some(true) => RenewResult::Made,
                Some(false) => RenewResult::Lost,
                None => RenewResult::Failed,
            };
            Input::Renewed { result }
        }
        Order::ListLeases => Input::Leases {
            found: timely(within, store.leases()).await,
        },
        _ => Input::Listed {
            found: timely(within, store.diversions()).await.map(|listed| {
                let pair = |Listed { place, diversion }| (place, diversion);
                listed.into_iter().map(pair).collect()
            }),
        },
    }
}
