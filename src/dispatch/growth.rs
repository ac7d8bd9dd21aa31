//! How many sandboxes there are: asked for, bounded, evicted for others, started in a fair order.
//!
//! A pool grows when those to come do not cover who waits, or when it was promised more
//! (provisioned concurrency). What bounds it: the number for the whole service, its claim
//! ([`super::shares`]), and memory. Room is made by ending the longest idle sandbox of another pool,
//! never by ending one that works. Which start comes next is decided when a launcher has time for
//! it, so that the burst of one function does not hold up the first start of another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::core::{Core, Effect, Origin, PoolId, SandboxId};
use super::invocation::Target;
use crate::sandbox::state::{EndReason, State};

/// How long a sandbox of provisioned concurrency may initialize, if its function's timeout is not
/// longer. <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>
const PROVISIONED_INIT: Duration = Duration::from_secs(130);
/// The first pause after a failed start for provisioned concurrency; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What a sandbox is started for; its function can read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    OnDemand,
    Provisioned,
}

impl Kind {
    /// AWS's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::OnDemand => "on-demand",
            Kind::Provisioned => "provisioned-concurrency",
        }
    }
}

/// A sandbox to start, and what it is.
#[derive(Debug)]
pub struct StartOrder {
    pub sandbox: SandboxId,
    pub target: Arc<Target>,
    pub kind: Kind,
}

/// Whether a launch is the only thing that its function has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Launch {
    First,
    Further,
}

/// How it goes with the sandboxes that a pool was promised.
#[derive(Debug, Default)]
pub(super) struct Provision {
    failures: u32,
    /// No start before this.
    pub(super) retry_at: Option<Instant>,
    /// Why the last start failed, until one has succeeded.
    pub(super) trouble: Option<String>,
}

/// Whether there is room for one more sandbox.
#[derive(Debug, PartialEq, Eq)]
enum Room {
    Yes,
    /// Once what is stopping is gone.
    Soon,
    /// Unless somebody idle goes.
    No,
}

impl Core {
    /// Starts sandboxes until those to come cover the invocations that wait.
    pub(super) fn grow(&mut self, pool: PoolId, now: Instant) {
        let Some(of) = self.pools.get(&pool) else { return };
        let (waiting, finishing) = (of.waiting.len(), of.finishing);
        if waiting == 0 && self.shares.owed(of.claim) == 0 {
            return;
        }
        if finishing > 0 && waiting > of.initializing {
            // Those about to come back count for a moment; `tick` looks again.
            self.wake_by(now + super::matching::FINISH_GRACE);
        }
        self.grow_beyond(pool, finishing, now);
    }

    /// The same with this many finishing sandboxes counted as about to come back.
    pub(super) fn grow_beyond(&mut self, pool: PoolId, finishing: usize, now: Instant) {
        loop {
            let Some(of) = self.pools.get(&pool) else { return };
            if of.target.function.is_none() {
                // Its runtimes come by themselves or not at all.
                if !of.waiting.is_empty() {
                    self.wake_by(now + self.limits.init_timeout);
                }
                return;
            }
            let claim = of.claim;
            let short = of.waiting.len() > of.initializing + finishing;
            if !short && !self.is_owed(pool, now) {
                return;
            }
            while self.room(pool) == Room::No {
                if !self.evict(pool, now) {
                    self.no_room(pool);
                    return; // the next sandbox that becomes free feeds this pool
                }
            }
            if self.room(pool) == Room::Soon {
                self.hungry = true;
                return; // the removal feeds this pool
            }
            let owed = self.shares.owed(claim) > 0;
            let Some(id) = self.add_sandbox(pool, Origin::Managed, None, now) else { return };
            if let Some(sandbox) = self.sandboxes.get_mut(&id) {
                sandbox.kind = if owed { Kind::Provisioned } else { Kind::OnDemand };
            }
            if let Some(of) = self.pools.get_mut(&pool) {
                of.ordered.push_back(id);
            }
            self.effects.push(Effect::Start);
        }
    }

    /// Whether a sandbox is to be started because it was promised.
    fn is_owed(&mut self, pool: PoolId, now: Instant) -> bool {
        let Some(of) = self.pools.get(&pool) else { return false };
        if of.retired || self.draining || self.shares.owed(of.claim) == 0 {
            return false;
        }
        match of.provision.retry_at {
            Some(at) if at > now => {
                self.wake_by(at);
                false
            }
            _ => true,
        }
    }

    /// A pool cannot grow: somebody looks again when there is room, or gives up in time.
    fn no_room(&mut self, pool: PoolId) {
        let Some(of) = self.pools.get(&pool) else { return };
        let covered = of.waiting.len() <= of.initializing + of.finishing;
        let oldest = of.waiting.front().filter(|_| !covered).map(|invocation| invocation.received);
        self.hungry = true;
        if let Some(received) = oldest.filter(|_| self.by_memory(pool)) {
            self.wake_by(received + self.starving_time());
        }
    }

    /// Whether it is only for memory that a pool may not have one more sandbox.
    pub(super) fn by_memory(&self, pool: PoolId) -> bool {
        self.live < self.limits.max_concurrent_executions
            && self.pools.get(&pool).is_some_and(|of| self.shares.has_room(of.claim))
    }

