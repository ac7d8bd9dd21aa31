//! The way of an invocation: it waits in its pool, or goes at once into a parked `/next`; the
//! answer goes to whoever waits for it. Two parked requests meet; nobody blocks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use uuid::Uuid;

use super::core::{Core, Effect, Origin, PoolId, Sandbox, SandboxId};
use super::growth::Provision;
use super::invocation::{Failure, Invocation, Outcome, Poll, Refusal, Running, Target};
use super::journal::Given;
use crate::http::WatchId;
use crate::sandbox::state::{EndReason, State, Step};

/// How long a runtime that was just here counts as about to come back. Without this a sequential
/// caller, who is often quicker than the runtime's next `/next`, would grow the pool at each call.
pub(super) const FINISH_GRACE: Duration = Duration::from_millis(50);

/// What a runtime has at least, after its answer, to ask for the next event.
const RETURN_TIME: Duration = Duration::from_secs(1);

/// Who posts an answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Runtime {
    At(IpAddr),
    Local,
}

/// Why a runtime's answer was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerError {
    /// No such invocation is running in that sandbox: 400 `InvalidRequestID`.
    InvalidRequestId,
    /// It was answered before, or the sandbox is past answering: 403 `InvalidStateTransition`.
    InvalidState,
}

impl Core {
    /// Puts an invocation into its pool's queue and lets the queue move.
    pub(super) fn enqueue(
        &mut self,
        pool: PoolId,
        invocation: Invocation,
        first: bool,
        now: Instant,
        wall: SystemTime,
    ) {
        let Some(of) = self.pools.get_mut(&pool).filter(|of| !of.retired) else {
            // Deleted since it was accepted: a sandbox would be started and ended again for ever.
            self.refuse(invocation, Outcome::Refused(Refusal::FunctionGone));
            return;
        };
        self.waiting += 1;
        if first {
            of.waiting.push_front(invocation)
        } else {
            of.waiting.push_back(invocation)
        }
        self.advance(pool, now, wall);
    }

    /// Gives waiting invocations to idle sandboxes, and asks for more sandboxes if that leaves some.
    pub(super) fn advance(&mut self, pool: PoolId, now: Instant, wall: SystemTime) {
        while let Some(of) = self.pools.get(&pool)
            && !of.waiting.is_empty()
            && let Some(&sandbox) = of.idle.last()
            && let Some(invocation) = self.pop_waiting(pool)
        {
            self.give(sandbox, invocation, now, wall);
        }
        self.grow(pool, now);
    }

    /// Hands an invocation to an idle sandbox.
    fn give(&mut self, id: SandboxId, invocation: Invocation, now: Instant, wall: SystemTime) {
        self.step(id, Step::Given, now);
        let Some(sandbox) = self.sandboxes.get_mut(&id) else { return };
        let timeout = sandbox.target.timeout;
        let Invocation { claim, event, reply, received, init_failed, given_back } = invocation;
        let given = Given {
            sandbox: id,
            at: wall,
            target: sandbox.target.clone(),
            init: sandbox.init,
            local: matches!(sandbox.origin, Origin::Local(_)),
            tail: reply.wants_log(),
        };
        // An init that was tried again is part of the invocation's time.
        let begin = if init_failed && sandbox.init.is_some() { sandbox.started } else { now };
        let expires = begin + timeout;
        sandbox.expires = expires;
        sandbox.served += 1;
        sandbox.running = Some(Running {
            claim,
            event: event.clone(),
            reply: Some(reply),
            received,
            given: now,
            given_at: wall,
            expires,
            init: sandbox.init.take(),
            repeated: 0,
            answering: false,
            unread: false,
            given_back,
            told: false,
        });
        if matches!(sandbox.origin, Origin::Local(_)) {
            self.local_running.insert(event.id, id);
            self.local_done.remove(&sandbox.pool);
        }
        if let Some(poll) = sandbox.parked.take() {
            let deadline = wall + expires.saturating_duration_since(now);
            let given = Some(given);
            self.effects.push(Effect::Deliver { poll, event, deadline, sandbox: id, given });
        }
        self.need(id);
        self.wake_by(expires);
    }

