//! Sends stamped batches: the primitive under everything that is published.
//!
//! What each answer means is decided by `flow`; this file only tells exactly what was seen. A batch's bytes are sent
//! as they are, any number of times, and land once.

use std::time::Duration;

use bytes::Bytes;
use evenkeel_event::{TopicId, TopicName, TopicPartition};
use evenkeel_flow::{Answer, Trouble};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{InitProducerIdRequest, ProduceRequest, ProduceResponse};

use crate::batch::HEADER_BYTES;
use crate::cluster::Cluster;
use crate::connection::wire;
use crate::error::Error;
use crate::produce_request::{self, NAMED_TOPICS_AT_MOST};

/// A batch for one partition, with its stamp.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Where it goes.
    pub partition: TopicPartition,
    /// The topic's identity; [`TopicId::UNKNOWN`] sends it by name, whatever the topic is now.
    pub topic_id: TopicId,
    /// The whole batch.
    pub bytes: Bytes,
    /// What goes in the place of the batch's own header, where its stamp is not in it; see
    /// [`stamped_header`](crate::batch::stamped_header).
    pub header: Option<[u8; HEADER_BYTES]>,
}

/// What became of one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The answer, for the machine that decides.
    pub answer: Answer,
    /// What the broker or the connection said, for people; empty when there is nothing to say.
    pub reason: String,
    /// Positions of records in the batch that the broker names as wrong (KIP-467), where it does.
    pub wrong_records: Vec<i32>,
}

/// What became of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// One per batch, in the order in which they were handed in.
    pub outcomes: Vec<Outcome>,
    /// How long the broker wants nothing more (quota). It is obeyed here; the caller may slow down earlier.
    pub throttle: Duration,
}

/// A producer's identity, as the cluster gave it; its epochs begin at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerId(pub i64);

impl Cluster {
    /// A producer id that nobody has had before (KIP-98, without a transactional id).
    ///
    /// # Errors
    /// Why no broker gave one.
    pub async fn init_producer_id(&self) -> Result<ProducerId, Error> {
        self.settled(|| self.init_once()).await
    }

    async fn init_once(&self) -> Result<ProducerId, Error> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(i32::MAX)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let response = self.ask(&request).await?;
        Error::check(response.error_code, "InitProducerId", "this producer", None)?;
        Ok(ProducerId(response.producer_id.0))
    }

    /// Sends `batches`, at most one per partition, to `leader` in one request (acks=all) and waits for the answers.
    ///
    /// Requests to one leader go over one connection in the order of the calls, as far as they are polled in that
    /// order; several may be under way.
    pub async fn send(&self, leader: i32, batches: &[Outgoing], timeout: Duration) -> Sent {
        match self.exchange_batches(leader, batches, timeout).await {
            Ok(response) => {
                let sent = read_response(batches, &response);
                if sent.outcomes.iter().any(|outcome| suspicious(outcome.answer)) {
                    self.suspect();
                }
                sent
            }
            Err(error) => {
                self.suspect();
                unanswered(batches, &error)
            }
        }
    }

    async fn exchange_batches(
        &self,
        leader: i32,
        batches: &[Outgoing],
        timeout: Duration,
    ) -> Result<ProduceResponse, Error> {
        let deadline = tokio::time::Instant::now() + timeout;
        let connection = tokio::time::timeout_at(deadline, self.connection(self.produce_pool(), leader))
            .await
            .map_err(|_| Error::TimedOut {
                address: format!("node {leader}"),
                request: "Produce",
                after: timeout,
                written: false,
            })??;
        let by_name = batches.iter().any(|batch| batch.topic_id == TopicId::UNKNOWN);
        let at_most = if by_name { NAMED_TOPICS_AT_MOST } else { i16::MAX };
        let version = connection.version::<ProduceRequest>(at_most)?;
        let unreadable = |reason| connection.protocol::<ProduceRequest>(reason);
        let frame =
            produce_request::encode(batches, version, timeout, connection.client_id()).map_err(unreadable)?;
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        let answer = connection.exchange_frame::<ProduceRequest>(frame, left).await?;
        let response = wire::decode::<ProduceRequest>(answer, version).map_err(unreadable)?;
        connection.throttle(throttle(response.throttle_time_ms));
        Ok(response)
    }
}

fn read_response(batches: &[Outgoing], response: &ProduceResponse) -> Sent {
    let outcomes = batches
        .iter()
        .map(|batch| match find(response, batch) {
            Some(answered) => Outcome {
                answer: Answer::from_code(answered.error_code, answered.base_offset),
                reason: reason(answered),
                wrong_records: answered
                    .record_errors
                    .iter()
                    .map(|error| error.batch_index)
                    .collect(),
            },
            // An answer that leaves a batch out says nothing about it.
            None => Outcome {
                answer: Answer::Unanswered {
                    trouble: Trouble::Other(-1),
                    may_have_landed: true,
                },
                reason: "the answer leaves this partition out".to_owned(),
                wrong_records: Vec::new(),
            },
        })
        .collect();
    Sent {
        outcomes,
        throttle: throttle(response.throttle_time_ms),
    }
}

fn find<'response>(
    response: &'response ProduceResponse,
    batch: &Outgoing,
) -> Option<&'response PartitionProduceResponse> {
    response
        .responses
        .iter()
        .filter(|topic| {
            topic.name.0.as_str() == batch.partition.topic.as_str()
                || (topic.name.0.is_empty() && topic.topic_id.as_bytes() == &batch.topic_id.0)
        })
        .flat_map(|topic| &topic.partition_responses)
        .find(|answered| answered.index == batch.partition.partition)
}

fn reason(answered: &PartitionProduceResponse) -> String {
    if answered.error_code == 0 {
        return String::new();
    }
    let name = kafka_protocol::ResponseError::try_from_code(answered.error_code)
        .map_or_else(|| "an unknown code".to_owned(), |known| format!("{known:?}"));
    let message = answered
        .error_message
        .as_ref()
        .map_or("", |message| message.as_str());
    format!("{name} ({}) {message}", answered.error_code)
        .trim_end()
        .to_owned()
}

fn unanswered(batches: &[Outgoing], error: &Error) -> Sent {
    // An answer that cannot be read came after the request was written.
    let may_have_landed = error.may_have_landed() || matches!(error, Error::Protocol { .. });
    let outcome = Outcome {
        answer: Answer::Unanswered {
            trouble: error.trouble(),
            may_have_landed,
        },
        reason: error.to_string(),
        wrong_records: Vec::new(),
    };
    Sent {
        outcomes: vec![outcome; batches.len()],
        throttle: match error {
            Error::Throttled { wait, .. } => *wait,
            _ => Duration::ZERO,
        },
    }
}

/// True for an answer that says that what is known of the cluster may be old.
const fn suspicious(answer: Answer) -> bool {
    matches!(
        answer,
        Answer::Unanswered {
            trouble: Trouble::Leaderless
                | Trouble::Disconnected
                | Trouble::TopicMissing
                | Trouble::StorageFailed,
            ..
        }
    )
}

pub(crate) fn throttle(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

impl Outgoing {
    /// A batch for `partition` of the topic `name`.
    #[must_use]
    pub fn new(name: TopicName, topic_id: TopicId, partition: i32, bytes: Bytes) -> Self {
        Self {
            partition: TopicPartition::new(name, partition),
            topic_id,
            bytes,
            header: None,
        }
    }
}
