//! Tables of other folders in the functions' store, so that there is one file, opened, locked and
//! recovered in one way. What is in them is theirs to say.

use redb::{ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::store::{Store, Table};
use super::store_error::StoreError;

/// A row as it is to be.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) table: &'static str,
    pub(crate) key: String,
    /// `None`: it goes.
    pub(crate) value: Option<Vec<u8>>,
}

impl Store {
    /// All rows of a table, in the order of their keys; `take` may find one damaged, and says how.
    pub(crate) fn each_row(
        &self,
        table: &'static str,
        mut take: impl FnMut(&str, &[u8]) -> Result<(), String>,
    ) -> Result<(), StoreError> {
        self.with_database(|database| {
            let definition: Table<'_> = TableDefinition::new(table);
            let rows = match database.begin_read()?.open_table(definition) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(()),
                other => other?,
            };
            for row in rows.iter()? {
                let (key, value) = row?;
                take(key.value(), value.value()).map_err(|why| {
                    redb::Error::Corrupted(format!("the row {:?} of {table}: {why}", key.value()))
                })?;
            }
            Ok(())
        })
    }

    pub(crate) fn row(
        &self,
        table: &'static str,
        key: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.with_database(|database| {
            let definition: Table<'_> = TableDefinition::new(table);
            let rows = match database.begin_read()?.open_table(definition) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                other => other?,
            };
            Ok(rows.get(key)?.map(|value| value.value().to_vec()))
        })
    }

    /// Writes all of them in one transaction, or none.
    pub(crate) fn put_rows(&self, rows: &[Row]) -> Result<(), StoreError> {
        self.with_database(|database| {
            let transaction = database.begin_write()?;
            for Row { table, key, value } in rows {
                let definition: Table<'_> = TableDefinition::new(table);
                let mut table = transaction.open_table(definition)?;
                match value {
                    Some(value) => table.insert(key.as_str(), value.as_slice())?,
                    None => table.remove(key.as_str())?,
                };
            }
            transaction.commit()?;
            Ok(())
        })
    }
}
