//! What is true of dispatch between any two steps, recounted from scratch. For tests.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::core::{Core, Origin, PoolId};
use super::growth::Launch;
use super::matching::FINISH_GRACE;
use crate::sandbox::frost::Frost;
use crate::sandbox::state::State;

/// Panics with what is wrong.
pub(super) fn check(core: &Core, now: Instant) {
    assert!(core.effects.is_empty(), "effects were left");
    counters(core);
    maps(core);
    sandboxes(core);
    for &pool in core.pools.keys() {
        covered(core, pool, now);
    }
    deadlines(core, now);
}

fn counters(core: &Core) {
    let waiting: usize = core.pools.values().map(|pool| pool.waiting.len()).sum();
    assert_eq!(core.waiting, waiting, "waiting");
    let taken = core.sandboxes.values().filter(|s| s.running.is_some()).count();
    assert_eq!(core.active, waiting + taken, "active");
    let live = core
        .sandboxes
        .values()
        .filter(|s| s.origin == Origin::Managed && !matches!(s.state, State::Stopping(_)));
    assert_eq!(core.live, live.count(), "live");
    core.shares.check(|claim| {
        let pools = core.pools.iter().filter(|(_, pool)| pool.claim == claim);
        let pools: Vec<_> = pools.collect();
        assert_eq!(pools.len(), 1, "the pools of a claim");
        let (&id, pool) = pools[0];
        let ours = core.sandboxes.values().filter(|s| s.pool == id);
        let taken = ours.clone().filter(|s| s.running.is_some()).count();
        let managed = ours.filter(|s| s.origin == Origin::Managed);
        let live = managed.filter(|s| !matches!(s.state, State::Stopping(_))).count();
        (pool.waiting.len() + taken, live)
    });
    memory_and_launches(core);
    let max = core.limits.max_concurrent_executions;
    assert!(core.active <= max, "{} active of {max}", core.active);
    assert!(core.live <= max, "{} live of {max}", core.live);
    for (&id, pool) in &core.pools {
        let count = |wanted: fn(State) -> bool| {
            core.sandboxes.values().filter(|s| s.pool == id && wanted(s.state)).count()
        };
        assert_eq!(pool.initializing, count(State::is_initializing), "initializing");
        assert_eq!(pool.finishing, count(|s| s == State::Finishing), "finishing");
        assert_eq!(pool.busy, count(|s| s == State::Busy), "busy");
        assert_eq!(pool.stopping, count(|s| matches!(s, State::Stopping(_))), "stopping");
        let idle: HashSet<_> = pool.idle.iter().copied().collect();
        assert_eq!(idle.len(), pool.idle.len(), "an idle sandbox is listed twice");
        let really = core.sandboxes.iter();
        let really = really.filter(|(_, s)| s.pool == id && s.state == State::Idle);
        assert_eq!(idle, really.map(|(&id, _)| id).collect(), "idle");
        assert!(pool.waiting.is_empty() || pool.idle.is_empty(), "one waits, another is idle");
        assert!(!pool.retired || pool.waiting.is_empty(), "one waits for a deleted function");
        assert!(!pool.retired || pool.sandboxes() > 0, "a deleted function's pool is left");
    }
}

fn memory_and_launches(core: &Core) {
    let managed = core.sandboxes.values().filter(|s| s.origin == Origin::Managed);
    let memory = |s: &super::core::Sandbox| u64::from(s.target.memory_mb);
    assert_eq!(core.memory_mb, managed.clone().map(memory).sum::<u64>(), "memory");
    let leaving = managed.clone().filter(|s| matches!(s.state, State::Stopping(_)));
    assert_eq!(core.leaving_mb, leaving.map(memory).sum::<u64>(), "memory of those that stop");
    assert!(core.memory_mb <= core.limits.max_total_memory_mb, "{} MB", core.memory_mb);
    let further = managed.filter(|s| s.launching == Some(Launch::Further)).count();
    assert_eq!(core.further_launches, further, "further launches");
    let most = core.limits.max_parallel_starts;
    assert!(further < most.max(2), "{further} further launches leave none of {most} to others");
    let patient: usize = core.pools.values().map(|pool| pool.patient.len()).sum();
    assert_eq!(core.patient, patient, "those who wait for room");
    for (&id, pool) in &core.pools {
        let ours = core.sandboxes.iter().filter(|(_, s)| s.pool == id);
        let launching = ours.clone().filter(|(_, s)| s.launching.is_some()).count();
        assert_eq!(pool.launching, launching, "launching");
        let ordered: HashSet<_> = pool.ordered.iter().copied().collect();
        let managed = ours.filter(|(_, s)| s.origin == Origin::Managed);
        let creating = managed.filter(|(_, s)| s.state == State::Creating && s.launching.is_none());
        assert_eq!(ordered, creating.map(|(&id, _)| id).collect(), "ordered");
        let owed = core.shares.owed(pool.claim) > 0 && !pool.retired && !core.draining;
        let retries = pool.provision.retry_at.is_some_and(|at| core.wake.is_some_and(|w| w <= at));
        assert!(!owed || core.hungry || retries, "nobody keeps the promise to {}", pool.target.key);
        if let Some(oldest) = pool.patient.front() {
            let woken =
                core.wake.is_some_and(|at| at <= oldest.received + core.limits.max_queue_wait);
            assert!(woken, "nobody sends those away who wait for room");
            let room = core.active < core.limits.max_concurrent_executions
                && core.shares.may_take(pool.claim).is_ok()
                && core.memory_allows(id);
            assert!(!room || core.draining, "one waits for room that is there");
        }
    }
}

