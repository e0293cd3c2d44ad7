//! The task that owns a connection's socket.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc, oneshot};

use super::frame::Frame;

/// Largest answer that is accepted, bytes. Fetches ask for less.
const ANSWER_BYTES_MAX: usize = 128 << 20;
/// Requests that wait for their answers on one connection.
const IN_FLIGHT_MAX: usize = 256;

const WAITING: u8 = 0;
const WRITTEN: u8 = 1;
const GIVEN_UP: u8 = 2;

/// Whether a request is written or given up: exactly one of the two happens, whoever is first.
#[derive(Debug, Clone)]
pub(super) struct Turn(Arc<AtomicU8>);

impl Turn {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU8::new(WAITING)))
    }

    /// Takes the turn to write; false when the caller has given up.
    fn write(&self) -> bool {
        self.take(WRITTEN)
    }

    /// Gives up; false when the request is written, or about to be.
    pub(super) fn give_up(&self) -> bool {
        self.take(GIVEN_UP)
    }

    fn take(&self, state: u8) -> bool {
        self.0
            .compare_exchange(WAITING, state, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// A request to be written, and where its answer goes.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) frame: Frame,
    pub(super) turn: Turn,
    pub(super) reply: Reply,
}

type Reply = oneshot::Sender<Result<Bytes, String>>;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Nobody held it any more.
    Unused,
    /// It broke: the node may be gone.
    Broken,
}

/// Requests that are written and wait, oldest first.
#[derive(Debug, Default)]
struct Waiting {
    list: Mutex<VecDeque<(i32, Reply)>>,
    shorter: Notify,
}

