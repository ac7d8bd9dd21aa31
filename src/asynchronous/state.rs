//! The life of an entry as a state machine, and what decides its steps: how often and how long an
//! event is tried.
//!
//! ```text
//! Waiting --Due--> Ready --Take--> Delivering --Conclude--> Ending --(written)--> gone
//!    ^               ^  \              |  |                   ^
//!    |               |   `--Conclude---+--+-------------------'   (purged)
//!    |               `---PutBack-------'  |
//!    `-------------------Retry------------'
//! ```
//!
//! Pure: time comes in as an argument, in milliseconds since 1970, for it has to mean the same
//! after a restart. <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>

use std::time::Duration;

use super::stored::Terms;

/// Where an entry is. Only `Waiting` is on the disk; after a restart the others are `Ready` again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It can be delivered.
    Ready,
    /// It is tried again at this time.
    Waiting { until_ms: u64 },
    /// A runtime has it, or a carrier.
    Delivering,
    /// Its end is being written.
    Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Its time has come, or an operator hurries it.
    Due,
    Take,
    /// Nobody could take it, and nothing was tried.
    PutBack,
    Retry {
        until_ms: u64,
    },
    /// It is over: its outcome is known, or it was purged.
    Conclude,
}

impl State {
    /// The one transition function; `None` where the step cannot be.
    pub(super) fn after(self, step: Step) -> Option<State> {
        Some(match (self, step) {
            (State::Ready | State::Waiting { .. }, Step::Due) => State::Ready,
            (State::Ready, Step::Take) => State::Delivering,
            (State::Delivering, Step::PutBack) => State::Ready,
            (State::Delivering, Step::Retry { until_ms }) => State::Waiting { until_ms },
            (State::Ready | State::Waiting { .. } | State::Delivering, Step::Conclude) => {
                State::Ending
            }
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            State::Ready => "queued",
            State::Waiting { .. } => "retrying",
            State::Delivering => "delivering",
            State::Ending => "ending",
        }
    }
}

/// How an event can end: `condition` of its record. AWS has the first four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Success,
    RetriesExhausted,
    EventAgeExceeded,
    ZeroReservedConcurrency,
    RecursiveInvocation,
    /// The function, its version or its alias was deleted meanwhile.
    FunctionNotFound,
    /// The disk does not give its payload back.
    PayloadLost,
}

impl Condition {
    pub(super) fn name(self) -> &'static str {
        match self {
            Condition::Success => "Success",
            Condition::RetriesExhausted => "RetriesExhausted",
            Condition::EventAgeExceeded => "EventAgeExceeded",
            Condition::ZeroReservedConcurrency => "ZeroReservedConcurrency",
            Condition::RecursiveInvocation => "RecursiveInvocation",
            Condition::FunctionNotFound => "FunctionNotFound",
            Condition::PayloadLost => "PayloadLost",
        }
    }
}

/// AWS's defaults and greatest values.
pub(super) const MAX_RETRIES: u32 = 2;
pub(super) const MAX_AGE: Duration = Duration::from_secs(6 * 60 * 60);

/// What is configured for the events of a function, a version or an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub max_retries: u32,
    pub max_age: Duration,
    pub on_success: Option<String>,
    pub on_failure: Option<String>,
    /// `DeadLetterConfig` of the function.
    pub dead_letter: Option<String>,
    /// That of the event's own terms.
    pub own_dead_letter: Option<String>,
    /// Its reserved concurrency is 0.
    pub stopped: bool,
    pub recursion_allowed: bool,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            max_retries: MAX_RETRIES,
            max_age: MAX_AGE,
            on_success: None,
            on_failure: None,
            dead_letter: None,
            own_dead_letter: None,
            stopped: false,
            recursion_allowed: false,
        }
    }
}

impl Policy {
    /// The policy for an event with these terms: the stricter of both.
    pub(super) fn with(mut self, terms: Option<&Terms>) -> Policy {
        if let Some(terms) = terms {
            self.max_retries = self.max_retries.min(terms.max_retries.into());
            self.max_age = self.max_age.min(Duration::from_secs(terms.max_age_s.into()));
            self.own_dead_letter.clone_from(&terms.dead_letter);
        }
        self
    }

