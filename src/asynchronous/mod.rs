//! Asynchronous invocations: a durable queue of events, their delivery, and what becomes of them.
//!
//! ```text
//! accept -> committer (one write and one wait for the disk for many) -> core
//!                                                                        |  due, in turns
//!            dispatch <- deliverer <-------------------------------------'
//!               `-- outcome --> deliverer --> retry later, or the end and its records:
//!                                             one write; records are entries of the queue, too
//! ```
//!
//! `journal` is the queue on disk, `core` what of it is in memory, `state` the life of an
//! entry, `committer` and `deliver` the two threads, `outbox` those that carry records to where no
//! function is. It knows no HTTP route and no AWS shape but that of records: who may invoke what,
//! and what a function is, comes in through [`Functions`].
//!
//! Invariants: an event is accepted only when it is on the disk; it leaves the queue only in the
//! write that puts its records there; a record leaves it only after it was carried. So a crash at
//! any moment loses nothing, and at worst repeats something.

mod committer;
mod core;
mod counters;
mod deliver;
mod destination;
mod frame;
mod journal;
mod letters;
pub mod lineage;
mod operator;
mod outbox;
#[cfg(test)]
pub(crate) mod power_cut;
mod record;
mod source;
mod state;
pub(crate) mod storage;
mod stored;
#[cfg(test)]
mod tests;
mod view;
mod webhook;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use uuid::Uuid;

use self::committer::{Accept, Committer, Job};
use self::core::{Core, Limits};
use self::counters::Count;
pub use self::counters::Counters;
use self::deliver::{Deliverer, Flights, Message, Waker};
use self::destination::Routes;
pub use self::destination::{Carrier, DeadLetters, Destination, LETTERS_ARN, WEBHOOK_ARN};
use self::frame::Kind;
use self::journal::{Journal, JournalError};
use self::letters::Letters;
pub use self::operator::{Done, Filter, OperatorError};
use self::outbox::{CARRIERS, Outbox};
pub use self::record::Object;
use self::source::Source;
pub use self::state::Policy;
use self::storage::{Folder, Storage};
pub use self::stored::{Address, Terms};
use self::stored::{Attempt, Content, Stored, ids_of};
pub use self::view::{EntryView, FunctionView, QueueView};
use self::webhook::Webhook;
use crate::config;
use crate::dispatch::{Dispatcher, Event, Failure, Target};
use crate::http::Body;

/// The most that an asynchronous invocation may carry.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const EVENT_BYTES: usize = 1 << 20;
/// Names and a trace header; a region comes from the request.
const HEAD_BYTES: usize = 16 << 10;
/// Accepts and ends that may wait for the committer. Beyond, an accept is refused.
const JOBS: usize = 4096;
const DIRECTORY: &str = "queue";
const LETTERS_DIRECTORY: &str = "dead-letters";

/// Milliseconds since 1970.
type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// An event to accept.
#[derive(Debug)]
pub struct NewEvent {
    pub id: Uuid,
    pub function: Address,
    pub trace_id: String,
    pub payload: Body,
    /// With terms an id means one event, however often it is sent: what is here already is accepted.
    pub terms: Option<Terms>,
}

/// Who waits for an event to be accepted.
pub trait Acceptance: Send {
    /// Called exactly once, on any thread; it must not block.
    fn settled(self: Box<Self>, result: Result<(), Refused>);
}

/// Why an event was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The queue holds as much as it may.
    Full,
    /// The disk did not take it.
    Disk,
    /// Its payload, or what names its function.
    TooLarge,
    Stopped,
}

/// What the queue asks about functions.
pub trait Functions: Send + Sync {
    /// What runs now when this function is invoked, and what is configured for its events.
    fn resolve(&self, function: &Address) -> (Resolved, Policy);

    /// The ARN, with the qualifier or `$LATEST`.
    fn arn(&self, function: &Address) -> String;

    /// What a caller would read of this failure.
    fn failure(&self, failure: &Failure, event: &Event) -> String;
}

/// What a function's address means at the moment.
#[derive(Debug)]
pub enum Resolved {
    Ready {
        target: Arc<Target>,
        invoked_arn: String,
    },
    /// It cannot be invoked just now, for this reason.
    NotNow(String),
    /// It is not there any more.
    Gone,
}

