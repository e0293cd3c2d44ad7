use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A Python 3 interpreter that has `confluent_kafka` (with Avro and the registry client) and `fastavro`.
///
/// The environment variable `EVENKEEL_TEST_PYTHON` names one that is there already; otherwise `scripts/python/venv` makes one
/// in the user's cache. `None` when it cannot be had, after saying so.
///
/// # Panics
/// With `CI=true`, when it cannot be had.
#[must_use]
pub fn python_or_skip() -> Option<PathBuf> {
    if let Some(python) = std::env::var_os("EVENKEEL_TEST_PYTHON") {
        return Some(python.into());
    }
    match printed_path(script("python/venv"), &[]) {
        Ok(python) => Some(python),
        Err(reason) => skipped(&format!("no Python environment: {reason}")),
    }
}

/// The program `kcat` (Debian's package of that name). `None` when it is not installed, after saying so.
///
/// # Panics
/// With `CI=true`, when it is not installed.
#[must_use]
pub fn kcat_or_skip() -> Option<PathBuf> {
    if runs("kcat", "-V") {
        Some("kcat".into())
    } else {
        skipped("kcat is not installed")
    }
}

/// The command `node`, with `kafkajs` to be required. `scripts/node/modules` installs that in the user's cache. `None` when
/// it cannot be had, after saying so.
///
/// # Panics
/// With `CI=true`, when it cannot be had.
#[must_use]
pub fn node_or_skip() -> Option<Command> {
    match printed_path(script("node/modules"), &[]) {
        Ok(modules) => {
            let mut command = Command::new("node");
            command.env("NODE_PATH", modules);
            Some(command)
        }
        Err(reason) => skipped(&format!("no Node client: {reason}")),
    }
}

/// The script that runs Apache Kafka's console tools, the tool's name its first argument. `None` when Kafka's jars cannot
/// be had, after saying so.
///
/// # Panics
/// With `CI=true`, when they cannot be had.
#[must_use]
pub fn console_or_skip() -> Option<PathBuf> {
    if !runs("java", "-version") {
        return skipped("Java is not installed");
    }
    match printed_path(script("kafka/fetch"), &["4.3.0"]) {
        Ok(_) => Some(script("kafka/console")),
        Err(reason) => skipped(&format!("no console tools: {reason}")),
    }
}

/// Says that a test cannot run here and why; always `None`, so that it ends a chain.
///
/// # Panics
/// With `CI=true`: there, every test must run.
pub fn skipped<T>(reason: &str) -> Option<T> {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "nothing may be skipped in CI: {reason}"
    );
    // The test harness swallows what the print macros of a passing test say; this line must be seen.
    std::io::stderr()
        .write_all(format!("SKIPPED: {reason}\n").as_bytes())
        .expect("stderr can be written");
    None
}

/// Whether the program can be started and ends well with this one argument.
pub(crate) fn runs(program: &str, argument: &str) -> bool {
    let status = Command::new(program)
        .arg(argument)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// A script of the repository.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../scripts")
        .join(name)
}

/// Runs a program that prints a path, and returns it, or what the program complained about.
pub(crate) fn printed_path(program: impl AsRef<OsStr>, arguments: &[&str]) -> Result<PathBuf, String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && !said.is_empty() {
        return Ok(said.into());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
