//! The log of one sandbox: what its container writes and what dispatch tells, in one order. Pure:
//! time comes in as an argument, events go out in [`Sequence::take_events`].
//!
//! Which invocation a line belongs to. A sandbox has one invocation at a time and its outputs keep
//! their order, so all that has to be found is the place of each `START` among the lines. The two
//! come on different ways, though: dispatch's news at once, a line some 0.1 to 0.3 ms after the
//! function has printed it (through its pipe, containerd's shim and the Engine), and later when
//! the CPUs are busy. So
//!
//! * a line that names an invocation's request id, as those of AWS's runtimes do, is that one's;
//! * any other line belongs to the invocation that had begun [`ON_THE_WAY`] before it came;
//! * nothing of the service's own is written before what may still be on its way has had its time:
//!   a `START` waits for the first line after it or for [`SETTLE`], an end until no byte has come
//!   for so long, but not longer than [`AT_MOST`];
//! * an end that somebody waits for also waits until the Engine has answered a question that was
//!   asked [`HEAD_START`] later and goes the same way
//!   ([`docker::Pulse`](crate::docker::Pulse)): when the CPUs are busy, that takes as long.
//!
//! What the next invocation follows at once, and what prints a line without its id at its very
//! end, can still find that line after the next `START`: there is nothing to tell by.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use super::ending::{Ending, Failed};
use super::format::{Figures, Status};
use super::lines::Lines;
use super::subject::Subject;
use super::tail::{Tail, Tails, Waiter};
use crate::docker::Output;
use crate::logs::LogEvent;

/// A line from a runtime cannot be here sooner than this after its event was sent; one that is
/// was written before. Measured: half of all lines take 0.17 ms on an idle machine.
const ON_THE_WAY: Duration = Duration::from_micros(150);
/// How long what is on its way may take. Nobody waits for this.
pub(super) const SETTLE: Duration = Duration::from_millis(100);
/// The same once the Engine has answered.
pub(super) const LAST_STEP: Duration = Duration::from_millis(25);
/// How long an end is held back by a function that goes on printing, or by an Engine that does not
/// answer.
pub(super) const AT_MOST: Duration = Duration::from_millis(400);
/// What a line has to reach the Engine before the question does.
pub(super) const HEAD_START: Duration = Duration::from_millis(5);

/// The present, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) wall: SystemTime,
    pub(super) instant: Instant,
}

/// One of the service's own lines, or a few, that wait for their place.
struct Mark {
    at: SystemTime,
    /// When it came here.
    queued: Instant,
    /// Somebody waits for it.
    word: Option<Word>,
    what: What,
}

/// What the Engine says to a question on behalf of somebody who waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Awaited,
    Given,
}

enum What {
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

/// An invocation whose `START` is written and whose `END` is not.
struct Open {
    id: Uuid,
    tail: Option<Tail>,
}

/// See the module's text.
pub(super) struct Sequence {
    subject: Subject,
    born: SystemTime,
    begun: bool,
    marks: VecDeque<Mark>,
    open: Vec<Open>,
    /// What is written before the first `START`, until the first `END`: it belongs to the first
    /// invocation's tail.
    prelude: Option<Tail>,
    tails: Tails,
    lines: Lines,
    last_bytes: Option<Instant>,
    /// Whether output can come.
    listening: bool,
    /// The most memory that the sandbox has used, as last read.
    pub(super) peak_mb: Option<u64>,
    last_ms: i64,
    dropped: (u64, u64),
    events: Vec<LogEvent>,
    event_bytes: usize,
}

impl Sequence {
    pub(super) fn new(subject: Subject, born: SystemTime) -> Sequence {
        Sequence {
            subject,
            born,
            begun: false,
            marks: VecDeque::new(),
            open: Vec::new(),
            prelude: Some(Tail::default()),
            tails: Tails::default(),
            lines: Lines::default(),
            last_bytes: None,
            listening: false,
            peak_mb: None,
            last_ms: 0,
            dropped: (0, 0),
            events: Vec::new(),
            event_bytes: 0,
        }
    }

