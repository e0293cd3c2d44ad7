//! `evenkeel dlq`: dead letters, and sending them on again.

mod choose;
mod ledgers;
mod list;
mod redrive;
mod show;

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Result, anyhow};
use clap::Subcommand;
use evenkeel_broker::Cluster;
use evenkeel_event::{TopicName, TopicPartition};
use evenkeel_worker::redrive::{Letter, read};

use crate::config::Settings;
use crate::connect;
use crate::exit::Outcome;
use crate::output::{Format, say};
pub(crate) use ledgers::Ledgers;

/// Letters of one topic that a command takes at a time.
pub(crate) const LETTERS_MAX: usize = 200_000;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List dead letters, oldest first.
    List(list::Options),
    /// Print one dead letter with its cause, headers and data.
    Show {
        /// The letter: DEAD-LETTER-TOPIC/PARTITION/OFFSET.
        id: LetterId,
    },
    /// Send letters on to the topic that they were bound for, once each; exit 100 when some are refused.
    Redrive(redrive::Options),
}

/// Where a letter lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LetterId {
    pub(super) partition: TopicPartition,
    pub(super) offset: i64,
}

impl FromStr for LetterId {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let [topic, partition, offset] = parts.as_slice() else {
            return Err(anyhow!("expected DEAD-LETTER-TOPIC/PARTITION/OFFSET"));
        };
        let number = |text: &str, what: &str| {
            let number = text.parse::<i64>().ok().filter(|number| *number >= 0);
            number.ok_or_else(|| anyhow!("the {what} \"{text}\" is no number from 0"))
        };
        let partition =
            i32::try_from(number(partition, "partition")?).context("the partition is too large")?;
        Ok(Self {
            partition: TopicPartition::new(TopicName::new(topic)?, partition),
            offset: number(offset, "offset")?,
        })
    }
}

impl fmt::Display for LetterId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TopicPartition { topic, partition } = &self.partition;
        write!(formatter, "{topic}/{partition}/{}", self.offset)
    }
}

impl LetterId {
    fn of(letter: &Letter) -> Self {
        Self {
            partition: letter.partition.clone(),
            offset: letter.offset,
        }
    }
}

pub(crate) async fn run(verb: Verb, format: Format, settings: &Settings) -> Result<Outcome> {
    let cluster = connect::cluster(settings).await?;
    match verb {
        Verb::List(options) => list::run(&cluster, &options, format, settings).await,
        Verb::Show { id } => show::run(&cluster, &id, format, settings).await,
        Verb::Redrive(options) => redrive::run(&cluster, options, format, settings).await,
    }
}

/// The cluster's dead-letter topics, by name.
pub(crate) async fn dead_letter_topics(cluster: &Cluster) -> Result<Vec<TopicName>> {
    let topics = cluster.topics().await.context("the topics cannot be listed")?;
    let names = topics.into_iter().map(|topic| topic.name);
    let mut names: Vec<TopicName> = names.filter(TopicName::is_dead_letter_topic).collect();
    names.sort();
    Ok(names)
}

/// The letters on `topic`; what lies there and is none is told on stderr.
async fn letters(cluster: &Cluster, topic: &TopicName) -> Result<Vec<Letter>> {
    let (letters, others) = read(cluster, topic, LETTERS_MAX)
        .await
        .with_context(|| format!("the dead letters on {topic} cannot be read"))?;
    if others > 0 {
        say!("warning: {others} records of {topic} are no dead letters and are left out");
    }
    Ok(letters)
}

/// What went wrong, as far as the letter says.
fn cause(letter: &Letter) -> &str {
    letter.diagnosis.code.as_deref().unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_and_written() {
        let id: LetterId = "shop.publish.dlt/2/17".parse().unwrap();
        assert_eq!((id.partition.partition, id.offset), (2, 17));
        assert_eq!(id.to_string(), "shop.publish.dlt/2/17");
        for (text, expected) in [
            ("shop.publish.dlt", "expected DEAD-LETTER-TOPIC/PARTITION/OFFSET"),
            ("a/b/c", "the partition \"b\" is no number"),
            ("a/1/-1", "the offset \"-1\" is no number"),
            ("a b/1/1", "holds ' '"),
        ] {
            let error = text.parse::<LetterId>().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
