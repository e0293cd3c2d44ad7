//! One line on standard output for each invocation, in CloudWatch's embedded metric format: CloudWatch makes metrics of it,
//! without a request.

use std::io::Write as _;

use evenkeel_event::clock::Timestamp;
use serde_json::{Value, json};

/// Where CloudWatch shows them. deploy/aws sets alarms on them by these names; a test compares.
const NAMESPACE: &str = "Evenkeel";
const OLDEST: &str = "OldestParkedAgeSeconds";
const PARKED: &str = "ParkedEvents";
const DRAINED: &str = "Drained";

/// What is told of an invocation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured<'settings> {
    pub(crate) application: &'settings str,
    pub(crate) at: Timestamp,
    /// Age of the oldest parked event; 0 where nothing is parked.
    pub(crate) oldest_age_ms: u64,
    pub(crate) parked: u64,
    pub(crate) drained: u64,
}

/// Writes the line.
pub(crate) fn tell(measured: Measured<'_>) {
    let line = line(measured);
    if let Err(error) = writeln!(std::io::stdout().lock(), "{line}") {
        tracing::warn!(%error, "the metrics of this invocation are lost");
    }
}

fn line(measured: Measured<'_>) -> Value {
    let metric = |name: &str, unit: &str| json!({"Name": name, "Unit": unit});
    json!({
        "_aws": {
            "Timestamp": measured.at.millis(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [["Application"]],
                "Metrics": [metric(OLDEST, "Seconds"), metric(PARKED, "Count"), metric(DRAINED, "Count")],
            }],
        },
        "Application": measured.application,
        (OLDEST): measured.oldest_age_ms / 1_000,
        (PARKED): measured.parked,
        (DRAINED): measured.drained,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_that_is_named_has_a_value() {
        let line = line(Measured {
            application: "orders-api",
            at: Timestamp::from_millis(7),
            oldest_age_ms: 61_999,
            parked: 3,
            drained: 4,
        });
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        let names: Vec<&str> = directive["Metrics"]
            .as_array()
            .unwrap()
            .iter()
            .map(|metric| metric["Name"].as_str().unwrap())
            .collect();
        let values: Vec<u64> = names.iter().map(|name| line[name].as_u64().unwrap()).collect();
        assert_eq!(values, [61, 3, 4]);
        assert_eq!(
            line[directive["Dimensions"][0][0].as_str().unwrap()],
            "orders-api"
        );
        assert!(!line.to_string().contains('\n'));
    }
}
