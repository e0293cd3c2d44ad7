//! Where a consumer puts what it cannot handle.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use evenkeel_event::Letter;

/// The writing of one letter.
pub type Writing<'letters> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'letters>>;

/// Takes dead letters.
pub trait Letters: Send + Sync + fmt::Debug {
    /// Writes the letter durably: on its topic, or in the standby store bound for it. The error says why it is in
    /// neither; the consumer then tries again and goes no further.
    fn write(&self, letter: Letter) -> Writing<'_>;
}
