//! A member of a group as a process of its own: this test binary, started again.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use evenkeel_broker::Cluster;
use evenkeel_broker::group::{Assignor, Claim, Consumer, Control, Delivery, Event, Mark, Options};
use evenkeel_event::TopicName;

use crate::brokers::{block_on, settings};

/// Holds what a member is to do; absent in the process that judges.
const ROLE: &str = "EVENKEEL_GROUP_MEMBER";
/// How long a member that is told to close may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(20);

/// What a member process is started with.
#[derive(Debug, Clone)]
pub(crate) struct Role {
    pub(crate) bootstrap: String,
    pub(crate) group: String,
    pub(crate) topic: TopicName,
    pub(crate) assignor: Assignor,
}

impl Role {
    /// The command that plays the member. It tells what it does on its standard output, one line each, and closes when
    /// its standard input ends.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let role = [
            &self.bootstrap,
            &self.group,
            self.topic.as_str(),
            self.assignor.name(),
        ]
        .join(" ");
        command
            .args([
                "group_member::plays_the_member_that_the_environment_asks_for",
                "--exact",
                "--nocapture",
            ])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command
    }

    fn parse(text: &str) -> Self {
        let parts: Vec<&str> = text.split(' ').collect();
        Self {
            bootstrap: parts[0].to_owned(),
            group: parts[1].to_owned(),
            topic: TopicName::new(parts[2]).unwrap(),
            assignor: if parts[3] == "range" {
                Assignor::Range
            } else {
                Assignor::CooperativeSticky
            },
        }
    }
}

/// Without a role there is nothing to play, and this test holds that a role survives its way through the environment.
#[test]
fn plays_the_member_that_the_environment_asks_for() {
    let Ok(role) = std::env::var(ROLE) else {
        let role = Role::parse("127.0.0.1:1 g t range");
        assert_eq!((role.assignor, role.topic.as_str()), (Assignor::Range, "t"));
        return;
    };
    block_on(play(Role::parse(&role)));
}

/// One line to the judge, in one write: what is said is said, also when the process is killed right after.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n@ {line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

fn names(claims: &[Claim]) -> String {
    claims
        .iter()
        .map(|claim| claim.partition.partition.to_string())
        .collect::<Vec<_>>()
        .join(",")
}

async fn play(role: Role) {
    let cluster = Cluster::new(settings(&role.bootstrap)).unwrap();
    let options = Options {
        assignors: vec![role.assignor],
        session_timeout: Duration::from_secs(6),
        heartbeat_interval: Duration::from_millis(500),
        ..Options::default()
    };
    let mut consumer = Consumer::join(&cluster, &role.group, vec![role.topic], options);
    let control = consumer.control();
    let closing = control.clone();
    std::thread::spawn(move || {
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        closing.close(CLOSE_WITHIN);
    });
    let mut player = Player {
        control,
        due: BTreeMap::new(),
        read: BTreeMap::new(),
    };
    while let Some(event) = consumer.next().await.unwrap() {
        player.take(event);
    }
    say("closed");
}

/// Handles records in order and commits them.
struct Player {
    control: Control,
    /// The next offset of each claim, once it is known.
    due: BTreeMap<Claim, i64>,
    /// What was handled last on each claim.
    read: BTreeMap<Claim, Mark>,
}

impl Player {
    fn take(&mut self, event: Event) {
        match event {
            Event::Assigned { claims, generation } => {
                say(&format!("assigned {generation} {}", names(&claims)))
            }
            Event::Revoked(revoked) => {
                say(&format!("revoked {}", names(revoked.claims())));
                revoked.release();
            }
            Event::Lost(claims) => self.lost(&claims),
            Event::Records(delivery) => self.handle(&delivery),
            other => say(&format!("unexpected {other:?}")),
        }
    }

    fn handle(&mut self, delivery: &Delivery) {
        let claim = delivery.claim();
        let first = delivery.records().next().map_or(-1, |record| record.offset);
        let mut last = first - 1;
        for record in delivery.records() {
            assert_eq!(record.offset, last + 1, "a hole within a batch of {claim:?}");
            last = record.offset;
        }
        if let Some(due) = self.due.insert(claim.clone(), last + 1) {
            assert_eq!(first, due, "out of order on {claim:?}");
        }
        self.read.insert(claim.clone(), delivery.end());
        say(&format!("read {} {first} {last}", claim.partition.partition));
        let committing = self.control.commit(vec![(claim.clone(), delivery.end())]);
        tokio::spawn(async move {
            if let Err(error) = committing.await {
                say(&format!("refused {error}"));
            }
        });
    }

    /// The application that has not noticed yet tries to commit what it handled.
    fn lost(&mut self, claims: &[Claim]) {
        say(&format!("lost {}", names(claims)));
        for claim in claims {
            let Some(mark) = self.read.remove(claim) else {
                continue;
            };
            let committing = self.control.commit(vec![(claim.clone(), mark)]);
            tokio::spawn(async move {
                if committing.await.is_ok() {
                    say("unexpected commit after lost");
                }
            });
        }
    }
}
