//! The audit log: a line for each control call, refused call, invocation and change of a sandbox,
//! chained by hash and sealed each day.
//!
//! | file | what it is |
//! |---|---|
//! | [`chain`] | a line, and what binds it to the one before |
//! | `entry` | what is told, as fields |
//! | `flood` | refused calls, counted where there are too many |
//! | `files` | days and names; where the chain ends |
//! | `writer` | the thread that owns the files |
//! | [`verify`] | whether a chain is whole |
//!
//! It knows no HTTP routes and no Docker. Invariants: who tells it something never waits, for the disk
//! or for the writer; a line has no payload and no secret; what was accepted has its line, or is
//! counted in a line `gap`. So it says by [`Audit::accepts`] when no more may be accepted, while there
//! is still room for what was.

pub mod chain;
mod entry;
mod files;
mod flood;
#[cfg(test)]
pub(crate) mod tests;
pub mod verify;
mod writer;

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Sender, TrySendError};
use uuid::Uuid;

use self::chain::{Binding, Fields};
use self::entry::{Entry, What};
pub use self::entry::{Source, Who};
pub use self::files::{AuditError, named};
use self::flood::Floods;
use self::writer::{Stop, Writer};
use crate::asynchronous::storage::Folder;
use crate::config;
use crate::dispatch::{Dispatcher, Outcome, Report, SandboxChange, Witness};
use crate::http::Body;

/// What may wait to be written. From half of it on nothing more is accepted: the rest is for what was
/// accepted, which is at most `max_concurrent_executions` (10,000) and some lines for sandboxes.
const WAITING: usize = 32_768;
/// Payloads that may be held until their hashes are made; beyond, who tells of one makes its hash.
const HELD_BYTES: usize = 32 << 20;
/// How long the last lines may take.
const LAST_LINES: Duration = Duration::from_secs(3);

/// What the writer shares with those who tell it something.
#[derive(Debug, Default)]
struct Shared {
    floods: Mutex<Floods>,
    /// The last write has failed.
    failing: AtomicBool,
    /// Calls refused since.
    refused: AtomicU64,
    /// What was told and found no room.
    missing: AtomicU64,
    /// Bytes of payloads that wait for their hashes.
    held: AtomicUsize,
    lines: AtomicU64,
    /// Whom to ask what takes long.
    dispatcher: OnceLock<Weak<Dispatcher>>,
    /// The largest payload that has its hash in its line.
    max_hashed: usize,
}

#[derive(Debug)]
struct On {
    inbox: Sender<Entry>,
    stop: Sender<Stop>,
    shared: Arc<Shared>,
    /// Nothing is accepted that cannot be written.
    refuse: bool,
    /// The directory is this service's as long as this is open.
    _lock: File,
}

/// The audit log, for those who tell it something. Without a path it is off, and forgets all.
#[derive(Debug, Clone, Default)]
pub struct Audit(Option<Arc<On>>);

impl Audit {
    /// Opens the log, and writes that the service begins.
    pub fn open(config: &config::Audit) -> Result<Audit, AuditError> {
        let Some(path) = &config.path else { return Ok(Audit::default()) };
        let storage = Arc::new(Folder::open(path)?);
        let lock = lock_of(path)?;
        let binding = match &config.key {
            Some(secret) => Binding::keyed(secret.reveal().as_bytes()),
            None => Binding::Plain,
        };
        let (inbox, told) = crossbeam_channel::bounded(WAITING);
        let (stop, stopped) = crossbeam_channel::bounded(1);
        let shared = Arc::new(Shared { max_hashed: config.max_hashed_bytes, ..Shared::default() });
        let start = Fields::default()
            .text("version", env!("CARGO_PKG_VERSION"))
            .number("pid", std::process::id());
        let clock = Box::new(SystemTime::now);
        let writer = Writer::open(storage, clock, binding, told, shared.clone(), start)?;
        let builder = thread::Builder::new().name("audit-writer".to_owned());
        builder.spawn(move || writer.run(&stopped))?;
        let refuse = config.on_failure == config::OnFailure::Refuse;
        Ok(Audit(Some(Arc::new(On { inbox, stop, shared, refuse, _lock: lock }))))
    }

