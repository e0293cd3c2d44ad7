//! Connections that are closed, silenced or not taken on order.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// All connections, by the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    next: AtomicU64,
    orders: watch::Sender<Orders>,
}

/// Orders to the connections below a number.
#[derive(Debug, Default, Clone, Copy)]
struct Orders {
    closed_below: u64,
    silent_below: u64,
    refused: bool,
}

/// One connection.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    number: u64,
    orders: watch::Receiver<Orders>,
}

impl Lines {
    /// A new connection; `None` when it is refused.
    pub(crate) fn take(&self) -> Option<Line> {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let orders = self.orders.subscribe();
        let refused = orders.borrow().refused;
        (!refused).then_some(Line { number, orders })
    }

    pub(super) fn close_all(&self) {
        let below = self.next.load(Ordering::SeqCst);
        self.orders.send_modify(|orders| orders.closed_below = below);
    }

    pub(super) fn silence_all(&self) {
        let below = self.next.load(Ordering::SeqCst);
        self.orders.send_modify(|orders| orders.silent_below = below);
    }

    pub(super) fn refuse(&self, refused: bool) {
        self.orders.send_modify(|orders| orders.refused = refused);
    }

    pub(super) fn clear(&self) {
        self.orders.send_modify(|orders| {
            orders.refused = false;
            orders.closed_below = orders.closed_below.max(orders.silent_below);
        });
    }
}

impl Line {
    /// Waits until the connection is to be closed.
    pub(crate) async fn closed(&mut self) {
        let number = self.number;
        self.wait(|orders| number < orders.closed_below).await;
    }

    /// Waits until the connection is to go silent.
    pub(crate) async fn silenced(&mut self) {
        let number = self.number;
        self.wait(|orders| number < orders.silent_below).await;
    }

    /// Whether the connection is to be closed or to go silent.
    pub(crate) fn has_orders(&self) -> bool {
        let orders = self.orders.borrow();
        self.number < orders.closed_below.max(orders.silent_below)
    }

    async fn wait(&mut self, until: impl FnMut(&Orders) -> bool) {
        // Orders end with the broker, and then the connection ends by itself.
        if self.orders.wait_for(until).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
