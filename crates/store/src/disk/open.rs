//! Opening a store: the lock, the format, and what is there after whatever happened.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::frame::{self, Flaw, HEADER_BYTES, Step, Steps};
use super::ledger::{Ledger, Segment};
use super::segment;
use crate::{Damage, Error};

const FORMAT: &str = "evenkeel standby store 2";
/// How often the lock is tried: whoever looks whether a store is in use holds it for an instant.
const LOCK_ATTEMPTS: u32 = 20;
/// Wait between these attempts.
const BETWEEN_LOCK_ATTEMPTS: std::time::Duration = std::time::Duration::from_millis(10);

/// What may be done with a store's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// The lock is held: they are mended and written.
    Own,
    /// Another process may be writing them: they are only read, and what is unfinished at their end is its business.
    Look,
}

/// An open store's files and contents.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) lock: File,
    pub(super) ledger: Ledger,
    /// The active segment, at its end.
    pub(super) file: File,
}

/// Opens the store in `directory`, making it when it is not there.
pub(super) fn open(directory: &Path) -> Result<Opened, Error> {
    let failed = |action| move |source| storage(directory, action, source);
    std::fs::create_dir_all(directory).map_err(failed("make its directory"))?;
    let lock = lock(directory)?;
    let segments = segment::list(directory).map_err(failed("list its files"))?;
    check_format(directory, segments.is_empty())?;
    let (ledger, file) = if segments.is_empty() {
        start(directory).map_err(failed("write its first file"))?
    } else {
        reopen(directory, &segments).map_err(failed("read its files"))?
    };
    Ok(Opened { lock, ledger, file })
}

/// Reads what the store in `directory` holds, without its lock, and writes nothing.
pub(super) fn look(directory: &Path) -> Result<Ledger, Error> {
    let failed = |action| move |source| storage(directory, action, source);
    let segments = segment::list(directory).map_err(failed("list its files"))?;
    if segments.is_empty() {
        return Ok(Ledger::first());
    }
    read_format(directory)?;
    let (ledger, _end) = recover(directory, &segments, Access::Look).map_err(failed("read its files"))?;
    Ok(ledger)
}

/// True while a process has the store in `directory` open.
pub(super) fn is_in_use(directory: &Path) -> Result<bool, Error> {
    let lock = match File::open(directory.join("lock")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(|source| storage(directory, "open its lock", source))?,
    };
    // Shared, so that two who look do not take each other for the owner; it is let go at once.
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(source)) => Err(storage(directory, "look at its lock", source)),
    }
}

pub(super) fn storage(directory: &Path, action: &'static str, source: io::Error) -> Error {
    Error::Storage {
        directory: directory.to_owned(),
        action,
        source: std::sync::Arc::new(source),
    }
}

fn lock(directory: &Path) -> Result<File, Error> {
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join("lock"))
        .map_err(|source| storage(directory, "open its lock", source))?;
    for attempt in 1..=LOCK_ATTEMPTS {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if attempt < LOCK_ATTEMPTS => {
                std::thread::sleep(BETWEEN_LOCK_ATTEMPTS);
            }
            Err(TryLockError::WouldBlock) => break,
            Err(TryLockError::Error(source)) => return Err(storage(directory, "take its lock", source)),
        }
    }
    Err(Error::Locked {
        directory: directory.to_owned(),
    })
}

fn read_format(directory: &Path) -> Result<(), Error> {
    match std::fs::read_to_string(directory.join("format")) {
        Ok(found) if found.trim() == FORMAT => Ok(()),
        Ok(found) => Err(other_format(directory, &found)),
        Err(source) => Err(storage(directory, "read its format", source)),
    }
}

fn other_format(directory: &Path, found: &str) -> Error {
    Error::Format {
        directory: directory.to_owned(),
        found: found.chars().take(80).collect(),
        known: FORMAT,
    }
}

fn check_format(directory: &Path, is_new: bool) -> Result<(), Error> {
    let path = directory.join("format");
    match std::fs::read_to_string(&path) {
        Ok(found) if found.trim() == FORMAT => Ok(()),
        Ok(found) if !(is_new && found.is_empty()) => Err(other_format(directory, &found)),
        Err(error) if !(is_new && error.kind() == io::ErrorKind::NotFound) => {
            Err(storage(directory, "read its format", error))
        }
        _ => std::fs::write(&path, FORMAT)
            .and_then(|()| File::open(&path)?.sync_all())
            .map_err(|source| storage(directory, "write its format", source)),
    }
}

