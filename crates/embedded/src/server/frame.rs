//! One request as it comes: a length of 32 bits and that many bytes.

use std::{io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// How long a request may take to arrive once its length is known.
const BODY_WAIT: Duration = Duration::from_secs(30);

/// The bytes of one request, and its share of the memory for requests.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    pub(crate) share: OwnedSemaphorePermit,
}

/// Reads one frame; `None` when the peer closed between two.
pub(crate) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    bytes_max: u32,
    memory: &Arc<Semaphore>,
) -> io::Result<Option<Frame>> {
    let length = match stream.read_i32().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = u32::try_from(length).ok().filter(|length| *length <= bytes_max);
    let Some(length) = length else {
        return Err(io::Error::other(format!(
            "a request's length is not within 0 and {bytes_max}"
        )));
    };
    let share = Arc::clone(memory)
        .acquire_many_owned(length)
        .await
        .map_err(io::Error::other)?;
    let bytes = timeout(BODY_WAIT, read_body(stream, usize::try_from(length).unwrap_or(0))).await??;
    Ok(Some(Frame { bytes, share }))
}

/// The memory is reserved by the operating system only as it is filled.
async fn read_body(stream: &mut (impl AsyncRead + Unpin), length: usize) -> io::Result<Bytes> {
    let mut bytes = BytesMut::with_capacity(length);
    let mut body = stream.take(length as u64);
    while bytes.len() < length {
        if body.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(bytes.freeze())
}