    fn room(&self, pool: PoolId) -> Room {
        let Some(of) = self.pools.get(&pool) else { return Room::No };
        if !self.by_memory(pool) {
            return Room::No;
        }
        let after = self.memory_mb + u64::from(of.target.memory_mb);
        match after <= self.limits.max_total_memory_mb {
            true => Room::Yes,
            false if after - self.leaving_mb <= self.limits.max_total_memory_mb => Room::Soon,
            false => Room::No,
        }
    }

    /// Whether one more invocation of this pool would find a sandbox that it may have, or whose
    /// memory comes free by itself or with the idle ones of others.
    pub(super) fn memory_allows(&self, pool: PoolId) -> bool {
        let Some(of) = self.pools.get(&pool) else { return false };
        let to_come = of.idle.len() + of.initializing + of.finishing;
        if of.waiting.len() < to_come || of.target.function.is_none() || !self.by_memory(pool) {
            return true;
        }
        let more = of.waiting.len() + 1 - to_come;
        let wanted = u64::from(of.target.memory_mb) * u64::try_from(more).unwrap_or(u64::MAX);
        self.memory_mb + wanted
            <= self.limits.max_total_memory_mb + self.leaving_mb + self.idle_memory_of_others(pool)
    }

    /// Whether a pool that is short of memory only has to wait for it.
    pub(super) fn room_to_come(&self, pool: PoolId) -> bool {
        self.room(pool) != Room::No || self.can_evict(pool)
    }

    /// The memory that idle sandboxes of other pools could leave.
    fn idle_memory_of_others(&self, pool: PoolId) -> u64 {
        let mut left = 0;
        for (_, of) in self.pools.iter().filter(|(id, _)| **id != pool) {
            let (promised, live) = self.shares.promised_and_live(of.claim);
            let idle = of.idle.iter().filter_map(|id| self.sandboxes.get(id));
            let ours = idle.filter(|sandbox| sandbox.origin == Origin::Managed);
            let memory = ours.map(|sandbox| u64::from(sandbox.target.memory_mb));
            left += memory.take(live.saturating_sub(promised)).sum::<u64>();
        }
        left
    }

    /// The longest idle sandbox of another pool that may make room for one of this pool.
    fn evictable(&self, for_pool: PoolId) -> Option<SandboxId> {
        let claim = self.pools.get(&for_pool)?.claim;
        let by_memory = self.by_memory(for_pool);
        let found = self.longest_idle(|pool| {
            let other = self.pools.get(&pool).map(|of| of.claim);
            pool != for_pool
                && other.is_some_and(|other| match by_memory {
                    true => self.shares.has_excess(other),
                    false => self.shares.yields(other, claim),
                })
        });
        // Where more was promised than there is (the limit was lowered), or the one sandbox that is
        // always allowed is wanted, nobody has too much. What was accepted is carried out all the
        // same.
        let promised_too_much = !by_memory && self.shares.has_room(claim);
        found.or_else(|| {
            promised_too_much.then(|| self.longest_idle(|pool| pool != for_pool)).flatten()
        })
    }

    /// The longest idle sandbox of the service's own in these pools.
    fn longest_idle(&self, wanted: impl Fn(PoolId) -> bool) -> Option<SandboxId> {
        let idle = self.sandboxes.iter().filter(|(_, sandbox)| {
            sandbox.state == State::Idle
                && sandbox.origin == Origin::Managed
                && wanted(sandbox.pool)
        });
        idle.min_by_key(|(id, sandbox)| (sandbox.since, **id)).map(|(&id, _)| id)
    }

    /// Whether ending idle sandboxes of others makes room for one of this pool.
    fn can_evict(&self, for_pool: PoolId) -> bool {
        let Some(of) = self.pools.get(&for_pool) else { return false };
        // Else they would end for nothing.
        let enough = !self.by_memory(for_pool)
            || self.memory_mb + u64::from(of.target.memory_mb)
                <= self.limits.max_total_memory_mb
                    + self.leaving_mb
                    + self.idle_memory_of_others(for_pool);
        enough && self.evictable(for_pool).is_some()
    }

    /// Ends the longest idle sandbox of another pool, for the room that it leaves.
    fn evict(&mut self, for_pool: PoolId, now: Instant) -> bool {
        match self.evictable(for_pool).filter(|_| self.can_evict(for_pool)) {
            Some(id) => self.end_alone(id, EndReason::Evicted, None, now),
            None => false,
        }
    }

    /// The host is short of memory: the sandbox that nobody has needed for the longest time goes.
    /// False when there is none that may.
    pub(super) fn relieve(&mut self, now: Instant) -> bool {
        let found = self.longest_idle(|pool| {
            self.pools.get(&pool).is_some_and(|of| self.shares.has_excess(of.claim))
        });
        let Some(id) = found else { return false };
        self.end(id, EndReason::Evicted, None, now);
        true
    }

