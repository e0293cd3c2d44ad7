//! What the shared store is asked, and what it answers in time.

use std::time::Duration;

use evenkeel_flow::diversion::{Input, Loaded, Order, PutResult, RenewResult};
use evenkeel_store::{Error, Listed, Place, SharedStandby};

/// Asks the store, and says what it answered in time.
pub(super) async fn asked(store: &dyn SharedStandby, within: Duration, order: Order<Place>) -> Input<Place> {
    async fn timely<T>(within: Duration, asked: impl Future<Output = Result<T, Error>>) -> Option<T> {
        match tokio::time::timeout(within, asked).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the shared standby store cannot be asked");
                None
            }
            Err(_) => None,
        }
    }
    match order {
        Order::Load { place } => {
            let found = timely(within, store.lane(&place)).await.map(|lane| Loaded {
                diversion: lane.diversion,
                head: lane.span.head,
                tail: lane.span.tail,
            });
            Input::Loaded { place, found }
        }
        Order::Put {
            place,
            version,
            tail,
            diversion,
        } => {
            let put = timely(within, store.put_diversion(&place, version, tail, diversion)).await;
            let result = match put {
                Some(Some(version)) => PutResult::Made(version),
                Some(None) => PutResult::Moved,
                None => PutResult::Failed,
            };
            Input::Put { place, result }
        }
        Order::Renew { lease, joins } => {
            let result = match timely(within, store.renew(lease, joins)).await {
                Some(true) => RenewResult::Made,
                Some(false) => RenewResult::Lost,
                None => RenewResult::Failed,
            };
            Input::Renewed { result }
        }
        Order::ListLeases => Input::Leases {
            found: timely(within, store.leases()).await,
        },
        _ => Input::Listed {
            found: timely(within, store.diversions()).await.map(|listed| {
                let pair = |Listed { place, diversion }| (place, diversion);
                listed.into_iter().map(pair).collect()
            }),
        },
    }
}
