//! What waiting does not mend is told to an operator while it stands, and costs no event (invariant **told-apart**).

use evenkeel::publish::Receipt;
use evenkeel_embedded::faults::{Fault, Requests};
use evenkeel_embedded::proxy::Api;
use evenkeel_store::AlarmKind;

use crate::stage::{PATIENCE, Stage, check_lanes, orders, publish_all};

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_only_an_operator_mends_raises_its_alarm_until_it_is_mended() {
    let stage = Stage::new().await;
    let publisher = stage.publisher().await;
    publish_all(&publisher, &["ann"], 0..1).await;
    let partition = stage.read(&orders()).await[0].partition;
    // TOPIC_AUTHORIZATION_FAILED, SASL_AUTHENTICATION_FAILED, INVALID_TIMESTAMP.
    let refusals = [
        (29, AlarmKind::PermissionRefused),
        (58, AlarmKind::AuthenticationRefused),
        (32, AlarmKind::TimestampRefused),
    ];
    for (round, (code, kind)) in (0..).zip(refusals) {
        let refused = Requests::of(Api::PRODUCE).about(orders().to_string());
        let refused = stage.faults().inject(refused, Fault::Error(code));
        let numbers = 1 + round * 3..4 + round * 3;
        let receipts = publish_all(&publisher, &["ann"], numbers).await;
        let is_parked = |receipt: &Receipt| matches!(receipt, Receipt::Parked { .. });
        assert!(receipts.values().all(is_parked), "{code}: {receipts:?}");
        stage.alarmed(&[(kind, Some(partition))]).await;
        refused.lift();
        stage.drained(&publisher).await;
        stage.alarmed(&[]).await;
    }
    check_lanes(&stage.read(&orders()).await, &["ann"], 10);
    assert!(publisher.close(PATIENCE).await);
}
