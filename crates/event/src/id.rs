//! Identities of events.

use std::fmt;
use std::sync::Arc;

use crate::clock::Timestamp;

/// The identity of an event: 1 to 255 bytes of text without control characters. UUIDv7 when Evenkeel makes it.
///
/// Publishing with an id again joins what is known of the first; a consumer's inbox drops what it has seen.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(Arc<str>);

/// Why a text is not an event id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an event id has 1 to 255 bytes without control characters, this one has {length} bytes")]
pub struct IdError {
    /// Length of the refused text, bytes.
    pub length: usize,
}

impl EventId {
    /// Longest id, bytes.
    pub const BYTES_MAX: usize = 255;

    /// Keeps an id that the caller chose.
    ///
    /// # Errors
    /// When it is empty, longer than 255 bytes or holds control characters.
    pub fn new(text: &str) -> Result<Self, IdError> {
        if text.is_empty() || text.len() > Self::BYTES_MAX || text.chars().any(char::is_control) {
            return Err(IdError { length: text.len() });
        }
        Ok(Self(text.into()))
    }

    /// A UUIDv7 (RFC 9562, section 5.7) of the time `now` and 10 random bytes.
    #[must_use]
    pub fn v7(now: Timestamp, random: [u8; 10]) -> Self {
        let millis = u64::try_from(now.millis()).unwrap_or(0);
        let uuid = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        Self(uuid.to_string().into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_7_ids_carry_their_time_and_sort_by_it() {
        let early = EventId::v7(Timestamp::from_millis(1_700_000_000_000), [0xff; 10]);
        let late = EventId::v7(Timestamp::from_millis(1_700_000_000_001), [0; 10]);
        assert!(early < late);
        assert_eq!(early.as_str().len(), 36);
        assert_eq!(early.as_str().as_bytes()[14], b'7');
    }

    #[test]
    fn hostile_ids_are_refused() {
        for bad in ["", "a\nb", &"x".repeat(256)] {
            assert!(EventId::new(bad).is_err());
        }
        assert_eq!(EventId::new("order 1").unwrap().as_str(), "order 1");
    }
}
