//! `evenkeel topic`: topics of the cluster.

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, Subcommand};
use evenkeel_broker::admin::{NewTopic, Resource};
use evenkeel_broker::fetch::At;
use evenkeel_broker::{Cluster, Topic};
use evenkeel_event::{TopicName, TopicPartition};
use serde::Serialize;

use crate::config::Settings;
use crate::connect;
use crate::exit::Outcome;
use crate::output::{Format, Tabular, print_document, print_list, say};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List topics.
    List {
        /// Kafka's own topics too.
        #[arg(long)]
        internal: bool,
    },
    /// Show a topic's partitions and the settings that differ from the defaults.
    Show {
        /// The topic.
        topic: TopicName,
    },
    /// Create a topic.
    Create(Create),
    /// Change settings of a topic.
    Set {
        /// The topic.
        topic: TopicName,
        /// A setting; without a value (NAME=) it goes back to the default.
        #[arg(value_name = "NAME=VALUE", value_parser = pair, required = true)]
        settings: Vec<(String, String)>,
    },
    /// Delete a topic and every record in it.
    Delete {
        /// The topic.
        topic: TopicName,
        /// Do it; without this only the plan is printed.
        #[arg(long)]
        execute: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The topic.
    topic: TopicName,
    /// Partitions; without it topics.partitions of the settings.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Replicas; without it topics.replication of the settings.
    #[arg(long, value_parser = clap::value_parser!(i16).range(1..))]
    replication: Option<i16>,
    /// A setting of the topic; may be repeated.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    settings: Vec<(String, String)>,
}

#[derive(Debug, Serialize)]
struct Row {
    topic: String,
    partitions: usize,
    replication: usize,
    under_replicated: usize,
    leaderless: usize,
}

impl Tabular for Row {
    const COLUMNS: &'static [&'static str] = &[
        "topic",
        "partitions",
        "replication",
        "under replicated",
        "leaderless",
    ];

    fn cells(&self) -> Vec<String> {
        let numbers = [
            self.partitions,
            self.replication,
            self.under_replicated,
            self.leaderless,
        ];
        std::iter::once(self.topic.clone())
            .chain(numbers.iter().map(ToString::to_string))
            .collect()
    }
}

#[derive(Debug, Serialize)]
struct Details {
    topic: String,
    partitions: Vec<Partition>,
    settings: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Serialize)]
struct Partition {
    partition: i32,
    leader: Option<i32>,
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
    first_offset: Option<i64>,
    end_offset: Option<i64>,
}

pub(crate) async fn run(verb: Verb, format: Format, settings: &Settings) -> Result<Outcome> {
    let cluster = connect::cluster(settings).await?;
    match verb {
        Verb::List { internal } => {
            let topics = cluster.topics().await.context("the topics cannot be listed")?;
            let rows: Vec<Row> = topics
                .iter()
                .filter(|topic| internal || !topic.internal)
                .map(row)
                .collect();
            print_list(format, &rows)?;
        }
        Verb::Show { topic } => print_document(format, &details(&cluster, &topic).await?)?,
        Verb::Create(create) => {
            let name = create.topic.clone();
            let topic = NewTopic {
                name: create.topic,
                partitions: create.partitions.unwrap_or(settings.topics.partitions),
                replication: create.replication.unwrap_or(settings.topics.replication),
                configs: create.settings,
            };
            cluster
                .create_topic(&topic)
                .await
                .with_context(|| format!("topic {name} was not created"))?;
            print_document(format, &details(&cluster, &name).await?)?;
        }
        Verb::Set { topic, settings } => {
            let changes: Vec<(&str, Option<&str>)> = settings
                .iter()
                .map(|(name, value)| {
                    (
                        name.as_str(),
                        Some(value.as_str()).filter(|value| !value.is_empty()),
                    )
                })
                .collect();
            cluster
                .change_settings(&topic, &changes)
                .await
                .with_context(|| format!("the settings of {topic} were not changed"))?;
            print_document(format, &details(&cluster, &topic).await?)?;
        }
        Verb::Delete { topic, execute } => delete(&cluster, &topic, execute, format).await?,
    }
    Ok(Outcome::Fine)
}

fn row(topic: &Topic) -> Row {
    Row {
        topic: topic.name.to_string(),
        partitions: topic.partitions.len(),
        replication: topic
            .partitions
            .first()
            .map_or(0, |partition| partition.replicas.len()),
        under_replicated: topic
            .partitions
            .iter()
            .filter(|partition| partition.in_sync.len() < partition.replicas.len())
            .count(),
        leaderless: topic
            .partitions
            .iter()
            .filter(|partition| partition.leader.is_none())
            .count(),
    }
}

async fn details(cluster: &Cluster, name: &TopicName) -> Result<Details> {
    let topic = cluster.topic_anew(name).await?;
    let mut partitions = Vec::with_capacity(topic.partitions.len());
    for partition in &topic.partitions {
        let place = TopicPartition::new(name.clone(), partition.index);
        partitions.push(Partition {
            partition: partition.index,
            leader: partition.leader,
            replicas: partition.replicas.clone(),
            in_sync: partition.in_sync.clone(),
            first_offset: offset(cluster, &place, At::Earliest).await,
            end_offset: offset(cluster, &place, At::Latest).await,
        });
    }
    let own = cluster.settings(&Resource::Topic(name.clone()), &[]).await?;
    let settings = own
        .into_iter()
        .filter(|setting| setting.own && !setting.sensitive)
        .map(|setting| (setting.name, setting.value.into()))
        .collect();
    Ok(Details {
        topic: name.to_string(),
        partitions,
        settings,
    })
}

/// The offset, or nothing when the partition cannot tell it now: the rest of the topic is still worth showing.
async fn offset(cluster: &Cluster, partition: &TopicPartition, at: At) -> Option<i64> {
    cluster.offset(partition, at).await.ok()?.offset
}

async fn delete(cluster: &Cluster, topic: &TopicName, execute: bool, format: Format) -> Result<()> {
    let details = details(cluster, topic).await?;
    if execute {
        cluster
            .delete_topic(topic)
            .await
            .with_context(|| format!("topic {topic} was not deleted"))?;
        say!("deleted {topic}");
        return Ok(());
    }
    say!("would delete {topic} with every record in it; add --execute to do it");
    print_document(format, &details)
}

fn pair(text: &str) -> Result<(String, String)> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| anyhow!("expected NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}
