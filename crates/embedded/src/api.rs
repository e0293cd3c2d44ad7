//! Requests: checked, decoded, answered. One file for each.

mod alter_configs;
mod api_versions;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod init_producer_id;
mod join_group;
mod leader_epoch;
mod leave_group;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod produce;
mod refusal;
mod subjects;
mod sync_group;

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    ResponseError,
    messages::{
        AlterConfigsRequest, ApiKey, ApiVersionsRequest, CreatePartitionsRequest, CreateTopicsRequest,
        DeleteGroupsRequest, DeleteRecordsRequest, DeleteTopicsRequest, DescribeClusterRequest,
        DescribeConfigsRequest, DescribeGroupsRequest, DescribeLogDirsRequest, FetchRequest,
        FindCoordinatorRequest, HeartbeatRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest,
        JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, ListOffsetsRequest, MetadataRequest,
        OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest,
        ProduceRequest, RequestHeader, ResponseHeader, SyncGroupRequest,
    },
    protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes},
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    faults::Fate,
    node::Node,
    server::frame::Frame,
    wire::{
        scan::{Malformed, Walk},
        shapes::{self, Shape},
    },
};

/// A request that closes its connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("it could not be read: {0}")]
    Frame(io::Error),
    #[error("{0}")]
    Header(Malformed),
    #[error("api key {0} version {1} is not taken")]
    Unknown(i16, i16),
    #[error("{key:?} version {version}: {reason}")]
    Malformed {
        key: ApiKey,
        version: i16,
        reason: Malformed,
    },
    #[error("{key:?} version {version}: {reason}")]
    Undecodable {
        key: ApiKey,
        version: i16,
        reason: String,
    },
    #[error("a fault closes the connections of {0:?}")]
    Fault(ApiKey),
}

/// A request that is sound as far as its lengths go, and not begun.
#[derive(Debug)]
pub(crate) struct Asked {
    call: Call,
    body: Bytes,
    /// Whether its version is one that is taken.
    is_taken: bool,
    share: OwnedSemaphorePermit,
}

/// A request that waits for its turn to be answered.
#[derive(Debug)]
pub(crate) struct Work {
    call: Call,
    ask: Ask,
    /// Its share of the memory for requests, given back when it is answered.
    _share: OwnedSemaphorePermit,
}

/// Who asks, and in which version.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    key: ApiKey,
    pub(crate) version: i16,
    correlation: i32,
    pub(crate) client: StrBytes,
    /// What faults make of it.
    fate: Option<Box<Fate>>,
    /// When it may be answered, if a fault delays it.
    due: Option<Instant>,
}

impl Call {
    /// The error that a fault answers a topic with, or a partition of it.
    pub(crate) fn refuses(&self, topic: &str, partition: Option<i32>) -> Option<ResponseError> {
        self.fate.as_ref()?.refuses(topic, partition)
    }

    /// How long a fault asks the client to write nothing.
    fn throttle(&self) -> Duration {
        self.fate.as_ref().map_or(Duration::ZERO, |fate| fate.throttle)
    }

    fn throttle_ms(&self) -> i32 {
        i32::try_from(self.throttle().as_millis()).unwrap_or(i32::MAX)
    }

    /// The error that a fault answers the whole request with.
    fn refuses_whole(&self) -> Option<ResponseError> {
        self.fate.as_ref()?.refuses_whole()
    }
}

#[derive(Debug)]
enum Ask {
    /// In the log's hands already.
    Produce(produce::Pending),
    /// A version of ApiVersions that is not known.
    Versions,
    Body(Bytes),
}

/// An answer as it goes out.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) bytes: BytesMut,
    /// Its share of the memory for fetched records, given back when it is sent.
    _share: Option<OwnedSemaphorePermit>,
}

/// A request whose lengths are sound, undecided.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) shape: &'static Shape,
    pub(crate) version: i16,
    /// Whether its version is one that is taken.
    pub(crate) is_taken: bool,
    header: RequestHeader,
    pub(crate) body: Bytes,
}

