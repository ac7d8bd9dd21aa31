//! The log store: groups of streams of events, in files.
//!
//! A region's groups are in memory, small; what they hold is on the disk. Events are not synced: a
//! loss of power may take the last seconds, and what it leaves torn is cut off. Groups, their
//! retention and tags are on the disk when a call returns.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::LogEvent;
use super::error::LogError;
use super::group::{AppendError, Group};
use super::record::{self, Record};
use super::select::{Page, Place, Query};
use super::view::StreamInfo;
use super::world::{Host, ThisHost, World};

/// Log groups in all. CloudWatch has a million; each costs some memory here.
pub(super) const MAX_GROUPS: usize = 10_000;
/// Streams in the tables of growing segments, over all groups; beyond, groups that are not used
/// have to read theirs again.
const MAX_OPEN_STREAMS: usize = 50_000;
const SWEEP_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;
/// Groups that are being removed.
const REMOVED: &str = "removed-";

/// What bounds the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// Of one group; beyond, its oldest events go.
    pub max_bytes_per_group: u64,
    /// Of all groups together; beyond, the oldest events of the largest group go.
    pub max_total_bytes: u64,
    /// For groups without a policy of their own; `None` keeps events until there is no room.
    pub retention_days: Option<u32>,
}

/// The logs. Clones share them. Every call may wait for the disk: none is for an http worker.
#[derive(Debug, Clone)]
pub struct LogStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    world: World,
    /// By region, then by name. Nothing waits for the disk under it.
    groups: Mutex<BTreeMap<String, Groups>>,
    /// Held while a group is made or deleted, before `groups`.
    changing: Mutex<()>,
    swept_ms: AtomicI64,
    taken: AtomicU64,
    dropped: AtomicU64,
    /// Whether the last events were dropped, so that many are one line of the log.
    failing: AtomicBool,
}

type Groups = BTreeMap<String, Arc<Group>>;

/// A group as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfo {
    pub name: String,
    pub created_ms: i64,
    /// Its own policy's.
    pub retention_days: Option<u32>,
    pub tags: BTreeMap<String, String>,
    pub bytes: u64,
}

/// Counts for `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogStats {
    pub groups: usize,
    pub bytes: u64,
    /// Events since the start.
    pub taken: u64,
    /// Of them those that could not be kept.
    pub dropped: u64,
}

impl LogStore {
    /// Opens the directory `logs` of the service's storage, and makes it when it is missing. One
    /// process may have it open: that of the function store beside it.
    pub fn open(storage: &Path, limits: LogLimits) -> Result<LogStore, LogError> {
        LogStore::open_on(Box::new(ThisHost), storage, limits)
    }

