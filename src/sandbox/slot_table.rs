//! The table of network slots: what each one is, which one a sandbox gets, what is to be done next.
//!
//! Pure: no Engine, no clock, no thread; `slots` does what this decides. A slot changes its state
//! only by [`State::next`].
//!
//! Invariants: a slot has at most one sandbox; a network that one function has used is never given
//! to another function, and to the same one only after it has rested and the service holds no
//! connection from its address any more.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dispatch::SandboxId;

/// How long a network rests after a sandbox: longer than the Engine is asked whose an address is
/// (`adoption`), so that no question about the old sandbox is answered with the new one.
const REST: Duration = Duration::from_secs(3);
/// A network with a connection for so long after its sandbox has gone is given up.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// How long a rested network waits for its function to start another sandbox.
const KEEP: Duration = Duration::from_secs(60);
/// The Engine is left to the starts until there was none for so long ...
const PAUSE_AFTER_STARTS: Duration = Duration::from_millis(50);
/// ... but never for longer than this since the last thing that was done here.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a slot more is kept for each start that found none.
const GROWN_FOR: Duration = Duration::from_secs(30);
/// A holder that lasts for so long stays up.
const LIFE: Duration = Duration::from_secs(1);
/// How long a failure is waited out at first, and at most.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// How often is looked at what only time changes.
const LOOK: Duration = Duration::from_secs(1);

pub(super) type SlotId = u64;

/// Where a slot is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its holder is being created and started.
    Making,
    /// It waits for a sandbox.
    Ready,
    /// A sandbox has it, from before it is created until its container is gone.
    Taken(SandboxId),
    /// Its sandbox has gone; what that one has sent may still arrive.
    Resting,
    /// Its network is lost or not wanted any more; the holder is to be removed.
    Broken,
}

/// What happens to a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Made,
    Take(SandboxId),
    /// The sandbox's container was never started.
    Unused,
    /// The sandbox's container is gone.
    Left,
    Rested,
    Break,
}

impl State {
    /// The state after `step`, or `None` where the step cannot be.
    pub(super) fn next(self, step: Step) -> Option<State> {
        use State::*;
        match (self, step) {
            (Making, Step::Made) => Some(Ready),
            (Ready, Step::Take(sandbox)) => Some(Taken(sandbox)),
            (Taken(_), Step::Unused) => Some(Ready),
            (Taken(_), Step::Left) => Some(Resting),
            (Resting, Step::Rested) => Some(Ready),
            (Making | Ready | Taken(_) | Resting, Step::Break) => Some(Broken),
            (Ready | Taken(_) | Resting | Broken, Step::Made)
            | (Making | Taken(_) | Resting | Broken, Step::Take(_))
            | (Making | Ready | Resting | Broken, Step::Unused | Step::Left)
            | (Making | Ready | Taken(_) | Broken, Step::Rested)
            | (Broken, Step::Break) => None,
        }
    }
}

struct Slot {
    id: SlotId,
    state: State,
    /// When it came into this state.
    since: Instant,
    address: Ipv4Addr,
    /// The container that holds the network, once it is created.
    holder: Option<Arc<str>>,
    /// The one function that may use the network, once one has taken it.
    function: Option<Arc<str>>,
    /// Whether that function has used it.
    used: bool,
    /// The container of the sandbox that has it, once it is created.
    occupant: Option<Arc<str>>,
}

impl Slot {
    fn step(&mut self, step: Step, now: Instant) -> bool {
        let Some(after) = self.state.next(step) else { return false };
        self.state = after;
        self.since = now;
        true
    }
}

/// What a sandbox that takes a slot needs to know.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) holder: Arc<str>,
    pub(super) address: Ipv4Addr,
}

/// In what state a sandbox leaves its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// It was never started.
    Unused,
    /// Its container has run and is gone.
    Gone,
    /// Its container may still be there, or it could not join the network.
    Spoiled,
}

