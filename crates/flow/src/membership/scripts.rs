//! Exact scripts: what is told to one member, and what it orders.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_event::{TopicName, TopicPartition};

use super::{
    Assignment, Claim, CommitTrouble, Error, Input, JoinedMember, Mark, Member, Order, Reply, Settings,
    Subscription,
};

const MS: Duration = Duration::from_millis(1);

fn topic() -> TopicName {
    TopicName::new("t").unwrap()
}

fn partitions(indexes: &[i32]) -> Vec<TopicPartition> {
    indexes
        .iter()
        .map(|index| TopicPartition::new(topic(), *index))
        .collect()
}

fn mark(offset: i64) -> Mark {
    Mark {
        offset,
        leader_epoch: -1,
    }
}

/// One member, its orders so far, and a clock that runs a little at each input.
struct Script {
    member: Member,
    now: Duration,
    orders: Vec<Order>,
}

impl Script {
    fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::new("g", vec![topic()]);
        change(&mut settings);
        let mut script = Self {
            member: Member::new(settings, Duration::ZERO),
            now: Duration::ZERO,
            orders: Vec::new(),
        };
        script.give(Input::Waiting);
        script
    }

    fn give(&mut self, input: Input) {
        self.now += MS;
        self.orders = self.member.handle(self.now, input);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.give(Input::Tick);
    }

    /// Answers the request among the last orders that `number` finds.
    fn answer(&mut self, number: impl Fn(&Order) -> Option<u64>, reply: Reply) {
        let request = self.orders.iter().find_map(number);
        let request = request.unwrap_or_else(|| panic!("not among {:?}", self.orders));
        self.give(Input::Answered { request, reply });
    }

    fn find(&mut self, node: i32) {
        self.answer(
            |order| match order {
                Order::FindCoordinator { request } => Some(*request),
                _ => None,
            },
            Reply::Coordinator(node),
        );
    }

    fn joined(&mut self, generation: i32, leads: bool) {
        let metadata = Subscription {
            topics: vec![topic()],
            user_data: None,
            owned: Vec::new(),
            generation: -1,
            rack: None,
        };
        let me = JoinedMember {
            member_id: "me".to_owned(),
            instance: None,
            metadata: metadata.encode(),
        };
        self.answer(
            joins,
            Reply::Joined {
                generation,
                protocol: "cooperative-sticky".to_owned(),
                leader: if leads { "me" } else { "another" }.to_owned(),
                member_id: "me".to_owned(),
                members: if leads { vec![me] } else { Vec::new() },
                skip_assignment: false,
            },
        );
    }

    fn synced(&mut self, indexes: &[i32]) {
        let assignment = Assignment {
            partitions: partitions(indexes),
            user_data: None,
        };
        self.answer(syncs, Reply::Synced(assignment.encode()));
    }

    /// Through find, join and sync to a stable member with `indexes`.
    fn settled(indexes: &[i32]) -> (Self, Vec<Claim>) {
        let mut script = Self::new(|_| {});
        script.find(1);
        script.answer(joins, Reply::MemberIdRequired("me".to_owned()));
        script.joined(1, false);
        script.synced(indexes);
        let claims = script.claims();
        (script, claims)
    }

    fn claims(&self) -> Vec<Claim> {
        let assigned = self.orders.iter().find_map(|order| match order {
            Order::Assign { claims, .. } => Some(claims.clone()),
            _ => None,
        });
        assigned.unwrap_or_default()
    }

    /// Lets a heartbeat be due and answers it.
    fn heartbeat(&mut self, reply: Reply) {
        self.pass(Duration::from_secs(3));
        self.answer(
            |order| match order {
                Order::Heartbeat { request, .. } => Some(*request),
                _ => None,
            },
            reply,
        );
    }
}

fn joins(order: &Order) -> Option<u64> {
    match order {
        Order::Join { request, .. } => Some(*request),
        _ => None,
    }
}

fn syncs(order: &Order) -> Option<u64> {
    match order {
        Order::Sync { request, .. } => Some(*request),
        _ => None,
    }
}

fn commits(order: &Order) -> Option<u64> {
    match order {
        Order::Commit { request, .. } => Some(*request),
        _ => None,
    }
}

