//! Looks at a cluster and changes it: topics, settings, groups, offsets.

mod cluster;
mod configs;
mod groups;
mod offsets;
mod records;
mod topics;

pub use cluster::{Description, LogDir};
pub use configs::{Resource, Setting};
pub use groups::{Group, Member, Summary};
pub use offsets::{Committed, Lag};
pub use topics::NewTopic;
