//! The records in memory, in the order that lists have.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use crate::function::alias::Alias;
use crate::function::model::{Function, LATEST};
use crate::function::store::Change;

/// A function with all that belongs to it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) latest: Arc<Function>,
    /// The published versions by number.
    pub(super) versions: BTreeMap<u64, Arc<Function>>,
    pub(super) aliases: BTreeMap<String, Arc<Alias>>,
}

impl Entry {
    /// A version by its name: `$LATEST` or a number as AWS writes it, without zeros in front.
    pub(super) fn version(&self, version: &str) -> Option<&Arc<Function>> {
        if version == LATEST {
            return Some(&self.latest);
        }
        self.versions.get(&version.parse().ok()?).filter(|found| found.version == version)
    }

    /// Those after the version `after`, all without it.
    pub(super) fn versions_after(
        &self,
        after: Option<&str>,
    ) -> impl Iterator<Item = &Arc<Function>> {
        // No version has the number 0, so it stands for `$LATEST`.
        let number = after.map(|version| version.parse().unwrap_or(0));
        let from = Bound::Excluded(number.unwrap_or(0));
        let latest = number.is_none().then_some(&self.latest);
        latest.into_iter().chain(self.versions.range((from, Bound::Unbounded)).map(|(_, v)| v))
    }

    /// The names of the aliases that point at this version.
    pub(super) fn aliases_of(&self, version: &str) -> Vec<String> {
        let aliases = self.aliases.values();
        let pointing = aliases.filter(|alias| alias.versions().any(|one| one == version));
        pointing.map(|alias| alias.name.clone()).collect()
    }
}

/// Entries by region and name.
#[derive(Debug, Default)]
pub(super) struct View(HashMap<String, BTreeMap<String, Entry>>);

impl View {
    pub(super) fn entry(&self, region: &str, name: &str) -> Option<&Entry> {
        self.0.get(region)?.get(name)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.values().flat_map(BTreeMap::values)
    }

    /// The entries of a region after the name `after`, all without it.
    pub(super) fn after(
        &self,
        region: &str,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&String, &Entry)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let functions = self.0.get(region).into_iter();
        functions.flat_map(move |functions| functions.range::<str, _>((from, Bound::Unbounded)))
    }

    /// Shows a change. `$LATEST` comes before what belongs to it and goes with all of it.
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Put(function) if function.is_latest() => self.put_latest(function),
            Change::Put(function) => {
                if let Some(entry) = self.entry_mut(&function.region, &function.name)
                    && let Ok(number) = function.version.parse()
                {
                    entry.versions.insert(number, function);
                } else {
                    log::error!("the record {} belongs to no function", function.key());
                }
            }
            Change::Remove(function) if function.is_latest() => {
                if let Some(region) = self.0.get_mut(&function.region) {
                    region.remove(&function.name);
                }
            }
            Change::Remove(function) => {
                if let Some(entry) = self.entry_mut(&function.region, &function.name)
                    && let Ok(number) = function.version.parse::<u64>()
                {
                    entry.versions.remove(&number);
                }
            }
            Change::PutAlias(alias) => match self.entry_mut(&alias.region, &alias.function) {
                Some(entry) => _ = entry.aliases.insert(alias.name.clone(), alias),
                None => log::error!("the alias {} belongs to no function", alias.key()),
            },
            Change::RemoveAlias(alias) => {
                if let Some(entry) = self.entry_mut(&alias.region, &alias.function) {
                    entry.aliases.remove(&alias.name);
                }
            }
        }
    }

    fn put_latest(&mut self, function: Arc<Function>) {
        let region = self.0.entry(function.region.clone()).or_default();
        if let Some(entry) = region.get_mut(&function.name) {
            entry.latest = function;
            return;
        }
        let name = function.name.clone();
        let (versions, aliases) = (BTreeMap::new(), BTreeMap::new());
        region.insert(name, Entry { latest: function, versions, aliases });
    }

    fn entry_mut(&mut self, region: &str, name: &str) -> Option<&mut Entry> {
        self.0.get_mut(region)?.get_mut(name)
    }
}
