//! An invocation: what it carries, who waits for it, and how it can end.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use uuid::Uuid;

use super::core::SandboxId;
use super::shares::ClaimId;
use crate::audit::Source;
use crate::function::model::Function;
use crate::http::{Body, WatchId};

/// A function version as dispatch sees it.
#[derive(Debug)]
pub struct Target {
    /// Names the pool: region, name and version.
    pub key: String,
    pub name: String,
    pub version: String,
    /// The unqualified ARN.
    pub arn: String,
    pub timeout: Duration,
    pub memory_mb: u32,
    /// What sandboxes are made from. `None`: its runtimes were started by someone else.
    pub function: Option<Arc<Function>>,
}

impl Target {
    /// Whether sandboxes of `other` are made of the same and can serve invocations of this target.
    pub(super) fn same_revision(&self, other: &Target) -> bool {
        match (&self.function, &other.function) {
            (Some(mine), Some(theirs)) => {
                Arc::ptr_eq(mine, theirs) || mine.content_id == theirs.content_id
            }
            (None, None) => true,
            _ => false,
        }
    }
}

/// What a runtime reads from `/next`, besides the deadline.
#[derive(Debug)]
pub struct Event {
    pub id: Uuid,
    pub payload: Body,
    pub invoked_arn: String,
    pub trace_id: String,
    /// JSON as the caller gave it, decoded from base64.
    pub client_context: Option<String>,
    pub cognito_identity: Option<String>,
    pub source: Source,
}

/// Who waits for an invocation's outcome.
pub trait Reply: Send {
    /// Called exactly once, on any thread; it must not block.
    fn reply(self: Box<Self>, outcome: Outcome, report: Report);

    /// Whether it will ask for what the invocation has logged.
    fn wants_log(&self) -> bool {
        false
    }
}

/// A runtime that waits in `/next`.
pub trait Poll: Send {
    /// Asks to be told ([`Dispatcher::poll_gone`](super::Dispatcher::poll_gone)) when the runtime
    /// goes away. False when it has gone already.
    fn watch(&self, id: WatchId) -> bool;

    /// Hands over the event. False when the runtime is known to be gone.
    fn deliver(self: Box<Self>, event: &Event, deadline: SystemTime) -> bool;

    /// Lets go of a runtime that will get no event.
    fn hang_up(self: Box<Self>);

    /// Tells a runtime that its sandbox takes no more polls.
    fn refuse(self: Box<Self>);
}

/// How an invocation ended. There is exactly one for each.
#[derive(Debug)]
pub enum Outcome {
    /// The function's answer, as bytes that nobody has looked at.
    Response(Body),
    /// The error that the runtime posted, as it posted it.
    FunctionError(Body),
    /// The service says what happened to the function.
    Failed(Failure),
    /// The invocation was not carried out.
    Refused(Refusal),
}

/// How a function failed without saying so itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    TimedOut {
        after: Duration,
    },
    Exited(Exit),
    /// The runtime was silent for the whole init time.
    InitTimedOut {
        after: Duration,
    },
    ResponseTooLarge {
        limit: usize,
    },
    /// The runtime went on without answering, or broke its answer off.
    NoAnswer,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    pub code: i32,
    pub out_of_memory: bool,
}

impl fmt::Display for Exit {
    /// AWS's words (see the Lambda documentation on `Runtime.ExitError`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signal = self.code - 128; // the convention of shells and of the container's init
        match (self.code, signal_name(signal)) {
            _ if self.out_of_memory => write!(f, "Runtime exited with error: signal: killed"),
            (0, _) => write!(f, "Runtime exited without providing a reason"),
            (_, Some(name)) => write!(f, "Runtime exited with error: signal: {name}"),
            (code, None) => write!(f, "Runtime exited with error: exit status {code}"),
        }
    }
}

/// Go's names of the signals, which AWS's messages use.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        15 => "terminated",
        _ => return None,
    })
}

