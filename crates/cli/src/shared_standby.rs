//! A standby store that several processes of an application share, by the address that settings name.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use evenkeel_store::{Alarms, Holds, Postgres, PostgresConfig, ServerStandby, SharedStandby};
use evenkeel_worker::applications::{Application, Looked};

use crate::config::Settings;
use crate::sdk;

/// Longest name that PostgreSQL gives a schema, bytes.
const SCHEMA_BYTES_MAX: usize = 63;

/// Opens the store at `url` that the processes of `application` share, for at most `bytes_max` of parked events.
pub(crate) async fn open(url: &str, application: &str, bytes_max: u64) -> Result<Arc<dyn SharedStandby>> {
    match url.split_once(':') {
        Some(("postgres" | "postgresql", _)) => {
            let keeper = postgres(url, application).await?;
            Ok(Arc::new(ServerStandby::new(keeper, bytes_max)))
        }
        Some(("dynamodb", table)) => dynamodb(table, bytes_max).await,
        _ => bail!(
            "standby.url is neither postgres://USER@HOST/DATABASE nor dynamodb:TABLE; empty, what is parked is kept in \
             data.directory"
        ),
    }
}

/// Makes the tables of the store at `url` for `application`, where they are not there.
pub(crate) async fn create(url: &str, application: &str) -> Result<()> {
    match url.split_once(':') {
        Some(("postgres" | "postgresql", _)) => postgres(url, application).await.map(drop),
        Some(("dynamodb", table)) => create_table(table).await,
        _ => bail!("standby.url names no store: set it to postgres://USER@HOST/DATABASE or dynamodb:TABLE"),
    }
}

/// The store that the settings name; `None` where what is parked is kept on this machine.
pub(crate) async fn of(settings: &Settings) -> Result<Option<Arc<dyn SharedStandby>>> {
    let (standby, application) = (&settings.standby, &settings.publish.application);
    if standby.url.reveal().is_empty() {
        return Ok(None);
    }
    let store = open(standby.url.reveal(), application, standby.bytes_max).await?;
    Ok(Some(store))
}

/// Looks into the store that the settings name, as into one on a disk.
pub(crate) async fn look(settings: &Settings) -> Result<Option<(Application, Looked)>> {
    let Some(store) = of(settings).await? else {
        return Ok(None);
    };
    let application = application(settings);
    let looked = Looked {
        in_use: !store.leases().await?.is_empty(),
        places: store.open_places().await?,
        damages: store.damaged().await?,
        holds: Holds::default(),
        alarms: Alarms::read(&application.directory).unwrap_or_default(),
    };
    Ok(Some((application, looked)))
}

/// The application of the settings, whose processes share a store.
pub(crate) fn application(settings: &Settings) -> Application {
    let name = settings.publish.application.clone();
    let directory = sdk::directory(settings, &name);
    Application { name, directory }
}

/// Removes what [`open`] made in PostgreSQL; tables of DynamoDB are made and removed by their owner.
pub(crate) async fn remove(url: &str, application: &str) -> Result<()> {
    if url.starts_with("postgres") {
        let keeper = postgres(url, application).await?;
        keeper
            .drop_schema(&schema(application))
            .await
            .context("what was parked is sent, and its empty tables are left")?;
    }
    Ok(())
}

async fn postgres(url: &str, application: &str) -> Result<Postgres> {
    let config = PostgresConfig {
        schema: schema(application),
        ..PostgresConfig::new(url)
    };
    Postgres::connect(&config)
        .await
        .context("the shared standby store cannot be opened (standby.url says where it is)")
}

/// Every application has a schema of its own.
fn schema(application: &str) -> String {
    let plain = application.chars().map(|character| match character {
        'a'..='z' | '0'..='9' | '_' => character,
        'A'..='Z' => character.to_ascii_lowercase(),
        _ => '_',
    });
    let mut schema: String = "evenkeel_".chars().chain(plain).collect();
    schema.truncate(SCHEMA_BYTES_MAX);
    schema
}

#[cfg(feature = "aws")]
async fn dynamodb(table: &str, bytes_max: u64) -> Result<Arc<dyn SharedStandby>> {
    use evenkeel_store::dynamodb::{Config, DynamoKeeper};
    let keeper = DynamoKeeper::connect(&Config::new(table))
        .await
        .context("the shared standby store cannot be opened (standby.url says where it is)")?;
    Ok(Arc::new(ServerStandby::new(keeper, bytes_max)))
}

#[cfg(feature = "aws")]
async fn create_table(table: &str) -> Result<()> {
    use evenkeel_store::dynamodb::{Config, DynamoKeeper};
    DynamoKeeper::create_table(&Config::new(table))
        .await
        .with_context(|| format!("the table {table} cannot be made"))
}

#[cfg(not(feature = "aws"))]
async fn create_table(table: &str) -> Result<()> {
    dynamodb(table, 0).await.map(drop)
}

#[cfg(not(feature = "aws"))]
async fn dynamodb(table: &str, _bytes_max: u64) -> Result<Arc<dyn SharedStandby>> {
    bail!(
        "standby.url names the table {table} of DynamoDB, which this build does not know: build evenkeel with --features aws"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_has_a_schema_of_its_own() {
        assert_eq!(schema("Orders.api-2"), "evenkeel_orders_api_2");
        assert_eq!(schema(&"x".repeat(249)).len(), SCHEMA_BYTES_MAX);
    }
}
