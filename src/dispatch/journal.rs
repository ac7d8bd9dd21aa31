//! What dispatch tells of invocations and sandboxes, for whoever writes their log.
//!
//! It is told after the core's lock is released, on the thread that has caused it. The beginning of
//! an invocation is told before its runtime has the event, so it always comes before the end. But
//! the end of one and the beginning of the next are told by two threads, and may come the other way
//! round when the runtime asks for the next event while its answer is still arriving.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::SandboxId;
use super::invocation::{Event, Failure, Outcome, Refusal, Report, Target};
use crate::http::Body;
use crate::sandbox::state::EndReason;

/// Writes down what happens. The calls are on the warm path: none may block or wake a thread.
pub trait Journal: Send + Sync {
    /// A runtime is about to be handed an invocation.
    fn given(&self, event: &Event, given: Given);
    /// That runtime was gone: the invocation goes to another one.
    fn taken_back(&self, sandbox: SandboxId, id: Uuid);
    /// An invocation has its outcome, whether a sandbox had taken it or not.
    fn concluded(&self, outcome: &Outcome, report: &Report);
    /// The Engine has started a sandbox's container.
    fn started(&self, sandbox: SandboxId);
    /// A sandbox gets no more work. Not told of processes of this host.
    fn ended(&self, ended: Ended);
}

/// Accounts for what happens. As for a [`Journal`], no call may block or wake a thread.
pub trait Witness: Send + Sync {
    /// An invocation has its outcome, whether a sandbox had taken it or not.
    fn concluded(&self, outcome: &Outcome, report: &Report);
    /// A container has become a sandbox, or is none any more. Not told of processes of this host.
    fn changed(&self, change: &SandboxChange);
}

/// A change in the life of a sandbox that an invocation does not tell of.
#[derive(Debug)]
pub struct SandboxChange {
    pub change: Change,
    pub target: Arc<Target>,
    /// None before it has one.
    pub container: Option<Arc<str>>,
    pub name: Arc<str>,
    pub address: Option<IpAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The Engine has made its container, which is started next.
    Created,
    /// A container that somebody else has started serves a function.
    Adopted,
    /// Its runtime asks for the first event.
    Initialized,
    /// It gets no more work.
    Ended(EndReason),
    /// Its container is gone, or forgotten where somebody else has started it.
    Removed,
}

/// The beginning of an invocation.
#[derive(Debug)]
pub struct Given {
    pub sandbox: SandboxId,
    pub at: SystemTime,
    pub target: Arc<Target>,
    /// How long the sandbox initialized, when this is its first invocation.
    pub init: Option<Duration>,
    /// Its runtime is a process of this host: its sandbox lives for this invocation only.
    pub local: bool,
    /// Somebody will ask for what it has logged.
    pub tail: bool,
}

/// The end of a sandbox.
#[derive(Debug)]
pub struct Ended {
    pub sandbox: SandboxId,
    /// Why and after how long it did not initialize, where that is why it ended.
    pub init: Option<(InitFailure, Duration)>,
}

/// Why a sandbox did not initialize.
#[derive(Debug)]
pub enum InitFailure {
    /// The runtime said so, in these words.
    Reported(Body),
    Failed(Failure),
    /// The Engine could not start it, for this reason.
    NotStarted(String),
}

impl InitFailure {
    /// None when the sandbox ended for another reason than that it could not initialize.
    pub(super) fn of(outcome: &Outcome) -> Option<InitFailure> {
        match outcome {
            Outcome::FunctionError(error) => Some(InitFailure::Reported(error.clone())),
            Outcome::Failed(failure) => Some(InitFailure::Failed(failure.clone())),
            Outcome::Refused(Refusal::NoSandbox(why)) => Some(InitFailure::NotStarted(why.clone())),
            Outcome::Refused(_) | Outcome::Response(_) => None,
        }
    }
}
