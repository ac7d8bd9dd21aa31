//! Schedules, as EventBridge Scheduler has them: when a function runs by itself.
//!
//! ```text
//! API --> Schedules: store, then book          timer: sleeps until the next run
//!              `------- wakes ------------------>  |
//!                                                  |  missed: run it, make up for it, or skip it
//!                                                  v
//!                        asynchronous::Queue::accept (durable, tried again, dead letters)
//!                                                  |
//!                                                  v
//!                                         store: how far the schedule is
//! ```
//!
//! `timing` says when a schedule runs, by `cron` and `zone`; `record` is what is kept of one, `book`
//! what of all is in memory, `shared` both together, `groups` their groups; `timer` the thread, `missed` what it does about runs that are late,
//! `payload` what a function gets. It knows no HTTP and no error of AWS's; that a definition is one,
//! the API has checked.
//!
//! Invariants: a run leaves a schedule only in the write that follows its acceptance by the queue,
//! or after a line in the log that says it is skipped; its id follows from the schedule and the
//! time. So a crash at any moment repeats a run at worst, and the queue knows it while it is there.

mod book;
mod counters;
pub mod cron;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod groups;
mod missed;
pub mod payload;
pub mod record;
mod shared;
#[cfg(test)]
mod tests;
mod timer;
pub mod timing;
pub mod zone;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender};
use serde_json::Value;

use self::book::Progress;
pub use self::book::{DEFAULT_GROUP, Group};
pub use self::counters::Counters;
use self::record::{Plan, Record};
use self::shared::{Shared, load};
use self::timer::{Message, Timer};
use crate::asynchronous::{Address, Queue};
use crate::config;
use crate::function::Row;
use crate::function::store::Store;
use crate::function::store_error::StoreError;
use crate::random;

/// Definitions, by `region/group/name`.
const SCHEDULES: &str = "schedules";
/// How far they are, by the same key.
const PROGRESS: &str = "schedule_progress";
/// Groups, by `region/name`.
const GROUPS: &str = "schedule_groups";

/// `at()` may be so many seconds ago when it is made: a client's clock is another one.
const JUST_NOW: i64 = 60;
/// Deletions whose tokens are remembered, for clients that have not heard the answer.
const DELETIONS: usize = 1024;

/// What of a definition decides about the time of its runs.
const TIMES: [&str; 6] = [
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "StartDate",
    "EndDate",
    "State",
    "FlexibleTimeWindow",
];

/// Milliseconds since 1970.
type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Which schedule.
#[derive(Debug, Clone, Copy)]
pub struct Name<'a> {
    pub region: &'a str,
    pub group: &'a str,
    pub name: &'a str,
}

impl Name<'_> {
    fn key(&self) -> String {
        format!("{}/{}/{}", self.region, self.group, self.name)
    }
}

/// Why something was not done.
#[derive(Debug)]
pub enum ScheduleError {
    NoSchedule(String),
    NoGroup(String),
    ScheduleExists(String),
    GroupExists(String),
    /// There are so many, as many as may be.
    TooMany(usize),
    TooManyGroups(usize),
    /// It is always there, as it is.
    DefaultGroup,
    /// It will never run, for its time is over.
    Over,
    /// What was written is none.
    Damaged(String),
    Store(StoreError),
}

/// For the log; what clients read is the API's.
impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScheduleError::Store(error) => write!(f, "{error}"),
            ScheduleError::Damaged(why) => write!(f, "what was written is damaged: {why}"),
            other => write!(f, "{other:?}"),
        }
    }
}

impl std::error::Error for ScheduleError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ScheduleError::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl From<StoreError> for ScheduleError {
    fn from(error: StoreError) -> ScheduleError {
        ScheduleError::Store(error)
    }
}

/// What a list tells of a schedule.
#[derive(Debug)]
pub struct Summary {
    pub group: String,
    pub name: String,
    pub target: String,
    pub enabled: bool,
    pub created_ms: u64,
    pub modified_ms: u64,
}

/// Which schedules a list has.
#[derive(Debug, Default)]
pub struct Filter<'a> {
    pub region: &'a str,
    pub group: Option<&'a str>,
    pub prefix: Option<&'a str>,
    pub enabled: Option<bool>,
    /// `group/name` of the last one of the page before.
    pub after: Option<&'a str>,
}

/// Schedules in figures.
#[derive(Debug)]
pub struct View {
    pub schedules: usize,
    pub enabled: usize,
    pub groups: usize,
    pub next_ms: Option<u64>,
}

/// See the module's text.
pub struct Schedules {
    shared: Arc<Shared>,
    settings: config::Schedules,
    deletions: Mutex<VecDeque<(String, String)>>,
    wake: Sender<Message>,
    /// Taken when the timer starts.
    inbox: Mutex<Option<Receiver<Message>>>,
    timer: Mutex<Option<JoinHandle<()>>>,
}

