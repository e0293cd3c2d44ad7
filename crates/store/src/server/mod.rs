//! What every standby store on a server has in common: all that is decided, and how it is kept.
//!
//! Per place there is one record and any number of blocks of rows. Every step reads the record, decides, and replaces it on
//! condition of its revision, together with the new blocks. What others did meanwhile makes the condition fail, and the step
//! begins anew. Blocks that no record speaks of are not there.

mod appends;
mod block;
mod contention;
pub mod faulty;
mod gate;
mod keeper;
mod lane;
mod owner;
mod read;
mod record;
mod shared;
mod usage;
mod wire;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evenkeel_flow::session::StampedRange;

use self::contention::{Contention, Trial};
use self::gate::Gate;
pub use self::keeper::{Block, Change, Keeper, Kept};
use self::lane::{Lane, Seen, change, decode, fetch};
use self::owner::Owner;
use self::read::Damages;
use self::record::{Answer, Ask, Draft, Record};
use self::usage::Usage;
use crate::standby::{BoxFuture, oldest_first};
use crate::{AppendId, AppendIn, Damage, Error, Piece, Place, PlaceStats, Row, Span, Standby, Stats};

/// Places of which this process remembers the record, more or less.
const LANES_MAX: usize = 4_096;
/// Most bytes of one append.
const APPEND_BYTES_MAX: u64 = 64 << 20;

/// A standby store on a server that any number of processes share. Its limit is judged by a sum that is up to a second old:
/// processes that append at the same time may together go beyond it by what they append within a second.
#[derive(Debug)]
pub struct ServerStandby<K> {
    keeper: Arc<Gate<K>>,
    usage: Arc<Usage>,
    lanes: Mutex<HashMap<Place, Arc<Lane<Gate<K>>>>>,
    damages: Damages,
}

impl<K: Keeper> ServerStandby<K> {
    /// A store on `keeper` that takes at most `limit_bytes` of records in all places, whosever it is.
    #[must_use]
    pub fn new(keeper: K, limit_bytes: u64) -> Self {
        Self::of(Owner::Any, keeper, limit_bytes)
    }

    /// As [`ServerStandby::new`], for `application`: it owns the store from now on, and one that another application owns is
    /// refused.
    #[must_use]
    pub fn owned_by(application: &str, keeper: K, limit_bytes: u64) -> Self {
        Self::of(Owner::Takes(application.to_owned()), keeper, limit_bytes)
    }

    /// As [`ServerStandby::new`], for a look: a store that another application owns is refused.
    #[must_use]
    pub fn looked_at_by(application: &str, keeper: K) -> Self {
        Self::of(Owner::Looks(application.to_owned()), keeper, u64::MAX)
    }

    fn of(owner: Owner, keeper: K, limit_bytes: u64) -> Self {
        Self {
            keeper: Arc::new(Gate::new(keeper, owner)),
            usage: Arc::new(Usage::new(limit_bytes)),
            lanes: Mutex::default(),
            damages: Damages::default(),
        }
    }

    /// The server that keeps it.
    #[must_use]
    pub fn keeper(&self) -> &K {
        &self.keeper.keeper
    }

    /// Asks the server for what every call needs to be there: tables, and that they are this application's. Every call does so
    /// until it has gone well once.
    ///
    /// # Errors
    /// What the server says; [`Error::Refused`] when the store is another application's.
    pub async fn prepare(&self) -> Result<(), Error> {
        self.keeper.prepare().await
    }

    /// Makes the store that of `application`, whosever it was. What is parked in it stays.
    ///
    /// # Errors
    /// What the server says.
    pub async fn take_over(&self, application: &str) -> Result<(), Error> {
        owner::write(&*self.keeper, application).await
    }

