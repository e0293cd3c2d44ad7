//! One connection: a reader that checks and decodes, and a writer that answers in the order of the requests.
//!
//! A produce request is handed to the log as soon as it is read, so that several of one connection share a sync;
//! everything else waits for its turn in the writer.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::frame;
use crate::{
    api::{self, Answer, Refused, Work},
    faults::Line,
    node::Node,
};

/// How long a peer may take to read one answer.
const WRITE_WAIT: Duration = Duration::from_mins(1);
/// How long the answers to what is in the log may take when the broker stops.
const STOP_WAIT: Duration = Duration::from_secs(5);
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// Serves one connection until either side closes it, or a fault does.
pub(crate) async fn serve(node: &Arc<Node>, stream: TcpStream, peer: SocketAddr, mut line: Line) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "small answers may be held back");
    }
    let (mut reader, mut writer) = stream.into_split();
    let (mut other, ordered) = (line.clone(), line.clone());
    tokio::select! {
        // What was ordered goes before what came in after it.
        biased;
        () = line.closed() => return,
        () = other.silenced() => {}
        () = work(node, &mut reader, &mut writer, peer, &ordered) => return,
    }
    // Both halves are kept and nothing is done with them: to its peer the connection is there and says nothing.
    tokio::select! {
        () = line.closed() => {}
        () = node.stopping.cancelled() => {}
    }
}

async fn work(
    node: &Arc<Node>,
    reader: &mut OwnedReadHalf,
    writer: &mut OwnedWriteHalf,
    peer: SocketAddr,
    line: &Line,
) {
    let closed = node.stopping.child_token();
    let in_flight = usize::try_from(node.config.limits.in_flight).unwrap_or(1);
    let (work, queue) = mpsc::channel(in_flight);
    let reading = async {
        let end = tokio::select! {
            end = read(node, reader, &work, line) => end,
            () = closed.cancelled() => Ok(()),
        };
        closed.cancel();
        drop(work);
        end
    };
    let writing = async {
        let end = write(node, writer, queue, &closed).await;
        closed.cancel();
        end
    };
    let (read_end, write_end) = tokio::join!(reading, writing);
    if let Err(error) = read_end {
        tracing::warn!(%peer, %error, "a connection was closed: its request was refused");
    }
    if let Err(error) = write_end {
        tracing::debug!(%peer, %error, "a connection was closed by its peer");
    }
}

async fn read(
    node: &Arc<Node>,
    reader: &mut OwnedReadHalf,
    work: &mpsc::Sender<Work>,
    line: &Line,
) -> Result<(), Refused> {
    let limits = node.config.limits;
    let mut reader = BufReader::with_capacity(READ_BUFFER_BYTES, reader);
    loop {
        let place = match work.reserve().await {
            Ok(place) => place,
            Err(_) => return Ok(()),
        };
        match frame::read(&mut reader, limits.request_bytes, &node.request_bytes).await {
            Ok(Some(frame)) => {
                // An order that came while this task was at work is older than what was sent after it.
                if line.has_orders() {
                    std::future::pending::<()>().await;
                }
                let asked = api::check(node, frame)?;
                asked.hold(node).await;
                let throttle = asked.throttle();
                place.send(api::accept(node, asked)?);
                if !throttle.is_zero() {
                    tokio::time::sleep(throttle).await;
                }
            }
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(Refused::Frame(error)),
        }
    }
}

async fn write(
    node: &Arc<Node>,
    writer: &mut OwnedWriteHalf,
    mut queue: mpsc::Receiver<Work>,
    closed: &CancellationToken,
) -> io::Result<()> {
    while let Some(work) = queue.recv().await {
        let answered = async {
            let answer: Option<Answer> = api::answer(node, work, closed).await?;
            if let Some(answer) = answer {
                timeout(WRITE_WAIT, writer.write_all(&answer.bytes)).await??;
            }
            Ok::<_, io::Error>(())
        };
        tokio::select! {
            end = answered => end?,
            () = given_up(node) => return Ok(()),
        }
    }
    writer.shutdown().await
}

async fn given_up(node: &Node) {
    node.stopping.cancelled().await;
    tokio::time::sleep(STOP_WAIT).await;
}
