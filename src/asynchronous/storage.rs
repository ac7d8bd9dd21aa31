//! As much of a directory as the queue and its dead letters need, so that a test can take its place
//! and lose the power (`power_cut`).
//!
//! What is written is on the disk after the file's `sync`, a name (new, renamed or removed) after
//! the directory's. Nothing here knows what is in a file.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;

/// A directory of files without directories in it.
pub(crate) trait Storage: Send + Sync + Debug {
    fn names(&self) -> io::Result<Vec<String>>;
    fn open(&self, name: &str) -> io::Result<Arc<dyn Blob>>;
    /// Makes a file; an error when there is one of that name.
    fn create(&self, name: &str) -> io::Result<Arc<dyn Blob>>;
    /// Replaces a file that has the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Brings the names to the disk.
    fn sync(&self) -> io::Result<()>;
}

/// An open file.
pub(crate) trait Blob: Send + Sync + Debug {
    fn len(&self) -> io::Result<u64>;
    /// Fills `bytes`, or fails.
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Takes space up to `end`, so that writing there cannot fail for want of it; the length stays.
    /// What is behind a length that is set is given back. A file system that cannot promise space
    /// takes none.
    fn allocate(&self, end: u64) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Brings the content to the disk.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the file system. Events hold secrets, whatever they are: it is for its owner only.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    handle: File,
}

impl Folder {
    /// Opens a directory, which is made if it is missing; the one above it is there.
    pub(crate) fn open(path: &Path) -> io::Result<Folder> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Ok(()) => {
                if let Some(above) = path.parent() {
                    File::open(above)?.sync_all()?;
                }
            }
            other => other?,
        }
        Ok(Folder { path: path.to_owned(), handle: File::open(path)? })
    }
}

impl Storage for Folder {
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.path)?;
        // Names that are no text are not ours.
        entries
            .map(|entry| Ok(entry?.file_name().into_string().ok()))
            .filter_map(io::Result::transpose)
            .collect()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Blob>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        Ok(Arc::new(file))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Blob>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        Ok(Arc::new(options.open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

impl Blob for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.read_exact_at(bytes, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn allocate(&self, end: u64) -> io::Result<()> {
        use rustix::io::Errno;
        match rustix::fs::fallocate(self, FallocateFlags::KEEP_SIZE, 0, end) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        // The length is brought along where it is needed to read the data (fdatasync(2)).
        self.sync_data()
    }
}
