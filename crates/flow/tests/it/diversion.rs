//! What a member does, told step by step. That it keeps its promises however the steps fall is explored in crates/sim.

use std::time::Duration;

use evenkeel_flow::diversion::{
    Diversion, Input, Lease, Left, Loaded, Member, Mode, Order, Phase, Placed, Process, PutResult,
    RenewResult, Settings, Versioned, Way,
};

const ME: Process = Process(1);
const OTHER: Process = Process(2);
const AT: &str = "orders/0";

/// A member, its clock in milliseconds, and what it ordered last.
struct Told {
    member: Member<&'static str>,
    now: Duration,
    orders: Vec<Order<&'static str>>,
}

impl Told {
    fn new(mode: Mode) -> Self {
        let settings = Settings {
            mode,
            ..Settings::default()
        };
        Self {
            member: Member::new(ME, settings),
            now: Duration::ZERO,
            orders: Vec::new(),
        }
    }

    /// One that has a lease, with nothing diverted.
    fn joined(mode: Mode) -> Self {
        let mut told = Self::new(mode);
        told.tell(Input::Timer);
        told.listed(&[]);
        told.tell(Input::Renewed {
            result: RenewResult::Made,
        });
        told.listed(&[]);
        told
    }

    fn tell(&mut self, input: Input<&'static str>) -> &[Order<&'static str>] {
        self.orders.clear();
        self.member.handle(self.now, input, &mut self.orders);
        &self.orders
    }

    fn listed(&mut self, found: &[Versioned<Diversion>]) -> &[Order<&'static str>] {
        let found = Some(found.iter().map(|record| (AT, *record)).collect());
        self.tell(Input::Listed { found })
    }

    fn put(&mut self, result: PutResult) -> &[Order<&'static str>] {
        self.tell(Input::Put { place: AT, result })
    }

    fn wait(&mut self, millis: u64) -> &[Order<&'static str>] {
        self.now += Duration::from_millis(millis);
        self.tell(Input::Timer)
    }

    fn way(&self) -> Way {
        self.member.way(self.now, &AT)
    }
}

fn record(version: u64, epoch: u64, phase: Phase) -> Versioned<Diversion> {
    let record = Diversion {
        epoch,
        phase,
        ..Diversion::default()
    };
    Versioned { version, record }
}

fn lease(renewal: u64, acknowledged: Option<u64>) -> Lease<&'static str> {
    Lease {
        process: OTHER,
        renewal,
        duration: Duration::from_secs(5),
        acknowledged: acknowledged.iter().map(|epoch| (AT, *epoch)).collect(),
    }
}

