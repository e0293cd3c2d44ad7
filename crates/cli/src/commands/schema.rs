//! `evenkeel schema`: the contracts in the registry.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::Settings;
use crate::exit::Outcome;
use crate::output::{Format, Tabular, print_document, print_list, say, write_stdout};
use crate::registry::{Refused, Registry, encoded};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List subjects with their latest version.
    List,
    /// Print a version of a schema.
    Show(Show),
    /// Add a version to a subject; the first to do so owns it.
    Register(Candidate),
    /// Ask whether a schema could be registered; exit 100 and the reasons when it could not.
    Check(Candidate),
    /// Print or set the compatibility level of a subject.
    Compatibility(Compatibility),
    /// Delete a subject or one version of it.
    Delete(Delete),
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The subject, for example orders-value.
    subject: String,
    /// The version; without it the latest.
    #[arg(long)]
    version: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Candidate {
    /// The subject, for example orders-value.
    subject: String,
    /// File with the Avro schema; - reads standard input.
    #[arg(long, short)]
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Compatibility {
    /// The subject.
    subject: String,
    /// The level to set.
    #[arg(value_enum, ignore_case = true)]
    level: Option<Level>,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The subject.
    subject: String,
    /// Only this version.
    #[arg(long)]
    version: Option<u32>,
    /// For good; it must have been deleted without this before.
    #[arg(long)]
    permanent: bool,
    /// Do it; without this only the plan is printed.
    #[arg(long)]
    execute: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    None,
    Backward,
    BackwardTransitive,
    Forward,
    ForwardTransitive,
    Full,
    FullTransitive,
}

impl Level {
    fn as_confluent(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Backward => "BACKWARD",
            Self::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Self::Forward => "FORWARD",
            Self::ForwardTransitive => "FORWARD_TRANSITIVE",
            Self::Full => "FULL",
            Self::FullTransitive => "FULL_TRANSITIVE",
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Version {
    subject: String,
    version: u32,
    id: u32,
    #[serde(skip_serializing)]
    schema: String,
}

impl Tabular for Version {
    const COLUMNS: &'static [&'static str] = &["subject", "version", "id"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.subject.clone(),
            self.version.to_string(),
            self.id.to_string(),
        ]
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Verdict {
    is_compatible: bool,
    #[serde(default)]
    messages: Vec<String>,
}

pub(crate) fn run(verb: Verb, format: Format, settings: &Settings) -> Result<Outcome> {
    let registry = Registry::new(settings);
    match verb {
        Verb::List => list(&registry, format),
        Verb::Show(show) => {
            let version = latest(&registry, &show.subject, show.version)?;
            let schema: Value =
                serde_json::from_str(&version.schema).context("the registry's schema is not JSON")?;
            write_stdout(&(serde_json::to_string_pretty(&schema)? + "\n"))?;
            Ok(Outcome::Fine)
        }
        Verb::Register(candidate) => register(&registry, &candidate, format),
        Verb::Check(candidate) => check(&registry, &candidate, format),
        Verb::Compatibility(compatibility) => level(&registry, &compatibility, format),
        Verb::Delete(delete) => self::delete(&registry, &delete, format),
    }
}

fn list(registry: &Registry, format: Format) -> Result<Outcome> {
    let subjects: Vec<String> = registry.get("/subjects")?;
    let versions = subjects
        .iter()
        .map(|subject| latest(registry, subject, None))
        .collect::<Result<Vec<_>>>()?;
    print_list(format, &versions)?;
    Ok(Outcome::Fine)
}

fn latest(registry: &Registry, subject: &str, version: Option<u32>) -> Result<Version> {
    let version = version.map_or_else(|| "latest".to_owned(), |version| version.to_string());
    registry.get(&format!("/subjects/{}/versions/{version}", encoded(subject)))
}

fn register(registry: &Registry, candidate: &Candidate, format: Format) -> Result<Outcome> {
    let path = format!("/subjects/{}/versions", encoded(&candidate.subject));
    let answer: Value = registry
        .post(&path, &json!({"schema": text(&candidate.file)?}))
        .with_context(|| format!("the schema was not registered under {}", candidate.subject))?;
    print_document(format, &answer)?;
    Ok(Outcome::Fine)
}

fn check(registry: &Registry, candidate: &Candidate, format: Format) -> Result<Outcome> {
    let path = format!(
        "/compatibility/subjects/{}/versions?verbose=true",
        encoded(&candidate.subject)
    );
    let verdict = match registry.post::<Verdict>(&path, &json!({"schema": text(&candidate.file)?})) {
        Err(error)
            if error
                .downcast_ref::<Refused>()
                .is_some_and(|refused| refused.code == 42_201) =>
        {
            Verdict {
                is_compatible: false,
                messages: vec![format!("{error:#}")],
            }
        }
        other => other?,
    };
    print_document(format, &verdict)?;
    Ok(if verdict.is_compatible {
        Outcome::Fine
    } else {
        Outcome::Findings
    })
}

fn level(registry: &Registry, compatibility: &Compatibility, format: Format) -> Result<Outcome> {
    let path = format!("/config/{}", encoded(&compatibility.subject));
    let answer: Value = match compatibility.level {
        Some(level) => registry.put(&path, &json!({"compatibility": level.as_confluent()}))?,
        None => registry.get(&format!("{path}?defaultToGlobal=true"))?,
    };
    print_document(format, &answer)?;
    Ok(Outcome::Fine)
}

fn delete(registry: &Registry, delete: &Delete, format: Format) -> Result<Outcome> {
    let subject = encoded(&delete.subject);
    let versions: Vec<u32> = match delete.version {
        Some(version) => vec![version],
        None => registry.get(&format!(
            "/subjects/{subject}/versions?deleted={}",
            delete.permanent
        ))?,
    };
    if !delete.execute {
        say!(
            "would delete {} of {}{}; add --execute to do it",
            plural(versions.len(), "version"),
            delete.subject,
            if delete.permanent { " for good" } else { "" }
        );
        print_document(format, &versions)?;
        return Ok(Outcome::Fine);
    }
    let path = match delete.version {
        Some(version) => format!("/subjects/{subject}/versions/{version}"),
        None => format!("/subjects/{subject}"),
    };
    let answer: Value = registry.delete(&format!("{path}?permanent={}", delete.permanent))?;
    print_document(format, &answer)?;
    Ok(Outcome::Fine)
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

fn text(file: &Path) -> Result<String> {
    let text = if file == Path::new("-") {
        std::io::read_to_string(std::io::stdin()).context("standard input cannot be read as text")?
    } else {
        std::fs::read_to_string(file)
            .with_context(|| format!("the schema file {} cannot be read", file.display()))?
    };
    if text.trim().is_empty() {
        bail!("the schema file {} is empty", file.display());
    }
    Ok(text)
}
