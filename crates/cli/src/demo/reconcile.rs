//! Compares what lies on the topics with what the order file says. Knows nothing of how the events got there.

use std::collections::{BTreeMap, HashMap, HashSet};

use rust_decimal::Decimal;
use serde::Serialize;

use super::orders::Orders;

/// One event as the independent reader found it on the events' topic, in the order of its partition.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) country: String,
    pub(super) total: Decimal,
}

/// How many events the receipts called published and parked. The topics cannot tell that.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Receipts {
    pub(super) published: usize,
    pub(super) parked: usize,
}

/// The figures of the demo, as `--report` writes them.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Different events on the topic.
    pub(super) on_topic: usize,
    /// Receipts that said published.
    pub(super) published: usize,
    /// Receipts that said parked.
    pub(super) parked: usize,
    /// Different events in the publisher's dead-letter topic.
    pub(super) dead_lettered: usize,
    /// Of those, the ones that are on the topic now.
    pub(super) redriven: usize,
    /// Events of the file that are not on the topic.
    pub(super) lost: usize,
    /// Events that stand behind a later one of their key.
    pub(super) out_of_order: usize,
    /// Further occurrences of an event that is already on the topic.
    pub(super) duplicates: usize,
    /// Revenue per country, two decimals.
    pub(super) totals: BTreeMap<String, String>,
}

/// A difference between the report and the file, as a sentence.
pub(super) type Difference = String;

/// Counts what was read and compares it with the first `count` events of the file. `constructed` are ids that the
/// demo made up beside the data; they are left out.
pub(super) fn reconcile(
    orders: &Orders,
    count: usize,
    topic: &[Seen],
    letters: &HashSet<String>,
    receipts: Receipts,
    constructed: &HashSet<String>,
) -> (Report, Vec<Difference>) {
    let turn: HashMap<String, usize> = orders
        .events(count)
        .enumerate()
        .map(|(turn, invoice)| (invoice.invoice_no, turn))
        .collect();
    let seen: Vec<&Seen> = topic
        .iter()
        .filter(|seen| !constructed.contains(&seen.id))
        .collect();
    let first = first_occurrences(&seen);
    let ids: HashSet<&str> = first.iter().map(|seen| seen.id.as_str()).collect();
    let letters: HashSet<&String> = letters.difference(constructed).collect();
    let totals = totals(&first);
    let report = Report {
        on_topic: ids.len(),
        published: receipts.published,
        parked: receipts.parked,
        dead_lettered: letters.len(),
        redriven: letters.iter().filter(|id| ids.contains(id.as_str())).count(),
        lost: turn.keys().filter(|id| !ids.contains(id.as_str())).count(),
        out_of_order: out_of_order(&first, &turn),
        duplicates: seen.len() - first.len(),
        totals: totals
            .iter()
            .map(|(country, total)| (country.clone(), format!("{total:.2}")))
            .collect(),
    };
    let differences = differences(&report, &totals, orders, count);
    (report, differences)
}

fn first_occurrences<'seen>(seen: &[&'seen Seen]) -> Vec<&'seen Seen> {
    let mut known = HashSet::new();
    seen.iter()
        .copied()
        .filter(|seen| known.insert(seen.id.as_str()))
        .collect()
}

fn totals(first: &[&Seen]) -> BTreeMap<String, Decimal> {
    let mut totals: BTreeMap<String, Decimal> = BTreeMap::new();
    for seen in first {
        *totals.entry(seen.country.clone()).or_default() += seen.total;
    }
    totals
}

fn out_of_order(first: &[&Seen], turn: &HashMap<String, usize>) -> usize {
    let mut latest: HashMap<&str, usize> = HashMap::new();
    let mut count = 0;
    for seen in first {
        let Some(turn) = turn.get(&seen.id) else { continue };
        let latest = latest.entry(&seen.key).or_insert(*turn);
        count += usize::from(turn < latest);
        *latest = (*latest).max(*turn);
    }
    count
}

