use bytes::{Buf, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Largest request or answer that passes, in bytes; brokers refuse more than 100 MiB by default.
const FRAME_BYTES_MAX: usize = 128 << 20;

/// Reads one frame without its length, or nothing when the connection is closed or speaks something else.
pub(super) async fn read(connection: &mut (impl AsyncReadExt + Unpin)) -> Option<Bytes> {
    let length = usize::try_from(connection.read_i32().await.ok()?)
        .ok()
        .filter(|length| *length <= FRAME_BYTES_MAX)?;
    let mut frame = Vec::new();
    // Grows with what arrives, not with what is announced.
    let read = connection
        .take(length as u64)
        .read_to_end(&mut frame)
        .await
        .ok()?;
    (read == length).then(|| frame.into())
}

/// Writes one frame with its length in front. Returns whether the connection took it.
pub(super) async fn write(connection: &mut (impl AsyncWriteExt + Unpin), frame: Bytes) -> bool {
    let Ok(length) = i32::try_from(frame.len()) else {
        return false;
    };
    let length = Bytes::copy_from_slice(&length.to_be_bytes());
    connection.write_all_buf(&mut length.chain(frame)).await.is_ok()
}
