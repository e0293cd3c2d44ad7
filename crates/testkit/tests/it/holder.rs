//! A copy of this test process that holds a server, says where it is, and is killed.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Set in the copy.
const HOLDER: &str = "EVENKEEL_TESTKIT_HOLDER";

/// True in the copy, which is to [`hold`] a server.
pub(crate) fn is_meant() -> bool {
    std::env::var_os(HOLDER).is_some()
}

/// Says where the server is, and waits to be killed.
pub(crate) fn hold(address: &str) {
    println!("address={address}");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// Runs the test `name` in a copy, kills it, and waits until its server is gone.
pub(crate) fn takes_its_server_with_it(name: &str) {
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
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

/// Waits until nothing listens there any more.
fn wait_until_closed(address: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < deadline, "{address} still answers");
        std::thread::sleep(Duration::from_millis(20));
    }
}
