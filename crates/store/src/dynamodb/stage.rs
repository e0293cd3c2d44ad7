//! What is too large for one item or transaction: its parts are written first, where nobody looks, and a commit shows them.
//!
//! `stages` says which parts are there that no block shows. A commit removes the entry of its parts, on condition that
//! nobody has begun to sweep it; a sweep marks it first. So either the commit is made, or the parts are removed, however
//! long one of them was paused, and no two clocks need to agree.

use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem};
use bytes::Bytes;
use evenkeel_event::clock::{Clock as _, SystemClock, Timestamp};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::call::{Caller, Kind};
use super::item::{self, AT, COUNT, DATA, FIRST, Item, Key, SK, STAGES, SWEPT};
use super::pages::Pages;
use crate::Error;

/// Bytes of one part: an item takes 400 KB, its key and names included.
pub(super) const PART_BYTES: usize = 350 * 1024;

/// Parts that are written or read at the same time.
const AT_ONCE: usize = 8;

/// What no commit has shown after so long will hardly be shown: its process is gone, or tries again with other parts.
pub(super) const ABANDONED_AFTER: std::time::Duration = std::time::Duration::from_hours(1);

/// Parts that were written for one commit.
#[derive(Debug)]
pub(super) struct Stage(Parts);

/// Where the parts of something are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) stage: String,
    pub(super) first: u64,
    pub(super) count: u64,
}

impl Parts {
    /// The item keys of these parts.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        let stage = self.stage.clone();
        (self.first..self.first.saturating_add(self.count)).map(move |number| Key::part(&stage, number))
    }

    /// The entry in `stages` until they are shown, of all parts of a commit.
    fn staging(&self) -> Key {
        Key::stage(&self.stage)
    }

    /// The entry in `stages` under which they are removed once they were shown.
    fn removal(&self) -> Key {
        Key::stage(&format!("{}/{}", self.stage, self.first))
    }
}

/// Parts needed for so many bytes.
pub(super) fn parts_of(bytes: usize) -> u64 {
    bytes.div_ceil(PART_BYTES) as u64
}

