//! The thread that reads what all containers write. See [`super`] for the way of a line.
//!
//! It reads a bounded amount of each stream in turn, so that one that floods cannot hold up the
//! others, and never waits for the store or the Engine.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};

use super::inbox::Entry;
use super::marks::Now;
use super::memory::{Memory, megabytes};
use super::reattach::Engineer;
use super::sequence::Sequence;
use super::subject::{Subject, stream_name};
use super::writer::{Sink, Writer};
use super::{Collector, Counters};
use crate::dispatch::{Kind, SandboxId, Target};
use crate::docker::{Attached, Frames, Pulse};
use crate::http::blocking::Pool;

/// How often news is looked at while anything goes on.
const LOOK: Duration = Duration::from_millis(20);
/// How long nothing has to happen before the thread sleeps until it is woken.
const AWAKE: Duration = Duration::from_secs(1);
/// What is read of one stream before the others have their turn.
const READ_BYTES: usize = 64 * 1024;
const EVENTS: usize = 64;
/// How often the memory of a sandbox is looked at while it is at work.
const MEASURE_EVERY: Duration = Duration::from_millis(100);
/// How long a stream that has ended waits to hear that its sandbox has, too.
const BEREAVED: Duration = Duration::from_secs(1);
/// How long a sandbox is remembered that has ended: for its last lines, and for errors that name
/// its log.
const REMEMBERED: Duration = Duration::from_secs(10);
/// Logs of functions that processes of this host serve; beyond, those that rest are forgotten.
const MAX_LOCALS: usize = 256;
/// Numbers of sandboxes from here on are the logs of such functions.
const FIRST_LOCAL: SandboxId = 1 << 62;
const WAKE: u64 = u64::MAX;
/// Beside the number of the sandbox that the Engine was asked about.
const PULSE: u64 = 1 << 63;

/// Starts the thread, which ends with the program.
pub(super) fn start(collector: Collector, sink: Arc<dyn Sink>, pool: Arc<Pool>) -> io::Result<()> {
    let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let wake = &collector.0.inbox.wake;
    epoll::add(&poller, wake, EventData::new_u64(WAKE), EventFlags::IN)?;
    let reader = Reader {
        poller,
        records: HashMap::new(),
        active: Vec::new(),
        locals: HashMap::new(),
        next_local: FIRST_LOCAL,
        local_running: HashMap::new(),
        writer: Writer::start(sink)?,
        memory: Memory::default(),
        engineer: Engineer::new(collector.clone(), pool),
        last_news: Instant::now(),
        entries: Vec::new(),
        scratch: vec![0; READ_BYTES],
        collector,
    };
    thread::Builder::new().name("logs".into()).spawn(move || reader.run())?;
    Ok(())
}

/// An open stream of a container's output.
struct Stream {
    socket: UnixStream,
    frames: Frames,
    collector: Collector,
}

