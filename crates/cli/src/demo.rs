//! The main job on real input.

mod orders;
mod reconcile;