/// Why the queue could not be opened.
#[derive(Debug)]
pub enum QueueError {
    Journal(JournalError),
    Letters(io::Error),
    Thread(io::Error),
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueueError::Journal(error) => write!(f, "{error}"),
            QueueError::Letters(error) => write!(f, "opening the dead letters: {error}"),
            QueueError::Thread(error) => write!(f, "cannot start a thread: {error}"),
        }
    }
}

impl std::error::Error for QueueError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            QueueError::Journal(error) => Some(error),
            QueueError::Letters(error) | QueueError::Thread(error) => Some(error),
        }
    }
}

/// The queue. See the module's text.
pub struct Queue {
    source: Source,
    jobs: Sender<Job>,
    waker: Waker,
    letters: Arc<Letters>,
    counters: Arc<Counters>,
    clock: Clock,
    limits: Limits,
    settings: config::Asynchronous,
    account_id: String,
    /// Taken when deliveries begin.
    inbox: Mutex<Option<Receiver<Message>>>,
    committer: Mutex<Option<JoinHandle<()>>>,
    deliverer: Mutex<Option<JoinHandle<()>>>,
}

impl Queue {
    /// Opens the queue below the storage's directory, with everything that waits in it, and begins
    /// to accept events.
    pub fn open(
        storage: &Path,
        settings: &config::Asynchronous,
        account_id: &str,
    ) -> Result<Queue, QueueError> {
        let journal = Folder::open(&storage.join(DIRECTORY))
            .map_err(|source| QueueError::Journal(JournalError::Io { doing: "opening", source }))?;
        let letters =
            Folder::open(&storage.join(LETTERS_DIRECTORY)).map_err(QueueError::Letters)?;
        let clock: Clock = Arc::new(now_ms);
        Queue::with((Arc::new(journal), Arc::new(letters)), settings, account_id, clock)
    }

    fn with(
        (journal, letters): (Arc<dyn Storage>, Arc<dyn Storage>),
        settings: &config::Asynchronous,
        account_id: &str,
        clock: Clock,
    ) -> Result<Queue, QueueError> {
        let limits = Limits {
            max_entries: settings.max_queued_events,
            max_bytes: settings.max_queue_bytes,
            max_deliveries: settings.max_deliveries,
            max_carried: CARRIERS,
        };
        let (core, journal) = load(journal, &limits).map_err(QueueError::Journal)?;
        let letters =
            Letters::open(letters, settings.max_dead_letters_bytes).map_err(QueueError::Letters)?;
        let source =
            Source { core: Arc::new(Mutex::new(core)), segments: journal.segments().clone() };
        let counters = Arc::new(Counters::default());
        let (jobs, to_write) = crossbeam_channel::bounded(JOBS);
        // One message for each delivery at most, and deliveries are bounded.
        let (inbox, heard) = crossbeam_channel::unbounded();
        let waker = Waker { pending: Arc::new(AtomicBool::new(false)), inbox };
        let wake = waker.clone();
        let committer = Committer::new(
            journal,
            source.core.clone(),
            counters.clone(),
            Box::new(move || wake.wake()),
        );
        let thread = thread::Builder::new()
            .name("queue-log".into())
            .spawn(move || committer.run(&to_write))
            .map_err(QueueError::Thread)?;
        Ok(Queue {
            source,
            jobs,
            waker,
            letters: Arc::new(letters),
            counters,
            clock,
            limits,
            settings: settings.clone(),
            account_id: account_id.to_owned(),
            inbox: Mutex::new(Some(heard)),
            committer: Mutex::new(Some(thread)),
            deliverer: Mutex::new(None),
        })
    }

    /// Begins to deliver.
    pub fn start(
        &self,
        dispatcher: Arc<Dispatcher>,
        functions: Arc<dyn Functions>,
    ) -> Result<(), QueueError> {
        self.start_with(Box::new(dispatcher), functions)
    }

