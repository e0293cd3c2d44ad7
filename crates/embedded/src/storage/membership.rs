//! Who was in a group when it was last stable, and with which part: what a restarted broker must know for its members to
//! go on as if nothing had happened.

use serde::{Deserialize, Serialize};

/// A stable group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Membership {
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    pub(crate) members: Vec<Enrolled>,
}

/// One of its members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Enrolled {
    pub(crate) id: String,
    pub(crate) instance: Option<String>,
    pub(crate) client: String,
    pub(crate) host: String,
    /// Milliseconds.
    pub(crate) session: u64,
    /// Milliseconds.
    pub(crate) rebalance: u64,
    /// Names, each with the member's metadata for it.
    pub(crate) protocols: Vec<(String, Vec<u8>)>,
    pub(crate) assignment: Vec<u8>,
}
