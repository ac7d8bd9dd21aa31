//! The one thread that owns time: it sleeps until the next run, hands it to the event queue, and
//! writes down how far the schedule is once the queue has it.
//!
//! In this order a crash repeats a run at worst, with the same id: while the first is in the queue,
//! the second is not taken for another one. The wall clock says when a run is due, looked at every
//! few seconds at least, so one that is set is noticed. Set forward, runs are missed (`missed`); set
//! back, what has run is not run again, for a schedule's next run never comes before its last one.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use uuid::Uuid;

use super::book::{Key, Phase, Progress, Step};
use super::counters::Count;
use super::missed::{Decision, decide};
use super::payload::{self, Run, run_id};
use super::record::{Plan, Record};
use super::shared::Shared;
use crate::asynchronous::{Acceptance, NewEvent, Refused};
use crate::config::MissedRuns;

/// Runs that the queue was asked to take and has not answered: the committer's batch has no more.
const WINDOW: usize = 256;
/// How long a clock that was set is not noticed.
const LOOK: Duration = Duration::from_secs(10);
/// A clock that goes back by more was set.
const SET_BACK_MS: u64 = 60_000;
/// How long a store that failed is let alone.
const PAUSE: Duration = Duration::from_secs(1);
const BACK_OFF_MAX_MS: u64 = 60_000;
/// How long the end waits for the queue's answers.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// What the thread hears.
#[derive(Debug)]
pub(super) enum Message {
    /// A schedule has changed.
    Wake,
    Settled(Asked, Result<(), Refused>),
    Stop,
}

/// A run that the queue was asked to take.
#[derive(Debug)]
pub(super) struct Asked {
    key: Key,
    schedule: Uuid,
    run: i64,
}

/// Takes events; a test does it in its own way.
pub(super) trait Accept: Send {
    fn accept(&self, event: NewEvent, reply: Box<dyn Acceptance>);
}

impl Accept for Arc<crate::asynchronous::Queue> {
    fn accept(&self, event: NewEvent, reply: Box<dyn Acceptance>) {
        crate::asynchronous::Queue::accept(self, event, reply);
    }
}

struct Waiting {
    asked: Asked,
    inbox: Sender<Message>,
}

impl Acceptance for Waiting {
    fn settled(self: Box<Self>, result: Result<(), Refused>) {
        // After the thread's end nobody is interested: the run is sent again after the next start.
        let _ = self.inbox.send(Message::Settled(self.asked, result));
    }
}

/// A schedule that moves on, and where to.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) key: Key,
    pub(super) schedule: Uuid,
    /// The run that is over.
    pub(super) from: i64,
    pub(super) progress: Progress,
}

/// See the module's text.
pub(super) struct Timer {
    shared: Arc<Shared>,
    queue: Box<dyn Accept>,
    missed: MissedRuns,
    inbox: Receiver<Message>,
    answers: Sender<Message>,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    sending: usize,
    /// What is to be written.
    moves: Vec<Move>,
    /// The last write failed.
    failing: bool,
    /// The wall clock when it was looked at last.
    seen_ms: u64,
}

impl Timer {
    pub(super) fn new(
        shared: Arc<Shared>,
        queue: Box<dyn Accept>,
        missed: MissedRuns,
        (answers, inbox): (Sender<Message>, Receiver<Message>),
    ) -> Timer {
        Timer { shared, queue, missed, inbox, answers, state: State::default() }
    }

