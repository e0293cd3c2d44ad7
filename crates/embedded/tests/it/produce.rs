//! Batches in: idempotence case by case, and what is refused.

use std::{
    io::{Read, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{InitProducerIdRequest, TransactionalId};

use crate::{
    client::{Client, produce, text},
    served::Served,
};

/// A batch to build.
#[derive(Clone, Copy)]
pub(crate) struct Batch {
    pub(crate) producer: i64,
    pub(crate) epoch: i16,
    pub(crate) sequence: i32,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<&'static str>,
}

/// No producer, at a time that is never too far ahead.
pub(crate) const PLAIN: Batch = Batch {
    producer: -1,
    epoch: -1,
    sequence: -1,
    timestamp: 1_000,
    key: None,
};

/// A producer's batch of this time: brokers forget producers by their timestamps.
#[expect(
    clippy::disallowed_methods,
    reason = "the broker compares it with its own clock"
)]
pub(crate) fn stamped(producer: i64, epoch: i16, sequence: i32) -> Batch {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Batch {
        producer,
        epoch,
        sequence,
        timestamp: now.as_millis() as i64,
        ..PLAIN
    }
}

impl Batch {
    /// The batch of these values; each record is a millisecond later than the one before.
    pub(crate) fn of<T: AsRef<str>>(&self, values: &[T]) -> Bytes {
        let values = values.iter().map(|value| (self.key, Some(value.as_ref())));
        self.pairs(&values.collect::<Vec<_>>())
    }

    /// The batch of these keys and values.
    pub(crate) fn pairs(&self, values: &[(Option<&str>, Option<&str>)]) -> Bytes {
        let mut records = BytesMut::new();
        for (place, (key, value)) in values.iter().enumerate() {
            let mut record = vec![0];
            put_varint(&mut record, place as i64);
            put_varint(&mut record, place as i64);
            put_bytes(&mut record, *key);
            put_bytes(&mut record, *value);
            put_varint(&mut record, 0);
            let mut length = Vec::new();
            put_varint(&mut length, record.len() as i64);
            records.extend(length);
            records.extend(record);
        }
        let last = values.len() as i32 - 1;
        let mut checked = BytesMut::new();
        checked.put_i16(0);
        checked.put_i32(last);
        checked.put_i64(self.timestamp);
        checked.put_i64(self.timestamp + i64::from(last));
        checked.put_i64(self.producer);
        checked.put_i16(self.epoch);
        checked.put_i32(self.sequence);
        checked.put_i32(values.len() as i32);
        checked.extend(records);
        seal(&checked)
    }
}

/// Puts what stands before the checked bytes before them.
pub(crate) fn seal(checked: &[u8]) -> Bytes {
    let mut batch = BytesMut::new();
    batch.put_i64(0);
    batch.put_i32(checked.len() as i32 + 9);
    batch.put_i32(-1);
    batch.put_i8(2);
    batch.put_u32(crc32c::crc32c(checked));
    batch.extend(checked);
    batch.freeze()
}

fn put_varint(bytes: &mut Vec<u8>, value: i64) {
    let mut value = ((value << 1) ^ (value >> 63)) as u64;
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn put_bytes(bytes: &mut Vec<u8>, value: Option<&str>) {
    put_varint(bytes, value.map_or(-1, |value| value.len() as i64));
    bytes.extend(value.unwrap_or("").as_bytes());
}

fn varint(bytes: &mut &[u8]) -> i64 {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = bytes.get_u8();
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The same batch with its records compressed by gzip.
pub(crate) fn gzipped(batch: &[u8]) -> Bytes {
    let (before, records) = batch[21..].split_at(40);
    let mut packed = Vec::new();
    let mut encoder = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::fast());
    encoder.write_all(records).unwrap();
    encoder.finish().unwrap();
    let mut checked = vec![0, 1];
    checked.extend(&before[2..]);
    checked.extend(packed);
    seal(&checked)
}

/// Offset and value of every record in whole batches.
pub(crate) fn records(batches: &[u8]) -> Vec<(i64, String)> {
    let all = entries(batches).into_iter();
    all.map(|entry| (entry.offset, entry.value.unwrap_or_default()))
        .collect()
}

/// A record as it was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: String,
    pub(crate) value: Option<String>,
}

/// Every record in whole batches.
pub(crate) fn entries(mut batches: &[u8]) -> Vec<Entry> {
    let mut all = Vec::new();
    while !batches.is_empty() {
        let base = (&batches[..8]).get_i64();
        let size = (&batches[8..12]).get_i32() as usize + 12;
        let (batch, rest) = batches.split_at(size);
        assert_eq!(
            (&batch[17..21]).get_u32(),
            crc32c::crc32c(&batch[21..]),
            "the checksum of a fetched batch"
        );
        let count = (&batch[57..61]).get_i32();
        let base_timestamp = (&batch[27..35]).get_i64();
        let mut unpacked = Vec::new();
        if batch[22] & 7 == 1 {
            flate2::read::MultiGzDecoder::new(&batch[61..])
                .read_to_end(&mut unpacked)
                .unwrap();
        } else {
            unpacked.extend(&batch[61..]);
        }
        let mut bytes = unpacked.as_slice();
        for _ in 0..count {
            let length = varint(&mut bytes) as usize;
            let (mut record, after) = bytes.split_at(length);
            bytes = after;
            record.advance(1);
            let timestamp = base_timestamp + varint(&mut record);
            let offset = base + varint(&mut record);
            let key = take_text(&mut record).unwrap_or_default();
            let value = take_text(&mut record);
            all.push(Entry {
                offset,
                timestamp,
                key,
                value,
            });
        }
        batches = rest;
    }
    all
}

