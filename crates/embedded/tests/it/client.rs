//! A small blocking client: one request, one answer.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        CreateTopicsRequest, FetchRequest, FetchResponse, ListOffsetsRequest, ProduceRequest, RequestHeader,
        ResponseHeader, TopicName,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        fetch_request::{FetchPartition, FetchTopic},
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::PartitionProduceResponse,
    },
    protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes},
};

use crate::produce::Entry;

/// Generous, so that a loaded machine fails nothing.
pub(crate) const WAIT: Duration = Duration::from_secs(60);

pub(crate) struct Client {
    stream: TcpStream,
    correlation: i32,
    name: &'static str,
}

pub(crate) fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(WAIT))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            correlation: 0,
            name: "test",
        })
    }

    /// The same connection under another client id.
    pub(crate) fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// How long to wait for an answer.
    pub(crate) fn wait(&self, wait: Duration) {
        self.stream.set_read_timeout(Some(wait)).unwrap();
    }

    pub(crate) fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.try_call(version, request).unwrap()
    }

    pub(crate) fn try_call<R: Request>(&mut self, version: i16, request: &R) -> io::Result<R::Response> {
        self.send(version, request)?;
        self.receive::<R>(version)
    }

    pub(crate) fn send<R: Request>(&mut self, version: i16, request: &R) -> io::Result<()> {
        self.correlation += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(text(self.name)));
        let mut bytes = BytesMut::new();
        header.encode(&mut bytes, R::header_version(version)).unwrap();
        request.encode(&mut bytes, version).unwrap();
        self.send_frame(&bytes)
    }

    pub(crate) fn send_frame(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut frame = (bytes.len() as u32).to_be_bytes().to_vec();
        frame.extend(bytes);
        self.stream.write_all(&frame)
    }

    /// The next answer; answers come in the order of the requests.
    pub(crate) fn receive<R: Request>(&mut self, version: i16) -> io::Result<R::Response> {
        let mut bytes = Bytes::from(self.receive_frame()?);
        ResponseHeader::decode(&mut bytes, R::Response::header_version(version)).map_err(io::Error::other)?;
        let response = R::Response::decode(&mut bytes, version).map_err(io::Error::other)?;
        assert!(bytes.is_empty(), "bytes are left after the answer");
        Ok(response)
    }

    pub(crate) fn receive_frame(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn create(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> i16 {
        let config = |(name, value): &(&str, &str)| {
            CreatableTopicConfig::default()
                .with_name(text(name))
                .with_value(Some(text(value)))
        };
        let asked = CreatableTopic::default()
            .with_name(topic(name))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.iter().map(config).collect());
        let request = CreateTopicsRequest::default()
            .with_topics(vec![asked])
            .with_timeout_ms(30_000);
        self.call(7, &request).topics[0].error_code
    }

    /// Produces one batch and returns the partition's answer.
    pub(crate) fn produce(&mut self, name: &str, partition: i32, records: Bytes) -> PartitionProduceResponse {
        self.call(9, &produce(name, &[(partition, records)])).responses[0].partition_responses[0].clone()
    }

    pub(crate) fn fetch(&mut self, request: &FetchRequest) -> FetchResponse {
        self.call(12, request)
    }

    /// Every record's value from an offset on, with its offset.
    pub(crate) fn read(&mut self, name: &str, partition: i32, offset: i64) -> Vec<(i64, String)> {
        let all = self.entries(name, partition, offset).into_iter();
        all.map(|entry| (entry.offset, entry.value.unwrap_or_default()))
            .collect()
    }

    /// Every record from an offset on.
    pub(crate) fn entries(&mut self, name: &str, partition: i32, mut offset: i64) -> Vec<Entry> {
        let mut all: Vec<Entry> = Vec::new();
        loop {
            let response = self.fetch(&fetch(name, partition, offset));
            let data = &response.responses[0].partitions[0];
            assert_eq!(data.error_code, 0, "fetch of {name} {partition} from {offset}");
            let records = crate::produce::entries(data.records.as_ref().unwrap());
            if records.is_empty() {
                return all;
            }
            let last = records.last().unwrap().offset;
            all.extend(records.into_iter().filter(|entry| entry.offset >= offset));
            offset = last + 1;
        }
    }

    pub(crate) fn offset(&mut self, name: &str, partition: i32, timestamp: i64) -> (i64, i64) {
        let asked = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(timestamp);
        let topics = vec![
            ListOffsetsTopic::default()
                .with_name(topic(name))
                .with_partitions(vec![asked]),
        ];
        let response = self.call(7, &ListOffsetsRequest::default().with_topics(topics));
        let found = &response.topics[0].partitions[0];
        assert_eq!(found.error_code, 0);
        (found.offset, found.timestamp)
    }
}

pub(crate) fn produce(name: &str, batches: &[(i32, Bytes)]) -> ProduceRequest {
    let data = |(partition, records): &(i32, Bytes)| {
        PartitionProduceData::default()
            .with_index(*partition)
            .with_records(Some(records.clone()))
    };
    let topics = TopicProduceData::default()
        .with_name(topic(name))
        .with_partition_data(batches.iter().map(data).collect());
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topics])
}

pub(crate) fn fetch(name: &str, partition: i32, offset: i64) -> FetchRequest {
    let asked = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    let topics = FetchTopic::default()
        .with_topic(topic(name))
        .with_partitions(vec![asked]);
    FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_min_bytes(0)
        .with_topics(vec![topics])
}