/// What fails, and with that what shows that it works again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Holders cannot be made or do not stay up; one that does shows that it works again.
    Make,
    /// A container cannot join a holder; one that does shows that it works again.
    Join,
}

struct Trouble {
    stage: Stage,
    /// When it was seen last, how long it is waited out, and until when.
    seen: Instant,
    wait: Duration,
    until: Instant,
}

/// What the owner of the table is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    Make,
    Remove(SlotId, Arc<str>),
    /// To say that slots work again.
    Rejoice,
    /// Nothing, until something happens or this much time has gone by.
    Wait(Option<Duration>),
    /// Nothing any more.
    Stop,
}

/// How many slots there are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlotCounts {
    pub making: usize,
    pub ready: usize,
    pub taken: usize,
    pub resting: usize,
}

pub(super) struct Table {
    slots: Vec<Slot>,
    next_id: SlotId,
    /// How many slots that nobody has used are kept ready.
    size: usize,
    /// Slots beyond that, for starts that found none; and when that number last changed.
    grown: usize,
    grown_at: Instant,
    /// Starts under way, and when the last one ended.
    starting: usize,
    last_start: Instant,
    last_job: Instant,
    /// How many holders in a row have not lived for long.
    short_lives: usize,
    trouble: Option<Trouble>,
    closed: bool,
}

impl Table {
    pub(super) fn new(size: usize, now: Instant) -> Table {
        Table {
            slots: Vec::new(),
            next_id: 1,
            size,
            grown: 0,
            grown_at: now,
            starting: 0,
            last_start: now,
            last_job: now,
            short_lives: 0,
            trouble: None,
            closed: false,
        }
    }

    /// Whether there are to be no slots at all.
    pub(super) fn is_off(&self) -> bool {
        self.size == 0
    }

    pub(super) fn counts(&self) -> SlotCounts {
        let mut counts = SlotCounts::default();
        for slot in &self.slots {
            match slot.state {
                State::Making => counts.making += 1,
                State::Ready => counts.ready += 1,
                State::Taken(_) => counts.taken += 1,
                State::Resting => counts.resting += 1,
                State::Broken => {}
            }
        }
        counts
    }