/// Why an invocation was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// As many invocations are under way as may be.
    ConcurrencyLimit,
    /// As many of this function's are under way as are reserved for it.
    ReservedLimit,
    /// Nothing is reserved for this function, so that it does not run at all.
    Stopped,
    /// There is no memory for another sandbox, and nobody can leave any.
    MemoryLimit,
    /// No runtime came to take it.
    NoRuntime,
    /// The Engine could not provide a sandbox. The text is for the log.
    NoSandbox(String),
    /// The code is not where it was when the function was deployed; the text is for the caller.
    NoCode(String),
    /// The function was deleted or changed while the invocation waited.
    FunctionGone,
    ShuttingDown,
}

/// What is known of how an invocation was carried out.
#[derive(Debug, Clone)]
pub struct Report {
    pub event: Arc<Event>,
    /// From the event's hand-over to the answer; of one that was never handed over, how long the
    /// sandbox had tried to initialize for which it waited.
    pub duration: Duration,
    /// When the event was handed over; none when it never was.
    pub started: Option<SystemTime>,
    /// How long the sandbox initialized, when this was its first invocation.
    pub init: Option<Duration>,
    /// The sandbox that took it, or for whose failed start it was not taken.
    pub sandbox: Option<SandboxId>,
    /// What has carried it out, and the name of its container; none where nothing has.
    pub target: Option<Arc<Target>>,
    pub container: Option<Arc<str>>,
}

impl Report {
    /// Of an invocation that no sandbox has taken.
    pub(super) fn untaken(event: Arc<Event>) -> Report {
        Report {
            event,
            duration: Duration::ZERO,
            started: None,
            init: None,
            sandbox: None,
            target: None,
            container: None,
        }
    }
}

/// An invocation that was accepted and that no sandbox has taken yet.
pub(super) struct Invocation {
    pub(super) claim: ClaimId,
    pub(super) event: Arc<Event>,
    pub(super) reply: Box<dyn Reply>,
    pub(super) received: Instant,
    /// A sandbox that was started for it could not initialize. As on Lambda that is tried once
    /// more, within the function's timeout; then the invocation fails.
    pub(super) init_failed: bool,
    /// A sandbox that was given it has ended without having read it.
    pub(super) given_back: bool,
}

impl Invocation {
    pub(super) fn new(
        claim: ClaimId,
        event: Arc<Event>,
        reply: Box<dyn Reply>,
        received: Instant,
    ) -> Invocation {
        let (init_failed, given_back) = (false, false);
        Invocation { claim, event, reply, received, init_failed, given_back }
    }
}

/// An invocation that was not accepted yet: it waits for room, for a bounded time.
pub(super) struct Patient {
    pub(super) event: Arc<Event>,
    pub(super) reply: Box<dyn Reply>,
    pub(super) received: Instant,
    /// Why it has to wait, and what it is told if that does not change in time.
    pub(super) refusal: Refusal,
}

/// An invocation that a sandbox has taken.
pub(super) struct Running {
    pub(super) claim: ClaimId,
    pub(super) event: Arc<Event>,
    /// Taken by the one outcome.
    pub(super) reply: Option<Box<dyn Reply>>,
    pub(super) received: Instant,
    pub(super) given: Instant,
    pub(super) given_at: SystemTime,
    pub(super) expires: Instant,
    pub(super) init: Option<Duration>,
    /// How often the runtime asked again instead of answering.
    pub(super) repeated: u8,
    /// The answer's body is arriving.
    pub(super) answering: bool,
    /// Its runtime has reset the connection before it had read all of the event.
    pub(super) unread: bool,
    /// Another one has ended like this.
    pub(super) given_back: bool,
    /// It was told of as one that takes long.
    pub(super) told: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_told_in_awss_words() {
        let told = |code, out_of_memory| Exit { code, out_of_memory }.to_string();
        assert_eq!(told(3, false), "Runtime exited with error: exit status 3");
        assert_eq!(told(0, false), "Runtime exited without providing a reason");
        assert_eq!(told(137, false), "Runtime exited with error: signal: killed");
        assert_eq!(told(139, false), "Runtime exited with error: signal: segmentation fault");
        assert_eq!(told(1, true), "Runtime exited with error: signal: killed");
        assert_eq!(told(255, false), "Runtime exited with error: exit status 255");
    }
}
