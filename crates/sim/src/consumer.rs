//! Histories of consumers: members of a group deliver the records of one partition, finish them out of order, commit,
//! crash, and give the partition up or lose it.

use std::collections::BTreeSet;

use evenkeel_flow::commit::Progress;

use crate::judge::Violation;
use crate::random::Random;

const RECORDS: i64 = 40;

/// The most records that are delivered and not finished.
const UNFINISHED_MAX: usize = 8;

/// The partition and whoever has it.
#[derive(Debug)]
struct Partition {
    random: Random,
    /// Offsets that hold a record; the others were compacted.
    records: BTreeSet<i64>,
    finished: BTreeSet<i64>,
    committed: i64,
    owner: Member,
    violation: Option<Violation>,
}

#[derive(Debug)]
struct Member {
    progress: Progress,
    position: i64,
    unfinished: Vec<i64>,
    /// A commit that is under way, and whether another member has had the partition since it was sent.
    commit: Option<i64>,
}

impl Member {
    fn at(position: i64) -> Self {
        Self {
            progress: Progress::new(position, UNFINISHED_MAX),
            position,
            unfinished: Vec::new(),
            commit: None,
        }
    }
}

/// Plays the history of a seed.
///
/// # Errors
/// The first invariant that was broken.
pub fn play(seed: u64) -> Result<(), Violation> {
    let mut random = Random::new(seed);
    let records = (0..RECORDS).filter(|_| random.chance(85)).collect();
    let mut partition = Partition {
        random,
        records,
        finished: BTreeSet::new(),
        committed: 0,
        owner: Member::at(0),
        violation: None,
    };
    for _ in 0..200 {
        partition.step();
    }
    for _ in 0..RECORDS * 2 {
        partition.deliver();
        partition.finish_one();
        partition.commit();
        partition.answer_commit(true);
    }
    partition.check_the_end();
    partition.violation.map_or(Ok(()), Err)
}

impl Partition {
    fn fail(&mut self, invariant: &'static str, seen: String) {
        self.violation.get_or_insert(Violation { invariant, seen });
    }

    fn step(&mut self) {
        match self.random.within(0, 100) {
            0..35 => self.deliver(),
            35..70 => self.finish_one(),
            70..80 => self.commit(),
            80..92 => {
                let succeeds = self.random.chance(80);
                self.answer_commit(succeeds);
            }
            92..96 => self.owner = Member::at(self.committed),
            _ => self.lose(),
        }
    }

    fn deliver(&mut self) {
        let Some(offset) = self.records.range(self.owner.position..).next().copied() else {
            self.owner.progress.advanced(RECORDS);
            return;
        };
        if self.owner.progress.can_deliver() {
            self.owner.progress.delivered(offset);
            self.owner.position = offset + 1;
            self.owner.unfinished.push(offset);
        }
        if self.owner.unfinished.len() > UNFINISHED_MAX {
            self.fail(
                "bounded",
                format!("{} records are unfinished", self.owner.unfinished.len()),
            );
        }
    }

    fn finish_one(&mut self) {
        let open = self.owner.unfinished.len() as u64;
        if open > 0 {
            let index = self.random.within(0, open) as usize;
            let offset = self.owner.unfinished.swap_remove(index);
            self.finished.insert(offset);
            self.owner.progress.finished(offset);
        }
    }

    fn commit(&mut self) {
        if self.owner.commit.is_none() {
            self.owner.commit = self.owner.progress.committable();
        }
    }

    /// The coordinator takes the commit. It never looks at what is finished, so nothing but the member keeps the rule.
    fn answer_commit(&mut self, succeeds: bool) {
        let Some(offset) = self.owner.commit.take() else {
            return;
        };
        if !succeeds {
            return;
        }
        let skipped = self
            .records
            .range(..offset)
            .find(|record| !self.finished.contains(record));
        if let Some(skipped) = skipped {
            self.fail(
                "commit-last",
                format!("{offset} is committed and {skipped} is not finished"),
            );
        }
        if offset < self.committed {
            self.fail(
                "commit-last",
                format!("{offset} is committed after {}", self.committed),
            );
        }
        self.committed = offset;
        self.owner.progress.committed(offset);
    }

    /// Another member takes over; the old one must not commit any more.
    fn lose(&mut self) {
        let mut old = std::mem::replace(&mut self.owner, Member::at(self.committed));
        old.progress.lost();
        for offset in old.unfinished {
            old.progress.finished(offset);
        }
        if let Some(offset) = old.progress.committable() {
            self.fail(
                "commit-last",
                format!("{offset} is offered after the partition was lost"),
            );
        }
    }

    fn check_the_end(&mut self) {
        if self.finished != self.records {
            self.fail("restartable", "a record was never finished".to_owned());
        }
        if self.committed != RECORDS {
            self.fail(
                "restartable",
                format!("{} of {RECORDS} are committed", self.committed),
            );
        }
    }
}
