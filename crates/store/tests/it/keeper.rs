//! A keeper in memory that fails on purpose, by a seed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use evenkeel_flow::diversion::Process;
use evenkeel_store::{Block, BoxFuture, Change, Error, Keeper, Kept, Place};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// What goes wrong, each in so many of 1,000 calls.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// A commit or read does not reach the server.
    pub(crate) unreached: u32,
    /// A commit is made, and its answer is lost.
    pub(crate) unanswered: u32,
    /// A commit ends with an error and is made later, if its condition holds then.
    pub(crate) late: u32,
    /// A commit is refused although its condition holds.
    pub(crate) refused: u32,
    /// A commit is refused, and some of its blocks stay where nobody may see them.
    pub(crate) littered: u32,
    /// How long an answer of a commit or a read of a record is under way.
    pub(crate) answer_after: Duration,
}

/// Several of them share one server, as several processes do.
#[derive(Debug, Clone)]
pub(crate) struct Faulty {
    server: Arc<Mutex<Server>>,
    faults: Faults,
}

#[derive(Debug)]
struct Server {
    random: StdRng,
    records: BTreeMap<Place, (Kept, bool)>,
    blocks: BTreeMap<(Place, u64), Block>,
    leases: BTreeMap<Process, (u64, Bytes)>,
    late: Vec<Vec<Change>>,
    is_away: bool,
    prepares: u32,
}

impl Faulty {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        let server = Server {
            random: StdRng::seed_from_u64(seed),
            records: BTreeMap::new(),
            blocks: BTreeMap::new(),
            leases: BTreeMap::new(),
            late: Vec::new(),
            is_away: false,
            prepares: 0,
        };
        Self {
            server: Arc::new(Mutex::new(server)),
            faults,
        }
    }

    /// Whether it cannot be prepared.
    pub(crate) fn set_away(&self, is_away: bool) {
        self.server().is_away = is_away;
    }

    /// How often it was to be prepared.
    pub(crate) fn prepares(&self) -> u32 {
        self.server().prepares
    }

    /// The same server, with other faults.
    pub(crate) fn with(&self, faults: Faults) -> Self {
        Self {
            faults,
            ..self.clone()
        }
    }

    /// Changes the bytes of each block.
    pub(crate) fn damage(&self, change: impl Fn(&mut Vec<u8>)) {
        for block in self.server().blocks.values_mut() {
            let mut bytes = block.bytes.to_vec();
            change(&mut bytes);
            block.bytes = bytes.into();
        }
    }

    /// Loses a block.
    pub(crate) fn lose(&self, place: &Place, position: u64) {
        self.server()
            .blocks
            .remove(&(place.clone(), position))
            .expect("the block is there");
    }

    /// Leaves a copy of a place's first block at another position, of which no record speaks.
    pub(crate) fn litter(&self, place: &Place, position: u64) {
        let mut server = self.server();
        let first = server.blocks.iter().find(|((at, _), _)| at == place);
        let copy = Block {
            position,
            end: position + 1,
            ..first.expect("the place has a block").1.clone()
        };
        server.blocks.insert((place.clone(), position), copy);
    }

    /// Changes the bytes of a record.
    pub(crate) fn damage_record(&self, place: &Place) {
        let mut server = self.server();
        let (kept, _) = server.records.get_mut(place).unwrap();
        kept.bytes = kept.bytes.slice(1..);
    }

    /// Positions of the blocks that take room.
    pub(crate) fn positions(&self, place: &Place) -> Vec<u64> {
        let server = self.server();
        let own = server.blocks.keys().filter(|(at, _)| at == place);
        own.map(|(_, position)| *position).collect()
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap()
    }

    /// As a network does, so that others come between.
    fn answered<T>(&self, answer: T) -> impl Future<Output = T> + use<T> {
        let after = self.faults.answer_after;
        async move {
            match after.is_zero() {
                true => tokio::task::yield_now().await,
                false => tokio::time::sleep(after).await,
            }
            answer
        }
    }

    fn unreachable(may_have_been_made: bool) -> Error {
        Error::Unreachable {
            server: "a server in memory".to_owned(),
            action: "do something",
            reason: "on purpose".to_owned(),
            may_have_been_made,
        }
    }
}

impl Server {
    fn happens(&mut self, of_1000: u32) -> bool {
        of_1000 > 0 && self.random.random_ratio(of_1000, 1_000)
    }

    /// Makes late commits, some of them.
    fn arrive(&mut self) {
        if !self.late.is_empty() && self.random.random_bool(0.5) {
            let changes = self.late.swap_remove(0);
            self.commit(changes);
        }
    }

