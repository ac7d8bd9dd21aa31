//! The thread `audit-writer`: the one owner of the audit log's files. It makes lines of what it is told,
//! chains them, writes them, brings them to the disk once a second, and seals a file when its day is over.
//!
//! It does not wait to be woken while there is something to do, but looks every [`ROUND`]: whoever tells
//! it of an invocation must not pay for waking a thread. When the disk fails, what was made stays in
//! memory and is written as soon as it can be; until then no more is taken.

use std::fmt;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Select, Sender, TryRecvError};

use super::chain::{self, Binding, Fields, Head, Stamps};
use super::entry::{Entry, What};
use super::files::{self, AuditError, Day, End, Open};
use super::{Shared, lock};
use crate::asynchronous::storage::Storage;

/// From one look at what it was told to the next. A killed service loses what was told in this time.
const ROUND: Duration = Duration::from_millis(10);
/// Rounds without anything to do before it waits to be woken.
const QUIET_ROUNDS: u32 = 100;
/// Entries in one write.
const BATCH: usize = 1024;
/// From one sync of a file that has grown to the next.
const SYNC: Duration = Duration::from_secs(1);
/// What takes longer has a line before it has ended.
const LONG: Duration = Duration::from_secs(1);
/// From a write that failed to the next try.
const RETRY: Duration = Duration::from_millis(250);
/// How long the last line is tried to be written.
const LAST_TRIES: Duration = Duration::from_secs(1);

/// Tests turn it.
pub(super) type Clock = Box<dyn Fn() -> SystemTime + Send>;

/// Whether everything could be written by the end, to whoever has asked for the end.
pub(super) type Stop = Sender<bool>;

/// See the module's text.
pub(super) struct Writer {
    storage: Arc<dyn Storage>,
    clock: Clock,
    binding: Binding,
    inbox: Receiver<Entry>,
    shared: Arc<Shared>,
    head: Head,
    stamps: Stamps,
    file: Option<Open>,
    /// The file before the present one.
    after: Option<(String, Day)>,
    /// Lines that are not written yet. They belong to the present file.
    text: String,
    unsynced: bool,
    synced: Instant,
    asked: Instant,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("head", &self.head).finish_non_exhaustive()
    }
}

impl Writer {
    /// Goes on where the chain ends, and writes that it begins; `start` is told of the service.
    pub(super) fn open(
        storage: Arc<dyn Storage>,
        clock: Clock,
        binding: Binding,
        inbox: Receiver<Entry>,
        shared: Arc<Shared>,
        start: Fields,
    ) -> Result<Writer, AuditError> {
        let End { head, file, after, unclean, cut } = files::end(&*storage)?;
        let after = after.map(|name| (files::named(&name).unwrap_or_default(), name));
        let mut writer = Writer {
            storage,
            clock,
            binding,
            inbox,
            shared,
            head,
            stamps: Stamps::default(),
            file,
            after: after.map(|(day, name)| (name, day)),
            text: String::new(),
            unsynced: false,
            synced: Instant::now(),
            asked: Instant::now(),
        };
        writer.turn()?;
        if unclean {
            let (bytes, fields) = match cut {
                Some((bytes, hash)) => (bytes, Fields::default().hash("cut_sha256", hash)),
                None => (0, Fields::default()),
            };
            log::warn!("the audit log was not closed; {bytes} bytes of a torn line were cut off");
            writer.line("recovered", &fields.number("cut_bytes", bytes));
        }
        let start = writer.key(start);
        writer.line("start", &start);
        writer.flush()?;
        writer.sync()?;
        writer.say("begins");
        Ok(writer)
    }

