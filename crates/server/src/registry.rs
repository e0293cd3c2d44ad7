//! A schema registry that speaks Confluent's REST API, for Avro, and knows who owns what.

mod candidate;
mod compare;
mod content;
mod decide;
mod error;
mod http;
mod records;
mod state;
mod write;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};

pub use error::Error;
pub use http::router;

use crate::domains::{Caller, Domains};
use crate::journal::{Journal, Replica};
use decide::{Answer, Write};
use http::Metrics;
use state::State;
use write::{Command, Core, WAITING_MAX};

/// Requests that are answered at a time; more are answered 503.
const REQUESTS_MAX: usize = 256;
/// Schemas that are parsed and compared at a time for readers; others wait.
const COMPUTING_MAX: usize = 4;
/// How long a record whose answer was lost is looked for in what is read.
const READ_BACK_PATIENCE: Duration = Duration::from_secs(2);

/// How a registry behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// A write without credentials belongs to the domain `anonymous` instead of being refused with 401.
    pub dev: bool,
    /// How long a caller waits for a write before it is answered 50002. The write itself goes on.
    pub write_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dev: false,
            write_timeout: Duration::from_secs(20),
        }
    }
}

/// The registry: state in memory, followed from the topic `_schemas`, and one task that writes.
#[derive(Debug)]
pub struct Registry {
    core: Arc<Core>,
    commands: mpsc::Sender<Command>,
    config: Config,
    metrics: Metrics,
    requests: Semaphore,
    computing: Semaphore,
}

impl Registry {
    /// Begins to follow the topic and answers at once; requests are answered 503 until [`Registry::loaded`]. Needs a tokio runtime.
    #[must_use]
    pub fn start(schemas: Arc<dyn Journal>, domains: Arc<Domains>, config: Config) -> Arc<Self> {
        let patience = config.write_timeout.min(READ_BACK_PATIENCE);
        let core = Arc::new(Core {
            schemas: Replica::follow(schemas),
            domains,
            patience,
        });
        let (commands, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(write::run(Arc::clone(&core), waiting));
        Arc::new(Self {
            core,
            commands,
            config,
            metrics: Metrics::default(),
            requests: Semaphore::new(REQUESTS_MAX),
            computing: Semaphore::new(COMPUTING_MAX),
        })
    }

    /// Waits until everything that was in the topics at the start is known.
    pub async fn loaded(&self) {
        self.core.schemas.loaded().await;
        self.core.domains.loaded().await;
    }

    /// True once everything that was in the topics at the start is known.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.core.schemas.is_loaded() && self.core.domains.is_loaded()
    }

    /// Does what takes long apart from the tasks that answer, a few at a time.
    async fn compute<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<R, Error> + Send + 'static,
    ) -> Result<Result<R, Error>, Error> {
        let _turn = self.computing.acquire().await.map_err(|_| Error::busy())?;
        tokio::task::spawn_blocking(work).await.map_err(|_| Error::busy())
    }

    fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        self.core.schemas.read(look)
    }

    /// Hands a write to the task that writes and waits for its answer.
    async fn write(&self, write: Write, caller: Caller) -> Result<Answer, Error> {
        let (reply, answered) = oneshot::channel();
        self.commands
            .try_send(Command { write, caller, reply })
            .map_err(|_| Error::busy())?;
        match tokio::time::timeout(self.config.write_timeout, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::timed_out("the registry is stopping")),
            Err(_) => Err(Error::timed_out("the topic has not answered yet")),
        }
    }
}

/// The key of records that mean nothing.
pub(crate) fn fence_key() -> Bytes {
    records::Key::Noop.to_bytes()
}

/// Serves a registry until `stop` is ready, and then finishes the requests that have begun.
///
/// # Errors
/// When connections can no longer be accepted.
pub async fn serve(
    listener: TcpListener,
    registry: Arc<Registry>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(registry))
        .with_graceful_shutdown(stop)
        .await
}
