//! Dispatch: invocations meet sandboxes.
//!
//! [`core`] is the state, behind one short lock; each call here takes the lock, lets the core
//! decide, releases it and carries out what was decided, on the calling thread. So a warm
//! invocation is carried by the two threads that read its two requests, with no hand-off.
//! Dispatch knows neither HTTP routes nor Docker: who waits is a [`Reply`] or a [`Poll`], and
//! sandboxes are made by a [`Host`].

mod core;
mod deadlines;
mod freezing;
mod growth;
#[cfg(test)]
mod invariants;
mod invocation;
mod journal;
mod lifecycle;
mod matching;
mod patience;
mod shares;
#[cfg(test)]
mod simulation;
mod snapshot;
#[cfg(test)]
mod tests;
mod timekeeper;
#[cfg(test)]
mod world;

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use uuid::Uuid;

use self::core::{Core, Effect};
pub use self::core::{FrostOrder, Limits, SandboxId, StopOrder};
pub use self::growth::{Kind, StartOrder};
pub use self::invocation::{Event, Exit, Failure, Outcome, Poll, Refusal, Reply, Report, Target};
pub use self::journal::{Change, Ended, Given, InitFailure, Journal, SandboxChange, Witness};
pub use self::matching::AnswerError;
use self::matching::Runtime;
pub use self::snapshot::{PoolView, ProvisionView, SandboxView, Snapshot};
use self::timekeeper::Timekeeper;
use crate::http::{Body, WatchId};
use crate::observe::metrics::Metrics;
use crate::sandbox::frost::Ask;
use crate::sandbox::state::EndReason;

/// Makes and removes sandboxes. No call may block: each only puts the order down.
pub trait Host: Send + Sync {
    /// One more sandbox is to be started: [`Dispatcher::next_start`] says which.
    fn start(&self);
    fn stop(&self, order: StopOrder);
    fn frost(&self, order: FrostOrder);
}

/// Who asks for an event.
#[derive(Debug, Clone, Copy)]
pub enum Caller<'a> {
    /// A container, by its address.
    Container(IpAddr),
    /// A process of this host, as a runtime of `target`, on the connection of this number.
    Local { target: &'a Arc<Target>, connection: u64 },
}

/// Who answers an invocation.
#[derive(Debug, Clone, Copy)]
pub enum Answerer {
    Container(IpAddr),
    Local,
}

/// The dispatcher. See the module's text.
pub struct Dispatcher {
    core: Mutex<Core>,
    host: OnceLock<Arc<dyn Host>>,
    journal: OnceLock<Arc<dyn Journal>>,
    witness: OnceLock<Arc<dyn Witness>>,
    timekeeper: Timekeeper,
    metrics: Arc<Metrics>,
}

impl Dispatcher {
    pub fn new(limits: Limits, metrics: Arc<Metrics>) -> std::io::Result<Arc<Dispatcher>> {
        let dispatcher = Arc::new(Dispatcher {
            core: Mutex::new(Core::new(limits)),
            host: OnceLock::new(),
            journal: OnceLock::new(),
            witness: OnceLock::new(),
            timekeeper: Timekeeper::new(),
            metrics,
        });
        let weak: Weak<Dispatcher> = Arc::downgrade(&dispatcher);
        dispatcher.timekeeper.start(move || match weak.upgrade() {
            Some(dispatcher) => {
                dispatcher.run(|core, now| core.tick(now));
                true
            }
            None => false,
        })?;
        Ok(dispatcher)
    }

    /// Names who makes sandboxes. Until then none is made.
    pub fn set_host(&self, host: Arc<dyn Host>) {
        if self.host.set(host).is_err() {
            log::error!("a second host of sandboxes was named; the first one stays");
        }
    }

    /// Names who writes down what happens. Until then nobody does.
    pub fn set_journal(&self, journal: Arc<dyn Journal>) {
        if self.journal.set(journal).is_err() {
            log::error!("a second journal was named; the first one stays");
        }
    }

