//! What has happened to asynchronous events since the start. Everything is an atomic.

use std::sync::atomic::{AtomicU64, Ordering};

use super::destination::Carrier;
use super::state::Condition;

/// What is counted, in the order of [`TEXTS`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    Accepted,
    Refused,
    WriteFailures,
    Delivered,
    Failed,
    Retried,
    PutBack,
    Expired,
    Recursions,
    DeadLettered,
    Discarded,
    FunctionRecords,
    WebhookRecords,
    LettersWritten,
    CarryFailures,
    Purged,
}

const TEXTS: [(&str, &str); 16] = [
    ("accepted", "Events answered 202, and replayed ones."),
    ("refused", "Events refused: the queue or the disk is full."),
    ("write_failures", "Writes of the queue that failed."),
    ("delivered", "Events that their function has carried out."),
    ("failed", "Events that ended otherwise."),
    ("retried", "Failed tries that are tried again."),
    ("put_back", "Deliveries that found no room or no function, or could not be read."),
    ("expired", "Events that became too old."),
    ("recursions", "Events of a function that invokes itself."),
    ("dead_lettered", "Failed events that went to a destination or a dead-letter target."),
    ("discarded", "Failed events without any destination."),
    ("function_records", "Records sent to functions."),
    ("webhook_records", "Records posted to the webhook."),
    ("letters_written", "Records written as dead letters."),
    ("carry_failures", "Records that could not be carried, each time."),
    ("purged", "Events that an operator has purged."),
];

#[derive(Debug, Default)]
pub struct Counters([AtomicU64; TEXTS.len()]);

impl Counters {
    pub(super) fn add(&self, what: Count, more: u64) {
        self.0[what as usize].fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn count(&self, what: Count) {
        self.add(what, 1);
    }

    /// An event is over.
    pub(super) fn ended(&self, condition: Condition) {
        match condition {
            Condition::Success => return self.count(Count::Delivered),
            Condition::EventAgeExceeded => self.count(Count::Expired),
            Condition::RecursiveInvocation => self.count(Count::Recursions),
            _ => {}
        }
        self.count(Count::Failed);
    }

    pub(super) fn carried(&self, by: Carrier) {
        self.count(match by {
            Carrier::Letters => Count::LettersWritten,
            Carrier::Webhook => Count::WebhookRecords,
        });
    }

    /// Each with its name and what it counts.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let counts = self.0.iter().map(|counter| counter.load(Ordering::Relaxed));
        TEXTS.into_iter().zip(counts).map(|((name, help), count)| (name, help, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_counts_belong_together() {
        assert_eq!(Count::Purged as usize + 1, TEXTS.len());
        let counters = Counters::default();
        counters.ended(Condition::EventAgeExceeded);
        counters.ended(Condition::Success);
        counters.add(Count::Purged, 7);
        let counted: Vec<_> = counters.all().filter(|(.., count)| *count > 0).collect();
        let names: Vec<_> = counted.iter().map(|(name, _, count)| (*name, *count)).collect();
        assert_eq!(names, [("delivered", 1), ("failed", 1), ("expired", 1), ("purged", 7)]);
    }
}
