//! What dispatch knows of a function, worked out once and not at each invocation.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::dispatch::Target;
use crate::function::model::Function;
use crate::function::name::Place;
use crate::sandbox::adoption::Adoption;

/// How many are remembered; beyond, all are worked out anew.
const MAX_REMEMBERED: usize = 4096;

type Versions = HashMap<String, Known>;

/// A target with the record that it was worked out from.
#[derive(Debug)]
struct Known {
    record: Arc<Function>,
    target: Arc<Target>,
}

#[derive(Debug, Default)]
pub(super) struct Targets {
    /// By region, name and version, of functions in the registry.
    registered: RwLock<HashMap<String, HashMap<String, Versions>>>,
    /// By name, of functions that only their runtimes know.
    of_runtimes: RwLock<HashMap<String, Arc<Target>>>,
}

impl Targets {
    /// What an invocation of a registered function's version runs, the same one until the record
    /// changes. `None` when nothing is ready to run.
    pub(super) fn of(&self, record: &Arc<Function>, place: Place<'_>) -> Option<Arc<Target>> {
        let known = self.registered.read().unwrap_or_else(PoisonError::into_inner);
        let versions = known.get(&record.region).and_then(|of| of.get(&record.name));
        if let Some(known) = versions.and_then(|versions| versions.get(&record.version))
            && Arc::ptr_eq(&known.record, record)
        {
            return Some(known.target.clone());
        }
        drop(known);
        let function = match &record.running {
            None => record.invocable().map(|_| record.clone())?,
            Some(_) => Arc::new(record.invocable()?.clone()),
        };
        let target = Arc::new(Target {
            key: function.key(),
            name: function.name.clone(),
            version: function.version.clone(),
            arn: place.arn(&function.name, None),
            timeout: Duration::from_secs(u64::from(function.timeout_s)),
            memory_mb: function.memory_mb,
            function: Some(function),
        });
        let mut known = self.registered.write().unwrap_or_else(PoisonError::into_inner);
        let of_region = known.entry(record.region.clone()).or_default();
        if of_region.len() >= MAX_REMEMBERED {
            of_region.clear();
        }
        let versions = of_region.entry(record.name.clone()).or_default();
        if versions.len() >= MAX_REMEMBERED {
            versions.clear();
        }
        let known = Known { record: record.clone(), target: target.clone() };
        versions.insert(record.version.clone(), known);
        Some(target)
    }

    /// The target of a function that only its runtimes know. None for what cannot be a name.
    pub(super) fn of_runtimes(&self, name: &str, adoption: &Adoption) -> Option<Arc<Target>> {
        let known = self.of_runtimes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = known.get(name) {
            return Some(target.clone());
        }
        drop(known);
        let target = adoption.runtime_only(name)?;
        let mut known = self.of_runtimes.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(name.to_owned(), target.clone());
        Some(target)
    }
}
