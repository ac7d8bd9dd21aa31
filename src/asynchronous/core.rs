//! What waits in the queue, and what is delivered next: the state of the queue in memory.
//!
//! An entry is some 70 bytes here; its payload stays in the journal. Entries of one kind about one
//! function form a lane. Lanes take turns, so a function with many events keeps nobody waiting, and
//! a lane that could not be served is left alone for a while, longer each time.
//!
//! Invariants: an entry's state changes only in `Core::step`, by the one transition function in
//! `state`; no I/O, no clock; whoever holds the lock around this does no I/O meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use uuid::Uuid;

use super::frame::Place;
use super::state::{self, Policy, State, Step, millis};
use super::stored::{Address, Attempt, Content, Stored};

pub(super) type Index = u32;
type LaneId = u32;

/// So far an entry that is put back looks for its place: others of its lane may be there already.
const PUT_BACK: usize = 64;

/// What bounds the queue.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) max_entries: usize,
    pub(super) max_bytes: u64,
    /// Events in delivery at one time; the last place is kept for a function that has none.
    pub(super) max_deliveries: usize,
    /// Records that are being carried at one time.
    pub(super) max_carried: usize,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: Uuid,
    /// Grows with each entry: the order of lists.
    pub(super) number: u64,
    pub(super) accepted_ms: u64,
    pub(super) place: Place,
    lane: LaneId,
    pub(super) attempts: u8,
    pub(super) state: State,
}

/// What a lane holds: one kind of entries about one function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct LaneKey {
    pub(super) function: Address,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) key: Arc<LaneKey>,
    ready: VecDeque<Index>,
    pub(super) entries: usize,
    delivering: usize,
    /// How often in a row it could not be served.
    failures: u32,
    pub(super) not_before_ms: u64,
    /// When that was decided.
    backed_off_ms: u64,
    /// When it is looked at again, where that is known.
    wake_ms: Option<u64>,
    in_turn: bool,
    /// How long its events may wait, as was read last.
    max_age_ms: u64,
    pub(super) last_error: Option<String>,
}

/// An entry that is to be delivered now.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) index: Index,
    pub(super) lane: Arc<LaneKey>,
    pub(super) attempts: u8,
}

/// Events or records.
#[derive(Debug, Default)]
struct Class {
    /// Lanes that have something ready, in the order of their turns.
    turns: VecDeque<LaneId>,
    delivering: usize,
}

/// What a segment of the journal still has to be kept for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

#[derive(Debug)]
pub(super) struct Core {
    limits: Limits,
    pub(super) entries: Vec<Option<Entry>>,
    free: Vec<Index>,
    by_id: HashMap<Uuid, Index>,
    pub(super) lanes: HashMap<LaneId, Lane>,
    lane_of: HashMap<Arc<LaneKey>, LaneId>,
    next_lane: LaneId,
    next_number: u64,
    events: Class,
    records: Class,
    due: BTreeSet<(u64, Index)>,
    sleeping: BTreeSet<(u64, LaneId)>,
    live: BTreeMap<u32, Live>,
    /// Entries and their bytes, with those that are being accepted.
    used: Live,
    /// Deliver nothing more.
    pub(super) stopped: bool,
}

impl Core {
    pub(super) fn new(limits: Limits) -> Core {
        Core {
            limits,
            entries: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            lanes: HashMap::new(),
            lane_of: HashMap::new(),
            next_lane: 0,
            next_number: 1,
            events: Class::default(),
            records: Class::default(),
            due: BTreeSet::new(),
            sleeping: BTreeSet::new(),
            live: BTreeMap::new(),
            used: Live::default(),
            stopped: false,
        }
    }

    /// Takes room for an entry of so many bytes. False when there is none.
    pub(super) fn reserve(&mut self, bytes: u64) -> bool {
        let entries = self.used.entries < self.limits.max_entries as u64;
        let fits = entries && self.used.bytes.saturating_add(bytes) <= self.limits.max_bytes;
        if fits {
            self.take_room(bytes);
        }
        fits
    }

    /// What the service itself makes (records, events of destinations) always has room.
    pub(super) fn take_room(&mut self, bytes: u64) {
        self.used.entries += 1;
        self.used.bytes += bytes;
    }

    pub(super) fn give_room_back(&mut self, bytes: u64) {
        self.used.entries -= 1;
        self.used.bytes -= bytes;
    }

    pub(super) fn used(&self) -> Live {
        self.used
    }