impl Schedules {
    /// Reads every schedule of the store.
    pub fn open(
        store: Arc<Store>,
        settings: &config::Schedules,
        account_id: &str,
    ) -> Result<Schedules, StoreError> {
        Schedules::with(store, settings, account_id, Arc::new(now_ms))
    }

    fn with(
        store: Arc<Store>,
        settings: &config::Schedules,
        account_id: &str,
        clock: Clock,
    ) -> Result<Schedules, StoreError> {
        let book = load(&store, seconds((clock)()))?;
        let (wake, inbox) = crossbeam_channel::unbounded();
        let shared = Shared {
            store,
            book: Mutex::new(book),
            writing: Mutex::new(()),
            counters: Counters::default(),
            clock: clock.clone(),
            account_id: account_id.to_owned(),
        };
        shared.count_anew((clock)());
        Ok(Schedules {
            shared: Arc::new(shared),
            settings: settings.clone(),
            deletions: Mutex::default(),
            wake,
            inbox: Mutex::new(Some(inbox)),
            timer: Mutex::new(None),
        })
    }

    /// Begins to run what is due.
    pub fn start(&self, queue: Arc<Queue>) -> io::Result<()> {
        let Some(inbox) = lock(&self.inbox).take() else { return Ok(()) };
        let channel = (self.wake.clone(), inbox);
        let timer =
            Timer::new(self.shared.clone(), Box::new(queue), self.settings.missed_runs, channel);
        let thread = thread::Builder::new().name("schedules".into()).spawn(move || timer.run())?;
        *lock(&self.timer) = Some(thread);
        Ok(())
    }

    /// Runs nothing more. The event queue still answers.
    pub fn stop(&self) {
        let _ = self.wake.send(Message::Stop);
        let taken = lock(&self.timer).take();
        if let Some(Err(_)) = taken.map(JoinHandle::join) {
            log::error!("the thread of the schedules has panicked");
        }
    }

    /// Makes a schedule. The same call again, known by its token, is no error.
    pub fn create(
        &self,
        name: Name<'_>,
        definition: Value,
        token: &str,
    ) -> Result<(), ScheduleError> {
        let shared = &self.shared;
        let _writing = lock(&shared.writing);
        let key = name.key();
        if !shared.book().has_group(name.region, name.group) {
            return Err(ScheduleError::NoGroup(name.group.to_owned()));
        }
        if shared.book().entries.contains_key(key.as_str()) {
            let there = shared.record(&key)?;
            let same = there.is_some_and(|there| repeats(&there, &definition, token));
            let exists = || ScheduleError::ScheduleExists(name.name.to_owned());
            return if same { Ok(()) } else { Err(exists()) };
        }
        if shared.book().entries.len() >= self.settings.max_schedules {
            return Err(ScheduleError::TooMany(self.settings.max_schedules));
        }
        let now_ms = (shared.clock)();
        let record = Record {
            id: random::uuid(),
            anchor: anchor(&definition, now_ms),
            definition,
            created_ms: now_ms,
            modified_ms: now_ms,
            token: token.to_owned(),
        };
        let plan = planned(&record)?;
        let progress = Progress { last: None, next: begin(&plan, seconds(now_ms)) };
        if plan.timing.is_once() && progress.next.is_none() {
            return Err(ScheduleError::Over);
        }
        shared.put(&key, &record, Some(progress))?;
        shared.book().put(&key, &record, plan, progress);
        self.wake();
        Ok(())
    }

    /// Replaces all of a schedule.
    pub fn update(
        &self,
        name: Name<'_>,
        definition: Value,
        token: &str,
    ) -> Result<(), ScheduleError> {
        let shared = &self.shared;
        let _writing = lock(&shared.writing);
        let key = name.key();
        let (before, progress) = self.found(name)?;
        if repeats(&before, &definition, token) {
            return Ok(());
        }
        let now_ms = (shared.clock)();
        let differs = |member: &str| before.definition[member] != definition[member];
        let same_rate = !["ScheduleExpression", "StartDate"].into_iter().any(differs);
        let same_times = !TIMES.into_iter().any(differs);
        let record = Record {
            anchor: if same_rate { before.anchor } else { anchor(&definition, now_ms) },
            definition,
            modified_ms: now_ms,
            token: token.to_owned(),
            ..before
        };
        let plan = planned(&record)?;
        if same_times {
            shared.put(&key, &record, None)?;
            shared.book().renew(&key, &record, plan);
        } else {
            let next = begin(&plan, seconds(now_ms));
            // What has run in this second does not run again.
            let next = match (next, progress.last) {
                (Some(next), Some(last)) if next == last => plan.timing.first_after(last),
                (next, _) => next,
            };
            if plan.timing.is_once() && next.is_none() && !same_rate {
                return Err(ScheduleError::Over);
            }
            let progress = Progress { next, ..progress };
            shared.put(&key, &record, Some(progress))?;
            shared.book().put(&key, &record, plan, progress);
        }
        self.wake();
        Ok(())
    }