fn take_text(bytes: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(varint(bytes)).ok()?;
    let (text, rest) = bytes.split_at(length);
    *bytes = rest;
    Some(String::from_utf8(text.to_vec()).unwrap())
}

/// Produces a batch of `values` and returns its offset, or its error code negated.
fn outcome(client: &mut Client, batch: Batch, values: &[&str]) -> i64 {
    let answer = client.produce("t", 0, batch.of(values));
    if answer.error_code == 0 {
        answer.base_offset
    } else {
        -i64::from(answer.error_code)
    }
}

fn served() -> (Served, Client) {
    let served = Served::start();
    let mut client = served.client();
    assert_eq!(client.create("t", 1, &[]), 0);
    (served, client)
}

fn producer_id(client: &mut Client) -> i64 {
    let response = client.call(4, &InitProducerIdRequest::default().with_transactional_id(None));
    assert_eq!((response.error_code, response.producer_epoch), (0, 0));
    response.producer_id.0
}

#[test]
fn what_is_produced_is_fetched_in_order() {
    let (_served, mut client) = served();
    assert_eq!(outcome(&mut client, PLAIN, &["a", "b"]), 0);
    assert_eq!(outcome(&mut client, PLAIN, &["c"]), 2);
    let expected = [(0, "a"), (1, "b"), (2, "c")].map(|(offset, value)| (offset, value.to_owned()));
    assert_eq!(client.read("t", 0, 0), expected);
    assert_eq!(client.read("t", 0, 1), expected[1..]);
}

#[test]
fn the_last_five_batches_are_answered_as_the_first_time() {
    let (served, mut client) = served();
    let id = producer_id(&mut client);
    let values = ["x", "y"];
    for number in 0..6 {
        assert_eq!(
            outcome(&mut client, stamped(id, 0, number * 2), &values),
            i64::from(number) * 2
        );
    }
    for number in 1..6 {
        let mut other_connection = served.client();
        assert_eq!(
            outcome(&mut other_connection, stamped(id, 0, number * 2), &values),
            i64::from(number) * 2
        );
    }
    assert_eq!(outcome(&mut client, stamped(id, 0, 0), &values), -45);
    assert_eq!(client.offset("t", 0, -1).0, 12);
}

#[test]
fn out_of_turn_is_refused_also_under_a_new_epoch() {
    let (_served, mut client) = served();
    let id = producer_id(&mut client);
    assert_eq!(outcome(&mut client, stamped(id, 0, 0), &["a"]), 0);
    assert_eq!(outcome(&mut client, stamped(id, 0, 2), &["c"]), -45);
    assert_eq!(outcome(&mut client, stamped(id, 1, 1), &["b"]), -45);
    assert_eq!(outcome(&mut client, stamped(id, 1, 0), &["b"]), 1);
    assert_eq!(outcome(&mut client, stamped(id, 0, 1), &["late"]), -47);
    assert_eq!(client.offset("t", 0, -1).0, 2);
}

#[test]
fn an_unknown_producer_begins_at_any_sequence() {
    let (_served, mut client) = served();
    assert_eq!(outcome(&mut client, stamped(77, 3, 1_000), &["a"]), 0);
    assert_eq!(outcome(&mut client, stamped(77, 3, 1_001), &["b"]), 1);
}

#[test]
fn producers_are_known_after_a_stop_and_after_a_kill() {
    let (mut served, mut client) = served();
    let id = producer_id(&mut client);
    assert_eq!(outcome(&mut client, stamped(id, 0, 0), &["a"]), 0);
    assert_eq!(outcome(&mut client, stamped(id, 0, 1), &["b"]), 1);
    // Without checkpoints, as after a kill, the log itself is the memory.
    for (sequence, keep_checkpoints) in [(2, true), (3, false), (4, true)] {
        served.stop();
        for checkpoint in crate::crash::files(served.directory.path(), "checkpoint") {
            if !keep_checkpoints {
                std::fs::remove_file(checkpoint).unwrap();
            }
        }
        served.start_again();
        client = served.client();
        assert_eq!(
            outcome(&mut client, stamped(id, 0, sequence - 1), &["again"]),
            i64::from(sequence) - 1
        );
        assert_eq!(outcome(&mut client, stamped(id, 0, sequence + 5), &["gap"]), -45);
        assert_eq!(
            outcome(&mut client, stamped(id, 0, sequence), &["next"]),
            i64::from(sequence)
        );
    }
    assert!(producer_id(&mut client) > id);
}

