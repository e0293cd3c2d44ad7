//! Carries a plan out: the shell around the machine in [`evenkeel_flow::redrive`], which says in which order letters are
//! claimed, looked for, put into the standby store and marked as done.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use evenkeel::{Event, Publisher, Receipt, TopicName};
use evenkeel_broker::fetch::At;
use evenkeel_event::clock::Clock;
use evenkeel_event::{Header, TopicPartition, headers};
use evenkeel_flow::redrive::{self, Claim, Input, Order, Redrive, Seen};
use evenkeel_flow::session::StoreResult;
use evenkeel_schema::{Payload, Valid};

use super::ledger::{Behind, Note};
use super::look::{on_the_log, parked, partition};
use super::{Error, Ledger, Plan, Who};

/// A standby store that refuses every letter for this long ends the redrive.
const REFUSED_MAX: Duration = Duration::from_secs(30);
/// Endings that are written together while there is other work.
const ENDINGS_MAX: usize = 32;

/// How a plan is carried out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Letters a second; 0: no limit.
    pub rate_per_second: u32,
    /// Letters that a redrive through another standby store has claimed are taken over, also those that it finished. For
    /// a store that is gone for good: should it come back, its events land too, which is why those sent here are marked
    /// as possible doubles.
    pub take_over: bool,
}

/// What became of the letters of a plan.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Redriven {
    /// Put into the standby store by this run, which sends them on in order.
    pub sent: usize,
    /// Of those: marked, because an earlier run may have sent them and nothing can tell.
    pub marked: usize,
    /// Found to have been sent by an earlier run that ended before it could say so.
    pub found: usize,
    /// Finished through a store that is taken over from, on a topic that no longer tells whether they came: left alone.
    pub unknowable: usize,
    /// Left for a later run, so that they do not pass letters of their keys that somebody else has claimed.
    pub held: Vec<String>,
    /// Claimed by somebody else: the letter and who has it.
    pub claimed: Vec<(String, String)>,
}

/// A letter on its way.
#[derive(Debug)]
struct Going {
    event: Event,
    valid: Valid<Payload>,
    behind: Behind,
    /// Where its event was found, or is put.
    outcome: String,
}

/// Puts the ready letters of `plan`, in its order, into the standby store of `publisher`, from where they are sent on;
/// tells `progress` after each.
///
/// # Errors
/// When the ledger cannot be written, the log cannot be searched, or the standby store refuses events for 30 seconds.
/// Running the redrive again goes on where it ended.
pub async fn execute(
    plan: Plan,
    publisher: &Publisher,
    ledger: &mut Ledger,
    clock: &dyn Clock,
    who: &Who,
    options: Options,
    progress: impl FnMut(&Redriven),
) -> Result<Redriven, Error> {
    let (letters, going) = ready(plan, publisher).await?;
    let keys: Vec<String> = letters.iter().map(|letter| letter.key.clone()).collect();
    let mut desk = Desk {
        publisher,
        ledger,
        clock,
        who,
        run: format!("{:032x}", rand::random::<u128>()),
        machine: Redrive::new(letters, options.rate_per_second),
        going,
        found_parked: HashSet::new(),
        orders: Vec::new(),
        endings: Vec::new(),
        wake: None,
        refused_since: None,
        redriven: Redriven::default(),
        progress,
    };
    desk.begin(&keys, options.take_over).await?;
    desk.run().await?;
    Ok(desk.redriven)
}

type Letters = Vec<redrive::Letter<String>>;

/// The letters to send in their order, each with the end of its partition as it is now.
async fn ready(plan: Plan, publisher: &Publisher) -> Result<(Letters, HashMap<String, Going>), Error> {
    let mut ends: HashMap<TopicPartition, i64> = HashMap::new();
    let mut lanes: HashMap<(TopicName, Bytes), u64> = HashMap::new();
    let (mut letters, mut going) = (Vec::new(), HashMap::new());
    for entry in plan.entries {
        let Some(valid) = entry.judgement.into_valid() else {
            continue;
        };
        let event = entry.letter.event;
        let partition = partition(publisher, &event).await?;
        let from = match ends.get(&partition) {
            Some(end) => *end,
            None => {
                let end = publisher.cluster().offset(&partition, At::Latest).await?;
                let end = end.offset.unwrap_or(0);
                ends.insert(partition.clone(), end);
                end
            }
        };
        let behind = Behind {
            partition: partition.partition,
            from,
        };
        let lane = event.key.clone().map(|key| {
            let next = lanes.len() as u64;
            *lanes.entry((event.topic.clone(), key)).or_insert(next)
        });
        letters.push(redrive::Letter {
            key: entry.letter.identity.clone(),
            lane,
        });
        going.insert(
            entry.letter.identity,
            Going {
                event,
                valid,
                behind,
                outcome: String::new(),
            },
        );
    }
    Ok((letters, going))
}

