//! A core with everything around it played: callers, runtimes, the Engine and the clock. For tests.
//!
//! After each step the invariants are checked, and every effect is carried out but the deliveries:
//! those wait in `deliveries`, because the lock is free between decision and delivery.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use uuid::Uuid;

use super::core::{Core, Effect, FrostOrder, Limits, SandboxId, StopOrder};
use super::invariants;
use super::invocation::{Event, Outcome, Poll, Reply, Report, Target};
use super::journal::SandboxChange;
use super::matching::{AnswerError, Runtime};
use crate::audit::Source;
use crate::function::model::Function;
use crate::function::model::tests::sample;
use crate::http::WatchId;

/// What the outside has seen.
#[derive(Default)]
pub(super) struct Book {
    pub(super) outcomes: HashMap<Uuid, Vec<(Outcome, Report)>>,
    /// Poll and event of each delivery that arrived.
    pub(super) delivered: Vec<(u64, Uuid)>,
    pub(super) hung_up: Vec<u64>,
    pub(super) watches: HashMap<u64, WatchId>,
    /// Polls whose connection is gone.
    pub(super) gone: HashSet<u64>,
    /// Polls that were dropped though their runtime still waited.
    pub(super) forgotten: Vec<u64>,
}

type SharedBook = Arc<Mutex<Book>>;

struct Caller(Uuid, SharedBook);

impl Reply for Caller {
    fn reply(self: Box<Self>, outcome: Outcome, report: Report) {
        let mut book = self.1.lock().unwrap();
        book.outcomes.entry(self.0).or_default().push((outcome, report));
    }
}

pub(super) struct FakePoll {
    number: u64,
    book: SharedBook,
    answered: bool,
}

impl Poll for FakePoll {
    fn watch(&self, id: WatchId) -> bool {
        let mut book = self.book.lock().unwrap();
        if book.gone.contains(&self.number) {
            return false;
        }
        book.watches.insert(self.number, id);
        true
    }

    fn deliver(mut self: Box<Self>, event: &Event, _deadline: SystemTime) -> bool {
        self.answered = true;
        let mut book = self.book.lock().unwrap();
        if book.gone.contains(&self.number) {
            return false;
        }
        book.delivered.push((self.number, event.id));
        true
    }

    fn hang_up(mut self: Box<Self>) {
        self.answered = true;
        self.book.lock().unwrap().hung_up.push(self.number);
    }

    fn refuse(mut self: Box<Self>) {
        self.answered = true;
    }
}

impl Drop for FakePoll {
    fn drop(&mut self) {
        let mut book = self.book.lock().unwrap();
        if !self.answered && !book.gone.contains(&self.number) {
            book.forgotten.push(self.number);
        }
    }
}

/// An event on its way to a runtime.
pub(super) struct Delivery {
    pub(super) poll: Box<dyn Poll>,
    pub(super) event: Arc<Event>,
    pub(super) sandbox: SandboxId,
    /// Not the same event again.
    first: bool,
}

pub(super) struct World {
    pub(super) core: Core,
    pub(super) now: Instant,
    begin: Instant,
    pub(super) book: SharedBook,
    /// How often a launcher was told that there is something to start.
    pub(super) tokens: usize,
    pub(super) frosts: VecDeque<FrostOrder>,
    pub(super) stops: Vec<StopOrder>,
    pub(super) deliveries: Vec<Delivery>,
    pub(super) ticks: usize,
    /// Who has an event, and how many of its deliveries there have not failed.
    holders: HashMap<Uuid, (SandboxId, u32)>,
    /// What a journal was told: invocations that have begun and not ended, and where; those that
    /// were taken back; sandboxes that have ended.
    begun: HashMap<Uuid, SandboxId>,
    taken_back: HashSet<(Uuid, SandboxId)>,
    ended: HashSet<SandboxId>,
    /// What a witness was told.
    pub(super) changes: Vec<SandboxChange>,
    next: u64,
}

impl World {
    pub(super) fn new(max: usize) -> World {
        World::with(max, |_| ())
    }

    /// One whose limits are otherwise than usual.
    pub(super) fn with(max: usize, change: impl FnOnce(&mut Limits)) -> World {
        let now = Instant::now();
        let mut limits = Limits {
            max_concurrent_executions: max,
            max_total_memory_mb: 1 << 20,
            max_parallel_starts: 64,
            max_queue_wait: Duration::ZERO,
            init_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            freeze_after: None,
        };
        change(&mut limits);
        World {
            core: Core::new(limits),
            now,
            begin: now,
            book: SharedBook::default(),
            tokens: 0,
            frosts: VecDeque::new(),
            stops: Vec::new(),
            deliveries: Vec::new(),
            ticks: 0,
            holders: HashMap::new(),
            begun: HashMap::new(),
            taken_back: HashSet::new(),
            ended: HashSet::new(),
            changes: Vec::new(),
            next: 0,
        }
    }

