//! Consumer groups by the classic protocol (KIP-62, KIP-345, KIP-394): a machine that decides, and the shell that
//! carries its answers to the connections that wait.

pub(crate) mod coordinator;
mod enrolled;
pub(crate) mod machine;
pub(crate) mod member;
mod rebalance;