    /// The runtime at `address` asks for an event. The poll comes back when that cannot be.
    pub(super) fn poll_from(
        &mut self,
        address: IpAddr,
        poll: Box<dyn Poll>,
        now: Instant,
        wall: SystemTime,
    ) -> Result<(), Box<dyn Poll>> {
        match self.by_address.get(&address) {
            Some(&id) => self.poll(id, poll, now, wall),
            None => Err(poll),
        }
    }

    /// A process of this host asks for an event of `target`, on the connection of this number.
    pub(super) fn poll_local(
        &mut self,
        target: &Arc<Target>,
        connection: u64,
        poll: Box<dyn Poll>,
        now: Instant,
        wall: SystemTime,
    ) -> Result<(), Box<dyn Poll>> {
        let mut known = self.local_by_connection.get(&connection).copied();
        if let Some(id) = known
            && self.sandboxes.get(&id).is_some_and(|s| s.target.key != target.key)
        {
            // It serves another function from here on, and owes the answer of this one.
            let outcome = Outcome::Failed(Failure::NoAnswer);
            self.end(id, EndReason::ProtocolViolation, Some(outcome), now);
            known = None;
        }
        let id = known.or_else(|| {
            let pool = self.pool_for(target, now);
            self.add_sandbox(pool, Origin::Local(connection), None, now)
        });
        let Some(id) = id else { return Err(poll) };
        self.local_by_connection.insert(connection, id);
        self.poll(id, poll, now, wall)
    }

    fn poll(
        &mut self,
        id: SandboxId,
        poll: Box<dyn Poll>,
        now: Instant,
        wall: SystemTime,
    ) -> Result<(), Box<dyn Poll>> {
        if !poll.watch(self.next_watch(id)) {
            self.never_polled(id, now);
            return Ok(());
        }
        let Some(sandbox) = self.sandboxes.get_mut(&id) else { return Err(poll) };
        let pool = sandbox.pool;
        match sandbox.state {
            State::Stopping(_) => return Err(poll),
            State::Busy => {
                let Some(running) = &mut sandbox.running else { return Err(poll) };
                if running.answering {
                    // Its answer is still arriving on another connection (Node's streaming).
                    self.park(id, poll);
                    return Ok(());
                }
                if running.repeated == 0 {
                    // The same event again, as AWS does: its answer to `/next` may have been lost.
                    running.repeated = 1;
                    let left = running.expires.saturating_duration_since(now);
                    let event = running.event.clone();
                    let (deadline, given) = (wall + left, None);
                    self.effects.push(Effect::Deliver {
                        poll,
                        event,
                        deadline,
                        sandbox: id,
                        given,
                    });
                    return Ok(());
                }
                // It has had the event twice and gives no answer (Node after an error that is
                // too large to post): the invocation ends, the sandbox goes on.
                self.conclude(id, Outcome::Failed(Failure::NoAnswer), now);
                self.step(id, Step::Answered, now);
            }
            State::Creating | State::Starting => {
                sandbox.init = Some(now.saturating_duration_since(sandbox.started));
                if sandbox.origin == Origin::Managed
                    && let Some(of) = self.pools.get_mut(&pool)
                {
                    of.provision = Provision::default();
                    self.hungry |= self.shares.owed(of.claim) > 0;
                }
            }
            State::Idle | State::Finishing => {}
        }
        self.park(id, poll);
        self.step(id, Step::Polled, now);
        self.settle(id, pool, now, wall);
        Ok(())
    }

