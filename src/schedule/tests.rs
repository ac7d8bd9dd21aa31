//! Schedules with a disk, a clock and an event queue of the test's own.
//!
//! `World` is the timer without its thread: the test says when it looks, and what the queue answers,
//! so every order of things can be played through.

mod changes;
mod crashes;
mod runs;

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use super::timer::Accept;
use super::*;
use crate::asynchronous::{Acceptance, NewEvent, Refused};
use crate::config::MissedRuns;
use crate::function::power_cut::Backend;

/// 2026-11-27T00:00:00Z
const START: i64 = 1_795_737_600;
const HERE: &str = "us-east-1";

/// An event that the queue was asked to take.
struct Sent {
    event: NewEvent,
    reply: Box<dyn Acceptance>,
}

#[derive(Clone, Default)]
struct Taker(Arc<Mutex<Vec<Sent>>>);

impl Accept for Taker {
    fn accept(&self, event: NewEvent, reply: Box<dyn Acceptance>) {
        self.0.lock().unwrap().push(Sent { event, reply });
    }
}

impl Sent {
    fn text(&self) -> String {
        String::from_utf8(self.event.payload.to_vec()).unwrap()
    }
}

struct World {
    backend: Backend,
    now: Arc<AtomicU64>,
    settings: config::Schedules,
    schedules: Schedules,
    timer: Timer,
    inbox: Receiver<Message>,
    taker: Taker,
}

fn settings(missed_runs: MissedRuns) -> config::Schedules {
    config::Schedules { max_schedules: 5, missed_runs }
}

fn named(name: &str) -> Name<'_> {
    Name { region: HERE, group: DEFAULT_GROUP, name }
}

/// A definition whose input says what run it is.
fn definition(expression: &str) -> Value {
    let mut definition = record::tests::sample(expression).definition;
    definition["Target"]["Input"] = "\"<aws.scheduler.scheduled-time>\"".into();
    definition
}

impl World {
    fn new(missed_runs: MissedRuns) -> World {
        let now = Arc::new(AtomicU64::new(START as u64 * 1000));
        World::on(Backend::default(), now, settings(missed_runs)).unwrap()
    }

    fn on(
        backend: Backend,
        now: Arc<AtomicU64>,
        settings: config::Schedules,
    ) -> Result<World, StoreError> {
        let ticking = now.clone();
        let clock: Clock = Arc::new(move || ticking.load(Ordering::Relaxed));
        let store = Arc::new(backend.open()?);
        let schedules = Schedules::with(store, &settings, "000000000000", clock)?;
        let taker = Taker::default();
        let (answers, inbox) = crossbeam_channel::unbounded();
        let channel = (answers, crossbeam_channel::never());
        let missed = settings.missed_runs;
        let timer = Timer::new(schedules.shared.clone(), Box::new(taker.clone()), missed, channel);
        Ok(World { backend, now, settings, schedules, timer, inbox, taker })
    }

    /// The same disk after the process is gone.
    fn restarted(self) -> World {
        let World { backend, now, settings, schedules, timer, .. } = self;
        drop((schedules, timer));
        World::on(backend, now, settings).unwrap()
    }

    fn create(&self, name: &str, expression: &str) {
        self.schedules.create(named(name), definition(expression), "").unwrap();
    }

    fn pass(&self, seconds: u64) {
        self.now.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    fn set(&self, seconds: i64) {
        self.now.store(seconds as u64 * 1000, Ordering::Relaxed);
    }

    /// Lets the timer look; what it sends to the queue.
    fn look(&mut self) -> Vec<Sent> {
        let now_ms = self.now.load(Ordering::Relaxed);
        self.timer.look(now_ms);
        std::mem::take(&mut *self.taker.0.lock().unwrap())
    }

    /// Answers, and lets the timer hear it and write.
    fn answer(&mut self, sent: Sent, result: Result<(), Refused>) {
        sent.reply.settled(result);
        while let Ok(message) = self.inbox.try_recv() {
            self.timer.hear(message);
        }
        self.timer.write();
    }

    /// Lets everything run that is due; the payloads in their order.
    fn run(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let sent = self.look();
            if sent.is_empty() {
                return all;
            }
            for one in sent {
                all.push(one.text());
                self.answer(one, Ok(()));
            }
        }
    }

    fn next(&self, name: &str) -> Option<i64> {
        let book = self.schedules.shared.book();
        let entry = &book.entries[named(name).key().as_str()];
        entry.progress.next.map(|next| next - START)
    }

    fn names(&self) -> Vec<String> {
        let filter = Filter { region: HERE, ..Filter::default() };
        let (found, _) = self.schedules.list(&filter, 100).unwrap();
        found.into_iter().map(|summary| summary.name).collect()
    }

    fn count(&self, name: &str) -> u64 {
        let mut all = self.schedules.counters().all();
        all.find(|(one, ..)| *one == name).map(|(.., count)| count).unwrap()
    }
}

/// The payload of a run.
fn time(clock: &str) -> String {
    format!("\"2026-11-27T{clock}Z\"")
}
