//! The publishers of a run: each is a process with a keeper, which starts it again when it was killed, and hands it what it
//! still owns.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use evenkeel::failpoint::Point;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::ledger::{Fate, Ledger};
use super::machine::{Change, Machine};
use super::process;
use super::publisher::{Call, machine_of};

/// Orders that wait for a keeper.
const ORDERS_MAX: usize = 64;
/// Most passes through a point of every event, and of every batch, before the one that ends the process.
const HITS_MAX: (u32, u32) = (300, 6);
/// Wait before an event of unknown fate is handed over again, and between looks at memory.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// What a keeper is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Publish these, in this order.
    Publish(Vec<u64>),
    /// Kill the process with SIGKILL.
    Kill,
    /// Send it a signal by its name.
    Signal(&'static str),
    /// Limit how large its files can grow, bytes; `None` lifts the limit.
    LimitFiles(Option<u64>),
    /// Something is wrong with its machine, or is mended.
    Machine(Change),
    /// Nothing is broken any more: end no process at a point.
    Spare,
}

/// The publishers of a run.
pub(super) struct Fleet {
    orders: Orders,
    tasks: JoinSet<Result<()>>,
}

/// Where publishers are told what to do.
#[derive(Clone)]
pub(super) struct Orders {
    keepers: Vec<mpsc::Sender<Order>>,
    /// Events without a final answer, by publisher.
    owned: Arc<Mutex<Vec<usize>>>,
}

/// One publisher's keeper.
struct Keeper {
    number: usize,
    call: Call,
    ledger: Arc<Mutex<Ledger>>,
    /// Handed over, and nothing final was said.
    owned: BTreeSet<u64>,
    counts: Arc<Mutex<Vec<usize>>>,
    unsure: Vec<u64>,
    points: Vec<Point>,
    random: StdRng,
    files_max: Option<u64>,
    machine: Machine,
    was_killed: bool,
}

struct Running {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

pub(super) fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fleet {
    /// Starts every publisher. `call` makes what each is told.
    pub(super) fn start(
        publishers: u64,
        call: impl Fn(u64) -> Call,
        points: &[Point],
        seed: u64,
        ledger: &Arc<Mutex<Ledger>>,
    ) -> Self {
        let mut orders_of = Vec::new();
        let mut tasks = JoinSet::new();
        let owned = Arc::new(Mutex::new(vec![0; usize::try_from(publishers).unwrap_or(0)]));
        for number in 0..publishers {
            let (orders, received) = mpsc::channel(ORDERS_MAX);
            let keeper = Keeper {
                number: usize::try_from(number).unwrap_or(usize::MAX),
                call: call(number),
                ledger: Arc::clone(ledger),
                owned: BTreeSet::new(),
                counts: Arc::clone(&owned),
                unsure: Vec::new(),
                points: points.to_vec(),
                random: StdRng::seed_from_u64(seed ^ (number << 32)),
                files_max: None,
                machine: Machine::default(),
                was_killed: false,
            };
            tasks.spawn(keeper.run(received));
            orders_of.push(orders);
        }
        let orders = Orders {
            keepers: orders_of,
            owned,
        };
        Self { orders, tasks }
    }

    /// Where to tell them what to do. [`Fleet::close`] waits until every copy is gone.
    pub(super) const fn orders(&self) -> &Orders {
        &self.orders
    }

    /// The first publisher that ended by itself, as an error; waits for one for ever.
    pub(super) async fn ended(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => anyhow!(error).context("a publisher's keeper ended"),
            Some(Ok(Ok(()))) | None => std::future::pending().await,
        }
    }

    /// Lets every publisher end in peace, and waits for all.
    pub(super) async fn close(mut self) -> Result<()> {
        self.orders.keepers.clear();
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a publisher's keeper ended")??;
        }
        Ok(())
    }
}

impl Orders {
    /// Tells one publisher.
    pub(super) async fn tell(&self, publisher: usize, order: Order) -> Result<()> {
        let keeper = self
            .keepers
            .get(publisher)
            .context("there is no such publisher")?;
        keeper
            .send(order)
            .await
            .map_err(|_| anyhow!("a publisher has ended"))
    }

    /// Tells every publisher.
    pub(super) async fn tell_all(&self, order: impl Fn() -> Order) -> Result<()> {
        for publisher in 0..self.keepers.len() {
            self.tell(publisher, order()).await?;
        }
        Ok(())
    }

    /// Does this to the machine of every publisher.
    pub(super) async fn change_machines(&self, change: Change) -> Result<()> {
        self.tell_all(|| Order::Machine(change)).await
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.keepers.len()
    }

    /// Events of one publisher without a final answer.
    pub(super) fn owned_by(&self, publisher: usize) -> usize {
        lock(&self.owned).get(publisher).copied().unwrap_or(0)
    }

    /// Events without a final answer.
    pub(super) fn owned(&self) -> usize {
        lock(&self.owned).iter().sum()
    }
}

