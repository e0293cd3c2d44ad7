//! A fault proxy for Kafka clusters: it stands between clients and brokers and breaks the connection in the ways that
//! networks and brokers break.
//!
//! Clients connect to the addresses that a cluster advertises, so a plain TCP proxy is left behind after the first answer. This
//! one opens a port of its own for every broker and puts it into each answer that carries an address (Metadata,
//! FindCoordinator, DescribeCluster, and the new leaders in Produce and Fetch, KIP-951). Versions that it cannot rewrite are
//! taken out of the answer to ApiVersions.
//!
//! ```text
//! client ──> 127.0.0.1:p1 ──[cut, hang, delay, drop]──> broker 1
//!        ──> 127.0.0.1:p2 ──[cut, hang, delay, drop]──> broker 2
//! ```
//!
//! It speaks to plaintext listeners and binds to loopback alone. It trusts the cluster behind it and is meant for tests and
//! demonstrations.

mod faults;
mod frame;
mod listen;
mod relay;
mod rewrite;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use faults::Faults;
use listen::Listener;

/// Most brokers that one proxy stands before.
const BROKERS_MAX: usize = 64;

/// An API of the Kafka protocol, by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Api(pub i16);

impl Api {
    /// Append batches to partitions.
    pub const PRODUCE: Self = Self(0);
    /// Read batches from partitions.
    pub const FETCH: Self = Self(1);
    /// Ask for offsets by time.
    pub const LIST_OFFSETS: Self = Self(2);
    /// Ask for brokers, topics and leaders.
    pub const METADATA: Self = Self(3);
    /// Commit a group's offsets.
    pub const OFFSET_COMMIT: Self = Self(8);
    /// Ask for a group's offsets.
    pub const OFFSET_FETCH: Self = Self(9);
    /// Ask for a group's coordinator.
    pub const FIND_COORDINATOR: Self = Self(10);
    /// Join a group.
    pub const JOIN_GROUP: Self = Self(11);
    /// Keep a group's membership alive.
    pub const HEARTBEAT: Self = Self(12);
    /// Learn a member's partitions.
    pub const SYNC_GROUP: Self = Self(14);
    /// Ask what the broker can do.
    pub const API_VERSIONS: Self = Self(18);
    /// Create topics.
    pub const CREATE_TOPICS: Self = Self(19);
    /// Ask for a producer's identity.
    pub const INIT_PRODUCER_ID: Self = Self(22);
    /// Ask for the brokers of the cluster.
    pub const DESCRIBE_CLUSTER: Self = Self(60);
}

/// Why a proxy did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address of a broker cannot be resolved.
    #[error("{address} is no address of a broker: {reason}")]
    Address {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No port of 127.0.0.1 can be opened for a broker.
    #[error("no port of 127.0.0.1 can be opened to stand before the broker at {upstream}: {source}")]
    Bind {
        /// The broker.
        upstream: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// A running fault proxy. Everything passes until a fault is ordered; dropping it closes all ports and connections.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    bootstrap: String,
}

impl Proxy {
    /// Stands before the cluster at `upstream`: `host:port`, with commas between when there are several. Brokers that are not
    /// named are stood before when an answer first names them. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When an address cannot be resolved or no port can be opened.
    pub fn start(upstream: &str) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            faults: watch::Sender::default(),
            brokers: Mutex::default(),
        });
        let proxy = |address: &str| Ok(shared.stand_before(resolve(address)?)?.to_string());
        let bootstrap = upstream
            .split(',')
            .map(proxy)
            .collect::<Result<Vec<String>, Error>>()?
            .join(",");
        Ok(Self { shared, bootstrap })
    }

    /// The addresses to give to clients, in the order of the brokers that were named at the start.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Closes all connections and refuses new ones. When it returns, nothing reaches any broker any more; what was held back
    /// by a delay or a hang is lost.
    pub async fn cut(&self) {
        self.order(|faults| faults.cut_all = true).await;
    }

    /// Cuts one broker off, as [`Proxy::cut`] does all. Takes effect when an answer has named this broker's address.
    pub async fn cut_broker(&self, node_id: i32) {
        self.order(|faults| faults.cut_nodes.insert(node_id)).await;
    }

    /// Lets one broker be reached again that was cut off by itself.
    pub async fn restore_broker(&self, node_id: i32) {
        self.order(|faults| faults.cut_nodes.remove(&node_id)).await;
    }

    /// Ends every fault. When it returns, every port takes connections; what a hang held back goes on.
    pub async fn restore(&self) {
        self.order(Faults::clear).await;
    }

    /// Takes connections and passes nothing on, in both directions, as a half-open connection does. What arrives meanwhile is
    /// held, and passes after [`Proxy::restore`], also when its client has closed the connection by then.
    pub async fn hang(&self) {
        self.order(|faults| faults.hung = true).await;
    }

    /// Holds every request and every answer back for this long, each way. The order stays.
    pub async fn delay(&self, each_way: Duration) {
        self.order(|faults| faults.delay = each_way).await;
    }

    /// Lets the next `times` requests of this API reach the broker, swallows their answers and closes their connections.
    pub async fn drop_responses(&self, api: Api, times: usize) {
        self.order(|faults| faults.drops.insert(api, times)).await;
    }

    /// How many answers were swallowed so far.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.shared.faults.borrow().dropped
    }

    /// Changes the faults and waits until every port knows.
    async fn order<R>(&self, change: impl FnOnce(&mut Faults) -> R) {
        let mut revision = 0;
        self.shared.faults.send_modify(|faults| {
            change(faults);
            faults.revision += 1;
            revision = faults.revision;
        });
        let applied: Vec<_> = self
            .shared
            .brokers()
            .values()
            .map(|broker| broker.applied.clone())
            .collect();
        for mut port in applied {
            // A port whose task has ended passes nothing.
            drop(port.wait_for(|known| *known >= revision).await);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        for broker in self.shared.brokers().values() {
            broker.task.abort();
        }
    }
}

