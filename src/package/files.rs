//! The stored packages: one file each, named by its SHA-256, in a directory of their own.
//!
//! A file is written whole under another name, brought to the disk, and only then renamed, so a
//! file with a digest for its name is complete after a crash at any moment. Equal packages are one
//! file. Nothing here knows which function uses what: [`Files::remove_except`] is told.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::digest::Digest;
use super::error::PackageError;

/// Names of files that are not whole yet begin with this, which no digest does.
const UNFINISHED: &str = "unfinished-";

/// No stored package is larger, so no larger file is read into memory.
const FILE_LIMIT_BYTES: u64 = 262_144_000;

/// The stored packages. See the module's text.
#[derive(Debug, Clone)]
pub struct Files {
    directory: PathBuf,
}

impl Files {
    /// Opens the directory `packages` of the service's storage, makes it when it is missing, and
    /// removes what a crash has left unfinished. One process may have it open.
    pub fn open(storage: &Path) -> Result<Files, PackageError> {
        let directory = storage.join("packages");
        let failed = storage_error("opening the directory of packages");
        // Code can hold secrets: for the service's own user only.
        DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(&failed)?;
        for entry in fs::read_dir(&directory).map_err(&failed)? {
            let entry = entry.map_err(&failed)?;
            if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
                fs::remove_file(entry.path()).map_err(&failed)?;
            }
        }
        Ok(Files { directory })
    }

    /// Keeps a package. When it returns, the package survives a loss of power.
    pub fn put(&self, data: &[u8]) -> Result<Digest, PackageError> {
        let digest = Digest::of(data);
        let place = self.place(&digest);
        let failed = storage_error("writing a package");
        if fs::metadata(&place).is_ok_and(|found| found.len() == data.len() as u64) {
            // Its age begins anew: see `remove_except`.
            let file = OpenOptions::new().write(true).open(&place).map_err(&failed)?;
            file.set_modified(SystemTime::now()).map_err(&failed)?;
            return Ok(digest);
        }
        // Two calls may write the same package at the same time.
        let unfinished = self.directory.join(format!("{UNFINISHED}{}", crate::random::uuid()));
        let written = write(&unfinished, data).and_then(|()| fs::rename(&unfinished, &place));
        if let Err(error) = written {
            // A full disk must not stay full of what could not be written.
            let _ = fs::remove_file(&unfinished);
            return Err(failed(error));
        }
        // The new name is on the disk when the directory is.
        File::open(&self.directory).and_then(|file| file.sync_all()).map_err(&failed)?;
        Ok(digest)
    }

    /// A package as it was put.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, PackageError> {
        let failed = storage_error("reading a package");
        let file = match File::open(self.place(digest)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(PackageError::Lost { digest: *digest });
            }
            opened => opened.map_err(&failed)?,
        };
        let size = file.metadata().map_err(&failed)?.len().min(FILE_LIMIT_BYTES);
        let mut data = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(FILE_LIMIT_BYTES).read_to_end(&mut data).map_err(&failed)?;
        if Digest::of(&data) != *digest {
            return Err(PackageError::Lost { digest: *digest });
        }
        Ok(data)
    }

    /// Removes the packages that are not in `live` and have not been put for at least `age`; how
    /// many. The age covers the time between a put and the moment when a function names it.
    pub fn remove_except(
        &self,
        live: &BTreeSet<Digest>,
        age: Duration,
    ) -> Result<usize, PackageError> {
        let failed = storage_error("removing unused packages");
        let mut removed = 0;
        for entry in fs::read_dir(&self.directory).map_err(&failed)? {
            let entry = entry.map_err(&failed)?;
            let digest = entry.file_name().to_str().and_then(Digest::from_hex);
            if digest.is_none_or(|digest| live.contains(&digest)) {
                continue;
            }
            let modified = entry.metadata().and_then(|found| found.modified()).map_err(&failed)?;
            // A time to come, after the clock was set back, is not old.
            if modified.elapsed().is_ok_and(|elapsed| elapsed >= age) {
                fs::remove_file(entry.path()).map_err(&failed)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn place(&self, digest: &Digest) -> PathBuf {
        self.directory.join(digest.to_string())
    }
}

fn storage_error(doing: &'static str) -> impl Fn(io::Error) -> PackageError {
    move |source| PackageError::Storage { doing, source }
}

fn write(path: &Path, data: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(data)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Temporary(PathBuf);

    impl Temporary {
        fn new() -> Self {
            let path =
                std::env::temp_dir().join(format!("package-files-{}", crate::random::uuid()));
            fs::create_dir(&path).unwrap();
            Temporary(path)
        }

        fn names(&self) -> Vec<String> {
            let names = fs::read_dir(self.0.join("packages")).unwrap();
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn equal_packages_are_one_file_named_by_its_digest() {
        let place = Temporary::new();
        let files = Files::open(&place.0).unwrap();
        let digest = files.put(b"abc").unwrap();
        assert_eq!(files.put(b"abc").unwrap(), digest);
        assert_eq!(place.names(), [digest.to_string()]);
        assert_eq!(files.read(&digest).unwrap(), b"abc");
        assert_eq!(Files::open(&place.0).unwrap().read(&digest).unwrap(), b"abc");
    }

    #[test]
    fn what_a_crash_has_left_is_removed_at_open() {
        let place = Temporary::new();
        let digest = Files::open(&place.0).unwrap().put(b"abc").unwrap();
        fs::write(place.0.join("packages/unfinished-1"), b"ab").unwrap();
        Files::open(&place.0).unwrap();
        assert_eq!(place.names(), [digest.to_string()]);
    }

    #[test]
    fn a_lost_or_changed_file_is_seen_and_put_right_by_the_next_put() {
        let place = Temporary::new();
        let files = Files::open(&place.0).unwrap();
        let digest = Digest::of(b"abc");
        assert!(matches!(files.read(&digest), Err(PackageError::Lost { .. })));
        fs::write(files.place(&digest), b"ab").unwrap();
        assert!(matches!(files.read(&digest), Err(PackageError::Lost { .. })));
        files.put(b"abc").unwrap();
        assert_eq!(files.read(&digest).unwrap(), b"abc");
    }

    #[test]
    fn a_write_that_fails_leaves_nothing_and_says_why() {
        let place = Temporary::new();
        let files = Files::open(&place.0).unwrap();
        // Also root cannot rename a file over a directory.
        fs::create_dir(files.place(&Digest::of(b"abc"))).unwrap();
        let error = files.put(b"abc").unwrap_err();
        assert_eq!(error.aws(), (500, "ServiceException"));
        assert!(error.cause().starts_with("writing a package: "), "{}", error.cause());
        assert_eq!(place.names(), [Digest::of(b"abc").to_string()]);
    }

    #[test]
    fn a_full_disk_is_an_error() {
        // /dev/full answers every write with ENOSPC (full(4)).
        let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = storage_error("writing a package")(full.write_all(b"abc").unwrap_err());
        assert_eq!(error.aws().0, 500);
        assert!(error.cause().contains("No space left"), "{}", error.cause());
    }

    #[test]
    fn only_what_is_unused_and_old_is_removed() {
        let place = Temporary::new();
        let files = Files::open(&place.0).unwrap();
        let [live, old, new] = [b"live", b"old ", b"new "].map(|data| files.put(data).unwrap());
        let hour = Duration::from_secs(3600);
        for digest in [live, old] {
            let file = OpenOptions::new().write(true).open(files.place(&digest)).unwrap();
            file.set_modified(SystemTime::now() - 2 * hour).unwrap();
        }
        fs::write(place.0.join("packages/README"), b"not ours").unwrap();
        assert_eq!(files.remove_except(&[live].into(), hour).unwrap(), 1);
        assert!(files.read(&old).is_err());
        assert!(files.read(&live).is_ok() && files.read(&new).is_ok());
        // Whoever puts it again wants it again.
        let file = OpenOptions::new().write(true).open(files.place(&live)).unwrap();
        file.set_modified(SystemTime::now() - 2 * hour).unwrap();
        files.put(b"live").unwrap();
        assert_eq!(files.remove_except(&BTreeSet::new(), hour).unwrap(), 0);
        assert_eq!(place.names().len(), 3);
    }
}
