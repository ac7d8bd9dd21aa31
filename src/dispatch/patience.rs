//! Invocations for which there is no room: refused at once, or, where the configuration says so,
//! kept for a bounded time until there is.
//!
//! They are not accepted yet, so they count nowhere. Each pool has its own, the oldest first; when
//! room comes free, the oldest of all that may have it is let in.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::core::{Core, Effect, PoolId};
use super::invocation::{Event, Invocation, Outcome, Patient, Refusal, Reply, Report, Target};
use super::matching::FINISH_GRACE;
use super::shares::ClaimId;

/// So many may wait for room; each of them holds a connection and its payload as well.
const MAX_PATIENT: usize = 10_000;

impl Core {
    /// Accepts an invocation, lets it wait for room, or refuses it.
    pub(super) fn invoke(
        &mut self,
        target: &Arc<Target>,
        event: Arc<Event>,
        reply: Box<dyn Reply>,
        now: Instant,
        wall: SystemTime,
    ) {
        match self.accept(target, now) {
            Ok((pool, claim)) => {
                self.active += 1;
                let received = now;
                let invocation = Invocation::new(claim, event, reply, received);
                self.enqueue(pool, invocation, false, now, wall);
            }
            Err(refusal) => {
                let wait = self.may_wait(&refusal);
                let patient = Patient { event, reply, received: now, refusal };
                if wait {
                    self.let_wait(target, patient, now);
                } else {
                    self.turn_away(patient);
                }
            }
        }
    }

    fn let_wait(&mut self, target: &Arc<Target>, mut patient: Patient, now: Instant) {
        let pool = self.pool_for(target, now);
        match self.pools.get_mut(&pool).filter(|of| !of.retired) {
            Some(of) => {
                of.patient.push_back(patient);
                self.patient += 1;
                self.wake_by(now + self.limits.max_queue_wait);
            }
            None => {
                patient.refusal = Refusal::FunctionGone;
                self.turn_away(patient);
            }
        }
    }

    /// The pool that takes an invocation of `target`, and the claim that it was taken from.
    fn accept(&mut self, target: &Arc<Target>, now: Instant) -> Result<(PoolId, ClaimId), Refusal> {
        if self.draining {
            return Err(Refusal::ShuttingDown);
        }
        // The pool of a refused invocation is made only where its claim has to be asked.
        if self.active >= self.limits.max_concurrent_executions && !self.shares.any_bounds() {
            return Err(Refusal::ConcurrencyLimit);
        }
        let pool = self.pool_for(target, now);
        match self.pools.get(&pool).and_then(|of| of.patient.front()) {
            // Nobody overtakes those who wait.
            Some(patient) => Err(patient.refusal.clone()),
            None => Ok((pool, self.take(pool)?)),
        }
    }

    /// Takes one invocation out of a pool's claim.
    fn take(&mut self, pool: PoolId) -> Result<ClaimId, Refusal> {
        let claim = self.pools.get(&pool).map_or(0, |of| of.claim);
        if !self.memory_allows(pool) {
            return Err(Refusal::MemoryLimit);
        }
        self.shares.take(claim)?;
        if self.active >= self.limits.max_concurrent_executions {
            // Somebody has more than their share, from before a reservation was set.
            self.shares.give_back(claim);
            return Err(Refusal::ConcurrencyLimit);
        }
        Ok(claim)
    }

    fn may_wait(&self, refusal: &Refusal) -> bool {
        let for_room = matches!(
            refusal,
            Refusal::ConcurrencyLimit | Refusal::ReservedLimit | Refusal::MemoryLimit
        );
        for_room && !self.limits.max_queue_wait.is_zero() && self.patient < MAX_PATIENT
    }

    /// Lets those in for whom there is room now. Called after each step.
    pub(super) fn let_in(&mut self, now: Instant, wall: SystemTime) {
        while self.patient > 0 && self.let_one_in(now, wall) {}
    }

    fn let_one_in(&mut self, now: Instant, wall: SystemTime) -> bool {
        if self.draining || self.active >= self.limits.max_concurrent_executions {
            return false;
        }
        let oldest = |(&id, pool): (&PoolId, &super::core::Pool)| {
            pool.patient.front().map(|patient| (patient.received, id))
        };
        let mut pools: Vec<(Instant, PoolId)> = self.pools.iter().filter_map(oldest).collect();
        pools.sort_unstable();
        for (_, pool) in pools {
            let claim = match self.take(pool) {
                Ok(claim) => claim,
                Err(Refusal::Stopped) => {
                    self.send_away(pool, &Refusal::Stopped);
                    continue;
                }
                Err(_) => continue,
            };
            if let Some(Patient { event, reply, received, .. }) = self.pop_patient(pool) {
                self.active += 1;
                let invocation = Invocation::new(claim, event, reply, received);
                self.enqueue(pool, invocation, false, now, wall);
                return true;
            }
            self.shares.give_back(claim);
        }
        false
    }

    fn pop_patient(&mut self, pool: PoolId) -> Option<Patient> {
        let patient = self.pools.get_mut(&pool)?.patient.pop_front()?;
        self.patient -= 1;
        Some(patient)
    }

    /// Refuses all who wait for room in a pool.
    pub(super) fn send_away(&mut self, pool: PoolId, refusal: &Refusal) {
        while let Some(patient) = self.pop_patient(pool) {
            self.turn_away(Patient { refusal: refusal.clone(), ..patient });
        }
    }

    fn turn_away(&mut self, patient: Patient) {
        let report = Report::untaken(patient.event);
        let outcome = Outcome::Refused(patient.refusal);
        self.effects.push(Effect::Reply { reply: patient.reply, outcome, report });
    }

    /// Refuses those who have waited for long enough.
    pub(super) fn lose_patience(&mut self, pool: PoolId, now: Instant) {
        loop {
            let oldest = self.pools.get(&pool).and_then(|of| of.patient.front());
            let Some(oldest) = oldest else { return };
            let expires = oldest.received + self.limits.max_queue_wait;
            if expires > now {
                self.wake_by(expires);
                return;
            }
            if let Some(patient) = self.pop_patient(pool) {
                self.turn_away(patient);
            }
        }
    }

    /// How long an accepted invocation waits for memory that others have taken since.
    pub(super) fn starving_time(&self) -> Duration {
        self.limits.max_queue_wait.max(FINISH_GRACE)
    }

    /// Refuses those that were accepted when somebody was about to come back, or memory about to
    /// come free, and for whom nothing is left to wait for.
    pub(super) fn give_up_starving(&mut self, pool: PoolId, now: Instant) {
        loop {
            let Some(of) = self.pools.get(&pool) else { return };
            let covered = of.waiting.len() <= of.initializing + of.finishing;
            if covered || of.target.function.is_none() || !self.by_memory(pool) {
                return;
            }
            if self.room_to_come(pool) {
                return;
            }
            let Some(oldest) = of.waiting.front() else { return };
            let expires = oldest.received + self.starving_time();
            if expires > now {
                self.wake_by(expires);
                return;
            }
            if let Some(invocation) = self.pop_waiting(pool) {
                self.refuse(invocation, Outcome::Refused(Refusal::MemoryLimit));
            }
        }
    }
}