    pub(super) fn run(mut self) {
        loop {
            let now_ms = (self.shared.clock)();
            self.look(now_ms);
            match self.inbox.recv_timeout(self.wait(now_ms)) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(message) => self.hear(message),
                Err(RecvTimeoutError::Timeout) => {}
            }
            while let Ok(message) = self.inbox.try_recv() {
                if matches!(message, Message::Stop) {
                    return self.end();
                }
                self.hear(message);
            }
        }
        self.end();
    }

    /// What the queue has taken is written down, so that it is not sent again.
    fn end(mut self) {
        while self.state.sending > 0
            && let Ok(message) = self.inbox.recv_timeout(LAST_ANSWERS)
        {
            self.hear(message);
        }
        self.write();
    }

    fn wait(&self, now_ms: u64) -> Duration {
        if self.state.failing {
            return PAUSE;
        }
        let wake_ms = self.shared.book().wake_ms();
        match wake_ms.filter(|_| self.state.sending < WINDOW) {
            Some(wake_ms) => Duration::from_millis(wake_ms.saturating_sub(now_ms)).min(LOOK),
            None => LOOK,
        }
    }

    /// Begins everything whose time has come.
    pub(super) fn look(&mut self, now_ms: u64) {
        if now_ms + SET_BACK_MS < self.state.seen_ms {
            let seconds = (self.state.seen_ms - now_ms) / 1000;
            log::warn!("the clock was set back by {seconds} s: what has run does not run again");
            self.shared.count_anew(now_ms);
        }
        self.state.seen_ms = now_ms;
        while self.state.sending < WINDOW {
            let Some(key) = self.shared.book().first_due(now_ms) else { break };
            self.begin(key, now_ms);
        }
        self.write();
    }

    fn begin(&mut self, key: Key, now_ms: u64) {
        let book = self.shared.book();
        let Some(entry) = book.entries.get(&key) else { return };
        let (schedule, plan, next) = (entry.id, entry.plan.clone(), entry.progress.next);
        let failures = match entry.phase {
            Phase::Waiting { failures, .. } => failures,
            _ => 0,
        };
        drop(book);
        let Some(next) = next else { return };
        let now = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
        // One that the queue has refused is tried as long as its age lets it.
        let decision = if failures > 0 {
            Decision { run: Some(next), late: false, skipped: Default::default(), next: None }
        } else {
            decide(&plan, next, now, self.missed)
        };
        self.tell(&key, &decision);
        match decision.run {
            None => {
                if self.shared.book().step(&key, Step::Skip) {
                    let last = decision.skipped.last.or(Some(next));
                    let progress = Progress { last, next: decision.next };
                    self.state.moves.push(Move { key, schedule, from: next, progress });
                }
            }
            Some(run) => self.send(key, schedule, &plan, (next, run), failures),
        }
    }

    /// Every run that was missed is in the log: the skipped ones together, the others one by one.
    fn tell(&self, key: &Key, decision: &Decision) {
        let skipped = &decision.skipped;
        let missed = skipped.count + usize::from(decision.late);
        self.shared.counters.add(Count::Missed, missed);
        self.shared.counters.add(Count::Skipped, skipped.count);
        if let (Some(first), Some(last)) = (skipped.first, skipped.last) {
            let count = skipped.count;
            let more = if skipped.more { "more than " } else { "" };
            log::warn!(
                "schedule {key}: {more}{count} missed runs are skipped, {} to {}",
                payload::time(first),
                payload::time(last)
            );
        }
        if let (true, Some(run)) = (decision.late, decision.run) {
            log::warn!("schedule {key}: the missed run of {} runs now", payload::time(run));
        }
    }

    fn send(
        &mut self,
        key: Key,
        schedule: Uuid,
        plan: &Plan,
        (next, run): (i64, i64),
        failures: u32,
    ) {
        if run != next {
            // Those before it are skipped. That needs no write: after a crash it is found out again.
            let mut book = self.shared.book();
            if let Some(entry) = book.entries.get_mut(&key) {
                entry.progress.next = Some(run);
            }
        }
        if !self.shared.book().step(&key, Step::Take) {
            return;
        }
        let event = match self.shared.record(&key) {
            Ok(Some(record)) => self.event(&key, &record, run, failures + 1),
            Ok(None) => None,
            Err(error) => {
                log::error!("schedule {key} cannot be read: {error}");
                let until_ms = (self.shared.clock)() + back_off_ms(failures);
                self.shared.book().step(&key, Step::Refused { until_ms });
                return;
            }
        };
        let Some(event) = event else {
            log::error!("schedule {key} has no target: its run of {} is lost", payload::time(run));
            return self.over(key, schedule, plan, run);
        };
        log::debug!("schedule {key}: its run of {} is {}", payload::time(run), event.id);
        self.state.sending += 1;
        let asked = Asked { key, schedule, run };
        let reply = Waiting { asked, inbox: self.answers.clone() };
        self.queue.accept(event, Box::new(reply));
    }

    fn event(&self, key: &str, record: &Record, run: i64, attempt: u32) -> Option<NewEvent> {
        let function = self.shared.function(record.target())?;
        let region = key.split('/').next()?;
        let arn = self.shared.arn(key);
        let id = run_id(record.id, run);
        let told = Run {
            arn: &arn,
            region,
            account_id: &self.shared.account_id,
            scheduled: run,
            id,
            attempt,
        };
        let payload = payload::payload(record.definition["Target"]["Input"].as_str(), &told);
        Some(NewEvent {
            id,
            function,
            trace_id: crate::random::trace_id(),
            payload: payload.into_bytes().into(),
            terms: Some(record.terms()),
        })
    }

    pub(super) fn hear(&mut self, message: Message) {
        let Message::Settled(Asked { key, schedule, run }, result) = message else { return };
        self.state.sending -= 1;
        let book = self.shared.book();
        let entry = book.entries.get(&key).filter(|entry| {
            entry.id == schedule
                && entry.progress.next == Some(run)
                && matches!(entry.phase, Phase::Sending { .. })
        });
        let found = entry.map(|entry| (entry.plan.clone(), entry.phase));
        drop(book);
        if result.is_ok() {
            self.shared.counters.add(Count::Started, 1);
        }
        // Changed or deleted meanwhile.
        let Some((plan, Phase::Sending { failures })) = found else { return };
        match result {
            Ok(()) => self.over(key, schedule, &plan, run),
            // It is sent again after the next start.
            Err(Refused::Stopped) => {}
            Err(why) => self.refused(key, schedule, &plan, (run, failures), why),
        }
    }

    fn refused(
        &mut self,
        key: Key,
        schedule: Uuid,
        plan: &Plan,
        (run, failures): (i64, u32),
        why: Refused,
    ) {
        self.shared.counters.add(Count::Refused, 1);
        let now_ms = (self.shared.clock)();
        let until_ms = now_ms + back_off_ms(failures);
        let over_ms = u64::try_from(run + plan.max_age).unwrap_or(0).saturating_mul(1000);
        let time = payload::time(run);
        if why == Refused::TooLarge || until_ms > over_ms {
            self.shared.counters.add(Count::GivenUp, 1);
            log::error!(
                "schedule {key}: the event queue does not take its run of {time} ({why:?}), which is given up"
            );
            return self.over(key, schedule, plan, run);
        }
        log::warn!(
            "schedule {key}: the event queue does not take its run of {time} ({why:?}); it is asked again in {} s",
            (until_ms - now_ms) / 1000
        );
        self.shared.book().step(&key, Step::Refused { until_ms });
    }

    /// A run is over here: what comes next is to be written.
    fn over(&mut self, key: Key, schedule: Uuid, plan: &Plan, run: i64) {
        if self.shared.book().step(&key, Step::Took) {
            let progress = Progress { last: Some(run), next: plan.timing.first_after(run) };
            self.state.moves.push(Move { key, schedule, from: run, progress });
        }
    }

    /// Writes how far schedules are, all of them at once.
    pub(super) fn write(&mut self) {
        if self.state.moves.is_empty() {
            return;
        }
        match self.shared.advance(&self.state.moves) {
            Ok(()) => {
                self.state.moves.clear();
                if std::mem::replace(&mut self.state.failing, false) {
                    log::info!("how far schedules are can be written again");
                }
            }
            Err(error) => {
                self.shared.counters.add(Count::WriteFailures, 1);
                if !std::mem::replace(&mut self.state.failing, true) {
                    log::error!("how far schedules are cannot be written: {error}");
                }
            }
        }
    }
}

/// 1 s, and twice as long each time up to a minute.
fn back_off_ms(failures: u32) -> u64 {
    BACK_OFF_MAX_MS.min(1000 << failures.min(9))
}