struct Desk<'run, Progress> {
    publisher: &'run Publisher,
    ledger: &'run mut Ledger,
    clock: &'run dyn Clock,
    who: &'run Who,
    run: String,
    machine: Redrive<String>,
    going: HashMap<String, Going>,
    /// Events of letters claimed before that are in the standby store.
    found_parked: HashSet<evenkeel::EventId>,
    orders: Vec<Order<String>>,
    /// Letters whose endings are to be written.
    endings: Vec<String>,
    wake: Option<Duration>,
    refused_since: Option<Duration>,
    redriven: Redriven,
    progress: Progress,
}

impl<Progress: FnMut(&Redriven)> Desk<'_, Progress> {
    /// Tells the machine what the ledger holds of its letters.
    async fn begin(&mut self, keys: &[String], take_over: bool) -> Result<(), Error> {
        if take_over {
            let notes = keys.iter().filter_map(|key| {
                let claim = self.ledger.claim(key)?;
                (claim.who.store != self.who.store).then(|| (key.clone(), Note::Takeover(claim.run.clone())))
            });
            let notes = notes.collect();
            self.write(notes).await?;
        }
        let known: Vec<&String> = keys
            .iter()
            .filter(|key| self.ledger.claim(key).is_some())
            .collect();
        let wanted = |key: &&String| self.going.get(*key).map(|going| &going.event);
        let events: Vec<&Event> = known.iter().filter_map(wanted).collect();
        if !events.is_empty() {
            let topics = events.iter().map(|event| event.topic.clone()).collect();
            let ids = events.iter().map(|event| event.id.clone()).collect();
            self.found_parked = parked(self.publisher, &topics, &ids).await?;
        }
        for key in known {
            self.tell_claim(key);
        }
        self.tell(Input::Timer);
        Ok(())
    }

    async fn run(&mut self) -> Result<(), Error> {
        loop {
            if let Some(order) = self.next_order() {
                self.carry_out(order).await?;
            } else if self.machine.is_done() {
                return Ok(());
            } else if !self.endings.is_empty() {
                self.write_endings().await?;
            } else {
                let now = self.clock.monotonic();
                let at = self.wake.take().unwrap_or(now + Duration::from_millis(100));
                tokio::time::sleep(at.saturating_sub(now)).await;
                self.tell(Input::Timer);
            }
        }
    }

    fn next_order(&mut self) -> Option<Order<String>> {
        (!self.orders.is_empty()).then(|| self.orders.remove(0))
    }

    fn tell(&mut self, input: Input<String>) {
        let now = self.clock.monotonic();
        self.machine.handle(now, input, &mut self.orders);
    }

    async fn carry_out(&mut self, order: Order<String>) -> Result<(), Error> {
        match order {
            Order::Claim { key } => self.claim(key).await,
            Order::LookFor { key } => self.look_for(key).await,
            Order::Append { key, possible_double } => self.append(key, possible_double).await,
            Order::Hold { key } => {
                self.redriven.held.push(key);
                Ok(())
            }
            Order::Finish { key } => {
                self.endings.push(key);
                if self.endings.len() >= ENDINGS_MAX {
                    self.write_endings().await?;
                }
                Ok(())
            }
            Order::WakeAt(at) => {
                self.wake = Some(at);
                Ok(())
            }
        }
    }

    /// Claims a letter, together with all others that are to be claimed now.
    async fn claim(&mut self, key: String) -> Result<(), Error> {
        let mut keys = vec![key];
        self.orders.retain(|order| match order {
            Order::Claim { key } => {
                keys.push(key.clone());
                false
            }
            _ => true,
        });
        let note = |key: &String| Some((key.clone(), Note::Claim(self.going.get(key)?.behind)));
        let notes = keys.iter().filter_map(note).collect();
        self.write(notes).await?;
        for key in &keys {
            self.tell_claim(key);
        }
        Ok(())
    }

    fn tell_claim(&mut self, key: &str) {
        let Some(claim) = self.ledger.claim(key) else {
            return;
        };
        let whose = match claim {
            claim if claim.who.store != self.who.store => Claim::Anothers,
            _ if self.ledger.is_done_elsewhere(key, &self.who.store) => Claim::DoneElsewhere,
            claim if claim.taken_over => Claim::TakenOver,
            claim if claim.run == self.run => Claim::Ours,
            _ => Claim::OursBefore,
        };
        if whose == Claim::Anothers {
            let holder = claim.who.by.clone();
            self.redriven.claimed.push((key.to_owned(), holder));
        }
        self.tell(Input::Claimed {
            key: key.to_owned(),
            claim: whose,
        });
    }

    async fn look_for(&mut self, key: String) -> Result<(), Error> {
        let Some(going) = self.going.get_mut(&key) else {
            return Ok(());
        };
        let seen = if self.found_parked.contains(&going.event.id) {
            Seen::There
        } else {
            let behind = self.ledger.claim(&key).map(|claim| claim.behind);
            on_the_log(self.publisher, &going.event, behind).await?
        };
        match seen {
            Seen::There => {
                "found".clone_into(&mut going.outcome);
                self.redriven.found += 1;
                (self.progress)(&self.redriven);
            }
            Seen::Unknowable if self.ledger.was_done(&key) => {
                "done by a redrive that was taken over from; its topic no longer tells"
                    .clone_into(&mut going.outcome);
                self.redriven.unknowable += 1;
            }
            Seen::Missing | Seen::Unknowable => {}
        }
        self.tell(Input::Looked { key, seen });
        Ok(())
    }

    async fn append(&mut self, key: String, possible_double: bool) -> Result<(), Error> {
        let Some(going) = self.going.get_mut(&key) else {
            return Ok(());
        };
        let mark = Header::new(headers::POSSIBLE_DOUBLE, "1");
        if possible_double && !going.event.headers.contains(&mark) {
            going.event.headers.push(mark);
        }
        let begun = self.publisher.begin_parked(&going.event, &going.valid).await;
        let receipt = match begun {
            Ok(begun) => begun.receipt().await,
            Err(error) => Err(error),
        };
        let result = match receipt {
            Ok(receipt) => {
                going.outcome = describe(&receipt);
                self.redriven.sent += 1;
                self.redriven.marked += usize::from(possible_double);
                self.refused_since = None;
                (self.progress)(&self.redriven);
                StoreResult::Durable { position: 0 }
            }
            Err(source) => {
                let now = self.clock.monotonic();
                let since = *self.refused_since.get_or_insert(now);
                if now.saturating_sub(since) >= REFUSED_MAX {
                    return Err(Error::Publish {
                        identity: key,
                        source,
                    });
                }
                match source.may_have_landed() {
                    true => StoreResult::Unknown,
                    false => StoreResult::Refused,
                }
            }
        };
        self.tell(Input::Appended { key, result });
        Ok(())
    }

    async fn write_endings(&mut self) -> Result<(), Error> {
        let keys = std::mem::take(&mut self.endings);
        let note = |key: &String| Some((key.clone(), Note::Done(self.going.get(key)?.outcome.clone())));
        let notes = keys.iter().filter_map(note).collect();
        self.write(notes).await?;
        for key in keys {
            self.going.remove(&key);
            self.tell(Input::Finished { key });
        }
        Ok(())
    }

    async fn write(&mut self, notes: Vec<(String, Note)>) -> Result<(), Error> {
        let cluster = self.publisher.cluster();
        self.ledger
            .write(cluster, self.clock, &self.run, self.who, notes)
            .await
    }
}

fn describe(receipt: &Receipt) -> String {
    match receipt {
        Receipt::Published {
            topic,
            partition,
            offset: Some(offset),
        } => format!("{topic}-{partition}@{offset}"),
        Receipt::Published {
            topic,
            partition,
            offset: None,
        } => format!("{topic}-{partition}"),
        Receipt::Parked { lane, sequence } => {
            let partition = lane
                .partition
                .map_or_else(String::new, |index| format!("-{index}"));
            format!(
                "{}{partition} by way of the standby store, {sequence}",
                lane.topic
            )
        }
        Receipt::DeadLettered { cause, .. } => format!("dead-lettered again: {cause}"),
    }
}

#[cfg(test)]
mod tests;
