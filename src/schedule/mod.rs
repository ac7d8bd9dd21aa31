//! Schedules, as EventBridge Scheduler has them: when a function runs by itself.
//!
//! `timing` says when a schedule runs, by `cron` and `zone`.

pub mod cron;
pub mod timing;
pub mod zone;
