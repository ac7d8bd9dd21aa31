//! Settings of functions on disk: a table of its own, made with its first record.
//!
//! Records are JSON; one that says nothing is not kept. A function's deletion takes them along in
//! its own transaction, for which [`removed_in`] is here.

use redb::{ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction};

use super::model::LATEST;
use super::settings::{Promise, Settings};
use super::store::{Store, Table};
use super::store_error::StoreError;

/// `region/name` to the record in JSON.
const SETTINGS: Table<'_> = TableDefinition::new("settings");

impl Store {
    pub(super) fn settings(&self, region: &str, name: &str) -> Result<Settings, StoreError> {
        let key = key(region, name);
        self.with_database(|database| {
            let table = match database.begin_read()?.open_table(SETTINGS) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(Settings::default()),
                other => other?,
            };
            table
                .get(key.as_str())?
                .map_or_else(|| Ok(Settings::default()), |value| read(&key, value.value()))
        })
    }

    pub(super) fn put_settings(
        &self,
        region: &str,
        name: &str,
        settings: &Settings,
    ) -> Result<(), StoreError> {
        self.with_database(|database| {
            let transaction = database.begin_write()?;
            put_in(&transaction, &key(region, name), settings)?;
            transaction.commit()?;
            Ok(())
        })
    }

    /// `region/name` of each function with a reservation, and how much that is.
    pub(super) fn promises(&self) -> Result<Vec<Promise>, StoreError> {
        self.with_database(|database| {
            let table = match database.begin_read()?.open_table(SETTINGS) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                other => other?,
            };
            let mut found = Vec::new();
            for entry in table.iter()? {
                let (key, value) = entry?;
                let settings = read(key.value(), value.value())?;
                found.extend(Promise::of(key.value(), &settings));
            }
            Ok(found)
        })
    }
}

/// Removes what hangs on the function, the version or the alias whose record goes: its key is
/// `region/name/qualifier`, and with `$LATEST` the function goes.
pub(super) fn removed_in(transaction: &WriteTransaction, key: &str) -> Result<(), redb::Error> {
    let mut parts = key.splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(region), Some(name), Some(LATEST)) => remove_all_in(transaction, region, name),
        (Some(region), Some(name), Some(qualifier)) => {
            remove_qualifier_in(transaction, region, name, qualifier)
        }
        _ => Ok(()),
    }
}

fn remove_all_in(
    transaction: &WriteTransaction,
    region: &str,
    name: &str,
) -> Result<(), redb::Error> {
    transaction.open_table(SETTINGS)?.remove(key(region, name).as_str())?;
    Ok(())
}

fn remove_qualifier_in(
    transaction: &WriteTransaction,
    region: &str,
    name: &str,
    qualifier: &str,
) -> Result<(), redb::Error> {
    let key = key(region, name);
    let found = {
        let table = transaction.open_table(SETTINGS)?;
        let value = table.get(key.as_str())?;
        value.map(|value| read(&key, value.value())).transpose()?
    };
    let Some(mut settings) = found else { return Ok(()) };
    settings.remove_qualifier(qualifier);
    put_in(transaction, &key, &settings)
}

fn put_in(
    transaction: &WriteTransaction,
    key: &str,
    settings: &Settings,
) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(SETTINGS)?;
    if *settings == Settings::default() {
        table.remove(key)?;
        return Ok(());
    }
    let record = serde_json::to_vec(settings).map_err(|e| redb::Error::Io(e.into()))?;
    table.insert(key, record.as_slice())?;
    Ok(())
}

fn read(key: &str, record: &[u8]) -> Result<Settings, redb::Error> {
    crate::json::from_slice(record)
        .map_err(|e| redb::Error::Corrupted(format!("the settings of {key:?}: {e}")))
}

/// Neither a region nor a name has a `/`.
fn key(region: &str, name: &str) -> String {
    format!("{region}/{name}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::model::Function;
    use super::super::model::tests::sample;
    use super::super::power_cut::Backend;
    use super::super::settings::Provisioned;
    use super::super::store::Change;
    use super::*;

    fn provisioned_for(qualifiers: &[&str]) -> Settings {
        let one = |q: &&str| (q.to_string(), Provisioned { requested: 1, modified_ms: 0 });
        Settings { provisioned: qualifiers.iter().map(one).collect(), ..Settings::default() }
    }

    #[test]
    fn records_are_there_after_a_restart_and_empty_ones_are_not_kept() {
        let backend = Backend::default();
        let store = backend.open().unwrap();
        assert_eq!(store.promises().unwrap(), []);
        let kept = Settings { reserved_concurrency: Some(0), ..provisioned_for(&["1"]) };
        store.put_settings("r", "f", &kept).unwrap();
        store.put_settings("r", "g", &provisioned_for(&["1"])).unwrap();
        store.put_settings("r", "g", &Settings::default()).unwrap();
        drop(store);
        let store = backend.open().unwrap();
        assert_eq!(store.settings("r", "f").unwrap(), kept);
        assert_eq!(store.settings("r", "g").unwrap(), Settings::default());
        let promise = Promise { function: "r/f".to_owned(), reserved: Some(0), provisioned: 1 };
        assert_eq!(store.promises().unwrap(), [promise]);
    }

    #[test]
    fn a_version_takes_its_own_settings_along_and_a_function_all() {
        let store = Backend::default().open().unwrap();
        let f = Arc::new(sample("f"));
        let version = |name: &str, version: &str| {
            let version = version.to_owned();
            Change::Remove(Arc::new(Function { version, ..sample(name) }))
        };
        store.commit(&[Change::Put(f)]).unwrap();
        let (region, name) = ("us-east-1", "f");
        store.put_settings(region, name, &provisioned_for(&["1", "live"])).unwrap();
        store.commit(&[version(name, "1")]).unwrap();
        assert_eq!(store.settings(region, name).unwrap(), provisioned_for(&["live"]));
        store.commit(&[version("other", "$LATEST")]).unwrap();
        assert_eq!(store.settings(region, name).unwrap(), provisioned_for(&["live"]));
        store.commit(&[version(name, "$LATEST")]).unwrap();
        assert_eq!(store.settings(region, name).unwrap(), Settings::default());
    }
}
