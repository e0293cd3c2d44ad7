//! `evenkeel tail`: what lies on a topic, decoded.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use evenkeel_broker::Cluster;
use evenkeel_broker::batch::RecordView;
use evenkeel_broker::fetch::{At, Piece, Until};
use evenkeel_event::clock::Timestamp;
use evenkeel_event::{TopicName, TopicPartition};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::config::Settings;
use crate::connect;
use crate::decode::Decoder;
use crate::exit::Outcome;
use crate::output::{Format, print_next, say, write_stdout};
use crate::record_line::RecordLine;
use crate::registry::Registry;

/// Pieces that are read ahead of what is printed.
const PIECES_AHEAD: usize = 4;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The topic.
    topic: TopicName,
    /// Where to begin: beginning, end, an offset, or a time (RFC 3339).
    #[arg(long, default_value = "end", value_parser = from)]
    from: From,
    /// Where to stop: end is what was there when the command began; without it the command goes on.
    #[arg(long, value_enum)]
    to: Option<To>,
    /// Only this partition.
    #[arg(long)]
    partition: Option<i32>,
}

#[derive(Debug, Clone, Copy)]
enum From {
    Place(At),
    Offset(i64),
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum To {
    /// The end as it was when the command began.
    End,
}

/// One record as it is printed.
#[derive(Debug, Serialize)]
struct Line {
    partition: i32,
    offset: i64,
    timestamp: String,
    #[serde(flatten)]
    event: RecordLine,
}

pub(crate) async fn run(options: Options, format: Format, settings: &Settings) -> Result<Outcome> {
    let cluster = connect::cluster(settings).await?;
    let topic = cluster.topic(&options.topic).await?;
    let (sender, mut pieces) = mpsc::channel(PIECES_AHEAD);
    let chosen: Vec<i32> = topic
        .partitions
        .iter()
        .map(|partition| partition.index)
        .filter(|index| options.partition.is_none_or(|partition| partition == *index))
        .collect();
    if chosen.is_empty() {
        return Err(anyhow!(
            "{} has no partition {}",
            options.topic,
            options.partition.unwrap_or_default()
        ));
    }
    for index in chosen {
        let partition = TopicPartition::new(options.topic.clone(), index);
        let until = if options.to.is_some() {
            Until::End
        } else {
            Until::Forever
        };
        tokio::spawn(read(
            cluster.clone(),
            partition,
            options.from,
            until,
            sender.clone(),
        ));
    }
    drop(sender);
    let registry = Arc::new(Registry::new(settings));
    tokio::task::spawn_blocking(move || {
        let mut decoder = Decoder::new(registry);
        while let Some(piece) = pieces.blocking_recv() {
            let (partition, piece) = piece?;
            print(partition, &piece, format, &mut decoder)?;
        }
        Ok(Outcome::Fine)
    })
    .await
    .context("printing stopped early")?
}

async fn read(
    cluster: Cluster,
    partition: TopicPartition,
    from: From,
    until: Until,
    sender: mpsc::Sender<Result<(i32, Piece)>>,
) {
    let index = partition.partition;
    let failed = |error| Err(anyhow::Error::new(error).context(format!("{partition} cannot be read")));
    let range = match from {
        From::Place(at) => cluster.read(partition.clone(), at, until).await,
        From::Offset(offset) => cluster.read_from(partition.clone(), offset, until).await,
    };
    let mut range = match range {
        Ok(range) => range,
        // The receiver is gone only when the command has ended.
        Err(error) => return drop(sender.send(failed(error)).await),
    };
    loop {
        let piece = match range.next().await {
            Ok(Some(piece)) => Ok((index, piece)),
            Ok(None) => return,
            Err(error) => failed(error),
        };
        let ended = piece.is_err();
        if sender.send(piece).await.is_err() || ended {
            return;
        }
    }
}

fn print(partition: i32, piece: &Piece, format: Format, decoder: &mut Decoder) -> Result<()> {
    if let Piece::Unreadable(unreadable) = piece {
        say!(
            "partition {partition}: offsets {} to {} cannot be read: {}",
            unreadable.base_offset,
            unreadable.last_offset,
            unreadable.reason
        );
    }
    for record in piece.records() {
        print_record(partition, &record, format, decoder)?;
    }
    Ok(())
}

fn print_record(
    partition: i32,
    record: &RecordView<'_>,
    format: Format,
    decoder: &mut Decoder,
) -> Result<()> {
    let line = Line {
        partition,
        offset: record.offset,
        timestamp: record.timestamp.to_rfc3339(),
        event: RecordLine::of(record, decoder)?,
    };
    match format {
        Format::Json | Format::Yaml => print_next(format, &line),
        Format::Table => write_stdout(&short(&line)),
    }
}

fn short(line: &Line) -> String {
    format!(
        "{}@{} {} {}\n",
        line.partition,
        line.offset,
        line.timestamp,
        line.event.short()
    )
}

fn from(text: &str) -> Result<From> {
    Ok(match text {
        "beginning" => From::Place(At::Earliest),
        "end" => From::Place(At::Latest),
        other => match (other.parse::<i64>(), Timestamp::parse_rfc3339(other)) {
            (Ok(offset), _) if offset >= 0 => From::Offset(offset),
            (_, Some(time)) => From::Place(At::Time(time)),
            _ => {
                return Err(anyhow!(
                    "expected beginning, end, an offset from 0, or a time such as 2010-12-01T08:26:00Z"
                ));
            }
        },
    })
}
