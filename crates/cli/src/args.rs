//! What the command line looks like.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands;
use crate::output::Format;

/// Events that obey a contract, are never lost, and keep their order: the layer over Apache Kafka.
#[derive(Debug, Parser)]
#[command(name = "evenkeel", version, arg_required_else_help = true)]
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
    /// Run the platform on this machine: broker, registry, health and metrics, on data.directory.
    Dev,
    /// Send on what applications that died left parked under data.directory; serve health and metrics.
    Worker(commands::worker::Options),
    /// Run the embedded broker by itself.
    Broker(commands::broker::Options),
    /// Is anything wrong? Cluster, registry, parked events, dead letters on one screen; exit 100 when something is.
    Status,
    /// List, show, create and delete topics.
    #[command(subcommand)]
    Topic(commands::topic::Verb),
    /// Create and list domains, the owners of contracts.
    #[command(subcommand)]
    Domain(commands::domain::Verb),
    /// Publish events from standard input, one JSON object a line, and print one receipt a line.
    Publish(commands::publish::Options),
    /// Print what lies on a topic, decoded.
    Tail(commands::tail::Options),
    /// List, show, hold and drain what is parked on this machine.
    #[command(subcommand)]
    Standby(commands::standby::Verb),
    /// List dead letters and send them on again.
    #[command(subcommand)]
    Dlq(commands::dlq::Verb),
    /// Publish through faults, and prove from the topics that nothing was lost, doubled or reordered; exit 100 otherwise.
    Verify(crate::verify::Options),
    /// One publisher of a `verify` run.
    #[command(hide = true)]
    VerifyPublisher {
        /// What it is told, as JSON.
        call: String,
    },
    /// Read and change contracts in the registry.
    #[command(subcommand)]
    Schema(commands::schema::Verb),
    /// Print settings.
    #[command(subcommand)]
    Config(commands::config::Verb),
    /// Print a completion script for a shell.
    Completions(commands::completions::Shell),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn no_command_has_two_arguments_of_one_name() {
        Arguments::command().debug_assert();
    }
}