    /// Whether a slot has this address, in whatever state it is.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.slots.iter().any(|slot| IpAddr::V4(slot.address) == address)
    }

    /// The holders that are expected to run.
    pub(super) fn holders(&self) -> Vec<Arc<str>> {
        let up = self.slots.iter().filter(|s| !matches!(s.state, State::Making | State::Broken));
        up.filter_map(|slot| slot.holder.clone()).collect()
    }

    // What starts do.

    pub(super) fn start_begins(&mut self) {
        self.starting += 1;
    }

    pub(super) fn start_ends(&mut self, now: Instant) {
        self.starting = self.starting.saturating_sub(1);
        self.last_start = now;
    }

    /// Gives a sandbox of this function (by its ARN) a slot: one that nobody has used, else the one of this
    /// function that has rested for longest.
    pub(super) fn take(
        &mut self,
        sandbox: SandboxId,
        function: &str,
        now: Instant,
    ) -> Option<Place> {
        let own = |slot: &Slot| slot.function.as_deref() == Some(function);
        let free = self
            .slots
            .iter_mut()
            .filter(|slot| slot.state == State::Ready && (!slot.used || own(slot)));
        let Some(slot) = free.min_by_key(|slot| (slot.used, slot.since)) else {
            if self.size > 0 && self.trouble.is_none() {
                self.grown = (self.grown + 1).min(self.size);
                self.grown_at = now;
            }
            return None;
        };
        let holder = slot.holder.clone()?;
        slot.step(Step::Take(sandbox), now);
        slot.function = Some(Arc::from(function));
        Some(Place { holder, address: slot.address })
    }

    /// The sandbox's container is created in its slot. False when the slot has broken meanwhile.
    pub(super) fn joined(&mut self, sandbox: SandboxId, container: &Arc<str>) -> bool {
        match self.taken_by(sandbox) {
            Some(slot) => {
                slot.occupant = Some(container.clone());
                true
            }
            None => false,
        }
    }

    /// A container runs in its slot, so slots work. True when they did not before.
    pub(super) fn works(&mut self) -> bool {
        self.short_lives = 0;
        self.trouble.take().is_some()
    }

    /// The sandbox needs its slot no more. False when it has none, or not any more.
    pub(super) fn leave(&mut self, sandbox: SandboxId, how: Left, now: Instant) -> bool {
        let Some(slot) = self.taken_by(sandbox) else { return false };
        slot.occupant = None;
        slot.used |= how != Left::Unused;
        let step = match how {
            Left::Unused => Step::Unused,
            Left::Gone => Step::Left,
            Left::Spoiled => Step::Break,
        };
        slot.step(step, now)
    }

    fn taken_by(&mut self, sandbox: SandboxId) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.state == State::Taken(sandbox))
    }

    // What the Engine tells.

    /// The network of this holder is lost. Gives the container that has lost it with that, and
    /// whether holders seem not to stay up: somebody may remove all of them, but not more.
    pub(super) fn lost(&mut self, holder: &str, now: Instant) -> (Option<Arc<str>>, bool) {
        let of = |slot: &&mut Slot| slot.holder.as_deref() == Some(holder);
        let Some(slot) = self.slots.iter_mut().find(of) else { return (None, false) };
        let lived = match slot.state {
            State::Making => false,
            State::Ready => slot.used || now >= slot.since + LIFE,
            State::Taken(_) | State::Resting => true,
            // The Engine tells of one end in several events.
            State::Broken => return (None, false),
        };
        slot.step(Step::Break, now);
        let occupant = slot.occupant.take();
        self.short_lives = if lived { 0 } else { self.short_lives + 1 };
        (occupant, self.short_lives > self.size && !self.closed)
    }

    /// Something fails: it is tried again after a while, and later each time. True the first time.
    pub(super) fn failed(&mut self, stage: Stage, now: Instant) -> bool {
        let before = self.trouble.take();
        let wait = before.as_ref().map_or(FIRST_WAIT, |t| (t.wait * 2).min(LONGEST_WAIT));
        let first = before.is_none();
        self.trouble = Some(Trouble { stage, seen: now, wait, until: now + wait });
        first
    }

    /// The Engine has come back: there is nothing to wait for.
    pub(super) fn try_now(&mut self, now: Instant) {
        if let Some(trouble) = &mut self.trouble {
            trouble.wait = FIRST_WAIT;
            trouble.until = now;
        }
    }

    // What the owner does.

    fn slot(&mut self, id: SlotId) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.id == id)
    }

    /// A slot is being made at this address.
    pub(super) fn begin(&mut self, address: Ipv4Addr, now: Instant) -> SlotId {
        let id = self.next_id;
        self.next_id += 1;
        self.slots.push(Slot {
            id,
            state: State::Making,
            since: now,
            address,
            holder: None,
            function: None,
            used: false,
            occupant: None,
        });
        id
    }

    /// Its holder is created.
    pub(super) fn created(&mut self, id: SlotId, holder: Arc<str>) {
        if let Some(slot) = self.slot(id) {
            slot.holder = Some(holder);
        }
    }

    /// Its holder runs.
    pub(super) fn made(&mut self, id: SlotId, now: Instant) {
        self.last_job = now;
        if let Some(slot) = self.slot(id) {
            slot.step(Step::Made, now);
        }
    }

    /// Its holder could not be removed; that is tried again.
    pub(super) fn still_there(&mut self, id: SlotId, now: Instant) {
        self.last_job = now;
        if let Some(slot) = self.slot(id) {
            slot.since = now;
        }
    }

    /// It is gone, or was never made.
    pub(super) fn forget(&mut self, id: SlotId, now: Instant) {
        self.last_job = now;
        self.slots.retain(|slot| slot.id != id);
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// What to do now. `quiet` says whether nobody is connected from an address.
    pub(super) fn next(&mut self, now: Instant, quiet: &dyn Fn(Ipv4Addr) -> bool) -> Next {
        if self.closed {
            return Next::Stop;
        }
        self.pass_time(now, quiet);
        let over = self.trouble.as_ref().is_some_and(|trouble| {
            let lives = |slot: &Slot| slot.state == State::Ready && now >= slot.since + LIFE;
            trouble.stage == Stage::Make
                && self.fresh().any(|slot| lives(slot) && slot.since > trouble.seen)
        });
        if over {
            self.works();
            return Next::Rejoice;
        }
        let job = self.job(now);
        if job == Next::Wait(None) {
            let timed = self.grown > 0
                || self.trouble.is_some()
                || self.slots.iter().any(|slot| match slot.state {
                    State::Making | State::Taken(_) => false,
                    State::Ready => slot.used,
                    State::Resting | State::Broken => true,
                });
            return Next::Wait(timed.then_some(LOOK));
        }
        let free = match self.starting {
            0 => (self.last_start + PAUSE_AFTER_STARTS).min(self.last_job + PATIENCE),
            _ => self.last_job + PATIENCE,
        };
        if free > now { Next::Wait(Some(free - now)) } else { job }
    }

    fn job(&self, now: Instant) -> Next {
        let due = |slot: &Slot| slot.state == State::Broken && slot.since + LOOK <= now;
        for slot in self.slots.iter().filter(|slot| due(slot)) {
            if let Some(holder) = &slot.holder {
                return Next::Remove(slot.id, holder.clone());
            }
        }
        // In trouble one after the other, each seen to live before the next is made.
        let may = self.trouble.as_ref().is_none_or(|trouble| {
            trouble.until <= now && !self.fresh().any(|slot| slot.since >= trouble.until)
        });
        if may && self.fresh().count() < self.wanted() { Next::Make } else { Next::Wait(None) }
    }

    /// The slots that nobody has used.
    fn fresh(&self) -> impl Iterator<Item = &Slot> {
        let fresh = |slot: &&Slot| !slot.used && matches!(slot.state, State::Making | State::Ready);
        self.slots.iter().filter(fresh)
    }

    /// How many slots that nobody has used there are to be.
    fn wanted(&self) -> usize {
        match &self.trouble {
            Some(Trouble { stage: Stage::Join, .. }) => self.size.min(1), // to try it again with
            _ => self.size + self.grown,
        }
    }

    /// Does what only time does.
    fn pass_time(&mut self, now: Instant, quiet: &dyn Fn(Ipv4Addr) -> bool) {
        while self.grown > 0 && now >= self.grown_at + GROWN_FOR {
            self.grown -= 1;
            self.grown_at += GROWN_FOR;
        }
        for slot in &mut self.slots {
            let rested = now.saturating_duration_since(slot.since);
            match slot.state {
                State::Resting if rested >= LONGEST_REST => slot.step(Step::Break, now),
                State::Resting if rested >= REST && quiet(slot.address) => {
                    slot.step(Step::Rested, now)
                }
                State::Ready if slot.used && rested >= KEEP => slot.step(Step::Break, now),
                _ => false,
            };
        }
        self.break_surplus(true, now);
        self.break_surplus(false, now);
    }

    /// Gives up the oldest of the ready slots beyond those that are wanted: of those that were
    /// used, or of those that were not.
    fn break_surplus(&mut self, used: bool, now: Instant) {
        let keep = self.wanted();
        let mut ready: Vec<&mut Slot> = self
            .slots
            .iter_mut()
            .filter(|slot| slot.state == State::Ready && slot.used == used)
            .collect();
        ready.sort_by_key(|slot| slot.since);
        let surplus = ready.len().saturating_sub(keep);
        for slot in ready.into_iter().take(surplus) {
            slot.step(Step::Break, now);
        }
    }
}

#[cfg(test)]
mod tests;
