//! One connection to one broker: requests in, answers out, in order and many at a time.
//!
//! One task owns the socket. Rules:
//! - an answer must carry the correlation id of the oldest request that waits, else the connection is given up;
//! - a request that is not answered in time gives the connection up, because what follows would be late too;
//! - a request is *written* from just before its first byte is handed to the socket; one given up before that is
//!   never written, and its caller is told so;
//! - a connection that closes says so at once to all who wait.

pub(crate) mod dial;
pub(crate) mod frame;
mod sasl;
mod scram;
pub(crate) mod task;
pub(crate) mod tls;
mod versions;
pub(crate) mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::protocol::Request;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::error::Error;
use frame::Frame;
use task::{Command, Turn};
pub(crate) use versions::Known;
use versions::Versions;

/// Requests that may wait for the socket.
const QUEUE_MAX: usize = 64;

/// A connection that is ready for requests. Cheap to clone; closes when the last clone is gone and nothing waits.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    address: String,
    client_id: String,
    versions: Versions,
    commands: mpsc::Sender<Command>,
    /// Told once; from then on the connection is used no more.
    give_up: Arc<tokio::sync::Notify>,
    born: Instant,
    /// When the credentials run out (KIP-368); the pool replaces the connection before that.
    expires: Option<Instant>,
    /// Milliseconds after `born` until which the broker wants nothing from us.
    throttled_until_ms: AtomicU64,
    /// Whether a request was ever answered; a listener that wants credentials closes before the first answer.
    answered: AtomicBool,
}

impl Connection {
    /// `host:port`, as dialled.
    pub(crate) fn address(&self) -> &str {
        &self.inner.address
    }

    /// Who it says that it is.
    pub(crate) fn client_id(&self) -> &str {
        &self.inner.client_id
    }

    /// True while requests can be sent.
    pub(crate) fn is_usable(&self) -> bool {
        let fresh = self.inner.expires.is_none_or(|expires| Instant::now() < expires);
        fresh && !self.inner.commands.is_closed()
    }

    /// Sends `request` in the highest version that both know and waits for its answer, `timeout` at the most.
    ///
    /// # Errors
    /// When the connection closes, no answer comes in time, or the answer cannot be read.
    pub(crate) async fn call<R: Request>(
        &self,
        request: &R,
        timeout: Duration,
    ) -> Result<R::Response, Error> {
        self.call_at_most(request, i16::MAX, timeout)
            .await
            .map(|(response, _)| response)
    }

    /// As [`call`](Self::call), in no version above `at_most`; also tells the version spoken.
    pub(crate) async fn call_at_most<R: Request>(
        &self,
        request: &R,
        at_most: i16,
        timeout: Duration,
    ) -> Result<(R::Response, i16), Error> {
        let version = self.version::<R>(at_most)?;
        let frame = self.exchange::<R>(request, version, timeout).await?;
        let response = wire::decode::<R>(frame, version).map_err(|reason| self.protocol::<R>(reason))?;
        Ok((response, version))
    }

    /// The version in which `R` is spoken here, no higher than `at_most`.
    pub(crate) fn version<R: Request>(&self, at_most: i16) -> Result<i16, Error> {
        let known = Known::of(R::KEY);
        self.inner
            .versions
            .pick(known, at_most)
            .ok_or_else(|| Error::Unsupported {
                address: self.inner.address.clone(),
                request: known.name,
                lowest: known.lowest,
                highest: known.highest.min(at_most),
            })
    }

    /// Sends `request` in `version` and gives the answer's bytes, header included.
    pub(crate) async fn exchange<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Result<Bytes, Error> {
        let frame = wire::encode(request, version, &self.inner.client_id)
            .map_err(|reason| self.protocol::<R>(reason))?;
        self.exchange_frame::<R>(Frame::new(frame), timeout).await
    }

    /// Sends what is framed already, and gives the answer's bytes, header included.
    pub(crate) async fn exchange_frame<R: Request>(
        &self,
        frame: Frame,
        timeout: Duration,
    ) -> Result<Bytes, Error> {
        let name = Known::of(R::KEY).name;
        let deadline = Instant::now() + timeout;
        self.wait_for_quota(name, deadline).await?;
        let turn = Turn::new();
        let (reply, answer) = oneshot::channel();
        let command = Command {
            frame,
            turn: turn.clone(),
            reply,
        };
        let outcome = tokio::time::timeout_at(deadline, async {
            self.inner.commands.send(command).await.map_err(|_| None)?;
            match answer.await {
                Ok(Ok(frame)) => Ok(frame),
                Ok(Err(reason)) => Err(Some(reason)),
                Err(_) => Err(None),
            }
        })
        .await;
        match outcome {
            Ok(Ok(frame)) => {
                self.inner.answered.store(true, Ordering::Relaxed);
                Ok(frame)
            }
            Ok(Err(reason)) => Err(self.disconnected(name, reason, !turn.give_up())),
            Err(_) => {
                let written = !turn.give_up();
                if written {
                    self.inner.give_up.notify_one();
                }
                Err(Error::TimedOut {
                    address: self.inner.address.clone(),
                    request: name,
                    after: timeout,
                    written,
                })
            }
        }
    }

    fn disconnected(&self, request: &'static str, reason: Option<String>, written: bool) -> Error {
        let mut reason = reason.unwrap_or_else(|| "the connection is closed".to_owned());
        if !self.inner.answered.load(Ordering::Relaxed) {
            reason.push_str(", before its first answer; the listener may want credentials: check kafka.sasl");
        }
        Error::Disconnected {
            address: self.inner.address.clone(),
            request,
            reason,
            written,
        }
    }

    /// Remembers that the broker wants nothing from us for `wait` (KIP-219: it answers first, the client waits).
    pub(crate) fn throttle(&self, wait: Duration) {
        if wait.is_zero() {
            return;
        }
        let until = (self.inner.born.elapsed() + wait).as_millis();
        let until = u64::try_from(until).unwrap_or(u64::MAX);
        self.inner.throttled_until_ms.fetch_max(until, Ordering::Relaxed);
    }

    async fn wait_for_quota(&self, request: &'static str, deadline: Instant) -> Result<(), Error> {
        let until = Duration::from_millis(self.inner.throttled_until_ms.load(Ordering::Relaxed));
        let Some(wait) = until.checked_sub(self.inner.born.elapsed()) else {
            return Ok(());
        };
        if Instant::now() + wait >= deadline {
            return Err(Error::Throttled {
                address: self.inner.address.clone(),
                request,
                wait,
            });
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    pub(crate) fn protocol<R: Request>(&self, reason: String) -> Error {
        Error::Protocol {
            address: self.inner.address.clone(),
            request: Known::of(R::KEY).name,
            reason,
        }
    }
}
