//! What a keeper promises, and what it leaves in the table.

use bytes::Bytes;
use evenkeel_event::clock::{Clock as _, SystemClock, Timestamp};
use evenkeel_flow::diversion::Process;
use evenkeel_store::dynamodb::DynamoKeeper;
use evenkeel_store::{Block, Change, Error, Keeper as _, Place};

use super::proxy::{Act, Proxy};
use super::{connect, endpoint, keeper, keys};
use crate::rows::place;

const KIB: usize = 1024;
const HOUR_MS: i64 = 3_600_000;

/// A block of one position whose bytes tell it from others.
pub(crate) fn block(position: u64, bytes: usize) -> Block {
    let seed = u8::try_from(position % 251).unwrap();
    let pattern: Vec<u8> = (0..bytes)
        .map(|at| seed.wrapping_add(u8::try_from(at % 241).unwrap()))
        .collect();
    Block {
        position,
        end: position + 1,
        bytes: Bytes::from(pattern),
    }
}

pub(crate) fn change(place: &Place, expected: Option<u64>, blocks: Vec<Block>) -> Change {
    Change {
        place: place.clone(),
        expected,
        record: Bytes::from_static(b"a record"),
        head: 0,
        blocks,
        is_listed: true,
    }
}

async fn read(keeper: &DynamoKeeper, place: &Place, from: u64, bytes_max: usize) -> Vec<Block> {
    keeper.blocks(place, from, bytes_max).await.unwrap()
}

#[tokio::test]
async fn a_commit_is_all_or_none() {
    let Some(endpoint) = endpoint() else { return };
    let (_, keeper) = keeper(endpoint).await;
    let (one, other) = (place("orders", Some(0)), place("orders", None));
    assert_eq!(keeper.record(&one).await.unwrap(), None);
    let first = vec![change(&one, None, vec![block(0, 10)])];
    assert!(keeper.commit(first.clone()).await.unwrap());
    assert!(!keeper.commit(first).await.unwrap(), "there is a record by now");
    for (ours, theirs) in [(Some(1), Some(1)), (Some(2), None), (None, None), (Some(0), None)] {
        let both = vec![
            change(&one, ours, vec![block(1, 20)]),
            change(&other, theirs, vec![block(0, 30)]),
        ];
        assert!(!keeper.commit(both).await.unwrap(), "{ours:?} {theirs:?}");
    }
    assert_eq!(keeper.record(&other).await.unwrap(), None);
    assert_eq!(read(&keeper, &one, 0, usize::MAX).await, [block(0, 10)]);
    let both = vec![
        change(&one, Some(1), vec![block(1, 20)]),
        change(&other, None, vec![block(0, 30)]),
    ];
    assert!(keeper.commit(both).await.unwrap());
    let kept = keeper.record(&one).await.unwrap().unwrap();
    assert_eq!((kept.revision, &kept.bytes[..]), (2, &b"a record"[..]));
    assert_eq!(keeper.record(&other).await.unwrap().unwrap().revision, 1);
    assert_eq!(
        read(&keeper, &one, 0, usize::MAX).await,
        [block(0, 10), block(1, 20)]
    );
    assert_eq!(read(&keeper, &other, 0, usize::MAX).await, [block(0, 30)]);
}

/// Sizes on each side of what goes into a transaction and of what fits into one part.
#[tokio::test]
async fn blocks_of_all_sizes_are_read_from_any_position() {
    let Some(endpoint) = endpoint() else { return };
    let (_, keeper) = keeper(endpoint).await;
    let at = place("orders", Some(0));
    let sizes = [
        vec![0, 1, 0],
        vec![64 * KIB],
        vec![64 * KIB + 1],
        vec![100, 64 * KIB, 350 * KIB],
        vec![350 * KIB; 3],
        vec![1, 350 * KIB, 1, 2 * 350 * KIB, 0, 1_000 * KIB + 7, 3],
    ];
    let (mut all, mut revision) = (Vec::new(), None);
    for sizes in sizes {
        let first = all.len() as u64;
        let blocks: Vec<Block> = (first..).zip(sizes).map(|(at, size)| block(at, size)).collect();
        all.extend(blocks.clone());
        assert!(keeper.commit(vec![change(&at, revision, blocks)]).await.unwrap());
        revision = Some(revision.unwrap_or(0) + 1);
    }
    for from in 0..=all.len() {
        let start = from as u64;
        assert_eq!(
            read(&keeper, &at, start, usize::MAX).await,
            all[from..],
            "from {from}"
        );
        let mut room = 800 * KIB;
        let fitting = all[from..].iter().enumerate().take_while(|(index, block)| {
            let fits = *index == 0 || block.bytes.len() <= room;
            room = room.saturating_sub(block.bytes.len());
            fits
        });
        let fitting: Vec<Block> = fitting.map(|(_, block)| block.clone()).collect();
        assert_eq!(read(&keeper, &at, start, 800 * KIB).await, fitting, "from {from}");
        assert_eq!(
            read(&keeper, &at, start, 0).await.len().min(1),
            usize::from(from < all.len())
        );
    }
}

