use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Api, Shared, frame, rewrite};

/// Frames that a delay or a hang holds back in each direction; a client that sends more waits.
const HELD_MAX: usize = 64;

/// Requests that wait for their answer; those that get none (acks=0) fall out.
const UNANSWERED_MAX: usize = 4096;

/// A request that was passed on.
struct Sent {
    correlation: i32,
    api: i16,
    version: i16,
}

/// A frame and when it may go on.
struct Held {
    due: Instant,
    frame: Bytes,
}

/// Passes requests to the broker and answers to the client until one of the two closes or an answer is swallowed. What the
/// client sent before it closed still reaches the broker.
pub(super) async fn relay(client: TcpStream, upstream: SocketAddr, shared: Arc<Shared>) {
    shared.passable().await;
    let Ok(broker) = TcpStream::connect(upstream).await else {
        return;
    };
    for connection in [&client, &broker] {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%upstream, %error, "small frames may wait");
        }
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_broker, mut to_broker) = broker.into_split();
    let sent = Mutex::new(VecDeque::new());
    let (hold_request, mut requests) = mpsc::channel(HELD_MAX);
    let (hold_answer, mut answers) = mpsc::channel(HELD_MAX);
    let forth = async {
        tokio::join!(
            take_requests(&mut from_client, hold_request, &sent, &shared),
            release(&mut requests, &mut to_broker, &shared)
        )
    };
    let back = async {
        tokio::join!(
            take_answers(&mut from_broker, hold_answer, &sent, &shared),
            release(&mut answers, &mut to_client, &shared)
        )
    };
    tokio::select! {
        _ = forth => {}
        _ = back => {}
    }
}

/// Reads requests and notes what each is, until the client closes.
async fn take_requests(
    client: &mut (impl AsyncReadExt + Unpin),
    hold: mpsc::Sender<Held>,
    sent: &Mutex<VecDeque<Sent>>,
    shared: &Shared,
) {
    while let Some(frame) = frame::read(client).await {
        let mut header = frame.as_ref();
        let (Ok(api), Ok(version), Ok(correlation)) =
            (header.try_get_i16(), header.try_get_i16(), header.try_get_i32())
        else {
            return;
        };
        {
            let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
            if sent.len() >= UNANSWERED_MAX {
                sent.pop_front();
            }
            sent.push_back(Sent {
                correlation,
                api,
                version,
            });
        }
        if hold.send(held(frame, shared)).await.is_err() {
            return;
        }
    }
}

/// Reads answers and rewrites the addresses in them, until the broker closes or an answer is to be swallowed.
async fn take_answers(
    broker: &mut (impl AsyncReadExt + Unpin),
    hold: mpsc::Sender<Held>,
    sent: &Mutex<VecDeque<Sent>>,
    shared: &Arc<Shared>,
) {
    while let Some(frame) = frame::read(broker).await {
        let Some(request) = frame
            .as_ref()
            .try_get_i32()
            .ok()
            .and_then(|correlation| answered(sent, correlation))
        else {
            tracing::warn!("a broker answered what was not asked");
            return;
        };
        let mut swallowed = false;
        shared.faults.send_if_modified(|faults| {
            swallowed = faults.swallows(Api(request.api));
            false
        });
        if swallowed {
            return;
        }
        let mut advertise = |node_id, host: &str, port| shared.advertise(node_id, host, port);
        let frame = match rewrite::answer(request.api, request.version, frame, &mut advertise) {
            Ok(frame) => frame,
            Err(error) => {
                tracing::warn!(%error, "the connection is closed, so that no client learns the broker's own address");
                return;
            }
        };
        if hold.send(held(frame, shared)).await.is_err() {
            return;
        }
    }
}

/// The request that this answers. Brokers answer in order: those before it never get an answer.
fn answered(sent: &Mutex<VecDeque<Sent>>, correlation: i32) -> Option<Sent> {
    let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some(request) = sent.pop_front() {
        if request.correlation == correlation {
            return Some(request);
        }
    }
    None
}

fn held(frame: Bytes, shared: &Shared) -> Held {
    Held {
        due: Instant::now() + shared.faults.borrow().delay,
        frame,
    }
}

/// Writes what is due. When the other end is gone, the rest is read and forgotten, so that the opposite direction can finish.
async fn release(
    held: &mut mpsc::Receiver<Held>,
    other_end: &mut (impl AsyncWriteExt + Unpin),
    shared: &Shared,
) {
    let mut open = true;
    while let Some(Held { due, frame }) = held.recv().await {
        tokio::time::sleep_until(due).await;
        shared.passable().await;
        open = open && frame::write(other_end, frame).await;
    }
}
