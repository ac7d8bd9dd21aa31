//! The way of a sandbox: started, adopted, ended.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::core::{Core, Effect, Origin, Pool, PoolId, SandboxId, StopOrder};
use super::invocation::{Exit, Failure, Outcome, Refusal, Target};
use super::journal::{Change, Ended, InitFailure};
use super::matching::AnswerError;
use crate::http::Body;
use crate::sandbox::state::{EndReason, State, Step};

impl Core {
    /// The container exists; its address counts from now on, because its first connection can be
    /// quicker than the Engine's answer to `start`. False when the sandbox has ended meanwhile.
    pub(super) fn created(
        &mut self,
        id: SandboxId,
        container: Arc<str>,
        name: Arc<str>,
        address: Option<IpAddr>,
        now: Instant,
    ) -> bool {
        let Some(sandbox) = self.sandboxes.get_mut(&id) else { return false };
        if matches!(sandbox.state, State::Stopping(_)) {
            return false;
        }
        let earlier = sandbox.container.replace(container.clone());
        sandbox.name = name;
        sandbox.started = now;
        sandbox.died_early = None;
        if let Some(earlier) = earlier {
            self.by_container.remove(&earlier); // an attempt that the Engine refused to start
        }
        self.by_container.insert(container, id);
        if let Some(address) = address {
            self.locate(id, address);
        }
        self.tell(id, Change::Created);
        true
    }

    fn tell(&mut self, id: SandboxId, change: Change) {
        let changed = self.sandboxes.get(&id).and_then(|sandbox| sandbox.changed(change));
        self.effects.extend(changed);
    }

    /// The sandbox's address is known.
    pub(super) fn locate(&mut self, id: SandboxId, address: IpAddr) {
        if let Some(sandbox) = self.sandboxes.get_mut(&id) {
            if let Some(earlier) = sandbox.address.replace(address)
                && self.by_address.get(&earlier) == Some(&id)
            {
                self.by_address.remove(&earlier);
            }
            self.by_address.insert(address, id);
        }
    }

    /// The Engine has started the container. False when the sandbox has ended meanwhile.
    pub(super) fn started(&mut self, id: SandboxId, now: Instant, wall: SystemTime) -> bool {
        self.launch_ended(id);
        if !self.step(id, Step::Started, now) {
            return false;
        }
        if let Some(sandbox) = self.sandboxes.get_mut(&id) {
            sandbox.restless = now;
            let expires = now + sandbox.init_limit;
            self.wake_by(expires);
        }
        if let Some(after) = self.limits.freeze_after {
            self.wake_by(now + after); // its runtime may have come before this
        }
        match self.sandboxes.get_mut(&id).and_then(|sandbox| sandbox.died_early.take()) {
            Some(code) => {
                self.exited(id, code, now, wall);
                false
            }
            None => true,
        }
    }

    /// The Engine could not provide the sandbox; nothing of it is left. False when it had ended
    /// before.
    pub(super) fn start_failed(&mut self, id: SandboxId, why: Refusal, now: Instant) -> bool {
        // Its runtime may have come all the same, and may even have taken an invocation.
        let outcome = Outcome::Refused(why);
        let failed = self.give_up(id, EndReason::EngineFailed, Some(outcome), now);
        self.forget(id, now);
        self.feed_the_hungry(now);
        failed
    }

    /// The sandbox's container is gone from the Engine.
    pub(super) fn removed(&mut self, id: SandboxId, now: Instant) {
        self.forget(id, now);
        self.feed_the_hungry(now);
    }

    /// A container that somebody else started is a sandbox of `target` from now on.
    pub(super) fn adopt(
        &mut self,
        target: &Arc<Target>,
        container: Arc<str>,
        name: Arc<str>,
        address: IpAddr,
        now: Instant,
        wall: SystemTime,
    ) -> Option<SandboxId> {
        if self.by_address.contains_key(&address) || self.by_container.contains_key(&container) {
            return None; // two of its first requests were looked up at the same time
        }
        let pool = self.pool_for(target, now);
        let id = self.add_sandbox(pool, Origin::Adopted, Some(name), now)?;
        if let Some(sandbox) = self.sandboxes.get_mut(&id) {
            sandbox.container = Some(container.clone());
        }
        self.by_container.insert(container, id);
        self.locate(id, address);
        self.tell(id, Change::Adopted);
        self.started(id, now, wall);
        Some(id)
    }

    pub(super) fn is_initializing(&self, address: IpAddr) -> bool {
        let sandbox = self.by_address.get(&address).and_then(|id| self.sandboxes.get(id));
        sandbox.is_some_and(|sandbox| sandbox.state.is_initializing())
    }