    /// Adds an entry that is in the journal there and has its room. One of the same id is replaced.
    pub(super) fn insert(&mut self, stored: &Stored, place: Place) {
        if let Some(&earlier) = self.by_id.get(&stored.id) {
            self.remove(earlier);
        }
        let lane =
            self.lane(LaneKey { function: stored.function.clone(), content: stored.content });
        let state = match stored.until_ms {
            0 => State::Ready,
            until_ms => State::Waiting { until_ms },
        };
        let number = self.next_number;
        self.next_number += 1;
        let (id, accepted_ms, attempts) = (stored.id, stored.accepted_ms, stored.attempts);
        let entry = Entry { id, number, accepted_ms, place, lane, attempts, state };
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            Index::try_from(self.entries.len() - 1).unwrap_or(Index::MAX)
        });
        self.entries[index as usize] = Some(entry);
        self.by_id.insert(id, index);
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.entries += 1;
        }
        self.count_live(place, true);
        self.enter(index);
    }

    /// Counts an attempt that an earlier run has written down.
    pub(super) fn restore(&mut self, attempt: &Attempt) {
        let Some(&index) = self.by_id.get(&attempt.id) else { return };
        self.leave(index);
        if let Some(entry) = self.entry_mut(index) {
            entry.attempts = attempt.attempts;
            entry.state = State::Waiting { until_ms: attempt.until_ms };
        }
        self.enter(index);
    }

    /// The end of an entry is written: it is gone.
    pub(super) fn end(&mut self, id: Uuid) {
        if let Some(&index) = self.by_id.get(&id) {
            self.remove(index);
        }
    }

    fn remove(&mut self, index: Index) {
        self.leave(index);
        let Some(entry) = self.entries[index as usize].take() else { return };
        self.free.push(index);
        self.by_id.remove(&entry.id);
        self.count_live(entry.place, false);
        self.give_room_back(entry.place.bytes());
        let Some(lane) = self.lanes.get_mut(&entry.lane) else { return };
        lane.entries -= 1;
        if lane.entries == 0
            && let Some(lane) = self.lanes.remove(&entry.lane)
        {
            self.lane_of.remove(&lane.key);
            if let Some(wake_ms) = lane.wake_ms {
                self.sleeping.remove(&(wake_ms, entry.lane));
            }
        }
    }

    fn count_live(&mut self, place: Place, more: bool) {
        let live = self.live.entry(place.segment).or_default();
        let change = |count: &mut u64, by: u64| {
            *count = if more { *count + by } else { count.saturating_sub(by) };
        };
        change(&mut live.entries, 1);
        change(&mut live.bytes, place.bytes());
        if live.entries == 0 {
            self.live.remove(&place.segment);
        }
    }

    pub(super) fn live_in(&self, segment: u32) -> Live {
        self.live.get(&segment).copied().unwrap_or_default()
    }

    pub(super) fn live_bytes(&self) -> u64 {
        self.live.values().map(|live| live.bytes).sum()
    }

    /// Entries of a segment, as many as have about so many bytes together.
    pub(super) fn entries_in(&self, segment: u32, bytes: u64) -> Vec<(Index, Uuid)> {
        let mut left = bytes;
        let entries = self.entries.iter().enumerate();
        let inside = entries.filter_map(|(index, entry)| {
            let entry = entry.as_ref().filter(|entry| entry.place.segment == segment)?;
            Some((Index::try_from(index).ok()?, entry))
        });
        inside
            .take_while(|(_, entry)| {
                let fits = left > 0;
                left = left.saturating_sub(entry.place.bytes());
                fits
            })
            .map(|(index, entry)| (index, entry.id))
            .collect()
    }

    /// An entry was copied to another place of the journal.
    pub(super) fn moved(&mut self, id: Uuid, to: Place) {
        let Some(&index) = self.by_id.get(&id) else { return };
        let Some(entry) = self.entry_mut(index) else { return };
        let from = std::mem::replace(&mut entry.place, to);
        self.count_live(from, false);
        self.count_live(to, true);
        self.used.bytes = self.used.bytes + to.bytes() - from.bytes();
    }

    /// Whether an event of this id, or its record, is in the queue: then it is on the disk.
    pub(super) fn contains(&self, id: Uuid) -> bool {
        self.by_id.contains_key(&id)
    }

    pub(super) fn entry(&self, index: Index) -> Option<&Entry> {
        self.entries.get(index as usize)?.as_ref()
    }

    fn entry_mut(&mut self, index: Index) -> Option<&mut Entry> {
        self.entries.get_mut(index as usize)?.as_mut()
    }

    pub(super) fn lane_of(&self, entry: &Entry) -> Option<&Lane> {
        self.lanes.get(&entry.lane)
    }

    fn lane(&mut self, key: LaneKey) -> LaneId {
        if let Some(&id) = self.lane_of.get(&key) {
            return id;
        }
        let id = self.next_lane;
        self.next_lane += 1;
        let key = Arc::new(key);
        self.lane_of.insert(key.clone(), id);
        let lane = Lane {
            key,
            ready: VecDeque::new(),
            entries: 0,
            delivering: 0,
            failures: 0,
            not_before_ms: 0,
            backed_off_ms: 0,
            wake_ms: None,
            in_turn: false,
            max_age_ms: millis(state::MAX_AGE),
            last_error: None,
        };
        self.lanes.insert(id, lane);
        id
    }

    fn class(&mut self, content: Content) -> &mut Class {
        match content {
            Content::Event => &mut self.events,
            Content::Record(_) => &mut self.records,
        }
    }

    /// Moves an entry on. False when that step cannot be, and then nothing has changed.
    fn step(&mut self, index: Index, step: Step) -> bool {
        let Some(entry) = self.entry(index) else { return false };
        let Some(after) = entry.state.after(step) else { return false };
        self.leave(index);
        if let Some(entry) = self.entry_mut(index) {
            entry.state = after;
        }
        self.enter(index);
        true
    }

    /// Takes an entry out of what its state has put it into.
    fn leave(&mut self, index: Index) {
        let Some(entry) = self.entry(index) else { return };
        let lane = entry.lane;
        match entry.state {
            State::Waiting { until_ms } => _ = self.due.remove(&(until_ms, index)),
            State::Delivering => {
                let Some(lane) = self.lanes.get_mut(&lane) else { return };
                lane.delivering -= 1;
                let content = lane.key.content;
                self.class(content).delivering -= 1;
            }
            State::Ready => {
                let Some(lane) = self.lanes.get_mut(&lane) else { return };
                // It is nearly always the first: entries are taken, and purged, in their order.
                if lane.ready.front() == Some(&index) {
                    lane.ready.pop_front();
                } else {
                    lane.ready.retain(|one| *one != index);
                }
            }
            State::Ending => {}
        }
    }

    fn enter(&mut self, index: Index) {
        let Some(entry) = self.entry(index) else { return };
        let lane = entry.lane;
        match entry.state {
            State::Waiting { until_ms } => _ = self.due.insert((until_ms, index)),
            State::Delivering => {
                let Some(lane) = self.lanes.get_mut(&lane) else { return };
                lane.delivering += 1;
                let content = lane.key.content;
                self.class(content).delivering += 1;
            }
            State::Ready => {
                if let Some(lane) = self.lanes.get_mut(&lane) {
                    lane.ready.push_back(index);
                }
                self.give_turn(lane);
            }
            State::Ending => {}
        }
    }

    fn give_turn(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if lane.in_turn || lane.ready.is_empty() {
            return;
        }
        lane.in_turn = true;
        if let Some(wake_ms) = lane.wake_ms.take() {
            self.sleeping.remove(&(wake_ms, id));
        }
        let content = lane.key.content;
        self.class(content).turns.push_back(id);
    }

    /// The next entry to deliver, if there is room for one.
    pub(super) fn take(&mut self, now_ms: u64) -> Option<Work> {
        if self.stopped {
            return None;
        }
        while let Some(&(until_ms, index)) = self.due.first()
            && until_ms <= now_ms
        {
            self.step(index, Step::Due);
        }
        while let Some(&(wake_ms, lane)) = self.sleeping.first()
            && wake_ms <= now_ms
        {
            self.give_turn(lane);
            self.sleeping.remove(&(wake_ms, lane));
        }
        let (deliveries, carried) = (self.limits.max_deliveries, self.limits.max_carried);
        self.take_of(Content::Event, deliveries, now_ms).or_else(|| {
            let any_record = Content::Record(super::destination::Carrier::Letters);
            self.take_of(any_record, carried, now_ms)
        })
    }

    fn take_of(&mut self, class: Content, max: usize, now_ms: u64) -> Option<Work> {
        let free = max.saturating_sub(self.class(class).delivering);
        if free == 0 {
            return None;
        }
        for _ in 0..self.class(class).turns.len() {
            let id = self.class(class).turns.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            lane.in_turn = false;
            let Some(&index) = lane.ready.front() else { continue };
            let accepted_ms =
                self.entries[index as usize].as_ref().map_or(0, |entry| entry.accepted_ms);
            let mut wake_ms = lane.not_before_ms;
            // An event that becomes too old meanwhile ends in time.
            let expires_ms = accepted_ms.saturating_add(lane.max_age_ms);
            if class == Content::Event && lane.backed_off_ms < expires_ms {
                wake_ms = wake_ms.min(expires_ms);
            }
            if now_ms < wake_ms {
                lane.wake_ms = Some(wake_ms);
                self.sleeping.insert((wake_ms, id));
                continue;
            }
            if free == 1 && max > 1 && lane.delivering > 0 {
                // Kept for a function that has none in delivery.
                self.give_turn(id);
                continue;
            }
            let key = lane.key.clone();
            self.step(index, Step::Take);
            self.give_turn(id);
            let attempts = self.entry(index)?.attempts;
            return Some(Work { index, lane: key, attempts });
        }
        None
    }

    /// When there may be something to take that is not there yet.
    pub(super) fn wake_ms(&self) -> Option<u64> {
        let due = self.due.first().map(|(at, _)| *at);
        let sleeping = self.sleeping.first().map(|(at, _)| *at);
        [due, sleeping].into_iter().flatten().min()
    }

    /// What was taken could not be delivered, through no fault of its own: it waits in front, and
    /// its lane is left alone for a while.
    pub(super) fn put_back(&mut self, index: Index, why: &str, now_ms: u64) {
        let Some(id) = self.entry(index).map(|entry| entry.lane) else { return };
        if !self.step(index, Step::PutBack) {
            return;
        }
        let entries = &self.entries;
        let number = |index: Index| entries.get(index as usize)?.as_ref().map(|entry| entry.number);
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if let Some(last) = lane.ready.pop_back() {
            // Behind those that were put back before it and are older.
            let older = |one: &&Index| number(**one) < number(last);
            let place = lane.ready.iter().take(PUT_BACK).take_while(older).count();
            lane.ready.insert(place, last);
        }
        // Those that were taken together fail together, and that is one failure.
        if now_ms >= lane.not_before_ms {
            lane.failures = lane.failures.saturating_add(1);
            lane.not_before_ms = now_ms.saturating_add(millis(state::back_off(lane.failures)));
            lane.backed_off_ms = now_ms;
        }
        lane.last_error = Some(super::stored::short(why).to_owned());
    }

    /// It was delivered, whatever came of it: the lane can be served.
    pub(super) fn served(&mut self, index: Index, error: Option<&str>) {
        let Some(id) = self.entry(index).map(|entry| entry.lane) else { return };
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        (lane.failures, lane.not_before_ms) = (0, 0);
        if let Some(error) = error {
            lane.last_error = Some(super::stored::short(error).to_owned());
        }
        self.give_turn(id);
    }

    /// The function failed; it is tried again at that time. The attempt as it is written down.
    pub(super) fn retry(&mut self, index: Index, until_ms: u64) -> Option<Attempt> {
        let moved = self.step(index, Step::Retry { until_ms });
        let entry = self.entry_mut(index).filter(|_| moved)?;
        entry.attempts = entry.attempts.saturating_add(1);
        Some(Attempt { id: entry.id, attempts: entry.attempts, until_ms })
    }

    /// It is over. False when it was over before, or is gone.
    pub(super) fn conclude(&mut self, index: Index) -> bool {
        self.step(index, Step::Conclude)
    }

    /// What was read of the policy of a lane's function.
    pub(super) fn learn(&mut self, index: Index, policy: &Policy) {
        let Some(id) = self.entry(index).map(|entry| entry.lane) else { return };
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.max_age_ms = millis(policy.max_age);
        }
    }

    /// An operator wants it tried now.
    pub(super) fn hurry(&mut self, index: Index) -> bool {
        let Some(id) = self.entry(index).map(|entry| entry.lane) else { return false };
        if !self.step(index, Step::Due) {
            return false;
        }
        if let Some(lane) = self.lanes.get_mut(&id) {
            (lane.failures, lane.not_before_ms) = (0, 0);
        }
        self.give_turn(id);
        true
    }
}