fn maps(core: &Core) {
    let named: HashMap<_, _> =
        core.pools.iter().map(|(&id, pool)| (pool.target.key.clone(), id)).collect();
    assert_eq!(core.pool_of, named, "names of pools");
    let of = |pick: &dyn Fn(&super::core::Sandbox) -> bool| {
        core.sandboxes.values().filter(|s| pick(s)).count()
    };
    for (address, id) in &core.by_address {
        assert_eq!(core.sandboxes[id].address.as_ref(), Some(address), "stale address");
    }
    assert_eq!(core.by_address.len(), of(&|s| s.address.is_some()), "addresses");
    for (container, id) in &core.by_container {
        assert_eq!(core.sandboxes[id].container.as_ref(), Some(container), "stale container");
    }
    assert_eq!(core.by_container.len(), of(&|s| s.container.is_some()), "containers");
    for (&connection, id) in &core.local_by_connection {
        assert_eq!(core.sandboxes[id].origin, Origin::Local(connection), "stale connection");
    }
    let local = |s: &super::core::Sandbox| matches!(s.origin, Origin::Local(_));
    assert_eq!(core.local_by_connection.len(), of(&local), "local runtimes");
    for (event, id) in &core.local_running {
        let running = core.sandboxes[id].running.as_ref();
        assert_eq!(running.map(|r| r.event.id), Some(*event), "stale local invocation");
    }
    let busy = |s: &super::core::Sandbox| local(s) && s.running.is_some();
    assert_eq!(core.local_running.len(), of(&busy), "local invocations");
    let of_pools = core.local_done.keys().all(|pool| core.pools.contains_key(pool));
    assert!(of_pools, "answered local invocations of pools that are gone");
}

fn sandboxes(core: &Core) {
    let mut events = HashSet::new();
    for (id, sandbox) in &core.sandboxes {
        let state = sandbox.state;
        assert!(core.pools.contains_key(&sandbox.pool), "sandbox {id} is in no pool");
        assert_eq!(sandbox.running.is_some(), state == State::Busy, "{id}: {state:?}");
        if let Some(running) = &sandbox.running {
            assert!(running.reply.is_some(), "sandbox {id} runs for nobody");
            assert!(events.insert(running.event.id), "an invocation runs twice");
            assert!(running.answering || sandbox.parked.is_none(), "{id} waits without its event");
        } else {
            assert_eq!(sandbox.parked.is_some(), state == State::Idle, "{id}: {state:?}");
        }
        if sandbox.origin == Origin::Managed && state == State::Idle {
            let current = core.pools[&sandbox.pool].is_current(sandbox);
            assert!(current, "{id} would be given what its code is too old for");
        }
        if sandbox.origin != Origin::Managed {
            let ended = matches!(state, State::Creating | State::Stopping(_));
            assert!(!ended, "{id}: {state:?}, though not ours to start and stop");
        }
    }
    for invocation in core.pools.values().flat_map(|pool| &pool.waiting) {
        assert!(events.insert(invocation.event.id), "an invocation waits twice");
    }
}

/// Nobody waits for something that will not happen.
fn covered(core: &Core, id: PoolId, now: Instant) {
    let pool = &core.pools[&id];
    if pool.waiting.is_empty() || pool.target.function.is_none() {
        return;
    }
    if pool.waiting.len() <= pool.initializing {
        return; // each start ends in a poll or in a failure
    }
    let to_come = pool.initializing + pool.finishing;
    if !core.room_to_come(id) || core.leaving_mb > 0 && core.by_memory(id) {
        // Whoever ends, becomes idle or is removed makes room; for memory nobody waits for long.
        let expires = pool.waiting[0].received + core.starving_time();
        let woken = core.wake.is_some_and(|at| at <= expires) || core.leaving_mb > 0;
        let starving = pool.waiting.len() > to_come;
        assert!(!starving || core.hungry, "nobody feeds {}", pool.target.key);
        assert!(!starving || woken || !core.by_memory(id), "starves unseen");
        return;
    }
    assert!(pool.waiting.len() <= to_come, "{} wait for {to_come}", pool.waiting.len());
    let fresh = core.sandboxes.values().filter(|s| {
        s.pool == id
            && s.state == State::Finishing
            && now.saturating_duration_since(s.since) < FINISH_GRACE
    });
    let looks = core.wake.is_some_and(|wake| wake <= now + FINISH_GRACE);
    assert!(looks, "nobody looks again whether {} come back", fresh.count());
}

/// Whatever has a deadline is looked at by then.
fn deadlines(core: &Core, now: Instant) {
    let limits = &core.limits;
    for (id, sandbox) in &core.sandboxes {
        let deadline = match sandbox.state {
            State::Starting => sandbox.since + sandbox.init_limit,
            State::Busy | State::Finishing => sandbox.expires,
            State::Idle if sandbox.origin == Origin::Managed => {
                let rests = limits.freeze_after.filter(|_| sandbox.frost == Frost::Warm);
                // An Engine that is just starting it is waited for.
                let rests = rests.filter(|_| sandbox.launching.is_none());
                let rests = rests.map(|after| sandbox.since.max(sandbox.restless) + after);
                // One that was kept ready is looked at again from time to time.
                let idle = now + limits.idle_timeout;
                rests.map_or(idle, |at| at.min(idle))
            }
            State::Creating | State::Idle | State::Stopping(_) => continue,
        };
        let woken = core.wake.is_some_and(|wake| wake <= deadline);
        assert!(woken, "nobody wakes for sandbox {id}, {:?}", sandbox.state);
    }
    for pool in core.pools.values().filter(|pool| pool.target.function.is_none()) {
        if !pool.waiting.is_empty() || pool.sandboxes() == 0 {
            assert!(core.wake.is_some(), "nobody wakes for {}", pool.target.key);
        }
    }
}