    fn start_with(
        &self,
        invoke: Box<dyn deliver::Invoke>,
        functions: Arc<dyn Functions>,
    ) -> Result<(), QueueError> {
        let Some(inbox) = lock(&self.inbox).take() else { return Ok(()) };
        let (loads, to_carry) = crossbeam_channel::bounded(CARRIERS);
        let outbox = Outbox {
            source: self.source.clone(),
            letters: self.letters.clone(),
            webhook: self.settings.webhook.clone().map(Webhook::new),
            clock: self.clock.clone(),
            carried: self.waker.inbox.clone(),
        };
        // They are not waited for at the end: a receiver may be slow, and what it has not taken is
        // sent again after the next start.
        outbox.start(&to_carry).map_err(QueueError::Thread)?;
        let deliverer = Deliverer {
            source: self.source.clone(),
            jobs: self.jobs.clone(),
            inbox,
            waker: self.waker.clone(),
            outbox: loads,
            invoke,
            functions,
            routes: Routes {
                account_id: self.account_id.clone(),
                dead_letters: self.settings.dead_letters,
                has_webhook: self.settings.webhook.is_some(),
            },
            retry_delay: self.settings.retry_delay,
            counters: self.counters.clone(),
            clock: self.clock.clone(),
            flights: Flights::default(),
        };
        let thread = thread::Builder::new()
            .name("queue-deliver".into())
            .spawn(move || deliverer.run())
            .map_err(QueueError::Thread)?;
        *lock(&self.deliverer) = Some(thread);
        Ok(())
    }

    /// Accepts an event, or refuses it; `reply` hears which, once the event is on the disk.
    pub fn accept(&self, event: NewEvent, reply: Box<dyn Acceptance>) {
        let NewEvent { id, function, trace_id, payload, terms } = event;
        let once = terms.is_some();
        let stored = Stored {
            id,
            content: Content::Event,
            function,
            accepted_ms: (self.clock)(),
            attempts: 0,
            until_ms: 0,
            trace_id,
            note: String::new(),
            terms,
        };
        let head = stored.head();
        if head.len() > HEAD_BYTES || payload.len() > EVENT_BYTES {
            return reply.settled(Err(Refused::TooLarge));
        }
        let bytes = frame::size(head.len(), payload.len());
        let mut core = lock(&self.source.core);
        if once && core.contains(id) {
            drop(core);
            return reply.settled(Ok(()));
        }
        let reserved = core.reserve(bytes);
        drop(core);
        if !reserved {
            self.counters.count(Count::Refused);
            return reply.settled(Err(Refused::Full));
        }
        let job = Job::Accept(Accept { stored, head, body: payload, bytes, reply });
        let (job, refused) = match self.jobs.try_send(job) {
            Ok(()) => return,
            Err(TrySendError::Full(job)) => (job, Refused::Full),
            Err(TrySendError::Disconnected(job)) => (job, Refused::Stopped),
        };
        lock(&self.source.core).give_room_back(bytes);
        self.counters.count(Count::Refused);
        if let Job::Accept(accept) = job {
            accept.reply.settled(Err(refused));
        }
    }

    /// Whether records can be posted.
    pub fn has_webhook(&self) -> bool {
        self.settings.webhook.is_some()
    }

    /// Delivers nothing more. What is in delivery goes on, and what waits stays.
    pub fn stop_delivering(&self) {
        lock(&self.source.core).stopped = true;
    }

    /// Hears the last outcomes, brings everything to the disk, and ends. Dispatch has ended.
    pub fn stop(&self) {
        self.stop_delivering();
        let _ = self.waker.inbox.send(Message::Stop);
        join(&self.deliverer);
        let _ = self.jobs.send(Job::Stop);
        join(&self.committer);
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn join(thread: &Mutex<Option<JoinHandle<()>>>) {
    let taken = lock(thread).take();
    if let Some(Err(_)) = taken.map(JoinHandle::join) {
        log_panic();
    }
}

fn log_panic() {
    log::error!("a thread of the event queue has panicked");
}

/// Reads the journal. What is ready is in the order in which it was accepted.
fn load(storage: Arc<dyn Storage>, limits: &Limits) -> Result<(Core, Journal), JournalError> {
    let mut core = Core::new(limits.clone());
    let mut unknown = 0_usize;
    let journal = Journal::open(storage, &mut |kind, head, place| match kind {
        Kind::Entry => match Stored::of(head) {
            Some(stored) => {
                core.take_room(place.bytes());
                core.insert(&stored, place);
            }
            None => unknown += 1,
        },
        Kind::Attempt => match Attempt::of(head) {
            Some(attempt) => core.restore(&attempt),
            None => unknown += 1,
        },
        Kind::End => ids_of(head).for_each(|id| core.end(id)),
    })?;
    if unknown > 0 {
        // Their checksums are right, so it was no accident.
        let source = io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{unknown} of its entries are none that this build knows"),
        );
        return Err(JournalError::Io { doing: "reading", source });
    }
    Ok((core, journal))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is changed by code that does not panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    state::millis(since)
}
