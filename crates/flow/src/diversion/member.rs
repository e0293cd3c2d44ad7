//! The member's state, and where each input goes.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use super::lease::Own;
use super::line::{Around, Line};
use super::watch::Watch;
use super::{Diversion, Input, Lease, Mode, Order, Process, RenewResult, Settings, Versioned, Way};

/// One process among those that share a standby store. See the [module](super) for its contract with the shell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Member<K> {
    process: Process,
    settings: Settings,
    own: Own<K>,
    watch: Watch,
    lines: BTreeMap<K, Line>,
    /// Writes of records that are not answered.
    puts: BTreeMap<K, Diversion>,
    step: Step,
    is_guarded: Option<bool>,
    wake: Option<Duration>,
    /// When the last input came. Later than a pause, it is a sign that this process stood still.
    heard_at: Duration,
    /// It stood still since what is asked of the store was asked: that no answer came in time says nothing of the store.
    is_stale: bool,
}

/// What is asked of the store, one after the other: what is diverted, then the lease is renewed where that is due, so that
/// every renewal acknowledges what stood in the store before it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Step {
    Resting { until: Duration },
    Listing,
    Renewing,
}

impl<K: Ord + Clone + Debug> Member<K> {
    /// A process that has not heard of the store yet.
    #[must_use]
    pub const fn new(process: Process, settings: Settings) -> Self {
        Self {
            process,
            settings,
            own: Own::new(),
            watch: Watch::new(),
            lines: BTreeMap::new(),
            puts: BTreeMap::new(),
            step: Step::Resting {
                until: Duration::ZERO,
            },
            is_guarded: None,
            wake: None,
            heard_at: Duration::ZERO,
            is_stale: false,
        }
    }

    /// Takes in what happened at `now`, on a monotonic clock that counts the time during which the machine slept
    /// (`CLOCK_BOOTTIME`), and pushes what is to be done onto `orders`.
    pub fn handle(&mut self, now: Duration, input: Input<K>, orders: &mut Vec<Order<K>>) {
        if self.stood_still(now) {
            self.own.has_failed = false;
            self.is_stale = !matches!(self.step, Step::Resting { .. });
        }
        self.heard_at = now;
        match input {
            Input::Out { place, placed } => self.line(&place).want(placed),
            Input::Reachable { place, is_reachable } => self.line(&place).set_reachable(is_reachable),
            Input::Passed { place, epoch } => self.line(&place).passed(epoch),
            Input::Drained { place, term, left } => self.line(&place).drained(term, left),
            Input::Loaded { place, found } => self.line(&place).loaded(&place, found, orders),
            Input::Put { place, result } => {
                if let Some(made) = self.puts.remove(&place) {
                    self.line(&place).put(&place, made, result, orders);
                }
            }
            Input::Listed { found } => self.listed(now, found, orders),
            Input::Renewed { result } => self.renewed(now, result),
            Input::Leases { found } => self.leases(now, found, orders),
            Input::Timer => self.wake = None,
        }
        self.go_on(now, orders);
    }

    /// Where an event goes that is published to `place` now. To be asked after the call was made: what counts is that a
    /// lease stood at some moment after it.
    #[must_use]
    pub fn way(&self, now: Duration, place: &K) -> Way {
        let open_way = self.open_way(now);
        self.lines.get(place).map_or(open_way, |line| line.way(open_way))
    }

    /// True when who appended to `place` under `epoch` may be told `Parked`: no process publishes ahead of it.
    #[must_use]
    pub fn may_tell(&self, place: &K, epoch: u64) -> bool {
        self.lines
            .get(place)
            .is_some_and(|line| epoch < line.settled_below())
    }

    /// What is known of a place's record.
    #[must_use]
    pub fn record(&self, place: &K) -> Versioned<Diversion> {
        self.lines
            .get(place)
            .map_or_else(Versioned::default, |line| line.seen)
    }

    /// Every place of which something is known, with its record.
    pub fn records(&self) -> impl Iterator<Item = (&K, Diversion)> {
        self.lines.iter().map(|(place, line)| (place, line.seen.record))
    }

    /// True while this process holds a lease.
    #[must_use]
    pub fn is_guarded(&self, now: Duration) -> bool {
        self.own.is_valid(now)
    }

    /// True while a renewal of the lease is not answered. Made late, it would stand after the lease was taken away.
    #[must_use]
    pub fn is_renewing(&self) -> bool {
        self.step == Step::Renewing
    }

    /// The lease to take away when nothing of this process is under way any more: others then do not wait for it.
    #[must_use]
    pub fn leave(&self) -> Order<K> {
        Order::Revoke {
            process: self.process,
            renewal: self.own.renewal,
        }
    }

    fn line(&mut self, place: &K) -> &mut Line {
        self.lines.entry(place.clone()).or_default()
    }

    /// True when more time has passed since the last input than answers and polls leave between two.
    fn stood_still(&self, now: Duration) -> bool {
        now.saturating_sub(self.heard_at) > self.settings.stands_still_after()
    }

