//! The life of one sandbox as a state machine: the only place where a state follows another.
//!
//! Pure: it starts and stops nothing. Who asks for a step that cannot be gets `None`, and must
//! have an answer for that (a runtime gets `InvalidStateTransition`, an Engine event is ignored).

use std::fmt;

/// Where a sandbox is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Asked of the Engine, or waiting for its turn to be.
    Creating,
    /// Its process runs and initializes; it has not asked for an event yet.
    Starting,
    /// Its runtime waits in `/next`.
    Idle,
    /// It has an event and owes the answer.
    Busy,
    /// It is expected to ask for an event: it has answered, or its poll was lost.
    Finishing,
    /// Nothing more is given to it; its container is being removed.
    Stopping(EndReason),
}

/// Why a sandbox ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// Nobody needed it for the idle time.
    Idle,
    /// It did not initialize: an error, an exit, or out of time.
    InitFailed,
    /// Its function ran out of time.
    TimedOut,
    /// Its process exited, or its container was stopped by someone else.
    Exited,
    OutOfMemory,
    /// Its runtime broke the protocol.
    ProtocolViolation,
    /// The Engine could not create or start it.
    EngineFailed,
    /// Its function was changed or deleted.
    FunctionChanged,
    /// Room was needed for another function, or nobody waited for it any more.
    Evicted,
    Shutdown,
}

/// What happens to a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The Engine has started its container.
    Started,
    /// Its runtime asks for an event.
    Polled,
    /// An event is given to its runtime.
    Given,
    /// Its runtime has answered.
    Answered,
    /// The connection of its `/next` is gone, before or while an event was given to it.
    PollLost,
    End(EndReason),
}

impl State {
    /// The state after `step`, or `None` where the step cannot be.
    pub fn next(self, step: Step) -> Option<State> {
        use State::*;
        match (self, step) {
            (Stopping(_), _) => None,
            (_, Step::End(reason)) => Some(Stopping(reason)),
            (Creating, Step::Started) => Some(Starting),
            // A runtime can be quicker than the Engine's own answer to `start`.
            (Idle | Busy | Finishing, Step::Started) => Some(self),
            (Creating | Starting | Idle | Finishing, Step::Polled) => Some(Idle),
            (Idle, Step::Given) => Some(Busy),
            (Busy, Step::Answered) => Some(Finishing),
            (Idle | Busy, Step::PollLost) => Some(Finishing),
            (Starting, Step::Started)
            | (Busy, Step::Polled)
            | (Creating | Starting | Busy | Finishing, Step::Given)
            | (Creating | Starting | Idle | Finishing, Step::Answered)
            | (Creating | Starting | Finishing, Step::PollLost) => None,
        }
    }

    /// The name in `/status` and `/metrics`.
    pub fn name(self) -> &'static str {
        match self {
            State::Creating => "creating",
            State::Starting => "starting",
            State::Idle => "idle",
            State::Busy => "busy",
            State::Finishing => "finishing",
            State::Stopping(_) => "stopping",
        }
    }

    /// Every name that [`State::name`] gives, in the order of a life.
    pub const NAMES: [&'static str; 6] =
        ["creating", "starting", "idle", "busy", "finishing", "stopping"];

    pub fn is_initializing(self) -> bool {
        matches!(self, State::Creating | State::Starting)
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EndReason::Idle => "idle for too long",
            EndReason::InitFailed => "initialization failed",
            EndReason::TimedOut => "timed out",
            EndReason::Exited => "exited",
            EndReason::OutOfMemory => "out of memory",
            EndReason::ProtocolViolation => "protocol violation",
            EndReason::EngineFailed => "the Engine failed",
            EndReason::FunctionChanged => "function changed",
            EndReason::Evicted => "not needed any more",
            EndReason::Shutdown => "shutdown",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_goes_its_way() {
        let mut state = State::Creating;
        for (step, then) in [
            (Step::Started, State::Starting),
            (Step::Polled, State::Idle),
            (Step::Given, State::Busy),
            (Step::Answered, State::Finishing),
            (Step::Polled, State::Idle),
            (Step::End(EndReason::Idle), State::Stopping(EndReason::Idle)),
        ] {
            state = state.next(step).unwrap();
            assert_eq!(state, then);
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (state, step) in [
            (State::Creating, Step::Given),
            (State::Starting, Step::Answered),
            (State::Idle, Step::Answered),
            (State::Busy, Step::Given),
            (State::Busy, Step::Polled),
            (State::Finishing, Step::Answered),
            (State::Stopping(EndReason::Idle), Step::Polled),
            (State::Stopping(EndReason::Idle), Step::End(EndReason::Exited)),
        ] {
            assert_eq!(state.next(step), None, "{state:?} {step:?}");
        }
    }

    #[test]
    fn a_runtime_may_poll_before_the_engine_has_answered() {
        let idle = State::Creating.next(Step::Polled).unwrap();
        assert_eq!(idle, State::Idle);
        assert_eq!(idle.next(Step::Started), Some(State::Idle));
        assert!(!idle.is_initializing() && State::Starting.is_initializing());
    }
}
