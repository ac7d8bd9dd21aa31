//! The log of one sandbox: what its container writes and what dispatch tells, in one order. Pure:
//! time comes in as an argument, events go out in [`Sequence::take_events`].
//!
//! Which invocation a line belongs to. A sandbox has one invocation at a time and its outputs keep
//! their order, so all that has to be found is the place of each `START` among the lines. The two
//! come on different ways, though: dispatch's news at once, a line some 0.1 to 0.3 ms after the
//! function has printed it (through its pipe, containerd's shim and the Engine), and later when
//! the CPUs are busy. So
//!
//! * a line that names an invocation's request id, as those of AWS's runtimes do, is that one's,
//!   and no line before it can be a later one's;
//! * any other line belongs to the invocation that had begun [`ON_THE_WAY`] before it came; while
//!   it may as well be of one before, it waits up to [`DOUBT`] for a line that tells;
//! * nothing of the service's own is written before what may still be on its way has had its time:
//!   a `START` waits for the first line after it or for [`SETTLE`], an end until no byte has come
//!   for so long, but not longer than [`AT_MOST`];
//! * an end that somebody waits for is written [`LAST_STEP`] after the Engine has answered a
//!   question that was asked [`HEAD_START`] later and goes the same way
//!   ([`docker::Pulse`](crate::docker::Pulse)): when the CPUs are busy, that takes as long.
//!
//! A function whose lines have no ids, and that prints at its very end while its next invocation
//! waits already, can still find such a line after the next `START`: there is nothing to tell by.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use super::ending::{Ending, Failed};
use super::format::{Figures, Status};
use super::lines::Lines;
#[cfg(doc)]
use super::marks::{AT_MOST, LAST_STEP, SETTLE};
use super::marks::{DOUBT, HEAD_START, Mark, Now, ON_THE_WAY, Starting, What, Word};
use super::subject::Subject;
use super::tail::{Tail, Tails, Waiter};
use crate::docker::Output;
use crate::logs::LogEvent;

/// An invocation whose `START` is written and whose `END` is not.
struct Open {
    id: Uuid,
    tail: Option<Tail>,
}

/// A line that waits for one that tells where both belong.
struct Held {
    line: String,
    at: SystemTime,
    since: Instant,
    full: bool,
}

