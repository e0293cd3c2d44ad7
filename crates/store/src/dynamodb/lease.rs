//! The leases of processes: one item each, under one key.

use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use bytes::Bytes;
use evenkeel_flow::diversion::Process;

use super::call::{Caller, OnConflict};
use super::item::{self, DATA, Key, LEASES, REV};
use super::pages::Pages;
use crate::Error;

fn key(process: Process) -> Key {
    Key::new(LEASES, format!("{:032x}", process.0))
}

/// Writes a lease over one with a lower renewal, or, where it `joins`, where none stands. False: neither is so.
pub(super) async fn put(
    caller: &Caller,
    process: Process,
    renewal: u64,
    lease: Bytes,
    joins: bool,
) -> Result<bool, Error> {
    let mut item = key(process).item();
    item.insert(REV.to_owned(), item::number(renewal));
    item.insert(DATA.to_owned(), item::binary(lease));
    let condition = match joins {
        true => "attribute_not_exists(#rev) OR #rev < :rev",
        false => "#rev < :rev",
    };
    let put = Put::builder()
        .table_name(&caller.table)
        .set_item(Some(item))
        .condition_expression(condition)
        .expression_attribute_names("#rev", REV)
        .expression_attribute_values(":rev", item::number(renewal))
        .build()
        .map_err(|error| caller.defect(&error))?;
    // As a transaction, whose token tells a repeated request from another one's.
    let items = vec![TransactWriteItem::builder().put(put).build()];
    caller.transact("renew a lease", items, OnConflict::Again).await
}

/// Removes a lease whose renewal is this one. False: it is another, or none stands.
pub(super) async fn remove(caller: &Caller, process: Process, renewal: u64) -> Result<bool, Error> {
    let delete = Delete::builder()
        .table_name(&caller.table)
        .set_key(Some(key(process).item()))
        .condition_expression("#rev = :rev")
        .expression_attribute_names("#rev", REV)
        .expression_attribute_values(":rev", item::number(renewal))
        .build()
        .map_err(|error| caller.defect(&error))?;
    let items = vec![TransactWriteItem::builder().delete(delete).build()];
    caller
        .transact("take a lease away", items, OnConflict::Again)
        .await
}

/// All leases that stand, in no order.
pub(super) async fn all(caller: &Caller) -> Result<Vec<Bytes>, Error> {
    let mut pages = Pages::new(caller, "read the leases", LEASES.to_owned());
    let mut found = Vec::new();
    while let Some(items) = pages.next().await? {
        for mut item in items {
            found.push(item::take_bytes(&mut item, DATA).ok_or_else(|| caller.foreign("a lease"))?);
        }
    }
    Ok(found)
}
