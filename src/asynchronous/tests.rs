//! The queue with a disk, a clock and functions of the test's own.
//!
//! `World` is the queue without its threads: the test says when the committer writes and the
//! deliverer looks, so every order of things can be played through.

mod crashes;
mod deliveries;
mod files;
mod full;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::committer::Settle;
use super::deliver::{Carried, Invoke};
use super::outbox::Load;
use super::power_cut::Disk;
use super::stored::tests::sample;
use super::*;
use crate::dispatch::{Event, Outcome, Refusal, Reply, Report};

const START_MS: u64 = 1_700_000_000_000;
const MINUTE_MS: u64 = 60_000;

/// An invocation that dispatch was asked for.
struct Invocation {
    name: String,
    event: Arc<Event>,
    reply: Box<dyn Reply>,
}

type Invocations = Arc<Mutex<Vec<Invocation>>>;

struct Taker(Invocations);

impl Invoke for Taker {
    fn invoke(&self, target: &Arc<Target>, event: Event, reply: Box<dyn Reply>) {
        let (name, event) = (target.name.clone(), Arc::new(event));
        self.0.lock().unwrap().push(Invocation { name, event, reply });
    }
}

impl Invocation {
    fn end(self, outcome: Outcome) {
        let Invocation { event, reply, .. } = self;
        let (duration, started, init, sandbox) = (Duration::ZERO, None, None, None);
        reply.reply(
            outcome,
            Report { event, duration, started, init, sandbox, target: None, container: None },
        );
    }

    fn succeed(self) {
        self.end(Outcome::Response(b"{\"ok\":true}".to_vec().into()));
    }

    fn fail(self) {
        let error = br#"{"errorType":"Oops","errorMessage":"no luck"}"#.to_vec();
        self.end(Outcome::FunctionError(error.into()));
    }

    fn refuse(self, why: Refusal) {
        self.end(Outcome::Refused(why));
    }
}

