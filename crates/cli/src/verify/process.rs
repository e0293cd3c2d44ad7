//! Processes that a run starts, signals and looks at.

use std::fs::{File, OpenOptions};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

/// The number of SIGABRT, with which a process ends at a point.
const SIGABRT: i32 = 6;

/// This program once more.
pub(super) fn evenkeel() -> Result<Command> {
    let path = std::env::current_exe().context("the program does not know where it is")?;
    Ok(Command::new(path))
}

/// A file that a process's standard error is added to.
pub(super) fn log(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("{} cannot be written", path.display()))
}

/// The process ended itself at once, as at a point.
pub(super) fn is_abort(status: ExitStatus) -> bool {
    status.signal() == Some(SIGABRT)
}

/// Sends a signal by its name without SIG.
pub(super) async fn signal(pid: u32, name: &str) -> Result<()> {
    run(Command::new("kill").args([&format!("-{name}"), &pid.to_string()])).await
}

/// Limits how large the files of a process can grow, bytes.
pub(super) async fn limit_files(pid: u32, bytes: Option<u64>) -> Result<()> {
    let soft = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
    let mut command = Command::new("prlimit");
    run(command.args([&format!("--pid={pid}"), &format!("--fsize={soft}:unlimited")])).await
}

/// Runs a command that has to end well.
pub(super) async fn run(command: &mut Command) -> Result<()> {
    let shown = format!("{:?}", command.as_std());
    let output = command
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| format!("{shown} cannot be run"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{shown} failed ({}): {}", output.status, said.trim());
    }
    Ok(())
}

/// Memory that a process has in use, bytes; `None` where the system does not say it the way Linux does.
pub(super) fn memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes << 10)
}
