//! The script that feeds `evenkeel publish`: it owns an event until its receipt is printed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::invoices::Invoice;
use crate::registry::EVENTS;

/// Longest wait for the next receipt, or for a process to end.
const PATIENCE: Duration = Duration::from_secs(90);

/// How `evenkeel publish` is called.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) bootstrap: String,
    pub(super) registry: String,
    pub(super) topic: String,
    pub(super) application: String,
    pub(super) park_after_ms: u64,
    /// Where everything is kept, from run to run.
    pub(super) directory: PathBuf,
}

/// A line that `evenkeel publish` printed.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Receipt {
    pub(super) id: Option<String>,
    pub(super) outcome: Outcome,
    pub(super) topic: Option<String>,
    pub(super) partition: Option<i32>,
    pub(super) offset: Option<i64>,
    pub(super) cause: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    Published,
    Parked,
    DeadLettered,
    Refused,
}

/// What the script knows of an event.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) invoice: Invoice,
    /// How often it was given to a process.
    pub(super) sent: usize,
    pub(super) receipt: Option<Receipt>,
}

/// The script.
pub(super) struct Script {
    call: Call,
    /// In the order in which they are sent, each time.
    pub(super) tasks: Vec<Task>,
    /// So many of them may be sent by now.
    pub(super) allowed: usize,
    /// So many may be without a receipt at a time.
    window: usize,
    /// From one to the next.
    pace: Duration,
    pub(super) kills: usize,
    runs: usize,
    process: Option<Process>,
}

/// A running `evenkeel publish`.
struct Process {
    child: Child,
    input: mpsc::UnboundedSender<String>,
    output: mpsc::UnboundedReceiver<String>,
    reading: JoinHandle<()>,
    /// The first task that it was not offered yet.
    next: usize,
    /// When the next may be given.
    due: Instant,
    unanswered: usize,
    answered: usize,
    errors: PathBuf,
}

impl Script {
    pub(super) fn new(call: Call, invoices: Vec<Invoice>, window: usize, pace: Duration) -> Self {
        let task = |invoice| Task {
            invoice,
            sent: 0,
            receipt: None,
        };
        Self {
            call,
            tasks: invoices.into_iter().map(task).collect(),
            allowed: 0,
            window,
            pace,
            kills: 0,
            runs: 0,
            process: None,
        }
    }

    /// Starts the process on what is still owned.
    pub(super) fn start(&mut self) -> Result<()> {
        self.runs += 1;
        let errors = self.call.directory.join(format!("run-{}.stderr", self.runs));
        self.process = Some(Process::spawn(&self.call, errors)?);
        Ok(())
    }

