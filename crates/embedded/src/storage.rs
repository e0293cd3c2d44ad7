//! What is kept on disk, and the one thread that writes it.

pub(crate) mod append;
pub(crate) mod batch;
mod catalog;
mod checkpoint;
mod cleaner;
mod codec;
mod compact;
pub(crate) mod directory;
pub(crate) mod disk;
mod index;
mod journal;
mod log;
pub(crate) mod membership;
pub(crate) mod offsets;
pub(crate) mod partition;
pub(crate) mod producers;
mod recovery;
mod segment;
mod sync;
pub(crate) mod topic_change;
pub(crate) mod topic_config;
pub(crate) mod topics;
pub(crate) mod writer;
