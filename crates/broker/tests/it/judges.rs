//! Other vendors' clients as judges: they read what we write, and we read what they write.

use std::io::Write;
use std::process::{Command, Stdio};

use evenkeel_broker::batch::Compression;
use evenkeel_testkit::kcat_or_skip;

use crate::brokers::{Bench, appended, encode, on_every_broker};

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
