#![doc = include_str!("../README.md")]
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod args;
mod commands;
mod config;
mod connect;
mod decode;
mod demo;
mod exit;
mod hosted_registry;
mod output;
mod parked_look;
mod record_line;
mod registry;
mod sdk;
mod shared_standby;
mod standby;
mod topic_reader;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(
            std::env::var_os("NO_COLOR").is_none() && std::io::IsTerminal::is_terminal(&std::io::stderr()),
        )
        .with_env_filter(log_filter())
        // A log on a full disk must not end the program that keeps events safe.
        .log_internal_errors(false)
        .init();
    exit::code(commands::run(arguments))
}

/// `EVENKEEL_LOG` as `tracing`'s directives, for example `info` or `evenkeel=debug`; warnings without it.
fn log_filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::try_from_env("EVENKEEL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"))
}
