//! The state of dispatch: pools, sandboxes, and who waits for whom. Pure: time comes in as an
//! argument, and what has to be done outside goes out as [`Effect`]s, in order.
//!
//! This file is the bookkeeping; `matching` is the way of an invocation, `lifecycle` that of a
//! sandbox, `growth` how many there are, `patience` who waits for room, `freezing` who rests,
//! `deadlines` what time does. Invariants: a sandbox's state changes only in
//! [`Core::step`]; an invocation is in exactly one place (a pool's queue or a sandbox's `running`)
//! until its one reply; `active` counts the invocations without an outcome.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use uuid::Uuid;

use super::growth::{Kind, Launch, Provision};
use super::invocation::{
    Event, Invocation, Outcome, Patient, Poll, Reply, Report, Running, Target,
};
use super::journal::{Change, Ended, Given, SandboxChange};
use super::shares::{self, ClaimId, Shares};
use crate::http::WatchId;
use crate::sandbox::frost::{Ask, Frost};
use crate::sandbox::state::{EndReason, State, Step};

pub type SandboxId = u64;
pub(super) type PoolId = u64;

/// A watch is its sandbox's id and, in these bits, the number of the poll: a late "gone" of an
/// earlier poll must not hit the present one.
const WATCH_BITS: u32 = 20;

/// What bounds dispatch.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Invocations under way, and sandboxes of the service's own, at one time.
    pub max_concurrent_executions: usize,
    /// Memory of all sandboxes of the service's own until they are removed.
    pub max_total_memory_mb: u64,
    /// Sandboxes that are started at the same time.
    pub max_parallel_starts: usize,
    /// How long an invocation waits for room; zero refuses it at once.
    pub max_queue_wait: Duration,
    /// From the start of a container to its runtime's first `/next`.
    pub init_timeout: Duration,
    /// How long a sandbox is kept that nobody needs.
    pub idle_timeout: Duration,
    /// How long a sandbox is idle before it is frozen; `None` for never.
    pub freeze_after: Option<Duration>,
}

/// Something to be done once the lock is released.
pub(super) enum Effect {
    Deliver {
        poll: Box<dyn Poll>,
        event: Arc<Event>,
        deadline: SystemTime,
        sandbox: SandboxId,
        /// For the journal; none when the runtime is given the same event again.
        given: Option<Given>,
    },
    Reply {
        reply: Box<dyn Reply>,
        outcome: Outcome,
        report: Report,
    },
    HangUp(Box<dyn Poll>),
    /// An invocation leaves a sandbox that was given it, for another one.
    TakenBack {
        sandbox: SandboxId,
        id: Uuid,
    },
    /// One more sandbox is to be started; which one is asked for with [`Core::next_start`].
    Start,
    Ended(Ended),
    /// For the witness.
    Changed(SandboxChange),
    Stop(StopOrder),
    Frost(FrostOrder),
}

/// A container to pause or unpause.
#[derive(Debug)]
pub struct FrostOrder {
    pub sandbox: SandboxId,
    pub container: Arc<str>,
    pub ask: Ask,
}

/// A container to remove.
#[derive(Debug)]
pub struct StopOrder {
    pub sandbox: SandboxId,
    pub container: Arc<str>,
    pub reason: EndReason,
}

/// Where a sandbox comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The service made its container.
    Managed,
    /// Somebody else made its container.
    Adopted,
    /// A process of this host, on this connection; it lives for one event.
    Local(u64),
}