    /// Runs until it is stopped.
    pub(super) fn run(mut self, stop: &Receiver<Stop>) {
        let mut quiet = 0;
        loop {
            let done = self.round();
            match done {
                Err(_) => thread::sleep(RETRY),
                Ok(BATCH..) => {}
                Ok(0) if quiet >= QUIET_ROUNDS && !self.unsynced => {
                    let inbox = self.inbox.clone();
                    let mut ready = Select::new();
                    ready.recv(&inbox);
                    ready.recv(stop);
                    let _ = ready.ready_timeout(SYNC);
                }
                // Not by waiting at a channel: that spins before it sleeps.
                Ok(_) => thread::sleep(ROUND),
            }
            quiet = if matches!(done, Ok(0)) { quiet.saturating_add(1) } else { 0 };
            match stop.try_recv() {
                Ok(told) => {
                    let _ = told.send(self.close());
                    return;
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return, // nobody is there any more
            }
        }
    }

    /// Writes what it was told; how much that was.
    pub(super) fn round(&mut self) -> io::Result<usize> {
        let done = self.work();
        match &done {
            Ok(_) if self.shared.failing.swap(false, Ordering::AcqRel) => {
                log::warn!("the audit log is written again");
                let refused = self.shared.refused.swap(0, Ordering::AcqRel);
                self.line("interrupted", &Fields::default().number("refused_calls", refused));
            }
            Err(error) if !self.shared.failing.swap(true, Ordering::AcqRel) => {
                log::error!("the audit log cannot be written: {error}");
            }
            Ok(_) | Err(_) => {}
        }
        done
    }

    fn work(&mut self) -> io::Result<usize> {
        self.flush()?;
        self.turn()?;
        let missing = self.shared.missing.swap(0, Ordering::AcqRel);
        if missing > 0 {
            log::error!("{missing} lines are missing in the audit log");
            self.line("gap", &Fields::default().number("missing", missing));
        }
        let entries: Vec<Entry> = self.inbox.try_iter().take(BATCH).collect();
        let count = entries.len();
        for Entry { at, what } in entries {
            let max_hashed = self.shared.max_hashed;
            self.line_of(at, what.event(), |line| what.fields(line, max_hashed));
            self.shared.held.fetch_sub(what.held(), Ordering::AcqRel);
        }
        let floods = lock(&self.shared.floods).take(Instant::now());
        for (address, calls) in floods {
            let address = address.map_or_else(|| "others".to_owned(), |one| one.to_string());
            let fields = Fields::default().text("peer", &address).number("calls", calls);
            self.line("refused-more", &fields);
        }
        self.ask();
        self.flush()?;
        if self.unsynced && self.synced.elapsed() >= SYNC {
            self.sync()?;
        }
        Ok(count)
    }

    /// What takes long has a line already, so that a service that is killed leaves word of it.
    fn ask(&mut self) {
        if self.asked.elapsed() < LONG {
            return;
        }
        self.asked = Instant::now();
        let dispatcher = self.shared.dispatcher.get().and_then(Weak::upgrade);
        for report in dispatcher.iter().flat_map(|one| one.long_running(LONG)) {
            let what = What::invocation(None, &report);
            let max_hashed = self.shared.max_hashed;
            self.line(what.event(), &what.fields(Fields::default(), max_hashed));
        }
    }

    /// The last line, if it can be written. How it went.
    pub(super) fn close(mut self) -> bool {
        let until = Instant::now() + LAST_TRIES;
        let mut closed = false;
        loop {
            let done = self.round().and_then(|count| {
                if count == 0 && !closed {
                    self.line("stop", &Fields::default());
                    closed = true;
                }
                self.flush()
            });
            match done {
                Ok(()) if closed => break,
                Ok(()) => {}
                Err(_) if Instant::now() > until => return false,
                Err(_) => thread::sleep(ROUND),
            }
        }
        let synced = self.sync().is_ok();
        self.say("is closed");
        synced
    }

    /// Sees to it that the present file is today's, and has its first line. A file is never named by
    /// an earlier day than the one before, whatever the clock says.
    fn turn(&mut self) -> io::Result<()> {
        let today = files::day_of((self.clock)());
        // One without a line becomes a whole one first.
        let over = |file: &&mut Open| file.sealed || file.day < today && file.lines > 0;
        if let Some(file) = self.file.as_mut().filter(over) {
            if !file.sealed {
                file.sealed = true;
                let (name, lines) = (file.name.clone(), file.lines);
                let fields = Fields::default().text("file", &name).number("lines", lines);
                self.line("seal", &fields);
            }
            self.flush()?;
            self.sync()?;
            self.say("is sealed");
            self.after = self.file.take().map(|over| (over.name, over.day));
        }
        let file = match &self.file {
            Some(file) => file,
            None => {
                let day = self.after.as_ref().map_or(today, |(_, day)| today.max(day + 1));
                let name = files::name_of(day);
                let blob = match self.storage.create(&name) {
                    // Made at an earlier try, or by a run that ended just then.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        self.storage.open(&name)?
                    }
                    made => made?,
                };
                self.storage.sync()?;
                self.file.insert(Open { name, day, blob, len: 0, lines: 0, sealed: false })
            }
        };
        if file.lines == 0 {
            let mut fields = Fields::default().text("file", &file.name);
            if let Some((name, _)) = &self.after {
                fields = fields.text("after", name);
            }
            let fields = self.key(fields);
            self.line("begin", &fields);
            // So a file without a first line has nothing behind it either.
            self.flush()?;
            self.sync()?;
        }
        Ok(())
    }

    fn key(&self, fields: Fields) -> Fields {
        match self.binding.key() {
            Some(key) => fields.text("key", key),
            None => fields,
        }
    }

    fn line(&mut self, event: &str, fields: &Fields) {
        self.line_of((self.clock)(), event, |line| line.all(fields));
    }

    fn line_of(&mut self, at: SystemTime, event: &str, fields: impl FnOnce(Fields) -> Fields) {
        let end = (&mut self.head, &mut self.stamps);
        chain::append(&mut self.text, &self.binding, end, at, event, fields);
        if let Some(file) = &mut self.file {
            file.lines += 1;
        }
        self.shared.lines.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes what is not written yet. What a write that failed has left in part is written over.
    fn flush(&mut self) -> io::Result<()> {
        let Some(file) = self.file.as_mut().filter(|_| !self.text.is_empty()) else {
            return Ok(());
        };
        file.blob.write_at(self.text.as_bytes(), file.len)?;
        file.len += self.text.len() as u64;
        self.text.clear();
        self.unsynced = true;
        Ok(())
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        if let Some(file) = self.file.as_ref().filter(|_| self.unsynced) {
            file.blob.sync()?;
            // A removed file takes lines as before, and nobody will ever see them.
            let there = self.storage.open(&file.name).and_then(|blob| blob.len());
            if there.ok() != Some(file.len) {
                let what = format!("{} was removed, cut or written by somebody else", file.name);
                return Err(io::Error::other(what));
            }
        }
        (self.unsynced, self.synced) = (false, Instant::now());
        Ok(())
    }

    /// Tells the log the head, from where it can be kept elsewhere.
    fn say(&self, what: &str) {
        let name = self.file.as_ref().map_or("", |file| &file.name);
        log::info!("the audit log {what}: {name}, line {}, head {}", self.head.n, self.head.hash);
    }
}