    /// A sandbox has become idle: it ends if its function has changed, else it takes work.
    fn settle(&mut self, id: SandboxId, pool: PoolId, now: Instant, wall: SystemTime) {
        let Some(of) = self.pools.get_mut(&pool) else { return };
        of.heard = now;
        let Some(sandbox) = self.sandboxes.get(&id) else { return };
        let current = sandbox.origin != Origin::Managed || of.is_current(sandbox);
        // Files that change all the time would outdate each sandbox while it initializes: such a
        // one serves who has waited since before they did, or nobody would ever be served.
        let owed = sandbox.served == 0
            && sandbox.target.same_revision(&of.target)
            && of.waiting.front().is_some_and(|first| first.received < of.reloaded);
        if !(current || owed) || of.retired {
            self.end(id, EndReason::FunctionChanged, None, now);
            self.advance(pool, now, wall);
            return;
        }
        if of.waiting.is_empty() {
            self.wake_by(now + self.limits.idle_timeout);
            if let Some(after) = self.limits.freeze_after {
                self.wake_by(now + after);
            }
            // This one may make room for somebody who waits.
            if self.hungry {
                self.feed_the_hungry(now);
            }
        } else {
            self.advance(pool, now, wall);
        }
    }

    fn find(&self, runtime: Runtime, id: Uuid) -> Result<SandboxId, AnswerError> {
        match runtime {
            Runtime::At(address) => {
                self.by_address.get(&address).copied().ok_or(AnswerError::InvalidRequestId)
            }
            Runtime::Local => match self.local_running.get(&id) {
                Some(&sandbox) => Ok(sandbox),
                None if self.local_done.values().any(|done| *done == id) => {
                    Err(AnswerError::InvalidState)
                }
                None => Err(AnswerError::InvalidRequestId),
            },
        }
    }

    /// Finds the sandbox that runs `id`, for an answer to it.
    pub(super) fn running(&self, runtime: Runtime, id: Uuid) -> Result<SandboxId, AnswerError> {
        let found = self.find(runtime, id)?;
        let sandbox = self.sandboxes.get(&found).ok_or(AnswerError::InvalidRequestId)?;
        match &sandbox.running {
            Some(running) if running.event.id == id => Ok(found),
            _ if sandbox.last_id == Some(id) => Err(AnswerError::InvalidState),
            _ => Err(AnswerError::InvalidRequestId),
        }
    }

    /// The runtime's answer to an invocation.
    pub(super) fn answer(
        &mut self,
        runtime: Runtime,
        request: Uuid,
        outcome: Outcome,
        now: Instant,
        wall: SystemTime,
    ) -> Result<(), AnswerError> {
        let id = self.running(runtime, request)?;
        self.answered(id, outcome, now, wall);
        Ok(())
    }

    fn answered(&mut self, id: SandboxId, outcome: Outcome, now: Instant, wall: SystemTime) {
        self.conclude(id, outcome, now);
        self.step(id, Step::Answered, now);
        let Some(sandbox) = self.sandboxes.get_mut(&id) else { return };
        let pool = sandbox.pool;
        if sandbox.parked.is_some() {
            // It asked for the next event while this answer was arriving.
            self.step(id, Step::Polled, now);
            self.settle(id, pool, now, wall);
        } else if matches!(sandbox.origin, Origin::Local(_)) {
            self.forget(id, now);
        } else {
            // The time of the invocation is the time to come back; at its very end, a little more.
            sandbox.expires = sandbox.expires.max(now + RETURN_TIME);
        }
    }

    /// The body of an answer begins to arrive. True when [`Core::answer_broken`] must be told if
    /// it never ends.
    pub(super) fn answer_begins(&mut self, runtime: Runtime, request: Uuid) -> bool {
        let Ok(id) = self.running(runtime, request) else { return false };
        let running = self.sandboxes.get_mut(&id).and_then(|sandbox| sandbox.running.as_mut());
        running.is_some_and(|running| !std::mem::replace(&mut running.answering, true))
    }

    /// An answer that began to arrive has ended, whole or not.
    pub(super) fn answer_broken(
        &mut self,
        runtime: Runtime,
        request: Uuid,
        now: Instant,
        wall: SystemTime,
    ) {
        let Ok(id) = self.running(runtime, request) else { return };
        let Some(sandbox) = self.sandboxes.get_mut(&id) else { return };
        if let Some(running) = &mut sandbox.running {
            running.answering = false;
            // It has had the event, so it is not given it again: it may try the answer again.
            running.repeated = 1;
        }
        // A runtime that already asks for the next event will not answer again.
        if sandbox.parked.is_some() {
            self.answered(id, Outcome::Failed(Failure::NoAnswer), now, wall);
        }
    }

