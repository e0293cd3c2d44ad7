//! Bytes from clients, checked before anything is made of them.

pub(crate) mod scan;
pub(crate) mod shapes;