/// Walks a request, up to so many elements, and reads its header.
pub(crate) fn open(bytes: Bytes, elements: u32) -> Result<Opened, Refused> {
    let (key, version) = key_and_version(&bytes).ok_or(Refused::Header(Malformed::Short("the header")))?;
    let shape = shapes::of(key).ok_or(Refused::Unknown(key, version))?;
    let is_taken = (shape.versions.0..=shape.versions.1).contains(&version);
    if !is_taken && shape.key != ApiKey::ApiVersions {
        return Err(Refused::Unknown(key, version));
    }
    let (header, body) = walk(shape, version, is_taken, bytes, elements)?;
    Ok(Opened {
        shape,
        version,
        is_taken,
        header,
        body,
    })
}

/// Checks a request, and lets the faults decide on it.
pub(crate) fn check(node: &Node, frame: Frame) -> Result<Asked, Refused> {
    let Frame { bytes, share } = frame;
    let Opened {
        shape,
        version,
        is_taken,
        header,
        body,
    } = open(bytes, node.config.limits.request_elements)?;
    let client = header.client_id.unwrap_or_default();
    let call = Call {
        key: shape.key,
        version,
        correlation: header.correlation_id,
        client,
        fate: None,
        due: None,
    };
    let mut asked = Asked {
        call,
        body,
        is_taken,
        share,
    };
    asked.meet_faults(node)?;
    Ok(asked)
}

impl Asked {
    fn meet_faults(&mut self, node: &Node) -> Result<(), Refused> {
        let call = &mut self.call;
        let subjects = || subjects::of(node, call.key, call.version, &self.body);
        let Some(fate) = node.faults.decide(call.key as i16, &call.client, subjects) else {
            return Ok(());
        };
        if fate.closes {
            return Err(Refused::Fault(call.key));
        }
        call.due = (!fate.delay.is_zero()).then(|| Instant::now() + fate.delay);
        call.fate = Some(fate);
        Ok(())
    }

    /// How long nothing is read from its connection, by a fault.
    pub(crate) fn throttle(&self) -> Duration {
        self.call.throttle()
    }

    /// Waits while a fault holds it.
    pub(crate) async fn hold(&self, node: &Node) {
        if let Some(fate) = &self.call.fate {
            node.faults.hold(fate).await;
        }
    }
}

/// Begins what need not wait for its turn.
pub(crate) fn accept(node: &Node, asked: Asked) -> Result<Work, Refused> {
    let Asked {
        call,
        body,
        is_taken,
        share,
    } = asked;
    let ask = match call.key {
        ApiKey::Produce => Ask::Produce(produce::submit(node, &call, decode(&call, body)?)),
        ApiKey::ApiVersions if !is_taken => Ask::Versions,
        _ => Ask::Body(body),
    };
    Ok(Work {
        call,
        ask,
        _share: share,
    })
}

fn key_and_version(bytes: &[u8]) -> Option<(i16, i16)> {
    let (key, rest) = bytes.split_first_chunk()?;
    let (version, _) = rest.split_first_chunk()?;
    Some((i16::from_be_bytes(*key), i16::from_be_bytes(*version)))
}

/// Walks header and body before anything is decoded.
fn walk(
    shape: &Shape,
    version: i16,
    is_taken: bool,
    mut bytes: Bytes,
    elements: u32,
) -> Result<(RequestHeader, Bytes), Refused> {
    let malformed = |reason| Refused::Malformed {
        key: shape.key,
        version,
        reason,
    };
    let flexible = version >= shape.flexible;
    let mut walk = Walk::new(&bytes, elements);
    let walked = walk.header(flexible && is_taken);
    walked.map_err(malformed)?;
    let body_bytes = walk.rest().len();
    if is_taken {
        walk.body(shape, version).map_err(malformed)?;
    }
    let mut header = bytes.split_to(bytes.len() - body_bytes);
    let header_version = if flexible && is_taken { 2 } else { 1 };
    let header =
        RequestHeader::decode(&mut header, header_version).map_err(|error| Refused::Undecodable {
            key: shape.key,
            version,
            reason: error.to_string(),
        })?;
    Ok((header, bytes))
}

