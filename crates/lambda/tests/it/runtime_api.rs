//! A stand-in of Lambda: its runtime API, and the function as a process that speaks to it.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use evenkeel_event::clock::{Clock as _, SystemClock};
use serde_json::Value;

use crate::http::{Request, Response, serve};
use crate::stage::{PATIENCE, Variables};

const RUNTIME: &str = "/2018-06-01/runtime/";
/// Names another binary to be tested: that of a package.
const BINARY: &str = "EVENKEEL_TEST_LAMBDA";

/// One function, and the Lambda that invokes it. It is killed when this value is dropped.
pub(crate) struct Function {
    child: Child,
    invocations: Sender<Invocation>,
    answers: Receiver<Answer>,
    stdout: Lines,
    stderr: Lines,
    invoked: u32,
}

/// What the function is to handle.
struct Invocation {
    id: String,
    event: String,
    deadline_ms: i64,
}

/// What it said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Response { id: String, body: Value },
    Error { id: String, body: Value },
    InitError(Value),
}

type Lines = Arc<Mutex<String>>;

impl Function {
    /// Starts the binary with these variables and no others.
    pub(crate) fn start(variables: &Variables) -> Self {
        let (invocations, waiting) = channel();
        let (told, answers) = channel();
        let process = Arc::new(OnceLock::new());
        let address = api(waiting, told, process.clone());
        let mut child = command(address, variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        process.set(child.id()).unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Self {
            child,
            invocations,
            answers,
            stdout: gather(stdout),
            stderr: gather(stderr),
            invoked: 0,
        }
    }

    /// Hands it an event, to be answered within `limit`.
    pub(crate) fn begin(&mut self, event: &Value, limit: Duration) {
        self.invoked += 1;
        let deadline_ms = SystemClock::default().now().millis() + i64::try_from(limit.as_millis()).unwrap();
        let invocation = Invocation {
            id: self.invoked.to_string(),
            event: event.to_string(),
            deadline_ms,
        };
        self.invocations.send(invocation).unwrap();
    }

    /// What it has said, if it has said anything.
    pub(crate) fn has_answered(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }

    /// The next thing that it says.
    pub(crate) fn answer(&self) -> Answer {
        self.answers
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|error| panic!("the function says nothing: {error}: {}", self.stderr()))
    }

    /// What it answers to an event, within `limit`.
    pub(crate) fn invoke(&mut self, event: &Value, limit: Duration) -> Answer {
        let begun = std::time::Instant::now();
        self.begin(event, limit);
        let answer = self.answer();
        assert!(
            begun.elapsed() < limit,
            "Lambda would have killed it: {}",
            self.stderr()
        );
        answer
    }

