//! Sandboxes at rest: an idle one is frozen after a while, and thawed when it is needed.
//!
//! A frozen sandbox stays idle and can be given an event at any time: its parked `/next` is written
//! to at once, and its processes read it when the Engine has thawed them.

use std::time::Instant;

use super::core::{Core, Effect, FrostOrder, Origin, SandboxId};
use super::invocation::Outcome;
use crate::dispatch::invocation::Refusal;
use crate::sandbox::frost::{Ask, Frost, Turn};
use crate::sandbox::state::{EndReason, State};

impl Core {
    /// The one place where a sandbox's frost changes. False when the turn changes nothing.
    fn turn(&mut self, id: SandboxId, turn: Turn) -> bool {
        let Some(sandbox) = self.sandboxes.get_mut(&id) else { return false };
        let Some((after, ask)) = sandbox.frost.next(turn) else { return false };
        log::debug!("sandbox {id}: {:?} -> {after:?}", sandbox.frost);
        sandbox.frost = after;
        if let Some(ask) = ask
            && let Some(container) = sandbox.container.clone()
        {
            self.effects.push(Effect::Frost(FrostOrder { sandbox: id, container, ask }));
        }
        true
    }

    /// Freezes an idle sandbox whose time has come.
    pub(super) fn rest(&mut self, id: SandboxId, now: Instant) {
        let Some(after) = self.limits.freeze_after else { return };
        let Some(sandbox) = self.sandboxes.get(&id) else { return };
        let idle = sandbox.state == State::Idle && sandbox.origin == Origin::Managed;
        if !idle || sandbox.frost != Frost::Warm {
            return;
        }
        // The Engine may still be about to answer to its start.
        let launching = sandbox.launching.is_some();
        let due = if launching { now } else { sandbox.since.max(sandbox.restless) } + after;
        if due > now {
            self.wake_by(due);
        } else {
            self.turn(id, Turn::Rest);
        }
    }

    /// A sandbox is given an event.
    pub(super) fn need(&mut self, id: SandboxId) {
        if self.sandboxes.get(&id).is_some_and(|sandbox| sandbox.frost != Frost::Warm) {
            self.turn(id, Turn::Need);
        }
    }

    /// The Engine has done what it was asked to, or has not.
    pub(super) fn frost_done(&mut self, id: SandboxId, ask: Ask, done: bool, now: Instant) {
        let turn = if done { Turn::Done } else { Turn::Failed };
        if self.turn(id, turn) || done || ask == Ask::Freeze {
            if let Some(sandbox) = self.sandboxes.get_mut(&id)
                && let Some(after) = self.limits.freeze_after
            {
                // One that could not be frozen may be tried again later.
                sandbox.restless = now;
                self.wake_by(now + after);
            }
            return;
        }
        // Its processes may stand still for ever. Whether they have read the event is not known, so
        // nobody else gets it.
        let outcome = Outcome::Refused(Refusal::NoSandbox("it could not be thawed".to_owned()));
        self.end(id, EndReason::EngineFailed, Some(outcome), now);
    }
}