#[test]
fn a_commit_waits_for_the_end_of_a_rebalance() {
    let (mut script, claims) = Script::settled(&[0]);
    script.heartbeat(Reply::Refused(27));
    let joining = script.orders.iter().find_map(joins).unwrap();
    script.give(Input::Commit {
        ticket: 1,
        offsets: vec![(claims[0].clone(), mark(7))],
    });
    assert_eq!(script.orders, [], "no generation to commit in");
    script.orders.push(Order::Join {
        request: joining,
        node: 1,
        member_id: String::new(),
        protocols: Vec::new(),
    });
    script.joined(2, false);
    script.synced(&[0]);
    assert!(script.claims().is_empty(), "the claim goes on");
    script.answer(commits, Reply::Committed(vec![(claims[0].partition.clone(), 0)]));
    assert_eq!(
        script.orders,
        [Order::CommitDone {
            ticket: 1,
            refused: Vec::new()
        }]
    );
}

#[test]
fn a_commit_that_the_coordinator_cannot_take_is_sent_again() {
    let (mut script, claims) = Script::settled(&[0]);
    for reply in [
        Reply::Refused(27),
        Reply::Refused(14),
        Reply::Committed(vec![(claims[0].partition.clone(), 3)]),
    ] {
        script.give(Input::Commit {
            ticket: 1,
            offsets: vec![(claims[0].clone(), mark(7))],
        });
        script.answer(commits, reply);
        assert_eq!(script.orders, []);
        script.pass(MS * 250);
        script.answer(commits, Reply::Committed(vec![(claims[0].partition.clone(), 0)]));
        assert_eq!(
            script.orders.last(),
            Some(&Order::CommitDone {
                ticket: 1,
                refused: Vec::new()
            })
        );
    }
}

#[test]
fn what_was_lost_is_not_committed_although_it_comes_back() {
    let (mut script, claims) = Script::settled(&[0]);
    script.heartbeat(Reply::Refused(25));
    assert!(script.orders.contains(&Order::Lose(claims.clone())));
    script.answer(joins, Reply::MemberIdRequired("me".to_owned()));
    script.joined(3, false);
    script.synced(&[0]);
    assert_eq!(script.claims().len(), 1);
    script.give(Input::Commit {
        ticket: 1,
        offsets: vec![(claims[0].clone(), mark(7))],
    });
    let refused = vec![(claims[0].partition.clone(), CommitTrouble::NotHeld)];
    assert_eq!(script.orders, [Order::CommitDone { ticket: 1, refused }]);
}

#[test]
fn a_late_heartbeat_answer_for_an_old_generation_changes_nothing() {
    let (mut script, claims) = Script::settled(&[0]);
    script.pass(Duration::from_secs(3));
    let late = script.orders.iter().find_map(|order| match order {
        Order::Heartbeat { request, .. } => Some(*request),
        _ => None,
    });
    script.give(Input::Subscribe(vec![topic(), TopicName::new("u").unwrap()]));
    script.joined(2, false);
    script.synced(&[0]);
    script.give(Input::Answered {
        request: late.unwrap(),
        reply: Reply::Refused(22),
    });
    assert_eq!(script.orders, []);
    assert_eq!(script.member.generation(), Some(2));
    assert!(script.member.held.contains_key(&claims[0].partition));
}

#[test]
fn a_coordinator_that_moved_before_the_assignment_is_joined_again_and_nothing_is_lost() {
    let (mut script, claims) = Script::settled(&[0]);
    script.heartbeat(Reply::Refused(27));
    script.joined(2, false);
    script.answer(syncs, Reply::Unreachable);
    script.pass(MS * 250);
    script.find(2);
    assert!(
        script
            .orders
            .iter()
            .any(|order| matches!(order, Order::Join { node: 2, .. }))
    );
    assert!(script.member.held.contains_key(&claims[0].partition));
}

#[test]
fn an_application_that_is_too_slow_leaves_and_comes_back() {
    let (mut script, claims) = Script::settled(&[0]);
    script.give(Input::Busy);
    assert_eq!(script.member.deadline().map(|at| at > script.now), Some(true));
    script.pass(Duration::from_secs(301));
    let expected = Order::Lose(claims);
    assert!(
        matches!(script.orders.first(), Some(Order::Leave { .. })),
        "{:?}",
        script.orders
    );
    assert!(script.orders.contains(&expected));
    script.pass(Duration::from_secs(60));
    assert_eq!((script.orders.len(), script.member.deadline()), (0, None));
    script.give(Input::Waiting);
    assert!(script.orders.iter().any(|order| joins(order).is_some()));
}

