//! Layer versions on disk, in tables of their own that are made with the first one.
//!
//! The number that was given last is kept apart from the versions, so that it outlives them.

use redb::{ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction};

use super::layers::{LayerDetails, LayerVersion};
use super::store::Store;
use super::store_error::StoreError;

/// Region, name and version to the record in JSON.
const LAYERS: TableDefinition<'_, (&str, &str, u64), &[u8]> = TableDefinition::new("layers");

/// Region and name to the number that was given last.
const NUMBERS: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("layer_numbers");

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
                let last = numbers.get((region, name))?.map_or(0, |last| last.value());
                let version = last + 1;
                numbers.insert((region, name), version)?;
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
            table.get((region, name, version))?.map(|value| read(value.value())).transpose()
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
            let mut found = Vec::new();
            for entry in table.range((region, name.unwrap_or(""), 0)..)? {
                let (key, value) = entry?;
                let (of_region, of_name, _) = key.value();
                if of_region != region || name.is_some_and(|name| name != of_name) {
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
            layers.map(|entry| Ok(read(entry?.1.value())?.details.code.sha256_hex)).collect()
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
            transaction.open_table(LAYERS)?.remove((region, name, version))?;
            transaction.commit()?;
            Ok(())
        })
    }
}

fn put_in(transaction: &WriteTransaction, layer: &LayerVersion) -> Result<(), redb::Error> {
    let record = serde_json::to_vec(layer).map_err(|e| redb::Error::Io(e.into()))?;
    let key = (layer.region.as_str(), layer.name.as_str(), layer.version);
    transaction.open_table(LAYERS)?.insert(key, record.as_slice())?;
    Ok(())
}

fn read(record: &[u8]) -> Result<LayerVersion, redb::Error> {
    serde_json::from_slice(record)
        .map_err(|e| redb::Error::Corrupted(format!("a layer's record: {e}")))
}