fn decode<R: Request>(call: &Call, mut body: Bytes) -> Result<R, Refused> {
    let Call { key, version, .. } = *call;
    R::decode(&mut body, version).map_err(|error| Refused::Undecodable {
        key,
        version,
        reason: error.to_string(),
    })
}

/// Answers a request; `None` when it asked for no answer.
pub(crate) async fn answer(
    node: &Node,
    work: Work,
    closed: &CancellationToken,
) -> io::Result<Option<Answer>> {
    let Work { call, ask, _share } = work;
    let answer = answer_in_turn(node, &call, ask, closed).await?;
    if call.fate.as_ref().is_some_and(|fate| fate.loses_answer) {
        return Err(io::Error::other("a fault loses the answer"));
    }
    if let Some(due) = call.due {
        tokio::select! {
            () = sleep_until(due) => {}
            () = closed.cancelled() => {}
        }
    }
    Ok(answer)
}

async fn answer_in_turn(
    node: &Node,
    call: &Call,
    ask: Ask,
    closed: &CancellationToken,
) -> io::Result<Option<Answer>> {
    match ask {
        Ask::Produce(pending) => match pending.answer(node).await {
            Some(response) => {
                let response = response.with_throttle_time_ms(call.throttle_ms());
                encode::<ProduceRequest>(call, &response).map(Some)
            }
            None => Ok(None),
        },
        Ask::Versions => {
            let call = Call {
                version: 0,
                ..call.clone()
            };
            encode::<ApiVersionsRequest>(&call, &api_versions::unsupported()).map(Some)
        }
        Ask::Body(body) => answer_body(node, call, body, closed).await.map(Some),
    }
}

async fn answer_body(
    node: &Node,
    call: &Call,
    body: Bytes,
    closed: &CancellationToken,
) -> io::Result<Answer> {
    if let Some(error) = call.refuses_whole()
        && let Some(answer) = refusal::answer(call, body.clone(), error)?
    {
        return Ok(answer);
    }
    match call.key {
        ApiKey::ApiVersions => encode::<ApiVersionsRequest>(call, &api_versions::answer()),
        ApiKey::Metadata => {
            encode::<MetadataRequest>(call, &metadata::answer(node, call, read(call, body)?).await)
        }
        ApiKey::CreateTopics => {
            encode::<CreateTopicsRequest>(call, &create_topics::answer(node, call, read(call, body)?).await)
        }
        ApiKey::DeleteTopics => {
            encode::<DeleteTopicsRequest>(call, &delete_topics::answer(node, call, read(call, body)?).await)
        }
        ApiKey::CreatePartitions => encode::<CreatePartitionsRequest>(
            call,
            &create_partitions::answer(node, call, read(call, body)?).await,
        ),
        ApiKey::AlterConfigs => {
            encode::<AlterConfigsRequest>(call, &alter_configs::replace(node, read(call, body)?).await)
        }
        ApiKey::IncrementalAlterConfigs => encode::<IncrementalAlterConfigsRequest>(
            call,
            &alter_configs::edit(node, read(call, body)?).await,
        ),
        ApiKey::DeleteRecords => {
            encode::<DeleteRecordsRequest>(call, &delete_records::answer(node, call, read(call, body)?).await)
        }
        ApiKey::InitProducerId => {
            encode::<InitProducerIdRequest>(call, &init_producer_id::answer(node, read(call, body)?).await)
        }
        ApiKey::Fetch => {
            let (response, share) = fetch::answer(node, call, read(call, body)?, closed).await;
            let response = response.with_throttle_time_ms(call.throttle_ms());
            let answer = encode::<FetchRequest>(call, &response)?;
            Ok(Answer {
                _share: share,
                ..answer
            })
        }
        ApiKey::ListOffsets => {
            encode::<ListOffsetsRequest>(call, &list_offsets::answer(node, call, read(call, body)?).await)
        }
        ApiKey::OffsetForLeaderEpoch => {
            encode::<OffsetForLeaderEpochRequest>(call, &leader_epoch::answer(node, call, &read(call, body)?))
        }
        ApiKey::FindCoordinator => {
            encode::<FindCoordinatorRequest>(call, &find_coordinator::answer(node, call, read(call, body)?))
        }
        ApiKey::DescribeConfigs => {
            encode::<DescribeConfigsRequest>(call, &describe_configs::answer(node, read(call, body)?))
        }
        ApiKey::DescribeCluster => {
            encode::<DescribeClusterRequest>(call, &describe_cluster::answer(node, &read(call, body)?))
        }
        ApiKey::DescribeLogDirs => {
            encode::<DescribeLogDirsRequest>(call, &describe_log_dirs::answer(node, &read(call, body)?))
        }
        _ => answer_group(node, call, body, closed).await,
    }
}

