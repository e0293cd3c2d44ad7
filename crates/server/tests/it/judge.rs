//! Confluent's Python client as judge of the registry.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_event::clock::SystemClock;
use evenkeel_server::domains::Domains;
use evenkeel_server::journal::MemoryJournal;
use evenkeel_server::registry::{Config, Registry, serve};
use evenkeel_testkit::python_or_skip;
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confluents_python_client_finds_a_confluent_registry() {
    let Some(python) = python_or_skip() else { return };
    let clock = Arc::new(SystemClock::default());
    let domains = Arc::new(Domains::follow(
        Arc::new(MemoryJournal::new()),
        clock,
        Duration::from_secs(60),
    ));
    let mut credentials = Vec::new();
    for domain in ["orders", "loyalty"] {
        let token = domains.create(domain, false).await.unwrap();
        credentials.push(format!("{domain}:{}", token.reveal()));
    }
    let registry = Registry::start(Arc::new(MemoryJournal::new()), domains, Config::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(serve(listener, registry, async {
        stopped.await.ok();
    }));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/judges/registry.py");
    let judging = tokio::task::spawn_blocking(move || {
        Command::new(python)
            .arg(script)
            .arg(url)
            .args(credentials)
            .output()
            .unwrap()
    });
    let output = judging.await.unwrap();
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success() && said.trim() == "judged",
        "{said}\n{complained}"
    );
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
}