    /// Names who accounts for what happens. Until then nobody does.
    pub fn set_witness(&self, witness: Arc<dyn Witness>) {
        if self.witness.set(witness).is_err() {
            log::error!("a second witness was named; the first one stays");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        // The core's own code does not panic half-way through a change that others rely on.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the core decide, then does what it decided.
    fn run<T>(&self, decide: impl FnOnce(&mut Core, Instant) -> T) -> T {
        let (result, effects) = self.decide(decide);
        self.carry_out(effects);
        result
    }

    fn decide<T>(&self, decide: impl FnOnce(&mut Core, Instant) -> T) -> (T, Vec<Effect>) {
        let mut core = self.lock();
        let now = Instant::now();
        let result = decide(&mut core, now);
        if core.patient > 0 {
            core.let_in(now, SystemTime::now());
        }
        let effects = std::mem::take(&mut core.effects);
        let wake = core.wake;
        drop(core);
        self.timekeeper.arm(wake);
        (result, effects)
    }

    fn carry_out(&self, effects: Vec<Effect>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Deliver { poll, event, deadline, sandbox, given } => {
                    let journal = self.journal.get().filter(|_| given.is_some());
                    if let (Some(journal), Some(given)) = (journal, given) {
                        journal.given(&event, given);
                    }
                    if !poll.deliver(&event, deadline) {
                        if let Some(journal) = journal {
                            journal.taken_back(sandbox, event.id);
                        }
                        log::debug!("{}: the runtime was gone, another one gets it", event.id);
                        // Not by calling this again: a thousand runtimes may be gone in a row.
                        let ((), more) = self.decide(|core, now| {
                            core.delivery_failed(sandbox, event.id, now, SystemTime::now());
                        });
                        effects.extend(more);
                    }
                }
                Effect::Reply { reply, outcome, report } => {
                    self.metrics.invocation_ended(&outcome, &report);
                    if let Some(journal) = self.journal.get() {
                        journal.concluded(&outcome, &report);
                    }
                    if let Some(witness) = self.witness.get() {
                        witness.concluded(&outcome, &report);
                    }
                    reply.reply(outcome, report);
                }
                Effect::HangUp(poll) => poll.hang_up(),
                Effect::TakenBack { sandbox, id } => {
                    if let Some(journal) = self.journal.get() {
                        journal.taken_back(sandbox, id);
                    }
                    log::info!("{id}: its runtime has ended unheard, another one gets it");
                }
                Effect::Start => {
                    if let Some(host) = self.host.get() {
                        host.start();
                    }
                }
                Effect::Frost(order) => {
                    if let Some(host) = self.host.get() {
                        host.frost(order);
                    }
                }
                Effect::Ended(ended) => {
                    if let Some(journal) = self.journal.get() {
                        journal.ended(ended);
                    }
                }
                Effect::Changed(change) => {
                    if let Some(witness) = self.witness.get() {
                        witness.changed(&change);
                    }
                }
                Effect::Stop(order) => {
                    self.metrics.sandbox_ended(order.reason);
                    if let Some(host) = self.host.get() {
                        host.stop(order);
                    }
                }
            }
        }
    }

    /// Accepts an invocation; its outcome goes to `reply`, exactly once.
    pub fn invoke(&self, target: &Arc<Target>, event: Event, reply: Box<dyn Reply>) {
        let event = Arc::new(event);
        self.run(|core, now| core.invoke(target, event, reply, now, SystemTime::now()));
    }

    /// A runtime asks for an event: its poll is parked, or gets one at once. It comes back when
    /// nobody knows that caller, or its sandbox takes no more polls.
    pub fn poll(&self, caller: Caller<'_>, poll: Box<dyn Poll>) -> Result<(), Box<dyn Poll>> {
        self.run(|core, now| {
            let wall = SystemTime::now();
            match caller {
                Caller::Container(address) => core.poll_from(address, poll, now, wall),
                Caller::Local { target, connection } => {
                    core.poll_local(target, connection, poll, now, wall)
                }
            }
        })
    }

    /// A runtime answers. The caller has its answer when this returns.
    pub fn answer(
        &self,
        answerer: Answerer,
        request: Uuid,
        outcome: Outcome,
    ) -> Result<(), AnswerError> {
        self.run(|core, now| core.answer(answerer.into(), request, outcome, now, SystemTime::now()))
    }

