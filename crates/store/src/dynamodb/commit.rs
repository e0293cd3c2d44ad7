//! The records of places, and the one transaction in which they are replaced and their blocks appear.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem};
use bytes::{Bytes, BytesMut};

use super::block::{self, Held};
use super::call::{Caller, Kind, OnConflict};
use super::failure::Verdict;
use super::item::{self, BLOCKS, DATA, Item, Key, LISTED, REV};
use super::stage::{self, Stage};
use crate::server::{Change, Kept};
use crate::{Error, Place};

/// Bytes of one commit's blocks that go into its transaction, for which DynamoDB takes twice the price of a plain write.
/// What is larger is staged, which takes two requests more.
const INLINE_BYTES: usize = 64 * 1024;

/// Changes of one transaction: each has a record, a block and an entry in the list, the parts have one entry, and a
/// transaction has at most 100 items.
pub(super) const CHANGES_MAX: usize = 33;

/// Records of which is remembered whether they are listed, so that the list is written only when that changes.
const REMEMBERED: usize = 65_536;

/// What is known of whether places are listed: as of which revision. A place that is not in it is listed or taken off anew.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<Place, (u64, bool)>>);

impl Known {
    pub(super) fn learn(&self, place: &Place, revision: u64, is_listed: bool) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(place.clone(), (revision, is_listed));
    }

    /// Whether the place is listed as of this revision.
    fn of(&self, place: &Place, revision: Option<u64>) -> Option<bool> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(revision) = revision else {
            // Without a record a place is not listed.
            return Some(false);
        };
        known
            .get(place)
            .filter(|(known, _)| *known == revision)
            .map(|(_, is_listed)| *is_listed)
    }
}

/// The record of a place, with its revision.
pub(super) async fn record(caller: &Caller, known: &Known, place: &Place) -> Result<Option<Kept>, Error> {
    let request = caller
        .client
        .get_item()
        .table_name(&caller.table)
        .set_key(Some(Key::record(place).item()))
        .consistent_read(true);
    let answer = caller
        .get(Kind::Read, "read the record of a place", || {
            request.clone().send()
        })
        .await?;
    let Some(mut item) = answer.item else {
        return Ok(None);
    };
    let found = read_record(caller, &mut item)?;
    known.learn(place, found.revision, item::flag(&item, LISTED));
    Ok(Some(found))
}

pub(super) fn read_record(caller: &Caller, item: &mut Item) -> Result<Kept, Error> {
    let revision = item::count(item, REV);
    let bytes = item::take_bytes(item, DATA);
    match revision.zip(bytes) {
        Some((revision, bytes)) => Ok(Kept { revision, bytes }),
        None => Err(caller.foreign("the record of a place")),
    }
}

/// Makes all changes or none. False: a record has another revision by now, or the parts were swept meanwhile; nothing was
/// written, nor will be.
pub(super) async fn commit(caller: &Caller, known: &Known, changes: Vec<Change>) -> Result<bool, Error> {
    if changes.len() > CHANGES_MAX {
        return Err(caller.failed(
            "write the records of places",
            Verdict::Refused {
                reason: format!(
                    "{} places are more than the {CHANGES_MAX} of one transaction",
                    changes.len()
                ),
                remedy: "move the events of fewer partitions at once",
            },
        ));
    }
    let pieces: Vec<Bytes> = changes.iter().map(joined).collect();
    let (staged, held) = hold(caller, pieces).await?;
    let listing: Vec<Option<bool>> = changes
        .iter()
        .map(|change| known.of(&change.place, change.expected))
        .collect();
    let items = items(&caller.table, &changes, held, &listing, staged.as_ref())
        .map_err(|error| caller.defect(&error))?;
    let is_made = caller
        .transact("write the records of places", items, OnConflict::Yield)
        .await?;
    if is_made {
        for change in &changes {
            known.learn(&change.place, next(change.expected), change.is_listed);
        }
    } else if let Some(staged) = staged {
        // Nobody can show them any more. What is left of them when this fails is swept later.
        drop(stage::take_back(caller, &staged).await);
    }
    Ok(is_made)
}

/// The revision that a commit writes.
fn next(expected: Option<u64>) -> u64 {
    expected.map_or(1, |revision| revision + 1)
}

/// The bytes of a change's blocks, one behind the other.
fn joined(change: &Change) -> Bytes {
    match change.blocks.as_slice() {
        [] => Bytes::new(),
        [block] => block.bytes.clone(),
        blocks => {
            let mut all = BytesMut::with_capacity(blocks.iter().map(|block| block.bytes.len()).sum());
            for block in blocks {
                all.extend_from_slice(&block.bytes);
            }
            all.freeze()
        }
    }
}

/// Decides where the bytes of each change go, and writes those that are too many for the transaction.
async fn hold(caller: &Caller, pieces: Vec<Bytes>) -> Result<(Option<Stage>, Vec<Held>), Error> {
    let bytes: usize = pieces.iter().map(Bytes::len).sum();
    if bytes <= INLINE_BYTES {
        return Ok((None, pieces.into_iter().map(Held::Inline).collect()));
    }
    let (staged, parts) = stage::stage(caller, &pieces).await?;
    Ok((Some(staged), parts.into_iter().map(Held::Staged).collect()))
}

fn items(
    table: &str,
    changes: &[Change],
    held: Vec<Held>,
    listing: &[Option<bool>],
    staged: Option<&Stage>,
) -> Result<Vec<TransactWriteItem>, BuildError> {
    let mut items = Vec::with_capacity(3 * changes.len() + 1);
    for ((change, held), was_listed) in changes.iter().zip(held).zip(listing) {
        items.push(record_item(table, change)?);
        if let Some(last) = change.blocks.last() {
            let mut item = Key::block(&change.place, last.end).item();
            let entries = change.blocks.iter();
            let entries = entries.map(|block| (block.position, block.end, block.bytes.len()));
            item.insert(BLOCKS.to_owned(), item::binary(block::write_entries(entries)));
            block::write_held(&mut item, held);
            items.push(put(table, item)?);
        }
        if *was_listed != Some(change.is_listed) {
            items.push(listed_item(table, change)?);
        }
    }
    if let Some(staged) = staged {
        items.push(staged.shown(table)?);
    }
    Ok(items)
}

fn record_item(table: &str, change: &Change) -> Result<TransactWriteItem, BuildError> {
    let mut item = Key::record(&change.place).item();
    item.insert(REV.to_owned(), item::number(next(change.expected)));
    item.insert(DATA.to_owned(), item::binary(change.record.clone()));
    item.insert(LISTED.to_owned(), AttributeValue::Bool(change.is_listed));
    let put = Put::builder().table_name(table).set_item(Some(item));
    let put = put.expression_attribute_names("#rev", REV);
    let put = match change.expected {
        None => put.condition_expression("attribute_not_exists(#rev)"),
        Some(revision) => put
            .condition_expression("#rev = :expected")
            .expression_attribute_values(":expected", item::number(revision)),
    };
    Ok(TransactWriteItem::builder().put(put.build()?).build())
}

fn listed_item(table: &str, change: &Change) -> Result<TransactWriteItem, BuildError> {
    let key = Key::listed(&change.place).item();
    if change.is_listed {
        return put(table, key);
    }
    let delete = Delete::builder().table_name(table).set_key(Some(key)).build()?;
    Ok(TransactWriteItem::builder().delete(delete).build())
}

fn put(table: &str, item: Item) -> Result<TransactWriteItem, BuildError> {
    let put = Put::builder().table_name(table).set_item(Some(item)).build()?;
    Ok(TransactWriteItem::builder().put(put).build())
}