impl Stream {
    fn new(socket: UnixStream, collector: Collector) -> Stream {
        collector.counters().streams.fetch_add(1, Ordering::Relaxed);
        Stream { socket, frames: Frames::default(), collector }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.collector.counters().streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is known of one sandbox.
struct Record {
    sequence: Sequence,
    container: Option<Arc<str>>,
    stream: Option<Stream>,
    /// Since when it has no stream; the instant is when that was last looked into.
    broke: Option<Now>,
    /// When it ended.
    ended: Option<Instant>,
    /// It is in `active`.
    active: bool,
    measured: Option<Instant>,
    /// A question to the Engine, and when it was asked.
    pulse: Option<(Pulse, Instant)>,
}

/// An invocation that a process of this host runs.
struct Local {
    log: SandboxId,
    /// Somebody will ask for its log.
    tail: bool,
}

struct Reader {
    collector: Collector,
    poller: rustix::fd::OwnedFd,
    records: HashMap<SandboxId, Record>,
    /// The records that something may be due for.
    active: Vec<SandboxId>,
    /// The log of a function that processes of this host serve, by the function's key.
    locals: HashMap<String, SandboxId>,
    next_local: SandboxId,
    /// In which of those logs the invocation of a sandbox goes that lives for one only.
    local_running: HashMap<SandboxId, Local>,
    writer: Writer,
    memory: Memory,
    engineer: Engineer,
    last_news: Instant,
    /// Empty, for the capacity.
    entries: Vec<Entry>,
    scratch: Vec<u8>,
}

fn now() -> Now {
    Now { wall: SystemTime::now(), instant: Instant::now() }
}

impl Reader {
    fn run(mut self) {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        loop {
            let wait = self.wait().map(timespec);
            events.clear();
            match epoll::wait(&self.poller, spare_capacity(&mut events), wait.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    // Only a broken descriptor gets here; the loop must not spin on it.
                    log::error!("waiting for logs failed: {error}");
                    thread::sleep(AWAKE);
                }
            }
            self.hear(now());
            for event in &events {
                match event.data.u64() {
                    WAKE => {
                        let _ = rustix::io::read(&self.collector.0.inbox.wake, &mut [0; 8]);
                    }
                    pulse if pulse & PULSE != 0 => self.on_pulse(pulse & !PULSE, now()),
                    sandbox => self.read(sandbox),
                }
            }
            self.look_after(now());
        }
    }

    /// Takes in what has happened.
    fn hear(&mut self, at: Now) {
        let mut entries = std::mem::take(&mut self.entries);
        self.collector.0.inbox.take(&mut entries);
        if !entries.is_empty() {
            self.last_news = at.instant;
        }
        for entry in entries.drain(..) {
            self.on_entry(entry, at);
        }
        self.entries = entries;
    }

    /// How long to wait for something to happen; none for ever.
    fn wait(&self) -> Option<Duration> {
        let at = Instant::now();
        let active = || self.active.iter().filter_map(|id| self.records.get(id));
        let quiet = at.saturating_duration_since(self.last_news) >= AWAKE
            && !active().any(|record| record.sequence.is_busy());
        if quiet && self.collector.0.inbox.fall_asleep() {
            return (!self.active.is_empty()).then_some(AWAKE);
        }
        let due = active().filter_map(|record| {
            let asks = record.sequence.asks_at().filter(|_| record.pulse.is_none());
            [asks, record.sequence.next_due()].into_iter().flatten().min()
        });
        let due = due.min();
        Some(due.map_or(LOOK, |due| due.saturating_duration_since(at)).min(LOOK))
    }

    fn on_entry(&mut self, entry: Entry, at: Now) {
        match entry {
            Entry::Born { sandbox, subject, container, attached, adopted } => {
                self.born(sandbox, *subject, container, adopted, at);
                match attached {
                    Some(attached) => self.attach(sandbox, attached, at),
                    None => self.with(sandbox, |record| record.broke = Some(at)),
                }
            }
            Entry::Started(sandbox) => self.with(sandbox, |record| record.sequence.begin()),
            Entry::Given { sandbox, at: given, starting, target, local } => {
                let log = if local {
                    let log = self.local_log(&target, at);
                    self.local_running.insert(sandbox, Local { log, tail: starting.tail });
                    log
                } else {
                    // One that was adopted may be quicker than the news of it.
                    self.records.entry(sandbox).or_insert_with(|| Record::of(&target, at));
                    sandbox
                };
                self.with(log, |record| record.sequence.given(starting, given, at));
                self.measure(log, MEASURE_EVERY, at);
            }
            Entry::TakenBack { sandbox, id } => {
                let log = self.log_of(sandbox, true);
                self.with(log, |record| record.sequence.taken_back(id));
            }
            Entry::Concluded { sandbox, ending } => {
                let tail = self.local_running.get(&sandbox).is_some_and(|local| local.tail);
                let log = self.log_of(sandbox, !tail);
                self.measure(log, LOOK, at);
                self.with(log, |record| record.sequence.concluded(ending, at));
            }
            Entry::Ended { sandbox, init } => {
                self.measure(sandbox, LOOK, at);
                self.with(sandbox, |record| {
                    record.ended = Some(at.instant);
                    if let Some((failed, after)) = init {
                        record.sequence.init_failed(failed, after, at);
                    }
                });
            }
            Entry::Tail { sandbox, id, waiter } => {
                let log = self.log_of(sandbox, true);
                match self.records.get_mut(&log) {
                    Some(record) => record.sequence.tail(id, waiter),
                    None => waiter(Vec::new()),
                }
                self.with(log, |_| ());
            }
            Entry::Reattached { sandbox, attached, missed } => {
                self.engineer.reattached(true, at.instant);
                Counters::add(&self.collector.0.counters.reopened, 1);
                let full = self.writer.is_full();
                self.with(sandbox, |record| {
                    record.broke = None;
                    for logged in missed {
                        let then = Now { wall: logged.time, ..at };
                        record.sequence.output(logged.output, &logged.bytes, full, then);
                    }
                });
                self.attach(sandbox, attached, at);
            }
            Entry::NotReattached { sandbox, gone } => {
                self.engineer.reattached(gone, at.instant);
                self.with(sandbox, |record| match &mut record.broke {
                    Some(broke) if !gone => broke.instant = at.instant,
                    broke => *broke = None,
                });
            }
            Entry::Memory { sandbox, bytes } => self.with(sandbox, |record| record.used(bytes)),
            Entry::Finish { within, done } => {
                for record in self.records.values_mut() {
                    record.sequence.deafen(at);
                }
                self.active = self.records.keys().copied().collect();
                self.look_after(at);
                let _ = done.send(self.writer.sync(within));
            }
        }
    }

    /// A sandbox has a container.
    fn born(
        &mut self,
        sandbox: SandboxId,
        subject: Subject,
        container: Arc<str>,
        adopted: bool,
        at: Now,
    ) {
        match self.records.get_mut(&sandbox) {
            // An invocation was quicker.
            Some(record) if record.container.is_none() => record.container = Some(container),
            // Or the Engine has refused to start the container before.
            _ => {
                let mut record = Record::new(subject, Some(container), at);
                if adopted {
                    record.sequence.begin_unseen();
                }
                self.records.insert(sandbox, record);
            }
        }
    }

    /// Does something with a record, which may make something due.
    fn with(&mut self, sandbox: SandboxId, act: impl FnOnce(&mut Record)) {
        let Some(record) = self.records.get_mut(&sandbox) else { return };
        act(record);
        if !std::mem::replace(&mut record.active, true) {
            self.active.push(sandbox);
        }
    }

    /// The log that a sandbox's news goes to; `last` when nothing more will come of it.
    fn log_of(&mut self, sandbox: SandboxId, last: bool) -> SandboxId {
        let local = match last {
            true => self.local_running.remove(&sandbox).map(|local| local.log),
            false => self.local_running.get(&sandbox).map(|local| local.log),
        };
        local.unwrap_or(sandbox)
    }

    /// The log of a function that processes of this host serve: one for all of them.
    fn local_log(&mut self, target: &Target, at: Now) -> SandboxId {
        if let Some(&id) = self.locals.get(&target.key) {
            return id;
        }
        if self.locals.len() >= MAX_LOCALS {
            let records = &mut self.records;
            self.locals.retain(|_, id| {
                let busy = records.get(id).is_some_and(|record| record.sequence.is_busy());
                if !busy {
                    records.remove(id);
                }
                busy
            });
        }
        let id = self.next_local;
        self.next_local += 1;
        self.records.insert(id, Record::of(target, at));
        self.locals.insert(target.key.clone(), id);
        id
    }

    fn attach(&mut self, sandbox: SandboxId, attached: Attached, at: Now) {
        let Some(record) = self.records.get_mut(&sandbox) else { return };
        let Attached { socket, first } = attached;
        if let Err(error) =
            epoll::add(&self.poller, &socket, EventData::new_u64(sandbox), EventFlags::IN)
        {
            log::warn!("the output of sandbox {sandbox} cannot be watched: {error}");
            record.broke = Some(at);
            return;
        }
        record.sequence.listen();
        record.stream = Some(Stream::new(socket, self.collector.clone()));
        self.with(sandbox, |_| ());
        if !first.is_empty() {
            self.take(sandbox, &first, at);
        }
    }

    /// Reads some of what a container has written.
    fn read(&mut self, sandbox: SandboxId) {
        let Some(record) = self.records.get_mut(&sandbox) else { return };
        let Some(stream) = &mut record.stream else { return };
        let mut scratch = std::mem::take(&mut self.scratch);
        let read = stream.socket.read(&mut scratch);
        let at = now();
        // What these lines belong to was told before they were printed.
        self.hear(at);
        self.last_news = at.instant;
        match read {
            Ok(0) => self.lose(sandbox, None, at),
            Ok(amount) => self.take(sandbox, &scratch[..amount], at),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                _ => self.lose(sandbox, Some(&error.to_string()), at),
            },
        }
        self.scratch = scratch;
    }

