//! A shared standby store in PostgreSQL 13 or newer. It is right at the isolation level *read committed*, which is the
//! default: a record is replaced by one conditional update, in the statement or transaction that adds its blocks.

mod failure;
mod sweep;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_event::TopicName;
use evenkeel_flow::diversion::Process;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgRow};
use sqlx::{Connection as _, Executor as _, Row as _};

use self::failure::{Attempt, is_passing};
use crate::standby::BoxFuture;
use crate::{Block, Change, Error, Keeper, Kept, Place, ServerStandby};

/// A store in PostgreSQL.
pub type PostgresStandby = ServerStandby<Postgres>;

/// Stands for "no partition is known" in a key.
const NO_PARTITION: i32 = -1;
/// Attempts of a statement that others came between.
const ATTEMPTS: u32 = 5;
/// Blocks that one read returns at most.
const BLOCKS_MAX: i64 = 256;
/// Most time to find out why no connection is to be had.
const ASK_WHY: Duration = Duration::from_secs(2);

/// A commit of one place: what changes its record, and the blocks that are added if it did.
macro_rules! commit {
    ($change:literal) => {
        concat!(
            "WITH won AS (",
            $change,
            " RETURNING 1
), added AS (
    INSERT INTO blocks (generation, topic, partition, position, finish, bytes)
    SELECT (SELECT max(number) FROM generations), $1, $2, block.position, block.finish, block.bytes
    FROM unnest($7::bigint[], $8::bigint[], $9::bytea[]) AS block (position, finish, bytes)
    WHERE EXISTS (SELECT 1 FROM won)
)
SELECT count(*) FROM won"
        )
    };
}

const REPLACE: &str = commit!(
    "
    UPDATE records SET revision = revision + 1, head = $4, is_listed = $5, bytes = $6
    WHERE topic = $1 AND partition = $2 AND revision = $3"
);

const FIRST: &str = commit!(
    "
    INSERT INTO records (topic, partition, revision, head, is_listed, bytes)
    SELECT $1, $2, 1, $4, $5, $6 WHERE $3::bigint IS NULL
    ON CONFLICT DO NOTHING"
);

const BLOCKS: &str = "\
SELECT position, finish, bytes FROM (
    SELECT position, finish, bytes, octet_length(bytes) AS own,
        sum(octet_length(bytes)) OVER (ORDER BY position) AS up_to
    FROM (
        SELECT position, finish, bytes FROM blocks
        WHERE topic = $1 AND partition = $2 AND finish > $3 AND position >= coalesce((
            SELECT max(position) FROM blocks WHERE topic = $1 AND partition = $2 AND position <= $3
        ), 0)
        ORDER BY position LIMIT $5
    ) AS next
) AS counted
WHERE up_to = own OR up_to <= $4 ORDER BY position";

/// Where the tables are and how they are asked.
#[derive(Clone)]
pub struct PostgresConfig {
    /// `postgres://user:password@host:port/database`, with libpq's parameters: `sslmode` (`verify-full` checks the
    /// certificate and the name; the default `prefer` checks nothing), `sslrootcert`, `sslcert`, `sslkey`.
    pub url: String,
    /// The schema that holds the tables.
    pub schema: String,
    /// Makes the schema when it is not there; else that is an error.
    pub creates: bool,
    /// Connections at most.
    pub connections: u32,
    /// Most time of one call.
    pub timeout: Duration,
}

/// PostgreSQL as the server that keeps a shared standby store.
#[derive(Clone)]
pub struct Postgres {
    name: String,
    pool: PgPool,
    options: PgConnectOptions,
    schema: String,
    creates: bool,
    timeout: Duration,
    sweeping: std::sync::Arc<tokio::sync::Mutex<()>>,
}

