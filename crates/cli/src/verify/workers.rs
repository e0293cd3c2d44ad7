//! `evenkeel worker` beside the publishers of a run: what those leave parked in the store that all share is drained by it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::process::{Child, Command};

use super::process;
use crate::output::say;
use crate::shared_standby;

/// Longest wait until nothing is parked. Leases of two processes may have to run out, one after the other.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between looks at that.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Where workers find what they drain.
#[derive(Debug, Clone)]
pub(super) struct Post {
    pub(super) brokers: Vec<String>,
    pub(super) application: String,
    /// The store's address.
    pub(super) standby: String,
    pub(super) directory: PathBuf,
}

/// The workers of a run.
#[derive(Debug, Default)]
pub(super) struct Workers {
    post: Option<Post>,
    children: Vec<Child>,
    /// Which one is killed next.
    turn: usize,
}

impl Workers {
    /// Starts so many; none without a store that is shared.
    pub(super) fn start(count: usize, post: Option<Post>) -> Result<Self> {
        let mut workers = Self {
            post,
            ..Self::default()
        };
        if workers.post.is_some() {
            for number in 0..count {
                let child = workers.spawn(number)?;
                workers.children.push(child);
            }
        }
        Ok(workers)
    }

    fn spawn(&self, number: usize) -> Result<Child> {
        let post = self.post.as_ref().context("there is no store to be drained")?;
        let directory = post.directory.join(format!("worker-{number}"));
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("{} cannot be made", directory.display()))?;
        let mut command: Command = process::evenkeel()?;
        command
            .args(["worker", "--listen", "127.0.0.1:0"])
            .env("EVENKEEL_KAFKA__BROKERS", post.brokers.join(","))
            .env("EVENKEEL_STANDBY__URL", &post.standby)
            .env("EVENKEEL_PUBLISH__APPLICATION", &post.application)
            .env("EVENKEEL_DATA__DIRECTORY", &directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(process::log(&directory.with_extension("log"))?)
            .kill_on_drop(true);
        command.spawn().context("a worker cannot be started")
    }

    /// kill -9 of one of them, in turn; it is started again.
    pub(super) async fn kill_one(&mut self) -> Result<()> {
        let number = self.turn % self.children.len().max(1);
        self.turn += 1;
        let child = self.children.get_mut(number).context("there is no worker")?;
        child.kill().await.context("a worker cannot be killed")?;
        let again = self.spawn(number)?;
        if let Some(child) = self.children.get_mut(number) {
            *child = again;
        }
        Ok(())
    }

    /// Waits until nothing is parked.
    pub(super) async fn await_drained(&mut self) -> Result<()> {
        let post = self.post.clone().context("there is no store to be drained")?;
        let store = shared_standby::open(&post.standby, &post.application, u64::MAX).await?;
        let begun = Instant::now();
        loop {
            let left: u64 = store.open_places().await?.iter().map(|place| place.events).sum();
            if left == 0 {
                say!(
                    "          nothing is parked after {:.1} s",
                    begun.elapsed().as_secs_f64()
                );
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!("{left} events are parked still after {} s", PATIENCE.as_secs());
            }
            for child in &mut self.children {
                if let Some(status) = child.try_wait().context("a worker cannot be looked at")? {
                    bail!("a worker ended by itself ({status})");
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends them all.
    pub(super) async fn close(mut self) -> Result<()> {
        for child in &mut self.children {
            child.kill().await.context("a worker cannot be ended")?;
        }
        Ok(())
    }
}