    /// Feeds and listens until the time is over.
    pub(super) async fn run_for(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let due = self.feed()?.unwrap_or(end).min(end);
            self.listen(due).await?;
        }
        Ok(())
    }

    /// Feeds and listens until the present process has printed `count` receipts, or there is nothing more to send.
    pub(super) async fn run_until_answered(&mut self, count: usize) -> Result<()> {
        let mut end = Instant::now() + PATIENCE;
        loop {
            let due = self.feed()?;
            let process = self.process.as_ref().context("nothing runs")?;
            if process.answered >= count || (process.unanswered == 0 && due.is_none()) {
                return Ok(());
            }
            ensure!(
                Instant::now() < end,
                "no receipt for {} s, {} events wait: {}",
                PATIENCE.as_secs(),
                process.unanswered,
                tail(&process.errors)
            );
            let answered = process.answered;
            self.listen(due.unwrap_or(end).min(end)).await?;
            if self
                .process
                .as_ref()
                .is_some_and(|process| process.answered > answered)
            {
                end = Instant::now() + PATIENCE;
            }
        }
    }

    /// Takes a receipt, or waits until `due`.
    async fn listen(&mut self, due: Instant) -> Result<()> {
        let process = self.process.as_mut().context("nothing runs")?;
        match timeout_at(due, process.output.recv()).await {
            Ok(Some(line)) => self.take(&line),
            Ok(None) => bail!("publish ended by itself: {}", tail(&process.errors)),
            Err(_) => Ok(()),
        }
    }

    /// kill -9. What it had printed by then counts.
    pub(super) async fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("nothing runs")?;
        process.child.kill().await?;
        self.kills += 1;
        self.listen_to_the_end(process).await?;
        Ok(())
    }

    /// Closes the input and waits until the process ends. Says whether anything is still parked.
    pub(super) async fn close(&mut self) -> Result<bool> {
        let mut process = self.process.take().context("nothing runs")?;
        // The feeding task ends with its channel, and closes the pipe.
        process.input = mpsc::unbounded_channel().0;
        let ended = timeout(PATIENCE, process.child.wait()).await;
        let status = ended.with_context(|| format!("publish does not end: {}", tail(&process.errors)))??;
        let errors = self.listen_to_the_end(process).await?;
        // 100: there are dead letters.
        ensure!(
            matches!(status.code(), Some(0 | 100)),
            "publish ended with {status}: {errors}"
        );
        Ok(errors.contains("are parked"))
    }

    /// How many events have no receipt.
    pub(super) fn owned(&self) -> usize {
        self.tasks.iter().filter(|task| task.receipt.is_none()).count()
    }

    /// Gives the process what it may have, in order. Says when the next may be given, if only its time has not come.
    fn feed(&mut self) -> Result<Option<Instant>> {
        let process = self.process.as_mut().context("nothing runs")?;
        while process.next < self.allowed && process.unanswered < self.window {
            let task = &mut self.tasks[process.next];
            if task.receipt.is_none() {
                if Instant::now() < process.due {
                    return Ok(Some(process.due));
                }
                process.due = Instant::now() + self.pace;
                task.sent += 1;
                process.unanswered += 1;
                // A process that has ended shows when it is listened to.
                process.input.send(task.invoice.ndjson()).ok();
            }
            process.next += 1;
        }
        Ok(None)
    }

    fn take(&mut self, line: &str) -> Result<()> {
        let receipt: Receipt = serde_json::from_str(line).with_context(|| format!("no receipt: {line}"))?;
        let of = |task: &&mut Task| Some(&task.invoice.number) == receipt.id.as_ref();
        let task = self.tasks.iter_mut().find(of);
        let task = task.with_context(|| format!("a receipt for what was never sent: {line}"))?;
        ensure!(task.receipt.is_none(), "a second receipt: {line}");
        ensure!(receipt.outcome != Outcome::Refused, "refused: {line}");
        task.receipt = Some(receipt);
        if let Some(process) = &mut self.process {
            process.unanswered -= 1;
            process.answered += 1;
        }
        Ok(())
    }

    /// Takes what an ended process printed; gives what it complained about.
    async fn listen_to_the_end(&mut self, mut process: Process) -> Result<String> {
        (&mut process.reading).await?;
        while let Ok(line) = process.output.try_recv() {
            self.take(&line)?;
        }
        Ok(tail(&process.errors))
    }
}

impl Process {
    fn spawn(call: &Call, errors: PathBuf) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command
            .args(["publish", &call.topic])
            .args(EVENTS.iter().flat_map(|event| ["--event", event]))
            .current_dir(&call.directory)
            .env("EVENKEEL_KAFKA__BROKERS", &call.bootstrap)
            .env("EVENKEEL_REGISTRY__URL", &call.registry)
            .env("EVENKEEL_PUBLISH__APPLICATION", &call.application)
            .env("EVENKEEL_PUBLISH__PARK_AFTER_MS", call.park_after_ms.to_string())
            .env("EVENKEEL_TOPICS__PARTITIONS", "4")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&errors)?)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().context("stdin is piped")?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let (input, mut lines) = mpsc::unbounded_channel::<String>();
        tokio::spawn(async move {
            while let Some(line) = lines.recv().await {
                // A killed process reads no more.
                if stdin.write_all(line.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
        let (told, output) = mpsc::unbounded_channel();
        Ok(Self {
            child,
            input,
            output,
            reading: tokio::spawn(read(stdout, told)),
            next: 0,
            due: Instant::now(),
            unanswered: 0,
            answered: 0,
            errors,
        })
    }
}

/// Reads whole lines; what a killed process left of one is none.
async fn read(stdout: ChildStdout, told: mpsc::UnboundedSender<String>) {
    let mut stdout = BufReader::new(stdout);
    let mut line = String::new();
    while let Ok(bytes) = stdout.read_line(&mut line).await {
        if bytes == 0 || !line.ends_with('\n') {
            return;
        }
        // The script may have given up.
        told.send(std::mem::take(&mut line)).ok();
    }
}

fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
