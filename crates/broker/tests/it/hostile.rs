//! A peer that is no broker: nothing it sends harms more than its own connection.

use std::time::Duration;

use evenkeel_broker::{Cluster, Error, Kafka};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::brokers::block_on;

/// Answers every connection's first bytes with `answer`, then closes it or stays silent.
async fn peer(answer: Vec<u8>, stays: bool) -> Kafka {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = [0; 512];
                let read = socket.read(&mut request).await;
                let written = socket.write_all(&answer).await;
                if stays && read.is_ok() && written.is_ok() {
                    while socket.read(&mut request).await.is_ok_and(|read| read > 0) {}
                }
            });
        }
    });
    Kafka {
        connect_timeout_ms: 500,
        request_timeout_ms: 500,
        ..Kafka::at(address)
    }
}

async fn failure(answer: &[u8], stays: bool) -> Error {
    Cluster::connect(peer(answer.to_vec(), stays).await)
        .await
        .unwrap_err()
}

#[test]
fn nonsense_is_refused() {
    block_on(async {
        for (answer, hint) in [
            (b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(), "is not Kafka's"),
            (&[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x50], "set kafka.tls"),
            (&[0x7f, 0xff, 0xff, 0xff], "is not Kafka's"),
            (&[0, 0, 0, 0], "is not Kafka's"),
            (&[0, 0, 0, 4, 0, 0, 0, 0], "ApiVersions"),
            // An array of 2^32 - 2 versions in 15 bytes.
            (
                &[
                    0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0,
                ],
                "ApiVersions",
            ),
            // The oldest answer, with 2^31 - 1 versions.
            (
                &[0, 0, 0, 10, 0, 0, 0, 0, 0, 35, 0x7f, 0xff, 0xff, 0xff],
                "ApiVersions",
            ),
        ] {
            let error = failure(answer, true).await;
            assert!(error.to_string().contains(hint), "{error}");
            assert!(!error.is_access_refused(), "{error}");
        }
    });
}

#[test]
fn silence_is_noticed_by_our_own_timer() {
    block_on(async {
        let error = failure(&[], true).await;
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        assert!(error.is_outage(), "{error}");
    });
}

#[test]
fn an_answer_that_is_cut_off_is_an_outage() {
    block_on(async {
        for answer in [[].as_slice(), &[0, 0, 0, 100], &[0, 0, 0, 100, 0, 0, 0, 0, 0, 0]] {
            let error = failure(answer, false).await;
            assert!(error.is_outage(), "{error}");
        }
    });
}

#[test]
fn a_cluster_that_is_dropped_frees_its_connections() {
    let bootstrap = crate::brokers::embedded();
    block_on(async {
        let cluster = crate::brokers::connect(bootstrap).await;
        let mut known = cluster.watch();
        drop(cluster);
        // The last sender of the watch goes with the cluster itself.
        let closed = async { while known.changed().await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(60), closed)
            .await
            .unwrap();
    });
}
