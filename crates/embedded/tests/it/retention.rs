//! Segments that are deleted by age and by size.

use std::{thread, time::Duration, time::Instant};

use crate::{
    client::{Client, WAIT},
    crash::files,
    produce::{PLAIN, stamped},
    served::Served,
};

/// As often as can be.
pub(crate) const OFTEN: Duration = Duration::from_millis(5);

/// Waits until it is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < WAIT, "not in time: {what}");
        thread::yield_now();
    }
}

fn cleaning() -> (Served, Client) {
    let served = Served::with(|config| config.cleanup_interval = OFTEN);
    let client = served.client();
    (served, client)
}

fn start(client: &mut Client) -> i64 {
    client.offset("t", 0, -2).0
}

#[test]
fn what_is_old_is_deleted_and_what_is_new_stays() {
    let (mut served, mut client) = cleaning();
    client.create("t", 1, &[("segment.bytes", "14"), ("retention.ms", "3600000")]);
    for value in ["old", "older"] {
        assert_eq!(client.produce("t", 0, PLAIN.of(&[value])).error_code, 0);
    }
    let new = client.produce("t", 0, stamped(-1, -1, -1).of(&["new"]));
    assert_eq!(new.base_offset, 2);
    until("the old ones go", || start(&mut client) == 2);
    assert_eq!(client.read("t", 0, 2), [(2, "new".to_owned())]);
    let gone = client.fetch(&crate::client::fetch("t", 0, 0));
    let data = &gone.responses[0].partitions[0];
    assert_eq!((data.error_code, data.log_start_offset), (1, 2));
    let next = client.produce("t", 0, stamped(-1, -1, -1).of(&["newer"]));
    assert_eq!(
        (next.base_offset, next.log_start_offset),
        (3, 2),
        "KIP-107: the producer is told"
    );
    until("their files go", || {
        files(served.directory.path(), "log").len() <= 2
    });
    served.restart();
    let mut client = served.client();
    assert_eq!(start(&mut client), 2);
    assert_eq!(client.offset("t", 0, -1).0, 4);
    assert_eq!(client.read("t", 0, 2).len(), 2);
}

#[test]
fn a_segment_that_is_written_to_is_sealed_when_all_of_it_is_old() {
    let (mut served, mut client) = cleaning();
    client.create("t", 1, &[("retention.ms", "1000")]);
    client.produce("t", 0, PLAIN.of(&["a", "b", "c"]));
    until("all of it goes", || start(&mut client) == 3);
    assert_eq!(client.read("t", 0, 3), []);
    served.restart();
    let mut client = served.client();
    let bounds = (start(&mut client), client.offset("t", 0, -1).0);
    assert_eq!(bounds, (3, 3), "offsets are never given again");
    assert_eq!(client.produce("t", 0, PLAIN.of(&["d"])).base_offset, 3);
}

#[test]
fn what_is_too_much_is_deleted_from_the_old_end() {
    let (_served, mut client) = cleaning();
    let value = "x".repeat(1_000);
    client.create("t", 1, &[("segment.bytes", "2000"), ("retention.bytes", "5000")]);
    for _ in 0..20 {
        assert_eq!(client.produce("t", 0, PLAIN.of(&[&value])).error_code, 0);
    }
    until("the first ones go", || start(&mut client) >= 13);
    let first = start(&mut client);
    let left = client.read("t", 0, first);
    assert!(
        (5..=7).contains(&left.len()),
        "at least retention.bytes stay: {}",
        left.len()
    );
    assert_eq!(left.last().unwrap().0, 19);
}

#[test]
fn nothing_goes_where_nothing_may() {
    let (_served, mut client) = cleaning();
    client.create("forever", 1, &[("segment.bytes", "14")]);
    client.create("t", 1, &[("segment.bytes", "14"), ("retention.ms", "1000")]);
    for name in ["forever", "t"] {
        client.produce(name, 0, PLAIN.of(&["a"]));
        client.produce(name, 0, PLAIN.of(&["b"]));
    }
    // The pass that deletes the one has met the other before.
    until("the other goes", || start(&mut client) == 2);
    assert_eq!(client.read("forever", 0, 0).len(), 2);
}

#[test]
fn the_next_segment_begins_when_the_first_record_is_old() {
    let (served, mut client) = cleaning();
    client.create("t", 1, &[("segment.ms", "1000")]);
    client.produce("t", 0, PLAIN.of(&["a"]));
    until("it is sealed", || {
        files(served.directory.path(), "log").len() == 2
    });
    assert_eq!(client.produce("t", 0, PLAIN.of(&["b"])).base_offset, 1);
    let expected = [(0, "a".to_owned()), (1, "b".to_owned())];
    assert_eq!(client.read("t", 0, 0), expected);
}

#[test]
fn readers_and_writers_go_on_while_segments_go() {
    let (served, mut client) = cleaning();
    client.create("t", 1, &[("segment.bytes", "14"), ("retention.bytes", "400")]);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = served.client();
            for number in 0..500 {
                let batch = PLAIN.of(&[number.to_string()]);
                assert_eq!(client.produce("t", 0, batch).base_offset, number);
            }
        });
        let mut offset = 0;
        while offset < 500 {
            let answer = client.fetch(&crate::client::fetch("t", 0, offset));
            let data = &answer.responses[0].partitions[0];
            match data.error_code {
                0 => {
                    let records = crate::produce::records(data.records.as_ref().unwrap());
                    for (at, value) in records {
                        assert_eq!(at.to_string(), value);
                        offset = at + 1;
                    }
                }
                1 => offset = data.log_start_offset,
                other => panic!("code {other} at {offset}"),
            }
        }
        writer.join().unwrap();
    });
}
