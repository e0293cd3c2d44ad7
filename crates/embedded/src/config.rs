//! What a broker can be told.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::Error;

/// Settings of one embedded broker. [`Config::new`] has the defaults.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Where everything is kept. Created when absent; one broker at a time.
    pub data_dir: PathBuf,
    /// Where to listen: a loopback address; port 0 takes a free one. Default `127.0.0.1:9092`.
    pub listen: SocketAddr,
    /// Partitions of a topic that is created without a number, 1 to 10,000. Default 1.
    pub default_partitions: i32,
    /// Whether asking for the metadata of an unknown topic creates it, where the client allows it. Default `false`.
    pub auto_create_topics: bool,
    /// Bytes of one segment file, 1 MiB to 1 GiB. Default 64 MiB.
    pub segment_bytes: u32,
    /// How long after the newest timestamp of its batches a producer id is remembered. Default 24 hours.
    pub producer_id_expiration: Duration,
    /// How often partitions are looked at for segments to delete or compact. Default 15 seconds.
    pub cleanup_interval: Duration,
    /// How long a new consumer group waits for more members before its first assignment. Default zero.
    pub group_initial_rebalance_delay: Duration,
    /// What bounds memory.
    pub limits: Limits,
}

/// What bounds a broker's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one request, 1 KiB to 1 GiB; a larger one closes its connection. Default 100 MiB.
    pub request_bytes: u32,
    /// Bytes of all requests that are being read or answered; the next waits. Default 512 MiB, never below `request_bytes`.
    pub requests_bytes: u32,
    /// Bytes of records in one fetch answer. Default 55 MiB.
    pub fetch_bytes: u32,
    /// Bytes of records in all fetch answers being made or sent; the next waits. Default 256 MiB, never below `fetch_bytes`.
    pub fetches_bytes: u32,
    /// Connections at a time; one more is closed at once. Default 1,000.
    pub connections: u32,
    /// Requests of one connection that are read and not yet answered, 1 or more. Default 16.
    pub in_flight: u32,
    /// Partitions of all topics together. Default 10,000.
    pub partitions: u32,
    /// Consumer groups. Default 10,000.
    pub groups: u32,
    /// Members of one group. Default 1,000.
    pub group_members: u32,
    /// Elements of all arrays of one request together; more closes the connection. Default 500,000.
    pub request_elements: u32,
}

const MIB: u32 = 1024 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes: 100 * MIB,
            requests_bytes: 512 * MIB,
            fetch_bytes: 55 * MIB,
            fetches_bytes: 256 * MIB,
            connections: 1_000,
            in_flight: 16,
            partitions: 10_000,
            groups: 10_000,
            group_members: 1_000,
            request_elements: 500_000,
        }
    }
}

impl Config {
    /// The defaults, on `127.0.0.1:9092`, with everything kept in `data_dir`.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 9092)),
            default_partitions: 1,
            auto_create_topics: false,
            segment_bytes: 64 * MIB,
            producer_id_expiration: Duration::from_hours(24),
            cleanup_interval: Duration::from_secs(15),
            group_initial_rebalance_delay: Duration::ZERO,
            limits: Limits::default(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if !self.listen.ip().is_loopback() {
            return Err(Error::NotLoopback { address: self.listen });
        }
        let limits = &self.limits;
        within(
            "default_partitions",
            self.default_partitions,
            1,
            10_000,
            "1 to 10,000",
        )?;
        within(
            "segment_bytes",
            self.segment_bytes,
            MIB,
            1024 * MIB,
            "1 MiB to 1 GiB",
        )?;
        within(
            "limits.request_bytes",
            limits.request_bytes,
            1024,
            1024 * MIB,
            "1 KiB to 1 GiB",
        )?;
        within(
            "limits.requests_bytes",
            limits.requests_bytes,
            limits.request_bytes,
            u32::MAX,
            "at least request_bytes",
        )?;
        within(
            "limits.fetch_bytes",
            limits.fetch_bytes,
            1024,
            1024 * MIB,
            "1 KiB to 1 GiB",
        )?;
        within(
            "limits.fetches_bytes",
            limits.fetches_bytes,
            limits.fetch_bytes,
            u32::MAX,
            "at least fetch_bytes",
        )?;
        within(
            "limits.connections",
            limits.connections,
            1,
            100_000,
            "1 to 100,000",
        )?;
        within("limits.in_flight", limits.in_flight, 1, 10_000, "1 to 10,000")
    }
}

fn within<T: PartialOrd + std::fmt::Display>(
    setting: &'static str,
    value: T,
    least: T,
    most: T,
    reason: &'static str,
) -> Result<(), Error> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err(Error::Setting {
        setting,
        value: value.to_string(),
        reason,
    })
}