/// Functions by name: what they mean now, and their policy.
#[derive(Default)]
struct Known(Mutex<HashMap<String, (&'static str, Policy)>>);

impl Known {
    fn set(&self, name: &str, state: &'static str, policy: Policy) {
        self.0.lock().unwrap().insert(name.to_owned(), (state, policy));
    }
}

fn target(name: &str) -> Arc<Target> {
    Arc::new(Target {
        key: format!("us-east-1/{name}/$LATEST"),
        name: name.to_owned(),
        version: "$LATEST".to_owned(),
        arn: format!("arn:{name}"),
        timeout: Duration::from_secs(3),
        memory_mb: 128,
        function: None,
    })
}

impl Functions for Known {
    fn resolve(&self, function: &Address) -> (Resolved, Policy) {
        let known = self.0.lock().unwrap();
        let (state, policy) = known.get(&function.name).cloned().unwrap_or_default();
        let resolved = match state {
            "gone" => Resolved::Gone,
            "pending" => Resolved::NotNow("the function is Pending".to_owned()),
            _ => {
                Resolved::Ready { target: target(&function.name), invoked_arn: self.arn(function) }
            }
        };
        (resolved, policy)
    }

    fn arn(&self, function: &Address) -> String {
        let qualifier = function.qualifier.as_deref().unwrap_or("$LATEST");
        format!("arn:aws:lambda:us-east-1:000000000000:function:{}:{qualifier}", function.name)
    }

    fn failure(&self, failure: &Failure, _: &Event) -> String {
        format!("{{\"errorType\":\"{failure:?}\"}}")
    }
}

/// Keeps what it hears.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Result<(), Refused>>>>);

impl Acceptance for Heard {
    fn settled(self: Box<Self>, result: Result<(), Refused>) {
        self.0.lock().unwrap().push(result);
    }
}

impl Heard {
    fn all(&self) -> Vec<Result<(), Refused>> {
        self.0.lock().unwrap().clone()
    }
}

fn settings() -> config::Asynchronous {
    config::Asynchronous {
        max_queued_events: 1000,
        max_queue_bytes: 64 << 20,
        max_deliveries: 4,
        retry_delay: Duration::from_secs(60),
        dead_letters: DeadLetters::Kept(Carrier::Letters),
        max_dead_letters_bytes: 1 << 20,
        webhook: None,
    }
}

/// The queue's parts without their threads.
struct World {
    disk: Disk,
    letters_disk: Disk,
    now: Arc<AtomicU64>,
    functions: Arc<Known>,
    invocations: Invocations,
    committer: Committer,
    deliverer: Deliverer,
    to_write: Receiver<Job>,
    inbox: Receiver<Message>,
    to_carry: Receiver<Load>,
    queue: Queue,
}

impl World {
    fn new() -> World {
        World::on(Disk::default(), Disk::default(), &settings()).unwrap()
    }

    fn on(
        disk: Disk,
        letters_disk: Disk,
        settings: &config::Asynchronous,
    ) -> Result<World, QueueError> {
        let now = Arc::new(AtomicU64::new(START_MS));
        let ticking = now.clone();
        let clock: Clock = Arc::new(move || ticking.load(Ordering::Relaxed));
        let limits = Limits {
            max_entries: settings.max_queued_events,
            max_bytes: settings.max_queue_bytes,
            max_deliveries: settings.max_deliveries,
            max_carried: CARRIERS,
        };
        let storage: Arc<dyn Storage> = Arc::new(disk.clone());
        let (core, journal) = load(storage, &limits).map_err(QueueError::Journal)?;
        let letters =
            Letters::open(Arc::new(letters_disk.clone()), settings.max_dead_letters_bytes)
                .map_err(QueueError::Letters)?;
        let source =
            Source { core: Arc::new(Mutex::new(core)), segments: journal.segments().clone() };
        let counters = Arc::new(Counters::default());
        let (jobs, to_write) = crossbeam_channel::unbounded();
        let (messages, inbox) = crossbeam_channel::unbounded();
        let (loads, to_carry) = crossbeam_channel::unbounded();
        let waker = Waker { pending: Arc::new(AtomicBool::new(false)), inbox: messages };
        let wake = Box::new(|| ());
        let committer = Committer::new(journal, source.core.clone(), counters.clone(), wake);
        let (functions, invocations) = (Arc::new(Known::default()), Invocations::default());
        let account_id = "000000000000".to_owned();
        let deliverer = Deliverer {
            source: source.clone(),
            jobs: jobs.clone(),
            inbox: crossbeam_channel::never(),
            waker: waker.clone(),
            outbox: loads,
            invoke: Box::new(Taker(invocations.clone())),
            functions: functions.clone(),
            routes: Routes {
                account_id: account_id.clone(),
                dead_letters: settings.dead_letters,
                has_webhook: true,
            },
            retry_delay: settings.retry_delay,
            counters: counters.clone(),
            clock: clock.clone(),
            flights: Flights::default(),
        };
        let queue = Queue {
            source,
            jobs,
            waker,
            letters: Arc::new(letters),
            counters,
            clock,
            limits,
            settings: settings.clone(),
            account_id,
            inbox: Mutex::new(None),
            committer: Mutex::new(None),
            deliverer: Mutex::new(None),
        };
        Ok(World {
            disk,
            letters_disk,
            now,
            functions,
            invocations,
            committer,
            deliverer,
            to_write,
            inbox,
            to_carry,
            queue,
        })
    }

    /// The same disks after the process is gone.
    fn restarted(self) -> World {
        let World { disk, letters_disk, queue, now, .. } = self;
        let world = World::on(disk, letters_disk, &queue.settings).unwrap();
        world.now.store(now.load(Ordering::Relaxed), Ordering::Relaxed);
        world
    }

    fn offer(&self, stored: &Stored, payload: &[u8]) -> Heard {
        let heard = Heard::default();
        let event = NewEvent {
            id: stored.id,
            function: stored.function.clone(),
            trace_id: stored.trace_id.clone(),
            payload: payload.to_vec().into(),
            terms: stored.terms.clone(),
        };
        self.queue.accept(event, Box::new(heard.clone()));
        heard
    }

    /// Accepts an event of this function; it is on the disk.
    fn accept(&mut self, name: &str) -> Uuid {
        let stored = sample(name);
        let heard = self.offer(&stored, b"{\"n\": 1}");
        self.write();
        assert_eq!(heard.all(), [Ok(())]);
        stored.id
    }

    /// Lets the committer write everything that waits, as one batch.
    fn write(&mut self) {
        let batch: Vec<Job> = self.to_write.try_iter().collect();
        self.committer.commit(batch);
    }

    /// Lets everything happen that can happen now, but for the outcomes of functions.
    fn settle(&mut self) {
        loop {
            self.deliverer.deliver();
            let carried: Vec<Load> = self.to_carry.try_iter().collect();
            for load in &carried {
                let result = match self.queue.source.read(load.index) {
                    Ok((stored, record)) => self.queue.letters.put(&stored, &record).map_or_else(
                        |error| Carried::Failed(error.to_string()),
                        |()| Carried::Done,
                    ),
                    Err(error) => Carried::Lost(error.to_string()),
                };
                self.deliverer.hear(Message::Carried(load.index, result));
            }
            let messages: Vec<Message> = self.inbox.try_iter().collect();
            let (heard, waiting) = (messages.len(), !self.to_write.is_empty());
            messages.into_iter().for_each(|message| self.deliverer.hear(message));
            self.write();
            if carried.is_empty() && heard == 0 && !waiting {
                return;
            }
        }
    }

    /// What dispatch has been asked for since this was asked last.
    fn taken(&mut self) -> Vec<Invocation> {
        self.settle();
        std::mem::take(&mut *self.invocations.lock().unwrap())
    }

    /// The one invocation that there is.
    fn one(&mut self) -> Invocation {
        let mut taken = self.taken();
        assert_eq!(taken.len(), 1, "one invocation");
        taken.remove(0)
    }

    fn pass(&mut self, ms: u64) {
        self.now.fetch_add(ms, Ordering::Relaxed);
    }

    fn waiting(&self) -> usize {
        self.queue.view().by_state.iter().map(|(_, count)| count).sum()
    }

    fn letters(&self) -> Vec<serde_json::Value> {
        let letters = self.queue.letters.list().unwrap();
        let records = letters.iter().map(|letter| self.queue.letters.read(letter).unwrap().record);
        records.map(|record| serde_json::from_str(record.get()).unwrap()).collect()
    }

    fn count(&self, name: &str) -> u64 {
        let mut all = self.queue.counters.all();
        all.find(|(one, ..)| *one == name).map(|(.., count)| count).unwrap()
    }
}
