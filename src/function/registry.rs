//! What the rest of the program asks about functions: a view in memory over the store.
//!
//! A reader never waits for the disk: records are shared values behind one short lock. A writer
//! commits to the store first and changes the view afterwards, so what a reader sees is durable; the
//! text of a preparation's progress alone is not kept.
//! It holds no state of containers, and it does not prepare images.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::error::FunctionError;
use super::model::Function;
use super::name::{FunctionRef, Place, Qualifier};
use super::state::Step;
use super::store::Store;

/// A region's functions by name, in the order that lists have.
type Region = BTreeMap<String, Arc<Function>>;

#[derive(Debug)]
pub struct Registry {
    account_id: String,
    owner: String,
    /// Held by a writer from its check to the change of the view: one writer at a time.
    store: Mutex<Store>,
    view: RwLock<HashMap<String, Region>>,
}

/// One page of a list.
#[derive(Debug)]
pub struct Page {
    pub functions: Vec<Arc<Function>>,
    /// Whether there are functions after the last one.
    pub more: bool,
}

impl Registry {
    /// Reads every record of the store.
    pub fn new(store: Store, account_id: &str) -> Result<Registry, FunctionError> {
        let mut view: HashMap<String, Region> = HashMap::new();
        for function in store.functions()? {
            let region = view.entry(function.region.clone()).or_default();
            region.insert(function.name.clone(), Arc::new(function));
        }
        let owner = store.owner().to_owned();
        let account_id = account_id.to_owned();
        Ok(Registry { account_id, owner, store: Mutex::new(store), view: RwLock::new(view) })
    }

    /// The id of the storage: what the containers of this service are marked with.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The version that the reference means.
    pub fn get(
        &self,
        region: &str,
        reference: &FunctionRef,
    ) -> Result<Arc<Function>, FunctionError> {
        let published = !matches!(reference.qualifier, None | Some(Qualifier::Latest));
        match self.latest(region, &reference.name) {
            Some(function) if !published => Ok(function),
            _ => Err(self.not_found(region, reference)),
        }
    }

    /// The `$LATEST` version by the bare name, without a copy of the key.
    pub fn latest(&self, region: &str, name: &str) -> Option<Arc<Function>> {
        self.read().get(region)?.get(name).cloned()
    }

    /// At most `max` functions of a region by name, those after the name `after`.
    pub fn list(&self, region: &str, after: Option<&str>, max: usize) -> Page {
        let view = self.read();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = view
            .get(region)
            .into_iter()
            .flat_map(|functions| functions.range::<str, _>((from, Bound::Unbounded)));
        let functions = rest.by_ref().take(max).map(|(_, function)| Arc::clone(function)).collect();
        Page { functions, more: rest.next().is_some() }
    }

    /// Every function of every region, for the start and for the status.
    pub fn all(&self) -> Vec<Arc<Function>> {
        self.read().values().flat_map(|region| region.values().cloned()).collect()
    }

    pub fn create(&self, function: Function) -> Result<Arc<Function>, FunctionError> {
        let store = self.writer();
        if self.latest(&function.region, &function.name).is_some() {
            return Err(FunctionError::AlreadyExists { name: function.name });
        }
        self.keep(&store, function)
    }

    /// Deletes what the reference means and returns what it was.
    pub fn delete(
        &self,
        region: &str,
        reference: &FunctionRef,
    ) -> Result<Arc<Function>, FunctionError> {
        match reference.qualifier {
            None => {}
            Some(Qualifier::Latest) => return Err(FunctionError::LatestNotDeletable),
            Some(Qualifier::Alias(_)) => return Err(FunctionError::AliasNotDeletable),
            Some(Qualifier::Version(_) | Qualifier::LatestPublished) => {
                return Err(self.not_found(region, reference));
            }
        }
        let store = self.writer();
        let Some(function) = self.latest(region, &reference.name) else {
            return Err(self.not_found(region, reference));
        };
        store.remove(&function.key())?;
        if let Some(functions) = self.write().get_mut(region) {
            functions.remove(&reference.name);
        }
        Ok(function)
    }

    /// Moves a function's state and returns what it now is.
    ///
    /// `revision_id` is the one that the step was worked out for: a function that was deleted and
    /// made again under the same name meanwhile is another one, and is not found.
    pub fn set_state(
        &self,
        region: &str,
        name: &str,
        revision_id: &str,
        step: &Step,
    ) -> Result<Arc<Function>, FunctionError> {
        let store = self.writer();
        let Some(function) =
            self.latest(region, name).filter(|function| function.revision_id == revision_id)
        else {
            let reference = FunctionRef { name: name.to_owned(), qualifier: None };
            return Err(self.not_found(region, &reference));
        };
        let Some(changed) = function.after(step) else {
            return Err(FunctionError::Transition {
                name: name.to_owned(),
                from: function.state.name(),
                step: step.name(),
            });
        };
        // How far a preparation is means nothing after a restart, so it costs no commit.
        if matches!(step, Step::Progress(_)) {
            return Ok(self.show(changed));
        }
        self.keep(&store, changed)
    }

    /// Store first, then the view.
    fn keep(&self, store: &Store, function: Function) -> Result<Arc<Function>, FunctionError> {
        store.put(&function)?;
        Ok(self.show(function))
    }