/// What the ports and connections of a proxy share.
#[derive(Debug)]
struct Shared {
    faults: watch::Sender<Faults>,
    /// By the address of the broker.
    brokers: Mutex<BTreeMap<SocketAddr, Broker>>,
}

/// A port that stands before a broker.
#[derive(Debug)]
struct Broker {
    local: SocketAddr,
    /// The revision of the faults that this port has put into effect.
    applied: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Shared {
    fn brokers(&self) -> std::sync::MutexGuard<'_, BTreeMap<SocketAddr, Broker>> {
        self.brokers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The port that stands before this broker, opened when there is none yet.
    fn stand_before(self: &Arc<Self>, upstream: SocketAddr) -> Result<SocketAddr, Error> {
        let mut brokers = self.brokers();
        if let Some(broker) = brokers.get(&upstream) {
            return Ok(broker.local);
        }
        if brokers.len() >= BROKERS_MAX {
            let source = io::Error::other(format!("it stands before {BROKERS_MAX} brokers already"));
            return Err(Error::Bind { upstream, source });
        }
        let listener = Listener::open(upstream).map_err(|source| Error::Bind { upstream, source })?;
        let local = listener.local();
        let (tell, applied) = watch::channel(0);
        let task = tokio::spawn(listener.run(Arc::clone(self), tell));
        brokers.insert(upstream, Broker { local, applied, task });
        Ok(local)
    }

    /// The address that clients are told instead of a broker's own.
    fn advertise(self: &Arc<Self>, node_id: i32, host: &str, port: i32) -> Result<SocketAddr, Error> {
        let upstream = resolve(&format!("{host}:{port}"))?;
        let local = self.stand_before(upstream)?;
        self.faults
            .send_if_modified(|faults| faults.nodes.insert(node_id, upstream) != Some(upstream));
        Ok(local)
    }

    /// Waits until nothing hangs.
    async fn passable(&self) {
        // The sender lives in `self`.
        drop(self.faults.subscribe().wait_for(|faults| !faults.hung).await);
    }
}

/// One broker has one address here, whatever names it goes by: IPv4 is preferred, as brokers on loopback listen there.
fn resolve(address: &str) -> Result<SocketAddr, Error> {
    let refused = |reason: String| Error::Address {
        address: address.to_owned(),
        reason,
    };
    let mut found: Vec<SocketAddr> = address
        .trim()
        .to_socket_addrs()
        .map_err(|error| refused(error.to_string()))?
        .collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found
        .first()
        .copied()
        .ok_or_else(|| refused("no such host".to_owned()))
}
