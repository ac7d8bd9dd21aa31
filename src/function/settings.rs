//! What hangs on a function beside its versions: reserved concurrency, permissions, URLs, and the
//! configurations of asynchronous invocation, provisioned concurrency, runtime and recursion.
//!
//! One record for each function, so a change of it is one write, and it goes with its function.
//! Settings are asked for rarely (dispatch is told of reservations), so no copy is kept in memory.
//! It does not validate: `api::control` lets only valid values in. Where a setting belongs to a
//! qualifier its key is the version or the alias as text, and `$LATEST` for the function itself.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};

use serde::{Deserialize, Serialize};

use super::error::FunctionError;
use super::name::{FunctionRef, Qualifier};
use super::registry::Registry;
use super::store::{Change, Store};

/// Text for each qualifier.
pub type ByQualifier<T> = BTreeMap<String, T>;

/// A record; everything is absent by default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    pub reserved_concurrency: Option<u32>,
    pub policies: ByQualifier<Policy>,
    /// Kept and returned, not acted on.
    pub urls: ByQualifier<Url>,
    pub event_invoke: ByQualifier<EventInvoke>,
    /// Kept and returned, not acted on.
    pub provisioned: ByQualifier<Provisioned>,
    /// Kept and returned: the images that `[runtimes]` names are the runtimes here.
    pub runtime_management: ByQualifier<RuntimeManagement>,
    /// `RecursiveLoop` is `Allow`.
    pub recursion_allowed: bool,
}

impl Settings {
    /// Drops what belongs to a version or an alias that is gone.
    pub(super) fn remove_qualifier(&mut self, qualifier: &str) {
        self.policies.remove(qualifier);
        self.urls.remove(qualifier);
        self.event_invoke.remove(qualifier);
        self.provisioned.remove(qualifier);
        self.runtime_management.remove(qualifier);
    }
}

/// A resource policy: who may invoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub revision_id: String,
    pub statements: Vec<Statement>,
}

/// One statement, in the form that policies have.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_statement.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    pub sid: String,
    pub effect: String,
    pub principal: Principal,
    pub action: String,
    pub resource: String,
    /// Operator to condition key to value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub condition: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Principal {
    /// `*`
    Anyone(String),
    /// `Service` or `AWS` and who that is.
    Named(BTreeMap<String, String>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Url {
    /// The first label of the host name.
    pub id: String,
    pub auth_type: String,
    pub invoke_mode: String,
    pub cors: Option<Cors>,
    pub created_ms: u64,
    pub modified_ms: u64,
}

/// As the model has it, both ways.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Cors {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_headers: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_methods: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_origins: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expose_headers: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EventInvoke {
    pub max_retries: Option<u32>,
    pub max_age_s: Option<u32>,
    /// Destination ARNs.
    pub on_success: Option<String>,
    pub on_failure: Option<String>,
    pub modified_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provisioned {
    pub requested: u32,
    pub modified_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeManagement {
    pub update_on: String,
    pub version_arn: Option<String>,
}

/// Settings on their way from the check to the commit: no deletion comes in between.
struct OpenSettings<'r> {
    store: MutexGuard<'r, Arc<Store>>,
    region: &'r str,
    name: &'r str,
    before: Settings,
    settings: Settings,
}

impl OpenSettings<'_> {
    fn commit(self) -> Result<(), FunctionError> {
        if self.settings != self.before {
            self.store.put_settings(self.region, self.name, &self.settings)?;
        }
        Ok(())
    }
}

/// What a function was promised of the concurrency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// `region/name`.
    pub function: String,
    pub reserved: Option<u32>,
    /// Of all its versions and aliases together; a part of the reservation, if there is one.
    pub provisioned: u32,
}

impl Promise {
    pub(super) fn of(function: &str, settings: &Settings) -> Option<Promise> {
        let (reserved, provisioned) = (settings.reserved_concurrency, provisioned_sum(settings));
        (reserved.is_some() || provisioned > 0).then(|| Promise {
            function: function.to_owned(),
            reserved,
            provisioned,
        })
    }

    /// What nobody else can have.
    fn part(&self) -> u32 {
        self.reserved.unwrap_or(self.provisioned)
    }
}

/// What all other functions were promised together.
fn promised_to_others(store: &Store, region: &str, name: &str) -> Result<u32, FunctionError> {
    let function = format!("{region}/{name}");
    let promises = store.promises()?;
    let others = promises.iter().filter(|promise| promise.function != function);
    Ok(others.fold(0, |sum, promise| sum.saturating_add(promise.part())))
}

fn provisioned_sum(settings: &Settings) -> u32 {
    settings.provisioned.values().fold(0, |sum, one| sum.saturating_add(one.requested))
}

