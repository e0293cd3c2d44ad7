//! What an exploration is to meet, so that it is known not to have looked past it.

/// An event was told parked.
pub(super) const PARKED: u64 = 1;
/// An append found another epoch.
pub(super) const PASSED: u64 = 1 << 1;
/// A partition went direct again.
pub(super) const REOPENED: u64 = 1 << 2;
/// A lease was taken from a process that lives.
pub(super) const REVOKED: u64 = 1 << 3;
/// A drain took over from another.
pub(super) const TAKEN_OVER: u64 = 1 << 4;
/// A send landed after its partition was diverted.
pub(super) const LANDED_LATE: u64 = 1 << 5;
/// The broker had a batch already.
pub(super) const SENT_TWICE: u64 = 1 << 6;
/// A request was carried out after its asker gave it up.
pub(super) const WRITTEN_LATE: u64 = 1 << 7;
/// Every event is on the log, and the partition is open again.
pub(super) const ALL_DONE: u64 = 1 << 8;
/// A partition was diverted a second time.
pub(super) const DIVERTED_AGAIN: u64 = 1 << 9;

const NAMES: [&str; 10] = [
    "parked",
    "passed",
    "reopened",
    "revoked",
    "taken over",
    "landed late",
    "sent twice",
    "written late",
    "all done",
    "diverted again",
];

/// The names of what was met.
pub(super) fn names(met: u64) -> Vec<&'static str> {
    let named = NAMES.iter().enumerate();
    named
        .filter(|(index, _)| met & (1 << index) != 0)
        .map(|(_, name)| *name)
        .collect()
}
