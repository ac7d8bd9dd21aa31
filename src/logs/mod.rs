//! What functions print, kept and served; knows no containers and no HTTP routes.
//!
//! [`store`] owns everything that is kept: log groups, each with its streams and their events, in
//! files below the service's storage. Whoever has lines appends them; whoever asks gets pages.

pub mod error;
pub mod store;

pub use error::LogError;
pub use store::{LogLimits, LogStore};

/// One event of a stream, without a line break at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    /// Milliseconds since 1970, in UTC.
    pub timestamp_ms: i64,
    pub message: String,
}