impl Waiting {
    fn with<T>(&self, change: impl FnOnce(&mut VecDeque<(i32, Reply)>) -> T) -> T {
        change(&mut self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn len(&self) -> usize {
        self.with(|list| list.len())
    }
}

/// Carries requests and answers until the socket closes, someone gives it up, or nobody holds the connection.
pub(super) async fn run<S>(socket: S, mut commands: mpsc::Receiver<Command>, give_up: Arc<Notify>) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (reader, writer) = tokio::io::split(socket);
    let waiting = Waiting::default();
    let reason = {
        let mut reading = std::pin::pin!(read(reader, &waiting));
        tokio::select! {
            reason = &mut reading => reason,
            () = give_up.notified() => "an earlier request was not answered in time".to_owned(),
            written = write(writer, &mut commands, &waiting) => match written {
                Err(reason) => reason,
                // Nobody holds the connection any more: what waits is still answered.
                Ok(()) => tokio::select! {
                    reason = &mut reading => reason,
                    () = all_answered(&waiting) => String::new(),
                },
            },
        }
    };
    commands.close();
    waiting.with(|list| {
        for (_, reply) in list.drain(..) {
            // The caller may be gone: nobody is left to be told.
            drop(reply.send(Err(reason.clone())));
        }
    });
    while let Ok(command) = commands.try_recv() {
        drop(command.reply.send(Err(reason.clone())));
    }
    if reason.is_empty() {
        End::Unused
    } else {
        End::Broken
    }
}

async fn all_answered(waiting: &Waiting) {
    loop {
        let shorter = waiting.shorter.notified();
        if waiting.len() == 0 {
            return;
        }
        shorter.await;
    }
}

/// Writes requests in the order in which they come; flushes when none is ready.
async fn write<W: AsyncWrite + Unpin>(
    mut writer: W,
    commands: &mut mpsc::Receiver<Command>,
    waiting: &Waiting,
) -> Result<(), String> {
    let mut correlation = 0_i32;
    while let Some(command) = commands.recv().await {
        let mut next = Some(command);
        while let Some(Command {
            mut frame,
            turn,
            reply,
        }) = next.take()
        {
            while waiting.len() >= IN_FLIGHT_MAX {
                let shorter = waiting.shorter.notified();
                if waiting.len() >= IN_FLIGHT_MAX {
                    writer.flush().await.map_err(|error| error.to_string())?;
                    shorter.await;
                }
            }
            if turn.write() {
                correlation = correlation.wrapping_add(1) & i32::MAX;
                frame.set_correlation(correlation);
                waiting.with(|list| list.push_back((correlation, reply)));
                writer
                    .write_all_buf(&mut frame)
                    .await
                    .map_err(|error| error.to_string())?;
            }
            next = commands.try_recv().ok();
        }
        writer.flush().await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Reads answers and gives each to the oldest request; ends with the reason why there are no more.
async fn read<R: AsyncRead + Unpin>(mut reader: R, waiting: &Waiting) -> String {
    loop {
        match read_frame(&mut reader).await {
            Ok(frame) => {
                let correlation = frame.clone().try_get_i32().unwrap_or(-1);
                let Some((expected, reply)) = waiting.with(VecDeque::pop_front) else {
                    return "an answer that nobody asked for".to_owned();
                };
                waiting.shorter.notify_waiters();
                if expected != correlation {
                    let reason = format!("the answer to {correlation} came where that to {expected} was due");
                    drop(reply.send(Err(reason.clone())));
                    return reason;
                }
                // The caller may have given up waiting; the answer is then of no use to anybody.
                drop(reply.send(Ok(frame)));
            }
            Err(error) => return error.to_string(),
        }
    }
}

/// Reads one length-prefixed frame.
pub(super) async fn read_frame<R: AsyncRead + Unpin>(reader: &mut R) -> io::Result<Bytes> {
    let length = reader.read_i32().await.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "it closed"),
        _ => error,
    })?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if !(4..=ANSWER_BYTES_MAX).contains(&length) {
        // 0x15 0x03 is the beginning of a TLS alert.
        let hint = if length >> 16 == 0x1503 {
            "; the listener wants TLS: set kafka.tls"
        } else {
            ""
        };
        let reason = format!("a frame of {length} bytes is not Kafka's{hint}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    // What comes decides how much memory is taken, not what is promised.
    let mut frame = BytesMut::with_capacity(length.min(1 << 20));
    let mut rest = reader.take(length as u64);
    while frame.len() < length {
        if frame.capacity() == frame.len() {
            frame.reserve((length - frame.len()).min(frame.len()));
        }
        if rest.read_buf(&mut frame).await? == 0 {
            let reason = "it closed within an answer";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
        }
    }
    Ok(frame.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{DuplexStream, duplex};
    use tokio::task::JoinHandle;

    struct Peer {
        far: DuplexStream,
        commands: mpsc::Sender<Command>,
        give_up: Arc<Notify>,
        task: JoinHandle<End>,
    }

    fn connection() -> Peer {
        let (near, far) = duplex(1 << 16);
        let (commands, receiver) = mpsc::channel(8);
        let give_up = Arc::new(Notify::new());
        Peer {
            far,
            commands,
            task: tokio::spawn(run(near, receiver, give_up.clone())),
            give_up,
        }
    }

    impl Peer {
        async fn ask(&self) -> (Turn, oneshot::Receiver<Result<Bytes, String>>) {
            let (reply, answer) = oneshot::channel();
            let turn = Turn::new();
            let command = Command {
                frame: Frame::new(BytesMut::from([0, 0, 0, 8, 0, 3, 0, 12, 0, 0, 0, 0].as_slice())),
                turn: turn.clone(),
                reply,
            };
            self.commands.send(command).await.unwrap();
            (turn, answer)
        }

        /// The correlation id of the next request.
        async fn request(&mut self) -> i32 {
            let mut frame = [0; 12];
            self.far.read_exact(&mut frame).await.unwrap();
            assert_eq!(frame[..8], [0, 0, 0, 8, 0, 3, 0, 12], "another request's bytes");
            i32::from_be_bytes(frame[8..].try_into().unwrap())
        }

        async fn answer(&mut self, correlation: i32) {
            self.far.write_i32(4).await.unwrap();
            self.far.write_i32(correlation).await.unwrap();
        }
    }

    #[tokio::test]
    async fn answers_come_in_the_order_of_the_requests() {
        let mut peer = connection();
        let (_, first) = peer.ask().await;
        let (_, second) = peer.ask().await;
        assert_eq!((peer.request().await, peer.request().await), (1, 2));
        peer.answer(1).await;
        peer.answer(2).await;
        assert_eq!(first.await.unwrap().unwrap().as_ref(), 1_i32.to_be_bytes());
        assert_eq!(second.await.unwrap().unwrap().as_ref(), 2_i32.to_be_bytes());
    }

    #[tokio::test]
    async fn an_answer_to_another_request_ends_the_connection_for_all() {
        let mut peer = connection();
        let (_, first) = peer.ask().await;
        let (_, second) = peer.ask().await;
        peer.answer(7).await;
        assert!(first.await.unwrap().is_err());
        assert!(second.await.unwrap().is_err());
        assert_eq!(peer.task.await.unwrap(), End::Broken);
    }

    #[tokio::test]
    async fn what_is_given_up_before_its_turn_is_never_written() {
        let mut peer = connection();
        let (reply, _answer) = oneshot::channel();
        let turn = Turn::new();
        assert!(turn.give_up());
        let frame = Frame::new(BytesMut::from(b"this must not be sent".as_slice()));
        peer.commands.send(Command { frame, turn, reply }).await.unwrap();
        let (written, _answer) = peer.ask().await;
        assert_eq!(peer.request().await, 1);
        assert!(!written.give_up(), "it is too late to give up what is written");
    }

    #[tokio::test]
    async fn a_peer_that_closes_is_told_to_all_who_wait() {
        let mut peer = connection();
        let (_, waiting) = peer.ask().await;
        peer.request().await;
        drop(peer.far);
        assert_eq!(waiting.await.unwrap(), Err("it closed".to_owned()));
        assert_eq!(peer.task.await.unwrap(), End::Broken);
    }

    #[tokio::test]
    async fn what_waits_is_answered_after_the_last_handle_is_gone() {
        let mut peer = connection();
        let (_, waiting) = peer.ask().await;
        peer.request().await;
        let Peer {
            mut far,
            commands,
            task,
            ..
        } = peer;
        drop(commands);
        far.write_all(&[0, 0, 0, 4, 0, 0, 0, 1]).await.unwrap();
        assert!(waiting.await.unwrap().is_ok());
        assert_eq!(task.await.unwrap(), End::Unused);
    }

    #[tokio::test]
    async fn a_connection_that_is_given_up_says_so() {
        let mut peer = connection();
        let (_, waiting) = peer.ask().await;
        peer.request().await;
        peer.give_up.notify_one();
        assert!(waiting.await.unwrap().is_err());
        assert_eq!(peer.task.await.unwrap(), End::Broken);
    }
}
