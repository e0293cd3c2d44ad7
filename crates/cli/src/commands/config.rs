//! `evenkeel config`: what can be set, and what is set here.

use anyhow::{Context as _, Result};
use clap::Subcommand;

use crate::config::{DEFAULTS, Settings};
use crate::exit::Outcome;
use crate::output::{Format, print_document, write_stdout};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Print every setting with its default, unit and meaning, as a configuration file.
    Default,
    /// Print the settings in force, secrets hidden.
    Show,
}

pub(crate) fn run(verb: Verb, format: Format, settings: impl Fn() -> Result<Settings>) -> Result<Outcome> {
    match verb {
        Verb::Default => write_stdout(DEFAULTS)?,
        Verb::Show => match format {
            Format::Table => {
                write_stdout(
                    &toml::to_string(&settings()?).context("the settings cannot be written as TOML")?,
                )?;
            }
            other => print_document(other, &settings()?)?,
        },
    }
    Ok(Outcome::Fine)
}