    /// Has dispatch tell this log what happens, and be asked what takes long.
    pub fn watch(&self, dispatcher: &Arc<Dispatcher>) {
        if let Some(on) = &self.0 {
            dispatcher.set_witness(Arc::new(self.clone()));
            let _ = on.shared.dispatcher.set(Arc::downgrade(dispatcher));
        }
    }

    /// Whether one more call or invocation may be accepted: it can be accounted for.
    pub fn accepts(&self) -> bool {
        self.0.as_ref().is_none_or(|on| !on.refuse || on.has_room())
    }

    /// A control call has its answer.
    pub fn call(
        &self,
        action: &str,
        region: &str,
        resource: &str,
        who: &Who,
        status: u16,
        error: Option<&str>,
    ) {
        if let Some(on) = &self.0 {
            on.tell(entry::call(action, region, resource, who, status, error));
        }
    }

    /// A call was refused. Those of one address beyond [`flood::LINES`] a second are only counted.
    pub fn refused(&self, method: &str, path: &str, who: &Who, status: u16, error: Option<&str>) {
        let Some(on) = &self.0 else { return };
        if !on.has_room() {
            on.shared.refused.fetch_add(1, Ordering::AcqRel);
        } else if lock(&on.shared.floods).may_be_told(who.peer, Instant::now()) {
            on.tell(entry::refused(method, path, who, status, error));
        }
    }

    /// An event is in the queue.
    pub fn accepted(&self, id: &Uuid, arn: &str, who: &Who, payload: Body) {
        if let Some(on) = &self.0 {
            on.tell(entry::accepted(id, arn, who, payload));
        }
    }

    /// The configuration, or a part of it, was read again.
    pub fn reloaded(&self, what: &str) {
        if let Some(on) = &self.0 {
            on.tell(What::Told("config-reloaded", Fields::default().text("what", what)));
        }
    }

    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Lines that were made since the start, and whether the last write has failed.
    pub fn figures(&self) -> Option<(u64, bool)> {
        let shared = &self.0.as_ref()?.shared;
        Some((shared.lines.load(Ordering::Relaxed), shared.failing.load(Ordering::Relaxed)))
    }

    /// Writes the last line. False when something could not be written.
    pub fn stop(&self) -> bool {
        let Some(on) = &self.0 else { return true };
        let (told, heard) = crossbeam_channel::bounded(1);
        on.stop.send_timeout(told, LAST_LINES).is_ok()
            && heard.recv_timeout(LAST_LINES).unwrap_or(false)
    }
}

impl Witness for Audit {
    fn concluded(&self, outcome: &Outcome, report: &Report) {
        if let Some(on) = &self.0 {
            on.tell(What::invocation(Some(outcome), report));
        }
    }

    fn changed(&self, change: &SandboxChange) {
        if let Some(on) = &self.0 {
            on.tell(What::sandbox(change));
        }
    }
}

impl On {
    /// Lines are written, and what was accepted has its part of the channel for itself.
    fn has_room(&self) -> bool {
        !self.shared.failing.load(Ordering::Acquire) && self.inbox.len() < WAITING / 2
    }

    fn tell(&self, what: What) {
        let at = SystemTime::now();
        let shared = &self.shared;
        let held = what.held();
        let what = match shared.held.fetch_add(held, Ordering::AcqRel) {
            before if held > 0 && before + held > HELD_BYTES => {
                shared.held.fetch_sub(held, Ordering::AcqRel);
                what.released(shared.max_hashed)
            }
            _ => what,
        };
        match self.inbox.try_send(Entry { at, what }) {
            Ok(()) => {}
            Err(TrySendError::Full(entry)) => {
                shared.held.fetch_sub(entry.what.held(), Ordering::AcqRel);
                shared.missing.fetch_add(1, Ordering::AcqRel);
            }
            // The writer's thread has ended before its time.
            Err(TrySendError::Disconnected(_)) => {
                shared.missing.fetch_add(1, Ordering::AcqRel);
                if !shared.failing.swap(true, Ordering::AcqRel) {
                    log::error!("the audit log is not written any more");
                }
            }
        }
    }
}

/// Two writers would tear the chain.
fn lock_of(path: &Path) -> Result<File, AuditError> {
    let directory = File::open(path)?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(std::fs::TryLockError::WouldBlock) => Err(AuditError::Locked),
        Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