/// What became of a wish to reserve concurrency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserving {
    Done,
    /// All promises together would leave too little to the other functions.
    TooMuch,
    BelowProvisioned {
        reserved: u32,
        provisioned: u32,
    },
}

impl Registry {
    /// A function's settings; those of a function without any are all absent.
    pub fn settings(&self, region: &str, name: &str) -> Result<Settings, FunctionError> {
        Ok(self.writer().settings(region, name)?)
    }

    /// Changes the settings of the function, or of the version or alias, that the reference means,
    /// in one transaction. What `change` refuses changes nothing.
    pub fn change_settings<T, E: From<FunctionError>>(
        &self,
        region: &str,
        reference: &FunctionRef,
        change: impl FnOnce(&mut Settings) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut open = self.open_settings(region, reference)?;
        let result = change(&mut open.settings)?;
        open.commit()?;
        Ok(result)
    }

    /// The same for a change that promises concurrency: `change` is told what all other functions
    /// were promised, and no other promise is made between that and the commit.
    pub fn change_promise<T, E: From<FunctionError>>(
        &self,
        region: &str,
        reference: &FunctionRef,
        change: impl FnOnce(&mut Settings, u32) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut open = self.open_settings(region, reference)?;
        let others = promised_to_others(&open.store, region, &reference.name)?;
        let result = change(&mut open.settings, others)?;
        open.commit()?;
        Ok(result)
    }

    /// Looks at a function's settings while nothing of the registry changes: who passes them on
    /// passes them on in the order of the changes.
    pub fn with_settings<T>(
        &self,
        region: &str,
        name: &str,
        look: impl FnOnce(&Settings) -> T,
    ) -> Result<T, FunctionError> {
        let store = self.writer();
        Ok(look(&store.settings(region, name)?))
    }

    fn open_settings<'r>(
        &'r self,
        region: &'r str,
        reference: &'r FunctionRef,
    ) -> Result<OpenSettings<'r>, FunctionError> {
        let store = self.writer();
        self.get(region, reference)?;
        let before = store.settings(region, &reference.name)?;
        let settings = before.clone();
        Ok(OpenSettings { store, region, name: &reference.name, before, settings })
    }

    /// Reserves concurrency for a function, or lifts its reservation. Nothing is changed when all
    /// promises together would be more than `most`, or the function was promised more.
    ///
    /// `applied` is called once the change is durable and before any other one begins.
    pub fn reserve(
        &self,
        region: &str,
        name: &str,
        reserved: Option<u32>,
        most: u32,
        applied: impl FnOnce(),
    ) -> Result<Reserving, FunctionError> {
        let store = self.writer();
        if self.latest(region, name).is_none() {
            // AWS names the version here, and nowhere else.
            let qualifier = reserved.map(|_| Qualifier::Latest);
            let reference = FunctionRef { name: name.to_owned(), qualifier };
            return Err(self.not_found(region, &reference));
        }
        let mut settings = store.settings(region, name)?;
        let provisioned = provisioned_sum(&settings);
        // None stops the function, whatever it was promised.
        if let Some(below) = reserved.filter(|r| (1..provisioned).contains(r)) {
            return Ok(Reserving::BelowProvisioned { reserved: below, provisioned });
        }
        let others = promised_to_others(&store, region, name)?;
        if reserved.is_some_and(|reserved| others.saturating_add(reserved) > most) {
            return Ok(Reserving::TooMuch);
        }
        settings.reserved_concurrency = reserved;
        store.put_settings(region, name, &settings)?;
        applied();
        Ok(Reserving::Done)
    }

    /// What every function with a reservation or provisioned concurrency was promised.
    pub fn promises(&self) -> Result<Vec<Promise>, FunctionError> {
        Ok(self.writer().promises()?)
    }

    /// Changes the tags of a function in one transaction. They are no part of its revision.
    pub fn change_tags<E: From<FunctionError>>(
        &self,
        region: &str,
        name: &str,
        change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<(), E>,
    ) -> Result<(), E> {
        let store = self.writer();
        let Some(function) = self.latest(region, name) else {
            let reference = FunctionRef { name: name.to_owned(), qualifier: None };
            return Err(self.not_found(region, &reference).into());
        };
        let mut changed = (*function).clone();
        change(&mut changed.tags)?;
        if changed.tags != function.tags {
            self.keep(&store, vec![Change::Put(Arc::new(changed))])?;
        }
        Ok(())
    }
}

