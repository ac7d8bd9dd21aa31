//! Functions on disk: one redb file, one write transaction for each call.
//!
//! A call returns after its transaction is durable, so a crash at any moment leaves the old or the
//! new state. It keeps no copy in memory; `registry` does. Records are JSON, so that a new optional
//! field needs no new format.

use std::fmt;
use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::alias::Alias;
use super::model::Function;
use super::settings_store;
use super::store_error::{Kind, StoreError};

const FILE_NAME: &str = "state.redb";

/// The format that this build reads and writes; a file with another one is refused. 1 and 2 were
/// those of builds before the first version.
const FORMAT: u32 = 3;

/// redb would keep up to 1 GiB of pages; every record is in memory already, so little is enough.
const CACHE_BYTES: usize = 1 << 20;

/// The one kind of table that there is: each other pair of types would be 20 KB of the program. A
/// number in a key is padded, so that it sorts.
pub(super) type Table<'a> = TableDefinition<'a, &'static str, &'static [u8]>;

/// Texts.
const META: Table<'_> = TableDefinition::new("meta");
const META_FORMAT: &str = "format";
const META_OWNER: &str = "owner";

/// `region/name/version` to the record in JSON.
const FUNCTIONS: Table<'_> = TableDefinition::new("functions");
/// `region/function/alias` to the record in JSON.
const ALIASES: Table<'_> = TableDefinition::new("aliases");

/// One change of one record.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Put(Arc<Function>),
    Remove(Arc<Function>),
    PutAlias(Arc<Alias>),
    RemoveAlias(Arc<Alias>),
}

/// A change as the tables take it.
struct Write {
    table: Table<'static>,
    key: String,
    /// `None`: the record goes.
    record: Option<Vec<u8>>,
}

impl Write {
    fn new(change: &Change) -> Result<Write, serde_json::Error> {
        Ok(match change {
            Change::Put(function) => {
                let record = Some(serde_json::to_vec(&**function)?);
                Write { table: FUNCTIONS, key: function.key(), record }
            }
            Change::Remove(function) => {
                Write { table: FUNCTIONS, key: function.key(), record: None }
            }
            Change::PutAlias(alias) => {
                let record = Some(serde_json::to_vec(&**alias)?);
                Write { table: ALIASES, key: alias.key(), record }
            }
            Change::RemoveAlias(alias) => Write { table: ALIASES, key: alias.key(), record: None },
        })
    }
}

/// Opens the database, at the start and again after an I/O error.
type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

pub struct Store {
    path: PathBuf,
    opener: Opener,
    /// `None` after a failed transaction: redb takes no more work after an I/O error until it is
    /// opened again, and a disk that was full may have room by then.
    database: Mutex<Option<Database>>,
    owner: String,
}

impl Store {
    /// Opens the store under `directory`, which is made if it is missing.
    pub fn open(directory: &Path) -> Result<Store, StoreError> {
        prepare_directory(directory)?;
        let path = directory.join(FILE_NAME);
        let file = path.clone();
        let opener = move || {
            // The environment of a function may hold secrets, whatever mode the directory has.
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&file)?;
            Database::builder()
                .set_cache_size(CACHE_BYTES)
                .create_with_backend(FileBackend::new(file)?)
        };
        Store::with_opener(path, Box::new(opener))
    }

    /// Opens a store whose bytes are wherever `opener` says; `path` is for messages.
    pub(super) fn with_opener(path: PathBuf, opener: Opener) -> Result<Store, StoreError> {
        let database = opener().map_err(|e| StoreError::database(&path, e))?;
        let owner = prepare_tables(&path, &database)?;
        Ok(Store { path, opener, database: Mutex::new(Some(database)), owner })
    }

    /// The id of this storage, made once with it: what the containers of this service are marked
    /// with.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Every version of every function, in the order of the keys: `$LATEST` before its versions.
    pub fn functions(&self) -> Result<Vec<Function>, StoreError> {
        self.records(FUNCTIONS)
    }

    /// Every alias, in the order of the keys.
    pub fn aliases(&self) -> Result<Vec<Alias>, StoreError> {
        self.records(ALIASES)
    }

    fn records<T: DeserializeOwned>(&self, table: Table<'_>) -> Result<Vec<T>, StoreError> {
        self.with_database(|database| {
            let table = database.begin_read()?.open_table(table)?;
            table
                .iter()?
                .map(|entry| {
                    let (key, value) = entry?;
                    crate::json::from_slice(value.value()).map_err(|e| {
                        redb::Error::Corrupted(format!("the record {:?}: {e}", key.value()))
                    })
                })
                .collect()
        })
    }

    /// Makes all the changes in one transaction, or none of them. What hangs on a removed record goes
    /// with it; removing what is not there is no error.
    pub fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        let changes: Result<Vec<Write>, serde_json::Error> =
            changes.iter().map(Write::new).collect();
        let changes = changes.map_err(|e| StoreError::new(&self.path, Kind::Io(e.into())))?;
        self.write(&changes)
    }

    fn write(&self, changes: &[Write]) -> Result<(), StoreError> {
        self.with_database(|database| {
            let transaction = database.begin_write()?;
            for Write { table, key, record } in changes {
                let mut table = transaction.open_table(*table)?;
                match record {
                    Some(record) => table.insert(key.as_str(), record.as_slice())?,
                    None => {
                        settings_store::removed_in(&transaction, key)?;
                        table.remove(key.as_str())?
                    }
                };
            }
            transaction.commit()?;
            Ok(())
        })
    }

    pub(super) fn with_database<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let mut slot = self.lock();
        self.opened(&mut slot).and_then(work).map_err(|error| {
            *slot = None;
            StoreError::database(&self.path, error)
        })
    }

    fn opened<'s>(&self, slot: &'s mut Option<Database>) -> Result<&'s Database, redb::Error> {
        match slot {
            Some(database) => Ok(database),
            None => Ok(slot.insert((self.opener)()?)),
        }
    }

    /// A panic while the lock was held left no half work: a transaction is whole or not there.
    fn lock(&self) -> MutexGuard<'_, Option<Database>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Makes the directory for its owner only, or checks the one that is there.