    /// The report that it answers to a schedule.
    pub(crate) fn drain(&mut self, limit: Duration) -> Value {
        match self.invoke(&schedule(), limit) {
            Answer::Response { id, body } if id == self.invoked.to_string() => body,
            other => panic!("{other:?}: {}", self.stderr()),
        }
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its own end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Waits until it has logged this.
    pub(crate) async fn says(&self, expected: &str) {
        let begun = std::time::Instant::now();
        while !self.stderr().contains(expected) {
            assert!(begun.elapsed() < PATIENCE, "no \"{expected}\": {}", self.stderr());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// The line of metrics of the invocation `number`, of those that printed one.
    pub(crate) async fn metrics(&self, number: usize) -> Value {
        let begun = std::time::Instant::now();
        while self.stdout().lines().count() < number {
            assert!(begun.elapsed() < PATIENCE, "no metrics: {}", self.stdout());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        serde_json::from_str(self.stdout().lines().nth(number - 1).unwrap()).unwrap()
    }

    /// Most memory that it ever had, kB; `None` where the system does not tell.
    pub(crate) fn peak_kb(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // It may have ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The binary, as Lambda starts it, with these variables and no others.
pub(crate) fn command(api: SocketAddr, variables: &Variables) -> Command {
    let built = || env!("CARGO_BIN_EXE_evenkeel-lambda").into();
    let mut command = Command::new(std::env::var_os(BINARY).unwrap_or_else(built));
    command
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", api.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "drain")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .envs(variables.iter().cloned());
    command
}

/// What EventBridge sends.
pub(crate) fn schedule() -> Value {
    serde_json::json!({
        "version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "detail-type": "Scheduled Event",
        "source": "aws.events", "account": "123456789012", "time": "2026-01-01T00:00:00Z", "region": "eu-west-1",
        "resources": ["arn:aws:events:eu-west-1:123456789012:rule/drain"], "detail": {}
    })
}

/// What a stream of the table sends.
pub(crate) fn stream() -> Value {
    serde_json::json!({"Records": [{
        "eventID": "c4ca4238a0b923820dcc509a6f75849b", "eventName": "INSERT", "eventVersion": "1.1",
        "eventSource": "aws:dynamodb", "awsRegion": "eu-west-1",
        "dynamodb": {
            "Keys": {"pk": {"S": "place/orders/0"}, "sk": {"S": "block/00000000000000000007"}},
            "SequenceNumber": "4421584500000000017450439091", "SizeBytes": 26, "StreamViewType": "KEYS_ONLY"
        },
        "eventSourceARN": "arn:aws:dynamodb:eu-west-1:123456789012:table/standby/stream/2026-01-01T00:00:00.000"
    }]})
}

fn api(waiting: Receiver<Invocation>, told: Sender<Answer>, process: Arc<OnceLock<u32>>) -> SocketAddr {
    let (waiting, told) = (Mutex::new(waiting), Mutex::new(told));
    serve(move |request| {
        let Some(path) = request.path.strip_prefix(RUNTIME) else {
            return Response::new(404, "{}");
        };
        if path == "invocation/next" {
            return next(&waiting.lock().unwrap(), *process.wait());
        }
        let answer = said(path, request);
        // The test may have ended.
        told.lock().unwrap().send(answer).ok();
        Response::new(202, "{}")
    })
}

/// Waits for an event. Meanwhile the function is frozen, as Lambda does.
fn next(waiting: &Receiver<Invocation>, process: u32) -> Response {
    signal(process, "STOP");
    let invocation = waiting.recv();
    signal(process, "CONT");
    let Ok(invocation) = invocation else {
        return Response::new(500, "{}");
    };
    Response {
        status: 200,
        headers: vec![
            ("Lambda-Runtime-Aws-Request-Id", invocation.id),
            ("Lambda-Runtime-Deadline-Ms", invocation.deadline_ms.to_string()),
            (
                "Lambda-Runtime-Invoked-Function-Arn",
                "arn:aws:lambda:eu-west-1:123456789012:function:drain".to_owned(),
            ),
        ],
        body: invocation.event,
    }
}

/// The process may have been killed.
fn signal(process: u32, name: &str) {
    let mut kill = Command::new("kill");
    kill.args([&format!("-{name}"), &process.to_string()]);
    kill.stderr(Stdio::null()).status().unwrap();
}

fn said(path: &str, request: &Request) -> Answer {
    assert_eq!(request.method, "POST", "{path}");
    let body = serde_json::from_str(&request.body).unwrap();
    let words: Vec<&str> = path.split('/').collect();
    match words.as_slice() {
        ["init", "error"] => Answer::InitError(body),
        ["invocation", id, "response"] => Answer::Response {
            id: (*id).to_owned(),
            body,
        },
        ["invocation", id, "error"] => Answer::Error {
            id: (*id).to_owned(),
            body,
        },
        _ => panic!("{path} is no path of the runtime API"),
    }
}

fn gather(output: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let gathered = lines.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let mut gathered = gathered.lock().unwrap();
            gathered.push_str(&line);
            gathered.push('\n');
        }
    });
    lines
}
