//! Collects what functions print, with the lines that AWS puts between them.
//!
//! The way of a line: the Engine sends what a container writes on a connection that was opened
//! before the container was started ([`docker::attach`](crate::docker::Attached)). One thread,
//! [`reader`], reads them all; [`lines`] puts lines together, [`sequence`] finds the invocation
//! that each belongs to and writes `START`, `END` and `REPORT` in between ([`mod@format`]), [`writer`]
//! hands the result to the store. What dispatch does comes by [`inbox`], which costs the warm path
//! two short locks and wakes nobody.
//!
//! Invariants: the reader waits for nothing but its poller, so that no container ever waits for it;
//! memory is bounded for each sandbox and for all; what has to be left out is counted and said in
//! the log that it is missing from.

mod ending;
mod format;
mod inbox;
mod levels;
mod lines;
mod marks;
mod memory;
mod reader;
mod reattach;
mod sequence;
mod subject;
mod tail;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use self::inbox::{Entry, Inbox};
use self::subject::Subject;
pub use self::subject::{Place, stream_name};
pub use self::tail::Waiter;
pub use self::writer::Sink;
use crate::dispatch::{Kind, SandboxId, StartOrder, Target};
use crate::docker::Engine;
use crate::http::blocking::Pool;

/// What has been collected since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Lines of functions, and their bytes as they came.
    pub lines: AtomicU64,
    pub bytes: AtomicU64,
    /// Lines of functions that could not be stored.
    pub dropped_lines: AtomicU64,
    /// Streams that broke and were opened again.
    pub reopened: AtomicU64,
    /// Streams open now.
    pub streams: AtomicU64,
}

impl Counters {
    fn add(counter: &AtomicU64, amount: impl TryInto<u64>) {
        counter.fetch_add(amount.try_into().unwrap_or_default(), Ordering::Relaxed);
    }
}

/// See the module's text. Clones share everything.
#[derive(Clone)]
pub struct Collector(Arc<Shared>);

struct Shared {
    inbox: Inbox,
    engine: Engine,
    counters: Counters,
    /// Where each sandbox's log is, for errors that name it.
    places: Mutex<HashMap<SandboxId, Arc<Place>>>,
}

impl Collector {
    /// Starts the threads, which end with the program. `pool` is for calls to the Engine.
    pub fn start(engine: Engine, sink: Arc<dyn Sink>, pool: Arc<Pool>) -> io::Result<Collector> {
        let collector = Collector(Arc::new(Shared {
            inbox: Inbox::new()?,
            engine,
            counters: Counters::default(),
            places: Mutex::new(HashMap::new()),
        }));
        reader::start(collector.clone(), sink, pool)?;
        Ok(collector)
    }

    /// Follows the output of a container that was just made for a sandbox. Called before it is
    /// started, so that nothing is missed; blocks for a call to the Engine. That it cannot be
    /// followed is no reason not to start it.
    pub fn follow(&self, order: &StartOrder, container: &str, stream: String) {
        let subject = Subject::of(&order.target, order.kind, stream);
        self.attach(order.sandbox, subject, container, false);
    }

    /// The same of a container that somebody else has started, from now on.
    pub fn adopt(&self, sandbox: SandboxId, target: &Target, container: &str) {
        let stream = stream_name(&target.version, SystemTime::now());
        let subject = Subject::of(target, Kind::OnDemand, stream);
        self.attach(sandbox, subject, container, true);
    }

    fn attach(&self, sandbox: SandboxId, subject: Subject, container: &str, adopted: bool) {
        let attached = self.0.engine.attach(container).inspect_err(|error| {
            log::warn!("the output of container {container} is not read yet: {error}");
        });
        self.places().insert(sandbox, subject.place.clone());
        self.0.inbox.push_urgent(Entry::Born {
            sandbox,
            subject: Box::new(subject),
            container: Arc::from(container),
            attached: attached.ok(),
            adopted,
        });
    }

    /// Gives `waiter` the last 4 KB of what an invocation has logged, once that is complete or a
    /// moment has passed. It is called on the reader's thread and must not block.
    pub fn tail(&self, sandbox: SandboxId, id: Uuid, waiter: Waiter) {
        self.0.inbox.push_urgent(Entry::Tail { sandbox, id, waiter });
    }

    /// Where the log of a sandbox is, if it has one.
    pub fn place_of(&self, sandbox: SandboxId) -> Option<Arc<Place>> {
        self.places().get(&sandbox).cloned()
    }

    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// Writes everything down that has come; false when that takes too long.
    pub fn finish(&self, within: Duration) -> bool {
        let (done, finished) = crossbeam_channel::bounded(1);
        self.0.inbox.push_urgent(Entry::Finish { within, done });
        finished.recv_timeout(within).unwrap_or(false)
    }

    fn places(&self) -> std::sync::MutexGuard<'_, HashMap<SandboxId, Arc<Place>>> {
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("counters", &self.0.counters).finish_non_exhaustive()
    }
}
