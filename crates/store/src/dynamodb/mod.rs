//! A shared standby store in one table of Amazon DynamoDB.

mod block;
mod call;
mod clean;
mod commit;
mod connect;
mod failure;
mod item;
mod keeper;
mod lease;
mod pages;
mod read;
mod stage;
mod table;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::config;
use call::Caller;
use commit::Known;
use evenkeel_event::clock::{Clock as _, SystemClock, Timestamp};
use tokio::time::Instant;

use crate::{Error, ServerStandby};

/// Where the table is, and how long to wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The table's name. One table belongs to one application.
    pub table: String,
    /// The region, for example `eu-west-1`; `None` means the one that AWS's tools find: `AWS_REGION`, else the profile's.
    pub region: Option<String>,
    /// The endpoint's URL; `None` means the one that AWS's tools find: `AWS_ENDPOINT_URL_DYNAMODB`, else that of the region.
    pub endpoint: Option<String>,
    /// Most time of one request, its repetitions included. An append that is larger than 64 KiB takes several.
    pub timeout: Duration,
}

impl Config {
    /// The table of this name, in the region of this machine; requests take at most 10 s.
    #[must_use]
    pub fn new(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            region: None,
            endpoint: None,
            timeout: Duration::from_secs(10),
        }
    }
}

/// One table of DynamoDB as the keeper of a standby store: [`DynamoStandby`].
///
/// Every write on a condition is a transaction with a token, so that one whose answer was lost is made once. Throttles and
/// conflicts are waited for within [`Config::timeout`].
#[derive(Debug)]
pub struct DynamoKeeper {
    caller: Caller,
    known: Known,
    swept: Mutex<Option<Instant>>,
}

/// A standby store in one table of DynamoDB, which any number of processes share.
pub type DynamoStandby = ServerStandby<DynamoKeeper>;

/// How often a process looks for parts that nobody showed.
const BETWEEN_SWEEPS: Duration = Duration::from_mins(15);

impl DynamoKeeper {
    /// Connects to a table that is there.
    ///
    /// # Errors
    /// [`Error::Refused`] without a region or credentials, when the table is missing or may not be used;
    /// [`Error::Foreign`] when another version has written it; [`Error::Unreachable`] and [`Error::Throttled`] else.
    pub async fn connect(config: &Config) -> Result<Self, Error> {
        let keeper = Self::new(config).await?;
        table::check_format(&keeper.caller).await?;
        Ok(keeper)
    }

    /// Where the table is, without asking whether it is there: that is done before the first call.
    ///
    /// # Errors
    /// [`Error::Refused`] without a region.
    pub async fn new(config: &Config) -> Result<Self, Error> {
        Ok(Self::over(connect::connect(config).await?))
    }

    /// Connects by settings of the caller's own: other credentials, an HTTP client, interceptors. Timeouts and retries are
    /// still those of `config`.
    ///
    /// # Errors
    /// As [`DynamoKeeper::connect`].
    pub async fn connect_with(config: &Config, settings: config::Builder) -> Result<Self, Error> {
        let keeper = Self::over(connect::over(config, settings)?);
        table::check_format(&keeper.caller).await?;
        Ok(keeper)
    }

    fn over(caller: Caller) -> Self {
        Self {
            caller,
            known: Known::default(),
            swept: Mutex::default(),
        }
    }

    /// Makes the table where it is not there, as `deploy/aws` does, and returns when it can be used. Point-in-time recovery
    /// is turned on where the server has it.
    ///
    /// # Errors
    /// [`Error::Refused`] when it may not be made, or is there for something else; else as [`DynamoKeeper::connect`].
    pub async fn create_table(config: &Config) -> Result<(), Error> {
        table::create(&connect::connect(config).await?).await
    }

    /// As [`DynamoKeeper::create_table`], by settings of the caller's own.
    ///
    /// # Errors
    /// As [`DynamoKeeper::create_table`].
    pub async fn create_table_with(config: &Config, settings: config::Builder) -> Result<(), Error> {
        table::create(&connect::over(config, settings)?).await
    }

    /// Removes what was written for commits that nobody made, an hour after it was written as `now` has it, and what a
    /// killed removal has left. Returns how many appends it was of. The keeper does so itself every quarter of an hour.
    ///
    /// # Errors
    /// What the server says.
    pub async fn sweep(&self, now: Timestamp) -> Result<usize, Error> {
        stage::sweep(&self.caller, now).await
    }

    /// Sweeps beside what is going on, when it is time.
    fn sweep_sometimes(&self) {
        let now = Instant::now();
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.is_some_and(|at| now.duration_since(at) < BETWEEN_SWEEPS) {
            return;
        }
        *swept = Some(now);
        let caller = self.caller.clone();
        tokio::spawn(async move {
            if let Err(error) = stage::sweep(&caller, SystemClock::default().now()).await {
                tracing::warn!(%error, "what nobody needs could not be swept from the standby store; it is tried again");
            }
        });
    }
}
