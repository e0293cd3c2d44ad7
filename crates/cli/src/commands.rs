//! One file a noun.

pub(crate) mod broker;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod dev;
pub(crate) mod dlq;
pub(crate) mod domain;
pub(crate) mod publish;
pub(crate) mod schema;
pub(crate) mod standby;
pub(crate) mod status;
pub(crate) mod tail;
pub(crate) mod topic;
pub(crate) mod worker;

use std::future::Future;

use anyhow::{Context as _, Result};

use crate::args::{Arguments, Command};
use crate::config::load;
use crate::connect;
use crate::demo;
use crate::exit::Outcome;
use crate::verify;

/// Runs the command that was asked for.
pub(crate) fn run(arguments: Arguments) -> Result<Outcome> {
    let settings = || load(arguments.global.config.as_deref(), environment());
    match arguments.command {
        Command::Demo(options) => wait(demo::run(options, arguments.global.output, &settings()?)),
        Command::Broker(options) => wait(broker::run(options, &settings()?)),
        Command::Dev => wait(dev::run(arguments.global.output, &settings()?)),
        Command::Worker(options) => wait(worker::run(options, arguments.global.output, &settings()?)),
        Command::Domain(verb) => wait(domain::run(verb, arguments.global.output, &settings()?)),
        Command::Dlq(verb) => wait(dlq::run(verb, arguments.global.output, &settings()?)),
        Command::Standby(verb) => wait(standby::run(verb, arguments.global.output, &settings()?)),
        Command::Status => wait(status::run(arguments.global.output, &settings()?)),
        Command::Topic(verb) => wait(topic::run(verb, arguments.global.output, &settings()?)),
        Command::Tail(options) => wait(tail::run(options, arguments.global.output, &settings()?)),
        Command::Publish(options) => wait(publish::run(options, &settings()?)),
        Command::Verify(options) => wait(verify::run(options, arguments.global.output, &settings()?)),
        Command::VerifyPublisher { call } => {
            wait(verify::publisher::run(&call, connect::kafka(&settings()?.kafka)))
        }
        Command::Schema(verb) => schema::run(verb, arguments.global.output, &settings()?),
        Command::Config(verb) => config::run(verb, arguments.global.output, settings),
        Command::Completions(shell) => completions::run(&shell),
    }
}

/// The environment. A name that is no text names no setting.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
}

/// Runs a command that waits for the network on a runtime of its own.
fn wait<T>(command: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the system gives no threads for the program")?;
    runtime.block_on(command)
}
