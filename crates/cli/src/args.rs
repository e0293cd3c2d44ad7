//! What the command line looks like.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands;
use crate::output::Format;

/// Events that obey a contract, are never lost, and keep their order: the layer over Apache Kafka.
#[derive(Debug, Parser)]
#[command(
    name = "evenkeel",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Configuration file; without it evenkeel.toml of the working directory, where there is one.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Form of the output.
    #[arg(short, long, global = true, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// Nouns; the verbs are theirs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Play the whole story on 512 real invoices, and prove from the topics that nothing was lost.
    Demo(crate::demo::Options),
    /// Run the embedded broker by itself.
    Broker(commands::broker::Options),
    /// List, show, create and delete topics.
    #[command(subcommand)]
    Topic(commands::topic::Verb),
    /// Publish events from standard input, one JSON object a line, and print one receipt a line.
    Publish(commands::publish::Options),
    /// Print what lies on a topic, decoded.
    Tail(commands::tail::Options),
    /// Read and change contracts in the registry.
    #[command(subcommand)]
    Schema(commands::schema::Verb),
    /// Print settings.
    #[command(subcommand)]
    Config(commands::config::Verb),
    /// Print a completion script for a shell.
    Completions(commands::completions::Shell),
}