    fn show(&self, function: Function) -> Arc<Function> {
        let function = Arc::new(function);
        let mut view = self.write();
        let region = view.entry(function.region.clone()).or_default();
        region.insert(function.name.clone(), Arc::clone(&function));
        function
    }

    fn not_found(&self, region: &str, reference: &FunctionRef) -> FunctionError {
        let place = Place { region, account_id: &self.account_id };
        FunctionError::NotFound { arn: place.arn(&reference.name, reference.qualifier.as_ref()) }
    }

    // A panic under one of these locks leaves whole records: each change is one insert or remove.

    fn writer(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Region>> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Region>> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::{ready, sample};
    use super::super::power_cut::Backend;
    use super::super::state::State;
    use super::*;

    const HERE: &str = "us-east-1";

    fn registry() -> Registry {
        Registry::new(Backend::default().open().unwrap(), "123456789012").unwrap()
    }

    fn reference(name: &str, qualifier: Option<Qualifier>) -> FunctionRef {
        FunctionRef { name: name.to_owned(), qualifier }
    }

    #[test]
    fn what_is_created_is_found_in_its_region_only() {
        let registry = registry();
        registry.create(sample("f")).unwrap();
        assert_eq!(*registry.get(HERE, &reference("f", None)).unwrap(), sample("f"));
        assert!(registry.get(HERE, &reference("f", Some(Qualifier::Latest))).is_ok());
        assert!(registry.get("eu-west-1", &reference("f", None)).is_err());
        let version = reference("f", Some(Qualifier::Version("3".to_owned())));
        assert!(matches!(registry.get(HERE, &version), Err(FunctionError::NotFound { arn })
                if arn == "arn:aws:lambda:us-east-1:123456789012:function:f:3"));
    }

    #[test]
    fn a_name_is_taken_once() {
        let registry = registry();
        registry.create(sample("f")).unwrap();
        assert!(matches!(registry.create(sample("f")),
            Err(FunctionError::AlreadyExists { name }) if name == "f"));
    }

    #[test]
    fn pages_follow_each_other_without_gap() {
        let registry = registry();
        for name in ["c", "a", "b", "e", "d"] {
            registry.create(sample(name)).unwrap();
        }
        let names = |after: Option<&str>| {
            let page = registry.list(HERE, after, 2);
            let names: Vec<String> = page.functions.iter().map(|f| f.name.clone()).collect();
            (names.concat(), page.more)
        };
        assert_eq!(names(None), ("ab".to_owned(), true));
        // The marker's function may be gone by now.
        registry.delete(HERE, &reference("b", None)).unwrap();
        assert_eq!(names(Some("b")), ("cd".to_owned(), true));
        assert_eq!(names(Some("d")), ("e".to_owned(), false));
        assert!(registry.list("eu-west-1", None, 2).functions.is_empty());
    }

    #[test]
    fn deletion_is_of_whole_functions() {
        let registry = registry();
        registry.create(sample("f")).unwrap();
        let delete = |qualifier| registry.delete(HERE, &reference("f", qualifier)).unwrap_err();
        assert!(matches!(delete(Some(Qualifier::Latest)), FunctionError::LatestNotDeletable));
        let alias = Qualifier::Alias("live".to_owned());
        assert!(matches!(delete(Some(alias)), FunctionError::AliasNotDeletable));
        let version = Qualifier::Version("1".to_owned());
        assert!(matches!(delete(Some(version)), FunctionError::NotFound { .. }));
        registry.delete(HERE, &reference("f", None)).unwrap();
        assert!(matches!(delete(None), FunctionError::NotFound { .. }));
        assert!(registry.writer().functions().unwrap().is_empty());
    }

    #[test]
    fn states_are_stored_and_wrong_steps_refused() {
        let registry = registry();
        let revision = registry.create(sample("f")).unwrap().revision_id.clone();
        let progress = Step::Progress("pulling".to_owned());
        let pending = registry.set_state(HERE, "f", &revision, &progress).unwrap();
        assert!(matches!(&pending.state, State::Pending { reason, .. } if reason == "pulling"));
        let active = registry.set_state(HERE, "f", &revision, &ready()).unwrap();
        assert_eq!(active.state, State::Active);
        assert_eq!(registry.writer().functions().unwrap(), [(*active).clone()]);
        assert!(matches!(
            registry.set_state(HERE, "f", &revision, &Step::Restore),
            Err(FunctionError::Transition { from: "Active", .. })
        ));
        assert!(matches!(
            registry.set_state(HERE, "f", "an older one", &ready()),
            Err(FunctionError::NotFound { .. })
        ));
    }

    #[test]
    fn a_failed_commit_changes_nothing_in_the_view() {
        let backend = Backend::default();
        let registry = Registry::new(backend.open().unwrap(), "123456789012").unwrap();
        let f = registry.create(sample("f")).unwrap();
        backend.cut();
        assert!(matches!(registry.create(sample("g")), Err(FunctionError::Store(_))));
        assert!(registry.delete(HERE, &reference("f", None)).is_err());
        assert!(registry.set_state(HERE, "f", &f.revision_id, &ready()).is_err());
        assert_eq!(registry.all(), [f]);
    }
}