    /// The runtime at `address` says that it could not initialize.
    pub(super) fn init_error(
        &mut self,
        address: IpAddr,
        error: Body,
        now: Instant,
    ) -> Result<(), AnswerError> {
        if !self.is_initializing(address) {
            return Err(AnswerError::InvalidState);
        }
        let id = *self.by_address.get(&address).ok_or(AnswerError::InvalidState)?;
        self.end(id, EndReason::InitFailed, Some(Outcome::FunctionError(error)), now);
        Ok(())
    }

    /// A process of this host says that it could not initialize as a runtime of this function:
    /// one invocation that waits for such a runtime is told so.
    pub(super) fn local_init_error(&mut self, key: &str, error: Body) -> Result<(), AnswerError> {
        let Some(pool) = self.pool_of.get(key).copied() else { return Ok(()) };
        let Some(of) = self.pools.get(&pool) else { return Ok(()) };
        if of.sandboxes() > 0 {
            return Err(AnswerError::InvalidState); // there is one that has initialized
        }
        if let Some(invocation) = self.pop_waiting(pool) {
            self.refuse(invocation, Outcome::FunctionError(error));
        }
        Ok(())
    }

    /// The container has less memory than it asked for; its process may be killed next.
    pub(super) fn out_of_memory(&mut self, container: &str) {
        if let Some(id) = self.by_container.get(container)
            && let Some(sandbox) = self.sandboxes.get_mut(id)
        {
            sandbox.out_of_memory = true;
        }
    }

    /// The container's process has ended.
    pub(super) fn died(&mut self, container: &str, code: i32, now: Instant, wall: SystemTime) {
        let Some(&id) = self.by_container.get(container) else { return };
        let Some(sandbox) = self.sandboxes.get_mut(&id) else { return };
        if sandbox.state == State::Creating {
            // The Engine has not answered to its start yet. Either it does, or its launcher
            // removes this container and tries another: that death is no failure.
            sandbox.died_early = Some(code);
        } else {
            self.exited(id, code, now, wall);
        }
    }

    fn exited(&mut self, id: SandboxId, code: i32, now: Instant, wall: SystemTime) {
        let Some(sandbox) = self.sandboxes.get(&id) else { return };
        let exit = Exit { code, out_of_memory: sandbox.out_of_memory };
        let reason = match sandbox.state {
            _ if exit.out_of_memory => EndReason::OutOfMemory,
            state if state.is_initializing() => EndReason::InitFailed,
            _ => EndReason::Exited,
        };
        let (adopted, pool) = (sandbox.origin == Origin::Adopted, sandbox.pool);
        let unread = self.take_unread(id);
        self.end(id, reason, Some(Outcome::Failed(Failure::Exited(exit))), now);
        if let Some(invocation) = unread {
            self.enqueue(pool, invocation, true, now, wall);
        }
        // A function that only its containers know is gone with the last of them.
        let last = |of: &Pool| of.target.function.is_none() && of.sandboxes() == 0;
        if adopted && let Some(of) = self.pools.get(&pool).filter(|of| last(of)) {
            let key = of.target.key.clone();
            self.retire(&key, now);
        }
    }

    /// Ends a sandbox. `outcome` goes to the invocation that it runs, or that waited for it to
    /// initialize: each failed start fails one invocation, so a function that cannot start is not
    /// started for ever.
    pub(super) fn end(
        &mut self,
        id: SandboxId,
        reason: EndReason,
        outcome: Option<Outcome>,
        now: Instant,
    ) {
        if self.end_alone(id, reason, outcome, now) {
            self.feed_the_hungry(now);
        }
    }

    /// Ends a sandbox and leaves its room to the caller. False when it had ended before.
    pub(super) fn end_alone(
        &mut self,
        id: SandboxId,
        reason: EndReason,
        outcome: Option<Outcome>,
        now: Instant,
    ) -> bool {
        if !self.give_up(id, reason, outcome, now) {
            return false;
        }
        let Some(sandbox) = self.sandboxes.get(&id) else { return false };
        match (&sandbox.container, sandbox.origin) {
            (Some(container), Origin::Managed) => {
                let container = container.clone();
                self.effects.push(Effect::Stop(StopOrder { sandbox: id, container, reason }));
            }
            // Its launcher finds out at its next step, and cleans up what it has made.
            (None, Origin::Managed) if sandbox.launching.is_some() => {}
            (None, Origin::Managed) => self.forget(id, now),
            // What this service has not started it does not stop.
            (_, Origin::Adopted | Origin::Local(_)) => self.forget(id, now),
        }
        true
    }