impl PostgresConfig {
    /// The defaults: schema `evenkeel`, 8 connections, 15 seconds.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            schema: "evenkeel".to_owned(),
            creates: true,
            connections: 8,
            timeout: Duration::from_secs(15),
        }
    }
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the URL, which may hold a password.
        formatter
            .debug_struct("PostgresConfig")
            .field("schema", &self.schema)
            .field("connections", &self.connections)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Postgres")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Postgres {
    /// Connects, and makes or completes the tables.
    ///
    /// # Errors
    /// [`Error::Refused`] says what to do; [`Error::is_outage`] that it may go well later.
    pub async fn connect(config: &PostgresConfig) -> Result<Self, Error> {
        let server = Self::new(config)?;
        server.make_tables().await?;
        Ok(server)
    }

    /// Where the tables are, without asking whether they are there: that is done before the first call.
    ///
    /// # Errors
    /// [`Error::Refused`] when the URL or the schema's name cannot be one.
    pub fn new(config: &PostgresConfig) -> Result<Self, Error> {
        let nameless = Attempt {
            server: "PostgreSQL",
            action: "connect",
            writes: false,
        };
        let options = match config.url.split_once("://") {
            Some(("postgres" | "postgresql", _)) => PgConnectOptions::from_str(&config.url),
            _ => Err(sqlx::Error::Configuration("another scheme".into())),
        };
        let options = options.map_err(|error| nameless.failed(&error))?;
        if !is_schema_name(&config.schema) {
            return Err(nameless.refused(
                format!("\"{}\" cannot name a schema", config.schema),
                "use 1 to 63 lower-case letters, digits and underscores, no digit first",
            ));
        }
        let options = options.application_name("evenkeel");
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        let (host, port) = (options.get_host(), options.get_port());
        let name = format!("PostgreSQL {host}:{port}/{database}, schema {}", config.schema);
        let pool = pool(config).connect_lazy_with(options.clone());
        Ok(Self {
            name,
            pool,
            options,
            schema: config.schema.clone(),
            creates: config.creates,
            timeout: config.timeout,
            sweeping: std::sync::Arc::default(),
        })
    }

    async fn make_tables(&self) -> Result<(), Error> {
        let (schema, creates) = (&self.schema, self.creates);
        let attempt = self.attempt(
            if creates {
                "make its tables"
            } else {
                "look into it"
            },
            false,
        );
        // At once, where the pool would try for long and not say why.
        self.reach(attempt).await?;
        let there = "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)";
        let is_there: bool = self
            .within(
                attempt,
                sqlx::query_scalar(there).bind(schema).fetch_one(&self.pool),
            )
            .await?;
        if !is_there && !creates {
            return Err(attempt.refused(
                "there is no such schema".to_owned(),
                "see that the application (publish.application) and the database are the right ones; its first process, or evenkeel standby \
                 init, makes it",
            ));
        }
        if !is_there {
            // Two that begin at once may both try.
            let create = format!("CREATE SCHEMA IF NOT EXISTS {schema}");
            match self.within(attempt, self.pool.execute(create.as_str())).await {
                Err(Error::Refused { reason, .. }) if reason.contains("23505") => {}
                created => {
                    created?;
                }
            }
        }
        let migration = Migration::new(
            1,
            Cow::Borrowed("the tables"),
            MigrationType::Simple,
            Cow::Borrowed(include_str!("schema-1.sql")),
            false,
        );
        let migrator = Migrator {
            migrations: Cow::Owned(vec![migration]),
            ..Migrator::DEFAULT
        };
        let run = tokio::time::timeout(self.timeout, migrator.run(&self.pool)).await;
        match run {
            Err(_) => Err(attempt.away("no answer in time", false)),
            Ok(Ok(())) => Ok(()),
            Ok(Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _))) => {
                Err(attempt.failed(&error))
            }
            Ok(Err(other)) => Err(Error::Foreign {
                server: self.name.clone(),
                what: "tables".to_owned(),
                reason: other.to_string(),
            }),
        }
    }

    /// Removes the schema with all that is in it, parked events too.
    ///
    /// # Errors
    /// What the server says.
    pub async fn drop_schema(&self, schema: &str) -> Result<(), Error> {
        let attempt = self.attempt("remove its tables", true);
        if !is_schema_name(schema) {
            return Err(attempt.refused(
                format!("\"{schema}\" cannot name a schema"),
                "name the one that was made",
            ));
        }
        let drop = format!("DROP SCHEMA IF EXISTS {schema} CASCADE");
        self.within(attempt, self.pool.execute(drop.as_str())).await?;
        Ok(())
    }

    fn attempt(&self, action: &'static str, writes: bool) -> Attempt<'_> {
        Attempt {
            server: &self.name,
            action,
            writes,
        }
    }

    /// Waits for an answer as long as is allowed.
    async fn within<T>(
        &self,
        attempt: Attempt<'_>,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(sqlx::Error::PoolTimedOut)) => Err(self.why_no_connection(attempt).await),
            Ok(Err(error)) => Err(attempt.failed(&error)),
            Err(_) => Err(attempt.away("no answer in time", attempt.writes)),
        }
    }

    /// The pool tries until its time is up and keeps the reason to itself: it is asked for once more.
    async fn why_no_connection(&self, attempt: Attempt<'_>) -> Error {
        match self.reach(attempt).await {
            Err(error) => error,
            Ok(()) => Error::Throttled {
                server: self.name.clone(),
                action: attempt.action,
                reason: "all connections of this process are in use".to_owned(),
                may_have_been_made: false,
            },
        }
    }

    /// Makes a connection beside those of the pool. Before anything is sent, so that nothing is made by it.
    async fn reach(&self, attempt: Attempt<'_>) -> Result<(), Error> {
        let unsent = Attempt {
            writes: false,
            ..attempt
        };
        match tokio::time::timeout(ASK_WHY, PgConnection::connect_with(&self.options)).await {
            Ok(Ok(connection)) => {
                // That it could not be said good-bye to changes nothing.
                drop(connection.close().await);
                Ok(())
            }
            Ok(Err(error)) => Err(unsent.failed(&error)),
            Err(_) => Err(unsent.away("no connection in time", false)),
        }
    }

    async fn commit_all(&self, changes: &[Change]) -> Result<bool, Error> {
        let attempt = self.attempt("write the record of a place", true);
        for number in 1.. {
            let made = async {
                match changes {
                    [change] => self.commit_one(change).await,
                    changes => self.commit_several(changes).await,
                }
            };
            let is_last = number >= ATTEMPTS;
            match tokio::time::timeout(self.timeout, made).await {
                Ok(Err(error)) if is_passing(&error) && !is_last => {}
                Ok(made) => return self.within(attempt, std::future::ready(made)).await,
                Err(_) => break,
            }
        }
        Err(attempt.away("no answer in time", true))
    }

    async fn commit_one(&self, change: &Change) -> Result<bool, sqlx::Error> {
        Ok(statement(change)?.fetch_one(&self.pool).await? == 1)
    }

    async fn commit_several(&self, changes: &[Change]) -> Result<bool, sqlx::Error> {
        let mut ordered: Vec<&Change> = changes.iter().collect();
        // All in one order, so that two of them do not wait for each other.
        ordered.sort_by(|one, other| one.place.cmp(&other.place));
        let mut transaction = self.pool.begin().await?;
        for change in ordered {
            if statement(change)?.fetch_one(&mut *transaction).await? != 1 {
                transaction.rollback().await?;
                return Ok(false);
            }
        }
        transaction.commit().await?;
        Ok(true)
    }
}

