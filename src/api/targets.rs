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

#[derive(Debug, Default)]
pub(super) struct Targets {
    /// By region and name, of functions in the registry.
    registered: RwLock<HashMap<String, HashMap<String, Arc<Target>>>>,
    /// By name, of functions that only their runtimes know.
    of_runtimes: RwLock<HashMap<String, Arc<Target>>>,
}

impl Targets {
    /// The target of a registered function, the same one until the function changes.
    pub(super) fn of(&self, function: &Arc<Function>, place: Place<'_>) -> Arc<Target> {
        let known = self.registered.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = known.get(&function.region).and_then(|of| of.get(&function.name))
            && target.function.as_ref().is_some_and(|known| Arc::ptr_eq(known, function))
        {
            return target.clone();
        }
        drop(known);
        let target = Arc::new(Target {
            key: function.key(),
            name: function.name.clone(),
            version: function.version.clone(),
            arn: place.arn(&function.name, None),
            timeout: Duration::from_secs(u64::from(function.timeout_s)),
            memory_mb: function.memory_mb,
            function: Some(function.clone()),
        });
        let mut known = self.registered.write().unwrap_or_else(PoisonError::into_inner);
        let of_region = known.entry(function.region.clone()).or_default();
        if of_region.len() >= MAX_REMEMBERED {
            of_region.clear();
        }
        of_region.insert(function.name.clone(), target.clone());
        target
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