    pub(super) fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + (self.now - self.begin)
    }

    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Lets the core take one step, carries its effects out and looks whether all is well.
    pub(super) fn step<T>(&mut self, step: impl FnOnce(&mut Core, Instant, SystemTime) -> T) -> T {
        let wall = self.wall();
        let result = step(&mut self.core, self.now, wall);
        self.core.let_in(self.now, wall);
        for effect in std::mem::take(&mut self.core.effects) {
            match effect {
                Effect::Deliver { poll, event, sandbox, given, .. } => {
                    if let Some(given) = &given {
                        assert_eq!(given.sandbox, sandbox);
                        assert!(!self.ended.contains(&sandbox), "{sandbox} has ended");
                        let elsewhere = self.begun.insert(event.id, sandbox);
                        assert_eq!(elsewhere, None, "{} has begun already", event.id);
                    }
                    let holder = self.holders.entry(event.id).or_insert((sandbox, 0));
                    if holder.0 != sandbox {
                        assert_eq!(holder.1, 0, "{} has it and {sandbox} gets it", holder.0);
                        *holder = (sandbox, 0);
                    }
                    holder.1 += 1;
                    self.deliveries.push(Delivery { poll, event, sandbox, first: given.is_some() });
                }
                Effect::Reply { reply, outcome, report } => {
                    let begun = self.begun.remove(&report.event.id);
                    if report.started.is_some() {
                        let sandbox = report.sandbox.expect("a sandbox has taken it");
                        let told = begun == Some(sandbox)
                            || self.taken_back.contains(&(report.event.id, sandbox));
                        assert!(told, "{} ends and has not begun", report.event.id);
                    } else {
                        assert_eq!(begun, None, "it was taken by nobody");
                    }
                    reply.reply(outcome, report);
                }
                Effect::HangUp(poll) => poll.hang_up(),
                Effect::TakenBack { sandbox, id } => {
                    // Told already where its first delivery has failed, and the repeated one not.
                    let begun = self.begun.remove(&id);
                    let again = !self.taken_back.insert((id, sandbox));
                    assert!(begun == Some(sandbox) || again, "{id} was not there");
                    let holder = self.holders.remove(&id);
                    assert_eq!(holder, Some((sandbox, 1)), "it had {id}, and once");
                    // So that nobody answers it before it is delivered again.
                    self.book.lock().unwrap().delivered.retain(|&(_, got)| got != id);
                }
                Effect::Ended(ended) => {
                    assert!(self.ended.insert(ended.sandbox), "{} ends twice", ended.sandbox);
                }
                Effect::Changed(change) => self.changes.push(change),
                Effect::Start => self.tokens += 1,
                Effect::Stop(order) => self.stops.push(order),
                Effect::Frost(order) => self.frosts.push_back(order),
            }
        }
        invariants::check(&self.core, self.now);
        assert_eq!(self.book.lock().unwrap().forgotten, [0; 0], "polls that got no answer");
        result
    }

    /// Carries out one delivery; whether it arrived.
    pub(super) fn deliver(&mut self, index: usize) -> bool {
        let Delivery { poll, event, sandbox, first } = self.deliveries.remove(index);
        let arrived = poll.deliver(&event, self.wall());
        if !arrived {
            if first && self.begun.get(&event.id) == Some(&sandbox) {
                self.begun.remove(&event.id);
                self.taken_back.insert((event.id, sandbox));
            }
            if let Some(holder) = self.holders.get_mut(&event.id)
                && holder.0 == sandbox
            {
                holder.1 -= 1;
            }
            self.step(|core, now, wall| core.delivery_failed(sandbox, event.id, now, wall));
        }
        arrived
    }

    pub(super) fn deliver_all(&mut self) {
        while !self.deliveries.is_empty() {
            self.deliver(0);
        }
    }

    pub(super) fn invoke(&mut self, target: &Arc<Target>) -> Uuid {
        let (event, caller) = self.new_invocation(target);
        let id = event.id;
        let event = Arc::new(event);
        self.step(|core, now, wall| core.invoke(target, event, caller, now, wall));
        id
    }

    pub(super) fn new_invocation(&mut self, target: &Arc<Target>) -> (Event, Box<dyn Reply>) {
        let id = Uuid::from_u128(u128::from(self.number()));
        let event = Event {
            id,
            payload: Vec::new().into(),
            invoked_arn: target.arn.clone(),
            trace_id: String::new(),
            client_context: None,
            cognito_identity: None,
            source: Source::Asynchronous,
        };
        (event, Box::new(Caller(id, self.book.clone())))
    }

    /// A new poll, and its number.
    pub(super) fn new_poll(&mut self) -> (Box<dyn Poll>, u64) {
        let number = self.number();
        (Box::new(FakePoll { number, book: self.book.clone(), answered: false }), number)
    }

    /// None when the poll is refused.
    pub(super) fn poll(&mut self, address: IpAddr) -> Option<u64> {
        let (poll, number) = self.new_poll();
        self.poll_with(address, poll).then_some(number)
    }

    /// A poll whose connection is gone before it arrives.
    pub(super) fn dead_poll(&mut self, address: IpAddr) {
        let (poll, number) = self.new_poll();
        self.book.lock().unwrap().gone.insert(number);
        self.poll_with(address, poll);
    }

    fn poll_with(&mut self, address: IpAddr, poll: Box<dyn Poll>) -> bool {
        match self.step(|core, now, wall| core.poll_from(address, poll, now, wall)) {
            Ok(()) => true,
            Err(poll) => {
                poll.refuse();
                false
            }
        }
    }

    pub(super) fn poll_local(&mut self, target: &Arc<Target>, connection: u64) -> u64 {
        let (poll, number) = self.new_poll();
        let step =
            |core: &mut Core, now, wall| core.poll_local(target, connection, poll, now, wall);
        if let Err(poll) = self.step(step) {
            poll.refuse();
        }
        number
    }

    /// The connection of a poll is lost, and noticed unless `unseen`.
    pub(super) fn lose(&mut self, poll: u64, unseen: bool) {
        let watch = {
            let mut book = self.book.lock().unwrap();
            book.gone.insert(poll);
            book.watches.get(&poll).copied()
        };
        if let Some(watch) = watch
            && !unseen
        {
            self.step(|core, now, _| core.poll_gone(watch, now));
        }
    }

    /// The runtime of a poll that was answered resets its connection.
    pub(super) fn reset(&mut self, poll: u64) {
        let watch = self.book.lock().unwrap().watches.get(&poll).copied();
        if let Some(watch) = watch {
            self.step(|core, _, _| core.event_unread(watch));
        }
    }

    pub(super) fn answer(&mut self, runtime: Runtime, id: Uuid) -> Result<(), AnswerError> {
        let outcome = Outcome::Response(b"{}".to_vec().into());
        self.step(|core, now, wall| core.answer(runtime, id, outcome, now, wall))
    }

    pub(super) fn created(&mut self, sandbox: SandboxId) -> Option<(Arc<str>, IpAddr)> {
        let number = self.number();
        let container: Arc<str> = format!("c{number}").into();
        let address = IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap()));
        let name = container.clone();
        self.step(|core, now, _| core.created(sandbox, container.clone(), name, Some(address), now))
            .then_some((container, address))
    }

    /// Sandboxes that no launcher has begun with.
    pub(super) fn ordered(&self) -> usize {
        self.core.pools.values().map(|pool| pool.ordered.len()).sum()
    }

    /// A launcher asks what to start, and begins with it.
    pub(super) fn begin(&mut self) -> Option<SandboxId> {
        self.step(|core, now, _| core.next_start(now)).map(|order| order.sandbox)
    }

    /// The Engine carries out the next start: a container whose runtime has not polled yet.
    pub(super) fn launch(&mut self) -> (SandboxId, Arc<str>, IpAddr) {
        let sandbox = self.begin().expect("a start is ordered and needed");
        let (container, address) = self.created(sandbox).expect("it is wanted");
        self.step(|core, now, wall| core.started(sandbox, now, wall));
        (sandbox, container, address)
    }

    /// Time passes; the timekeeper wakes when it was asked to.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(wake) = self.core.wake.filter(|&wake| wake <= until) {
            self.now = self.now.max(wake);
            self.tick();
        }
        self.now = until;
    }

    pub(super) fn tick(&mut self) {
        self.ticks += 1;
        self.step(|core, now, _| core.tick(now));
        let asleep = self.core.wake.is_none_or(|wake| wake > self.now);
        assert!(asleep, "the timekeeper would run without a rest");
    }

    /// The one outcome of an invocation, as text; empty while there is none.
    pub(super) fn outcome(&self, id: Uuid) -> String {
        match self.book.lock().unwrap().outcomes.get(&id).map(Vec::as_slice) {
            None => String::new(),
            Some([(outcome, _)]) => format!("{outcome:?}"),
            Some(many) => panic!("{} outcomes", many.len()),
        }
    }

    /// The events that this poll has got.
    pub(super) fn got(&self, poll: u64) -> Vec<Uuid> {
        let book = self.book.lock().unwrap();
        book.delivered.iter().filter(|(to, _)| *to == poll).map(|(_, event)| *event).collect()
    }
}

/// A function of the registry in this revision; its timeout is 3 s.
pub(super) fn target(name: &str, revision: u64) -> Arc<Target> {
    let function = Function { content_id: revision.to_string(), ..sample(name) };
    Arc::new(Target { function: Some(Arc::new(function)), ..bare(name) })
}

/// A function that only its runtimes know.
pub(super) fn runtimes_of(name: &str) -> Arc<Target> {
    Arc::new(bare(name))
}

fn bare(name: &str) -> Target {
    Target {
        key: name.to_owned(),
        name: name.to_owned(),
        version: "$LATEST".to_owned(),
        arn: format!("arn:{name}"),
        timeout: Duration::from_secs(3),
        memory_mb: 128,
        function: None,
    }
}