    /// What was asked is answered, or was not in time. Returns whether the store is to be blamed when it was not.
    fn is_silent(&mut self) -> bool {
        !std::mem::take(&mut self.is_stale)
    }

    fn open_way(&self, now: Duration) -> Way {
        match self.settings.mode {
            _ if self.own.is_valid(now) => Way::Direct,
            // One that was paused asks first.
            _ if !self.own.has_failed || self.stood_still(now) => Way::Hold,
            Mode::Available => Way::Direct,
            Mode::Strict => Way::Refuse,
        }
    }

    fn around(&self, now: Duration) -> Around {
        Around {
            me: self.process,
            drains: self.settings.drains,
            open_way: self.open_way(now),
        }
    }

    fn listed(
        &mut self,
        now: Duration,
        found: Option<Vec<(K, Versioned<Diversion>)>>,
        orders: &mut Vec<Order<K>>,
    ) {
        if self.step != Step::Listing {
            return;
        }
        self.rest(now);
        let is_silent = self.is_silent();
        let Some(found) = found else {
            self.own.failed(is_silent);
            return;
        };
        let found: BTreeMap<K, Versioned<Diversion>> = found.into_iter().collect();
        for (place, line) in &mut self.lines {
            if !found.contains_key(place) {
                line.miss();
            }
        }
        for (place, record) in found {
            self.line(&place).hear(record);
        }
        self.own.listed();
        self.renew(now, orders);
    }

    fn renew(&mut self, now: Duration, orders: &mut Vec<Order<K>>) {
        let diverted = self.lines.iter().filter(|(_, line)| !line.is_open());
        let acknowledged: BTreeMap<K, u64> = diverted
            .map(|(place, line)| (place.clone(), line.seen.record.epoch))
            .collect();
        if !self.own.is_due(now, self.settings.lease, &acknowledged) {
            return;
        }
        let (renewal, joins) = self.own.send(now, acknowledged.clone());
        self.step = Step::Renewing;
        let lease = Lease {
            process: self.process,
            renewal,
            duration: self.settings.lease,
            acknowledged,
        };
        orders.push(Order::Renew { lease, joins });
    }

    fn renewed(&mut self, now: Duration, result: RenewResult) {
        if self.step != Step::Renewing {
            return;
        }
        self.rest(now);
        let is_silent = self.is_silent();
        match result {
            RenewResult::Made if self.own.made(self.settings.lease) => {
                self.step = Step::Resting { until: now };
            }
            RenewResult::Made => {}
            RenewResult::Lost => self.own.lost(),
            RenewResult::Failed => self.own.failed(is_silent),
        }
    }

    fn rest(&mut self, now: Duration) {
        let until = now + self.settings.poll_every;
        self.step = Step::Resting { until };
    }

    fn leases(&mut self, now: Duration, found: Option<Vec<Lease<K>>>, orders: &mut Vec<Order<K>>) {
        self.watch.is_open = false;
        let Some(mut found) = found else {
            return;
        };
        let around = self.around(now);
        for (place, line) in &mut self.lines {
            line.take_leases(&around, place, &found);
        }
        found.retain(|lease| lease.process != self.process);
        for (process, renewal) in self.watch.take(now, &self.settings, &found) {
            orders.push(Order::Revoke { process, renewal });
        }
    }

    fn go_on(&mut self, now: Duration, orders: &mut Vec<Order<K>>) {
        if let Step::Resting { until } = self.step
            && now >= until
        {
            self.poll(now, orders);
        }
        let around = self.around(now);
        let before = orders.len();
        for (place, line) in &mut self.lines {
            line.go_on(&around, place, orders);
        }
        let puts = orders.iter().skip(before).filter_map(|order| match order {
            Order::Put { place, diversion, .. } => Some((place.clone(), *diversion)),
            _ => None,
        });
        self.puts.extend(puts);
        let is_guarded = self.own.is_valid(now);
        if self.is_guarded.replace(is_guarded) != Some(is_guarded) {
            orders.push(Order::Guarded(is_guarded));
        }
        self.wake(now, orders);
    }

    fn poll(&mut self, now: Duration, orders: &mut Vec<Order<K>>) {
        self.step = Step::Listing;
        orders.push(Order::List);
        self.lines.values_mut().for_each(Line::poll);
        let around = self.around(now);
        let needs_leases = self.lines.values().any(|line| line.needs_leases(&around));
        if needs_leases && !self.watch.is_open {
            self.watch.is_open = true;
            self.lines.values_mut().for_each(Line::ask_leases);
            orders.push(Order::ListLeases);
        }
    }

    fn wake(&mut self, now: Duration, orders: &mut Vec<Order<K>>) {
        let Step::Resting { until } = self.step else {
            return;
        };
        if until > now && self.wake.is_none_or(|earlier| until < earlier) {
            self.wake = Some(until);
            orders.push(Order::WakeAt(until));
        }
    }
}
