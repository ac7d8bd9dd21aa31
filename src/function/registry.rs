//! What the rest of the program asks about functions: a view in memory over the store.
//!
//! A reader never waits for the disk: records are shared values behind one short lock. A writer
//! works out a list of changes, commits them in one transaction and changes the view afterwards, so
//! what a reader sees is durable; the text of a preparation's progress alone is not kept.
//! It holds no state of containers, and it does not prepare code.

mod aliases;
mod view;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use self::view::View;
use super::error::FunctionError;
use super::model::{Code, Function};
use super::name::{FunctionRef, Place, Qualifier};
use super::state::{LastUpdate, State, Step};
use super::store::{Change, Store};
use crate::random;

#[derive(Debug)]
pub struct Registry {
    account_id: String,
    owner: String,
    /// Held by a writer from its check to the change of the view: one writer at a time.
    store: Mutex<Arc<Store>>,
    view: RwLock<View>,
}

/// One page of a list.
#[derive(Debug)]
pub struct Page<T> {
    pub items: Vec<Arc<T>>,
    /// Whether there are more after the last one.
    pub more: bool,
}

impl<T> Page<T> {
    fn of(mut rest: impl Iterator<Item = Arc<T>>, max: usize) -> Page<T> {
        let items = rest.by_ref().take(max).collect();
        Page { items, more: rest.next().is_some() }
    }
}

/// A `$LATEST` that was written, and the version that was published with it.
#[derive(Debug)]
pub struct Written {
    pub latest: Arc<Function>,
    pub published: Option<Arc<Function>>,
}

/// What PublishVersion asks for.
#[derive(Debug, Default)]
pub struct Publication {
    pub revision_id: Option<String>,
    pub code_sha256: Option<String>,
    pub description: Option<String>,
}

impl Registry {
    /// Reads every record of the store.
    pub fn new(store: impl Into<Arc<Store>>, account_id: &str) -> Result<Registry, FunctionError> {
        let store = store.into();
        let mut view = View::default();
        for function in store.functions()? {
            view.apply(Change::Put(Arc::new(function)));
        }
        for alias in store.aliases()? {
            view.apply(Change::PutAlias(Arc::new(alias)));
        }
        let owner = store.owner().to_owned();
        let account_id = account_id.to_owned();
        Ok(Registry { account_id, owner, store: Mutex::new(store), view: RwLock::new(view) })
    }

    /// The id of the storage: what the containers of this service are marked with.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The version that the reference means; of an alias with two, the first.
    pub fn get(
        &self,
        region: &str,
        reference: &FunctionRef,
    ) -> Result<Arc<Function>, FunctionError> {
        self.find(region, reference, || 1.0).ok_or_else(|| self.not_found(region, reference))
    }

    /// The version that the reference means for one request; `draw` is random, evenly from 0 to
    /// below 1, and is asked where an alias points at two versions.
    pub fn find(
        &self,
        region: &str,
        reference: &FunctionRef,
        draw: impl FnOnce() -> f64,
    ) -> Option<Arc<Function>> {
        let view = self.read();
        let entry = view.entry(region, &reference.name)?;
        match &reference.qualifier {
            None | Some(Qualifier::Latest) => Some(&entry.latest),
            Some(Qualifier::LatestPublished) => entry.versions.last_key_value().map(|(_, v)| v),
            Some(Qualifier::Version(number)) => entry.version(number),
            Some(Qualifier::Alias(name)) => {
                let alias = entry.aliases.get(name)?;
                entry.version(alias.version_for(draw))
            }
        }
        .cloned()
    }

    /// The `$LATEST` version by the bare name.
    pub fn latest(&self, region: &str, name: &str) -> Option<Arc<Function>> {
        Some(self.read().entry(region, name)?.latest.clone())
    }

    /// At most `max` functions of a region by name, those after the name `after`.
    pub fn list(&self, region: &str, after: Option<&str>, max: usize) -> Page<Function> {
        let view = self.read();
        Page::of(view.after(region, after).map(|(_, entry)| entry.latest.clone()), max)
    }

    /// At most `max` versions of all functions of a region, those after this version of a function.
    pub fn list_all(
        &self,
        region: &str,
        after: Option<(&str, &str)>,
        max: usize,
    ) -> Page<Function> {
        let view = self.read();
        let rest_of_first = after.and_then(|(name, version)| {
            view.entry(region, name).map(|entry| entry.versions_after(Some(version)))
        });
        let others = view.after(region, after.map(|(name, _)| name));
        let others = others.flat_map(|(_, entry)| entry.versions_after(None));
        Page::of(rest_of_first.into_iter().flatten().chain(others).cloned(), max)
    }

