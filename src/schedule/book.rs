//! All schedules and groups in memory: about a kilobyte of each, without inputs. Pure: time comes
//! in as an argument, and nothing here waits.
//!
//! ```text
//!            .--Refused--.
//!            v           |
//! Idle    Waiting --Take--> Sending --Took--> Moving --(written)--> Waiting, Idle, or gone
//!            `------------Skip---------------^
//! ```
//!
//! Invariants: a schedule's phase changes only by [`Phase::after`]; exactly those that are `Waiting`
//! are in `due`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use uuid::Uuid;

use super::payload::{offset_ms, run_id};
use super::record::{Plan, Record};

/// `region/group/name`
pub(super) type Key = Arc<str>;

/// A clock that was set back by more than this was wrong before.
const WRONG_CLOCK: i64 = 86_400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Disabled, or without any further run.
    Idle,
    /// For its next run, or for another try to hand it over.
    Waiting { due_ms: u64, failures: u32 },
    /// The event queue was asked to take its run.
    Sending { failures: u32 },
    /// Its run is over here, which is not on the disk yet.
    Moving,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Take,
    /// The queue has it, or it is given up.
    Took,
    Refused {
        until_ms: u64,
    },
    Skip,
}

impl Phase {
    /// The one transition function; `None` where the step cannot be.
    pub(super) fn after(self, step: Step) -> Option<Phase> {
        Some(match (self, step) {
            (Phase::Waiting { failures, .. }, Step::Take) => Phase::Sending { failures },
            (Phase::Waiting { .. }, Step::Skip) => Phase::Moving,
            (Phase::Sending { .. }, Step::Took) => Phase::Moving,
            (Phase::Sending { failures }, Step::Refused { until_ms }) => {
                Phase::Waiting { due_ms: until_ms, failures: failures.saturating_add(1) }
            }
            _ => return None,
        })
    }
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: Uuid,
    pub(super) plan: Plan,
    pub(super) target: String,
    pub(super) created_ms: u64,
    pub(super) modified_ms: u64,
    pub(super) progress: Progress,
    pub(super) phase: Phase,
}

/// How far a schedule is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The run that was over last.
    pub(super) last: Option<i64>,
    /// The run that comes next.
    pub(super) next: Option<i64>,
}

impl Progress {
    pub(super) fn bytes(self) -> Vec<u8> {
        let text = |run: Option<i64>| run.map_or_else(|| "-".to_owned(), |run| run.to_string());
        format!("{} {}", text(self.last), text(self.next)).into_bytes()
    }

    pub(super) fn of(bytes: &[u8]) -> Option<Progress> {
        let (last, next) = std::str::from_utf8(bytes).ok()?.split_once(' ')?;
        let run = |text: &str| match text {
            "-" => Some(None),
            text => text.parse().ok().map(Some),
        };
        Some(Progress { last: run(last)?, next: run(next)? })
    }
}

/// A group with what is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub created_ms: u64,
    pub modified_ms: u64,
    pub tags: BTreeMap<String, String>,
    pub token: String,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) entries: BTreeMap<Key, Entry>,
    due: BTreeSet<(u64, Key)>,
    /// `region/name`; the group `default` is always there and not in it.
    pub(super) groups: BTreeMap<String, Group>,
}

impl Book {
    /// Adds a schedule, or replaces one.
    pub(super) fn put(&mut self, key: &str, record: &Record, plan: Plan, progress: Progress) {
        let key: Key = key.into();
        self.leave(&key);
        let phase = Phase::Idle;
        let entry = Entry {
            id: record.id,
            plan,
            target: record.target().to_owned(),
            created_ms: record.created_ms,
            modified_ms: record.modified_ms,
            progress,
            phase,
        };
        self.entries.insert(key.clone(), entry);
        self.advance(&key, progress);
    }