pub(super) struct Sandbox {
    pub(super) pool: PoolId,
    pub(super) origin: Origin,
    pub(super) target: Arc<Target>,
    pub(super) state: State,
    pub(super) kind: Kind,
    /// A launcher is at it: from [`Core::next_start`] until that has ended.
    pub(super) launching: Option<Launch>,
    /// How long it may initialize.
    pub(super) init_limit: Duration,
    pub(super) frost: Frost,
    /// When its frost last changed or could not.
    pub(super) restless: Instant,
    /// When it came into this state.
    pub(super) since: Instant,
    pub(super) started: Instant,
    pub(super) name: Arc<str>,
    pub(super) container: Option<Arc<str>>,
    pub(super) address: Option<IpAddr>,
    pub(super) parked: Option<Box<dyn Poll>>,
    pub(super) polls: u64,
    pub(super) running: Option<Running>,
    pub(super) last_id: Option<Uuid>,
    /// When a Finishing sandbox is given up.
    pub(super) expires: Instant,
    /// How long it initialized, until its first invocation has told of it.
    pub(super) init: Option<Duration>,
    pub(super) out_of_memory: bool,
    /// The exit code of a process that ended before the Engine had said that it began.
    pub(super) died_early: Option<i32>,
    pub(super) served: u64,
    /// The pool's number of reloads when its container was ordered of the Engine.
    pub(super) reload: u64,
}

impl Sandbox {
    /// What the witness is told of a change. A process of this host has no life of its own.
    pub(super) fn changed(&self, change: Change) -> Option<Effect> {
        (!matches!(self.origin, Origin::Local(_))).then(|| {
            Effect::Changed(SandboxChange {
                change,
                target: self.target.clone(),
                container: self.container.clone(),
                name: self.name.clone(),
                address: self.address,
            })
        })
    }
}

pub(super) struct Pool {
    pub(super) target: Arc<Target>,
    /// What it may have of the concurrency.
    pub(super) claim: ClaimId,
    pub(super) waiting: VecDeque<Invocation>,
    /// Those that are not accepted yet, the oldest first.
    pub(super) patient: VecDeque<Patient>,
    /// Sandboxes that no launcher has begun with, the oldest first.
    pub(super) ordered: VecDeque<SandboxId>,
    /// Sandboxes that a launcher is at.
    pub(super) launching: usize,
    pub(super) provision: Provision,
    /// The most recently used last.
    pub(super) idle: Vec<SandboxId>,
    pub(super) initializing: usize,
    pub(super) finishing: usize,
    pub(super) busy: usize,
    pub(super) stopping: usize,
    /// The function is gone; the pool ends with its last sandbox.
    pub(super) retired: bool,
    /// How often the files that its sandboxes run have changed under the same revision.
    pub(super) reload: u64,
    /// When they did so last; the pool's beginning if never.
    pub(super) reloaded: Instant,
    /// When a runtime that nobody here started was last heard of.
    pub(super) heard: Instant,
}

impl Pool {
    /// Whether a sandbox runs what the pool's function is now.
    pub(super) fn is_current(&self, sandbox: &Sandbox) -> bool {
        sandbox.target.same_revision(&self.target) && sandbox.reload == self.reload
    }

    fn count(&mut self, state: State) -> Option<&mut usize> {
        match state {
            State::Creating | State::Starting => Some(&mut self.initializing),
            State::Finishing => Some(&mut self.finishing),
            State::Busy => Some(&mut self.busy),
            State::Stopping(_) => Some(&mut self.stopping),
            State::Idle => None,
        }
    }

    /// From the end, where the one most recently used is: the one that is taken.
    fn not_idle(&mut self, id: SandboxId) {
        if let Some(at) = self.idle.iter().rposition(|&idle| idle == id) {
            self.idle.remove(at);
        }
    }

    pub(super) fn sandboxes(&self) -> usize {
        self.idle.len() + self.initializing + self.finishing + self.busy + self.stopping
    }
}

