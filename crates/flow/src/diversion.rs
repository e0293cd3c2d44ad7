//! Lanes that several processes publish to: when they go by way of a shared standby store, all of them, and when
//! directly again.

mod record;

pub use record::{Diversion, Lease, Phase, Process, Versioned};
