//! One member of a group.

use bytes::Bytes;

/// Milliseconds on a clock that never goes back.
pub(crate) type Millis = u64;
/// Who waits for an answer.
pub(crate) type Ticket = u64;
/// The protocols a member knows, the one it likes best first, each with its metadata.
pub(crate) type Protocols = Vec<(String, Bytes)>;

/// One member.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) instance: Option<String>,
    pub(crate) client: String,
    pub(crate) host: String,
    pub(crate) session: Millis,
    pub(crate) rebalance: Millis,
    pub(crate) protocols: Protocols,
    pub(crate) assignment: Bytes,
    /// Waits for the others to join.
    pub(crate) joining: Option<Ticket>,
    /// Waits for the leader's assignment.
    pub(crate) syncing: Option<Ticket>,
    /// When it is dead unless it is heard of before.
    pub(crate) expires: Millis,
}

impl Member {
    pub(crate) fn is_waiting(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }

    pub(crate) fn heard(&mut self, now: Millis) {
        self.expires = now.saturating_add(self.session);
    }

    pub(crate) fn knows(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// What it said for a protocol.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }
}