pub(super) struct Core {
    pub(super) limits: Limits,
    pub(super) shares: Shares,
    pub(super) pools: HashMap<PoolId, Pool>,
    pub(super) pool_of: HashMap<String, PoolId>,
    pub(super) sandboxes: HashMap<SandboxId, Sandbox>,
    pub(super) by_address: HashMap<IpAddr, SandboxId>,
    pub(super) by_container: HashMap<Arc<str>, SandboxId>,
    pub(super) local_by_connection: HashMap<u64, SandboxId>,
    pub(super) local_running: HashMap<Uuid, SandboxId>,
    /// The last invocation that a local runtime of the pool has answered, until the next is given:
    /// it tells "twice" from "unknown".
    pub(super) local_done: HashMap<PoolId, Uuid>,
    /// Invocations without an outcome.
    pub(super) active: usize,
    /// Of those, the ones that no sandbox has taken.
    pub(super) waiting: usize,
    /// Invocations that are not accepted yet.
    pub(super) patient: usize,
    /// The service's own sandboxes that are not stopping.
    pub(super) live: usize,
    /// Memory of the service's own sandboxes, and of those among them that are stopping.
    pub(super) memory_mb: u64,
    pub(super) leaving_mb: u64,
    /// Launches of functions that had a sandbox, or a launch of one, already.
    pub(super) further_launches: usize,
    /// A pool could not grow for want of room.
    pub(super) hungry: bool,
    pub(super) draining: bool,
    pub(super) effects: Vec<Effect>,
    /// The earliest moment at which `tick` has something to do.
    pub(super) wake: Option<Instant>,
    next_id: u64,
}

impl Core {
    pub(super) fn new(limits: Limits) -> Core {
        Core {
            shares: Shares::new(limits.max_concurrent_executions),
            limits,
            pools: HashMap::new(),
            pool_of: HashMap::new(),
            sandboxes: HashMap::new(),
            by_address: HashMap::new(),
            by_container: HashMap::new(),
            local_by_connection: HashMap::new(),
            local_running: HashMap::new(),
            local_done: HashMap::new(),
            active: 0,
            waiting: 0,
            patient: 0,
            live: 0,
            memory_mb: 0,
            leaving_mb: 0,
            further_launches: 0,
            hungry: false,
            draining: false,
            effects: Vec::new(),
            wake: None,
            next_id: 1,
        }
    }

    pub(super) fn new_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Asks for a `tick` at `at` or before.
    pub(super) fn wake_by(&mut self, at: Instant) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// The pool of `target`, made if it is the first time.
    ///
    /// A target of another revision replaces the pool's: its idle sandboxes end, its busy ones
    /// when they are done.
    pub(super) fn pool_for(&mut self, target: &Arc<Target>, now: Instant) -> PoolId {
        if let Some(&id) = self.pool_of.get(&target.key) {
            if let Some(pool) = self.pools.get_mut(&id)
                && match target.function {
                    Some(_) => !Arc::ptr_eq(&pool.target, target),
                    // Runtimes serve whatever the registry says; the name of a deleted function
                    // is theirs alone from here on.
                    None => pool.retired,
                }
            {
                let outdated = !pool.target.same_revision(target);
                pool.target = target.clone();
                pool.retired = false;
                if outdated {
                    self.end_idle(id, EndReason::FunctionChanged, now);
                }
                self.heard(id, now);
            }
            return id;
        }
        let id = self.new_id();
        let pool = Pool {
            target: target.clone(),
            claim: self.shares.join(shares::function_of(&target.key)),
            waiting: VecDeque::new(),
            patient: VecDeque::new(),
            ordered: VecDeque::new(),
            launching: 0,
            provision: Provision::default(),
            idle: Vec::new(),
            initializing: 0,
            finishing: 0,
            busy: 0,
            stopping: 0,
            retired: false,
            reload: 0,
            reloaded: now,
            heard: now,
        };
        self.pools.insert(id, pool);
        self.pool_of.insert(target.key.clone(), id);
        self.heard(id, now);
        id
    }