#[tokio::test]
async fn a_large_append_is_one_step_and_leaves_nothing() {
    let Some(endpoint) = endpoint() else { return };
    let (config, keeper) = keeper(endpoint).await;
    let at = place("orders", Some(0));
    let blocks: Vec<Block> = (0..256).map(|position| block(position, 256 * KIB)).collect();
    assert!(
        keeper
            .commit(vec![change(&at, None, blocks.clone())])
            .await
            .unwrap()
    );
    let mut from = 0;
    while let Some(end) = blocks.get(from).map(|block| block.end) {
        let piece = read(&keeper, &at, from as u64, 4 * KIB * KIB).await;
        assert!(
            piece.len() <= 16 && piece[..] == blocks[from..from + piece.len()],
            "at {end}"
        );
        from += piece.len();
    }
    assert_eq!(
        read(&keeper, &at, 0, usize::MAX).await,
        blocks,
        "in several reads of the table"
    );
    keeper.clean(&at, 100).await.unwrap();
    assert_eq!(read(&keeper, &at, 100, 1).await, [block(100, 256 * KIB)]);
    keeper.clean(&at, 256).await.unwrap();
    let left = ["format format", "listed/0 orders/0", "place/orders/0 record"];
    let left_shards: Vec<String> = keys(endpoint, &config).await;
    assert_eq!(left_shards.len(), left.len(), "{left_shards:?}");
    assert!(left_shards[1].starts_with("listed/") && left_shards[1].ends_with(" orders/0"));
    assert!(read(&keeper, &at, 0, usize::MAX).await.is_empty());
}

/// Whoever loses a race has staged what nobody will show: it is taken back at once.
#[tokio::test]
async fn a_lost_race_leaves_nothing() {
    let Some(endpoint) = endpoint() else { return };
    let (config, keeper) = keeper(endpoint).await;
    let at = place("orders", Some(0));
    assert!(keeper.commit(vec![change(&at, None, Vec::new())]).await.unwrap());
    let before = keys(endpoint, &config).await;
    let late = change(&at, None, vec![block(0, 2_000 * KIB)]);
    assert!(!keeper.commit(vec![late]).await.unwrap());
    assert_eq!(keys(endpoint, &config).await, before);
}

