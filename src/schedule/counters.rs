//! What has happened to runs since the start. Everything is an atomic.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted, in the order of [`TEXTS`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    Started,
    Missed,
    Skipped,
    Refused,
    GivenUp,
    WriteFailures,
}

const TEXTS: [(&str, &str); 6] = [
    ("runs_started", "Runs that the event queue has taken."),
    ("runs_missed", "Runs that were found more than a minute late."),
    ("runs_skipped", "Missed runs that were not made up for."),
    ("runs_refused", "Runs that the event queue did not take, each time."),
    (
        "runs_given_up",
        "Runs that the event queue has not taken within their MaximumEventAgeInSeconds.",
    ),
    ("write_failures", "Times at which the store did not take how far schedules are."),
];

#[derive(Debug, Default)]
pub struct Counters([AtomicU64; TEXTS.len()]);

impl Counters {
    pub(super) fn add(&self, what: Count, more: usize) {
        self.0[what as usize].fetch_add(more as u64, Ordering::Relaxed);
    }

    /// Each with its name and what it counts.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let counts = self.0.iter().map(|counter| counter.load(Ordering::Relaxed));
        TEXTS.into_iter().zip(counts).map(|((name, help), count)| (name, help, count))
    }
}