    /// Whether an answer to this invocation would be taken from this caller now.
    pub fn may_answer(&self, answerer: Answerer, request: Uuid) -> Result<(), AnswerError> {
        self.lock().running(answerer.into(), request).map(drop)
    }

    /// The body of an answer begins to arrive. What is returned tells of its end when dropped.
    pub fn answer_begins(
        self: &Arc<Self>,
        answerer: Answerer,
        request: Uuid,
    ) -> Option<PendingAnswer> {
        let begun = self.run(|core, _| core.answer_begins(answerer.into(), request));
        begun.then(|| PendingAnswer { dispatcher: self.clone(), answerer, request })
    }

    /// The runtime at this address could not initialize.
    pub fn init_error(&self, address: IpAddr, error: Body) -> Result<(), AnswerError> {
        self.run(|core, now| core.init_error(address, error, now))
    }

    /// A process of this host could not initialize as a runtime of this function.
    pub fn local_init_error(&self, key: &str, error: Body) -> Result<(), AnswerError> {
        self.run(|core, _| core.local_init_error(key, error))
    }

    /// The connection of an answered poll was reset before its runtime had read all of the event.
    pub fn event_unread(&self, watch: WatchId) {
        self.run(|core, _| core.event_unread(watch));
    }

    /// The connection of a parked poll is gone.
    pub fn poll_gone(&self, watch: WatchId) {
        self.run(|core, now| core.poll_gone(watch, now));
    }

    /// Whether the timekeeper has, since this was last asked, had the lock and done what was due;
    /// asks it to, for the next time. Who hangs with the lock makes this false, and so does a
    /// timekeeper that has ended.
    pub fn beat(&self) -> bool {
        self.timekeeper.beat()
    }

    /// Whether the sandbox at this address has not asked for an event yet.
    pub fn is_initializing(&self, address: IpAddr) -> bool {
        self.lock().is_initializing(address)
    }

    pub fn is_sandbox(&self, address: IpAddr) -> bool {
        self.lock().by_address.contains_key(&address)
    }

    /// Whether a runtime that nobody here started serves (or lately served) this name.
    pub fn has_runtimes(&self, key: &str) -> bool {
        let core = self.lock();
        let pool = core.pool_of.get(key).and_then(|id| core.pools.get(id));
        pool.is_some_and(|pool| pool.target.function.is_none() && !pool.retired)
    }

    /// The sandbox that a launcher with time starts next, if any is to be started now.
    pub fn next_start(&self) -> Option<StartOrder> {
        self.run(|core, now| core.next_start(now))
    }

    pub fn created(
        &self,
        sandbox: SandboxId,
        container: Arc<str>,
        name: Arc<str>,
        address: Option<IpAddr>,
    ) -> bool {
        self.run(|core, now| core.created(sandbox, container, name, address, now))
    }

    pub fn started(&self, sandbox: SandboxId) -> bool {
        self.metrics.sandbox_started();
        if let Some(journal) = self.journal.get() {
            journal.started(sandbox);
        }
        self.run(|core, now| core.started(sandbox, now, SystemTime::now()))
    }

    /// The sandbox whose container this is has this address.
    pub fn locate(&self, sandbox: SandboxId, address: IpAddr) {
        self.run(|core, _| core.locate(sandbox, address));
    }

    /// `why` is what the invocation that waited for it is told.
    pub fn start_failed(&self, sandbox: SandboxId, why: Refusal) {
        if self.run(|core, now| core.start_failed(sandbox, why, now)) {
            self.metrics.sandbox_ended(EndReason::EngineFailed);
        }
    }

    pub fn removed(&self, sandbox: SandboxId) {
        self.run(|core, now| core.removed(sandbox, now));
    }

    /// A container that somebody else has started is a sandbox from now on; which one. None when it
    /// was one already.
    pub fn adopt(
        &self,
        target: &Arc<Target>,
        container: Arc<str>,
        name: Arc<str>,
        address: IpAddr,
    ) -> Option<SandboxId> {
        self.run(|core, now| core.adopt(target, container, name, address, now, SystemTime::now()))
    }

    pub fn out_of_memory(&self, container: &str) {
        self.run(|core, _| core.out_of_memory(container));
    }