/// Each connection is told where the tables are and how long a statement may take; an answer is durable also where the
/// database's default is otherwise.
fn pool(config: &PostgresConfig) -> PgPoolOptions {
    let millis = config.timeout.as_millis();
    let settings = format!(
        "SET search_path = {}; SET statement_timeout = {millis}; SET lock_timeout = {millis}; \
         SET idle_in_transaction_session_timeout = {millis}; \
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
        config.schema
    );
    PgPoolOptions::new()
        .max_connections(config.connections)
        .acquire_timeout(config.timeout / 2)
        .max_lifetime(Duration::from_secs(600))
        .after_connect(move |connection, _| {
            let settings = settings.clone();
            Box::pin(async move { connection.execute(settings.as_str()).await.map(drop) })
        })
}

fn is_schema_name(name: &str) -> bool {
    let starts = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    starts && name.len() <= 63 && name.bytes().all(is_known)
}

type Statement<'change> = sqlx::query::QueryScalar<'change, sqlx::Postgres, i64, sqlx::postgres::PgArguments>;

/// The statement that replaces a record and adds its blocks; it answers 1 or 0.
fn statement(change: &Change) -> Result<Statement<'_>, sqlx::Error> {
    let expected = change.expected.map(column).transpose()?;
    let columns = |of: fn(&Block) -> u64| change.blocks.iter().map(move |block| column(of(block)));
    let positions: Vec<i64> = columns(|block| block.position).collect::<Result<_, _>>()?;
    let ends: Vec<i64> = columns(|block| block.end).collect::<Result<_, _>>()?;
    let bytes: Vec<&[u8]> = change.blocks.iter().map(|block| &*block.bytes).collect();
    let statement = match expected {
        Some(_) => REPLACE,
        None => FIRST,
    };
    Ok(sqlx::query_scalar(statement)
        .bind(change.place.topic.as_str())
        .bind(partition_of(&change.place))
        .bind(expected)
        .bind(column(change.head)?)
        .bind(change.is_listed)
        .bind(&*change.record)
        .bind(positions)
        .bind(ends)
        .bind(bytes))
}