    pub(super) fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The Engine has started the sandbox.
    pub(super) fn begin(&mut self) {
        if !std::mem::replace(&mut self.begun, true)
            && let Some(line) = self.subject.init_start(self.born)
        {
            // AWS leaves it out of tails, so it does not go through `write`.
            self.push_event(self.born, line);
        }
    }

    /// The same of one that had begun before anybody looked.
    pub(super) fn begin_unseen(&mut self) {
        self.begun = true;
    }

    /// Output comes from now on.
    pub(super) fn listen(&mut self) {
        self.listening = true;
    }

    /// No output comes any more.
    pub(super) fn deafen(&mut self, now: Now) {
        self.listening = false;
        self.end_lines(now.wall);
    }

    /// A runtime is handed an invocation.
    pub(super) fn given(&mut self, starting: Starting, at: SystemTime, now: Now) {
        self.begin();
        self.marks.push_back(Mark::new(at, What::Start(starting), now));
    }

    /// It was not handed over after all.
    pub(super) fn taken_back(&mut self, id: Uuid) {
        self.marks.retain(|mark| !mark.starts(id));
    }

    /// An invocation has its outcome.
    pub(super) fn concluded(&mut self, ending: Ending, now: Now) {
        self.begin();
        let id = ending.id;
        let begun = self.open.iter().any(|open| open.id == id)
            || self.marks.iter().any(|mark| mark.starts(id));
        if !begun {
            // It waited for this sandbox, which did not come to take it.
            let trace = ending.trace.clone();
            let starting = Starting { id, tail: true, trace, untaken: true, init: None };
            self.given(starting, ending.started, now);
        }
        let word = self.wants_tail(id).then_some(Word::Awaited);
        let mark = Mark { word, ..Mark::new(ending.at(), What::End(ending), now) };
        // The beginning of the next one may have been quicker.
        let own = self.marks.iter().position(|mark| mark.starts(id)).map_or(0, |own| own + 1);
        let next = self.marks.iter().skip(own).position(Mark::is_start).map(|next| own + next);
        self.marks.insert(next.unwrap_or(self.marks.len()), mark);
    }

    fn wants_tail(&self, id: Uuid) -> bool {
        let pending = |mark: &Mark| match &mark.what {
            What::Start(starting) => starting.id == id && starting.tail,
            _ => false,
        };
        let mut open = self.open.iter();
        open.any(|open| open.id == id && open.tail.is_some()) || self.marks.iter().any(pending)
    }

    /// When the Engine is to be asked something, if anybody waits for its word.
    pub(super) fn asks_at(&self) -> Option<Instant> {
        let awaits = |mark: &&Mark| self.listening && mark.word == Some(Word::Awaited);
        self.marks.iter().find(awaits).map(|mark| mark.queued + HEAD_START)
    }

    /// The Engine has answered a question of that time.
    pub(super) fn engine_answered(&mut self, asked: Instant, now: Now) {
        for mark in &mut self.marks {
            if mark.word == Some(Word::Awaited) && asked >= mark.queued + HEAD_START {
                mark.word = Some(Word::Given);
                // What came before its answer is on the last step of its way.
                self.last_bytes = self.last_bytes.max(Some(now.instant));
            }
        }
    }

    /// The sandbox has not initialized.
    pub(super) fn init_failed(&mut self, failed: Failed, after: Duration, now: Now) {
        self.begin();
        let what = What::InitFailed { failed, after };
        self.marks.push_back(Mark::new(now.wall, what, now));
    }

    /// Gives `waiter` the end of an invocation's log once it is complete.
    pub(super) fn tail(&mut self, id: Uuid, waiter: Waiter) {
        self.tails.ask(id, waiter);
    }

    /// Output has come; how many lines of it. With `full` there is no room for them.
    pub(super) fn output(&mut self, output: Output, bytes: &[u8], full: bool, now: Now) -> u64 {
        self.last_bytes = Some(now.instant);
        let mut lines = std::mem::take(&mut self.lines);
        let count = lines.push(output, bytes, &mut |line| self.line(line, now.wall, full));
        self.lines = lines;
        count
    }

