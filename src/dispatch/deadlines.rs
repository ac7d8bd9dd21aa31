//! What time does: invocations expire, starts take too long, idle sandboxes are let go.

use std::time::{Duration, Instant};

use super::core::{Core, Origin, PoolId, SandboxId};
use super::invocation::{Failure, Outcome, Refusal};
use super::matching::FINISH_GRACE;
use crate::sandbox::state::{EndReason, State};

/// How long the name of a function without a registry entry is remembered after its last runtime.
const MEMORY: Duration = Duration::from_secs(60);

/// How often one tick looks at everything; what is left then is due at once.
const ROUNDS: usize = 4;

impl Core {
    /// Does what is due, and leaves in `wake` when the next thing will be.
    pub(super) fn tick(&mut self, now: Instant) {
        // What ends here may be what another pool could not have a moment ago.
        for _ in 0..ROUNDS {
            self.round(now);
            if self.wake.is_none_or(|wake| wake > now) {
                return;
            }
        }
    }

    fn round(&mut self, now: Instant) {
        self.wake = None;
        let sandboxes: Vec<SandboxId> = self.sandboxes.keys().copied().collect();
        for id in sandboxes {
            match self.due(id, now) {
                Some((reason, outcome)) => self.end(id, reason, outcome, now),
                None => self.rest(id, now),
            }
        }
        let pools: Vec<PoolId> = self.pools.keys().copied().collect();
        for pool in pools {
            self.look_after(pool, now);
        }
    }

    /// What time has brought to one sandbox, if anything.
    fn due(&mut self, id: SandboxId, now: Instant) -> Option<(EndReason, Option<Outcome>)> {
        let sandbox = self.sandboxes.get(&id)?;
        let (deadline, reason, outcome) = match sandbox.state {
            State::Starting => {
                let after = sandbox.init_limit;
                let outcome = Outcome::Failed(Failure::InitTimedOut { after });
                (sandbox.since + after, EndReason::InitFailed, Some(outcome))
            }
            State::Busy => {
                let outcome = Outcome::Failed(Failure::TimedOut { after: sandbox.target.timeout });
                (sandbox.expires, EndReason::TimedOut, Some(outcome))
            }
            // It has answered and works on, or does not come back.
            State::Finishing => (sandbox.expires, EndReason::TimedOut, None),
            State::Idle if sandbox.origin == Origin::Managed => {
                let pool = self.pools.get(&sandbox.pool)?;
                let since = sandbox.since;
                if !self.shares.has_excess(pool.claim) {
                    // It is kept ready; that may change.
                    self.wake_by(since.max(now) + self.limits.idle_timeout);
                    return None;
                }
                (since + self.limits.idle_timeout, EndReason::Idle, None)
            }
            // The Engine's calls have their own deadlines.
            State::Creating | State::Idle | State::Stopping(_) => return None,
        };
        if deadline <= now {
            return Some((reason, outcome));
        }
        self.wake_by(deadline);
        None
    }

    fn look_after(&mut self, pool: PoolId, now: Instant) {
        self.lose_patience(pool, now);
        let Some(of) = self.pools.get(&pool) else { return };
        let ours = of.target.function.is_some();
        if !of.waiting.is_empty() {
            let fresh = self.sandboxes.values().filter(|sandbox| {
                sandbox.pool == pool
                    && sandbox.state == State::Finishing
                    && now.saturating_duration_since(sandbox.since) < FINISH_GRACE
            });
            let fresh = fresh.count();
            if fresh > 0 {
                self.wake_by(now + FINISH_GRACE);
            }
            self.give_up_starving(pool, now);
            self.grow_beyond(pool, fresh, now);
            self.expire_waiting(pool, now);
            return;
        }
        self.grow(pool, now);
        let Some(of) = self.pools.get(&pool) else { return };
        if !ours && of.sandboxes() == 0 {
            let forgotten = of.heard + MEMORY;
            if forgotten <= now {
                self.retire(&of.target.key.clone(), now);
            } else {
                self.wake_by(forgotten);
            }
        }
    }

    /// Refuses those who have waited long enough for a runtime that nobody here can start.
    fn expire_waiting(&mut self, pool: PoolId, now: Instant) {
        loop {
            let Some(of) = self.pools.get(&pool) else { return };
            if of.target.function.is_some() {
                return; // each of them is covered by a start, which ends one way or another
            }
            let Some(oldest) = of.waiting.front() else { return };
            // With a runtime at work the wait is for its turn, else for somebody to come.
            let expires = if of.busy + of.finishing > 0 {
                oldest.received + of.target.timeout
            } else {
                oldest.received.max(of.heard) + self.limits.init_timeout
            };
            if expires > now {
                self.wake_by(expires);
                return;
            }
            if let Some(invocation) = self.pop_waiting(pool) {
                self.refuse(invocation, Outcome::Refused(Refusal::NoRuntime));
            }
        }
    }
}
