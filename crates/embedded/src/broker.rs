//! A running broker, from start to stop.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, thread};

use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Config, Error,
    faults::{Board, Faults},
    groups::coordinator::Coordinator,
    node::Node,
    server,
    storage::{
        disk::Disk,
        writer::{self, Job, Opened},
    },
};

/// A running broker. Dropping it stops its tasks too, without waiting for them.
#[derive(Debug)]
pub struct Broker {
    node: Arc<Node>,
    tasks: TaskTracker,
    thread: Option<thread::JoinHandle<()>>,
}

/// Opens the data directory, recovers what was acknowledged, and listens. It runs on the caller's tokio runtime.
///
/// # Errors
/// [`Error`]: the address is not loopback or taken, the directory is in use, of another format, or damaged.
pub async fn start(config: Config) -> Result<Broker, Error> {
    config.check()?;
    let disk = Arc::new(Disk::default());
    let opened = tokio::task::spawn_blocking({
        let (config, disk) = (config.clone(), Arc::clone(&disk));
        move || writer::start(&config, disk)
    });
    let Opened {
        cluster,
        topics,
        offsets,
        jobs,
        thread,
    } = match opened.await {
        Ok(opened) => opened?,
        Err(_) => {
            return Err(Error::Ended {
                directory: config.data_dir,
            });
        }
    };
    let listen = config.listen;
    let listening = TcpListener::bind(listen)
        .await
        .and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = match listening {
        Ok(listening) => listening,
        Err(source) => {
            join(config.data_dir, &jobs, thread).await?;
            return Err(Error::Listen {
                address: listen,
                source,
            });
        }
    };
    let tasks = TaskTracker::new();
    let stopping = CancellationToken::new();
    let node = Arc::new(Node {
        address,
        cluster,
        topics,
        groups: Coordinator::start(&config, (&offsets, jobs.clone()), &tasks, stopping.clone()),
        offsets,
        faults: Board::default(),
        disk,
        request_bytes: Arc::new(Semaphore::new(permits(config.limits.requests_bytes))),
        fetch_bytes: Arc::new(Semaphore::new(permits(config.limits.fetches_bytes))),
        stopping,
        jobs,
        config,
    });
    tasks.spawn(server::listener::serve(
        Arc::clone(&node),
        listener,
        tasks.clone(),
    ));
    tracing::warn!(%address, directory = %node.config.data_dir.display(), "embedded broker started: loopback only, not for production");
    Ok(Broker {
        node,
        tasks,
        thread: Some(thread),
    })
}

fn permits(bytes: u32) -> usize {
    usize::try_from(bytes)
        .unwrap_or(Semaphore::MAX_PERMITS)
        .min(Semaphore::MAX_PERMITS)
}

async fn join(
    directory: PathBuf,
    jobs: &std::sync::mpsc::Sender<Job>,
    thread: thread::JoinHandle<()>,
) -> Result<(), Error> {
    // A thread that is gone already shows in the join.
    drop(jobs.send(Job::Stop));
    match tokio::task::spawn_blocking(move || thread.join()).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Error::Ended { directory }),
    }
}

impl Broker {
    /// Where it listens, with the port that was taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.node.address
    }

    /// The handle that breaks this broker on order.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults::new(Arc::clone(&self.node))
    }

    /// Closes the listener and the connections, answers what is already in the log, and gives the directory back.
    ///
    /// # Errors
    /// [`Error::Ended`]: the log's thread had died before.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.node.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        match self.thread.take() {
            Some(thread) => join(self.node.config.data_dir.clone(), &self.node.jobs, thread).await,
            None => Ok(()),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.node.stopping.cancel();
        // After a stop the thread is gone, and this says nothing.
        drop(self.node.jobs.send(Job::Stop));
    }
}
