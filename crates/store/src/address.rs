//! Shared standby stores by the address that settings name: `postgres://USER@HOST/DATABASE` or `dynamodb:TABLE`.
//!
//! All processes of an application find the same store by the same address, whichever program they are.

use std::sync::Arc;

use crate::{Error, SharedStandby};

/// Longest name that PostgreSQL gives a schema, bytes.
const SCHEMA_BYTES_MAX: usize = 63;

/// Why an address leads to no store. The address itself is not told: it may hold a password.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It begins with no known name.
    #[error("the address of the standby store is neither postgres://USER@HOST/DATABASE nor dynamodb:TABLE")]
    Unknown,
    /// This build lacks what it needs.
    #[error(
        "the standby store is in {server}, which this build does not know: build evenkeel with --features {feature}"
    )]
    NotBuilt {
        /// The server.
        server: &'static str,
        /// The feature of the build that knows it.
        feature: &'static str,
    },
    /// What the store says.
    #[error(transparent)]
    Store(#[from] Error),
}

/// What an address names.
enum Address<'url> {
    Postgres(&'url str),
    Dynamo(&'url str),
}

impl<'url> Address<'url> {
    fn of(url: &'url str) -> Result<Self, AddressError> {
        match url.split_once(':') {
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(url)),
            Some(("dynamodb", table)) if !table.is_empty() => Ok(Self::Dynamo(table)),
            _ => Err(AddressError::Unknown),
        }
    }
}

/// Checks that `url` names a store that this build knows, without asking it.
///
/// # Errors
/// When it does not.
pub fn check(url: &str) -> Result<(), AddressError> {
    match Address::of(url)? {
        Address::Postgres(_) if !cfg!(feature = "postgres") => Err(AddressError::NotBuilt {
            server: "PostgreSQL",
            feature: "postgres",
        }),
        Address::Dynamo(_) if !cfg!(feature = "aws") => Err(AddressError::NotBuilt {
            server: "DynamoDB",
            feature: "aws",
        }),
        _ => Ok(()),
    }
}

/// Opens the store at `url` that the processes of `application` share and that is theirs from now on, for at most `bytes_max` of
/// parked events. The table of DynamoDB must be there; the tables of PostgreSQL are made. A server that does not answer is
/// waited for by every later call: a process need not wait for it to start.
///
/// # Errors
/// When the address leads to no store, or the store says no, as one does that is another application's.
pub async fn open(
    url: &str,
    application: &str,
    bytes_max: u64,
) -> Result<Arc<dyn SharedStandby>, AddressError> {
    match Address::of(url)? {
        Address::Postgres(url) => postgres::open(url, application, bytes_max).await,
        // Boxed, because the SDK's futures are so deep that whoever holds one may not compile.
        Address::Dynamo(table) => Box::pin(dynamodb::open(table, application, bytes_max)).await,
    }
}

/// As [`open`], for a look: what is not there is not made, and an error.
///
/// # Errors
/// As [`open`], when the server does not answer, and when no process of `application` has ever used the store.
pub async fn open_existing(url: &str, application: &str) -> Result<Arc<dyn SharedStandby>, AddressError> {
    match Address::of(url)? {
        Address::Postgres(url) => postgres::look(url, application).await,
        Address::Dynamo(table) => Box::pin(dynamodb::look(table, application)).await,
    }
}

/// Makes the tables of the store at `url` for `application`, where they are not there.
///
/// # Errors
/// As [`open`].
pub async fn create(url: &str, application: &str) -> Result<(), AddressError> {
    match Address::of(url)? {
        Address::Postgres(url) => postgres::create(url, application).await,
        Address::Dynamo(table) => Box::pin(dynamodb::create(table)).await,
    }
}

/// Makes the store at `url` that of `application`, whosever it was. What is parked in it stays.
///
/// # Errors
/// As [`open_existing`], but for whose it is.
pub async fn take_over(url: &str, application: &str) -> Result<(), AddressError> {
    match Address::of(url)? {
        Address::Postgres(url) => postgres::take_over(url, application).await,
        Address::Dynamo(table) => Box::pin(dynamodb::take_over(table, application)).await,
    }
}

/// Removes the empty tables that [`open`] made in PostgreSQL; a table of DynamoDB, which stays, is no application's any more.
///
/// # Errors
/// As [`open`].
pub async fn remove(url: &str, application: &str) -> Result<(), AddressError> {
    match Address::of(url)? {
        Address::Postgres(url) => postgres::remove(url, application).await,
        Address::Dynamo(table) => Box::pin(dynamodb::let_go(table, application)).await,
    }
}

/// Has the server of a store prepared, if it answers.
#[cfg_attr(
    not(any(feature = "postgres", feature = "aws")),
    allow(dead_code, reason = "there is no server then")
)]
async fn prepared<K: crate::Keeper>(
    store: crate::ServerStandby<K>,
) -> Result<Arc<dyn SharedStandby>, AddressError> {
    match store.prepare().await {
        Err(error) if error.is_outage() => tracing::warn!(
            %error,
            "the shared standby store does not answer; it is asked again"
        ),
        prepared => prepared?,
    }
    Ok(Arc::new(store))
}

/// A store for a look, whose server answers.
#[cfg_attr(
    not(any(feature = "postgres", feature = "aws")),
    allow(dead_code, reason = "there is no server then")
)]
async fn looked<K: crate::Keeper>(
    application: &str,
    keeper: K,
) -> Result<Arc<dyn SharedStandby>, AddressError> {
    let store = crate::ServerStandby::looked_at_by(application, keeper);
    store.prepare().await?;
    Ok(Arc::new(store))
}