    /// Lets go of everybody who counts on a sandbox. False when that was done before.
    fn give_up(
        &mut self,
        id: SandboxId,
        reason: EndReason,
        outcome: Option<Outcome>,
        now: Instant,
    ) -> bool {
        let Some(sandbox) = self.sandboxes.get(&id) else { return false };
        let initializing = sandbox.state.is_initializing();
        if !self.step(id, Step::End(reason), now) {
            return false;
        }
        let Some(sandbox) = self.sandboxes.get_mut(&id) else { return false };
        if let Some(poll) = sandbox.parked.take() {
            self.effects.push(Effect::HangUp(poll));
        }
        let tried = now.saturating_duration_since(sandbox.started);
        let failure = initializing.then(|| InitFailure::of(outcome.as_ref()?)).flatten();
        let init = failure.map(|failure| (failure, tried));
        self.effects.push(Effect::Ended(Ended { sandbox: id, init }));
        if sandbox.running.is_some() {
            self.conclude(id, outcome.unwrap_or(Outcome::Refused(Refusal::ShuttingDown)), now);
        } else if initializing && let Some(outcome) = outcome {
            self.init_failed(id, tried, outcome, now);
        }
        true
    }

    /// A sandbox could not initialize. As on Lambda that is tried once more for the invocation that
    /// has waited longest; then it fails, so a function that cannot start is not started for ever.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>
    fn init_failed(&mut self, id: SandboxId, tried: Duration, outcome: Outcome, now: Instant) {
        let Some(pool) = self.sandboxes.get(&id).map(|sandbox| sandbox.pool) else { return };
        let why = match &outcome {
            Outcome::Refused(Refusal::NoSandbox(why) | Refusal::NoCode(why)) => why.clone(),
            _ => "FUNCTION_ERROR_INIT_FAILURE".to_owned(), // AWS's word
        };
        self.provision_failed(pool, why, now);
        let Some(of) = self.pools.get_mut(&pool) else { return };
        let again = of.target.function.is_some() && !matches!(outcome, Outcome::Refused(_));
        match of.waiting.iter_mut().find(|invocation| !invocation.init_failed) {
            Some(first) if again => first.init_failed = true,
            _ => {
                if let Some(invocation) = self.pop_waiting(pool) {
                    self.refuse_with(id, tried, invocation, outcome);
                }
            }
        }
    }

    /// Ends the idle sandboxes of a pool whose function is not the pool's any more.
    pub(super) fn end_idle(&mut self, pool: PoolId, reason: EndReason, now: Instant) {
        let idle = self.pools.get(&pool).map(|pool| pool.idle.clone()).unwrap_or_default();
        for id in idle {
            let managed = self.sandboxes.get(&id).is_some_and(|s| s.origin == Origin::Managed);
            if managed {
                self.end(id, reason, None, now);
            }
        }
    }

    /// The files that a function's sandboxes run have changed: idle ones end, the others when they
    /// are done, and who comes from here on gets new ones.
    pub(super) fn reload(&mut self, key: &str, now: Instant) {
        let Some(&pool) = self.pool_of.get(key) else { return };
        if let Some(of) = self.pools.get_mut(&pool) {
            of.reload += 1;
            of.reloaded = now;
        }
        self.end_idle(pool, EndReason::FunctionChanged, now);
    }

    /// The function is deleted: who waits is told so, idle sandboxes end, busy ones finish first.
    pub(super) fn retire(&mut self, key: &str, now: Instant) {
        let Some(&pool) = self.pool_of.get(key) else { return };
        while let Some(invocation) = self.pop_waiting(pool) {
            self.refuse(invocation, Outcome::Refused(Refusal::FunctionGone));
        }
        self.send_away(pool, &Refusal::FunctionGone);
        if let Some(of) = self.pools.get_mut(&pool) {
            of.retired = true;
            self.shares.promise(of.claim, 0);
        }
        self.end_idle(pool, EndReason::FunctionChanged, now);
        self.drop_if_empty(pool);
        self.feed_the_hungry(now);
    }

    /// Takes no more invocations; those that were accepted go on.
    pub(super) fn drain(&mut self) {
        self.draining = true;
        let pools: Vec<PoolId> = self.pools.keys().copied().collect();
        for pool in pools {
            self.send_away(pool, &Refusal::ShuttingDown);
        }
    }

    /// Ends everything: for the end of the service.
    pub(super) fn end_all(&mut self, now: Instant) {
        self.drain();
        let pools: Vec<PoolId> = self.pools.keys().copied().collect();
        for pool in pools {
            while let Some(invocation) = self.pop_waiting(pool) {
                self.refuse(invocation, Outcome::Refused(Refusal::ShuttingDown));
            }
        }
        let sandboxes: Vec<SandboxId> = self.sandboxes.keys().copied().collect();
        for id in sandboxes {
            self.end(id, EndReason::Shutdown, None, now);
        }
    }
}