///
/// The default place is below `/tmp`, where anyone could have made it before: whoever can write the
/// store decides which images run.
fn prepare_directory(directory: &Path) -> Result<(), StoreError> {
    let fail = |kind| StoreError::new(directory, kind);
    match DirBuilder::new().recursive(true).mode(0o700).create(directory) {
        // The path, or one above it, is a file.
        Err(e)
            if matches!(
                e.kind(),
                std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Err(fail(Kind::NotADirectory));
        }
        other => other.map_err(|e| fail(Kind::Io(e)))?,
    }
    let metadata = directory.metadata().map_err(|e| fail(Kind::Io(e)))?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(fail(Kind::ForeignOwner(metadata.uid())));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(fail(Kind::OpenToOthers(mode)));
    }
    Ok(())
}

/// Checks the format, makes what a new file lacks, and returns the owner id.
fn prepare_tables(path: &Path, database: &Database) -> Result<String, StoreError> {
    let fail = |error: redb::Error| StoreError::database(path, error);
    let found = stored_meta(database).map_err(fail)?;
    let Some((format, owner)) = found else {
        let owner = Uuid::new_v4().to_string();
        write_meta(database, &owner).map_err(fail)?;
        return Ok(owner);
    };
    match format.parse::<u32>() {
        Ok(FORMAT) => Ok(owner),
        Ok(found) if found > FORMAT => {
            Err(StoreError::new(path, Kind::Newer { found, known: FORMAT }))
        }
        _ => Err(StoreError::new(path, Kind::Damaged(format!("unknown format {format:?}")))),
    }
}

/// Format and owner; `None` in a file where nothing was written yet.
fn stored_meta(database: &Database) -> Result<Option<(String, String)>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(META) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        other => other?,
    };
    let text = |key| -> Result<String, redb::Error> {
        let value =
            table.get(key)?.and_then(|value| String::from_utf8(value.value().to_vec()).ok());
        value.ok_or_else(|| redb::Error::Corrupted(format!("it has no {key}")))
    };
    Ok(Some((text(META_FORMAT)?, text(META_OWNER)?)))
}