    pub fn get(&self, name: Name<'_>) -> Result<Record, ScheduleError> {
        self.found(name).map(|(record, _)| record)
    }

    pub fn delete(&self, name: Name<'_>, token: Option<&str>) -> Result<(), ScheduleError> {
        let _writing = lock(&self.shared.writing);
        let key = name.key();
        if !self.shared.book().entries.contains_key(key.as_str()) {
            let deletions = lock(&self.deletions);
            let known = |token| deletions.iter().any(|(k, t)| *k == key && t == token);
            return if token.is_some_and(known) { Ok(()) } else { Err(self.missing(name)) };
        }
        self.shared.store.put_rows(&[gone(SCHEDULES, &key), gone(PROGRESS, &key)])?;
        self.shared.book().remove(&key);
        if let Some(token) = token {
            let mut deletions = lock(&self.deletions);
            deletions.push_back((key, token.to_owned()));
            if deletions.len() > DELETIONS {
                deletions.pop_front();
            }
        }
        Ok(())
    }

    /// At most `max` schedules, and whether there are more.
    pub fn list(
        &self,
        filter: &Filter<'_>,
        max: usize,
    ) -> Result<(Vec<Summary>, bool), ScheduleError> {
        let book = self.shared.book();
        if let Some(group) = filter.group.filter(|group| !book.has_group(filter.region, group)) {
            return Err(ScheduleError::NoGroup(group.to_owned()));
        }
        let region = format!("{}/", filter.region);
        let from = format!("{region}{}", filter.after.unwrap_or_default());
        let entries = book.from(&from);
        let mut found = Vec::new();
        for (key, entry) in entries.take_while(|(key, _)| key.starts_with(&region)) {
            let Some((group, name)) = key[region.len()..].split_once('/') else { continue };
            let wanted = filter.group.is_none_or(|wanted| wanted == group)
                && filter.prefix.is_none_or(|prefix| name.starts_with(prefix))
                && filter.enabled.is_none_or(|enabled| enabled == entry.plan.enabled)
                && filter.after != Some(&key[region.len()..]);
            if !wanted {
                continue;
            }
            if found.len() == max {
                return Ok((found, true));
            }
            found.push(Summary {
                group: group.to_owned(),
                name: name.to_owned(),
                target: entry.target.clone(),
                enabled: entry.plan.enabled,
                created_ms: entry.created_ms,
                modified_ms: entry.modified_ms,
            });
        }
        Ok((found, false))
    }

    pub fn arn(&self, name: Name<'_>) -> String {
        self.shared.arn(&name.key())
    }

    /// The function that a target's ARN names, if it can be one here.
    pub fn function(&self, arn: &str) -> Option<Address> {
        self.shared.function(arn)
    }

    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    pub fn view(&self) -> View {
        let book = self.shared.book();
        View {
            schedules: book.entries.len(),
            enabled: book.entries.values().filter(|entry| entry.plan.enabled).count(),
            groups: book.groups.len() + 1,
            next_ms: book.wake_ms(),
        }
    }

    fn found(&self, name: Name<'_>) -> Result<(Record, Progress), ScheduleError> {
        let key = name.key();
        let progress = self.shared.book().entries.get(key.as_str()).map(|entry| entry.progress);
        let progress = progress.ok_or_else(|| self.missing(name))?;
        let record = self.shared.record(&key)?.ok_or_else(|| self.missing(name))?;
        Ok((record, progress))
    }

    fn missing(&self, name: Name<'_>) -> ScheduleError {
        if self.shared.book().has_group(name.region, name.group) {
            ScheduleError::NoSchedule(name.name.to_owned())
        } else {
            ScheduleError::NoGroup(name.group.to_owned())
        }
    }

    fn wake(&self) {
        let _ = self.wake.send(Message::Wake);
    }
}

impl fmt::Debug for Schedules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedules").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The API has checked it.
fn planned(record: &Record) -> Result<Plan, ScheduleError> {
    record.plan().ok_or_else(|| ScheduleError::Damaged("it says nothing of its runs".to_owned()))
}

/// The first run of a schedule that is new.
fn begin(plan: &Plan, now: i64) -> Option<i64> {
    let from = if plan.timing.is_once() { now - JUST_NOW } else { now };
    plan.timing.first_from(from)
}

fn anchor(definition: &Value, now_ms: u64) -> i64 {
    definition["StartDate"].as_f64().map_or_else(|| seconds(now_ms), record::whole_seconds)
}

/// Whether this is the call that made the schedule what it is, sent again.
fn repeats(there: &Record, definition: &Value, token: &str) -> bool {
    !token.is_empty() && there.token == token && there.definition == *definition
}

fn gone(table: &'static str, key: &str) -> Row {
    Row { table, key: key.to_owned(), value: None }
}

fn seconds(ms: u64) -> i64 {
    i64::try_from(ms / 1000).unwrap_or(i64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is changed by code that does not panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
