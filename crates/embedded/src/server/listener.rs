//! Takes connections, as many as the limit allows.

use std::{sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::Semaphore, time::sleep};
use tokio_util::task::TaskTracker;

use super::connection;
use crate::node::Node;

/// How long to wait when the operating system has no more file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves until the node stops.
pub(crate) async fn serve(node: Arc<Node>, listener: TcpListener, tasks: TaskTracker) {
    let places = Arc::new(Semaphore::new(
        usize::try_from(node.config.limits.connections).unwrap_or(1),
    ));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = node.stopping.cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "no connection could be taken");
                sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!(%peer, limit = node.config.limits.connections, "too many connections; this one is closed");
            continue;
        };
        let Some(line) = node.faults.lines.take() else {
            continue;
        };
        let node = Arc::clone(&node);
        tasks.spawn(async move {
            connection::serve(&node, stream, peer, line).await;
            drop(place);
        });
    }
}