impl Keeper {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) -> Result<()> {
        let mut running = self.start().await?;
        let mut again = tokio::time::interval(AGAIN_AFTER);
        again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                line = running.lines.next_line() => match line {
                    Ok(Some(line)) => self.heard(&line)?,
                    // It has ended: what it printed before is read.
                    Ok(None) | Err(_) => running = self.start_again(running).await?,
                },
                order = orders.recv() => match order {
                    Some(order) => self.carry_out(order, &mut running).await?,
                    None => return self.end(running).await,
                },
                _ = again.tick() => {
                    self.look(&running);
                    let unsure = std::mem::take(&mut self.unsure);
                    self.hand_over(&unsure, &mut running).await;
                }
            }
        }
    }

    async fn carry_out(&mut self, order: Order, running: &mut Running) -> Result<()> {
        match order {
            Order::Publish(numbers) => {
                self.owned.extend(&numbers);
                self.hand_over(&numbers, running).await;
            }
            Order::Kill => {
                self.was_killed = true;
                running
                    .child
                    .start_kill()
                    .context("a publisher cannot be killed")?;
            }
            Order::Signal(name) => {
                if let Some(pid) = running.child.id() {
                    process::signal(pid, name).await?;
                }
            }
            Order::LimitFiles(bytes) => {
                self.files_max = bytes;
                if let Some(pid) = running.child.id() {
                    process::limit_files(pid, bytes).await?;
                }
            }
            Order::Machine(change) => {
                self.machine.change(change);
                self.machine.write(&machine_of(&self.call.directory))?;
            }
            Order::Spare => self.points.clear(),
        }
        Ok(())
    }

    /// Writes the numbers to the process. One that is dead does not take them: it is started again with all it owns.
    async fn hand_over(&mut self, numbers: &[u64], running: &mut Running) {
        if numbers.is_empty() {
            return;
        }
        let mut lines = String::new();
        {
            let mut ledger = lock(&self.ledger);
            for number in numbers {
                ledger.hand_over(*number);
                lines.push_str(&number.to_string());
                lines.push('\n');
            }
        }
        self.count();
        // An error means that the process has ended, which its standard output tells too.
        drop(running.stdin.write_all(lines.as_bytes()).await);
    }

    fn count(&self) {
        if let Some(count) = lock(&self.counts).get_mut(self.number) {
            *count = self.owned.len();
        }
    }

    fn heard(&mut self, line: &str) -> Result<()> {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut numbers = rest.split(' ').filter_map(|word| word.parse::<u64>().ok());
            let (events, bytes) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
            lock(&self.ledger).parked(self.number, events, bytes);
            return Ok(());
        }
        let mut words = line.splitn(4, ' ');
        let event = words.next().and_then(|word| word.parse().ok());
        let event = event.with_context(|| format!("a publisher said \"{line}\""))?;
        let fate = match words.next() {
            Some("P") => Fate::Published,
            Some("K") => Fate::Parked,
            Some("D") => Fate::DeadLettered,
            Some("F") => Fate::Refused,
            Some("M") => {
                self.unsure.push(event);
                return Ok(());
            }
            _ => bail!("a publisher said \"{line}\""),
        };
        let micros = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        self.owned.remove(&event);
        self.count();
        let mut ledger = lock(&self.ledger);
        ledger.receipt(event, fate, micros);
        if let (Fate::Refused, Some(cause)) = (fate, words.next()) {
            ledger.refused(cause);
        }
        Ok(())
    }

    async fn start(&mut self) -> Result<Running> {
        self.call.failpoint = self.draw();
        let call = serde_json::to_string(&self.call)?;
        let mut command = process::evenkeel()?;
        let mut child = command
            .args(["verify-publisher", &call])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(process::log(&self.log())?)
            .kill_on_drop(true)
            .spawn()
            .context("a publisher cannot be started")?;
        let stdin = child.stdin.take().context("a publisher has no input")?;
        let stdout = child.stdout.take().context("a publisher has no output")?;
        if let (Some(bytes), Some(pid)) = (self.files_max, child.id()) {
            process::limit_files(pid, Some(bytes)).await?;
        }
        Ok(Running {
            child,
            stdin,
            lines: BufReader::new(stdout).lines(),
        })
    }

    /// Where the process writes its standard error.
    fn log(&self) -> PathBuf {
        self.call.directory.with_extension("log")
    }

    /// The point at which the next process ends.
    fn draw(&mut self) -> Option<(String, u32)> {
        if self.points.is_empty() {
            return None;
        }
        let drawn = self.random.random_range(0..self.points.len());
        let point = *self.points.get(drawn)?;
        let (of_events, of_batches) = HITS_MAX;
        let most = match point {
            Point::Validate | Point::Acknowledge => of_events,
            _ => of_batches,
        };
        Some((point.to_string(), self.random.random_range(1..=most)))
    }

    async fn start_again(&mut self, mut ended: Running) -> Result<Running> {
        let status = ended
            .child
            .wait()
            .await
            .context("a publisher cannot be waited for")?;
        let at_point = self.call.failpoint.is_some() && process::is_abort(status);
        let was_killed = std::mem::take(&mut self.was_killed);
        if !was_killed && !at_point {
            let said = std::fs::read_to_string(self.log()).unwrap_or_default();
            let last = said.lines().last().unwrap_or("nothing").to_owned();
            bail!(
                "publisher {} ended by itself ({status}); it said: {last}",
                self.number
            );
        }
        let point = self.call.failpoint.take().filter(|_| at_point);
        lock(&self.ledger).killed(self.number, point.map(|(name, _)| name));
        self.unsure.clear();
        let mut running = self.start().await?;
        let owned: Vec<u64> = self.owned.iter().copied().collect();
        self.hand_over(&owned, &mut running).await;
        Ok(running)
    }

    fn look(&self, running: &Running) {
        if let Some(bytes) = running.child.id().and_then(process::memory) {
            lock(&self.ledger).memory(self.number, bytes);
        }
    }

    /// Closes its input, and waits until it has ended; what it still says counts.
    async fn end(mut self, mut running: Running) -> Result<()> {
        drop(running.stdin);
        while let Ok(Some(line)) = running.lines.next_line().await {
            self.heard(&line)?;
        }
        let status = running
            .child
            .wait()
            .await
            .context("a publisher cannot be waited for")?;
        if !status.success() && !process::is_abort(status) {
            bail!("publisher {} ended badly: {status}", self.number);
        }
        Ok(())
    }
}