    fn take(&mut self, sandbox: SandboxId, bytes: &[u8], at: Now) {
        let (counters, full) = (&self.collector.0.counters, self.writer.is_full());
        let Some(record) = self.records.get_mut(&sandbox) else { return };
        let Some(stream) = &mut record.stream else { return };
        let sequence = &mut record.sequence;
        let (mut came, mut lines) = (0, 0);
        let pushed = stream.frames.push(bytes, &mut |output, _, piece| {
            came += piece.len();
            lines += sequence.output(output, piece, full, at);
        });
        Counters::add(&counters.bytes, came);
        Counters::add(&counters.lines, lines);
        if pushed.is_err() {
            self.lose(sandbox, Some("the Engine's stream has no valid frame"), at);
        }
        self.with(sandbox, |_| ());
    }

    /// A stream has ended, with its container or by itself.
    fn lose(&mut self, sandbox: SandboxId, why: Option<&str>, at: Now) {
        if let Some(why) = why {
            log::warn!("the stream of sandbox {sandbox}'s output broke: {why}");
        }
        let Some(record) = self.records.get_mut(&sandbox) else { return };
        if let Some(mut stream) = record.stream.take() {
            let sequence = &mut record.sequence;
            stream.frames.finish(&mut |output, _, piece| {
                sequence.output(output, piece, false, at);
            });
        }
        if why.is_some() {
            record.sequence.gap("The stream of the container's output broke.", at.wall);
        }
        record.sequence.deafen(at);
        record.broke = Some(at);
        self.with(sandbox, |_| ());
    }