fn start(directory: &Path) -> io::Result<(Ledger, File)> {
    let mut ledger = Ledger::first();
    let (file, bytes) = segment::create(directory, 1, &ledger.snapshot().finish(1))?;
    ledger.segments.insert(1, Segment { bytes, users: 0 });
    Ok((ledger, file))
}

/// Brings back what was there, and goes on writing behind it.
fn reopen(directory: &Path, segments: &[u64]) -> io::Result<(Ledger, File)> {
    let (mut ledger, end) = recover(directory, segments, Access::Own)?;
    let file = segment::reopen(directory, ledger.active, end)?;
    let active = ledger.active;
    if let Some(segment) = ledger.segments.get_mut(&active) {
        segment.bytes = end;
    }
    Ok((ledger, file))
}

/// What the files hold, and where the readable part of the last one ends.
fn recover(directory: &Path, segments: &[u64], access: Access) -> io::Result<(Ledger, u64)> {
    let mut ledger = Ledger::default();
    for segment in segments {
        let bytes = std::fs::metadata(segment::path(directory, *segment))?.len();
        ledger.segments.insert(*segment, Segment { bytes, users: 0 });
    }
    let base = find_base(directory, segments)?;
    let (older, newer): (Vec<u64>, Vec<u64>) = segments.iter().partition(|segment| **segment < base);
    let mut end = 0;
    for segment in newer {
        let bytes = segment::load(directory, segment)?;
        if ledger.active != 0 {
            if access == Access::Own {
                segment::write_list(directory, ledger.active, &ledger.active_blocks)?;
            }
            ledger.active_blocks.clear();
        }
        ledger.active = segment;
        let from = if segment == base {
            let behind = replay_first(&mut ledger, segment, &bytes);
            add_older(&mut ledger, directory, &older, access)?;
            behind
        } else {
            segment::HEADER_BYTES
        };
        end = replay(&mut ledger, directory, segment, &bytes, (from, access))?;
    }
    ledger.sweep();
    Ok((ledger, end as u64))
}

/// The newest segment whose first frame is whole: it says everything that was known when it was begun.
fn find_base(directory: &Path, segments: &[u64]) -> io::Result<u64> {
    for segment in segments.iter().rev() {
        let bytes = segment::load(directory, *segment)?;
        let first = bytes.get(segment::HEADER_BYTES..).unwrap_or_default();
        if let Ok(body) = frame::open(first, *segment)
            && let Some(Ok(Step::Snapshot { .. })) = Steps::new(body).next()
        {
            return Ok(*segment);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        "none of its files has a readable beginning",
    ))
}

fn replay_first(ledger: &mut Ledger, segment: u64, bytes: &[u8]) -> usize {
    let first = bytes.get(segment::HEADER_BYTES..).unwrap_or_default();
    let Ok(body) = frame::open(first, segment) else {
        return segment::HEADER_BYTES;
    };
    apply(ledger, segment, body, segment::HEADER_BYTES + HEADER_BYTES);
    segment::HEADER_BYTES + HEADER_BYTES + body.len()
}

fn add_older(ledger: &mut Ledger, directory: &Path, older: &[u64], access: Access) -> io::Result<()> {
    for segment in older {
        let places = match segment::listed_places(directory, *segment) {
            Some(places) => places,
            None => ends(&list_again(directory, *segment, access)?),
        };
        for (place, end) in places {
            let is_parked = |holding: &super::ledger::Holding| end > holding.span.head;
            if ledger.places.get(&place).is_some_and(is_parked) {
                ledger.extend(place, *segment, end);
            }
        }
    }
    Ok(())
}

/// Where the rows of each place lie in a segment.
pub(super) type Blocks = std::collections::HashMap<u32, Vec<frame::Block>>;

/// Makes the list of a finished segment anew from its frames.
pub(super) fn list_again(directory: &Path, segment: u64, access: Access) -> io::Result<Blocks> {
    let bytes = segment::load(directory, segment)?;
    let mut blocks = Blocks::new();
    let mut at = segment::HEADER_BYTES;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let body = match frame::open(rest, segment) {
            Ok(body) => body,
            Err(Flaw::Checksum { body_bytes }) => rest
                .get(HEADER_BYTES..HEADER_BYTES + body_bytes)
                .unwrap_or_default(),
            Err(Flaw::Incomplete) => match frame::find(&bytes, at + 1, segment) {
                Some(next) => {
                    at = next;
                    continue;
                }
                None => break,
            },
        };
        let mut steps = Steps::new(body);
        while let Some(Ok(step)) = steps.next() {
            if let Step::Rows { place, block, .. } = placed(step, at + HEADER_BYTES) {
                blocks.entry(place).or_default().push(block);
            }
        }
        at += HEADER_BYTES + body.len();
    }
    if access == Access::Own {
        segment::write_list(directory, segment, &blocks)?;
    }
    Ok(blocks)
}

