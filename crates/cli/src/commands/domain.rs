//! `evenkeel domain`: the business areas that own subjects, kept in the topic `_evenkeel`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Subcommand;
use evenkeel_broker::Cluster;
use evenkeel_event::clock::{SystemClock, Timestamp};
use evenkeel_server::domains::{Domains, Error, Token};
use evenkeel_server::platform::{self, Topics};
use serde::Serialize;
use serde_json::json;

use crate::config::Settings;
use crate::connect;
use crate::exit::{Outcome, usage};
use crate::output::{Format, Tabular, print_document, print_list, say, write_stdout};

/// Longest wait for the topic to be read.
const LOAD_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Create a domain and print its first token, which is shown this once.
    Create {
        /// The name: lower-case letters, digits, - and _, a letter first.
        name: String,
        /// It may change what belongs to no domain, such as the registry's global compatibility level.
        #[arg(long)]
        admin: bool,
    },
    /// List domains.
    List,
    /// Make another token for a domain and print it, this once.
    Token {
        /// The domain.
        name: String,
    },
}

#[derive(Debug, Serialize)]
struct Row {
    domain: String,
    admin: bool,
    tokens: usize,
    subjects: Vec<String>,
    created: String,
}

impl Tabular for Row {
    const COLUMNS: &'static [&'static str] = &["domain", "admin", "tokens", "subjects", "created"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.domain.clone(),
            if self.admin { "yes" } else { "no" }.to_owned(),
            self.tokens.to_string(),
            self.subjects.len().to_string(),
            self.created.clone(),
        ]
    }
}

pub(crate) async fn run(verb: Verb, format: Format, settings: &Settings) -> Result<Outcome> {
    let cluster = connect::cluster(settings).await?;
    let topics = internal_topics(settings)?;
    match verb {
        Verb::List => {
            let rows = match cluster.topic_anew(&topics.evenkeel).await {
                // Nobody has created a domain on this cluster, and a look at it does not change that.
                Err(error) if error.is_topic_missing() => Vec::new(),
                found => {
                    found.with_context(|| format!("the topic {} cannot be read", topics.evenkeel))?;
                    rows(&*follow(&cluster, &topics).await?)
                }
            };
            print_list(format, &rows)?;
        }
        Verb::Create { name, admin } => {
            let created = follow(&cluster, &topics).await?.create(&name, admin).await;
            let token = created.map_err(|error| match error {
                Error::InvalidName { .. } => usage(error),
                _ => error.into(),
            })?;
            show(format, &name, &token)?;
        }
        Verb::Token { name } => {
            let token = follow(&cluster, &topics).await?.add_token(&name).await?;
            show(format, &name, &token)?;
        }
    }
    Ok(Outcome::Fine)
}

/// Names of the platform's own topics.
pub(crate) fn internal_topics(settings: &Settings) -> Result<Topics> {
    Topics::with_prefix(&settings.kafka.internal_topic_prefix, settings.topics.replication)
        .context("kafka.internal_topic_prefix makes no topic names")
}

/// The domains as they are now; makes their topic where it is missing.
pub(crate) async fn follow(cluster: &Cluster, topics: &Topics) -> Result<Arc<Domains>> {
    let clock = Arc::new(SystemClock::default());
    let domains = platform::domains(cluster, topics, clock)
        .await
        .with_context(|| format!("the topic {} cannot be used", topics.evenkeel))?;
    tokio::time::timeout(LOAD_WITHIN, domains.loaded())
        .await
        .map_err(|_| {
            anyhow!(
                "the topic {} was not read within {} s",
                topics.evenkeel,
                LOAD_WITHIN.as_secs()
            )
        })?;
    Ok(domains)
}

fn rows(domains: &Domains) -> Vec<Row> {
    domains.read(|state| {
        let row = |(name, domain): (&str, &evenkeel_server::domains::Domain)| Row {
            domain: name.to_owned(),
            admin: domain.is_admin(),
            tokens: domain.tokens().count(),
            subjects: state.subjects(name).map(str::to_owned).collect(),
            created: Timestamp::from_millis(domain.created_at_ms()).to_rfc3339(),
        };
        state.domains().map(row).collect()
    })
}

/// Prints a token. This is the only time that it is shown.
fn show(format: Format, domain: &str, token: &Token) -> Result<()> {
    say!(
        "the token of \"{domain}\" is shown this once; keep it as EVENKEEL_REGISTRY__TOKEN, with EVENKEEL_REGISTRY__DOMAIN={domain}"
    );
    match format {
        Format::Table => write_stdout(&format!("{}\n", token.reveal())),
        other => print_document(other, &json!({"domain": domain, "token": token.reveal()})),
    }
}
