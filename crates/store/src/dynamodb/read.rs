//! Reads of blocks and of what is listed.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::KeysAndAttributes;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::block::{self, Entry, Held};
use super::call::{Caller, Kind};
use super::commit::{Known, read_record};
use super::failure::Verdict;
use super::item::{self, DATA, Item, Key, LISTED, PK, SHARDS, SK};
use super::pages::Pages;
use super::stage::{PART_BYTES, Parts};
use crate::server::{Block, Kept};
use crate::{Error, Place};

/// Keys of one read of several items, at most: DynamoDB's limit.
const KEYS_MAX: usize = 100;

/// Shards that are read at the same time.
const AT_ONCE: usize = 8;

/// The blocks of a place that end behind `from`, in order: at least one where there is one, then as many as fit into
/// `bytes_max`.
pub(super) async fn blocks(
    caller: &Caller,
    place: &Place,
    from: u64,
    bytes_max: usize,
) -> Result<Vec<Block>, Error> {
    let (first, last) = (item::block_sk(from.saturating_add(1)), item::block_sk(u64::MAX));
    let mut pages = Pages::new(caller, "read blocks", item::place_pk(place)).between(first, last);
    let mut found = Vec::new();
    let mut room = bytes_max;
    while let Some(items) = pages.next().await? {
        for mut item in items {
            let is_full = !take_some(caller, &mut item, from, &mut room, &mut found).await?;
            if is_full {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// Adds the blocks of one item while there is room. False: there is none left.
async fn take_some(
    caller: &Caller,
    item: &mut Item,
    from: u64,
    room: &mut usize,
    found: &mut Vec<Block>,
) -> Result<bool, Error> {
    let key = Key::of(item).ok_or_else(|| caller.foreign("a block"))?;
    let (entries, held) = block::read(item).ok_or_else(|| caller.foreign("a block"))?;
    let mut wanted = Vec::new();
    let mut is_full = false;
    for entry in entries.into_iter().filter(|entry| entry.end > from) {
        if entry.len > *room && !(found.is_empty() && wanted.is_empty()) {
            is_full = true;
            break;
        }
        *room = room.saturating_sub(entry.len);
        wanted.push(entry);
    }
    let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else {
        return Ok(!is_full);
    };
    let span = first.from..last.from.saturating_add(last.len);
    let Some(bytes) = bytes_of(caller, &key, held, span.clone()).await? else {
        return Ok(!is_full);
    };
    for Entry {
        position,
        end,
        from,
        len,
    } in wanted
    {
        let at = from - span.start;
        let bytes = bytes.slice(at.min(bytes.len())..(at + len).min(bytes.len()));
        found.push(Block { position, end, bytes });
    }
    Ok(!is_full)
}

/// The bytes of an item's blocks within `span`. `None`: the item was removed while it was read.
async fn bytes_of(
    caller: &Caller,
    key: &Key,
    held: Held,
    span: std::ops::Range<usize>,
) -> Result<Option<Bytes>, Error> {
    let parts = match held {
        Held::Inline(bytes) => {
            return Ok(Some(
                bytes.slice(span.start.min(bytes.len())..span.end.min(bytes.len())),
            ));
        }
        Held::Staged(parts) => parts,
    };
    let (first, last) = (span.start / PART_BYTES, span.end.div_ceil(PART_BYTES));
    let needed = Parts {
        first: parts.first.saturating_add(first as u64),
        count: (last - first) as u64,
        ..parts
    };
    let mut read = get_all(caller, "read the parts of a block", needed.keys().collect()).await?;
    let mut bytes = BytesMut::with_capacity(last.saturating_sub(first) * PART_BYTES);
    for key_of_part in needed.keys() {
        let part = read
            .remove(&key_of_part)
            .and_then(|mut item| item::take_bytes(&mut item, DATA));
        match part {
            Some(part) => bytes.extend_from_slice(&part),
            None if !exists(caller, key).await? => return Ok(None),
            // Its rows fail their checksums, and are reported; those of other parts are read.
            None => bytes.resize(bytes.len() + PART_BYTES, 0),
        }
    }
    let from = span.start - first * PART_BYTES;
    let bytes = bytes.freeze();
    Ok(Some(bytes.slice(
        from.min(bytes.len())..(from + span.len()).min(bytes.len()),
    )))
}

async fn exists(caller: &Caller, key: &Key) -> Result<bool, Error> {
    let request = caller
        .client
        .get_item()
        .table_name(&caller.table)
        .set_key(Some(key.clone().item()))
        .projection_expression(PK)
        .consistent_read(true);
    let answer = caller
        .get(Kind::Read, "look for a block", || request.clone().send())
        .await?;
    Ok(answer.item.is_some())
}

/// The places that are listed, with their records. One whose entry is there and whose record says otherwise is not.
pub(super) async fn listed(caller: &Caller, known: &Known) -> Result<Vec<(Place, Kept)>, Error> {
    let shards: Vec<Vec<Place>> = stream::iter(0..SHARDS)
        .map(|shard| listed_in(caller, shard))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let places: Vec<Place> = shards.into_iter().flatten().collect();
    let keys = places.iter().map(Key::record).collect();
    let mut read = get_all(caller, "read the records of places", keys).await?;
    let mut found = Vec::with_capacity(places.len());
    for place in places {
        let Some(mut item) = read.remove(&Key::record(&place)) else {
            continue;
        };
        let is_listed = item::flag(&item, LISTED);
        let kept = read_record(caller, &mut item)?;
        known.learn(&place, kept.revision, is_listed);
        if is_listed {
            found.push((place, kept));
        }
    }
    Ok(found)
}

async fn listed_in(caller: &Caller, shard: u32) -> Result<Vec<Place>, Error> {
    let mut pages = Pages::new(caller, "read the list of places", item::listed_pk(shard));
    let mut places = Vec::new();
    while let Some(items) = pages.next().await? {
        for item in &items {
            let name = item::text(item, SK).unwrap_or_default();
            places.push(item::place_of(name).ok_or_else(|| caller.foreign("the name of a place"))?);
        }
    }
    Ok(places)
}

/// Reads items by their keys, consistently. Those that are not there are not in the answer.
async fn get_all(
    caller: &Caller,
    action: &'static str,
    mut keys: Vec<Key>,
) -> Result<HashMap<Key, Item>, Error> {
    let mut found = HashMap::with_capacity(keys.len());
    let mut course = caller.course(Kind::Read, action);
    while !keys.is_empty() {
        let now: Vec<Item> = keys.drain(..keys.len().min(KEYS_MAX)).map(Key::item).collect();
        let asked = now.len();
        let wanted = KeysAndAttributes::builder()
            .set_keys(Some(now))
            .consistent_read(true)
            .build()
            .map_err(|error| caller.defect(&error))?;
        let request = caller
            .client
            .batch_get_item()
            .request_items(&caller.table, wanted);
        let answer = caller.get(Kind::Read, action, || request.clone().send()).await?;
        let items = answer.responses.unwrap_or_default().into_values().flatten();
        found.extend(items.filter_map(|item| Some((Key::of(&item)?, item))));
        let left: Vec<Key> = answer
            .unprocessed_keys
            .unwrap_or_default()
            .into_values()
            .flat_map(|wanted| wanted.keys)
            .filter_map(|key| Key::of(&key))
            .collect();
        // Some are left where the answer would be too large, all of them where too much is asked.
        match left.len() < asked {
            true => course = caller.course(Kind::Read, action),
            false => {
                course
                    .go_on(Verdict::Throttled("no item was read".to_owned()))
                    .await?
            }
        }
        keys.extend(left);
    }
    Ok(found)
}