fn differences(
    report: &Report,
    totals: &BTreeMap<String, Decimal>,
    orders: &Orders,
    count: usize,
) -> Vec<Difference> {
    let expected = orders.expected(count);
    let accepted = expected.events - expected.without_customer;
    let figures = [
        ("events on the topic", report.on_topic, expected.events),
        (
            "events published or parked",
            report.published + report.parked,
            accepted,
        ),
        (
            "events dead-lettered",
            report.dead_lettered,
            expected.without_customer,
        ),
        ("events redriven", report.redriven, expected.without_customer),
        ("events lost", report.lost, 0),
        ("events out of order", report.out_of_order, 0),
        ("duplicates", report.duplicates, 0),
    ];
    let mut found: Vec<Difference> = figures
        .iter()
        .filter(|(_, actual, expected)| actual != expected)
        .map(|(name, actual, expected)| format!("{name}: {actual}, expected {expected}"))
        .collect();
    let countries = totals
        .keys()
        .chain(expected.totals.keys())
        .collect::<std::collections::BTreeSet<_>>();
    for country in countries {
        let (actual, wanted) = (totals.get(country), expected.totals.get(country));
        if actual != wanted {
            found.push(format!(
                "revenue of {country}: {}, expected {}",
                shown(actual),
                shown(wanted)
            ));
        }
    }
    found
}

fn shown(total: Option<&Decimal>) -> String {
    total.map_or_else(|| "none".to_owned(), |total| format!("{total:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn perfect(orders: &Orders) -> Vec<Seen> {
        orders
            .events(512)
            .map(|invoice| Seen {
                id: invoice.invoice_no.clone(),
                key: invoice.key().to_owned(),
                country: invoice.country.clone(),
                total: invoice.total(),
            })
            .collect()
    }

    fn check(change: impl FnOnce(&mut Vec<Seen>), expected: &[&str]) {
        let orders = Orders::read().unwrap();
        let letters: HashSet<String> = orders
            .events(512)
            .filter(|invoice| invoice.customer_id.is_none())
            .map(|invoice| invoice.invoice_no)
            .collect();
        let mut topic = perfect(&orders);
        change(&mut topic);
        let receipts = Receipts {
            published: 400,
            parked: 44,
        };
        let constructed = HashSet::from(["constructed".to_owned()]);
        let (_, differences) = reconcile(&orders, 512, &topic, &letters, receipts, &constructed);
        assert_eq!(differences.len(), expected.len(), "{differences:?}");
        for (difference, expected) in differences.iter().zip(expected) {
            assert!(
                difference.starts_with(expected),
                "{difference} does not start with {expected}"
            );
        }
    }

    #[test]
    fn a_faithful_topic_has_no_differences() {
        check(|_| (), &[]);
    }

    #[test]
    fn the_constructed_case_is_left_out() {
        check(
            |topic| {
                let mut extra = topic[0].clone();
                extra.id = "constructed".to_owned();
                topic.push(extra);
            },
            &[],
        );
    }

    #[test]
    fn a_lost_event_is_noticed() {
        check(
            |topic| {
                topic.remove(0);
            },
            &[
                "events on the topic: 511",
                "events lost: 1",
                "revenue of United Kingdom",
            ],
        );
    }

    #[test]
    fn a_double_is_noticed() {
        check(|topic| topic.push(topic[3].clone()), &["duplicates: 1"]);
    }

    #[test]
    fn two_swapped_events_of_one_key_are_noticed() {
        check(
            |topic| {
                let later = topic
                    .iter()
                    .skip(1)
                    .position(|seen| seen.key == topic[0].key)
                    .unwrap()
                    + 1;
                topic.swap(0, later);
            },
            &["events out of order: "],
        );
    }

    #[test]
    fn a_changed_price_is_noticed() {
        check(
            |topic| topic[0].total += Decimal::new(1, 2),
            &["revenue of United Kingdom"],
        );
    }
}