/// Writes the entry, then the parts of each of `pieces`, numbered through. Returns where each piece is.
pub(super) async fn stage(caller: &Caller, pieces: &[Bytes]) -> Result<(Stage, Vec<Parts>), Error> {
    let name = format!("{:032x}", rand::random::<u128>());
    let (mut places, mut parts, mut first) = (Vec::with_capacity(pieces.len()), Vec::new(), 0);
    for piece in pieces {
        let count = parts_of(piece.len());
        places.push(Parts {
            stage: name.clone(),
            first,
            count,
        });
        let mut rest = piece.clone();
        for number in first..first + count {
            let part = rest.split_to(rest.len().min(PART_BYTES));
            parts.push((Key::part(&name, number), part));
        }
        first += count;
    }
    let all = Parts {
        stage: name.clone(),
        first: 0,
        count: first,
    };
    put(caller, entry(all.staging(), &all)).await?;
    stream::iter(parts)
        .map(|(key, part)| async move {
            let mut item = key.item();
            item.insert(DATA.to_owned(), item::binary(part));
            put(caller, item).await
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    Ok((Stage(all), places))
}

async fn put(caller: &Caller, item: Item) -> Result<(), Error> {
    let request = caller
        .client
        .put_item()
        .table_name(&caller.table)
        .set_item(Some(item));
    caller
        .get(Kind::Write, "write a part of an append", || {
            request.clone().send()
        })
        .await?;
    Ok(())
}

fn entry(key: Key, parts: &Parts) -> Item {
    let mut item = key.item();
    let now = SystemClock::default().now();
    item.insert(FIRST.to_owned(), item::number(parts.first));
    item.insert(COUNT.to_owned(), item::number(parts.count));
    item.insert(
        AT.to_owned(),
        item::number(u64::try_from(now.millis()).unwrap_or(0)),
    );
    item
}

impl Stage {
    /// What a commit does besides: the parts are shown by now, unless somebody has begun to sweep them.
    pub(super) fn shown(
        &self,
        table: &str,
    ) -> Result<TransactWriteItem, aws_sdk_dynamodb::error::BuildError> {
        let delete = Delete::builder()
            .table_name(table)
            .set_key(Some(self.0.staging().item()))
            .condition_expression("attribute_exists(#at) AND attribute_not_exists(#swept)")
            .expression_attribute_names("#at", AT)
            .expression_attribute_names("#swept", SWEPT)
            .build()?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }
}

/// What hides parts that a block showed: they are swept at once.
pub(super) fn hidden(
    table: &str,
    parts: &Parts,
) -> Result<TransactWriteItem, aws_sdk_dynamodb::error::BuildError> {
    let mut item = entry(parts.removal(), parts);
    item.insert(SWEPT.to_owned(), AttributeValue::Bool(true));
    let put = Put::builder().table_name(table).set_item(Some(item)).build()?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// Removes parts whose entry is marked, then the entry.
pub(super) async fn remove(caller: &Caller, parts: &Parts) -> Result<(), Error> {
    remove_under(caller, parts, parts.removal()).await
}

async fn remove_under(caller: &Caller, parts: &Parts, entry: Key) -> Result<(), Error> {
    stream::iter(parts.keys())
        .map(|key| delete(caller, key))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    delete(caller, entry).await
}

/// Removes parts whose commit was not made, nor will be.
pub(super) async fn take_back(caller: &Caller, stage: &Stage) -> Result<(), Error> {
    remove_under(caller, &stage.0, stage.0.staging()).await
}

pub(super) async fn delete(caller: &Caller, key: Key) -> Result<(), Error> {
    let request = caller
        .client
        .delete_item()
        .table_name(&caller.table)
        .set_key(Some(key.item()));
    caller
        .get(Kind::Write, "remove what is not needed any more", || {
            request.clone().send()
        })
        .await?;
    Ok(())
}

/// Removes the parts that nobody showed for [`ABANDONED_AFTER`] or longer, and what a killed removal left. Returns how many
/// entries were removed. May be killed at any point, and called by several processes at once.
pub(super) async fn sweep(caller: &Caller, now: Timestamp) -> Result<usize, Error> {
    let mut pages = Pages::new(caller, "look for what was abandoned", STAGES.to_owned());
    let mut removed = 0;
    while let Some(entries) = pages.next().await? {
        for entry in &entries {
            removed += usize::from(sweep_one(caller, entry, now).await?);
        }
    }
    Ok(removed)
}

async fn sweep_one(caller: &Caller, entry: &Item, now: Timestamp) -> Result<bool, Error> {
    let (Some(key), Some(name)) = (Key::of(entry), item::text(entry, SK)) else {
        return Ok(false);
    };
    let parts = Parts {
        stage: name.split('/').next().unwrap_or(name).to_owned(),
        first: item::count(entry, FIRST).unwrap_or(0),
        count: item::count(entry, COUNT).unwrap_or(0),
    };
    if !item::flag(entry, SWEPT) {
        let at = item::count(entry, AT).and_then(|at| i64::try_from(at).ok());
        let age = now.since(Timestamp::from_millis(at.unwrap_or(0)));
        if age < ABANDONED_AFTER || !mark(caller, &key).await? {
            return Ok(false);
        }
    }
    remove_under(caller, &parts, key).await?;
    Ok(true)
}

/// Marks an entry. False: it is gone, its parts were shown or removed.
async fn mark(caller: &Caller, key: &Key) -> Result<bool, Error> {
    let request = caller
        .client
        .update_item()
        .table_name(&caller.table)
        .set_key(Some(key.clone().item()))
        .update_expression("SET #swept = :true")
        .condition_expression("attribute_exists(#at)")
        .expression_attribute_names("#at", AT)
        .expression_attribute_names("#swept", SWEPT)
        .expression_attribute_values(":true", AttributeValue::Bool(true));
    let marked = caller
        .ask(Kind::Write, "mark what was abandoned", || request.clone().send())
        .await?;
    Ok(marked.is_some())
}