#[test]
fn pipelined_batches_share_rounds_and_keep_their_turn() {
    let (_served, mut client) = served();
    let id = producer_id(&mut client);
    for sequence in 0..10 {
        client
            .send(
                9,
                &produce("t", &[(0, stamped(id, 0, sequence).of(&[sequence.to_string()]))]),
            )
            .unwrap();
    }
    for sequence in 0..10 {
        let response = client
            .receive::<kafka_protocol::messages::ProduceRequest>(9)
            .unwrap();
        assert_eq!(response.responses[0].partition_responses[0].base_offset, sequence);
    }
}

#[test]
fn one_request_has_an_answer_for_each_partition() {
    let served = Served::start();
    let mut client = served.client();
    client.create("t", 2, &[]);
    let mut broken = PLAIN.of(&["x"]).to_vec();
    *broken.last_mut().unwrap() ^= 1;
    let batches = [
        (0, PLAIN.of(&["a"])),
        (1, broken.into()),
        (7, PLAIN.of(&["b"])),
        (1, PLAIN.of(&["c"])),
    ];
    let response = client.call(9, &produce("t", &batches));
    let codes: Vec<_> = response.responses[0]
        .partition_responses
        .iter()
        .map(|answer| (answer.index, answer.error_code))
        .collect();
    assert_eq!(codes, [(0, 0), (1, 2), (7, 3), (1, 0)]);
}

#[test]
fn without_acks_there_is_no_answer_and_the_records_are_there() {
    let (_served, mut client) = served();
    client
        .send(9, &produce("t", &[(0, PLAIN.of(&["silent"]))]).with_acks(0))
        .unwrap();
    assert_eq!(outcome(&mut client, PLAIN, &["loud"]), 1);
    assert_eq!(client.read("t", 0, 0)[0].1, "silent");
}

/// Changes a good batch and returns the error code it then meets.
fn refused(change: impl FnOnce(&mut Vec<u8>)) -> i16 {
    let (_served, mut client) = served();
    let mut checked = PLAIN.of(&["a", "b"])[21..].to_vec();
    change(&mut checked);
    let answer = client.produce("t", 0, seal(&checked));
    assert!(answer.error_message.is_some());
    assert_eq!(client.offset("t", 0, -1).0, 0);
    answer.error_code
}

#[test]
fn malformed_batches_are_invalid_records() {
    assert_eq!(
        refused(|bytes| bytes[36..40].copy_from_slice(&3_i32.to_be_bytes())),
        87,
        "a wrong count"
    );
    assert_eq!(
        refused(|bytes| bytes[2..6].copy_from_slice(&7_i32.to_be_bytes())),
        87,
        "a wrong last offset"
    );
    assert_eq!(
        refused(|bytes| bytes[40] = 100),
        87,
        "a record longer than the batch"
    );
    assert_eq!(refused(|bytes| bytes.push(0)), 87, "bytes after the last record");
    assert_eq!(refused(|bytes| bytes.truncate(45)), 87, "records cut short");
    assert_eq!(refused(|bytes| bytes[43] = 9), 87, "an offset delta out of turn");
    assert_eq!(refused(|bytes| bytes[1] = 0x20), 87, "a control batch");
    assert_eq!(refused(|bytes| bytes[1] = 0x10), 48, "a transaction");
    assert_eq!(refused(|bytes| bytes[1] = 6), 76, "an unknown compression");
    assert_eq!(refused(|bytes| bytes[14] = 0x7f), 32, "a time far ahead");
}

#[test]
fn a_message_may_be_as_large_as_its_topic_allows() {
    let served = Served::start();
    let mut client = served.client();
    client.create("t", 1, &[("max.message.bytes", "200")]);
    let room = 200 - PLAIN.of(&[""]).len();
    let large = PLAIN.of(&["x".repeat(room)]);
    assert!(large.len() > 200);
    assert_eq!(client.produce("t", 0, large).error_code, 10);
    let fits = PLAIN.of(&["x".repeat(room - 4)]);
    assert_eq!(
        (fits.len() <= 200, client.produce("t", 0, fits).error_code),
        (true, 0)
    );
}

#[test]
fn a_compacted_topic_wants_keys() {
    let served = Served::start();
    let mut client = served.client();
    client.create("t", 1, &[("cleanup.policy", "compact")]);
    assert_eq!(outcome(&mut client, PLAIN, &["a"]), -87);
    assert_eq!(
        outcome(
            &mut client,
            Batch {
                key: Some("k"),
                ..PLAIN
            },
            &["a"]
        ),
        0
    );
}

#[test]
fn transactions_are_refused_for_good() {
    let (_served, mut client) = served();
    let id = Some(TransactionalId(text("tx")));
    assert_eq!(
        client
            .call(4, &InitProducerIdRequest::default().with_transactional_id(id))
            .error_code,
        53
    );
}