/// Every application has a schema of its own.
#[cfg_attr(
    not(feature = "postgres"),
    allow(dead_code, reason = "only PostgreSQL has schemas")
)]
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

#[cfg(feature = "postgres")]
mod postgres {
    use super::{AddressError, Arc, SharedStandby, looked, prepared, schema};
    use crate::{Postgres, PostgresConfig, ServerStandby};

    fn config(url: &str, application: &str) -> PostgresConfig {
        PostgresConfig {
            schema: schema(application),
            ..PostgresConfig::new(url)
        }
    }

    pub(super) async fn open(
        url: &str,
        application: &str,
        bytes_max: u64,
    ) -> Result<Arc<dyn SharedStandby>, AddressError> {
        let keeper = Postgres::new(&config(url, application))?;
        prepared(ServerStandby::owned_by(application, keeper, bytes_max)).await
    }

    pub(super) async fn look(url: &str, application: &str) -> Result<Arc<dyn SharedStandby>, AddressError> {
        let config = PostgresConfig {
            creates: false,
            ..config(url, application)
        };
        looked(application, Postgres::new(&config)?).await
    }

    pub(super) async fn take_over(url: &str, application: &str) -> Result<(), AddressError> {
        let store = ServerStandby::new(Postgres::new(&config(url, application))?, u64::MAX);
        Ok(store.take_over(application).await?)
    }

    pub(super) async fn create(url: &str, application: &str) -> Result<(), AddressError> {
        Ok(Postgres::connect(&config(url, application)).await.map(drop)?)
    }

    pub(super) async fn remove(url: &str, application: &str) -> Result<(), AddressError> {
        let keeper = Postgres::new(&config(url, application))?;
        Ok(keeper.drop_schema(&schema(application)).await?)
    }
}

#[cfg(not(feature = "postgres"))]
mod postgres {
    use super::{AddressError, Arc, SharedStandby};

    const NOT_BUILT: AddressError = AddressError::NotBuilt {
        server: "PostgreSQL",
        feature: "postgres",
    };

    pub(super) async fn open(_: &str, _: &str, _: u64) -> Result<Arc<dyn SharedStandby>, AddressError> {
        Err(NOT_BUILT)
    }

    pub(super) async fn look(_: &str, _: &str) -> Result<Arc<dyn SharedStandby>, AddressError> {
        Err(NOT_BUILT)
    }

    pub(super) async fn create(_: &str, _: &str) -> Result<(), AddressError> {
        Err(NOT_BUILT)
    }

    pub(super) async fn take_over(_: &str, _: &str) -> Result<(), AddressError> {
        Err(NOT_BUILT)
    }

    pub(super) async fn remove(_: &str, _: &str) -> Result<(), AddressError> {
        Err(NOT_BUILT)
    }
}

#[cfg(feature = "aws")]
mod dynamodb {
    use super::{AddressError, Arc, SharedStandby, looked, prepared};
    use crate::ServerStandby;
    use crate::dynamodb::{Config, DynamoKeeper};

    pub(super) async fn open(
        table: &str,
        application: &str,
        bytes_max: u64,
    ) -> Result<Arc<dyn SharedStandby>, AddressError> {
        let keeper = DynamoKeeper::new(&Config::new(table)).await?;
        prepared(ServerStandby::owned_by(application, keeper, bytes_max)).await
    }

    pub(super) async fn look(table: &str, application: &str) -> Result<Arc<dyn SharedStandby>, AddressError> {
        looked(application, DynamoKeeper::new(&Config::new(table)).await?).await
    }

    pub(super) async fn take_over(table: &str, application: &str) -> Result<(), AddressError> {
        let store = ServerStandby::new(DynamoKeeper::new(&Config::new(table)).await?, u64::MAX);
        Ok(store.take_over(application).await?)
    }

    pub(super) async fn let_go(table: &str, application: &str) -> Result<(), AddressError> {
        let keeper = DynamoKeeper::new(&Config::new(table)).await?;
        Ok(ServerStandby::looked_at_by(application, keeper).let_go().await?)
    }

    pub(super) async fn create(table: &str) -> Result<(), AddressError> {
        Ok(DynamoKeeper::create_table(&Config::new(table)).await?)
    }
}

#[cfg(not(feature = "aws"))]
mod dynamodb {
    use super::{AddressError, Arc, SharedStandby};

    const NOT_BUILT: AddressError = AddressError::NotBuilt {
        server: "DynamoDB",
        feature: "aws",
    };

    pub(super) async fn open(_: &str, _: &str, _: u64) -> Result<Arc<dyn SharedStandby>, AddressError> {
        Err(NOT_BUILT)
    }

    pub(super) async fn look(_: &str, _: &str) -> Result<Arc<dyn SharedStandby>, AddressError> {
        Err(NOT_BUILT)
    }

    pub(super) async fn create(_: &str) -> Result<(), AddressError> {
        Err(NOT_BUILT)
    }

    pub(super) async fn take_over(_: &str, _: &str) -> Result<(), AddressError> {
        Err(NOT_BUILT)
    }

    pub(super) async fn let_go(_: &str, _: &str) -> Result<(), AddressError> {
        Err(NOT_BUILT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_no_store_is_known_at_once() {
        for url in ["", "mysql://db/orders", "dynamodb:", "orders"] {
            assert!(matches!(check(url), Err(AddressError::Unknown)), "{url}");
        }
        let known = check("dynamodb:parked");
        assert_eq!(known.is_ok(), cfg!(feature = "aws"), "{known:?}");
    }

    #[test]
    fn an_application_has_a_schema_of_its_own() {
        assert_eq!(schema("Orders.api-2"), "evenkeel_orders_api_2");
        assert_eq!(schema(&"x".repeat(249)).len(), SCHEMA_BYTES_MAX);
    }
}
