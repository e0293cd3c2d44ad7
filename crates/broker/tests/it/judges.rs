//! Other vendors' clients as judges: they read what we write, and we read what they write.

use std::io::Write;
use std::process::{Command, Stdio};

use evenkeel_broker::batch::Compression;
use evenkeel_broker::fetch::At;
use evenkeel_testkit::{kcat_or_skip, python_or_skip};

use crate::brokers::{Bench, apache, appended, block_on, encode, on_every_broker};

on_every_broker! {
    kcat_reads_what_we_write,
    what_kcat_compresses_is_read,
}

async fn kcat_reads_what_we_write(bootstrap: &str) {
    let Some(kcat) = kcat_or_skip() else { return };
    let bench = Bench::new(bootstrap, "judge").await;
    for (sequence, compression) in (0..).zip([Compression::None, Compression::Lz4, Compression::Zstd]) {
        let value = format!("value-{sequence}");
        let bytes = encode(&[&value], compression)
            .stamp(&bench.stamp(0, sequence, 1))
            .unwrap();
        assert_eq!(
            bench.send(&bench.outgoing(0, bytes)).await,
            appended(sequence.into())
        );
    }
    let output = Command::new(kcat)
        .args(["-b", bootstrap, "-t", bench.topic.as_str(), "-C", "-e", "-q"])
        .args(["-o", "beginning", "-f", "%o %k %s\n", "-X", "check.crcs=true"])
        .output()
        .unwrap();
    let read = String::from_utf8(output.stdout).unwrap();
    assert_eq!(read, "0 key value-0\n1 key value-1\n2 key value-2\n");
}

async fn what_kcat_compresses_is_read(bootstrap: &str) {
    let Some(kcat) = kcat_or_skip() else { return };
    let bench = Bench::new(bootstrap, "codecs").await;
    let long = "z".repeat(500);
    for codec in ["gzip", "snappy", "lz4", "zstd", "none"] {
        let mut child = Command::new(&kcat)
            .args(["-b", bootstrap, "-t", bench.topic.as_str(), "-P", "-z", codec])
            .args(["-H", "codec=x"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = format!("{codec}\n{long}\n");
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{codec}");
    }
    let expected: Vec<String> = ["gzip", "snappy", "lz4", "zstd", "none"]
        .into_iter()
        .flat_map(|codec| [codec.to_owned(), long.clone()])
        .collect();
    assert_eq!(bench.values().await, expected);
}

#[test]
fn the_java_client_reads_what_we_write() {
    let Some(kafka) = apache() else { return };
    block_on(async {
        let bench = Bench::new(kafka.bootstrap(), "java").await;
        for (sequence, compression) in (0..).zip([Compression::None, Compression::Lz4, Compression::Zstd]) {
            let value = format!("value-{sequence}-{}", "w".repeat(300));
            let bytes = encode(&[&value], compression)
                .stamp(&bench.stamp(0, sequence, 1))
                .unwrap();
            assert_eq!(
                bench.send(&bench.outgoing(0, bytes)).await,
                appended(sequence.into())
            );
        }
        let output = kafka
            .console("kafka-console-consumer")
            .args([
                "--bootstrap-server",
                kafka.bootstrap(),
                "--topic",
                bench.topic.as_str(),
            ])
            .args(["--from-beginning", "--max-messages", "3", "--timeout-ms", "60000"])
            .output()
            .unwrap();
        let read = String::from_utf8(output.stdout).unwrap();
        let values: Vec<&str> = read.lines().map(|line| line.split_at(7).0).collect();
        assert_eq!(values, ["value-0", "value-1", "value-2"]);
    });
}

/// Writes a committed, an aborted and again a committed transaction, then leaves one open for a reader to wait at.
const TRANSACTIONS: &str = r#"
import sys
from confluent_kafka import Producer

bootstrap, topic = sys.argv[1:]
producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": topic})
producer.init_transactions(60)
for value, commits in [("kept", True), ("aborted", False), ("kept too", True)]:
    producer.begin_transaction()
    for half in ("1", "2"):
        producer.produce(topic, value=f"{value} {half}", key="k")
    producer.flush(60)
    if commits:
        producer.commit_transaction(60)
    else:
        producer.abort_transaction(60)
producer.begin_transaction()
producer.produce(topic, value="open", key="k")
producer.flush(60)
"#;

/// The embedded broker has no transactions.
#[test]
fn only_committed_records_are_read() {
    let (Some(kafka), Some(python)) = (apache(), python_or_skip()) else {
        return;
    };
    block_on(async {
        let bench = Bench::new(kafka.bootstrap(), "transactions").await;
        let status = Command::new(python)
            .args(["-c", TRANSACTIONS, kafka.bootstrap(), bench.topic.as_str()])
            .status()
            .unwrap();
        assert!(status.success());
        assert_eq!(
            bench.values().await,
            ["kept 1", "kept 2", "kept too 1", "kept too 2"]
        );
        let partition = bench.partition(0);
        let at = |at| bench.cluster.offset(&partition, at);
        let (all, committed) = (
            at(At::Latest).await.unwrap(),
            at(At::LatestCommitted).await.unwrap(),
        );
        assert!(committed.offset < all.offset, "a transaction is open");
        // A search looks at everything, because what is being looked for may be in an open transaction.
        let open = bench
            .cluster
            .search(&bench.partition(0), 0, 10, |record| record.value == Some(b"open"))
            .await
            .unwrap();
        assert_eq!(open.len(), 1);
    });
}
