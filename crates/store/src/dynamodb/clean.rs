//! The removal of blocks that were drained.

use aws_sdk_dynamodb::types::{Delete, TransactWriteItem};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::block;
use super::call::{Caller, OnConflict};
use super::item::{self, COUNT, FIRST, Item, Key, PK, SK, STAGE};
use super::pages::Pages;
use super::stage;
use crate::{Error, Place};

/// Items that are removed at the same time.
const AT_ONCE: usize = 8;

/// Removes the blocks of a place that end at `below` or before. Each removal is whole; it may be killed between any two.
pub(super) async fn clean(caller: &Caller, place: &Place, below: u64) -> Result<(), Error> {
    let (first, last) = (item::block_sk(0), item::block_sk(below));
    let mut pages = Pages::new(caller, "look for drained blocks", item::place_pk(place))
        .between(first, last)
        .only(&[PK, SK, STAGE, FIRST, COUNT]);
    while let Some(items) = pages.next().await? {
        stream::iter(items)
            .map(|item| remove_block(caller, item))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
    }
    Ok(())
}

/// Removes one block's item. Its parts are first noted as removable, in the same step, so that none is forgotten.
async fn remove_block(caller: &Caller, item: Item) -> Result<(), Error> {
    let key = Key::of(&item).ok_or_else(|| caller.foreign("a block"))?;
    let Some(parts) = block::read_parts(&item) else {
        return stage::delete(caller, key).await;
    };
    let delete = Delete::builder()
        .table_name(&caller.table)
        .set_key(Some(key.item()))
        .build()
        .map_err(|error| caller.defect(&error))?;
    let items = vec![
        TransactWriteItem::builder().delete(delete).build(),
        stage::hidden(&caller.table, &parts).map_err(|error| caller.defect(&error))?,
    ];
    caller
        .transact("remove a drained block", items, OnConflict::Again)
        .await?;
    stage::remove(caller, &parts).await
}
