//! Tells the story on standard error, one line a step and its findings below.

use std::time::Instant;

use crate::output::say;

/// Prints progress.
pub(super) struct Narrator {
    started: Instant,
}

impl Narrator {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    /// A new step of the story.
    pub(super) fn step(&self, number: u32, title: &str) {
        say!(
            "[{:6.2} s] {number}. {title}",
            self.started.elapsed().as_secs_f64()
        );
    }

    /// Something that happened within a step.
    pub(super) fn tell(&self, text: &str) {
        say!("            {text}");
    }
}
