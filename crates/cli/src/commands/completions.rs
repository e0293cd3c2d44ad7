//! `evenkeel completions`: scripts for shells.

use anyhow::Result;
use clap::{Args, CommandFactory as _};

use crate::args::Arguments;
use crate::exit::Outcome;
use crate::output::write_stdout;

#[derive(Debug, Args)]
pub(crate) struct Shell {
    /// The shell.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub(crate) fn run(shell: &Shell) -> Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(shell.shell, &mut Arguments::command(), "evenkeel", &mut script);
    write_stdout(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Fine)
}
