//! One file a noun.

pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod schema;

use anyhow::Result;

use crate::args::{Arguments, Command};
use crate::config::load;
use crate::exit::Outcome;

/// Runs the command that was asked for.
pub(crate) fn run(arguments: Arguments) -> Result<Outcome> {
    let settings = || load(arguments.global.config.as_deref(), std::env::vars());
    match arguments.command {
        Command::Schema(verb) => schema::run(verb, arguments.global.output, &settings()?),
        Command::Config(verb) => config::run(verb, arguments.global.output, settings),
        Command::Completions(shell) => completions::run(&shell),
    }
}