    /// Adds a sandbox in its first state.
    pub(super) fn add_sandbox(
        &mut self,
        pool: PoolId,
        origin: Origin,
        name: Option<Arc<str>>,
        now: Instant,
    ) -> Option<SandboxId> {
        let id = self.new_id();
        let of = self.pools.get_mut(&pool)?;
        of.initializing += 1;
        let (target, reload) = (of.target.clone(), of.reload);
        if origin == Origin::Managed {
            self.live += 1;
            self.memory_mb += u64::from(target.memory_mb);
            self.shares.sandbox_made(of.claim);
        }
        let sandbox = Sandbox {
            pool,
            origin,
            target,
            reload,
            state: State::Creating,
            kind: Kind::OnDemand,
            launching: None,
            init_limit: self.limits.init_timeout,
            frost: Frost::Warm,
            restless: now,
            since: now,
            started: now,
            name: name.unwrap_or_else(|| Arc::from("")),
            container: None,
            address: None,
            parked: None,
            polls: 0,
            running: None,
            last_id: None,
            expires: now,
            init: None,
            out_of_memory: false,
            died_early: None,
            served: 0,
        };
        self.sandboxes.insert(id, sandbox);
        Some(id)
    }

    /// The one place where a sandbox changes its state. False when the step cannot be.
    pub(super) fn step(&mut self, id: SandboxId, step: Step, now: Instant) -> bool {
        let Some(sandbox) = self.sandboxes.get_mut(&id) else { return false };
        let before = sandbox.state;
        let Some(after) = before.next(step) else { return false };
        if before == after {
            return true;
        }
        sandbox.state = after;
        sandbox.since = now;
        let change = match after {
            State::Idle if before.is_initializing() => Some(Change::Initialized),
            State::Stopping(reason) => Some(Change::Ended(reason)),
            _ => None,
        };
        self.effects.extend(change.and_then(|change| sandbox.changed(change)));
        log::debug!(
            "sandbox {id} of {}: {} -> {}",
            sandbox.target.key,
            before.name(),
            after.name()
        );
        if let Some(pool) = self.pools.get_mut(&sandbox.pool) {
            if matches!(after, State::Stopping(_)) && sandbox.origin == Origin::Managed {
                self.live -= 1;
                self.leaving_mb += u64::from(sandbox.target.memory_mb);
                self.shares.sandbox_ended(pool.claim);
                self.hungry |= self.shares.owed(pool.claim) > 0;
            }
            match pool.count(before) {
                Some(count) => *count -= 1,
                None => pool.not_idle(id),
            }
            match pool.count(after) {
                Some(count) => *count += 1,
                None => pool.idle.push(id),
            }
        }
        true
    }

    /// Parks a poll and returns the watch that names it.
    pub(super) fn park(&mut self, id: SandboxId, poll: Box<dyn Poll>) {
        if let Some(sandbox) = self.sandboxes.get_mut(&id)
            && let Some(earlier) = sandbox.parked.replace(poll)
        {
            self.effects.push(Effect::HangUp(earlier));
        }
    }

    /// Numbers a poll of this sandbox; see [`WATCH_BITS`].
    pub(super) fn next_watch(&mut self, id: SandboxId) -> WatchId {
        let Some(sandbox) = self.sandboxes.get_mut(&id) else { return 0 };
        sandbox.polls = (sandbox.polls + 1) & ((1 << WATCH_BITS) - 1);
        id << WATCH_BITS | sandbox.polls
    }

    /// The sandbox whose last poll `watch` names.
    pub(super) fn watched(&self, watch: WatchId) -> Option<SandboxId> {
        let id = watch >> WATCH_BITS;
        let polls = watch & ((1 << WATCH_BITS) - 1);
        self.sandboxes.get(&id).filter(|sandbox| sandbox.polls == polls)?;
        Some(id)
    }