    /// Room has come free: pools whose invocations wait without a sandbox may grow, and those that
    /// were promised more.
    pub(super) fn feed_the_hungry(&mut self, now: Instant) {
        if self.waiting == 0 && !self.hungry {
            return;
        }
        self.hungry = false;
        let hungry = self.pools.iter().filter(|(_, pool)| {
            !pool.waiting.is_empty() || (!pool.retired && self.shares.owed(pool.claim) > 0)
        });
        let mut hungry: Vec<(bool, Option<Instant>, PoolId)> = hungry
            .map(|(&id, pool)| {
                let oldest = pool.waiting.front().map(|invocation| invocation.received);
                (oldest.is_none(), oldest, id)
            })
            .collect();
        hungry.sort_unstable();
        for (_, _, pool) in hungry {
            self.grow(pool, now);
        }
    }

    /// Sets or lifts a function's reservation.
    pub(super) fn set_reserved(&mut self, function: &str, reserved: Option<usize>, now: Instant) {
        self.shares.set_reserved(function, reserved);
        self.feed_the_hungry(now);
    }

    /// Promises so many sandboxes, ready at any time, to a version.
    pub(super) fn provision(&mut self, target: &Arc<Target>, promised: usize, now: Instant) {
        if promised == 0 && !self.pool_of.contains_key(&target.key) {
            return;
        }
        let pool = self.pool_for(target, now);
        let Some(of) = self.pools.get_mut(&pool).filter(|of| !of.retired) else { return };
        of.provision = Provision::default();
        self.shares.promise(of.claim, promised);
        self.wake_by(now); // those beyond a lower promise may be too old
        self.grow(pool, now);
        self.feed_the_hungry(now);
    }

    /// A sandbox of this pool could not be had.
    pub(super) fn provision_failed(&mut self, pool: PoolId, why: String, now: Instant) {
        let Some(of) = self.pools.get_mut(&pool) else { return };
        if self.shares.promised_and_live(of.claim).0 == 0 {
            return;
        }
        let pause = FIRST_PAUSE * 2u32.saturating_pow(of.provision.failures.min(8));
        of.provision.failures += 1;
        let retry_at = now + pause.min(LONGEST_PAUSE);
        of.provision.retry_at = Some(retry_at);
        of.provision.trouble = Some(why);
        self.wake_by(retry_at);
    }

    /// A launcher has time: the sandbox that it starts next.
    pub(super) fn next_start(&mut self, now: Instant) -> Option<StartOrder> {
        loop {
            let (pool, launch) = self.most_deserving()?;
            let of = self.pools.get_mut(&pool)?;
            let id = of.ordered.pop_front()?;
            // This one is among those initializing, and among those live: do the others cover who
            // still waits, and what was promised?
            let covered = of.waiting.len() < of.initializing;
            let surplus = covered && self.shares.has_excess(of.claim);
            let retry = of.waiting.iter().any(|invocation| invocation.init_failed);
            let sandbox = self.sandboxes.get_mut(&id)?;
            if surplus || !sandbox.target.same_revision(&of.target) {
                self.forget(id, now);
                self.feed_the_hungry(now);
                continue;
            }
            of.launching += 1;
            self.further_launches += usize::from(launch == Launch::Further);
            sandbox.launching = Some(launch);
            sandbox.started = now;
            sandbox.reload = of.reload; // nothing of it is there yet that could be outdated
            let timeout = sandbox.target.timeout;
            sandbox.init_limit = match sandbox.kind {
                Kind::Provisioned => timeout.max(PROVISIONED_INIT),
                // As on Lambda, what has failed once is tried again within the function's time.
                Kind::OnDemand if retry => timeout,
                Kind::OnDemand => self.limits.init_timeout,
            };
            let (target, kind) = (sandbox.target.clone(), sandbox.kind);
            return Some(StartOrder { sandbox: id, target, kind });
        }
    }

    /// The pool whose start comes next: one with somebody waiting before one that only was promised
    /// more, then the one with the fewest launches, then the one that has waited longest. One
    /// launcher is always left to functions that have nothing yet.
    fn most_deserving(&self) -> Option<(PoolId, Launch)> {
        let most = self.limits.max_parallel_starts.saturating_sub(1).max(1);
        let further_allowed = self.further_launches < most;
        let candidates = self.pools.iter().filter_map(|(&id, pool)| {
            let ordered = self.sandboxes.get(pool.ordered.front()?)?.since;
            let some = pool.launching + pool.idle.len() + pool.busy + pool.finishing > 0;
            let launch = if some { Launch::Further } else { Launch::First };
            let rank = (pool.waiting.is_empty(), pool.launching, ordered, id);
            (launch == Launch::First || further_allowed).then_some((rank, launch))
        });
        candidates.min_by_key(|(rank, _)| *rank).map(|((.., id), launch)| (id, launch))
    }

    /// A launcher is not at this sandbox any more.
    pub(super) fn launch_ended(&mut self, id: SandboxId) {
        let Some(sandbox) = self.sandboxes.get_mut(&id) else { return };
        let Some(launch) = sandbox.launching.take() else { return };
        self.further_launches -= usize::from(launch == Launch::Further);
        if let Some(pool) = self.pools.get_mut(&sandbox.pool) {
            pool.launching -= 1;
        }
    }
}
