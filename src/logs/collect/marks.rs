//! The service's own lines while they wait for their place among those of the function. Pure.

use std::time::{Duration, Instant, SystemTime};

use uuid::Uuid;

use super::ending::{Ending, Failed};

/// A line from a runtime cannot be here sooner than this after its event was sent; one that is
/// was written before. Measured on an idle machine: of 7,000 lines none took less than 97 us, and
/// half of them 0.3 ms.
pub(super) const ON_THE_WAY: Duration = Duration::from_micros(60);
/// How long what is on its way may take: the Engine can be busy for longer than 0.1 s. Nobody waits
/// for this.
pub(super) const SETTLE: Duration = Duration::from_millis(500);
/// The same in a sandbox that is older than [`SILENT`] and has printed nothing for so long.
pub(super) const SETTLE_SILENT: Duration = Duration::from_millis(25);
pub(super) const SILENT: Duration = Duration::from_secs(10);
/// How long an end is held back by a function that goes on printing.
pub(super) const AT_MOST: Duration = Duration::from_secs(1);
/// How long what is on its way may take once the Engine has answered.
pub(super) const LAST_STEP: Duration = Duration::from_millis(25);
/// How long an end that somebody waits for is held back.
pub(super) const TAIL_AT_MOST: Duration = Duration::from_millis(400);
/// How long a line waits for one that tells whose both are.
pub(super) const DOUBT: Duration = Duration::from_millis(250);
/// What a line has to reach the Engine before the question does.
pub(super) const HEAD_START: Duration = Duration::from_millis(5);

/// The present, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) wall: SystemTime,
    pub(super) instant: Instant,
}

/// One of the service's own lines, or a few.
pub(super) struct Mark {
    pub(super) at: SystemTime,
    /// When it came here.
    pub(super) queued: Instant,
    /// How long what is on its way may take.
    settle: Duration,
    /// Somebody waits for it.
    pub(super) word: Option<Word>,
    pub(super) what: What,
}

/// What the Engine says to a question on behalf of somebody who waits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Awaited,
    /// It was given then: what came before it is on the last step of its way.
    Given(Instant),
}

pub(super) enum What {
    Start(Starting),
    End(Ending),
    InitFailed { failed: Failed, after: Duration },
}

/// The beginning of an invocation.
#[derive(Debug, Default)]
pub(super) struct Starting {
    pub(super) id: Uuid,
    /// Somebody will ask for its log.
    pub(super) tail: bool,
    pub(super) trace: Option<Box<str>>,
    /// How long the sandbox has initialized for it.
    pub(super) init: Option<Duration>,
    /// No runtime has come to take it, so that no line is its own.
    pub(super) untaken: bool,
}

impl Mark {
    /// `silent_since` is when the last output came, or could have come first.
    pub(super) fn new(at: SystemTime, what: What, now: Now, silent_since: Instant) -> Mark {
        let silent = now.instant.saturating_duration_since(silent_since) >= SILENT;
        let settle = if silent { SETTLE_SILENT } else { SETTLE };
        Mark { at, queued: now.instant, settle, word: None, what }
    }

    /// When it is written.
    pub(super) fn due(&self, silent_since: Instant) -> Instant {
        let quiet = silent_since.max(self.queued);
        let (due, at_most) = match (&self.what, self.word) {
            (What::Start(_), _) => (self.queued + self.settle, AT_MOST),
            (_, None) => (quiet + self.settle, AT_MOST),
            (_, Some(Word::Given(then))) => (quiet.max(then) + LAST_STEP, TAIL_AT_MOST),
            (_, Some(Word::Awaited)) => return self.queued + TAIL_AT_MOST,
        };
        due.min(self.queued + at_most)
    }

    fn start(&self) -> Option<&Starting> {
        match &self.what {
            What::Start(starting) => Some(starting),
            What::End(_) | What::InitFailed { .. } => None,
        }
    }

    pub(super) fn is_start(&self) -> bool {
        self.start().is_some()
    }

    pub(super) fn starts(&self, id: Uuid) -> bool {
        self.start().is_some_and(|starting| starting.id == id)
    }

    /// Whether it starts this invocation, and somebody will ask for its log.
    pub(super) fn starts_for_tail(&self, id: Uuid) -> bool {
        self.start().is_some_and(|starting| starting.id == id && starting.tail)
    }

    /// The invocation that lines from here on may belong to.
    pub(super) fn printer(&self) -> Option<Uuid> {
        self.start().filter(|starting| !starting.untaken).map(|starting| starting.id)
    }

    pub(super) fn is_end(&self) -> bool {
        matches!(self.what, What::End(_))
    }
}