/// One transaction for format, owner and the tables: a file has all of them or none.
fn write_meta(database: &Database, owner: &str) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(META_FORMAT, FORMAT.to_string().as_bytes())?;
        meta.insert(META_OWNER, owner.as_bytes())?;
    }
    for table in [FUNCTIONS, ALIASES] {
        transaction.open_table(table)?;
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::alias;
    use super::super::model::tests::sample;
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// A directory of its own for one test, gone with it.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            Scratch(std::env::temp_dir().join(format!("function-store-{}", Uuid::new_v4())))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn records_and_owner_are_there_after_a_restart() {
        let scratch = Scratch::new();
        let directory = scratch.0.join("a/b");
        let store = Store::open(&directory).unwrap();
        let owner = store.owner().to_owned();
        let change = |change: fn(Arc<Function>) -> Change, name| change(Arc::new(sample(name)));
        let live = Arc::new(alias::tests::sample("f", "live", "1"));
        let puts = [
            change(Change::Put, "f"),
            change(Change::Put, "g"),
            Change::PutAlias(live.clone()),
            Change::PutAlias(Arc::new(alias::tests::sample("g", "live", "1"))),
        ];
        store.commit(&puts).unwrap();
        store.commit(&[change(Change::Remove, "g"), change(Change::Remove, "absent")]).unwrap();
        let gone = Arc::new(alias::tests::sample("g", "live", "7"));
        store.commit(&[Change::RemoveAlias(gone)]).unwrap();
        drop(store);
        let store = Store::open(&directory).unwrap();
        assert_eq!(store.owner(), owner);
        assert_eq!(store.functions().unwrap(), [sample("f")]);
        assert_eq!(store.aliases().unwrap(), [(*live).clone()]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&directory.join(FILE_NAME)), 0o600);
    }

    fn refusal(directory: &Path) -> String {
        Store::open(directory).unwrap_err().to_string()
    }

    #[test]
    fn a_store_in_use_is_not_opened_twice() {
        let scratch = Scratch::new();
        let _first = Store::open(&scratch.0).unwrap();
        let text = refusal(&scratch.0);
        assert!(text.contains("in use") && text.contains(FILE_NAME), "{text}");
    }

    #[test]
    fn a_file_in_the_place_of_the_directory_is_refused() {
        let scratch = Scratch::new();
        fs::create_dir(&scratch.0).unwrap();
        let file = scratch.0.join("file");
        fs::write(&file, "x").unwrap();
        assert!(refusal(&file).contains("not a directory"));
        assert!(refusal(&file.join("below")).contains("not a directory"));
    }

    #[test]
    fn a_directory_that_others_may_write_is_refused() {
        let scratch = Scratch::new();
        fs::create_dir(&scratch.0).unwrap();
        fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(refusal(&scratch.0).contains("mode 777"));
    }

    #[test]
    fn a_file_that_is_no_store_is_refused_and_left_alone() {
        let scratch = Scratch::new();
        fs::create_dir(&scratch.0).unwrap();
        let content = "not a database ".repeat(1000);
        fs::write(scratch.0.join(FILE_NAME), &content).unwrap();
        assert!(refusal(&scratch.0).contains("cannot be read"), "{}", refusal(&scratch.0));
        assert_eq!(fs::read_to_string(scratch.0.join(FILE_NAME)).unwrap(), content);
    }

    fn with_meta(key: &str, value: &str) -> Scratch {
        let scratch = Scratch::new();
        drop(Store::open(&scratch.0).unwrap());
        let database = Database::open(scratch.0.join(FILE_NAME)).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert(key, value.as_bytes()).unwrap();
        transaction.commit().unwrap();
        scratch
    }

    #[test]
    fn a_newer_or_unknown_format_is_refused() {
        let newer = with_meta(META_FORMAT, "4");
        assert!(refusal(&newer.0).contains("format 4"), "{}", refusal(&newer.0));
        let zero = with_meta(META_FORMAT, "0");
        assert!(refusal(&zero.0).contains("unknown format"), "{}", refusal(&zero.0));
        let unknown = with_meta(META_FORMAT, "first");
        assert!(refusal(&unknown.0).contains("unknown format"), "{}", refusal(&unknown.0));
    }

    #[test]
    fn a_store_of_before_the_first_version_is_refused() {
        let scratch = Scratch::new();
        fs::create_dir(&scratch.0).unwrap();
        fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o700)).unwrap();
        let database = Database::create(scratch.0.join(FILE_NAME)).unwrap();
        let transaction = database.begin_write().unwrap();
        let meta: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
        transaction.open_table(meta).unwrap().insert(META_FORMAT, "2").unwrap();
        transaction.commit().unwrap();
        drop(database);
        let text = refusal(&scratch.0);
        assert!(text.contains("before the first version"), "{text}");
    }

    #[test]
    fn a_record_that_cannot_be_read_is_named() {
        let scratch = Scratch::new();
        let store = Store::open(&scratch.0).unwrap();
        let write = |record| Write { table: FUNCTIONS, key: "r/f/1".to_owned(), record };
        store.write(&[write(Some(b"{".to_vec()))]).unwrap();
        let text = store.functions().unwrap_err().to_string();
        assert!(text.contains("r/f/1"), "{text}");
        // The store stays usable.
        store.write(&[write(None)]).unwrap();
        assert_eq!(store.functions().unwrap(), []);
    }
}
