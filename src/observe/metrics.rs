//! What has happened to invocations and sandboxes since the start, in counters and histograms.
//!
//! Everything is an atomic: counting on the warm path takes no lock.

use std::sync::atomic::{AtomicU64, Ordering};

use super::histogram::Histogram;
use crate::dispatch::{Failure, Outcome, Refusal, Report};
use crate::sandbox::state::EndReason;

/// How an invocation can end, as the label of a metric.
pub const OUTCOMES: [&str; 10] = [
    "success",
    "function_error",
    "timed_out",
    "exited",
    "out_of_memory",
    "init_timed_out",
    "response_too_large",
    "no_answer",
    "throttled",
    "service_error",
];

/// Why a sandbox can end, as the label of a metric.
pub const ENDS: [&str; 10] = [
    "idle",
    "init_failed",
    "timed_out",
    "exited",
    "out_of_memory",
    "protocol_violation",
    "engine_failed",
    "function_changed",
    "evicted",
    "shutdown",
];

/// See the module's text.
#[derive(Debug)]
pub struct Metrics {
    outcomes: [AtomicU64; OUTCOMES.len()],
    ends: [AtomicU64; ENDS.len()],
    starts: AtomicU64,
    cold_starts: AtomicU64,
    /// From the hand-over of an event to the answer.
    pub duration: Histogram,
    /// From a container's start to its first `/next`, of sandboxes that served.
    pub init: Histogram,
}

impl Metrics {
    pub fn new() -> Metrics {
        Metrics {
            outcomes: Default::default(),
            ends: Default::default(),
            starts: AtomicU64::new(0),
            cold_starts: AtomicU64::new(0),
            duration: Histogram::new(),
            init: Histogram::new(),
        }
    }

    pub fn invocation_ended(&self, outcome: &Outcome, report: &Report) {
        self.outcomes[index(outcome)].fetch_add(1, Ordering::Relaxed);
        if report.started.is_some() {
            self.duration.record(report.duration);
        }
        if let Some(init) = report.init {
            self.cold_starts.fetch_add(1, Ordering::Relaxed);
            self.init.record(init);
        }
    }

    pub fn sandbox_started(&self) {
        self.starts.fetch_add(1, Ordering::Relaxed);
    }

    pub fn sandbox_ended(&self, reason: EndReason) {
        let index = match reason {
            EndReason::Idle => 0,
            EndReason::InitFailed => 1,
            EndReason::TimedOut => 2,
            EndReason::Exited => 3,
            EndReason::OutOfMemory => 4,
            EndReason::ProtocolViolation => 5,
            EndReason::EngineFailed => 6,
            EndReason::FunctionChanged => 7,
            EndReason::Evicted => 8,
            EndReason::Shutdown => 9,
        };
        self.ends[index].fetch_add(1, Ordering::Relaxed);
    }

    /// Invocations by outcome, in the order of [`OUTCOMES`].
    pub fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        OUTCOMES.iter().zip(&self.outcomes).map(|(name, n)| (*name, n.load(Ordering::Relaxed)))
    }

    /// Ended sandboxes by reason, in the order of [`ENDS`].
    pub fn ends(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ENDS.iter().zip(&self.ends).map(|(name, n)| (*name, n.load(Ordering::Relaxed)))
    }

    pub fn starts(&self) -> u64 {
        self.starts.load(Ordering::Relaxed)
    }

    /// Invocations that were the first of their sandbox.
    pub fn cold_starts(&self) -> u64 {
        self.cold_starts.load(Ordering::Relaxed)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

fn index(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Response(_) => 0,
        Outcome::FunctionError(_) => 1,
        Outcome::Failed(Failure::TimedOut { .. }) => 2,
        Outcome::Failed(Failure::Exited(exit)) if exit.out_of_memory => 4,
        Outcome::Failed(Failure::Exited(_)) => 3,
        Outcome::Failed(Failure::InitTimedOut { .. }) => 5,
        Outcome::Failed(Failure::ResponseTooLarge { .. }) => 6,
        Outcome::Failed(Failure::NoAnswer) => 7,
        Outcome::Refused(
            Refusal::ConcurrencyLimit
            | Refusal::ReservedLimit
            | Refusal::Stopped
            | Refusal::MemoryLimit
            | Refusal::NoRuntime,
        ) => 8,
        Outcome::Refused(
            Refusal::NoSandbox(_)
            | Refusal::NoCode(_)
            | Refusal::FunctionGone
            | Refusal::ShuttingDown,
        ) => 9,
    }
}