    pub fn died(&self, container: &str, code: i32) {
        self.run(|core, now| core.died(container, code, now, SystemTime::now()));
    }

    /// The containers that this service knows, with whether it made them.
    pub fn containers(&self) -> Vec<(Arc<str>, bool)> {
        self.lock().containers()
    }

    /// Whether containers that the service made are still there.
    pub fn has_containers(&self) -> bool {
        self.lock().sandboxes.values().any(|sandbox| sandbox.origin == core::Origin::Managed)
    }

    /// Whether the function has sandboxes, those included that are being made.
    pub fn has_sandboxes(&self, key: &str) -> bool {
        let core = self.lock();
        let pool = core.pool_of.get(key).and_then(|id| core.pools.get(id));
        pool.is_some_and(|pool| pool.sandboxes() > 0)
    }

    /// The files that the function's sandboxes run have changed, and the function has not.
    pub fn reload(&self, key: &str) {
        self.run(|core, now| core.reload(key, now));
    }

    /// The function is deleted.
    pub fn retire(&self, key: &str) {
        self.run(|core, now| core.retire(key, now));
    }

    /// Keeps this much of the concurrency for one function, over all its versions, and lets it use
    /// no more. `function` is the key of its pools without the version: `region/name`.
    pub fn set_reserved(&self, function: &str, reserved: Option<u32>) {
        let reserved = reserved.map(|reserved| usize::try_from(reserved).unwrap_or(usize::MAX));
        self.run(|core, now| core.set_reserved(function, reserved, now));
    }

    /// Keeps so many sandboxes of a version ready, and its part of the concurrency for it.
    pub fn provision(&self, target: &Arc<Target>, promised: u32) {
        let promised = usize::try_from(promised).unwrap_or(usize::MAX);
        self.run(|core, now| core.provision(target, promised, now));
    }

    /// What there is of a version's provisioned concurrency. None for one that nobody asked for.
    pub fn provisioned(&self, key: &str) -> Option<ProvisionView> {
        self.lock().provisioned(key)
    }

    /// The host is short of memory: ends the idle sandbox that was used longest ago. False when
    /// there is none that may go.
    pub fn relieve(&self) -> bool {
        self.run(|core, now| core.relieve(now))
    }

    /// The Engine has paused or unpaused a container, or could not.
    pub fn frost_done(&self, sandbox: SandboxId, ask: Ask, done: bool) {
        self.run(|core, now| core.frost_done(sandbox, ask, done, now));
    }

    /// How many invocations there may be at one time.
    pub fn limit(&self) -> u32 {
        u32::try_from(self.lock().limits.max_concurrent_executions).unwrap_or(u32::MAX)
    }

    /// Takes no more invocations; those under way go on.
    pub fn drain(&self) {
        self.run(|core, _| core.drain());
    }

    /// Invocations without an outcome.
    pub fn active(&self) -> usize {
        self.lock().active
    }

    /// Ends everything that is left.
    pub fn end_all(&self) {
        self.run(|core, now| core.end_all(now));
    }

    /// Invocations that a sandbox has had for so long and that have no outcome, each told once.
    pub fn long_running(&self, least: Duration) -> Vec<Report> {
        self.lock().long_running(least, Instant::now())
    }

    pub fn snapshot(&self) -> Snapshot {
        self.lock().snapshot(Instant::now())
    }
}

impl From<Answerer> for Runtime {
    fn from(answerer: Answerer) -> Runtime {
        match answerer {
            Answerer::Container(address) => Runtime::At(address),
            Answerer::Local => Runtime::Local,
        }
    }
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").finish_non_exhaustive()
    }
}

/// An answer whose body is arriving. Dropped when the body has ended, whole or not.
pub struct PendingAnswer {
    dispatcher: Arc<Dispatcher>,
    answerer: Answerer,
    request: Uuid,
}

impl Drop for PendingAnswer {
    fn drop(&mut self) {
        self.dispatcher.run(|core, now| {
            core.answer_broken(self.answerer.into(), self.request, now, SystemTime::now());
        });
    }
}

impl fmt::Debug for PendingAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingAnswer").field("request", &self.request).finish_non_exhaustive()
    }
}
