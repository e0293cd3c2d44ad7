//! Hands events to the publishers at the workload's rate.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use super::event::Recipe;
use super::fleet::{Order, Orders, lock};
use super::ledger::Ledger;

/// Between looks at what is due.
const TICK: Duration = Duration::from_millis(5);
/// Events of one publisher without a final answer. So many numbers fit into the pipe of one that stands still.
const WINDOW: usize = 4_000;

/// What is handed over, and how fast.
pub(super) struct Feed {
    pub(super) orders: Orders,
    pub(super) recipe: Recipe,
    /// Events a second.
    pub(super) rate: u64,
    /// How long.
    pub(super) lasts: Duration,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    /// Ends it early.
    pub(super) stop: CancellationToken,
}

impl Feed {
    /// Runs until its time is over. A publisher that does not answer holds all up.
    pub(super) async fn run(self) -> Result<()> {
        let begun = Instant::now();
        let mut tick = tokio::time::interval(TICK);
        let mut next = 0;
        while begun.elapsed() < self.lasts {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.stop.cancelled() => return Ok(()),
            }
            let due = due(begun.elapsed(), self.rate);
            next = self.hand_over(next, due).await?;
        }
        Ok(())
    }

    /// Hands over the events from `next` to before `due`, as far as there is room, and returns the first that was not.
    async fn hand_over(&self, next: u64, due: u64) -> Result<u64> {
        let publishers = self.orders.len();
        let mut batches: Vec<Vec<u64>> = vec![Vec::new(); publishers];
        let mut room: Vec<usize> = (0..publishers)
            .map(|publisher| WINDOW.saturating_sub(self.orders.owned_by(publisher)))
            .collect();
        let mut number = next;
        while number < due {
            let publisher = usize::try_from(self.recipe.publisher(number)).unwrap_or(0);
            match (room.get_mut(publisher), batches.get_mut(publisher)) {
                (Some(room), Some(batch)) if *room > 0 => {
                    *room -= 1;
                    batch.push(number);
                }
                _ => break,
            }
            number += 1;
        }
        lock(&self.ledger).reserve(number);
        for (publisher, batch) in batches.into_iter().enumerate() {
            if !batch.is_empty() {
                self.orders.tell(publisher, Order::Publish(batch)).await?;
            }
        }
        Ok(number)
    }
}

fn due(elapsed: Duration, rate: u64) -> u64 {
    let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    micros.saturating_mul(rate) / 1_000_000
}