    /// Writes a line without an end as one: what comes later belongs to something else.
    fn end_lines(&mut self, at: SystemTime) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.flush(&mut |line| self.line(line, at, false));
        self.lines = lines;
    }

    fn line(&mut self, line: String, at: SystemTime, full: bool) {
        self.begin();
        self.make_way(&line, at);
        if !self.subject.style.wants(&line) {
            return;
        }
        if full {
            self.dropped.0 += 1;
            self.dropped.1 += line.len() as u64;
            return;
        }
        self.tell_dropped(at);
        self.write(at, line);
    }

    /// Lines are missing that nobody can count.
    pub(super) fn gap(&mut self, reason: &str, at: SystemTime) {
        if let Some(line) = self.subject.dropped(at, reason, 0, 0) {
            self.write(at, line);
        }
    }

    pub(super) fn tell_dropped(&mut self, at: SystemTime) {
        let (lines, bytes) = std::mem::take(&mut self.dropped);
        let reason = "The log could not be written as fast as the function printed.";
        if lines > 0
            && let Some(line) = self.subject.dropped(at, reason, lines, bytes)
        {
            self.write(at, line);
        }
    }

    /// Writes the marks that belong before a line.
    fn make_way(&mut self, line: &str, at: SystemTime) {
        let Some(last) = self.marks.iter().rposition(|mark| mark.printer().is_some()) else {
            return;
        };
        let named = |id: Uuid| {
            let mut buffer = Uuid::encode_buffer();
            line.contains(&*id.hyphenated().encode_lower(&mut buffer))
        };
        if self.open.iter().any(|open| named(open.id)) {
            return;
        }
        let starts = || (0..=last).rev().filter_map(|at| Some((at, self.marks[at].printer()?)));
        let until = starts().find(|(_, id)| named(*id)).map(|(at, _)| at).or_else(|| {
            let begun = |index: usize| self.marks[index].at + ON_THE_WAY <= at;
            starts().find(|(index, _)| begun(*index)).map(|(at, _)| at)
        });
        for _ in 0..until.map_or(0, |until| until + 1) {
            self.write_mark(at);
        }
    }

