//! Aliases in the registry: each points at versions that are there.

use std::ops::Bound;
use std::sync::Arc;

use super::view::Entry;
use super::{Page, Registry};
use crate::function::alias::Alias;
use crate::function::error::FunctionError;
use crate::function::name::Qualifier;
use crate::function::store::Change;

impl Registry {
    pub fn alias(
        &self,
        region: &str,
        function: &str,
        name: &str,
    ) -> Result<Arc<Alias>, FunctionError> {
        let view = self.read();
        let alias = view.entry(region, function).and_then(|entry| entry.aliases.get(name));
        let not_found =
            || FunctionError::AliasNotFound { arn: self.alias_arn(region, function, name) };
        alias.cloned().ok_or_else(not_found)
    }

    /// At most `max` aliases of a function by name, those after the name `after`; only those that
    /// point at `version`, if one is given.
    pub fn aliases(
        &self,
        region: &str,
        function: &str,
        version: Option<&str>,
        after: Option<&str>,
        max: usize,
    ) -> Result<Page<Alias>, FunctionError> {
        let view = self.read();
        let entry = view.entry(region, function);
        let entry = entry.ok_or_else(|| self.no_function(region, function))?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let aliases = entry.aliases.range::<str, _>((from, Bound::Unbounded)).map(|(_, one)| one);
        let wanted = aliases.filter(|alias| {
            version.is_none_or(|version| alias.versions().any(|pointed| pointed == version))
        });
        Ok(Page::of(wanted.cloned(), max))
    }

    pub fn create_alias(&self, alias: Alias) -> Result<Arc<Alias>, FunctionError> {
        let store = self.writer();
        {
            let view = self.read();
            self.check_versions(view.entry(&alias.region, &alias.function), &alias)?;
        }
        if self.alias(&alias.region, &alias.function, &alias.name).is_ok() {
            let arn = self.alias_arn(&alias.region, &alias.function, &alias.name);
            return Err(FunctionError::AliasExists { arn });
        }
        let alias = Arc::new(alias);
        self.keep(&store, vec![Change::PutAlias(alias.clone())])?;
        Ok(alias)
    }

    /// Replaces an alias by what `change` makes of it. `revision_id` is what the caller has seen,
    /// if that matters to it.
    pub fn update_alias<E: From<FunctionError>>(
        &self,
        (region, function, name): (&str, &str, &str),
        revision_id: Option<&str>,
        change: impl FnOnce(&Alias) -> Result<Alias, E>,
    ) -> Result<Arc<Alias>, E> {
        let store = self.writer();
        if self.latest(region, function).is_none() {
            return Err(self.no_function(region, function).into());
        }
        let Ok(alias) = self.alias(region, function, name) else {
            let arn = self.alias_arn(region, function, name);
            return Err(FunctionError::AliasToUpdateNotFound { arn }.into());
        };
        if revision_id.is_some_and(|seen| seen != alias.revision_id) {
            return Err(FunctionError::OtherRevision.into());
        }
        let changed = Arc::new(change(&alias)?);
        {
            let view = self.read();
            let entry = view.entry(region, function);
            self.check_versions(entry, &changed)?;
            // What is to be kept ready has to be able to run.
            let stored = |error| E::from(FunctionError::Store(error));
            let settings = store.settings(region, function).map_err(stored)?;
            if settings.provisioned.contains_key(name)
                && let Some(version) = entry.and_then(|entry| entry.version(&changed.version))
                && version.invocable().is_none()
            {
                return Err(FunctionError::NotReady { state: version.state.name() }.into());
            }
        }
        self.keep(&store, vec![Change::PutAlias(changed.clone())])?;
        Ok(changed)
    }

    /// Removes an alias; as with AWS, one that is not there is no error.
    pub fn delete_alias(
        &self,
        region: &str,
        function: &str,
        name: &str,
    ) -> Result<(), FunctionError> {
        let store = self.writer();
        if self.latest(region, function).is_none() {
            return Err(self.no_function(region, function));
        }
        match self.alias(region, function, name) {
            Ok(alias) => self.keep(&store, vec![Change::RemoveAlias(alias)]),
            Err(_) => Ok(()),
        }
    }