#[tokio::test]
async fn what_is_cleaned_is_exactly_what_ends_below() {
    let Some(endpoint) = endpoint() else { return };
    let (_, keeper) = keeper(endpoint).await;
    let at = place("orders", Some(0));
    for position in 0..120 {
        let expected = (position > 0).then_some(position);
        let block = block(position, if position % 40 == 0 { 200 * KIB } else { 10 });
        assert!(
            keeper
                .commit(vec![change(&at, expected, vec![block])])
                .await
                .unwrap()
        );
    }
    for below in [0, 1, 50, 119] {
        keeper.clean(&at, below).await.unwrap();
        let left = read(&keeper, &at, 0, usize::MAX).await;
        let positions: Vec<u64> = left.iter().map(|block| block.position).collect();
        assert_eq!(positions, (below..120).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_is_listed_is_what_the_records_say() {
    let Some(endpoint) = endpoint() else { return };
    let (config, keeper) = keeper(endpoint).await;
    let other = connect(endpoint, &config).await;
    let places: Vec<Place> = (0..150)
        .map(|partition| place("orders", Some(partition)))
        .collect();
    for chunk in places.chunks(33) {
        let changes = chunk.iter().map(|at| change(at, None, Vec::new())).collect();
        assert!(keeper.commit(changes).await.unwrap());
    }
    let names = async |keeper: &DynamoKeeper| {
        let mut listed = keeper.listed().await.unwrap();
        listed.sort_by(|(one, _), (other, _)| one.cmp(other));
        listed
    };
    let listed = names(&other).await;
    assert!(listed.iter().map(|(place, _)| place).eq(&places));
    assert!(
        listed
            .iter()
            .all(|(_, kept)| kept.revision == 1 && &kept.bytes[..] == b"a record")
    );
    // Taken off by a keeper that has seen the record, by one that has not, and put on again.
    let off = |at: &Place, expected| Change {
        is_listed: false,
        ..change(at, Some(expected), Vec::new())
    };
    assert!(keeper.commit(vec![off(&places[0], 1)]).await.unwrap());
    let stranger = connect(endpoint, &config).await;
    assert!(
        stranger
            .commit(vec![off(&places[1], 1), off(&places[2], 1)])
            .await
            .unwrap()
    );
    assert!(
        keeper
            .commit(vec![change(&places[2], Some(2), Vec::new())])
            .await
            .unwrap()
    );
    let listed = names(&other).await;
    assert!(listed.iter().map(|(place, _)| place).eq(&places[2..]));
    assert_eq!(listed[0].1.revision, 3);
    let entries = keys(endpoint, &config).await;
    assert_eq!(
        entries.iter().filter(|key| key.starts_with("listed/")).count(),
        148
    );
}

#[tokio::test]
async fn more_places_than_a_transaction_takes_are_refused() {
    let Some(endpoint) = endpoint() else { return };
    let (_, keeper) = keeper(endpoint).await;
    let changes = |count| {
        (0..count)
            .map(|partition| change(&place("orders", Some(partition)), None, vec![block(0, 30 * KIB)]))
            .collect::<Vec<_>>()
    };
    let refused = keeper.commit(changes(34)).await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    assert!(keeper.commit(changes(33)).await.unwrap());
    assert_eq!(
        read(&keeper, &place("orders", Some(32)), 0, 0).await,
        [block(0, 30 * KIB)]
    );
}

#[tokio::test]
async fn leases_are_kept_as_their_renewals_say() {
    let Some(endpoint) = endpoint() else { return };
    let (_, keeper) = keeper(endpoint).await;
    let process = Process(u128::MAX);
    let put = async |renewal, joins| {
        let lease = Bytes::from(format!("renewal {renewal}"));
        keeper.put_lease(process, renewal, lease, joins).await.unwrap()
    };
    assert!(!put(1, false).await);
    assert!(put(5, true).await);
    assert!(!put(5, true).await && !put(4, true).await && !put(5, false).await);
    assert!(put(10, false).await);
    assert_eq!(
        keeper.leases().await.unwrap(),
        [Bytes::from_static(b"renewal 10")]
    );
    assert!(!keeper.remove_lease(process, 5).await.unwrap());
    assert!(keeper.remove_lease(process, 10).await.unwrap());
    assert!(!keeper.remove_lease(process, 10).await.unwrap());
    assert!(keeper.leases().await.unwrap().is_empty());
}

/// A process that dies before its commit leaves its parts, and a commit that is paused for longer than a sweep waits
/// finds them gone: it is not made.
#[tokio::test]
async fn what_nobody_showed_is_swept_and_cannot_be_shown_later() {
    let Some(endpoint) = endpoint() else { return };
    let (config, _) = keeper(endpoint).await;
    let proxy = Proxy::start(endpoint).await;
    let held = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    proxy.next("TransactWriteItems", vec![Act::Hold(held.clone())]);
    let slow = connect(&proxy.endpoint, &config).await;
    let at = place("orders", Some(0));
    let mut append = tokio::spawn({
        let at = at.clone();
        async move {
            slow.commit(vec![change(&at, None, vec![block(0, 1_000 * KIB)])])
                .await
        }
    });
    let staged = |keys: Vec<String>| keys.iter().filter(|key| key.starts_with("part/")).count();
    while !proxy.operations().contains("TransactWriteItems") {
        tokio::task::yield_now().await;
    }
    assert_eq!(staged(keys(endpoint, &config).await), 3);
    let sweeper = connect(endpoint, &config).await;
    let now = SystemClock::default().now().millis();
    let hours = |hours| Timestamp::from_millis(now + hours * HOUR_MS);
    assert_eq!(sweeper.sweep(hours(0)).await.unwrap(), 0, "it is young");
    assert_eq!(sweeper.sweep(hours(2)).await.unwrap(), 1);
    assert_eq!(keys(endpoint, &config).await, ["format format"]);
    held.add_permits(1);
    assert!(!(&mut append).await.unwrap().unwrap());
    assert_eq!(keys(endpoint, &config).await, ["format format"]);
    assert!(read(&sweeper, &at, 0, 0).await.is_empty());
}

/// The other way round: what was shown is not swept, however old it is.
#[tokio::test]
async fn what_was_shown_is_never_swept() {
    let Some(endpoint) = endpoint() else { return };
    let (_, keeper) = keeper(endpoint).await;
    let at = place("orders", Some(0));
    assert!(
        keeper
            .commit(vec![change(&at, None, vec![block(0, 1_000 * KIB)])])
            .await
            .unwrap()
    );
    let later = Timestamp::from_millis(SystemClock::default().now().millis() + 1_000 * HOUR_MS);
    assert_eq!(keeper.sweep(later).await.unwrap(), 0);
    assert_eq!(read(&keeper, &at, 0, 0).await, [block(0, 1_000 * KIB)]);
}