fn put_of(orders: &[Order<&'static str>]) -> Option<(u64, Option<u64>, Diversion)> {
    orders.iter().find_map(|order| match order {
        Order::Put {
            version,
            tail,
            diversion,
            ..
        } => Some((*version, *tail, *diversion)),
        _ => None,
    })
}

#[test]
fn it_publishes_directly_once_it_has_joined_and_asked_what_is_diverted() {
    let mut told = Told::new(Mode::Strict);
    assert_eq!(told.way(), Way::Hold);
    assert_eq!(told.tell(Input::Timer), [Order::List, Order::Guarded(false)]);
    let renewed = told.listed(&[]);
    assert!(
        matches!(renewed, [Order::Renew { joins: true, .. }]),
        "{renewed:?}"
    );
    let asked = told.tell(Input::Renewed {
        result: RenewResult::Made,
    });
    assert_eq!(asked, [Order::List]);
    assert_eq!(told.way(), Way::Hold, "not before it knows what is diverted");
    assert!(told.listed(&[]).contains(&Order::Guarded(true)));
    assert_eq!(told.way(), Way::Direct);
}

#[test]
fn a_lease_counts_from_before_it_was_sent() {
    let mut told = Told::new(Mode::Strict);
    told.tell(Input::Timer);
    told.listed(&[]);
    told.now += Duration::from_secs(4);
    told.tell(Input::Renewed {
        result: RenewResult::Made,
    });
    told.listed(&[]);
    assert_eq!(told.way(), Way::Direct);
    told.now += Duration::from_secs(1);
    assert_eq!(told.way(), Way::Hold, "the store may well answer");
    told.tell(Input::Renewed {
        result: RenewResult::Failed,
    });
    assert_eq!(told.way(), Way::Refuse);
}

#[test]
fn without_the_store_the_mode_decides() {
    for (mode, way) in [(Mode::Available, Way::Direct), (Mode::Strict, Way::Refuse)] {
        let mut told = Told::new(mode);
        told.tell(Input::Timer);
        assert_eq!(told.way(), Way::Hold);
        told.tell(Input::Listed { found: None });
        assert_eq!((told.way(), told.member.is_guarded(told.now)), (way, false));
    }
}

#[test]
fn parked_is_told_when_every_lease_acknowledges() {
    let mut told = Told::joined(Mode::Strict);
    let placed = Placed {
        partition_count: 6,
        ..Placed::default()
    };
    let (version, tail, diversion) = put_of(told.tell(Input::Out { place: AT, placed })).unwrap();
    assert_eq!((version, tail, diversion.phase), (0, None, Phase::Diverting));
    assert_eq!(diversion.partition_count, 6);
    assert_eq!(told.way(), Way::Hold);
    told.put(PutResult::Made(1));
    assert_eq!(told.way(), Way::Park { epoch: 0 });
    assert!(told.wait(250).contains(&Order::ListLeases));
    let not_yet = Some(vec![lease(7, None)]);
    assert_eq!(put_of(told.tell(Input::Leases { found: not_yet })), None);
    assert!(!told.member.may_tell(&AT, 0));
    told.listed(&[record(1, 0, Phase::Diverting)]);
    told.tell(Input::Renewed {
        result: RenewResult::Made,
    });
    assert!(told.wait(250).contains(&Order::ListLeases));
    let all = Some(vec![lease(8, Some(0))]);
    let (version, _, diversion) = put_of(told.tell(Input::Leases { found: all })).unwrap();
    assert_eq!((version, diversion.phase), (1, Phase::Diverted));
    let settled = Order::Settled { place: AT, below: 1 };
    assert!(told.put(PutResult::Made(2)).contains(&settled));
    assert!(told.member.may_tell(&AT, 0));
}

#[test]
fn what_is_diverted_is_acknowledged_by_the_next_renewal() {
    let mut told = Told::joined(Mode::Strict);
    told.wait(250);
    let orders = told.listed(&[record(3, 5, Phase::Diverting)]).to_vec();
    let acknowledged = orders.iter().find_map(|order| match order {
        Order::Renew { lease, joins: false } => lease.acknowledged.get(AT),
        _ => None,
    });
    assert_eq!(acknowledged, Some(&5), "{orders:?}");
    assert_eq!(told.way(), Way::Park { epoch: 5 });
}

#[test]
fn a_lease_is_taken_away_when_it_was_seen_unchanged_for_longer_than_it_counts() {
    let mut told = Told::joined(Mode::Strict);
    told.wait(250);
    told.listed(&[record(1, 0, Phase::Diverting)]);
    told.tell(Input::Renewed {
        result: RenewResult::Made,
    });
    let mut revoked_at = None;
    for _ in 0..40 {
        if told.wait(250).contains(&Order::ListLeases) {
            let found = Some(vec![lease(7, None)]);
            let (process, renewal) = (OTHER, 7);
            let revoke = Order::Revoke { process, renewal };
            if told.tell(Input::Leases { found }).contains(&revoke) {
                revoked_at.get_or_insert(told.now);
            }
        }
        told.listed(&[record(1, 0, Phase::Diverting)]);
        told.tell(Input::Renewed {
            result: RenewResult::Made,
        });
    }
    let since = Duration::from_millis(500);
    assert_eq!(revoked_at, Some(since + Duration::from_millis(5_500)));
}

#[test]
fn a_late_answer_turns_nothing_back() {
    let mut told = Told::joined(Mode::Strict);
    told.wait(250);
    told.listed(&[record(9, 4, Phase::Diverted)]);
    let place = AT;
    let stale = Loaded {
        diversion: record(8, 4, Phase::Open),
        head: 0,
        tail: 0,
    };
    let found = Some(stale);
    told.tell(Input::Loaded { place, found });
    assert_eq!(told.way(), Way::Park { epoch: 4 });
}

#[test]
fn the_drainer_opens_in_one_write_on_condition_of_the_tail() {
    let mut told = Told::joined(Mode::Strict);
    let place = AT;
    told.tell(Input::Reachable {
        place,
        is_reachable: true,
    });
    told.wait(250);
    let (version, _, claimed) = put_of(told.listed(&[record(4, 2, Phase::Diverted)])).unwrap();
    assert_eq!((version, claimed.drainer, claimed.term), (4, Some(ME), 1));
    assert!(told.put(PutResult::Made(5)).contains(&Order::Load { place }));
    let diversion = Versioned {
        version: 5,
        record: claimed,
    };
    let loaded = |head, tail| Input::Loaded {
        place,
        found: Some(Loaded {
            diversion,
            head,
            tail,
        }),
    };
    let begun = told.tell(loaded(7, 9)).to_vec();
    assert!(
        begun.iter().any(|order| matches!(
            order,
            Order::Drain {
                term: 1,
                head: 7,
                tail: 9,
                ..
            }
        )),
        "{begun:?}"
    );
    let drained = |left| Input::Drained { place, term: 1, left };
    assert!(told.tell(drained(Left::Nothing)).contains(&Order::Load { place }));
    assert!(told.tell(loaded(9, 11)).contains(&Order::Grown {
        place,
        head: 9,
        tail: 11
    }));
    told.tell(drained(Left::Nothing));
    let (version, tail, opened) = put_of(told.tell(loaded(11, 11))).unwrap();
    assert_eq!((version, tail), (5, Some(11)));
    assert_eq!(
        (opened.phase, opened.epoch, opened.drainer),
        (Phase::Open, 3, None)
    );
    let orders = told.put(PutResult::Made(6)).to_vec();
    assert!(orders.contains(&Order::StopDrain { place }), "{orders:?}");
    assert_eq!(told.way(), Way::Direct);
}

#[test]
fn a_store_that_does_not_answer_is_told_to_whom_waits_for_it() {
    let mut told = Told::joined(Mode::Strict);
    let placed = Placed::default();
    told.tell(Input::Out { place: AT, placed });
    let orders = told.put(PutResult::Failed).to_vec();
    assert!(orders.contains(&Order::NotDiverted { place: AT }), "{orders:?}");
    assert_eq!(told.way(), Way::Direct);
}

/// What was asked before a pause is answered in no time by a clock that went on: that is no word of the store's.
#[test]
fn one_that_stood_still_asks_before_it_takes_the_store_for_silent() {
    let silent = Input::Listed { found: None };
    for fails_before in [false, true] {
        let mut told = Told::joined(Mode::Available);
        assert_eq!(told.way(), Way::Direct);
        told.wait(250);
        if fails_before {
            told.tell(silent.clone());
            told.wait(250);
        }
        told.now += Duration::from_secs(20);
        assert_eq!(told.way(), Way::Hold, "its lease has run out");
        // The application goes on too.
        told.tell(Input::Timer);
        assert_eq!(told.way(), Way::Hold);
        told.tell(silent.clone());
        assert_eq!(told.way(), Way::Hold, "nothing was asked since");
        assert!(told.wait(250).contains(&Order::List));
        told.now += Duration::from_millis(2_500);
        told.tell(silent.clone());
        assert_eq!(told.way(), Way::Direct, "the store is silent");
    }
}