fn column(number: u64) -> Result<i64, sqlx::Error> {
    i64::try_from(number).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

fn number(row: &PgRow, index: usize) -> Result<u64, sqlx::Error> {
    let column: i64 = row.try_get(index)?;
    u64::try_from(column).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

fn bytes(row: &PgRow, index: usize) -> Result<Bytes, sqlx::Error> {
    Ok(row.try_get::<Vec<u8>, _>(index)?.into())
}

fn partition_of(place: &Place) -> i32 {
    place.partition.unwrap_or(NO_PARTITION)
}

impl Keeper for Postgres {
    fn name(&self) -> &str {
        &self.name
    }

    fn prepare(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.make_tables())
    }

    fn record(&self, place: &Place) -> BoxFuture<'_, Result<Option<Kept>, Error>> {
        let place = place.clone();
        Box::pin(async move {
            let attempt = self.attempt("read the record of a place", false);
            let ask = "SELECT revision, bytes FROM records WHERE topic = $1 AND partition = $2";
            let ask = sqlx::query(ask)
                .bind(place.topic.as_str())
                .bind(partition_of(&place));
            let found = self.within(attempt, ask.fetch_optional(&self.pool)).await?;
            let kept = found.map(|row| {
                Ok(Kept {
                    revision: number(&row, 0)?,
                    bytes: bytes(&row, 1)?,
                })
            });
            kept.transpose().map_err(|error| attempt.failed(&error))
        })
    }

    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(async move { self.commit_all(&changes).await })
    }

    fn blocks(&self, place: &Place, from: u64, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Block>, Error>> {
        let place = place.clone();
        Box::pin(async move {
            let attempt = self.attempt("read rows", false);
            let ask = sqlx::query(BLOCKS)
                .bind(place.topic.as_str())
                .bind(partition_of(&place))
                .bind(i64::try_from(from).unwrap_or(i64::MAX))
                .bind(i64::try_from(bytes_max).unwrap_or(i64::MAX))
                .bind(BLOCKS_MAX);
            let rows = self.within(attempt, ask.fetch_all(&self.pool)).await?;
            let blocks = rows.iter().map(|row| {
                Ok(Block {
                    position: number(row, 0)?,
                    end: number(row, 1)?,
                    bytes: bytes(row, 2)?,
                })
            });
            blocks
                .collect::<Result<_, _>>()
                .map_err(|error| attempt.failed(&error))
        })
    }

    fn clean(&self, _place: &Place, _below: u64) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.sweep())
    }

    fn listed(&self) -> BoxFuture<'_, Result<Vec<(Place, Kept)>, Error>> {
        Box::pin(async move {
            let attempt = self.attempt("list the places", false);
            let ask = "SELECT topic, partition, revision, bytes FROM records WHERE is_listed";
            let rows = self
                .within(attempt, sqlx::query(ask).fetch_all(&self.pool))
                .await?;
            let listed = rows.iter().map(|row| {
                let topic = TopicName::new(row.try_get(0)?);
                let partition: i32 = row.try_get(1)?;
                let place = Place {
                    topic: topic.map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
                    partition: (partition != NO_PARTITION).then_some(partition),
                };
                let kept = Kept {
                    revision: number(row, 2)?,
                    bytes: bytes(row, 3)?,
                };
                Ok((place, kept))
            });
            listed
                .collect::<Result<_, _>>()
                .map_err(|error| attempt.failed(&error))
        })
    }

    fn put_lease(
        &self,
        process: Process,
        renewal: u64,
        lease: Bytes,
        joins: bool,
    ) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(async move {
            let attempt = self.attempt("renew a lease", true);
            let write = match joins {
                true => {
                    "INSERT INTO leases (process, renewal, bytes) VALUES ($1, $2, $3)
                     ON CONFLICT (process) DO UPDATE SET renewal = $2, bytes = $3 WHERE leases.renewal < $2"
                }
                false => "UPDATE leases SET renewal = $2, bytes = $3 WHERE process = $1 AND renewal < $2",
            };
            let renewal = column(renewal).map_err(|error| attempt.failed(&error))?;
            let write = sqlx::query(write)
                .bind(process.0.to_be_bytes())
                .bind(renewal)
                .bind(&*lease);
            let written = self.within(attempt, write.execute(&self.pool)).await?;
            Ok(written.rows_affected() == 1)
        })
    }

    fn remove_lease(&self, process: Process, renewal: u64) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(async move {
            let attempt = self.attempt("take a lease away", true);
            let renewal = column(renewal).map_err(|error| attempt.failed(&error))?;
            let remove = sqlx::query("DELETE FROM leases WHERE process = $1 AND renewal = $2")
                .bind(process.0.to_be_bytes())
                .bind(renewal);
            let removed = self.within(attempt, remove.execute(&self.pool)).await?;
            Ok(removed.rows_affected() == 1)
        })
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<Bytes>, Error>> {
        Box::pin(async move {
            let attempt = self.attempt("read the leases", false);
            let ask = sqlx::query_scalar::<_, Vec<u8>>("SELECT bytes FROM leases");
            let leases = self.within(attempt, ask.fetch_all(&self.pool)).await?;
            Ok(leases.into_iter().map(Bytes::from).collect())
        })
    }
}
