//! The compatibility levels of Confluent's registry.

use std::fmt;
use std::str::FromStr;

use super::{Incompatibility, TooComplex, check_pair};
use crate::avro::Schema;

/// Which earlier versions a new schema must agree with, and in which direction (Confluent: "Schema Evolution and Compatibility").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Level {
    /// None.
    None,
    /// The new schema reads data of the latest version; the registry's default.
    #[default]
    Backward,
    /// The new schema reads data of every version.
    BackwardTransitive,
    /// The latest version reads data of the new schema.
    Forward,
    /// Every version reads data of the new schema.
    ForwardTransitive,
    /// Both directions, latest version.
    Full,
    /// Both directions, every version.
    FullTransitive,
}

impl Level {
    /// All levels.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Backward,
        Self::BackwardTransitive,
        Self::Forward,
        Self::ForwardTransitive,
        Self::Full,
        Self::FullTransitive,
    ];

    /// The registry's word: `BACKWARD_TRANSITIVE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Backward => "BACKWARD",
            Self::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Self::Forward => "FORWARD",
            Self::ForwardTransitive => "FORWARD_TRANSITIVE",
            Self::Full => "FULL",
            Self::FullTransitive => "FULL_TRANSITIVE",
        }
    }

    /// True if all earlier versions count, not only the latest.
    pub fn is_transitive(self) -> bool {
        matches!(
            self,
            Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive
        )
    }

    fn directions(self) -> &'static [Direction] {
        match self {
            Self::None => &[],
            Self::Backward | Self::BackwardTransitive => &[Direction::Backward],
            Self::Forward | Self::ForwardTransitive => &[Direction::Forward],
            Self::Full | Self::FullTransitive => &[Direction::Backward, Direction::Forward],
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a compatibility level: one of NONE, BACKWARD, BACKWARD_TRANSITIVE, FORWARD, FORWARD_TRANSITIVE, FULL, FULL_TRANSITIVE"
)]
pub struct UnknownLevel(pub String);

impl FromStr for Level {
    type Err = UnknownLevel;

    /// Reads the registry's word, in upper or lower case.
    fn from_str(word: &str) -> Result<Self, UnknownLevel> {
        let known = Self::ALL
            .into_iter()
            .find(|level| level.as_str().eq_ignore_ascii_case(word));
        known.ok_or_else(|| UnknownLevel(word.to_owned()))
    }
}

/// Who reads whose data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The new schema reads data of the earlier one.
    Backward,
    /// The earlier schema reads data of the new one.
    Forward,
}

/// An earlier schema that the new one does not agree with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Index of the earlier schema in the list that was asked about.
    pub earlier: usize,
    /// Who cannot read whose data.
    pub direction: Direction,
    /// Why; never empty.
    pub findings: Vec<Incompatibility>,
}

impl Conflict {
    /// Each finding as a sentence with the two sides called the new and the old schema.
    pub fn messages(&self) -> Vec<String> {
        let (reader, writer) = match self.direction {
            Direction::Backward => ("new schema", "old schema"),
            Direction::Forward => ("old schema", "new schema"),
        };
        self.findings
            .iter()
            .map(|finding| finding.describe(reader, writer))
            .collect()
    }
}

/// Checks a new schema against a subject's earlier ones, oldest first. Empty: it may be registered under this level.
/// Conflicts come latest version first.
///
/// # Errors
/// [`TooComplex`] if two schemas have too many pairs of types to compare.
pub fn check_level(level: Level, new: &Schema, earlier: &[&Schema]) -> Result<Vec<Conflict>, TooComplex> {
    let mut conflicts = Vec::new();
    let depth = if level.is_transitive() { earlier.len() } else { 1 };
    for (index, old) in earlier.iter().enumerate().rev().take(depth) {
        for &direction in level.directions() {
            let findings = match direction {
                Direction::Backward => check_pair(new, old)?,
                Direction::Forward => check_pair(old, new)?,
            };
            if !findings.is_empty() {
                conflicts.push(Conflict {
                    earlier: index,
                    direction,
                    findings,
                });
            }
        }
    }
    Ok(conflicts)
}
