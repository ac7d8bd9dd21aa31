//! What has happened, on its way to the reader.
//!
//! On the warm path news is only put down: the reader wakes by its own clock while anything goes
//! on, and has to be woken only when nothing has for a while.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crossbeam_channel::Sender;
use rustix::event::{EventfdFlags, eventfd};
use uuid::Uuid;

use super::Collector;
use super::ending::{Ending, Failed};
use super::marks::Starting;
use super::subject::Subject;
use super::tail::Waiter;
use crate::dispatch::{Ended, Event, Failure, Given, Journal, Outcome, Report, SandboxId, Target};
use crate::docker::{Attached, Logged};

pub(super) enum Entry {
    /// A sandbox has a container. `attached` is none when it could not be attached to.
    Born {
        sandbox: SandboxId,
        subject: Box<Subject>,
        container: Arc<str>,
        attached: Option<Attached>,
        adopted: bool,
    },
    Started(SandboxId),
    Given {
        sandbox: SandboxId,
        at: SystemTime,
        starting: Starting,
        target: Arc<Target>,
        /// Its runtime is a process of this host.
        local: bool,
    },
    TakenBack {
        sandbox: SandboxId,
        id: Uuid,
    },
    Concluded {
        sandbox: SandboxId,
        ending: Ending,
    },
    Ended {
        sandbox: SandboxId,
        init: Option<(Failed, Duration)>,
    },
    Tail {
        sandbox: SandboxId,
        id: Uuid,
        waiter: Waiter,
    },
    /// A stream that had broken is open again, after what it has missed.
    Reattached {
        sandbox: SandboxId,
        attached: Attached,
        missed: VecDeque<Logged>,
    },
    /// It could not be opened; `gone` when its container does not run.
    NotReattached {
        sandbox: SandboxId,
        gone: bool,
    },
    /// The Engine says how much memory a container uses.
    Memory {
        sandbox: SandboxId,
        bytes: u64,
    },
    Finish {
        within: Duration,
        done: Sender<bool>,
    },
}

pub(super) struct Inbox {
    held: Mutex<Held>,
    pub(super) wake: OwnedFd,
}

#[derive(Default)]
struct Held {
    entries: Vec<Entry>,
    /// The reader sleeps until it is woken.
    asleep: bool,
}

impl Inbox {
    pub(super) fn new() -> io::Result<Inbox> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Inbox { held: Mutex::default(), wake })
    }

    /// Puts an entry down for the reader's next look, which is soon.
    fn push(&self, entry: Entry) {
        if self.put(entry) {
            self.wake();
        }
    }

    /// Puts an entry down and wakes the reader.
    pub(super) fn push_urgent(&self, entry: Entry) {
        self.put(entry);
        self.wake();
    }

    /// True when the reader has to be woken.
    fn put(&self, entry: Entry) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.entries.push(entry);
        std::mem::take(&mut held.asleep)
    }

    fn wake(&self) {
        // It fails only when the reader has been woken more often than it can count.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Takes everything, leaving `empty` in its place.
    pub(super) fn take(&self, empty: &mut Vec<Entry>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut held.entries, empty);
    }

    /// The reader wants to sleep until it is woken; false when something is here already.
    pub(super) fn fall_asleep(&self) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.asleep = held.entries.is_empty();
        held.asleep
    }
}

impl Journal for Collector {
    fn given(&self, event: &Event, given: Given) {
        let Given { sandbox, at, target, init, local, tail } = given;
        self.0.inbox.push(Entry::Given {
            sandbox,
            at,
            starting: Starting {
                id: event.id,
                tail,
                trace: sampled(&event.trace_id),
                init,
                untaken: false,
            },
            target,
            local,
        });
    }

    fn taken_back(&self, sandbox: SandboxId, id: Uuid) {
        self.0.inbox.push(Entry::TakenBack { sandbox, id });
    }

    fn concluded(&self, outcome: &Outcome, report: &Report) {
        // What no sandbox had to do with is in nobody's log.
        let Some(sandbox) = report.sandbox else { return };
        let failed = match outcome {
            Outcome::Response(_) => None,
            // The function's own affair, but if it could not even begin.
            Outcome::FunctionError(_) if report.started.is_some() => None,
            Outcome::FunctionError(error) => Some(Failed::reported(error)),
            Outcome::Failed(failure) => Some(Failed::of(failure)),
            Outcome::Refused(_) if report.started.is_some() => Some(Failed::cut_off()),
            Outcome::Refused(_) => return,
        };
        let duration = match outcome {
            Outcome::Failed(Failure::TimedOut { after } | Failure::InitTimedOut { after }) => {
                *after
            }
            _ => report.duration,
        };
        let started = report.started.unwrap_or_else(|| SystemTime::now() - duration);
        let ending = Ending {
            id: report.event.id,
            started,
            duration,
            init: report.init,
            failed,
            trace: sampled(&report.event.trace_id),
        };
        self.0.inbox.push(Entry::Concluded { sandbox, ending });
    }

    fn started(&self, sandbox: SandboxId) {
        self.0.inbox.push(Entry::Started(sandbox));
    }

    fn ended(&self, ended: Ended) {
        let Ended { sandbox, init } = ended;
        let init = init.map(|(failure, after)| (Failed::start(&failure), after));
        self.0.inbox.push(Entry::Ended { sandbox, init });
    }
}

/// The trace header of an invocation that X-Ray samples.
fn sampled(trace: &str) -> Option<Box<str>> {
    trace.contains("Sampled=1").then(|| trace.into())
}
