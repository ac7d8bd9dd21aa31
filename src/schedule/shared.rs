//! What the API's calls and the timer share: the store, the book, and the order of changes to both.
//!
//! Invariants: a writer holds `writing` from its check to the change of the book, and changes the
//! book only after the store; the book's lock is never held while the disk is waited for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::book::{Book, Phase, Progress};
use super::counters::Counters;
use super::record::Record;
use super::timer::Move;
use super::{Clock, PROGRESS, SCHEDULES, ScheduleError, gone, groups, lock, seconds};
use crate::asynchronous::{Address, Destination};
use crate::function::Row;
use crate::function::name::partition;
use crate::function::store::Store;
use crate::function::store_error::StoreError;

/// What the API and the timer share.
pub(super) struct Shared {
    pub(super) store: Arc<Store>,
    /// Never held while the disk is waited for.
    pub(super) book: Mutex<Book>,
    /// Held by a writer from its check to the change of the book: one writer at a time.
    pub(super) writing: Mutex<()>,
    pub(super) counters: Counters,
    pub(super) clock: Clock,
    pub(super) account_id: String,
}

impl Shared {
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    pub(super) fn record(&self, key: &str) -> Result<Option<Record>, ScheduleError> {
        let bytes = self.store.row(SCHEDULES, key)?;
        bytes.map(|bytes| Record::of(&bytes).map_err(ScheduleError::Damaged)).transpose()
    }

    pub(super) fn put(
        &self,
        key: &str,
        record: &Record,
        progress: Option<Progress>,
    ) -> Result<(), StoreError> {
        let row = |table, value| Row { table, key: key.to_owned(), value: Some(value) };
        let mut rows = vec![row(SCHEDULES, record.bytes())];
        rows.extend(progress.map(|progress| row(PROGRESS, progress.bytes())));
        self.store.put_rows(&rows)
    }

    /// Schedules move on, as far as they have not changed meanwhile. One that has no run any more
    /// goes, if it is to.
    pub(super) fn advance(&self, moves: &[Move]) -> Result<(), StoreError> {
        let _writing = lock(&self.writing);
        let mut rows = Vec::new();
        let mut done: Vec<(&Move, bool)> = Vec::new();
        let book = self.book();
        for step in moves {
            let Some(entry) = book.entries.get(&step.key) else { continue };
            let same = entry.id == step.schedule && entry.progress.next == Some(step.from);
            if !same || entry.phase != Phase::Moving {
                continue;
            }
            let goes = step.progress.next.is_none() && entry.plan.delete_after;
            if goes {
                rows.extend([gone(SCHEDULES, &step.key), gone(PROGRESS, &step.key)]);
            } else {
                let (key, value) = (step.key.to_string(), Some(step.progress.bytes()));
                rows.push(Row { table: PROGRESS, key, value });
            }
            done.push((step, goes));
        }
        drop(book);
        if !rows.is_empty() {
            self.store.put_rows(&rows)?;
        }
        let mut book = self.book();
        for (step, goes) in done {
            if goes {
                log::info!("schedule {} is over and deleted, as it was to be", step.key);
                book.remove(&step.key);
            } else {
                book.advance(&step.key, step.progress);
            }
        }
        Ok(())
    }

    pub(super) fn count_anew(&self, now_ms: u64) {
        let count = self.book().count_anew(seconds(now_ms));
        if count > 0 {
            log::warn!("the clock was more than a day ahead: {count} schedules count from now on");
        }
    }

    pub(super) fn function(&self, arn: &str) -> Option<Address> {
        match Destination::of(arn, &self.account_id) {
            Destination::Function(address) => Some(address),
            _ => None,
        }
    }

    pub(super) fn arn(&self, key: &str) -> String {
        let (region, rest) = key.split_once('/').unwrap_or((key, ""));
        let (partition, account_id) = (partition(region), &self.account_id);
        format!("arn:{partition}:scheduler:{region}:{account_id}:schedule/{rest}")
    }
}

/// One that this build cannot read is left alone, so that another build can.
pub(super) fn load(store: &Store, now: i64) -> Result<Book, StoreError> {
    let mut book = Book::default();
    groups::load(store, &mut book)?;
    let mut progress = HashMap::new();
    store.each_row(PROGRESS, |key, bytes| {
        let read = Progress::of(bytes).ok_or("it is no progress of a schedule")?;
        progress.insert(key.to_owned(), read);
        Ok(())
    })?;
    store.each_row(SCHEDULES, |key, bytes| {
        let record = Record::of(bytes)?;
        let Some(plan) = record.plan() else {
            log::error!("schedule {key} cannot be read by this version, and does not run");
            return Ok(());
        };
        let first = || Progress { last: None, next: plan.timing.first_from(now) };
        let progress = progress.remove(key).unwrap_or_else(first);
        book.put(key, &record, plan, progress);
        Ok(())
    })?;
    Ok(book)
}
