//! Connections: frames in, answers out, in order.

mod connection;
pub(crate) mod frame;
pub(crate) mod listener;