    /// Changes what does not concern the time of its runs; a run under way stays that.
    pub(super) fn renew(&mut self, key: &str, record: &Record, plan: Plan) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.plan = plan;
            record.target().clone_into(&mut entry.target);
            entry.modified_ms = record.modified_ms;
        }
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.leave(key);
        self.entries.remove(key);
    }

    /// What comes next is decided, and on the disk.
    pub(super) fn advance(&mut self, key: &str, progress: Progress) {
        self.leave(key);
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.progress = progress;
        entry.phase = match progress.next.filter(|_| entry.plan.enabled) {
            Some(run) => Phase::Waiting { due_ms: entry.due_ms(run), failures: 0 },
            None => Phase::Idle,
        };
        self.enter(key);
    }

    /// Moves a schedule on. False when that step cannot be, and then nothing has changed.
    pub(super) fn step(&mut self, key: &str, step: Step) -> bool {
        let Some(entry) = self.entries.get(key) else { return false };
        let Some(after) = entry.phase.after(step) else { return false };
        self.leave(key);
        if let Some(entry) = self.entries.get_mut(key) {
            entry.phase = after;
        }
        self.enter(key);
        true
    }

    fn leave(&mut self, key: &str) {
        if let Some((key, entry)) = self.entries.get_key_value(key)
            && let Phase::Waiting { due_ms, .. } = entry.phase
        {
            self.due.remove(&(due_ms, key.clone()));
        }
    }

    fn enter(&mut self, key: &str) {
        if let Some((key, entry)) = self.entries.get_key_value(key)
            && let Phase::Waiting { due_ms, .. } = entry.phase
        {
            self.due.insert((due_ms, key.clone()));
        }
    }

    /// When there is something to do next.
    pub(super) fn wake_ms(&self) -> Option<u64> {
        self.due.first().map(|(due_ms, _)| *due_ms)
    }

    /// The schedule whose time came first, if any has come.
    pub(super) fn first_due(&self, now_ms: u64) -> Option<Key> {
        self.due.first().filter(|(due_ms, _)| *due_ms <= now_ms).map(|(_, key)| key.clone())
    }

    /// After the clock was set back by far, recurring schedules would wait for the time that it had
    /// shown. They count anew; how many did.
    pub(super) fn count_anew(&mut self, now: i64) -> usize {
        let anew = |entry: &Entry| {
            let waits = matches!(entry.phase, Phase::Waiting { .. });
            let last = entry.progress.last.filter(|_| waits)?;
            (last - now > WRONG_CLOCK).then(|| entry.plan.timing.first_from(now))
        };
        let found: Vec<(Key, Option<i64>)> = self
            .entries
            .iter()
            .filter_map(|(key, entry)| Some((key.clone(), anew(entry)?)))
            .collect();
        for (key, next) in &found {
            self.advance(key, Progress { last: None, next: *next });
        }
        found.len()
    }

    pub(super) fn has_group(&self, region: &str, name: &str) -> bool {
        name == DEFAULT_GROUP || self.groups.contains_key(&format!("{region}/{name}"))
    }

    /// The schedules from this key on, in the order of keys.
    pub(super) fn from<'b>(&'b self, key: &str) -> impl Iterator<Item = (&'b Key, &'b Entry)> {
        self.entries.range::<str, _>((Bound::Included(key), Bound::Unbounded))
    }

    /// The keys of a group's schedules.
    pub(super) fn of_group(&self, region: &str, name: &str) -> Vec<Key> {
        let prefix = format!("{region}/{name}/");
        let keys = self.from(&prefix).map(|(key, _)| key);
        keys.take_while(|key| key.starts_with(&prefix)).cloned().collect()
    }
}

/// The group that is always there.
pub const DEFAULT_GROUP: &str = "default";

