//! Stands between a client and DynamoDB local, and does to each request what a test says.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// What becomes of a request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// It is answered by the server.
    Pass,
    /// The server carries it out, and nobody hears of it.
    LoseAnswer,
    /// It never arrives, and nobody hears of that.
    LoseRequest,
    /// It is answered with an error that DynamoDB would give, and not carried out.
    Refuse(String),
    /// It waits for a permit before it goes on.
    Hold(Arc<Semaphore>),
}

impl Act {
    /// The error of this name, without more.
    pub(crate) fn refuse(code: &str) -> Self {
        Self::Refuse(format!(
            r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"made up"}}"#
        ))
    }

    /// A transaction that was cancelled for these reasons, one for each of its items.
    pub(crate) fn cancel(codes: &[&str]) -> Self {
        let reasons: Vec<String> = codes
            .iter()
            .map(|code| format!(r#"{{"Code":"{code}","Message":"made up"}}"#))
            .collect();
        Self::Refuse(format!(
            r#"{{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"cancelled","CancellationReasons":[{}]}}"#,
            reasons.join(",")
        ))
    }
}

type Decide = Box<dyn FnMut(&str) -> Act + Send>;

struct Shared {
    server: String,
    decide: Mutex<Decide>,
    operations: Mutex<BTreeSet<String>>,
}

/// A running proxy.
pub(crate) struct Proxy {
    pub(crate) endpoint: String,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Proxy({})", self.endpoint)
    }
}

impl Proxy {
    /// Passes everything to the server at this endpoint.
    pub(crate) async fn start(endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Shared {
            server: endpoint.strip_prefix("http://").unwrap().to_owned(),
            decide: Mutex::new(Box::new(|_| Act::Pass)),
            operations: Mutex::default(),
        });
        Self {
            endpoint: format!("http://{}", listener.local_addr().unwrap()),
            accepting: tokio::spawn(accept(listener, shared.clone())),
            shared,
        }
    }

    /// From now on each request is treated as `decide` says, which is told its operation, for example `PutItem`.
    pub(crate) fn decide(&self, decide: impl FnMut(&str) -> Act + Send + 'static) {
        *self.shared.decide.lock().unwrap() = Box::new(decide);
    }

    /// Does this to the next requests of an operation, then passes.
    pub(crate) fn next(&self, operation: &'static str, acts: Vec<Act>) {
        let mut acts = acts.into_iter();
        self.decide(move |asked| match asked == operation {
            true => acts.next().unwrap_or(Act::Pass),
            false => Act::Pass,
        });
    }

    /// What was asked for up to now.
    pub(crate) fn operations(&self) -> BTreeSet<String> {
        self.shared.operations.lock().unwrap().clone()
    }
}

impl Proxy {
    /// Ends it: its port is closed when this returns.
    pub(crate) async fn end(mut self) {
        self.accepting.abort();
        // That it was aborted is what was asked for.
        drop((&mut self.accepting).await);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            // A connection that breaks is what a client must live with.
            drop(serve(client, &shared).await);
        });
    }
}

/// One request, one connection on each side.
async fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    let Some((head, body)) = read_request(&mut client).await? else {
        return Ok(());
    };
    let operation = header(&head, "x-amz-target")
        .and_then(|target| target.split_once('.'))
        .map_or_else(String::new, |(_, operation)| operation.to_owned());
    shared.operations.lock().unwrap().insert(operation.clone());
    let act = (shared.decide.lock().unwrap())(&operation);
    match act {
        Act::LoseRequest => return Ok(()),
        Act::Refuse(body) => {
            let answer = format!(
                "HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            return client.write_all(answer.as_bytes()).await;
        }
        Act::Hold(ref permits) => permits.acquire().await.unwrap().forget(),
        Act::Pass | Act::LoseAnswer => {}
    }
    let mut server = TcpStream::connect(&shared.server).await?;
    let (first, rest) = head.split_once("\r\n").unwrap();
    server
        .write_all(format!("{first}\r\nConnection: close\r\n{rest}").as_bytes())
        .await?;
    server.write_all(&body).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    match act {
        Act::LoseAnswer => Ok(()),
        _ => client.write_all(&answer).await,
    }
}

/// Head (with its empty line) and body; `None` when the client has nothing to ask.
async fn read_request(client: &mut TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if client.read_buf(&mut read).await? == 0 {
            return Ok(None);
        }
    };
    let mut body = read.split_off(end);
    let head = String::from_utf8(read).unwrap();
    let length: usize = header(&head, "content-length").unwrap().parse().unwrap();
    while body.len() < length {
        if client.read_buf(&mut body).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some((head, body)))
}

fn header<'head>(head: &'head str, name: &str) -> Option<&'head str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}
