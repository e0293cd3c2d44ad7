//! Several processes replace the record of one place.
//!
//! Whoever succeeded knows the record as it stands, so that it would succeed again and again while the others read it anew. So
//! a process that is not alone lets the others come between, for about as long as one of them needs; and what failed is tried
//! again soon, however often it failed.

use std::time::Duration;

use tokio::time::Instant;

use crate::Error;

/// What is tried for this long and always forestalled is refused. Below the time that publishers wait for a store.
const TRIED_FOR: Duration = Duration::from_secs(10);
/// A commit, as long as none was measured.
const ASSUMED: Duration = Duration::from_millis(5);
/// The longest commit that a wait is measured by.
const LONGEST: Duration = Duration::from_millis(500);
/// Commits of others for which a process that succeeded waits: one reads the record and replaces it, and does not begin at once.
const WAY_COMMITS: f64 = 3.0;
/// Commits for which a process that failed waits, at most.
const AGAIN_COMMITS: f64 = 6.0;
/// Commits in a row after which a process takes itself to be alone, and after which it looks whether it is.
const ALONE_AFTER: u32 = 32;

/// What a process knows of the others at one place.
#[derive(Debug)]
pub(super) struct Contention {
    /// How long a commit takes, smoothed.
    commit: Duration,
    /// Commits since one was forestalled.
    in_a_row: u32,
    /// How long to let others come between.
    owed: Duration,
}

impl Default for Contention {
    fn default() -> Self {
        Self {
            commit: ASSUMED,
            in_a_row: ALONE_AFTER,
            owed: Duration::ZERO,
        }
    }
}

impl Contention {
    /// A commit was answered.
    pub(super) fn took(&mut self, time: Duration) {
        self.commit = (self.commit * 7 + time.min(LONGEST)) / 8;
    }

    /// The record was replaced. `random` is at least 0 and below 1.
    pub(super) fn made(&mut self, random: f64) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        let is_crowded = self.in_a_row < ALONE_AFTER;
        self.owed = match is_crowded || self.in_a_row.is_multiple_of(ALONE_AFTER) {
            true => self.commit.mul_f64(WAY_COMMITS * (0.5 + random)),
            false => Duration::ZERO,
        };
    }

    /// Lets others come between when it is their turn. False: it is not.
    pub(super) async fn give_way(&mut self) -> bool {
        let owed = std::mem::take(&mut self.owed);
        if owed.is_zero() {
            return false;
        }
        tokio::time::sleep(owed).await;
        true
    }

    /// Another process was first, the `failures`th time in a row: how long to wait before the record is read anew.
    pub(super) fn forestalled(&mut self, failures: u32, random: f64) -> Duration {
        self.in_a_row = 0;
        self.commit
            .mul_f64(AGAIN_COMMITS.min(f64::from(failures)) * random)
    }
}

/// Something that is tried until nobody comes between.
#[derive(Debug)]
pub(super) struct Trial {
    began: Instant,
    failures: u32,
}

impl Trial {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            failures: 0,
        }
    }

    /// Waits before the next attempt, or says that there is none: `server` is asked for too much.
    pub(super) async fn again(&mut self, server: &str, contention: &mut Contention) -> Result<(), Error> {
        self.failures += 1;
        let wait = contention.forestalled(self.failures, rand::random());
        if self.began.elapsed() + wait > TRIED_FOR {
            return Err(Error::Throttled {
                server: server.to_owned(),
                action: "replace the record of a place",
                reason: format!("others replaced it {} times meanwhile", self.failures),
                may_have_been_made: false,
            });
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: Duration = Duration::from_millis(10);

    fn measured() -> Contention {
        let mut contention = Contention::default();
        for _ in 0..100 {
            contention.took(COMMIT);
        }
        contention
    }

    fn owes(contention: &mut Contention) -> Duration {
        contention.made(0.5);
        contention.owed
    }

    #[test]
    fn who_is_alone_looks_for_others_now_and_then() {
        let mut contention = measured();
        let owed = (0..3 * ALONE_AFTER).filter(|_| !owes(&mut contention).is_zero());
        assert_eq!(owed.collect::<Vec<_>>(), [31, 63, 95]);
    }

    #[test]
    fn who_was_forestalled_gives_way_after_each_commit_for_a_while() {
        let mut contention = measured();
        contention.forestalled(1, 0.5);
        for _ in 0..ALONE_AFTER {
            // Reading the record and replacing it fits into it.
            assert!(owes(&mut contention) > 2 * COMMIT);
        }
        assert_eq!(owes(&mut contention), Duration::ZERO);
    }

    #[test]
    fn a_failure_is_tried_again_soon_however_many_there_were() {
        let mut contention = measured();
        assert!(contention.forestalled(1, 0.99) < 2 * COMMIT);
        assert!(contention.forestalled(u32::MAX, 0.99) < 7 * COMMIT);
    }
}