/// The key of the settings that a qualifier has.
pub fn qualifier_key(qualifier: Option<&Qualifier>) -> String {
    qualifier.unwrap_or(&Qualifier::Latest).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::sample;
    use super::super::power_cut::Backend;
    use super::*;

    const HERE: &str = "us-east-1";

    fn registry() -> Registry {
        let registry = Registry::new(Backend::default().open().unwrap(), "123456789012").unwrap();
        for name in ["f", "g"] {
            registry.create(sample(name), false).unwrap();
        }
        registry
    }

    fn reference(name: &str) -> FunctionRef {
        FunctionRef { name: name.to_owned(), qualifier: None }
    }

    fn allow_recursion(registry: &Registry, name: &str) -> Result<(), FunctionError> {
        registry.change_settings(HERE, &reference(name), |settings| {
            settings.recursion_allowed = true;
            Ok(())
        })
    }

    #[test]
    fn settings_go_with_their_function() {
        let registry = registry();
        allow_recursion(&registry, "f").unwrap();
        assert_eq!(registry.reserve(HERE, "f", Some(3), 10, || ()).unwrap(), Reserving::Done);
        assert!(registry.settings(HERE, "f").unwrap().recursion_allowed);
        assert!(!registry.settings("eu-west-1", "f").unwrap().recursion_allowed);
        registry.delete(HERE, &reference("f")).unwrap();
        assert_eq!(registry.promises().unwrap(), []);
        registry.create(sample("f"), false).unwrap();
        assert_eq!(registry.settings(HERE, "f").unwrap(), Settings::default());
    }

    #[test]
    fn a_function_that_is_not_there_has_no_settings_to_change() {
        let registry = registry();
        assert!(matches!(allow_recursion(&registry, "h"), Err(FunctionError::NotFound { .. })));
        let reserve = |reserved| registry.reserve(HERE, "h", reserved, 10, || ()).unwrap_err();
        assert!(reserve(Some(1)).to_string().contains("h:$LATEST"));
        assert!(!reserve(None).to_string().contains("$LATEST"));
    }

    #[test]
    fn reservations_have_a_sum() {
        let registry = registry();
        let reserve = |name, reserved| registry.reserve(HERE, name, reserved, 10, || ()).unwrap();
        assert_eq!(reserve("f", Some(6)), Reserving::Done);
        assert_eq!(reserve("g", Some(5)), Reserving::TooMuch);
        assert_eq!(reserve("g", Some(4)), Reserving::Done);
        assert_eq!(reserve("f", Some(7)), Reserving::TooMuch);
        assert_eq!(reserve("f", Some(5)), Reserving::Done, "its own earlier one does not count");
        assert_eq!([reserve("f", Some(0)), reserve("f", None)], [Reserving::Done, Reserving::Done]);
        let promise = |reserved, provisioned| Promise {
            function: "us-east-1/g".to_owned(),
            reserved,
            provisioned,
        };
        assert_eq!(registry.promises().unwrap(), [promise(Some(4), 0)]);
        let provisioned = Provisioned { requested: 3, modified_ms: 0 };
        let promised = registry.change_settings(HERE, &reference("g"), |settings| {
            settings.provisioned.insert("1".to_owned(), provisioned);
            Ok::<(), FunctionError>(())
        });
        promised.unwrap();
        let below = Reserving::BelowProvisioned { reserved: 2, provisioned: 3 };
        assert_eq!(reserve("g", Some(2)), below);
        assert_eq!(reserve("g", None), Reserving::Done);
        assert_eq!(registry.promises().unwrap(), [promise(None, 3)]);
        assert_eq!(reserve("f", Some(8)), Reserving::TooMuch, "what is provisioned counts as well");
    }

    #[test]
    fn a_refused_change_changes_nothing() {
        let registry = registry();
        let refused: Result<(), FunctionError> =
            registry.change_settings(HERE, &reference("f"), |settings| {
                settings.recursion_allowed = true;
                Err(FunctionError::LatestNotDeletable)
            });
        assert!(refused.is_err());
        assert!(!registry.settings(HERE, "f").unwrap().recursion_allowed);
    }

    #[test]
    fn tags_change_and_the_revision_does_not() {
        let registry = registry();
        let before = registry.latest(HERE, "f").unwrap();
        let tag = |tags: &mut BTreeMap<String, String>| -> Result<(), FunctionError> {
            tags.insert("k".to_owned(), "v".to_owned());
            Ok(())
        };
        registry.change_tags(HERE, "f", tag).unwrap();
        let after = registry.latest(HERE, "f").unwrap();
        assert_eq!(after.tags.get("k").map(String::as_str), Some("v"));
        assert_eq!(after.revision_id, before.revision_id);
        assert!(registry.change_tags(HERE, "h", tag).is_err());
    }
}
