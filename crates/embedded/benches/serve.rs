//! What the broker does a second, how long an acknowledgement takes, and what the disk alone would allow.
//!
//! `cargo bench -p evenkeel-embedded`. The broker is a process of its own; the client sends requests that were encoded
//! before, so that the figures are the broker's. Each is shown beside its limit, measured in the same run: the same
//! bytes written and fdatasynced in the same groups, without a broker.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::missing_docs_in_private_items,
    reason = "a bench panics to fail and prints what it found"
)]

use std::{
    env,
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use bytes::{BufMut, BytesMut};
use kafka_protocol::{
    messages::{
        CreateTopicsRequest, FetchRequest, ProduceRequest, RequestHeader, TopicName,
        create_topics_request::CreatableTopic,
        fetch_request::{FetchPartition, FetchTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::{Encodable, Request, StrBytes},
};

const RECORD_BYTES: usize = 1_000;
/// Records of one batch in the throughput runs.
const BATCH: usize = 100;
/// Requests of one connection that are under way at a time.
const IN_FLIGHT: usize = 5;
const CONNECTIONS: i32 = 2;
const SECONDS: u64 = 5;
const ROUNDS: usize = 4_000;

fn main() {
    if env::var_os("EVENKEEL_BENCH_SERVE").is_some() {
        return serve(&env::args().nth(1).unwrap());
    }
    let directory = tempfile::TempDir::new().unwrap();
    let (child, address) = spawn(&directory.path().join("broker"));
    create(address);
    let (sent, limit) = (throughput(address), raw_throughput(directory.path()));
    println!(
        "produce, 1 KB, acks=all: {sent:.0}/s; raw write+fdatasync, same groups: {limit:.0}/s; ratio {:.2}",
        sent / limit
    );
    let (mut one, mut raw) = (latency(address), raw_latency(directory.path()));
    show("produce, one at a time", &mut one);
    show("raw write+fdatasync", &mut raw);
    println!(
        "ratio of the medians: {:.2}",
        raw[raw.len() / 2].as_secs_f64() / one[one.len() / 2].as_secs_f64()
    );
    show("end to end, one at a time", &mut end_to_end(address));
    println!("read: {:.0} records/s", read(address));
    for line in std::fs::read_to_string(format!("/proc/{}/status", child.id()))
        .unwrap()
        .lines()
    {
        if line.starts_with("VmHWM") || line.starts_with("VmRSS") {
            println!("{line}");
        }
    }
    stop(child);
}

/// The broker's own process.
fn serve(directory: &str) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut config = evenkeel_embedded::Config::new(directory);
        config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let broker = evenkeel_embedded::start(config).await.unwrap();
        println!("{}", broker.address());
        tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()))
            .await
            .unwrap()
            .unwrap();
        broker.stop().await.unwrap();
    });
}

fn spawn(directory: &Path) -> (Child, SocketAddr) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.arg(directory).env("EVENKEEL_BENCH_SERVE", "1");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line.trim().parse().unwrap();
    (child, address)
}

fn stop(mut child: Child) {
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

fn framed<R: Request>(version: i16, request: &R) -> Vec<u8> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version);
    let mut bytes = BytesMut::new();
    bytes.put_u32(0);
    header.encode(&mut bytes, R::header_version(version)).unwrap();
    request.encode(&mut bytes, version).unwrap();
    let length = u32::try_from(bytes.len() - 4).unwrap();
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes.to_vec()
}

fn topic() -> TopicName {
    TopicName(StrBytes::from_static_str("bench"))
}