    /// Asks the Engine about a container, if somebody wants its word by now.
    fn ask(&mut self, sandbox: SandboxId, at: Now) {
        let Some(record) = self.records.get_mut(&sandbox) else { return };
        let wanted = record.sequence.asks_at().is_some_and(|wanted| wanted <= at.instant);
        if !wanted || record.pulse.is_some() {
            return;
        }
        let terminal = record.stream.as_ref().is_none_or(|stream| stream.frames.is_terminal());
        if let Some(container) = record.container.as_ref().filter(|_| !terminal) {
            let asked = self.collector.0.engine.ask_pulse(container).and_then(|pulse| {
                let token = EventData::new_u64(sandbox | PULSE);
                epoll::add(&self.poller, &pulse, token, EventFlags::IN)?;
                Ok(pulse)
            });
            match asked {
                Ok(pulse) => {
                    record.pulse = Some((pulse, at.instant));
                    return;
                }
                Err(error) => log::debug!("the Engine cannot be asked: {error}"),
            }
        }
        // It goes without.
        record.sequence.engine_answered(at.instant, at);
    }

    fn on_pulse(&mut self, sandbox: SandboxId, at: Now) {
        let Some(record) = self.records.get_mut(&sandbox) else { return };
        if let Some((pulse, asked)) = &mut record.pulse
            && pulse.is_answered()
        {
            record.sequence.engine_answered(*asked, at);
            record.pulse = None;
        }
    }

    /// Writes what is due, and lets go of what nothing is due for.
    fn look_after(&mut self, at: Now) {
        let mut index = 0;
        while let Some(&sandbox) = self.active.get(index) {
            if self.look_after_one(sandbox, at) {
                index += 1;
            } else {
                self.active.swap_remove(index);
            }
        }
    }

    /// False when nothing will be due by itself.
    fn look_after_one(&mut self, sandbox: SandboxId, at: Now) -> bool {
        let Some(record) = self.records.get_mut(&sandbox) else { return false };
        record.sequence.settle(at);
        if !self.writer.is_full() {
            record.sequence.tell_dropped(at.wall);
        }
        if record.sequence.has_events() {
            let (events, bytes) = record.sequence.take_events();
            let (place, count) = (&record.sequence.subject().place, events.len());
            if !self.writer.push(place, events, bytes) {
                Counters::add(&self.collector.counters().dropped_lines, count);
            }
        }
        let since = |then: Instant| at.instant.saturating_duration_since(then);
        let bereaved = record.broke.filter(|_| record.ended.is_none());
        if let Some(broke) = bereaved.filter(|broke| since(broke.instant) >= BEREAVED)
            && let Some(container) = record.container.clone()
        {
            self.engineer.reattach(sandbox, container, broke.wall, at.instant);
        }
        let (busy, ended) = (record.sequence.is_busy(), record.ended);
        record.active = busy || bereaved.is_some() || ended.is_some();
        if busy {
            self.measure(sandbox, MEASURE_EVERY, at);
            self.ask(sandbox, at);
        } else if ended.is_some_and(|ended| since(ended) >= REMEMBERED) {
            self.records.remove(&sandbox);
            self.collector.places().remove(&sandbox);
            return false;
        }
        busy || bereaved.is_some() || ended.is_some()
    }

    /// Looks how much memory a sandbox has used, if it was not looked at for so long.
    fn measure(&mut self, sandbox: SandboxId, every: Duration, at: Now) {
        let Some(record) = self.records.get_mut(&sandbox) else { return };
        let Some(container) = &record.container else { return };
        let fresh = |then: Instant| at.instant.saturating_duration_since(then) < every;
        if record.measured.is_some_and(fresh) {
            return;
        }
        record.measured = Some(at.instant);
        match self.memory.peak(container) {
            Some(bytes) => record.used(bytes),
            // Not to be seen from here, as from within a container.
            None if !self.memory.is_visible() && record.ended.is_none() => {
                self.engineer.measure(sandbox, container, at.instant);
            }
            None => {}
        }
    }
}

impl Record {
    fn new(subject: Subject, container: Option<Arc<str>>, at: Now) -> Record {
        Record {
            sequence: Sequence::new(subject, at),
            container,
            stream: None,
            broke: None,
            ended: None,
            active: false,
            measured: None,
            pulse: None,
        }
    }

    /// Of a sandbox without a container of its own, or before one is known.
    fn of(target: &Target, at: Now) -> Record {
        let stream = stream_name(&target.version, at.wall);
        let subject = Subject::of(target, Kind::OnDemand, stream);
        Record::new(subject, None, at)
    }

    fn used(&mut self, bytes: u64) {
        self.sequence.peak_mb = self.sequence.peak_mb.max(Some(megabytes(bytes)));
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
