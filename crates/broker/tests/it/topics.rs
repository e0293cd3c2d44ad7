//! Topics, and events that are written and read back.

use evenkeel_broker::Leader;

use crate::brokers::{Bench, apache, appended, block_on};

#[test]
fn events_read_back() {
    let Some(kafka) = apache() else { return };
    block_on(async {
        let bench = Bench::new(kafka.bootstrap(), "events").await;
        assert!(matches!(
            bench.cluster.metadata().leader(&bench.partition(0)),
            Leader::At { .. }
        ));
        assert_eq!(bench.send(&bench.batch(0, 0, &["one", "two"])).await, appended(0));
        assert_eq!(bench.send(&bench.batch(0, 2, &["three"])).await, appended(2));
        assert_eq!(bench.values().await, ["one", "two", "three"]);
    });
}
