use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use evenkeel_testkit::{DynamoDb, dynamodb_or_skip};

use crate::kafka::wait_until_closed;

fn address(server: &DynamoDb) -> String {
    server.endpoint().strip_prefix("http://").unwrap().to_owned()
}

#[test]
fn a_dropped_server_leaves_nothing() {
    let Some(server) = dynamodb_or_skip() else {
        return;
    };
    let (address, folder) = (address(&server), server.folder().to_owned());
    assert!(TcpStream::connect(&address).is_ok());
    assert!(folder.exists());
    drop(server);
    assert!(TcpStream::connect(&address).is_err());
    assert!(!folder.exists());
}

/// Set in the copy of this test process that holds the server and is killed.
const HOLDER: &str = "EVENKEEL_TESTKIT_DYNAMODB_HOLDER";

#[test]
fn a_killed_test_process_takes_the_server_with_it() {
    if std::env::var_os(HOLDER).is_some() {
        return hold();
    }
    if dynamodb_or_skip().is_none() {
        return;
    }
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "dynamodb::a_killed_test_process_takes_the_server_with_it",
            "--nocapture",
        ])
        .env(HOLDER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let address = lines
        .map(Result::unwrap)
        .find_map(|line| Some(line.split_once("address=")?.1.to_owned()))
        .unwrap();
    assert!(TcpStream::connect(&address).is_ok());
    holder.kill().unwrap();
    holder.wait().unwrap();
    wait_until_closed(&address);
}

/// Starts the server, says where, and waits to be killed.
fn hold() {
    let server = DynamoDb::start();
    println!("address={}", address(&server));
    std::io::stdin().read_line(&mut String::new()).unwrap();
}
