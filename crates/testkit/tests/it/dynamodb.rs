use std::net::TcpStream;

use evenkeel_testkit::{DynamoDb, dynamodb_or_skip};

use crate::holder;

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

#[test]
fn a_killed_test_process_takes_the_server_with_it() {
    if holder::is_meant() {
        return holder::hold(&address(&DynamoDb::start()));
    }
    if dynamodb_or_skip().is_some() {
        holder::takes_its_server_with_it("dynamodb::a_killed_test_process_takes_the_server_with_it");
    }
}