#[test]
fn a_member_whose_name_is_taken_ends() {
    let mut script = Script::new(|settings| settings.instance = Some("i".to_owned()));
    script.find(1);
    script.joined(1, false);
    script.synced(&[0]);
    script.heartbeat(Reply::Refused(82));
    let error = Error::Fenced {
        group: "g".to_owned(),
        instance: "i".to_owned(),
    };
    assert_eq!(script.orders.last(), Some(&Order::Closed(Some(error))));
    assert_eq!(script.member.deadline(), None);
}

#[test]
fn what_cannot_be_mended_ends_the_member_and_the_rest_is_tried_again() {
    for (code, ends, alarms) in [
        (23, true, 0),
        (26, true, 0),
        (24, true, 0),
        (30, false, 1),
        (81, false, 1),
        (14, false, 0),
    ] {
        let mut script = Script::new(|_| {});
        script.find(1);
        let mut alarmed = 0;
        for _ in 0..3 {
            script.answer(joins, Reply::Refused(code));
            alarmed += script
                .orders
                .iter()
                .filter(|order| **order == Order::Alarm { code })
                .count();
            let closed = script
                .orders
                .iter()
                .any(|order| matches!(order, Order::Closed(Some(_))));
            assert_eq!(closed, ends, "code {code}");
            if ends {
                break;
            }
            script.pass(MS * 250);
        }
        assert_eq!(alarmed, alarms, "code {code}");
    }
}

#[test]
fn the_leader_divides_anew_when_a_topic_grows_and_not_when_it_hides_once() {
    let mut script = Script::new(|settings| settings.heartbeat_interval = Duration::from_secs(1_000));
    let describes = |order: &Order| match order {
        Order::Describe { request, .. } => Some(*request),
        _ => None,
    };
    let sized = |count| Reply::Described(BTreeMap::from([(topic(), count)]));
    script.find(1);
    script.joined(1, true);
    script.answer(describes, sized(2));
    script.synced(&[0, 1]);
    for (reply, joins_again) in [
        (Reply::Described(BTreeMap::new()), false),
        (sized(2), false),
        (Reply::Unreachable, false),
        (sized(3), true),
    ] {
        script.pass(Duration::from_secs(30));
        script.answer(describes, reply);
        assert_eq!(
            script.orders.iter().any(|order| joins(order).is_some()),
            joins_again
        );
    }
}

#[test]
fn a_close_gives_back_commits_and_leaves() {
    let (mut script, claims) = Script::settled(&[0]);
    script.give(Input::Close {
        within: Duration::from_secs(5),
    });
    assert_eq!(script.orders, [Order::Revoke(claims.clone())]);
    script.give(Input::Commit {
        ticket: 1,
        offsets: vec![(claims[0].clone(), mark(9))],
    });
    let committing = script.orders.clone();
    script.give(Input::Released(claims.clone()));
    assert_eq!(script.orders, [], "the last commit is under way");
    script.orders = committing;
    script.answer(commits, Reply::Committed(vec![(claims[0].partition.clone(), 0)]));
    script.answer(
        |order| match order {
            Order::Leave { request, .. } => Some(*request),
            _ => None,
        },
        Reply::Done,
    );
    assert_eq!(script.orders, [Order::Closed(None)]);
}

#[test]
fn a_member_that_writes_nonsense_gets_nothing_and_holds_nobody_up() {
    let mut script = Script::new(|_| {});
    script.find(1);
    script.joined(1, false);
    script.synced(&[]);
    script.heartbeat(Reply::Refused(27));
    let metadata = Subscription {
        topics: vec![topic()],
        user_data: None,
        owned: Vec::new(),
        generation: -1,
        rack: None,
    };
    let member = |member_id: &str, metadata: Vec<u8>| JoinedMember {
        member_id: member_id.to_owned(),
        instance: None,
        metadata,
    };
    script.answer(
        joins,
        Reply::Joined {
            generation: 2,
            protocol: "cooperative-sticky".to_owned(),
            leader: "me".to_owned(),
            member_id: "me".to_owned(),
            members: vec![
                member("me", metadata.encode()),
                member("mad", vec![0, 1, 0x7f, 0xff, 0xff, 0xff]),
            ],
            skip_assignment: false,
        },
    );
    script.answer(
        |order| match order {
            Order::Describe { request, .. } => Some(*request),
            _ => None,
        },
        Reply::Described(BTreeMap::from([(topic(), 2)])),
    );
    let plan = script.orders.iter().find_map(|order| match order {
        Order::Sync { assignments, .. } => Some(assignments.clone()),
        _ => None,
    });
    let expected = Assignment {
        partitions: partitions(&[0, 1]),
        user_data: None,
    };
    assert_eq!(plan.unwrap(), [("me".to_owned(), expected.encode())]);
}