/// How much of such lines there may be.
const HELD_BYTES: usize = 64 * 1024;

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
    /// When output last came, of each of the two: a line without an end belongs there.
    heard: [SystemTime; 2],
    held: VecDeque<Held>,
    held_bytes: usize,
    /// When the last output came, or could have come first.
    silent_since: Instant,
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
    pub(super) fn new(subject: Subject, born: Now) -> Sequence {
        Sequence {
            subject,
            born: born.wall,
            begun: false,
            marks: VecDeque::new(),
            open: Vec::new(),
            prelude: Some(Tail::default()),
            tails: Tails::default(),
            lines: Lines::default(),
            heard: [born.wall; 2],
            held: VecDeque::new(),
            held_bytes: 0,
            silent_since: born.instant,
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
        self.end_lines(now.wall);
        self.listening = false;
    }

    /// A runtime is handed an invocation.
    pub(super) fn given(&mut self, starting: Starting, at: SystemTime, now: Now) {
        self.begin();
        self.marks.push_back(Mark::new(at, What::Start(starting), now, self.silent_since));
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
        let mut mark = Mark::new(ending.at(), What::End(ending), now, self.silent_since);
        mark.word = word;
        // The beginning of the next one may have been quicker.
        let own = self.marks.iter().position(|mark| mark.starts(id)).map_or(0, |own| own + 1);
        let next = self.marks.iter().skip(own).position(Mark::is_start).map(|next| own + next);
        self.marks.insert(next.unwrap_or(self.marks.len()), mark);
    }

    fn wants_tail(&self, id: Uuid) -> bool {
        self.open.iter().any(|open| open.id == id && open.tail.is_some())
            || self.marks.iter().any(|mark| mark.starts_for_tail(id))
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
                mark.word = Some(Word::Given(now.instant));
            }
        }
    }

    /// The sandbox has not initialized.
    pub(super) fn init_failed(&mut self, failed: Failed, after: Duration, now: Now) {
        self.begin();
        let what = What::InitFailed { failed, after };
        self.marks.push_back(Mark::new(now.wall, what, now, self.silent_since));
    }

    /// Gives `waiter` the end of an invocation's log once it is complete.
    pub(super) fn tail(&mut self, id: Uuid, waiter: Waiter) {
        self.tails.ask(id, waiter);
    }

    /// Output has come; how many lines of it. With `full` there is no room for them.
    pub(super) fn output(&mut self, output: Output, bytes: &[u8], full: bool, now: Now) -> u64 {
        self.silent_since = now.instant;
        self.heard[usize::from(output == Output::Stderr)] = now.wall;
        let mut lines = std::mem::take(&mut self.lines);
        let count = lines.push(output, bytes, &mut |line| self.line(line, full, now));
        self.lines = lines;
        count
    }

    /// Writes a line without an end as one: what comes later belongs to something else. It has its
    /// place where it came, however much later that is.
    fn end_lines(&mut self, at: SystemTime) {
        self.release(None);
        let mut lines = std::mem::take(&mut self.lines);
        lines.flush(&mut |output, line| {
            self.begin();
            let at = at.min(self.heard[usize::from(output == Output::Stderr)]);
            self.make_way(self.begun_by(at), at);
            self.write_line(line, at, false);
        });
        self.lines = lines;
    }

    fn line(&mut self, line: String, full: bool, now: Now) {
        self.begin();
        let at = now.wall;
        if let Some(way) = self.named_in(&line) {
            self.release(Some(way));
            // Those have taken a part of the way.
            let way = self.named_in(&line).unwrap_or_default();
            self.make_way(way, at);
            self.write_line(line, at, full);
        } else if !self.held.is_empty() || self.is_doubtful(at) {
            self.held_bytes += line.len();
            self.held.push_back(Held { line, at, since: now.instant, full });
            if self.held_bytes > HELD_BYTES {
                self.release(None);
            }
        } else {
            self.make_way(self.begun_by(at), at);
            self.write_line(line, at, full);
        }
    }

    /// Writes the lines that were held. The marks up to `limit` are as far as they can be.
    fn release(&mut self, limit: Option<usize>) {
        self.held_bytes = 0;
        let mut left = limit.unwrap_or(usize::MAX);
        for Held { line, at, full, .. } in std::mem::take(&mut self.held) {
            let way = self.begun_by(at).min(left);
            left -= way;
            self.make_way(way, at);
            self.write_line(line, at, full);
        }
    }

    /// How many marks come before a line of the invocation that this one names, if it names one.
    fn named_in(&self, line: &str) -> Option<usize> {
        if self.marks.is_empty() {
            return None; // it is of no interest
        }
        ids(line.as_bytes()).find_map(|id| {
            let pending = self.marks.iter().position(|mark| mark.printer() == Some(id));
            let open = || self.open.iter().any(|open| open.id == id).then_some(0);
            pending.map(|pending| pending + 1).or_else(open)
        })
    }

    /// How many marks come before a line that came at that time, by the time alone.
    fn begun_by(&self, at: SystemTime) -> usize {
        let begun = |mark: &Mark| mark.printer().is_some() && mark.at + ON_THE_WAY <= at;
        self.marks.iter().rposition(begun).map_or(0, |last| last + 1)
    }

    /// Whether a line of that time may as well be of an invocation before.
    fn is_doubtful(&self, at: SystemTime) -> bool {
        self.marks.iter().take(self.begun_by(at)).any(Mark::is_end)
    }

    fn make_way(&mut self, marks: usize, at: SystemTime) {
        for _ in 0..marks {
            self.write_mark(at);
        }
    }

    fn write_line(&mut self, line: String, at: SystemTime, full: bool) {
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

    /// When something is due, if anything is.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let held = self.held.front().map(|held| held.since + DOUBT);
        self.marks.iter().map(|mark| self.due(mark)).chain(held).min()
    }

    fn due(&self, mark: &Mark) -> Instant {
        // Without output nothing is on its way.
        if self.listening { mark.due(self.silent_since) } else { mark.queued }
    }

    /// Writes what is due, and what comes before it.
    pub(super) fn settle(&mut self, now: Now) {
        if self.next_due().is_some_and(|due| due <= now.instant) {
            self.release(None);
        }
        let last = self.marks.iter().rposition(|mark| self.due(mark) <= now.instant);
        for _ in 0..last.map_or(0, |last| last + 1) {
            if let Some(mark) = self.marks.front().filter(|mark| mark.is_end()) {
                self.end_lines(mark.at);
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
        !self.held.is_empty() || !self.marks.is_empty() || !self.open.is_empty() || self.tails.any()
    }
}

/// Everything in a text that has the form of a request id.
fn ids(text: &[u8]) -> impl Iterator<Item = Uuid> + '_ {
    let dashes = text.iter().enumerate().filter(|(_, byte)| **byte == b'-');
    // The first of four, after eight digits.
    let first = dashes.filter_map(|(at, _)| text.get(at.checked_sub(8)?..at + 28));
    let shaped = first.filter(|id| [13, 18, 23].iter().all(|&dash| id[dash] == b'-'));
    shaped.filter_map(|id| Uuid::try_parse_ascii(id).ok())
}

#[cfg(test)]
#[path = "sequence_tests.rs"]
mod tests;
