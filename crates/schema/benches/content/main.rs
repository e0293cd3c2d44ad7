//! Validate, encode and decode, beside `apache-avro`, `serde_avro_fast` and a scan written by hand for the one schema.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a bench panics to fail"
)]

mod by_hand;
mod orders;

use std::hint::black_box;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use evenkeel_schema::Contract;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use orders::{INVOICE, Invoice, ORDER, Order, contract, invoices, order};

/// Values of one schema in all their forms.
struct Set<T> {
    name: &'static str,
    contract: Contract,
    values: Vec<T>,
    encoded: Vec<Vec<u8>>,
    json: Vec<Vec<u8>>,
    theirs: apache_avro::Schema,
    fast: serde_avro_fast::Schema,
    by_hand: fn(&[u8]) -> bool,
}

impl<T: Serialize + DeserializeOwned> Set<T> {
    fn new(name: &'static str, schema: &str, values: Vec<T>, by_hand: fn(&[u8]) -> bool) -> Self {
        let contract = contract(schema);
        let encoded = values
            .iter()
            .map(|value| contract.encode(value).unwrap().get().content().to_vec())
            .collect();
        let json = values
            .iter()
            .map(|value| serde_json::to_vec(value).unwrap())
            .collect();
        let theirs = apache_avro::Schema::parse_str(schema).unwrap();
        let fast = schema.parse().unwrap();
        Self {
            name,
            contract,
            values,
            encoded,
            json,
            theirs,
            fast,
            by_hand,
        }
    }

    fn bytes(&self) -> Throughput {
        Throughput::Bytes(self.encoded.iter().map(Vec::len).sum::<usize>() as u64)
    }
}

fn validate<T: Serialize + DeserializeOwned>(c: &mut Criterion, set: &Set<T>) {
    let mut group = c.benchmark_group("validate");
    group.throughput(set.bytes());
    group.bench_function(BenchmarkId::new("evenkeel", set.name), |b| {
        b.iter(|| {
            set.encoded
                .iter()
                .for_each(|bytes| set.contract.check_content(black_box(bytes)).unwrap())
        });
    });
    group.bench_function(BenchmarkId::new("by hand", set.name), |b| {
        b.iter(|| {
            set.encoded
                .iter()
                .for_each(|bytes| assert!((set.by_hand)(black_box(bytes))))
        });
    });
    group.bench_function(BenchmarkId::new("serde_avro_fast IgnoredAny", set.name), |b| {
        b.iter(|| {
            for bytes in &set.encoded {
                serde_avro_fast::from_datum_slice::<IgnoredAny>(black_box(bytes), &set.fast).unwrap();
            }
        });
    });
    let reader = GenericDatumReader::builder(&set.theirs).build().unwrap();
    group.bench_function(BenchmarkId::new("apache-avro decode", set.name), |b| {
        b.iter(|| {
            set.encoded
                .iter()
                .for_each(|bytes| drop(reader.read_value(&mut black_box(bytes.as_slice())).unwrap()))
        });
    });
    group.finish();
}

fn encode<T: Serialize + DeserializeOwned>(c: &mut Criterion, set: &Set<T>) {
    let mut group = c.benchmark_group("encode");
    group.throughput(set.bytes());
    group.bench_function(BenchmarkId::new("evenkeel from JSON", set.name), |b| {
        b.iter(|| {
            set.json
                .iter()
                .for_each(|json| drop(set.contract.encode_json(black_box(json)).unwrap()))
        });
    });
    group.bench_function(BenchmarkId::new("evenkeel from serde", set.name), |b| {
        b.iter(|| {
            set.values
                .iter()
                .for_each(|value| drop(set.contract.encode(black_box(value)).unwrap()))
        });
    });
    group.bench_function(BenchmarkId::new("serde_avro_fast from serde", set.name), |b| {
        let mut config = serde_avro_fast::ser::SerializerConfig::new(&set.fast);
        b.iter(|| {
            for value in &set.values {
                drop(serde_avro_fast::to_datum_vec(black_box(value), &mut config).unwrap());
            }
        });
    });
    let writer = GenericDatumWriter::builder(&set.theirs).build().unwrap();
    let reader = GenericDatumReader::builder(&set.theirs).build().unwrap();
    let values: Vec<apache_avro::types::Value> = set
        .encoded
        .iter()
        .map(|bytes| reader.read_value(&mut bytes.as_slice()).unwrap())
        .collect();
    group.bench_function(BenchmarkId::new("apache-avro from its values", set.name), |b| {
        b.iter(|| {
            for value in &values {
                let mut out = Vec::new();
                writer.write_value_ref(&mut out, black_box(value)).unwrap();
                black_box(out);
            }
        });
    });
    group.finish();
}

fn decode<T: Serialize + DeserializeOwned>(c: &mut Criterion, set: &Set<T>) {
    let mut group = c.benchmark_group("decode");
    group.throughput(set.bytes());
    let reader = set.contract.own_reader();
    group.bench_function(BenchmarkId::new("evenkeel to JSON", set.name), |b| {
        b.iter(|| {
            set.encoded
                .iter()
                .for_each(|bytes| drop(reader.to_json(black_box(bytes)).unwrap()))
        });
    });
    group.bench_function(BenchmarkId::new("evenkeel to struct", set.name), |b| {
        b.iter(|| {
            set.encoded
                .iter()
                .for_each(|bytes| drop(reader.read::<T>(black_box(bytes)).unwrap()))
        });
    });
    group.bench_function(BenchmarkId::new("serde_avro_fast to struct", set.name), |b| {
        b.iter(|| {
            for bytes in &set.encoded {
                drop(serde_avro_fast::from_datum_slice::<T>(black_box(bytes), &set.fast).unwrap());
            }
        });
    });
    group.finish();
}

fn all(c: &mut Criterion) {
    assert_eq!(
        contract(ORDER).encode(&order()).unwrap().get().content().len(),
        190
    );
    let order = Set::<Order>::new("190-byte order", ORDER, vec![order()], by_hand::order);
    let invoices = Set::<Invoice>::new("512 invoices", INVOICE, invoices(), by_hand::invoice);
    validate(c, &order);
    validate(c, &invoices);
    encode(c, &order);
    encode(c, &invoices);
    decode(c, &order);
    decode(c, &invoices);
}

criterion_group!(benches, all);
criterion_main!(benches);