    pub(super) fn open_on(
        host: Box<dyn Host>,
        storage: &Path,
        limits: LogLimits,
    ) -> Result<LogStore, LogError> {
        let directory = storage.join("logs");
        // Lines can hold secrets: for the service's own user only.
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&directory);
        made.map_err(LogError::at(&directory))?;
        let world = World::new(host, limits);
        let mut groups: BTreeMap<String, Groups> = BTreeMap::new();
        let entries = fs::read_dir(&directory).map_err(LogError::at(&directory))?;
        for entry in entries {
            let path = entry.map_err(LogError::at(&directory))?.path();
            if let Some(group) = found_group(&path, &world) {
                let record = group.record();
                groups.entry(record.region).or_default().insert(record.name, Arc::new(group));
            }
        }
        let store = LogStore(Arc::new(Inner {
            directory,
            world,
            groups: Mutex::new(groups),
            changing: Mutex::new(()),
            swept_ms: AtomicI64::new(i64::MIN),
            taken: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            failing: AtomicBool::new(false),
        }));
        store.sweep();
        Ok(store)
    }

    /// Appends events to a stream, in order; makes the group and the stream if they are missing.
    ///
    /// Events that cannot be kept (the disk is full) are dropped and counted here, with one warning
    /// for all until something can be kept again: the caller need not do anything about an error.
    pub fn append(
        &self,
        region: &str,
        group: &str,
        stream: &str,
        events: &[LogEvent],
    ) -> Result<(), LogError> {
        let count = events.len() as u64;
        self.0.taken.fetch_add(count, Ordering::Relaxed);
        let result = self.try_append(region, group, stream, events);
        let was_failing = self.0.failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Ok(()) if was_failing => log::warn!("log events are kept again"),
            Ok(()) => {}
            Err(error) => {
                self.0.dropped.fetch_add(count, Ordering::Relaxed);
                if !was_failing {
                    log::warn!("log events are dropped: {error}");
                }
            }
        }
        result
    }

    fn try_append(
        &self,
        region: &str,
        name: &str,
        stream: &str,
        events: &[LogEvent],
    ) -> Result<(), LogError> {
        loop {
            let group = match self.find(region, name) {
                Some(group) => group,
                None => self.make(region, name, BTreeMap::new())?.0,
            };
            match group.append(&self.0.world, stream, events) {
                // Deleted at this moment: what comes now makes it anew, as in CloudWatch.
                Err(AppendError::Gone) => continue,
                Err(AppendError::Io(error)) => {
                    return Err(LogError::at(&group.directory)(error));
                }
                Ok(()) => {}
            }
            self.sweep();
            self.bound();
            return Ok(());
        }
    }

    /// Appends to a stream that has to be there.
    pub fn put(
        &self,
        region: &str,
        group: &str,
        stream: &str,
        events: &[LogEvent],
    ) -> Result<(), LogError> {
        if !self.has_stream(region, group, stream)? {
            return Err(LogError::NoStream);
        }
        self.append(region, group, stream, events)
    }

    pub fn create_group(
        &self,
        region: &str,
        name: &str,
        tags: BTreeMap<String, String>,
    ) -> Result<(), LogError> {
        match self.make(region, name, tags)? {
            (_, true) => Ok(()),
            (_, false) => Err(LogError::GroupExists),
        }
    }

    pub fn delete_group(&self, region: &str, name: &str) -> Result<(), LogError> {
        let changing = lock(&self.0.changing);
        let group = self.group(region, name)?;
        let removed = self.0.directory.join(format!("{REMOVED}{}", crate::random::uuid()));
        let failed = LogError::at(&group.directory);
        group
            .delete(&self.0.world, || {
                fs::rename(&group.directory, &removed)?;
                record::sync(&self.0.directory)
            })
            .map_err(failed)?;
        if let Some(groups) = self.groups_lock().get_mut(region) {
            groups.remove(name);
        }
        drop(changing);
        // What a crash leaves of it is removed at the next start.
        fs::remove_dir_all(&removed).map_err(LogError::at(&removed))
    }

    /// What is known of a group.
    pub fn group_info(&self, region: &str, name: &str) -> Result<GroupInfo, LogError> {
        Ok(info(&*self.group(region, name)?))
    }

    /// The groups after `after` that `wanted` takes, in the order of their names, at most `limit`
    /// of them, and whether there are more.
    pub fn groups(
        &self,
        region: &str,
        after: Option<&str>,
        limit: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> (Vec<GroupInfo>, bool) {
        self.sweep();
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut found: Vec<Arc<Group>> = match self.groups_lock().get(region) {
            Some(groups) => groups
                .range::<str, _>((after, Bound::Unbounded))
                .filter(|(name, _)| wanted(name))
                .take(limit.saturating_add(1))
                .map(|(_, group)| group.clone())
                .collect(),
            None => Vec::new(),
        };
        let more = found.len() > limit;
        found.truncate(limit);
        (found.iter().map(|group| info(group)).collect(), more)
    }

    /// Changes a group's retention and tags, in this order.
    pub fn change_group<E: From<LogError>>(
        &self,
        region: &str,
        name: &str,
        change: impl FnOnce(&mut Option<u32>, &mut BTreeMap<String, String>) -> Result<(), E>,
    ) -> Result<(), E> {
        let group = self.group(region, name)?;
        group.change(|record| change(&mut record.retention_days, &mut record.tags))?;
        group.expire(&self.0.world);
        Ok(())
    }

    pub fn create_stream(&self, region: &str, group: &str, stream: &str) -> Result<(), LogError> {
        if self.has_stream(region, group, stream)? {
            return Err(LogError::StreamExists);
        }
        self.append(region, group, stream, &[])
    }

    pub fn delete_stream(&self, region: &str, group: &str, stream: &str) -> Result<(), LogError> {
        let group = self.group(region, group)?;
        if !group.view().has_stream(stream)? {
            return Err(LogError::NoStream);
        }
        match group.delete_stream(&self.0.world, stream) {
            Err(AppendError::Gone) => Err(LogError::NoGroup),
            Err(AppendError::Io(error)) => Err(LogError::at(&group.directory)(error)),
            Ok(()) => Ok(()),
        }
    }

    pub fn has_stream(&self, region: &str, group: &str, stream: &str) -> Result<bool, LogError> {
        self.group(region, group)?.view().has_stream(stream)
    }

    /// The streams of a group by their names.
    pub fn streams(
        &self,
        region: &str,
        group: &str,
    ) -> Result<BTreeMap<Box<str>, StreamInfo>, LogError> {
        self.group(region, group)?.view().streams()
    }

    /// A page of a group's events. Events that are older than the group keeps them are not there,
    /// whether or not they have been removed yet.
    pub fn select(&self, region: &str, group: &str, query: &Query<'_>) -> Result<Page, LogError> {
        self.sweep();
        let view = self.group(region, group)?.view();
        let mut query = *query;
        if let Some(days) = view.retention_days.or(self.0.world.limits.retention_days) {
            let now_ms = self.0.world.host.now_ms();
            let oldest = Place::at(now_ms.saturating_sub(i64::from(days) * DAY_MS));
            query.range.0 = query.range.0.max(oldest);
        }
        view.select(&query)
    }

    pub fn stats(&self) -> LogStats {
        LogStats {
            groups: self.groups_lock().values().map(BTreeMap::len).sum(),
            bytes: self.0.world.total_bytes.load(Ordering::Relaxed),
            taken: self.0.taken.load(Ordering::Relaxed),
            dropped: self.0.dropped.load(Ordering::Relaxed),
        }
    }

    fn find(&self, region: &str, name: &str) -> Option<Arc<Group>> {
        self.groups_lock().get(region)?.get(name).cloned()
    }

    #[cfg(test)]
    pub(super) fn view(&self, region: &str, name: &str) -> super::view::View {
        self.find(region, name).unwrap().view()
    }

    fn group(&self, region: &str, name: &str) -> Result<Arc<Group>, LogError> {
        self.find(region, name).ok_or(LogError::NoGroup)
    }

    /// The group of this name, and whether it is new.
    fn make(
        &self,
        region: &str,
        name: &str,
        tags: BTreeMap<String, String>,
    ) -> Result<(Arc<Group>, bool), LogError> {
        let _changing = lock(&self.0.changing);
        if let Some(group) = self.find(region, name) {
            return Ok((group, false));
        }
        if self.stats().groups >= MAX_GROUPS {
            return Err(LogError::TooManyGroups(MAX_GROUPS));
        }
        let directory = self.0.directory.join(record::directory_name(region, name));
        let record = Record {
            region: region.to_owned(),
            name: name.to_owned(),
            created_ms: self.0.world.host.now_ms(),
            retention_days: None,
            tags,
        };
        let mut builder = DirBuilder::new();
        let group = builder
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .and_then(|()| record.save(&directory))
            .and_then(|()| record::sync(&self.0.directory))
            .and_then(|()| Group::open(directory.clone(), record, &self.0.world));
        let group = Arc::new(group.map_err(LogError::at(&directory))?);
        let mut groups = self.groups_lock();
        groups.entry(region.to_owned()).or_default().insert(name.to_owned(), group.clone());
        Ok((group, true))
    }

    /// Every hour: what is too old goes. It hangs on calls, for without them nothing grows.
    fn sweep(&self) {
        let now_ms = self.0.world.host.now_ms();
        let swept_ms = self.0.swept_ms.load(Ordering::Relaxed);
        if now_ms.saturating_sub(swept_ms) < SWEEP_MS {
            return;
        }
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        if self.0.swept_ms.compare_exchange(swept_ms, now_ms, set, get).is_ok() {
            for group in self.all() {
                group.expire(&self.0.world);
            }
        }
    }

    /// Keeps all groups together within their limits.
    fn bound(&self) {
        let world = &self.0.world;
        while world.total_bytes.load(Ordering::Relaxed) > world.limits.max_total_bytes {
            let largest = self.all().into_iter().max_by_key(|group| group.bytes());
            if !largest.is_some_and(|group| group.drop_oldest(world)) {
                break;
            }
        }
        if world.open_streams.load(Ordering::Relaxed) > MAX_OPEN_STREAMS {
            let mut groups = self.all();
            groups.sort_by_key(|group| group.used_ms());
            for group in groups {
                group.close(world);
                if world.open_streams.load(Ordering::Relaxed) <= MAX_OPEN_STREAMS / 2 {
                    break;
                }
            }
        }
    }

    fn all(&self) -> Vec<Arc<Group>> {
        self.groups_lock().values().flat_map(BTreeMap::values).cloned().collect()
    }

    fn groups_lock(&self) -> MutexGuard<'_, BTreeMap<String, Groups>> {
        lock(&self.0.groups)
    }
}

/// A panic under these locks leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn info(group: &Group) -> GroupInfo {
    let Record { name, created_ms, retention_days, tags, .. } = group.record();
    GroupInfo { name, created_ms, retention_days, tags, bytes: group.bytes() }
}

/// The group in a directory that is there at the start. What is none, or a damaged one, is told and
/// passed over: logs keep nobody from starting.
fn found_group(path: &Path, world: &World) -> Option<Group> {
    let name = path.file_name()?.to_str()?;
    if name.starts_with(REMOVED) {
        if let Err(error) = fs::remove_dir_all(path) {
            log::warn!("{} cannot be removed: {error}", path.display());
        }
        return None;
    }
    let opened = Record::load(path).and_then(|record| {
        if record::directory_name(&record.region, &record.name) != name {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is another group's copy"));
        }
        Group::open(path.to_owned(), record, world)
    });
    match opened {
        Ok(group) => Some(group),
        // One that was being made.
        Err(_) if record::remove_unfinished(path) => None,
        Err(error) => {
            log::warn!("{} is no readable log group: {error}", path.display());
            None
        }
    }
}