/// The position after the last record of each place.
fn ends(blocks: &Blocks) -> Vec<(u32, u64)> {
    let end = |(place, blocks): (&u32, &Vec<frame::Block>)| Some((*place, blocks.last()?.end()));
    blocks.iter().filter_map(end).collect()
}

/// Replays the frames of a segment from `at` and returns where the readable part ends.
fn replay(
    ledger: &mut Ledger,
    directory: &Path,
    segment: u64,
    bytes: &[u8],
    (mut at, access): (usize, Access),
) -> io::Result<usize> {
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let flaw = match frame::open(rest, segment) {
            Ok(body) => {
                apply(ledger, segment, body, at + HEADER_BYTES);
                ledger.sweep();
                at += HEADER_BYTES + body.len();
                continue;
            }
            Err(flaw) => flaw,
        };
        // A frame is acknowledged before the next one is written: what is not whole at the end was never acknowledged.
        let Some(next) = frame::find(bytes, at + 1, segment) else {
            if access == Access::Own && matches!(flaw, Flaw::Checksum { .. }) {
                keep_aside(ledger, directory, segment, bytes, (at..bytes.len(), access))?;
            }
            break;
        };
        match flaw {
            Flaw::Checksum { body_bytes } => {
                let body = at + HEADER_BYTES;
                let whole = bytes.get(body..body + body_bytes).unwrap_or_default();
                let readable = apply(ledger, segment, whole, body);
                ledger.sweep();
                at = body + body_bytes;
                if readable < body_bytes {
                    keep_aside(ledger, directory, segment, bytes, (body + readable..at, access))?;
                }
            }
            Flaw::Incomplete => {
                keep_aside(ledger, directory, segment, bytes, (at..next, access))?;
                at = next;
            }
        }
    }
    Ok(at)
}

/// Makes the steps of `body`, which lies at `at` in its file, and returns the bytes of those that could be read.
fn apply(ledger: &mut Ledger, segment: u64, body: &[u8], at: usize) -> usize {
    let mut steps = Steps::new(body);
    while let Some(Ok(step)) = steps.next() {
        ledger.apply(placed(step, at), segment);
    }
    steps.position()
}

/// The step with its rows' offset counted from the file's beginning, where the frame's body begins at `at`.
pub(super) fn placed(mut step: Step, at: usize) -> Step {
    if let Step::Rows { block, .. } = &mut step {
        block.offset = block.offset.saturating_add(u32::try_from(at).unwrap_or(u32::MAX));
    }
    step
}

fn keep_aside(
    ledger: &mut Ledger,
    directory: &Path,
    segment: u64,
    bytes: &[u8],
    (range, access): (std::ops::Range<usize>, Access),
) -> io::Result<()> {
    let offset = range.start as u64;
    let lost = bytes.get(range).unwrap_or_default();
    let damage = Damage {
        place: None,
        positions: None,
        file: segment::path(directory, segment),
        offset,
        kept_at: keep(directory, segment, offset, lost, access)?,
    };
    ledger.report(damage, access);
    Ok(())
}

/// Where a copy of damaged bytes is; the store's owner makes it, and who only looks tells where it will be.
pub(super) fn keep(
    directory: &Path,
    segment: u64,
    offset: u64,
    lost: &[u8],
    access: Access,
) -> io::Result<PathBuf> {
    match access {
        Access::Own => write_aside(directory, segment, offset, lost),
        Access::Look => Ok(aside(directory, segment, offset)),
    }
}

fn aside(directory: &Path, segment: u64, offset: u64) -> PathBuf {
    directory
        .join("damaged")
        .join(format!("{segment:016}-{offset}.bytes"))
}

/// Keeps a copy of damaged bytes in `damaged/`.
fn write_aside(directory: &Path, segment: u64, offset: u64, bytes: &[u8]) -> io::Result<PathBuf> {
    std::fs::create_dir_all(directory.join("damaged"))?;
    let path = aside(directory, segment, offset);
    std::fs::write(&path, bytes)?;
    File::open(&path)?.sync_all()?;
    Ok(path)
}