fn create(address: SocketAddr) {
    let asked = CreatableTopic::default()
        .with_name(topic())
        .with_num_partitions(CONNECTIONS + 2);
    let asked = asked.with_replication_factor(1);
    let request = CreateTopicsRequest::default()
        .with_topics(vec![asked])
        .with_timeout_ms(10_000);
    let mut stream = connect(address);
    stream.write_all(&framed(5, &request)).unwrap();
    answer(&mut stream);
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn answer(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

fn varint(bytes: &mut Vec<u8>, value: i64) {
    let mut value = (value << 1).cast_unsigned();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn batch(count: usize) -> Vec<u8> {
    let mut records = Vec::new();
    for place in 0..count {
        let mut record = vec![0, 0];
        varint(&mut record, place as i64);
        record.push(1);
        varint(&mut record, RECORD_BYTES as i64);
        record.extend(vec![b'x'; RECORD_BYTES]);
        record.push(0);
        varint(&mut records, record.len() as i64);
        records.extend(record);
    }
    let last = count as i32 - 1;
    let mut checked = BytesMut::new();
    checked.put_i16(0);
    checked.put_i32(last);
    checked.put_i64(1_000);
    checked.put_i64(1_000);
    checked.put_i64(-1);
    checked.put_i16(-1);
    checked.put_i32(-1);
    checked.put_i32(last + 1);
    checked.extend(records);
    let mut batch = vec![0; 8];
    batch.extend((checked.len() as i32 + 9).to_be_bytes());
    batch.extend([0, 0, 0, 0, 2]);
    batch.extend(crc32c::crc32c(&checked).to_be_bytes());
    batch.extend(&checked);
    batch
}

fn produce(partition: i32, count: usize) -> Vec<u8> {
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(batch(count).into()));
    let topics = TopicProduceData::default()
        .with_name(topic())
        .with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(10_000)
        .with_transactional_id(None);
    framed(7, &request.with_topic_data(vec![topics]))
}

fn fetch(partition: i32, offset: i64, wait_ms: i32) -> Vec<u8> {
    let asked = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset);
    let asked = asked.with_partition_max_bytes(4 << 20);
    let topics = FetchTopic::default()
        .with_topic(topic())
        .with_partitions(vec![asked]);
    let request = FetchRequest::default()
        .with_max_bytes(4 << 20)
        .with_min_bytes(1)
        .with_max_wait_ms(wait_ms);
    framed(4, &request.with_topics(vec![topics]))
}

/// Messages a second over all connections, each with a partition of its own.
fn throughput(address: SocketAddr) -> f64 {
    let began = Instant::now();
    let sent: usize = thread::scope(|scope| {
        let connections: Vec<_> = (0..CONNECTIONS)
            .map(|partition| scope.spawn(move || flood(address, partition)))
            .collect();
        connections
            .into_iter()
            .map(|connection| connection.join().unwrap())
            .sum()
    });
    sent as f64 / began.elapsed().as_secs_f64()
}

fn flood(address: SocketAddr, partition: i32) -> usize {
    let request = produce(partition, BATCH);
    let mut stream = connect(address);
    let until = Instant::now() + Duration::from_secs(SECONDS);
    for _ in 0..IN_FLIGHT {
        stream.write_all(&request).unwrap();
    }
    let mut answered = 0;
    while Instant::now() < until {
        answer(&mut stream);
        answered += BATCH;
        stream.write_all(&request).unwrap();
    }
    for _ in 0..IN_FLIGHT {
        answer(&mut stream);
        answered += BATCH;
    }
    answered
}

/// The same groups of the same bytes: what is in flight of each connection, then a sync of each file.
fn raw_throughput(directory: &Path) -> f64 {
    let batch = batch(BATCH);
    let mut files: Vec<File> = (0..CONNECTIONS)
        .map(|name| File::create(directory.join(format!("raw-{name}"))).unwrap())
        .collect();
    let (began, mut written) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(SECONDS) {
        for file in &mut files {
            for _ in 0..IN_FLIGHT {
                file.write_all(&batch).unwrap();
                written += BATCH;
            }
        }
        thread::scope(|scope| {
            for file in &files {
                scope.spawn(move || file.sync_data().unwrap());
            }
        });
    }
    written as f64 / began.elapsed().as_secs_f64()
}

fn latency(address: SocketAddr) -> Vec<Duration> {
    let request = produce(CONNECTIONS, 1);
    let mut stream = connect(address);
    (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            stream.write_all(&request).unwrap();
            answer(&mut stream);
            began.elapsed()
        })
        .collect()
}

fn raw_latency(directory: &Path) -> Vec<Duration> {
    let batch = batch(1);
    let mut file = File::create(directory.join("raw-one")).unwrap();
    (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            file.write_all(&batch).unwrap();
            file.sync_data().unwrap();
            began.elapsed()
        })
        .collect()
}

/// From the send of a record to its arrival at a reader that waits for it.
fn end_to_end(address: SocketAddr) -> Vec<Duration> {
    let partition = CONNECTIONS + 1;
    let request = produce(partition, 1);
    let (mut writer, mut reader) = (connect(address), connect(address));
    (0..ROUNDS)
        .map(|offset| {
            reader
                .write_all(&fetch(partition, offset as i64, 60_000))
                .unwrap();
            let began = Instant::now();
            writer.write_all(&request).unwrap();
            assert!(answer(&mut reader).len() > RECORD_BYTES);
            let took = began.elapsed();
            answer(&mut writer);
            took
        })
        .collect()
}

/// Records a second of one reader over what the throughput run left.
fn read(address: SocketAddr) -> f64 {
    let mut stream = connect(address);
    let (began, mut offset) = (Instant::now(), 0);
    loop {
        stream.write_all(&fetch(0, offset, 0)).unwrap();
        let bytes = answer(&mut stream).len();
        let records = (bytes / (batch(BATCH).len())) * BATCH;
        if records == 0 || began.elapsed() > Duration::from_secs(SECONDS) {
            return offset as f64 / began.elapsed().as_secs_f64();
        }
        offset += records as i64;
    }
}

fn show(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: f64| times[(times.len() as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{what}: p50 {:.3} ms, p99 {:.3} ms", at(0.5), at(0.99));
}
