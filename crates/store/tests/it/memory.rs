//! The store in memory passes both suites.

use std::sync::{Arc, Mutex};

use evenkeel_store::{BoxFuture, Error, MemoryStandby, SharedStandby, Standby};

use crate::rows::{append_id, place, rows};
use crate::{conformance, shared};

#[derive(Default)]
struct Memory(Mutex<Option<Arc<MemoryStandby>>>);

impl Memory {
    fn store(&self, again: bool) -> Arc<MemoryStandby> {
        let mut kept = self.0.lock().unwrap();
        let fresh = || Arc::new(MemoryStandby::new(1 << 30));
        let store = kept.take().filter(|_| again).unwrap_or_else(fresh);
        kept.insert(store).clone()
    }
}

impl conformance::Factory for Memory {
    fn open(&self, again: bool) -> BoxFuture<'_, Arc<dyn Standby>> {
        Box::pin(async move { self.store(again) as Arc<dyn Standby> })
    }
}

impl shared::Factory for Memory {
    fn open_shared(&self, again: bool) -> BoxFuture<'_, Arc<dyn SharedStandby>> {
        Box::pin(async move { self.store(again) as Arc<dyn SharedStandby> })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_suites() {
    conformance::run(&Memory::default()).await;
    shared::run(&Memory::default()).await;
}

#[tokio::test]
async fn refuses_at_its_limit() {
    let (store, at) = (MemoryStandby::new(3), place("orders", Some(0)));
    store.append(&at, append_id(0), rows(&["ab", "c"])).await.unwrap();
    let refused = store.append(&at, append_id(1), rows(&["d"])).await;
    assert!(matches!(refused, Err(Error::Full { .. })));
}
