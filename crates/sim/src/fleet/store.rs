//! The shared store, one lane: its conditional writes as `SharedStandby` in crates/store says them.

use std::collections::BTreeMap;

use evenkeel_flow::diversion::{Diversion, Lease, Loaded, Phase, Process, Versioned};

use super::broker::{Event, Stamp};

/// The only place.
pub(super) const PLACE: u8 = 0;

/// A request to the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Ask {
    List,
    Load,
    Put(Put),
    Renew {
        process: Process,
        renewal: u64,
        joins: bool,
        acknowledged: Option<u64>,
    },
    ListLeases,
    Revoke {
        process: Process,
        renewal: u64,
    },
    Append {
        process: Process,
        number: u64,
        epoch: u64,
        rows: Vec<(Event, Option<Stamp>)>,
    },
    Read(u64),
    Stamp {
        term: u64,
        position: u64,
        stamp: Stamp,
    },
    Remove(u64),
}

/// A conditional write of the record, in an order of its own so that requests can be sorted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Put {
    pub(super) version: u64,
    pub(super) tail: Option<u64>,
    pub(super) diversion: Diversion,
}

impl PartialOrd for Put {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Put {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |put: &Self| (put.version, put.tail, format!("{:?}", put.diversion));
        key(self).cmp(&key(other))
    }
}

/// What the store answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Listed(Option<Versioned<Diversion>>),
    Loaded(Loaded),
    Put(Option<u64>),
    Renewed(bool),
    Leases(Vec<Lease<u8>>),
    Appended(bool),
    Row(Option<(Event, Option<Stamp>)>),
    Stamped(bool),
    Done,
}

/// What outlives every process.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Store {
    pub(super) diversion: Versioned<Diversion>,
    pub(super) head: u64,
    pub(super) rows: Vec<(Event, Option<Stamp>)>,
    leases: BTreeMap<Process, (u64, Option<u64>)>,
    appends: BTreeMap<Process, u64>,
}

impl Ask {
    /// True for a read that its asker makes only when something happened; listing the places it does all the time.
    pub(super) const fn is_look(&self) -> bool {
        matches!(self, Self::Load | Self::ListLeases | Self::Read(_))
    }

    /// True when it changes the store, so that a copy of it may do so late.
    pub(super) const fn writes(&self) -> bool {
        !matches!(self, Self::List | Self::Load | Self::ListLeases | Self::Read(_))
    }
}

impl Store {
    pub(super) fn tail(&self) -> u64 {
        self.head + self.rows.len() as u64
    }

    pub(super) fn holds(&self, event: Event) -> bool {
        self.rows.iter().any(|(row, _)| *row == event)
    }

    pub(super) fn execute(&mut self, ask: &Ask, lease: std::time::Duration) -> Answer {
        match ask {
            Ask::List => {
                let is_open = self.diversion.record.phase == Phase::Open;
                Answer::Listed((!is_open).then_some(self.diversion))
            }
            Ask::Load => Answer::Loaded(Loaded {
                diversion: self.diversion,
                head: self.head,
                tail: self.tail(),
            }),
            Ask::Put(put) => Answer::Put(self.put(put)),
            Ask::Renew {
                process,
                renewal,
                joins,
                acknowledged,
            } => Answer::Renewed(self.renew(*process, *renewal, *joins, *acknowledged)),
            Ask::ListLeases => Answer::Leases(self.leases(lease)),
            Ask::Revoke { process, renewal } => {
                if self
                    .leases
                    .get(process)
                    .is_some_and(|(stands, _)| stands == renewal)
                {
                    self.leases.remove(process);
                }
                Answer::Done
            }
            Ask::Append {
                process,
                number,
                epoch,
                rows,
            } => Answer::Appended(self.append(*process, *number, *epoch, rows)),
            Ask::Read(position) => {
                let index = position.checked_sub(self.head).map(|index| index as usize);
                Answer::Row(index.and_then(|index| self.rows.get(index)).copied())
            }
            Ask::Stamp {
                term,
                position,
                stamp,
            } => Answer::Stamped(self.stamp(*term, *position, *stamp)),
            Ask::Remove(below) => {
                while self.head < *below && !self.rows.is_empty() {
                    self.rows.remove(0);
                    self.head += 1;
                }
                Answer::Done
            }
        }
    }

    fn put(&mut self, put: &Put) -> Option<u64> {
        let holds = self.diversion.version == put.version && put.tail.is_none_or(|tail| tail == self.tail());
        holds.then(|| {
            self.diversion.version += 1;
            self.diversion.record = put.diversion;
            self.diversion.version
        })
    }

    fn renew(&mut self, process: Process, renewal: u64, joins: bool, acknowledged: Option<u64>) -> bool {
        let stands = self.leases.get(&process).map(|(renewal, _)| *renewal);
        let renews = stands.map_or(joins, |stands| stands < renewal);
        if renews {
            self.leases.insert(process, (renewal, acknowledged));
        }
        renews
    }

    fn leases(&self, duration: std::time::Duration) -> Vec<Lease<u8>> {
        self.leases
            .iter()
            .map(|(process, (renewal, epoch))| Lease {
                process: *process,
                renewal: *renewal,
                duration,
                acknowledged: epoch.iter().map(|epoch| (PLACE, *epoch)).collect(),
            })
            .collect()
    }

    fn append(&mut self, process: Process, number: u64, epoch: u64, rows: &[(Event, Option<Stamp>)]) -> bool {
        if self.appends.get(&process) >= Some(&number) {
            return true;
        }
        let record = self.diversion.record;
        let takes = record.epoch == epoch && record.phase.takes_appends();
        if takes {
            self.appends.insert(process, number);
            self.rows.extend_from_slice(rows);
        }
        takes
    }

    fn stamp(&mut self, term: u64, position: u64, stamp: Stamp) -> bool {
        let is_it = self.diversion.record.term == term;
        let index = position.checked_sub(self.head).filter(|_| is_it);
        if let Some(row) = index.and_then(|index| self.rows.get_mut(index as usize)) {
            row.1 = Some(stamp);
        }
        is_it
    }
}
