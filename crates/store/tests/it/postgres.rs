//! The store in PostgreSQL, on a real server.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use evenkeel_store::{
    AppendId, BoxFuture, Error, Keeper as _, Place, Postgres, PostgresConfig, PostgresStandby, ServerStandby,
    SharedStandby, Standby, address, address::AddressError,
};
use evenkeel_testkit::{PostgresServer, postgres_or_skip};
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::rows::{append_id, place, row, rows, texts};
use crate::{conformance, shared};

const LIMIT: u64 = 1 << 30;
/// Long enough for a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);
const URL: &str = "STANDBY_POSTGRES_URL";
const PROCESS: &str = "STANDBY_POSTGRES_PROCESS";

static SCHEMAS: AtomicU32 = AtomicU32::new(0);

/// One server for all tests that leave it alone. The process that runs the tests holds it, and it ends with that.
fn server() -> Option<&'static PostgresServer> {
    static SERVER: OnceLock<Option<PostgresServer>> = OnceLock::new();
    SERVER.get_or_init(|| postgres_or_skip(true, &[])).as_ref()
}

/// A store of its own on this server.
fn new_config(url: &str) -> PostgresConfig {
    let number = SCHEMAS.fetch_add(1, Ordering::Relaxed);
    PostgresConfig {
        schema: format!("of_test_{number}"),
        connections: 4,
        ..PostgresConfig::new(url)
    }
}

async fn open(config: &PostgresConfig) -> Arc<PostgresStandby> {
    let keeper = Postgres::connect(config).await.unwrap();
    Arc::new(ServerStandby::new(keeper, LIMIT))
}

async fn sql(url: &str, statements: &str) -> PgConnection {
    let mut connection = PgConnection::connect(url).await.unwrap();
    connection.execute(statements).await.unwrap();
    connection
}

struct OnPostgres {
    url: String,
    config: std::sync::Mutex<PostgresConfig>,
}

impl OnPostgres {
    async fn store(&self, again: bool) -> Arc<PostgresStandby> {
        let config = {
            let mut config = self.config.lock().unwrap();
            if !again {
                *config = new_config(&self.url);
            }
            config.clone()
        };
        open(&config).await
    }
}

impl conformance::Factory for OnPostgres {
    fn open(&self, again: bool) -> BoxFuture<'_, Arc<dyn Standby>> {
        Box::pin(async move { self.store(again).await as Arc<dyn Standby> })
    }
}