    /// At most `max` versions of a function, `$LATEST` first, those after the version `after`.
    pub fn versions(
        &self,
        region: &str,
        name: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Page<Function>, FunctionError> {
        let view = self.read();
        let entry = view.entry(region, name).ok_or_else(|| self.no_function(region, name))?;
        Ok(Page::of(entry.versions_after(after).cloned(), max))
    }

    /// The `$LATEST` version of every function of every region, for the start and for the status.
    pub fn all(&self) -> Vec<Arc<Function>> {
        self.read().entries().map(|entry| entry.latest.clone()).collect()
    }

    /// Every version of every function, and what runs while an update of it is prepared.
    pub fn every_version(&self) -> Vec<Arc<Function>> {
        let view = self.read();
        let latest = view.entries().map(|entry| entry.latest.clone());
        let published = view.entries().flat_map(|entry| entry.versions.values().cloned());
        let all: Vec<Arc<Function>> = latest.chain(published).collect();
        let running = all.iter().filter_map(|f| f.running.as_deref().cloned().map(Arc::new));
        running.chain(all.iter().cloned()).collect()
    }

    /// Adds a function, and its first version when it is to be published at once.
    pub fn create(&self, function: Function, publish: bool) -> Result<Written, FunctionError> {
        let store = self.writer();
        if self.latest(&function.region, &function.name).is_some() {
            return Err(FunctionError::AlreadyExists { name: function.name });
        }
        self.put_latest(&store, function, publish)
    }

    /// Replaces `$LATEST` by what `change` makes of it, and publishes that if it is asked for.
    ///
    /// `revision_id` is what the caller has seen, if that matters to it. The new code runs once its
    /// preparation has told so through [`Registry::set_state`].
    pub fn update<E: From<FunctionError>>(
        &self,
        region: &str,
        name: &str,
        revision_id: Option<&str>,
        publish: bool,
        change: impl FnOnce(&Function) -> Result<Function, E>,
    ) -> Result<Written, E> {
        let store = self.writer();
        let latest = self.latest(region, name).ok_or_else(|| self.no_function(region, name))?;
        self.check_changeable(&latest, revision_id)?;
        let updated = latest.updated(change(&latest)?);
        Ok(self.put_latest(&store, updated, publish)?)
    }

    /// Whether `$LATEST` takes an update now, from a client that has seen this revision.
    pub fn check_changeable(
        &self,
        latest: &Function,
        revision_id: Option<&str>,
    ) -> Result<(), FunctionError> {
        if revision_id.is_some_and(|seen| seen != latest.revision_id) {
            return Err(FunctionError::OtherRevision);
        }
        if let State::Pending { .. } = latest.state {
            return Err(FunctionError::NotReady { state: latest.state.name() });
        }
        if latest.is_unprepared() {
            return Err(FunctionError::UpdateInProgress { arn: self.arn(latest) });
        }
        Ok(())
    }

    /// Makes a version of `$LATEST`, or returns the last one when nothing has changed since.
    pub fn publish(
        &self,
        region: &str,
        name: &str,
        wanted: &Publication,
    ) -> Result<Arc<Function>, FunctionError> {
        let store = self.writer();
        let (latest, last) = {
            let view = self.read();
            let entry = view.entry(region, name).ok_or_else(|| self.no_function(region, name))?;
            (entry.latest.clone(), entry.versions.get(&entry.latest.last_version).cloned())
        };
        check_publishable(&latest)?;
        self.check_changeable(&latest, wanted.revision_id.as_deref())?;
        // After a failed update the function still runs, but not what would be published.
        if matches!(latest.state, State::Failed { .. })
            || matches!(latest.last_update, Some(LastUpdate::Failed { .. }))
        {
            return Err(FunctionError::NotReady { state: "Failed" });
        }
        if let Some(asked) = wanted.code_sha256.as_ref().filter(|sha| **sha != latest.code_sha256) {
            let (asked, latest) = (asked.clone(), latest.code_sha256.clone());
            return Err(FunctionError::OtherCode { asked, latest });
        }
        if let Some(last) = last.filter(|last| last.content_id == latest.content_id) {
            return Ok(last);
        }
        let version = Arc::new(latest.published(wanted.description.as_deref()));
        let latest = Function {
            last_version: latest.last_version + 1,
            revision_id: random::uuid().to_string(),
            ..(*latest).clone()
        };
        self.keep(&store, vec![Change::Put(Arc::new(latest)), Change::Put(version.clone())])?;
        Ok(version)
    }

    /// Deletes what the reference means, a version or the whole function, and returns every version
    /// that is gone with it.
    pub fn delete(
        &self,
        region: &str,
        reference: &FunctionRef,
    ) -> Result<Vec<Arc<Function>>, FunctionError> {
        let not_found = || self.not_found(region, reference);
        let store = self.writer();
        let (gone, aliases) = {
            let view = self.read();
            let entry = view.entry(region, &reference.name);
            match &reference.qualifier {
                Some(Qualifier::Latest) => return Err(FunctionError::LatestNotDeletable),
                Some(Qualifier::Alias(_)) => return Err(FunctionError::AliasNotDeletable),
                Some(Qualifier::LatestPublished) => return Err(not_found()),
                Some(Qualifier::Version(number)) => {
                    let entry = entry.ok_or_else(not_found)?;
                    let version = entry.version(number).ok_or_else(not_found)?;
                    let aliases = entry.aliases_of(&version.version);
                    if !aliases.is_empty() {
                        return Err(FunctionError::VersionInUse { aliases });
                    }
                    (vec![version.clone()], Vec::new())
                }
                None => {
                    let entry = entry.ok_or_else(not_found)?;
                    let gone: Vec<_> = entry.versions_after(None).cloned().collect();
                    (gone, entry.aliases.values().cloned().collect())
                }
            }
        };
        let changes = gone.iter().cloned().map(Change::Remove);
        let changes = changes.chain(aliases.into_iter().map(Change::RemoveAlias)).collect();
        self.keep(&store, changes)?;
        Ok(gone)
    }

    /// Moves the state of a version and returns what it now is. A step of `$LATEST` is also one of
    /// the version that was published from it before its code was ready.
    ///
    /// The step was worked out for `of`: a function that was changed, or deleted and made again
    /// under the same name meanwhile, is another one, and is not found.
    pub fn set_state(&self, of: &Function, step: &Step) -> Result<Arc<Function>, FunctionError> {
        let store = self.writer();
        let (function, waiting) = {
            let view = self.read();
            let entry = view.entry(&of.region, &of.name);
            let same = |found: &&Arc<Function>| found.content_id == of.content_id;
            let found = entry.and_then(|entry| entry.version(&of.version)).filter(same);
            let Some(found) = found else { return Err(self.no_function(&of.region, &of.name)) };
            let versions = entry.filter(|_| of.is_latest()).into_iter();
            let waiting = versions.flat_map(|entry| entry.versions.values());
            let is_waiting = |version: &&Arc<Function>| {
                same(version) && matches!(version.state, State::Pending { .. })
            };
            (found.clone(), waiting.filter(is_waiting).cloned().collect::<Vec<_>>())
        };
        let after = |function: &Function| {
            function.after(step).map(Arc::new).ok_or_else(|| FunctionError::Transition {
                name: function.name.clone(),
                from: function.state.name(),
                step: step.name(),
            })
        };
        let changed = after(&function)?;
        let mut changes = vec![Change::Put(changed.clone())];
        for version in waiting {
            changes.push(Change::Put(after(&version)?));
        }
        // How far a preparation is means nothing after a restart, so it costs no commit.
        if matches!(step, Step::Progress(_)) {
            self.show(changes);
        } else {
            self.keep(&store, changes)?;
        }
        Ok(changed)
    }

    fn put_latest(
        &self,
        store: &Store,
        mut latest: Function,
        publish: bool,
    ) -> Result<Written, FunctionError> {
        if publish {
            check_publishable(&latest)?;
        }
        let published = publish.then(|| Arc::new(latest.published(None)));
        latest.last_version += u64::from(publish);
        let latest = Arc::new(latest);
        let changes = [&latest].into_iter().chain(&published).cloned().map(Change::Put).collect();
        self.keep(store, changes)?;
        Ok(Written { latest, published })
    }

    /// Store first, then the view.
    pub(super) fn keep(&self, store: &Store, changes: Vec<Change>) -> Result<(), FunctionError> {
        store.commit(&changes)?;
        self.show(changes);
        Ok(())
    }

    fn show(&self, changes: Vec<Change>) {
        let mut view = self.write();
        for change in changes {
            view.apply(change);
        }
    }

    fn arn(&self, function: &Function) -> String {
        self.place(&function.region).arn(&function.name, None)
    }

    fn place<'a>(&'a self, region: &'a str) -> Place<'a> {
        Place { region, account_id: &self.account_id }
    }

    pub(super) fn not_found(&self, region: &str, reference: &FunctionRef) -> FunctionError {
        let arn = self.place(region).arn(&reference.name, reference.qualifier.as_ref());
        FunctionError::NotFound { arn }
    }

    fn no_function(&self, region: &str, name: &str) -> FunctionError {
        FunctionError::NotFound { arn: self.place(region).arn(name, None) }
    }

    // A panic under one of these locks leaves whole records: each change is one insert or remove.

    pub(super) fn writer(&self) -> MutexGuard<'_, Arc<Store>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a version can be made of this function at all.
pub fn check_publishable(function: &Function) -> Result<(), FunctionError> {
    match function.code {
        Code::Directory { .. } => Err(FunctionError::NotPublishable),
        Code::Image { .. } | Code::Zip { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests;
