//! What functions print: collected, kept and served; knows no HTTP routes.
//!
//! [`collect`] reads what containers write and brings it into the form of a log; it knows dispatch
//! and the Engine, and nothing else here does.
//! [`store`] owns everything that is kept: log groups, each with its streams and their events, in
//! files below the service's storage. Whoever has lines appends them; whoever asks gets pages.
//!
//! | file | what it is |
//! |---|---|
//! | [`store`] | all groups: made, found, bounded, deleted |
//! | `group`, `record` | one group: its segments and what grows; what is kept beside them |
//! | `segment`, `codec` | the format of the files, and what a crash leaves of them |
//! | `view`, [`select`] | a group at one moment; pages of its events in the order of time |
//! | [`filter`] | which messages a filter pattern means; pure |
//! | `world` | limits, clock and disk |

mod codec;
pub mod collect;
pub mod error;
pub mod filter;
mod group;
mod record;
mod segment;
pub mod select;
pub mod store;
#[cfg(test)]
mod store_tests;
mod view;
mod world;

pub use error::LogError;
pub use store::{LogLimits, LogStore};
pub use view::StreamInfo;

/// One event of a stream, without a line break at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    /// Milliseconds since 1970, in UTC.
    pub timestamp_ms: i64,
    pub message: String,
}
