//! What an operator sees: log lines, histograms, the Prometheus text form, the process's own figures.
//!
//! These are the instruments only. What is counted, and where, is decided by the parts that work;
//! nothing here knows how any of them does.

pub mod exposition;
pub mod histogram;
pub mod log;
mod log_filter;
pub mod process;
pub mod time;
