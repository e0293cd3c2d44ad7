//! Settings: where they come from and what they are.

mod check;
mod layers;
mod settings;

pub(crate) use layers::{DEFAULTS, load};
pub(crate) use settings::{Kafka, Mechanism, Settings, WithoutStore};
