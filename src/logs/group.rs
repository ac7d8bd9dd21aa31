//! One log group: its record, and its segments on the disk, of which only the newest grows.
//!
//! Segments are numbered and go as a whole, the oldest first. What is kept in memory of a group is
//! small: its record, the lengths of its segments, and, while something is appended to it, the
//! table of the newest one. No file stays open.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use super::LogEvent;
use super::error::LogError;
use super::record::Record;
use super::segment::{self, Scan, Stream, Table};
use super::view::{Held, View};
use super::world::World;

/// Streams of one segment. It bounds what the table of a growing segment takes of the memory.
pub(super) const SEGMENT_STREAMS: usize = 256;
/// A segment covers no more than this part of the retention, so that old events can go.
const RETENTION_PARTS: i64 = 8;
const DAY_MS: i64 = 86_400_000;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) directory: PathBuf,
    state: Mutex<State>,
    /// Of all segments, for who looks for the largest group.
    bytes: AtomicU64,
    /// When something was appended last.
    used_ms: AtomicI64,
}

#[derive(Debug)]
struct State {
    record: Record,
    /// Oldest first.
    segments: VecDeque<Segment>,
    /// What the last segment holds. `None` until something is appended.
    open: Option<Arc<Table>>,
    next_number: u32,
    deleted: bool,
}

#[derive(Debug, Clone, Copy)]
struct Segment {
    number: u32,
    /// Bytes that are whole, but that the last one may be torn until it is opened.
    len: u64,
}

/// Why nothing was appended.
#[derive(Debug)]
pub(super) enum AppendError {
    /// The group was deleted meanwhile.
    Gone,
    Io(io::Error),
}

impl From<io::Error> for AppendError {
    fn from(error: io::Error) -> Self {
        AppendError::Io(error)
    }
}

/// The file of a segment.
pub(super) fn file_name(number: u32) -> String {
    format!("{number:010}.log")
}