impl Entry {
    /// When a run begins: somewhere in its window, and not after the schedule's end.
    fn due_ms(&self, run: i64) -> u64 {
        let millis = |seconds: i64| u64::try_from(seconds).unwrap_or(0).saturating_mul(1000);
        let due_ms = millis(run) + offset_ms(run_id(self.id, run), self.plan.window);
        match self.plan.timing.end.filter(|_| !self.plan.timing.is_once()) {
            Some(end) => due_ms.min(millis(end)).max(millis(run)),
            None => due_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::sample;
    use super::*;

    const ANCHOR: i64 = 1_795_737_600;
    const KEY: &str = "us-east-1/default/s";

    fn to(next: i64) -> Progress {
        Progress { last: None, next: Some(next) }
    }

    fn book(expression: &str, next: i64) -> Book {
        let mut book = Book::default();
        let record = sample(expression);
        book.put(KEY, &record, record.plan().unwrap(), to(next));
        book
    }

    #[test]
    fn every_step_of_every_phase() {
        let (waiting, sending) =
            (Phase::Waiting { due_ms: 5, failures: 1 }, Phase::Sending { failures: 1 });
        let steps = [Step::Take, Step::Took, Step::Refused { until_ms: 9 }, Step::Skip];
        let refused = Phase::Waiting { due_ms: 9, failures: 2 };
        let table = [
            (Phase::Idle, [None; 4]),
            (waiting, [Some(sending), None, None, Some(Phase::Moving)]),
            (sending, [None, Some(Phase::Moving), Some(refused), None]),
            (Phase::Moving, [None; 4]),
        ];
        for (phase, after) in table {
            assert_eq!(steps.map(|step| phase.after(step)), after, "{phase:?}");
        }
    }

    #[test]
    fn what_waits_is_found_when_its_time_has_come() {
        let mut book = book("rate(1 hour)", ANCHOR);
        let due_ms = 1_795_737_600_000;
        assert_eq!(book.first_due(due_ms - 1), None);
        assert_eq!(book.first_due(due_ms).as_deref(), Some(KEY));
        assert!(book.step(KEY, Step::Take) && !book.step(KEY, Step::Take));
        assert_eq!((book.first_due(u64::MAX), book.wake_ms()), (None, None));
        assert!(book.step(KEY, Step::Refused { until_ms: 7 }));
        assert_eq!(book.wake_ms(), Some(7));
        book.advance(KEY, to(ANCHOR + 3600));
        assert_eq!(book.wake_ms(), Some(due_ms + 3_600_000));
        book.advance(KEY, Progress::default());
        assert_eq!(book.wake_ms(), None);
        book.remove(KEY);
        assert!(!book.step(KEY, Step::Take) && book.entries.is_empty());
    }

    #[test]
    fn a_disabled_schedule_never_waits() {
        let mut record = sample("rate(1 hour)");
        record.definition["State"] = "DISABLED".into();
        let mut book = Book::default();
        book.put(KEY, &record, record.plan().unwrap(), to(ANCHOR));
        assert_eq!(book.wake_ms(), None);
    }

    #[test]
    fn a_flexible_run_is_within_its_window_and_before_the_end() {
        let mut record = sample("rate(1 hour)");
        record.definition["FlexibleTimeWindow"] =
            serde_json::json!({ "Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15 });
        let begin = u64::try_from(ANCHOR).unwrap() * 1000;
        let due = |record: &Record| {
            let mut book = Book::default();
            book.put(KEY, record, record.plan().unwrap(), to(ANCHOR));
            book.wake_ms().unwrap()
        };
        let mut seen = BTreeSet::new();
        for _ in 0..100 {
            record.id = crate::random::uuid();
            let at = due(&record);
            assert!((begin..begin + 900_000).contains(&at), "{at}");
            seen.insert(at);
        }
        assert!(seen.len() > 50, "they are spread");
        record.definition["EndDate"] = ANCHOR.into();
        assert_eq!(due(&record), begin);
    }

    #[test]
    fn a_clock_that_was_years_ahead_keeps_nobody_waiting() {
        let at = |last: Option<i64>, next: i64| {
            let mut book = book("rate(1 hour)", ANCHOR);
            book.advance(KEY, Progress { last, next: Some(next) });
            book
        };
        let ahead = ANCHOR + 20 * 365 * 86_400;
        let mut wrong = at(Some(ahead - 3600), ahead);
        assert_eq!(wrong.count_anew(ANCHOR + 1), 1);
        assert_eq!(wrong.entries[KEY].progress, to(ANCHOR + 3600));
        // A run that was handed over is not repeated for an hour that is there twice.
        assert_eq!(at(Some(ANCHOR), ANCHOR + 3600).count_anew(ANCHOR - 3600), 0);
        // A schedule that begins in years is not concerned.
        assert_eq!(at(None, ahead).count_anew(ANCHOR), 0);
    }

    #[test]
    fn progress_is_read_as_it_was_written() {
        for progress in [Progress::default(), to(-5), Progress { last: Some(7), next: Some(9) }] {
            assert_eq!(Progress::of(&progress.bytes()), Some(progress));
        }
        for bad in [&b""[..], b"1", b"x 1", b"1 ", b"\xff 1"] {
            assert_eq!(Progress::of(bad), None);
        }
    }

    #[test]
    fn a_group_has_its_own_schedules_only() {
        let mut book = Book::default();
        let record = sample("rate(1 hour)");
        for key in ["r/a/x", "r/a-b/x", "r/a.b/x", "r/b/x", "r2/a/x", "r/a/y"] {
            book.put(key, &record, record.plan().unwrap(), Progress::default());
        }
        let found: Vec<Key> = book.of_group("r", "a");
        assert_eq!(found.iter().map(|key| &**key).collect::<Vec<_>>(), ["r/a/x", "r/a/y"]);
        assert!(book.has_group("r", "default") && !book.has_group("r", "a"));
    }
}