    /// Forgets a sandbox, and its pool if that was the last of a function that is gone.
    pub(super) fn forget(&mut self, id: SandboxId, now: Instant) {
        self.launch_ended(id);
        let Some(sandbox) = self.sandboxes.remove(&id) else { return };
        self.effects.extend(sandbox.changed(Change::Removed));
        if let Some(address) = sandbox.address
            && self.by_address.get(&address) == Some(&id)
        {
            self.by_address.remove(&address);
        }
        if let Some(container) = &sandbox.container {
            self.by_container.remove(container);
        }
        if let Origin::Local(connection) = sandbox.origin
            && self.local_by_connection.get(&connection) == Some(&id)
        {
            self.local_by_connection.remove(&connection);
        }
        if let Some(pool) = self.pools.get_mut(&sandbox.pool) {
            pool.ordered.retain(|&ordered| ordered != id);
            if sandbox.origin == Origin::Managed {
                let memory_mb = u64::from(sandbox.target.memory_mb);
                self.memory_mb -= memory_mb;
                if matches!(sandbox.state, State::Stopping(_)) {
                    self.leaving_mb -= memory_mb;
                } else {
                    self.live -= 1;
                    self.shares.sandbox_ended(pool.claim);
                    self.hungry |= self.shares.owed(pool.claim) > 0;
                }
            }
            match pool.count(sandbox.state) {
                Some(count) => *count -= 1,
                None => pool.not_idle(id),
            }
            self.heard(sandbox.pool, now);
            self.drop_if_empty(sandbox.pool);
        }
    }

    /// A pool whose runtimes come by themselves is remembered, and waited for, from now on.
    fn heard(&mut self, pool: PoolId, now: Instant) {
        if let Some(pool) = self.pools.get_mut(&pool) {
            pool.heard = now;
            self.wake_by(now + self.limits.init_timeout);
        }
    }

    /// Drops a retired pool that has nothing left.
    pub(super) fn drop_if_empty(&mut self, id: PoolId) {
        let empty = self
            .pools
            .get(&id)
            .is_some_and(|pool| pool.retired && pool.waiting.is_empty() && pool.sandboxes() == 0);
        if empty && let Some(pool) = self.pools.remove(&id) {
            self.shares.leave(pool.claim);
            self.pool_of.remove(&pool.target.key);
            self.local_done.remove(&id);
        }
    }

    /// Gives an invocation its one outcome before any sandbox has taken it.
    pub(super) fn refuse(&mut self, invocation: Invocation, outcome: Outcome) {
        self.active -= 1;
        self.shares.give_back(invocation.claim);
        let report = Report::untaken(invocation.event);
        self.effects.push(Effect::Reply { reply: invocation.reply, outcome, report });
    }

    /// The same for one that waited for this sandbox to initialize: the sandbox's log tells why.
    pub(super) fn refuse_with(
        &mut self,
        id: SandboxId,
        waited: Duration,
        invocation: Invocation,
        outcome: Outcome,
    ) {
        self.refuse(invocation, outcome);
        if let Some(Effect::Reply { report, .. }) = self.effects.last_mut() {
            (report.sandbox, report.duration) = (Some(id), waited);
        }
    }

    /// Takes the oldest waiting invocation of a pool.
    pub(super) fn pop_waiting(&mut self, pool: PoolId) -> Option<Invocation> {
        let invocation = self.pools.get_mut(&pool)?.waiting.pop_front()?;
        self.waiting -= 1;
        Some(invocation)
    }

    /// Gives the invocation that a sandbox has taken its one outcome, if it has none yet.
    pub(super) fn conclude(&mut self, id: SandboxId, outcome: Outcome, now: Instant) {
        let Some(sandbox) = self.sandboxes.get_mut(&id) else { return };
        let Some(mut running) = sandbox.running.take() else { return };
        sandbox.last_id = Some(running.event.id);
        if matches!(sandbox.origin, Origin::Local(_)) {
            self.local_running.remove(&running.event.id);
            self.local_done.insert(sandbox.pool, running.event.id);
        }
        if let Some(reply) = running.reply.take() {
            self.active -= 1;
            self.shares.give_back(running.claim);
            let report = Report {
                event: running.event,
                duration: now.saturating_duration_since(running.given),
                started: Some(running.given_at),
                init: running.init,
                sandbox: Some(id),
                target: Some(sandbox.target.clone()),
                container: Some(sandbox.name.clone()),
            };
            self.effects.push(Effect::Reply { reply, outcome, report });
        }
    }
}
