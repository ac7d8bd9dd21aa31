//! Layer versions on disk, in tables of their own that are made with the first one.
//!
//! The number that was given last is kept apart from the versions, so that it outlives them.

use redb::{ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction};
use serde::de::DeserializeOwned;

use super::layers::{LayerDetails, LayerVersion};
use super::store::{Store, Table};
use super::store_error::StoreError;

/// `region/name/version` to the record in JSON.
const LAYERS: Table<'_> = TableDefinition::new("layers");

/// `region/name` to the number that was given last, in JSON.
const NUMBERS: Table<'_> = TableDefinition::new("layer_numbers");

impl Store {
    pub(super) fn publish_layer(
        &self,
        region: &str,
        name: &str,
        details: LayerDetails,
    ) -> Result<LayerVersion, StoreError> {
        self.with_database(|database| {
            let transaction = database.begin_write()?;
            let layer = {
                let mut numbers = transaction.open_table(NUMBERS)?;
                let key = format!("{region}/{name}");
                let last: u64 = match numbers.get(key.as_str())? {
                    Some(last) => read(last.value())?,
                    None => 0,
                };
                let version = last + 1;
                numbers.insert(key.as_str(), version.to_string().as_bytes())?;
                let (region, name) = (region.to_owned(), name.to_owned());
                LayerVersion { region, name, version, details, policy: None }
            };
            put_in(&transaction, &layer)?;
            transaction.commit()?;
            Ok(layer)
        })
    }

    /// Replaces the record of a version.
    pub(super) fn put_layer(&self, layer: &LayerVersion) -> Result<(), StoreError> {
        self.with_database(|database| {
            let transaction = database.begin_write()?;
            put_in(&transaction, layer)?;
            transaction.commit()?;
            Ok(())
        })
    }

    pub(super) fn layer_version(
        &self,
        region: &str,
        name: &str,
        version: u64,
    ) -> Result<Option<LayerVersion>, StoreError> {
        self.with_database(|database| {
            let table = match database.begin_read()?.open_table(LAYERS) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                other => other?,
            };
            table
                .get(key(region, name, version).as_str())?
                .map(|value| read(value.value()))
                .transpose()
        })
    }

    /// The versions of one layer, or of all layers of the region, in the order of the keys.
    pub(super) fn layers(
        &self,
        region: &str,
        name: Option<&str>,
    ) -> Result<Vec<LayerVersion>, StoreError> {
        self.with_database(|database| {
            let table = match database.begin_read()?.open_table(LAYERS) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                other => other?,
            };
            let start = match name {
                Some(name) => format!("{region}/{name}/"),
                None => format!("{region}/"),
            };
            let mut found = Vec::new();
            for entry in table.range(start.as_str()..)? {
                let (key, value) = entry?;
                if !key.value().starts_with(&start) {
                    break;
                }
                found.push(read(value.value())?);
            }
            Ok(found)
        })
    }

    /// The packages of all layers of all regions, by their SHA-256.
    pub(super) fn layer_packages(&self) -> Result<Vec<String>, StoreError> {
        self.with_database(|database| {
            let table = match database.begin_read()?.open_table(LAYERS) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                other => other?,
            };
            let layers = table.iter()?;
            layers
                .map(|entry| Ok(read::<LayerVersion>(entry?.1.value())?.details.code.sha256_hex))
                .collect()
        })
    }

    pub(super) fn delete_layer_version(
        &self,
        region: &str,
        name: &str,
        version: u64,
    ) -> Result<(), StoreError> {
        self.with_database(|database| {
            let transaction = database.begin_write()?;
            transaction.open_table(LAYERS)?.remove(key(region, name, version).as_str())?;
            transaction.commit()?;
            Ok(())
        })
    }
}

fn put_in(transaction: &WriteTransaction, layer: &LayerVersion) -> Result<(), redb::Error> {
    let record = serde_json::to_vec(layer).map_err(|e| redb::Error::Io(e.into()))?;
    let key = key(&layer.region, &layer.name, layer.version);
    transaction.open_table(LAYERS)?.insert(key.as_str(), record.as_slice())?;
    Ok(())
}

/// Neither a region nor a name has a `/`.
fn key(region: &str, name: &str, version: u64) -> String {
    format!("{region}/{name}/{version:020}")
}

fn read<T: DeserializeOwned>(record: &[u8]) -> Result<T, redb::Error> {
    crate::json::from_slice(record)
        .map_err(|e| redb::Error::Corrupted(format!("a layer's record: {e}")))
}