    /// Whether an event has been in the queue for too long.
    pub(super) fn has_expired(&self, accepted_ms: u64, now_ms: u64) -> bool {
        now_ms >= accepted_ms.saturating_add(millis(self.max_age))
    }

    /// When an event whose function has failed `attempts` times is tried again, or why it is not.
    /// The first wait is `delay`, the second twice as long.
    pub(super) fn after_failure(
        &self,
        attempts: u8,
        delay: Duration,
        accepted_ms: u64,
        now_ms: u64,
    ) -> Result<u64, Condition> {
        if u32::from(attempts) > self.max_retries {
            return Err(Condition::RetriesExhausted);
        }
        let wait = millis(delay).saturating_mul(u64::from(attempts));
        let until_ms = now_ms.saturating_add(wait);
        // It would only wait for its end.
        if self.has_expired(accepted_ms, until_ms) {
            return Err(Condition::EventAgeExceeded);
        }
        Ok(until_ms)
    }
}

/// How long a function is left alone that could not take an event `times` times in a row: 1 s, and
/// twice as long each time up to 5 minutes.
pub(super) fn back_off(times: u32) -> Duration {
    const LONGEST: Duration = Duration::from_secs(300);
    let seconds = 1_u64 << times.saturating_sub(1).min(9);
    LONGEST.min(Duration::from_secs(seconds))
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;
    const DELAY: Duration = Duration::from_secs(60);

    #[test]
    fn every_step_of_every_state() {
        let waiting = State::Waiting { until_ms: 5 };
        let again = Step::Retry { until_ms: 9 };
        let steps = [Step::Due, Step::Take, Step::PutBack, again, Step::Conclude];
        let table = [
            (
                State::Ready,
                [Some(State::Ready), Some(State::Delivering), None, None, Some(State::Ending)],
            ),
            (waiting, [Some(State::Ready), None, None, None, Some(State::Ending)]),
            (
                State::Delivering,
                [
                    None,
                    None,
                    Some(State::Ready),
                    Some(State::Waiting { until_ms: 9 }),
                    Some(State::Ending),
                ],
            ),
            (State::Ending, [None; 5]),
        ];
        for (state, after) in table {
            assert_eq!(steps.map(|step| state.after(step)), after, "{state:?}");
        }
    }

    #[test]
    fn a_failed_event_is_tried_after_one_and_after_two_minutes() {
        let policy = Policy::default();
        assert_eq!(policy.after_failure(1, DELAY, 0, 1_000), Ok(1_000 + MINUTE));
        assert_eq!(policy.after_failure(2, DELAY, 0, 70_000), Ok(70_000 + 2 * MINUTE));
        let over = policy.after_failure(3, DELAY, 0, 200_000);
        assert_eq!(over, Err(Condition::RetriesExhausted));
        let none = Policy { max_retries: 0, ..policy.clone() };
        assert_eq!(none.after_failure(1, DELAY, 0, 0), Err(Condition::RetriesExhausted));
        let one = Policy { max_retries: 1, ..policy };
        assert_eq!(one.after_failure(1, DELAY, 0, 0), Ok(MINUTE));
        assert_eq!(one.after_failure(2, DELAY, 0, 0), Err(Condition::RetriesExhausted));
    }

    #[test]
    fn an_event_that_would_be_too_old_for_its_next_try_ends_now() {
        let policy = Policy { max_age: Duration::from_secs(90), ..Policy::default() };
        assert_eq!(policy.after_failure(1, DELAY, 0, 29_999), Ok(89_999));
        let over = policy.after_failure(1, DELAY, 0, 30_000);
        assert_eq!(over, Err(Condition::EventAgeExceeded));
        assert!(!policy.has_expired(0, 89_999) && policy.has_expired(0, 90_000));
        assert!(!Policy::default().has_expired(MINUTE, 0), "a clock that was set back");
    }

    #[test]
    fn a_function_without_room_is_left_alone_for_longer_and_longer() {
        let seconds: Vec<u64> = (1..=11).map(|times| back_off(times).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(back_off(u32::MAX).as_secs(), 300);
    }
}
