//! What an operator sees: log lines, histograms, the Prometheus text form, the process's own figures.
//!
//! These are the instruments, and in `metrics` what dispatch has counted; nothing here knows how
//! any part works.

pub mod exposition;
pub mod histogram;
pub mod host;
pub mod log;
mod log_filter;
pub mod metrics;
pub mod process;
pub mod time;