    /// Lets go of the store, so that another application may own it. What is parked in it stays.
    ///
    /// # Errors
    /// What the server says.
    pub async fn let_go(&self) -> Result<(), Error> {
        self.keeper.owner.let_go(&*self.keeper).await
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<Place, Arc<Lane<Gate<K>>>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lane_of(&self, place: &Place) -> Arc<Lane<Gate<K>>> {
        let mut lanes = self.lanes();
        if lanes.len() >= LANES_MAX && !lanes.contains_key(place) {
            // One that somebody asks or that works has another owner.
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        let fresh = || Lane::new(place.clone(), Arc::clone(&self.keeper), Arc::clone(&self.usage));
        Arc::clone(lanes.entry(place.clone()).or_insert_with(|| Arc::new(fresh())))
    }

    async fn ask(&self, place: &Place, ask: Ask) -> Result<Answer, Error> {
        self.lane_of(place).ask(ask).await
    }

    async fn append_when(
        &self,
        place: &Place,
        epoch: Option<u64>,
        id: AppendId,
        rows: Vec<Row>,
    ) -> Result<AppendIn, Error> {
        let bytes = record::bytes_of(&rows);
        if bytes > APPEND_BYTES_MAX {
            return Err(Error::TooLarge {
                topic: place.topic.clone(),
                bytes,
                limit_bytes: APPEND_BYTES_MAX,
            });
        }
        self.usage.refresh(async || self.sum().await).await?;
        match self.ask(place, Ask::Append { epoch, id, rows }).await? {
            Answer::Append(made) => Ok(made),
            _ => Err(self.mixed_up(place)),
        }
    }

    async fn stamp_when(
        &self,
        place: &Place,
        term: Option<u64>,
        stamps: Vec<StampedRange>,
    ) -> Result<bool, Error> {
        match self.ask(place, Ask::Stamps { term, stamps }).await? {
            Answer::Stamps(is_stored) => Ok(is_stored),
            _ => Err(self.mixed_up(place)),
        }
    }

    async fn remove_below(&self, place: &Place, below: u64) -> Result<(), Error> {
        let lane = self.lane_of(place);
        let (mut trial, mut contention) = (Trial::new(), Contention::default());
        let mut seen = lane.seen().await?;
        loop {
            let front = self.front(place, &seen, below).await?;
            match lane.ask(Ask::Remove { below, front }).await? {
                Answer::Remove(true) => return Ok(()),
                // Others append and remove meanwhile: another row becomes the oldest.
                Answer::Remove(false) => trial.again(self.keeper.name(), &mut contention).await?,
                _ => return Err(self.mixed_up(place)),
            }
            seen = lane.fetch().await?;
        }
    }

    /// Never happens: an ask has an answer of its own kind.
    fn mixed_up(&self, place: &Place) -> Error {
        Error::Foreign {
            server: self.keeper.name().to_owned(),
            what: format!("an answer for topic {}", place.topic),
            reason: "it is of another kind than what was asked: this is a defect, report it".to_owned(),
        }
    }

    async fn move_rows(&self, from: &Place, below: u64, rows: &[(Place, Row)]) -> Result<(), Error> {
        let mut targets = BTreeMap::<&Place, Vec<Row>>::new();
        for (place, row) in rows {
            targets.entry(place).or_default().push(row.clone());
        }
        let (mut trial, mut contention) = (Trial::new(), Contention::default());
        loop {
            let mut drafts = BTreeMap::<&Place, (Option<u64>, Draft)>::new();
            let seen = fetch(&*self.keeper, from).await?;
            let front = self.front(from, &seen, below).await?;
            let mut draft = Draft::new(seen.record);
            let is_removed = draft.remove(below, front);
            drafts.insert(from, (seen.revision, draft));
            for (place, rows) in &targets {
                if !drafts.contains_key(place) {
                    let Seen { revision, record } = fetch(&*self.keeper, place).await?;
                    drafts.insert(place, (revision, Draft::new(record)));
                }
                if let Some((_, draft)) = drafts.get_mut(place) {
                    draft.append(place, rows)?;
                }
            }
            let changes: Vec<Change> = drafts
                .iter()
                .filter(|(_, (_, draft))| draft.is_changed)
                .map(|(place, (revision, draft))| change(place, *revision, draft))
                .collect();
            if is_removed && (changes.is_empty() || self.keeper.commit(changes).await?) {
                return Ok(());
            }
            trial.again(self.keeper.name(), &mut contention).await?;
        }
    }

    async fn all(&self) -> Result<Vec<(Place, Record)>, Error> {
        let listed = self.keeper.listed().await?;
        let decoded = listed.into_iter().map(|(place, kept)| {
            let record = decode(&*self.keeper, &place, &kept)?;
            Ok((place, record))
        });
        decoded.collect()
    }

    async fn sum(&self) -> Result<u64, Error> {
        Ok(self.all().await?.iter().map(|(_, record)| record.bytes()).sum())
    }

    async fn open(&self) -> Result<Vec<PlaceStats>, Error> {
        let all = self.all().await?;
        let open = all.iter().filter_map(|(place, record)| record.stats(place));
        Ok(oldest_first(open.collect()))
    }
}

impl<K: Keeper> Standby for ServerStandby<K> {
    fn append(&self, place: &Place, id: AppendId, rows: Vec<Row>) -> BoxFuture<'_, Result<u64, Error>> {
        let place = place.clone();
        Box::pin(async move {
            match self.append_when(&place, None, id, rows).await? {
                AppendIn::Made(position) => Ok(position),
                AppendIn::Passed => Err(self.mixed_up(&place)),
            }
        })
    }

    fn store_stamps(&self, place: &Place, stamps: Vec<StampedRange>) -> BoxFuture<'_, Result<(), Error>> {
        let place = place.clone();
        Box::pin(async move { self.stamp_when(&place, None, stamps).await.map(drop) })
    }

    fn read(&self, place: &Place, from: u64, bytes_max: usize) -> BoxFuture<'_, Result<Piece, Error>> {
        let place = place.clone();
        Box::pin(async move { self.piece(&place, from, bytes_max).await })
    }

    fn remove(&self, place: &Place, below: u64) -> BoxFuture<'_, Result<(), Error>> {
        let place = place.clone();
        Box::pin(async move { self.remove_below(&place, below).await })
    }

    fn place(&self, from: &Place, below: u64, rows: Vec<(Place, Row)>) -> BoxFuture<'_, Result<(), Error>> {
        let from = from.clone();
        Box::pin(async move { self.move_rows(&from, below, &rows).await })
    }

    fn places_max(&self) -> usize {
        // The place that the rows leave changes too.
        self.keeper.changes_max().saturating_sub(1)
    }

    fn span(&self, place: &Place) -> BoxFuture<'_, Result<Span, Error>> {
        let place = place.clone();
        Box::pin(async move { Ok(fetch(&*self.keeper, &place).await?.record.span) })
    }

    fn open_places(&self) -> BoxFuture<'_, Result<Vec<PlaceStats>, Error>> {
        Box::pin(self.open())
    }

    fn stats(&self) -> BoxFuture<'_, Result<Stats, Error>> {
        Box::pin(async move {
            let open = self.open().await?;
            let used_bytes = open.iter().map(|place| place.bytes).sum();
            Ok(Stats::of(&open, used_bytes, self.usage.limit_bytes()))
        })
    }

    fn damaged(&self) -> BoxFuture<'_, Result<Vec<Damage>, Error>> {
        Box::pin(async move { Ok(self.damages.all()) })
    }
}