    fn check_versions(&self, entry: Option<&Entry>, alias: &Alias) -> Result<(), FunctionError> {
        for version in alias.versions() {
            if entry.and_then(|entry| entry.version(version)).is_none() {
                let qualifier = Qualifier::Version(version.to_owned());
                let arn = self.place(&alias.region).arn(&alias.function, Some(&qualifier));
                return Err(FunctionError::NotFound { arn });
            }
        }
        Ok(())
    }

    fn alias_arn(&self, region: &str, function: &str, name: &str) -> String {
        self.place(region).arn(function, Some(&Qualifier::Alias(name.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{HERE, published, registry};
    use super::*;
    use crate::function::alias::{Additional, tests::sample};
    use crate::function::name::FunctionRef;

    #[test]
    fn an_alias_points_at_versions_that_are_there() {
        let registry = registry();
        let refused = |alias| registry.create_alias(alias).unwrap_err().to_string();
        assert!(refused(sample("f", "live", "1")).contains(":function:f:1"));
        published(&registry, "f", 2);
        assert!(refused(sample("f", "live", "10")).contains(":function:f:10"));
        let mut alias = sample("f", "live", "1");
        alias.additional = Some(Additional { version: "3".to_owned(), weight: 0.5 });
        assert!(refused(alias.clone()).contains(":function:f:3"));
        alias.additional = Some(Additional { version: "2".to_owned(), weight: 0.5 });
        registry.create_alias(alias.clone()).unwrap();
        assert!(matches!(registry.create_alias(alias), Err(FunctionError::AliasExists { arn })
            if arn.ends_with(":function:f:live")));
        let reference =
            FunctionRef { name: "f".to_owned(), qualifier: Some(Qualifier::Alias("live".into())) };
        let drawn = |draw| registry.find(HERE, &reference, || draw).unwrap().version.clone();
        assert_eq!((drawn(0.4), drawn(0.6)), ("2".to_owned(), "1".to_owned()));
        assert_eq!(registry.get(HERE, &reference).unwrap().version, "1");
    }

    #[test]
    fn an_alias_is_changed_by_who_has_seen_it_and_deleted_by_all() {
        let registry = registry();
        published(&registry, "f", 2);
        registry.create_alias(sample("f", "live", "1")).unwrap();
        let update = |name, revision, version: &str| {
            registry.update_alias::<FunctionError>((HERE, "f", name), revision, |alias| {
                Ok(Alias { version: version.to_owned(), ..alias.clone() })
            })
        };
        assert!(matches!(
            update("none", None, "1"),
            Err(FunctionError::AliasToUpdateNotFound { .. })
        ));
        assert!(matches!(update("live", Some("x"), "2"), Err(FunctionError::OtherRevision)));
        assert!(matches!(update("live", None, "9"), Err(FunctionError::NotFound { .. })));
        let seen = sample("f", "live", "1").revision_id;
        assert_eq!(update("live", Some(&seen), "2").unwrap().version, "2");
        registry.create_alias(sample("f", "beta", "1")).unwrap();
        let names = |version, after, max| {
            let page = registry.aliases(HERE, "f", version, after, max).unwrap();
            let names: Vec<&str> = page.items.iter().map(|alias| alias.name.as_str()).collect();
            (names.join(","), page.more)
        };
        assert_eq!(names(None, None, 9), ("beta,live".to_owned(), false));
        assert_eq!(names(None, None, 1), ("beta".to_owned(), true));
        assert_eq!(names(None, Some("beta"), 1), ("live".to_owned(), false));
        assert_eq!(names(Some("2"), None, 9), ("live".to_owned(), false));
        registry.delete_alias(HERE, "f", "live").unwrap();
        registry.delete_alias(HERE, "f", "live").unwrap();
        assert!(registry.delete_alias(HERE, "g", "live").is_err());
        assert!(registry.alias(HERE, "f", "live").is_err());
        assert!(registry.aliases(HERE, "g", None, None, 9).is_err());
    }
}
