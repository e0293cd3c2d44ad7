//! Carries a plan out: claim, publish, mark done.
//!
//! The rules it keeps:
//! - a letter is claimed before it is sent, and the first claim on the log wins, so that two redrives send it once;
//! - what an earlier run of the same store claimed and did not mark is looked for first: in the standby store, then on
//!   the log from the offset that the claim noted;
//! - what another store claimed is left alone and told.

use std::collections::HashMap;

use evenkeel::{Publisher, Receipt};
use evenkeel_event::clock::Clock;
use evenkeel_event::{TopicPartition, headers, partitioner};
use evenkeel_schema::{Payload, Valid};

use super::{Error, Judgement, Ledger, Letter, Plan, Who};

/// Bytes of parked rows that are looked through at a time.
const READ_BYTES_MAX: usize = 4 << 20;

/// What became of the letters of a plan.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Redriven {
    /// Sent by this run.
    pub sent: usize,
    /// Found to have been sent by an earlier run that ended before it could say so.
    pub found: usize,
    /// Claimed by somebody else: the letter and who has it.
    pub claimed: Vec<(String, String)>,
}

/// A letter on its way.
struct Going {
    letter: Letter,
    valid: Valid<Payload>,
    from: i64,
}

/// Sends the ready letters of `plan`, in its order.
///
/// # Errors
/// When the ledger cannot be written, the log cannot be searched, or an event is not taken. Running the redrive again
/// goes on where it ended.
pub async fn execute(
    plan: Plan,
    publisher: &Publisher,
    ledger: &mut Ledger,
    clock: &dyn Clock,
    who: &Who,
) -> Result<Redriven, Error> {
    let run = format!("{:032x}", rand::random::<u128>());
    let mut redriven = Redriven::default();
    let going = ready(plan, publisher).await?;
    let mut earlier = HashMap::new();
    let mut claims = Vec::new();
    for going in &going {
        match ledger.claim(&going.letter.identity) {
            Some(claim) => drop(earlier.insert(going.letter.identity.clone(), claim.clone())),
            None => claims.push((going.letter.identity.clone(), going.from)),
        }
    }
    ledger
        .write_claims(publisher.cluster(), clock, &run, who, &claims)
        .await?;
    let mut done = Vec::new();
    let mut pending = Vec::new();
    for going in going {
        let identity = going.letter.identity.clone();
        let ours = ledger
            .claim(&identity)
            .filter(|claim| claim.run == run || claim.who.store == who.store);
        if ours.is_none() {
            let holder = ledger
                .claim(&identity)
                .map(|claim| claim.who.by.clone())
                .unwrap_or_default();
            redriven.claimed.push((identity, holder));
            continue;
        }
        if let Some(claim) = earlier.get(&identity)
            && was_sent(publisher, &going.letter, claim.from).await?
        {
            redriven.found += 1;
            done.push((identity, "found".to_owned()));
            continue;
        }
        let failed = |source| Error::Publish {
            identity: going.letter.identity.clone(),
            source,
        };
        let begun = publisher
            .begin_valid(&going.letter.event, &going.valid)
            .await
            .map_err(failed)?;
        pending.push((identity, begun));
    }
    for (identity, begun) in pending {
        let receipt = begun.receipt().await.map_err(|source| Error::Publish {
            identity: identity.clone(),
            source,
        })?;
        redriven.sent += 1;
        done.push((identity, describe(&receipt)));
    }
    ledger
        .write_done(publisher.cluster(), clock, &run, who, &done)
        .await?;
    Ok(redriven)
}

/// The letters to send, each with the end of its partition as it is now.
async fn ready(plan: Plan, publisher: &Publisher) -> Result<Vec<Going>, Error> {
    let mut ends: HashMap<TopicPartition, i64> = HashMap::new();
    let mut going = Vec::new();
    for entry in plan.entries {
        let Judgement::Ready(valid) = entry.judgement else {
            continue;
        };
        let partition = partition(publisher, &entry.letter).await?;
        let from = match ends.get(&partition) {
            Some(end) => *end,
            None => {
                let end = publisher
                    .cluster()
                    .offset(&partition, evenkeel_broker::fetch::At::Latest)
                    .await?;
                let end = end.offset.unwrap_or(0);
                ends.insert(partition, end);
                end
            }
        };
        going.push(Going {
            letter: entry.letter,
            valid,
            from,
        });
    }
    Ok(going)
}

async fn partition(publisher: &Publisher, letter: &Letter) -> Result<TopicPartition, Error> {
    let topic = publisher.cluster().topic(&letter.event.topic).await?;
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let index = letter
        .event
        .key
        .as_deref()
        .map_or(0, |key| partitioner::partition_for(key, count));
    Ok(TopicPartition::new(letter.event.topic.clone(), index))
}

/// True when an earlier run's event is in the standby store or on the log. The store is asked first: what has left it
/// since is on the log.
async fn was_sent(publisher: &Publisher, letter: &Letter, from: i64) -> Result<bool, Error> {
    if is_parked(publisher, letter).await? {
        return Ok(true);
    }
    let topic = publisher.cluster().topic(&letter.event.topic).await?;
    let wanted = letter.event.id.as_str().as_bytes();
    for partition in &topic.partitions {
        let place = TopicPartition::new(letter.event.topic.clone(), partition.index);
        let keyed = letter.event.key.is_some();
        if keyed && place != self::partition(publisher, letter).await? {
            continue;
        }
        let from = if keyed { from } else { 0 };
        let found = publisher
            .cluster()
            .search(&place, from, 1, |record| {
                record.header(headers::CE_ID) == Some(wanted)
            })
            .await?;
        if !found.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// True when the standby store holds the letter's event.
async fn is_parked(publisher: &Publisher, letter: &Letter) -> Result<bool, Error> {
    let store = publisher.standby();
    for open in store.open_places().await? {
        if open.place.topic != letter.event.topic {
            continue;
        }
        let mut from = open.span.head;
        loop {
            let piece = store.read(&open.place, from, READ_BYTES_MAX).await?;
            if piece
                .rows
                .iter()
                .any(|stored| stored.row.ids.contains(&letter.event.id))
            {
                return Ok(true);
            }
            match piece.rows.last() {
                Some(last) => from = last.position + u64::from(last.row.count),
                None => break,
            }
        }
    }
    Ok(false)
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
        Receipt::Parked { lane, sequence } => format!("parked {} {sequence}", lane.topic),
        Receipt::DeadLettered { cause, .. } => format!("dead-lettered again: {cause}"),
    }
}