    /// A poll whose connection was gone before it could be parked.
    fn never_polled(&mut self, id: SandboxId, now: Instant) {
        if let Some(sandbox) = self.sandboxes.get_mut(&id) {
            // Its number was not taken: an earlier poll that is still parked keeps its own.
            sandbox.polls = sandbox.polls.saturating_sub(1);
        }
        let idle_local = |s: &Sandbox| {
            matches!(s.origin, Origin::Local(_)) && s.running.is_none() && s.parked.is_none()
        };
        if self.sandboxes.get(&id).is_some_and(idle_local) {
            self.forget(id, now);
        }
    }

    /// The connection of a parked poll is gone.
    pub(super) fn poll_gone(&mut self, watch: WatchId, now: Instant) {
        let Some(id) = self.watched(watch) else { return };
        let Some(sandbox) = self.sandboxes.get_mut(&id) else { return };
        if sandbox.parked.take().is_none() {
            return;
        }
        // One that still answers has lost only its place for the next event.
        if sandbox.running.is_none() {
            self.poll_lost(id, now);
        }
    }

    /// A sandbox without its poll: a process of this host is forgotten, a container may ask again.
    fn poll_lost(&mut self, id: SandboxId, now: Instant) {
        let Some(sandbox) = self.sandboxes.get_mut(&id) else { return };
        if matches!(sandbox.origin, Origin::Local(_)) {
            self.forget(id, now);
            return;
        }
        sandbox.expires = now + self.limits.init_timeout;
        let expires = sandbox.expires;
        self.step(id, Step::PollLost, now);
        self.wake_by(expires);
    }

    /// The event could not be written to the runtime: it goes to the next one.
    pub(super) fn delivery_failed(
        &mut self,
        id: SandboxId,
        request: Uuid,
        now: Instant,
        wall: SystemTime,
    ) {
        let Some(sandbox) = self.sandboxes.get_mut(&id) else { return };
        let Some(running) = &mut sandbox.running else { return };
        if running.event.id != request || running.answering {
            return; // something has been heard of it since
        }
        if running.repeated > 0 {
            running.repeated -= 1; // it was given twice, and the other time may have arrived
            return;
        }
        let Some(mut running) = sandbox.running.take() else { return };
        let pool = sandbox.pool;
        sandbox.init = running.init;
        self.local_running.remove(&request);
        self.poll_lost(id, now);
        if let Some(reply) = running.reply.take() {
            let Running { claim, event, received, .. } = running;
            let given_back = running.given_back;
            let invocation =
                Invocation { given_back, ..Invocation::new(claim, event, reply, received) };
            self.enqueue(pool, invocation, true, now, wall);
        }
    }

    /// The runtime that was given an event has reset its connection before it read all of that, as
    /// it seems: a process that ends like this does so. Whether it has ended is for the Engine to
    /// say; one that only closes its connections so is left alone.
    pub(super) fn event_unread(&mut self, watch: WatchId) {
        if let Some(id) = self.watched(watch)
            && let Some(sandbox) = self.sandboxes.get_mut(&id)
            && sandbox.parked.is_none()
            && let Some(running) = &mut sandbox.running
        {
            running.unread = true;
        }
    }

    /// Takes an invocation from a sandbox whose container has ended without having read it. That
    /// is done once for each: a runtime may end like this every time.
    pub(super) fn take_unread(&mut self, id: SandboxId) -> Option<Invocation> {
        let sandbox = self.sandboxes.get_mut(&id).filter(|s| s.origin == Origin::Managed)?;
        let heard = |running: &Running| running.answering || running.repeated > 0;
        let mut running = sandbox.running.take_if(|running| {
            running.unread && !running.given_back && !heard(running) && running.reply.is_some()
        })?;
        let request = running.event.id;
        self.effects.push(Effect::TakenBack { sandbox: id, id: request });
        let reply = running.reply.take()?;
        let Running { claim, event, received, .. } = running;
        Some(Invocation { given_back: true, ..Invocation::new(claim, event, reply, received) })
    }
}