impl shared::Factory for OnPostgres {
    fn open_shared(&self, again: bool) -> BoxFuture<'_, Arc<dyn SharedStandby>> {
        Box::pin(async move { self.store(again).await as Arc<dyn SharedStandby> })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_suites() {
    let Some(server) = server() else { return };
    let factory = OnPostgres {
        url: server.url(),
        config: std::sync::Mutex::new(new_config(&server.url())),
    };
    conformance::run(&factory).await;
    shared::run(&factory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn belongs_to_one_application() {
    let Some(server) = server() else { return };
    let config = new_config(&server.url());
    crate::owner::belongs_to_one_application(async || Postgres::connect(&config).await.unwrap()).await;
}

/// Names that differ only in signs have one schema.
#[tokio::test(flavor = "multi_thread")]
async fn applications_whose_names_are_alike_do_not_share_what_they_park() {
    let Some(server) = server() else { return };
    let url = server.url();
    address::open(&url, "bills.api", LIMIT).await.unwrap();
    for refused in [
        address::open(&url, "bills-api", LIMIT).await,
        address::open_existing(&url, "bills-api").await,
    ] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("the application bills.api parks in it"), "{error}");
    }
    address::open_existing(&url, "bills.api").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_at_the_start_is_used_when_it_answers() {
    let Some(server) = postgres_or_skip(false, &[]) else {
        return;
    };
    server.kill();
    let store = address::open(&server.url(), "bills", LIMIT).await.unwrap();
    let error = store.leases().await.unwrap_err();
    assert!(error.is_outage(), "{error}");
    let error = address::open_existing(&server.url(), "bills").await.unwrap_err();
    assert!(
        matches!(&error, AddressError::Store(error) if error.is_outage()),
        "{error}"
    );
    server.restart();
    assert!(store.leases().await.unwrap().is_empty());
    let position = store
        .append(&place("bills", Some(0)), append_id(0), rows(&["a"]))
        .await;
    assert_eq!(position.unwrap(), 0);
}

/// Appends until it is known what became of it.
async fn append_until_known(store: &dyn Standby, at: &Place, id: AppendId, text: &str) -> u64 {
    loop {
        match store.append(at, id, rows(&[text])).await {
            Ok(position) => return position,
            Err(error) => assert!(error.is_outage(), "{error}"),
        }
    }
}

/// Every text once, and each writer's in its order.
fn assert_each_once(found: &[String], writers: u64, appends: u64) {
    let once: BTreeSet<&String> = found.iter().collect();
    assert_eq!(once.len(), found.len(), "none twice");
    assert_eq!(found.len() as u64, writers * appends, "none is missing");
    for writer in 0..writers {
        let prefix = format!("{writer}:");
        let own = found.iter().filter(|text| text.starts_with(&prefix));
        assert!(own.is_sorted(), "in the order of writer {writer}");
    }
}

/// The server is killed again and again while two stores append; what was told to be kept is there, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_loses_and_doubles_nothing() {
    let Some(server) = postgres_or_skip(false, &[]) else {
        return;
    };
    let (config, at) = (new_config(&server.url()), place("orders", Some(0)));
    let stores = [open(&config).await, open(&config).await];
    let appended = Arc::new(AtomicU32::new(0));
    let (writers, appends) = (4_u64, 60_u64);
    let mut running = Vec::new();
    for writer in 0..writers {
        let (store, at) = (stores[usize::try_from(writer % 2).unwrap()].clone(), at.clone());
        let appended = appended.clone();
        running.push(tokio::spawn(async move {
            for number in 0..appends {
                let id = AppendId {
                    process: u128::from(writer),
                    number,
                };
                append_until_known(&*store, &at, id, &format!("{writer}:{number:03}")).await;
                appended.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let kills = {
        let appended = appended.clone();
        tokio::task::spawn_blocking(move || {
            for kill in 1..=3 {
                while appended.load(Ordering::Relaxed) < kill * 50 {
                    std::thread::yield_now();
                }
                server.kill();
                server.restart();
            }
            server
        })
    };
    for writer in running {
        writer.await.unwrap();
    }
    let _server = kills.await.unwrap();
    assert_each_once(&texts(&*stores[0], &at).await, writers, appends);
    assert!(stores[0].damaged().await.unwrap().is_empty());
}

/// The child of the test below: not a test of its own, it does nothing unless a parent asks. Says each append that it was told
/// is made.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let (Ok(url), Ok(process)) = (std::env::var(URL), std::env::var(PROCESS)) else {
        return;
    };
    let config = PostgresConfig {
        schema: "of_children".to_owned(),
        ..PostgresConfig::new(&url)
    };
    let (store, at) = (open(&config).await, place("orders", Some(0)));
    for number in 0..100_000 {
        let id = AppendId {
            process: process.parse().unwrap(),
            number,
        };
        let text = format!("{process}:{number:05}");
        let position = append_until_known(&*store, &at, id, &text).await;
        let mut out = std::io::stdout().lock();
        writeln!(out, "+ {position} {text}").unwrap();
        out.flush().unwrap();
    }
}

/// Two processes at a time append to one place, and both are killed.
#[tokio::test(flavor = "multi_thread")]
async fn what_killed_processes_were_told_is_kept_is_there() {
    let Some(server) = server() else { return };
    let mut told = Vec::new();
    for round in 0..4_usize {
        let children = [2 * round, 2 * round + 1].map(|process| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "postgres::child", "--nocapture"])
                .env(URL, server.url())
                .env(PROCESS, process.to_string())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        });
        let listening = children.map(|mut child| {
            std::thread::spawn(move || {
                let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
                let mut told: Vec<String> = Vec::new();
                while told.len() < 30 + 20 * round {
                    let line = lines.next().expect("the child goes on").unwrap();
                    told.extend(line.strip_prefix("+ ").map(ToOwned::to_owned));
                }
                child.kill().unwrap();
                child.wait().unwrap();
                told
            })
        });
        for listener in listening {
            told.extend(listener.join().unwrap());
        }
    }
    let config = PostgresConfig {
        schema: "of_children".to_owned(),
        ..PostgresConfig::new(&server.url())
    };
    let store = open(&config).await;
    let found = texts(&*store, &place("orders", Some(0))).await;
    let once: BTreeSet<&String> = found.iter().collect();
    assert_eq!(once.len(), found.len(), "none twice");
    assert!(told.len() > 400);
    for told in told {
        let (position, text) = told.split_once(' ').unwrap();
        let position: usize = position.parse().unwrap();
        assert_eq!(found[position], text, "where it was told to be");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_the_largest_append_as_one() {
    let Some(server) = server() else { return };
    let (store, at) = (open(&new_config(&server.url())).await, place("orders", Some(0)));
    let big = "x".repeat(1 << 20);
    let many: Vec<_> = (0..64).map(|_| row(&big)).collect();
    store.append(&at, append_id(0), many).await.unwrap();
    let piece = store.read(&at, 60, 3 << 20).await.unwrap();
    assert_eq!((piece.rows.len(), piece.rows[0].position), (3, 60));
    store.remove(&at, 63).await.unwrap();
    assert_eq!(store.stats().await.unwrap().bytes, 1 << 20);
}

async fn generations(url: &str, schema: &str) -> Vec<i64> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let ask = format!("SELECT number FROM {schema}.generations ORDER BY number");
    sqlx::query_scalar(&ask).fetch_all(&mut connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn drained_generations_are_dropped_and_no_reader_is_waited_for() {
    let Some(server) = server() else { return };
    let (config, at) = (new_config(&server.url()), place("orders", Some(0)));
    let (keeper, store) = (Postgres::connect(&config).await.unwrap(), open(&config).await);
    let elsewhere = place("orders", Some(1));
    store.append(&at, append_id(0), rows(&["a"])).await.unwrap();
    let generations = async || generations(&server.url(), &config.schema).await;
    keeper.clean(&at, 0).await.unwrap();
    assert_eq!(generations().await, [1], "it holds a row");
    let mut reader = sql(
        &server.url(),
        &format!("BEGIN; SELECT count(*) FROM {}.blocks", config.schema),
    )
    .await;
    store.remove(&at, 1).await.unwrap();
    // The store's own sweep may be under way, and one at a time is enough.
    while generations().await.len() < 2 {
        keeper.clean(&at, 1).await.unwrap();
    }
    keeper.clean(&at, 1).await.unwrap();
    let seen = generations().await;
    assert!(seen.contains(&1), "a reader holds on to it: {seen:?}");
    let position = store.append(&elsewhere, append_id(1), rows(&["b"])).await;
    assert_eq!(position.unwrap(), 0, "and appends go on meanwhile");
    reader.execute("COMMIT").await.unwrap();
    loop {
        keeper.clean(&at, 1).await.unwrap();
        if !generations().await.contains(&1) {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(texts(&*store, &elsewhere).await, ["b"]);
    let position = store.append(&at, append_id(2), rows(&["c"])).await.unwrap();
    assert_eq!((position, texts(&*store, &at).await), (1, vec!["c".to_owned()]));
}

/// Appends, removes and drops at the same time: no row is dropped that is held.
#[tokio::test(flavor = "multi_thread")]
async fn dropping_takes_no_row_that_is_held() {
    let Some(server) = server() else { return };
    let config = new_config(&server.url());
    let keeper = Postgres::connect(&config).await.unwrap();
    let was_dropped = Arc::new(AtomicBool::new(false));
    let mut running = Vec::new();
    for partition in 0..4 {
        let store = open(&config).await;
        let was_dropped = was_dropped.clone();
        running.push(tokio::spawn(async move {
            let at = place("orders", Some(partition));
            for number in 0.. {
                if number >= 40 && was_dropped.load(Ordering::Acquire) {
                    break;
                }
                let id = AppendId {
                    process: u128::from(partition.unsigned_abs()),
                    number,
                };
                let text = format!("{partition}:{number}");
                let position = append_until_known(&*store, &at, id, &text).await;
                assert_eq!(texts(&*store, &at).await, [text]);
                store.remove(&at, position + 1).await.unwrap();
            }
        }));
    }
    let at = place("orders", Some(0));
    let start = std::time::Instant::now();
    while running.iter().any(|writer| !writer.is_finished()) {
        keeper.clean(&at, 0).await.unwrap();
        let left = generations(&server.url(), &config.schema).await;
        assert!(
            start.elapsed() < PATIENCE,
            "some are dropped beside appends: {left:?}"
        );
        was_dropped.store(left.first() > Some(&2), Ordering::Release);
    }
    for writer in running {
        writer.await.unwrap();
    }
    let left = generations(&server.url(), &config.schema).await;
    assert!(left.len() < 40, "{left:?}");
    assert!(left.last() > Some(&2), "some were dropped: {left:?}");
}

async fn refused(config: &PostgresConfig, expected: &str) {
    let error = Postgres::connect(config).await.unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, Error::Refused { .. }), "{said}");
    assert!(!error.is_outage() && !error.may_have_been_made(), "{said}");
    assert!(said.contains(expected), "{said}");
    assert!(!said.contains("secret"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_has_to_mend_is_said() {
    let Some(server) = server() else { return };
    let url = |user, password, database| new_config(&server.url_as(user, password, database));
    refused(&url("postgres", "wrong-secret", "postgres"), "pg_hba.conf").await;
    refused(
        &url("postgres", "postgres-secret", "nowhere"),
        "create the database",
    )
    .await;
    sql(&server.url(), "CREATE USER poor PASSWORD 'poor-secret'").await;
    refused(&url("poor", "poor-secret", "postgres"), "CREATE SCHEMA").await;
    refused(&new_config("mysql://secret@host"), "postgres://").await;
    let nameless = PostgresConfig {
        schema: "a; DROP".to_owned(),
        ..PostgresConfig::new(&server.url())
    };
    refused(&nameless, "lower-case").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_checked_when_the_url_says_so() {
    let Some(server) = server() else { return };
    let (ca, stranger) = server.authorities();
    let with = |ca: &std::path::Path| {
        new_config(&format!(
            "{}?sslmode=verify-full&sslrootcert={}",
            server.url(),
            ca.display()
        ))
    };
    open(&with(ca)).await;
    refused(&with(stranger), "sslrootcert").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outages_are_told_from_refusals() {
    let settings = [("max_connections", "8"), ("superuser_reserved_connections", "0")];
    let Some(server) = postgres_or_skip(false, &settings) else {
        return;
    };
    let config = PostgresConfig {
        timeout: Duration::from_secs(2),
        ..new_config(&server.url())
    };
    let (store, at) = (open(&config).await, place("orders", Some(0)));
    store.append(&at, append_id(0), rows(&["a"])).await.unwrap();
    let url = server.url();
    sql(&url, "ALTER SYSTEM SET default_transaction_read_only = on").await;
    sql(&url, "SELECT pg_reload_conf()").await;
    let mut number = 0;
    let error = loop {
        // The setting reaches the connections when each has heard of it.
        number += 1;
        if let Err(error) = store.append(&at, append_id(number), rows(&["b"])).await {
            break error;
        }
    };
    assert!(error.is_outage() && !error.may_have_been_made(), "{error}");
    assert!(error.to_string().contains("name the primary"), "{error}");
    let mut mending = sql(&url, "SET default_transaction_read_only = off").await;
    mending
        .execute("ALTER SYSTEM RESET default_transaction_read_only")
        .await
        .unwrap();
    drop(mending);
    sql(&url, "SELECT pg_reload_conf()").await;
    let mut held = Vec::new();
    while let Ok(connection) = PgConnection::connect(&url).await {
        held.push(connection);
    }
    let other = PostgresConfig {
        url: url.clone(),
        ..config.clone()
    };
    let error = Postgres::connect(&other).await.unwrap_err();
    assert!(error.is_outage(), "{error}");
    assert!(error.to_string().contains("max_connections"), "{error}");
    drop(held);
    server.pause();
    let error = store.read(&at, 0, 1).await.unwrap_err();
    server.resume();
    assert!(error.is_outage(), "{error}");
    server.kill();
    let error = store
        .append(&at, append_id(u64::MAX), rows(&["c"]))
        .await
        .unwrap_err();
    assert!(error.is_outage(), "{error}");
}