    /// When something is due, if anything is.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.marks.iter().map(|mark| self.due(mark)).min()
    }

    fn due(&self, mark: &Mark) -> Instant {
        if !self.listening {
            return mark.queued;
        }
        let quiet = self.last_bytes.map_or(mark.queued, |last| last.max(mark.queued));
        let due = match (&mark.what, mark.word) {
            (What::Start(_), _) => mark.queued + SETTLE,
            (_, None) => quiet + SETTLE,
            (_, Some(Word::Given)) => quiet + LAST_STEP,
            (_, Some(Word::Awaited)) => mark.queued + AT_MOST,
        };
        due.min(mark.queued + AT_MOST)
    }

    /// Writes what is due, and what comes before it.
    pub(super) fn settle(&mut self, now: Now) {
        let last = self.marks.iter().rposition(|mark| self.due(mark) <= now.instant);
        for _ in 0..last.map_or(0, |last| last + 1) {
            if let Some(Mark { at, what: What::End(_), .. }) = self.marks.front() {
                self.end_lines(*at);
            }
            self.write_mark(now.wall);
        }
        self.tails.forget_old(now.instant);
    }

    /// Writes the first mark; `latest` is the time of what comes after it.
    fn write_mark(&mut self, latest: SystemTime) {
        let Some(Mark { at, what, queued, .. }) = self.marks.pop_front() else { return };
        let at = at.min(latest);
        match what {
            What::Start(starting) => self.write_start(at, starting),
            What::End(ending) => self.write_end(at, ending, queued),
            What::InitFailed { failed: Failed { status, not_started, .. }, after } => {
                let subject = &self.subject;
                let done = subject.init_done(at, &status);
                let report = subject.init_report(at, after, &status);
                self.write_all(at, [not_started, done, report]);
            }
        }
    }

    fn write_start(&mut self, at: SystemTime, starting: Starting) {
        let Starting { id, tail, trace, init, .. } = starting;
        if let Some(init) = init {
            let (done, success) = (at.min(self.born + init), Status::Success);
            let lines = [
                self.subject.init_done(done, &success),
                self.subject.init_report(done, init, &success),
            ];
            self.write_all(done, lines);
        }
        let prelude = self.prelude.take().unwrap_or_default();
        self.open.push(Open { id, tail: tail.then_some(prelude) });
        let line = self.subject.start(at, id, trace.as_deref());
        self.write_all(at, [line]);
    }

    fn write_end(&mut self, at: SystemTime, ending: Ending, queued: Instant) {
        let Ending { id, duration, init, failed, trace, .. } = ending;
        let (status, words) = match failed {
            Some(Failed { status, words, .. }) => (status, words),
            None => (Status::Success, None),
        };
        // The kernel kills for memory when all of it is used.
        let all = matches!(&status, Status::Error(kind) if kind == "Runtime.OutOfMemory");
        let max_memory_mb =
            if all { Some(u64::from(self.subject.memory_mb)) } else { self.peak_mb };
        let figures = Figures { duration, init, max_memory_mb, status, trace };
        let subject = &self.subject;
        let lines = [
            words.and_then(|words| subject.failure(at, id, &words)),
            subject.runtime_done(at, id, &figures),
            subject.end(id),
            subject.report(at, id, &figures),
        ];
        let Some(own) = self.open.iter().position(|open| open.id == id) else { return };
        // These lines go to its own tail, whatever else is open.
        let open = self.open.remove(own);
        self.open.push(open);
        self.write_all(at, lines);
        if let Some(Open { tail: Some(tail), .. }) = self.open.pop() {
            self.tails.complete(id, tail, queued);
        }
    }

    fn write_all<const N: usize>(&mut self, at: SystemTime, lines: [Option<String>; N]) {
        lines.into_iter().flatten().for_each(|line| self.write(at, line));
    }

    /// Writes a line to the log and to the tail of whatever runs.
    fn write(&mut self, at: SystemTime, line: String) {
        let tail = match self.open.last_mut() {
            Some(open) => open.tail.as_mut(),
            None => self.prelude.as_mut(),
        };
        if let Some(tail) = tail {
            tail.push(&line);
        }
        self.push_event(at, line);
    }

    fn push_event(&mut self, at: SystemTime, message: String) {
        let millis = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let millis = i64::try_from(millis).unwrap_or(i64::MAX);
        // An end that was held back for late lines is not before them; but a clock that was set
        // back must not stop all clocks here.
        let late = (0..1000).contains(&(self.last_ms - millis));
        self.last_ms = if late { self.last_ms } else { millis };
        self.event_bytes += message.len();
        self.events.push(LogEvent { timestamp_ms: self.last_ms, message });
    }

    /// What is to be stored, and how many bytes of text that is.
    pub(super) fn take_events(&mut self) -> (Vec<LogEvent>, usize) {
        (std::mem::take(&mut self.events), std::mem::take(&mut self.event_bytes))
    }

    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether an invocation is under way, or something waits to be written.
    pub(super) fn is_busy(&self) -> bool {
        !self.marks.is_empty() || !self.open.is_empty() || self.tails.any()
    }
}

impl Mark {
    fn new(at: SystemTime, what: What, now: Now) -> Mark {
        Mark { at, queued: now.instant, word: None, what }
    }

    fn start(&self) -> Option<Uuid> {
        match &self.what {
            What::Start(starting) => Some(starting.id),
            What::End(_) | What::InitFailed { .. } => None,
        }
    }

    /// The invocation that lines from here on may belong to.
    fn printer(&self) -> Option<Uuid> {
        match &self.what {
            What::Start(Starting { id, untaken: false, .. }) => Some(*id),
            _ => None,
        }
    }

    fn is_start(&self) -> bool {
        self.start().is_some()
    }

    fn starts(&self, id: Uuid) -> bool {
        self.start() == Some(id)
    }
}

#[cfg(test)]
#[path = "sequence_tests.rs"]
mod tests;
