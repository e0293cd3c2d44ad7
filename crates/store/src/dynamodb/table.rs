//! The table: what it is made of, and how it is made. deploy/aws makes the same; a test compares the two.

use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, PointInTimeRecoverySpecification,
    ScalarAttributeType, StreamSpecification, StreamViewType, TableDescription, TableStatus,
};
use tokio::time::{Instant, sleep};

use super::call::{Caller, Kind};
use super::failure::Verdict;
use super::item::{self, FORMAT, Key, PK, REV, SK};
use crate::Error;

/// The version of what the items hold.
const VERSION: u64 = 1;

/// How often a table that is being made is asked for, and how long.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
const ACTIVE_WITHIN: Duration = Duration::from_mins(5);

/// The table's keys: name, role, type.
pub(super) const KEYS: [(&str, KeyType, ScalarAttributeType); 2] = [
    (PK, KeyType::Hash, ScalarAttributeType::S),
    (SK, KeyType::Range, ScalarAttributeType::S),
];

/// Makes the table where it is not there, and returns when it can be used.
pub(super) async fn create(caller: &Caller) -> Result<(), Error> {
    if describe(caller).await?.is_none() {
        let made = make(caller).await;
        // Another process may have made it meanwhile.
        if made.is_err() && describe(caller).await?.is_none() {
            return made;
        }
    }
    let deadline = Instant::now() + ACTIVE_WITHIN;
    loop {
        let table = describe(caller).await?;
        match table.as_ref().and_then(TableDescription::table_status) {
            Some(TableStatus::Active | TableStatus::Updating) => break check(caller, table.as_ref())?,
            status if Instant::now() >= deadline => {
                let status = status.map_or("missing", TableStatus::as_str);
                return Err(caller.failed(
                    "create the table",
                    Verdict::NotReached(format!("it is still {status}")),
                ));
            }
            _ => sleep(BETWEEN_LOOKS).await,
        }
    }
    recover(caller).await
}

/// The table, with a stream that tells which keys were written: it wakes the function that drains. No contents leave by it.
async fn make(caller: &Caller) -> Result<(), Error> {
    let stream = StreamSpecification::builder()
        .stream_enabled(true)
        .stream_view_type(StreamViewType::KeysOnly)
        .build()
        .map_err(|error| caller.defect(&error))?;
    let (mut schema, mut attributes) = (Vec::new(), Vec::new());
    for (name, role, kind) in KEYS {
        let element = KeySchemaElement::builder().attribute_name(name).key_type(role);
        schema.push(element.build().map_err(|error| caller.defect(&error))?);
        let attribute = AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(kind);
        attributes.push(attribute.build().map_err(|error| caller.defect(&error))?);
    }
    let request = caller
        .client
        .create_table()
        .table_name(&caller.table)
        .set_key_schema(Some(schema))
        .set_attribute_definitions(Some(attributes))
        .billing_mode(BillingMode::PayPerRequest)
        .stream_specification(stream)
        .deletion_protection_enabled(true);
    caller
        .get(Kind::Write, "create the table", || request.clone().send())
        .await?;
    Ok(())
}

async fn describe(caller: &Caller) -> Result<Option<TableDescription>, Error> {
    let request = caller.client.describe_table().table_name(&caller.table);
    let found = caller
        .get(Kind::Read, "look at the table", || async {
            match request.clone().send().await {
                Err(error)
                    if error
                        .as_service_error()
                        .is_some_and(|error| error.is_resource_not_found_exception()) =>
                {
                    Ok(None)
                }
                answer => answer.map(|answer| answer.table),
            }
        })
        .await?;
    Ok(found)
}

/// A table of this name that was made for something else is not used.
fn check(caller: &Caller, table: Option<&TableDescription>) -> Result<(), Error> {
    let schema = table.map(TableDescription::key_schema).unwrap_or_default();
    let is_ours = KEYS.iter().all(|(name, role, _)| {
        schema
            .iter()
            .any(|key| key.attribute_name() == *name && key.key_type() == role)
    });
    if is_ours && schema.len() == KEYS.len() {
        return Ok(());
    }
    Err(caller.failed(
        "use the table",
        Verdict::Refused {
            reason: "it was made for something else: its keys are not pk and sk".to_owned(),
            remedy: "name another table",
        },
    ))
}

/// Turns point-in-time recovery on, where the server has it (DynamoDB local has not).
async fn recover(caller: &Caller) -> Result<(), Error> {
    let specification = PointInTimeRecoverySpecification::builder()
        .point_in_time_recovery_enabled(true)
        .build()
        .map_err(|error| caller.defect(&error))?;
    let request = caller
        .client
        .update_continuous_backups()
        .table_name(&caller.table)
        .point_in_time_recovery_specification(specification);
    let action = "turn on point-in-time recovery";
    caller
        .get(Kind::Write, action, || async {
            match request.clone().send().await {
                Err(error) if is_unknown(&error) => Ok(()),
                answer => answer.map(|_| ()),
            }
        })
        .await
}

fn is_unknown<E: aws_sdk_dynamodb::error::ProvideErrorMetadata, R>(
    error: &aws_sdk_dynamodb::error::SdkError<E, R>,
) -> bool {
    let code = error.as_service_error().and_then(|error| error.code());
    code == Some("UnknownOperationException")
}

/// Notes the version of the items in a new table, and refuses a table of another version.
pub(super) async fn check_format(caller: &Caller) -> Result<(), Error> {
    let key = Key::new(FORMAT, FORMAT);
    let mut first = key.clone().item();
    first.insert(REV.to_owned(), item::number(VERSION));
    let read = caller
        .client
        .get_item()
        .table_name(&caller.table)
        .set_key(Some(key.item()))
        .consistent_read(true);
    let action = "look at the format of the table";
    for _ in 0..2 {
        let found = caller.get(Kind::Read, action, || read.clone().send()).await?.item;
        match found.as_ref().map(|item| item::count(item, REV)) {
            Some(Some(VERSION)) => return Ok(()),
            Some(other) => return Err(caller.other_format(other, VERSION)),
            None => {}
        }
        let write = caller
            .client
            .put_item()
            .table_name(&caller.table)
            .set_item(Some(first.clone()))
            .condition_expression("attribute_not_exists(pk)");
        let written = caller
            .ask(Kind::Write, "note the format of the table", || {
                write.clone().send()
            })
            .await?;
        if written.is_some() {
            return Ok(());
        }
    }
    Err(caller.other_format(None, VERSION))
}