async fn answer_group(
    node: &Node,
    call: &Call,
    body: Bytes,
    closed: &CancellationToken,
) -> io::Result<Answer> {
    match call.key {
        ApiKey::JoinGroup => encode::<JoinGroupRequest>(
            call,
            &join_group::answer(node, call, read(call, body)?, closed).await,
        ),
        ApiKey::SyncGroup => {
            encode::<SyncGroupRequest>(call, &sync_group::answer(node, read(call, body)?, closed).await)
        }
        ApiKey::Heartbeat => encode::<HeartbeatRequest>(call, &heartbeat::answer(node, &read(call, body)?)),
        ApiKey::LeaveGroup => {
            encode::<LeaveGroupRequest>(call, &leave_group::answer(node, call, read(call, body)?))
        }
        ApiKey::OffsetCommit => {
            encode::<OffsetCommitRequest>(call, &offset_commit::answer(node, call, read(call, body)?).await)
        }
        ApiKey::OffsetFetch => {
            encode::<OffsetFetchRequest>(call, &offset_fetch::answer(node, call, read(call, body)?))
        }
        ApiKey::OffsetDelete => {
            encode::<OffsetDeleteRequest>(call, &offset_delete::answer(node, read(call, body)?).await)
        }
        ApiKey::ListGroups => {
            encode::<ListGroupsRequest>(call, &list_groups::answer(node, &read(call, body)?))
        }
        ApiKey::DescribeGroups => {
            encode::<DescribeGroupsRequest>(call, &describe_groups::answer(node, call, read(call, body)?))
        }
        ApiKey::DeleteGroups => {
            encode::<DeleteGroupsRequest>(call, &delete_groups::answer(node, read(call, body)?).await)
        }
        _ => Err(io::Error::other(format!(
            "{:?} is advertised and not answered",
            call.key
        ))),
    }
}

fn read<R: Request>(call: &Call, body: Bytes) -> io::Result<R> {
    decode(call, body).map_err(|refused| {
        tracing::warn!(%refused, "a connection is closed: its request was refused");
        io::Error::other(refused)
    })
}

fn encode<R: Request>(call: &Call, response: &R::Response) -> io::Result<Answer>
where
    R::Response: Encodable + HeaderVersion + Message,
{
    let header_version = R::Response::header_version(call.version);
    let header = ResponseHeader::default().with_correlation_id(call.correlation);
    let encode = || {
        let size = header.compute_size(header_version)? + response.compute_size(call.version)?;
        let mut bytes = BytesMut::with_capacity(size + 4);
        bytes.extend(u32::try_from(size)?.to_be_bytes());
        header.encode(&mut bytes, header_version)?;
        response.encode(&mut bytes, call.version)?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(bytes)
    };
    let bytes = encode().map_err(|error| {
        tracing::error!(key = ?call.key, version = call.version, %error, "an answer could not be encoded");
        io::Error::other(error)
    })?;
    Ok(Answer { bytes, _share: None })
}

/// A message for people, for the wire.
fn text(reason: impl Into<String>) -> Option<StrBytes> {
    Some(StrBytes::from_string(reason.into()))
}