fn number_of(name: &str) -> Option<u32> {
    let number = name.strip_suffix(".log")?.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

impl Group {
    /// A group with the segments that are in its directory.
    pub(super) fn open(directory: PathBuf, record: Record, world: &World) -> io::Result<Group> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if let Some(number) = entry.file_name().to_str().and_then(number_of) {
                segments.push(Segment { number, len: entry.metadata()?.len() });
            }
        }
        segments.sort_by_key(|segment| segment.number);
        let bytes = segments.iter().map(|segment| segment.len).sum();
        world.total_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(Group {
            directory,
            bytes: AtomicU64::new(bytes),
            used_ms: AtomicI64::new(0),
            state: Mutex::new(State {
                record,
                next_number: segments.last().map_or(1, |last| last.number.saturating_add(1)),
                segments: segments.into(),
                open: None,
                deleted: false,
            }),
        })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn used_ms(&self) -> i64 {
        self.used_ms.load(Ordering::Relaxed)
    }

    pub(super) fn record(&self) -> Record {
        self.lock().record.clone()
    }

    /// Changes the record, on the disk before anybody sees it.
    pub(super) fn change<E: From<LogError>>(
        &self,
        change: impl FnOnce(&mut Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut state = self.lock();
        if state.deleted {
            return Err(LogError::NoGroup.into());
        }
        let mut record = state.record.clone();
        change(&mut record)?;
        if record != state.record {
            record.save(&self.directory).map_err(LogError::at(&self.directory))?;
            state.record = record;
        }
        Ok(())
    }

    /// Appends events in their order; the stream is made if it is not there.
    pub(super) fn append(
        &self,
        world: &World,
        name: &str,
        events: &[LogEvent],
    ) -> Result<(), AppendError> {
        let now_ms = world.host.now_ms();
        self.used_ms.store(now_ms, Ordering::Relaxed);
        let mut state = self.lock();
        let table = self.ready(&mut state, world, now_ms, Some(name))?;
        let mut bytes = Vec::new();
        let index = find(table, name).unwrap_or(table.streams.len());
        if index == table.streams.len() {
            segment::put_stream(&mut bytes, now_ms, name);
        }
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        segment::put_events(&mut bytes, number, now_ms, events);
        self.write(&mut state, world, bytes)?;
        if let Some(table) = &mut state.open {
            // It is copied only while a reader's view has it, too.
            let table = Arc::make_mut(table);
            if index == table.streams.len() {
                table.streams.push(Stream::new(name, now_ms));
                world.open_streams.fetch_add(1, Ordering::Relaxed);
            }
            let times = || events.iter().map(|event| event.timestamp_ms);
            if let (Some(first), Some(last)) = (times().min(), times().max()) {
                table.streams[index].extend(first, last, now_ms);
            }
        }
        self.trim(&mut state, world);
        Ok(())
    }

    /// Makes what the stream had gone.
    pub(super) fn delete_stream(&self, world: &World, name: &str) -> Result<(), AppendError> {
        let mut state = self.lock();
        self.ready(&mut state, world, world.host.now_ms(), None)?;
        let mut bytes = Vec::new();
        segment::put_deleted(&mut bytes, name);
        self.write(&mut state, world, bytes)?;
        if let Some(table) = &mut state.open {
            Arc::make_mut(table).delete(name);
        }
        self.trim(&mut state, world);
        Ok(())
    }

    /// What is there now, for reading without the lock.
    pub(super) fn view(&self) -> View {
        let state = self.lock();
        let last = state.segments.back().map(|segment| segment.number);
        let held = |segment: &Segment| Held {
            number: segment.number,
            len: segment.len,
            table: state.open.clone().filter(|_| Some(segment.number) == last),
        };
        View {
            directory: self.directory.clone(),
            retention_days: state.record.retention_days,
            segments: state.segments.iter().map(held).collect(),
        }
    }

    /// Removes the segments that nothing was written to for as long as events are kept.
    pub(super) fn expire(&self, world: &World) {
        let mut state = self.lock();
        let Some(days) = state.record.retention_days.or(world.limits.retention_days) else {
            return;
        };
        let oldest_ms = world.host.now_ms().saturating_sub(i64::from(days) * DAY_MS);
        while let Some(front) = state.segments.front() {
            let modified =
                fs::metadata(self.path(front.number)).and_then(|metadata| metadata.modified());
            let is_old = modified.is_ok_and(|time| {
                let age = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
                i64::try_from(age.as_millis()).is_ok_and(|ms| ms < oldest_ms)
            });
            if !is_old {
                return;
            }
            self.drop_front(&mut state, world);
        }
    }

    /// Removes the oldest segment; false when there is none.
    pub(super) fn drop_oldest(&self, world: &World) -> bool {
        let mut state = self.lock();
        let found = !state.segments.is_empty();
        self.drop_front(&mut state, world);
        found
    }

    /// Forgets the table of the newest segment; it is read again when something is appended.
    /// Passed over while somebody is at it.
    pub(super) fn close(&self, world: &World) {
        if let Ok(mut state) = self.state.try_lock() {
            close(&mut state, world);
        }
    }

    /// Ends the group: nothing is appended any more. Its directory is the caller's then.
    pub(super) fn delete(
        &self,
        world: &World,
        remove: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut state = self.lock();
        remove()?;
        state.deleted = true;
        close(&mut state, world);
        state.segments.clear();
        world.total_bytes.fetch_sub(self.bytes.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        Ok(())
    }

    /// The table of a last segment that has room, for one stream more if `name` is new.
    fn ready<'a>(
        &self,
        state: &'a mut State,
        world: &World,
        now_ms: i64,
        name: Option<&str>,
    ) -> Result<&'a Table, AppendError> {
        if state.deleted {
            return Err(AppendError::Gone);
        }
        if state.open.is_none() {
            self.reopen(state, world, now_ms)?;
        }
        let len = state.segments.back().map_or(0, |last| last.len);
        let days = state.record.retention_days.or(world.limits.retention_days);
        let longest_ms = days.map_or(i64::MAX, |days| i64::from(days) * DAY_MS / RETENTION_PARTS);
        let is_full = state.open.as_ref().is_some_and(|table| {
            len >= world.segment_bytes
                || now_ms.saturating_sub(table.begun_ms) >= longest_ms
                || table.deleted.len() >= SEGMENT_STREAMS
                || table.streams.len() >= SEGMENT_STREAMS
                    && name.is_some_and(|name| find(table, name).is_none())
        });
        if is_full {
            self.seal(state, world, len);
        }
        if state.open.is_none() {
            state.segments.push_back(Segment { number: state.next_number, len: 0 });
            state.next_number = state.next_number.saturating_add(1);
        }
        let begun = || Arc::new(Table { begun_ms: now_ms, ..Table::default() });
        Ok(state.open.get_or_insert_with(begun))
    }

    /// Ends the last segment. Without its index it is only slower to read.
    fn seal(&self, state: &mut State, world: &World, len: u64) {
        if let Some(table) = &state.open {
            let mut bytes = Vec::new();
            segment::put_index(&mut bytes, len, table);
            if let Err(error) = self.write(state, world, bytes) {
                log::debug!("{} has no index: {error}", self.directory.display());
            }
        }
        close(state, world);
    }

    /// Looks at the last segment as an earlier run, or a failed write, has left it.
    fn reopen(&self, state: &mut State, world: &World, now_ms: i64) -> io::Result<()> {
        let Some(last) = state.segments.back_mut() else { return Ok(()) };
        let path = self.path(last.number);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                log::warn!("{} cannot be read and stays as it is: {error}", path.display());
                return Ok(());
            }
        };
        let (table, whole) = match Table::scan(&bytes) {
            Some(Scan { sealed: true, .. }) => return Ok(()),
            Some(Scan { table, whole, .. }) => (table, whole),
            None => (Table { begun_ms: now_ms, ..Table::default() }, 0),
        };
        if whole < bytes.len() {
            log::warn!("{}: {} torn bytes cut off", path.display(), bytes.len() - whole);
            cut(&path, whole as u64)?;
        }
        self.resize(world, &mut last.len, whole as u64);
        world.open_streams.fetch_add(table.streams.len(), Ordering::Relaxed);
        state.open = Some(Arc::new(table));
        Ok(())
    }

    /// Writes to the end of the last segment, all of it or nothing.
    fn write(&self, state: &mut State, world: &World, bytes: Vec<u8>) -> io::Result<()> {
        let Some(last) = state.segments.back_mut() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let path = self.path(last.number);
        let begun_ms = state.open.as_ref().map_or(0, |table| table.begun_ms);
        let bytes = match last.len {
            0 => {
                let mut whole = Vec::with_capacity(bytes.len() + 16);
                segment::put_header(&mut whole, begun_ms);
                whole.extend_from_slice(&bytes);
                whole
            }
            _ => bytes,
        };
        let mut options = OpenOptions::new();
        let written = options
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .and_then(|file| world.host.write(&file, &bytes));
        match written {
            Ok(()) => {
                let len = last.len + bytes.len() as u64;
                self.resize(world, &mut last.len, len);
                Ok(())
            }
            Err(error) => {
                // What was written of it must not stand before what comes next.
                let len = last.len;
                if path.exists() && cut(&path, len).is_err() {
                    close(state, world);
                }
                Err(error)
            }
        }
    }

    /// Keeps the group within its limits.
    fn trim(&self, state: &mut State, world: &World) {
        while state.segments.len() > 1
            && (self.bytes() > world.limits.max_bytes_per_group
                || state.segments.len() > world.max_segments)
        {
            self.drop_front(state, world);
        }
    }

    fn drop_front(&self, state: &mut State, world: &World) {
        if state.segments.len() == 1 {
            close(state, world);
        }
        let Some(mut front) = state.segments.pop_front() else { return };
        let path = self.path(front.number);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            log::warn!("{} cannot be removed: {error}", path.display());
        }
        self.resize(world, &mut front.len, 0);
    }

    fn resize(&self, world: &World, len: &mut u64, new: u64) {
        for counter in [&self.bytes, &world.total_bytes] {
            match new.checked_sub(*len) {
                Some(more) => counter.fetch_add(more, Ordering::Relaxed),
                None => counter.fetch_sub(*len - new, Ordering::Relaxed),
            };
        }
        *len = new;
    }

    fn path(&self, number: u32) -> PathBuf {
        self.directory.join(file_name(number))
    }

    /// A panic while the lock was held left at most a table that is behind: what is on the disk
    /// stays readable.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a live stream in the table; those that are appended to are at its end.
fn find(table: &Table, name: &str) -> Option<usize> {
    table.streams.iter().rposition(|stream| !stream.deleted && *stream.name == *name)
}

fn close(state: &mut State, world: &World) {
    if let Some(table) = state.open.take() {
        world.open_streams.fetch_sub(table.streams.len(), Ordering::Relaxed);
    }
}

fn cut(path: &Path, len: u64) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.set_len(len)
}
