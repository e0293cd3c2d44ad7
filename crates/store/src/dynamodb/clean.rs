//! The removal of blocks that were drained.

use aws_sdk_dynamodb::types::{Delete, TransactWriteItem};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::block;
use super::call::{Caller, Kind};
use super::item::{self, Item, Key, STAGE};
use super::stage;
use crate::{Error, Place};

/// Items that are removed at the same time.
const AT_ONCE: usize = 8;

/// Removes the blocks of a place that end at `below` or before. Each removal is whole; it may be killed between any two.
pub(super) async fn clean(caller: &Caller, place: &Place, below: u64) -> Result<(), Error> {
    let mut start = None;
    loop {
        let request = caller
            .client
            .query()
            .table_name(&caller.table)
            .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
            .expression_attribute_values(":pk", item::string(item::place_pk(place)))
            .expression_attribute_values(":first", item::string(item::block_sk(0)))
            .expression_attribute_values(":last", item::string(item::block_sk(below)))
            .projection_expression("pk, sk, #stage, #first, #count")
            .expression_attribute_names("#stage", STAGE)
            .expression_attribute_names("#first", item::FIRST)
            .expression_attribute_names("#count", item::COUNT)
            .consistent_read(true)
            .set_exclusive_start_key(start);
        let page = caller
            .get(Kind::Read, "look for drained blocks", || request.clone().send())
            .await?;
        stream::iter(page.items.unwrap_or_default())
            .map(|item| remove_block(caller, item))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        start = page.last_evaluated_key;
        if start.is_none() {
            return Ok(());
        }
    }
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
    caller.transact("remove a drained block", items).await?;
    stage::remove(caller, &parts).await
}