    fn commit(&mut self, changes: Vec<Change>) -> bool {
        let revision = |place| self.records.get(place).map(|(kept, _)| kept.revision);
        let holds = changes
            .iter()
            .all(|change| revision(&change.place) == change.expected);
        if holds {
            for change in changes {
                self.make(change);
            }
        }
        holds
    }

    fn make(&mut self, change: Change) {
        let kept = Kept {
            revision: change.expected.unwrap_or(0) + 1,
            bytes: change.record,
        };
        assert!(kept.bytes.len() < 400_000);
        self.records
            .insert(change.place.clone(), (kept, change.is_listed));
        for block in change.blocks {
            self.blocks.insert((change.place.clone(), block.position), block);
        }
    }
}

impl Keeper for Faulty {
    fn name(&self) -> &'static str {
        "a server in memory"
    }

    fn prepare(&self) -> BoxFuture<'_, Result<(), Error>> {
        let mut server = self.server();
        server.prepares += 1;
        let answer = match server.is_away {
            true => Err(Self::unreachable(false)),
            false => Ok(()),
        };
        Box::pin(self.answered(answer))
    }

    fn record(&self, place: &Place) -> BoxFuture<'_, Result<Option<Kept>, Error>> {
        let mut server = self.server();
        server.arrive();
        let answer = match server.happens(self.faults.unreached) {
            true => Err(Self::unreachable(false)),
            false => Ok(server.records.get(place).map(|(kept, _)| kept.clone())),
        };
        Box::pin(self.answered(answer))
    }

    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<bool, Error>> {
        let mut server = self.server();
        let faults = self.faults;
        let answer = if server.happens(faults.unreached) {
            Err(Self::unreachable(false))
        } else if server.happens(faults.late) {
            server.late.push(changes);
            Err(Self::unreachable(true))
        } else if server.happens(faults.refused) {
            Ok(false)
        } else if server.happens(faults.littered) {
            for change in &changes {
                for block in change.blocks.iter().take(1) {
                    let key = (change.place.clone(), block.position);
                    server.blocks.entry(key).or_insert_with(|| block.clone());
                }
            }
            Ok(false)
        } else {
            let is_made = server.commit(changes);
            match server.happens(faults.unanswered) {
                true => Err(Self::unreachable(true)),
                false => Ok(is_made),
            }
        };
        Box::pin(self.answered(answer))
    }

    fn blocks(&self, place: &Place, from: u64, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Block>, Error>> {
        let server = self.server();
        let mut bytes = 0;
        let own = server
            .blocks
            .iter()
            .filter(|((at, _), block)| at == place && block.end > from);
        let fitting = own.take_while(|(_, block)| {
            let is_first = bytes == 0;
            bytes += block.bytes.len();
            is_first || bytes <= bytes_max
        });
        let found = fitting.map(|(_, block)| block.clone()).collect();
        Box::pin(async move { Ok(found) })
    }

    fn clean(&self, place: &Place, below: u64) -> BoxFuture<'_, Result<(), Error>> {
        let mut server = self.server();
        server
            .blocks
            .retain(|(at, _), block| at != place || block.end > below);
        Box::pin(async move { Ok(()) })
    }

    fn listed(&self) -> BoxFuture<'_, Result<Vec<(Place, Kept)>, Error>> {
        let server = self.server();
        let listed = server.records.iter().filter(|(_, (_, is_listed))| *is_listed);
        let listed = listed
            .map(|(place, (kept, _))| (place.clone(), kept.clone()))
            .collect();
        Box::pin(async move { Ok(listed) })
    }

    fn put_lease(
        &self,
        process: Process,
        renewal: u64,
        lease: Bytes,
        joins: bool,
    ) -> BoxFuture<'_, Result<bool, Error>> {
        let mut server = self.server();
        let standing = server.leases.get(&process).map(|(renewal, _)| *renewal);
        let may = standing.map_or(joins, |standing| standing < renewal);
        if may {
            server.leases.insert(process, (renewal, lease));
        }
        Box::pin(async move { Ok(may) })
    }

    fn remove_lease(&self, process: Process, renewal: u64) -> BoxFuture<'_, Result<bool, Error>> {
        let mut server = self.server();
        let stands = server
            .leases
            .get(&process)
            .is_some_and(|(standing, _)| *standing == renewal);
        if stands {
            server.leases.remove(&process);
        }
        Box::pin(async move { Ok(stands) })
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<Bytes>, Error>> {
        let leases = self
            .server()
            .leases
            .values()
            .map(|(_, lease)| lease.clone())
            .collect();
        Box::pin(async move { Ok(leases) })
    }
}
