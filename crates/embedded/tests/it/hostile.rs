//! Bytes that lie. The broker closes their connection and goes on, within its memory.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    path::Path,
};

use kafka_protocol::messages::ApiVersionsRequest;
use tempfile::TempDir;

use crate::{
    client::{Client, WAIT},
    served::Spawned,
};

/// Address space of the broker, in KiB: far less than a lying count asks for.
const MEMORY: &str = "ulimit -v 4000000";

/// Sends bytes and reads until the broker closes or, the bytes being sent, has nothing more to say.
fn throw(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    // The broker may close before everything is sent, which is its right.
    drop(stream.write_all(bytes));
    drop(stream.shutdown(Shutdown::Write));
    drop(stream.read_to_end(&mut Vec::new()));
}

fn is_alive(broker: &mut Spawned) -> bool {
    broker.is_running()
        && Client::connect(broker.address)
            .try_call(3, &ApiVersionsRequest::default())
            .is_ok()
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

#[test]
fn the_corpus_is_survived() {
    let directory = TempDir::new().unwrap();
    let mut broker = Spawned::start(directory.path(), MEMORY);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
    let mut thrown = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        throw(broker.address, &std::fs::read(&path).unwrap());
        assert!(is_alive(&mut broker), "{}", path.display());
        thrown += 1;
    }
    assert!(thrown >= 10, "{thrown} files");
}

#[test]
fn lying_counts_in_every_request_and_version_are_survived() {
    let directory = TempDir::new().unwrap();
    let mut broker = Spawned::start(directory.path(), MEMORY);
    let advertised = Client::connect(broker.address)
        .call(3, &ApiVersionsRequest::default())
        .api_keys;
    let lies: [&[u8]; 5] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0x00, 0x01, b'x', 0x7f, 0xff, 0xff, 0xff],
        &[0x02, b'x', 0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0; 64],
    ];
    for range in &advertised {
        for version in range.min_version..=range.max_version {
            for lie in lies {
                for zeros in 0..24 {
                    let mut body = [range.api_key.to_be_bytes(), version.to_be_bytes()].concat();
                    body.extend([0, 0, 0, 1, 0xff, 0xff]);
                    body.extend(vec![0; zeros]);
                    body.extend(lie);
                    throw(broker.address, &framed(&body));
                }
            }
        }
        assert!(is_alive(&mut broker), "api key {}", range.api_key);
    }
}

#[test]
fn a_length_beyond_the_limit_is_not_waited_for() {
    let directory = TempDir::new().unwrap();
    let mut broker = Spawned::start(directory.path(), MEMORY);
    for length in [i32::MAX, -1, 104_857_601] {
        let mut stream = TcpStream::connect(broker.address).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        stream.write_all(&length.to_be_bytes()).unwrap();
        assert_eq!(
            stream.read(&mut [0]).unwrap_or(0),
            0,
            "closed, though we have not"
        );
    }
    assert!(is_alive(&mut broker));
}
