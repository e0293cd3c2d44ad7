//! What the shared store is asked, and what it answers in time.

use std::time::Duration;

use evenkeel_flow::diversion::{Input, Loaded, Order, PutResult, RenewResult};
use evenkeel_store::{Error, Listed, Place, SharedStandby};

/// What the store was asked.
#[derive(Debug)]
pub(in crate::publish) struct Asked {
    /// What the member is told.
    pub(super) input: Input<Place>,
    /// Why the store did not answer.
    pub(super) trouble: Option<String>,
}

/// Asks the store, and says what it answered in time.
pub(super) async fn asked(store: &dyn SharedStandby, within: Duration, order: Order<Place>) -> Asked {
    let mut ask = Ask {
        within,
        trouble: None,
    };
    let input = match order {
        Order::Load { place } => {
            let found = ask.timely(store.lane(&place)).await.map(|lane| Loaded {
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
            let put = ask
                .timely(store.put_diversion(&place, version, tail, diversion))
                .await;
            let result = match put {
                Some(Some(version)) => PutResult::Made(version),
                Some(None) => PutResult::Moved,
                None => PutResult::Failed,
            };
            Input::Put { place, result }
        }
        Order::Renew { lease, joins } => {
            let result = match ask.timely(store.renew(lease, joins)).await {
                Some(true) => RenewResult::Made,
                Some(false) => RenewResult::Lost,
                None => RenewResult::Failed,
            };
            Input::Renewed { result }
        }
        Order::ListLeases => Input::Leases {
            found: ask.timely(store.leases()).await,
        },
        _ => Input::Listed {
            found: ask.timely(store.diversions()).await.map(|listed| {
                let pair = |Listed { place, diversion }| (place, diversion);
                listed.into_iter().map(pair).collect()
            }),
        },
    };
    let trouble = ask.trouble;
    Asked { input, trouble }
}

struct Ask {
    within: Duration,
    trouble: Option<String>,
}

impl Ask {
    async fn timely<T>(&mut self, answer: impl Future<Output = Result<T, Error>>) -> Option<T> {
        let trouble = match tokio::time::timeout(self.within, answer).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it does not answer within {:?}", self.within),
        };
        tracing::debug!(trouble, "the shared standby store cannot be asked");
        self.trouble = Some(trouble);
        None
    }
}
