//! Why the storage cannot be used, in sentences that name the path and what helps.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A failure of the storage at `path`.
#[derive(Debug)]
pub struct StoreError {
    path: PathBuf,
    kind: Kind,
}

/// What is wrong, apart from where.
#[derive(Debug)]
pub(super) enum Kind {
    NotADirectory,
    /// The directory belongs to this user id.
    ForeignOwner(u32),
    /// The directory's mode, which lets others write.
    OpenToOthers(u32),
    /// Another process holds the file.
    Locked,
    /// The file's format, newer than this build's.
    Newer {
        found: u32,
        known: u32,
    },
    /// The file was written before the first version.
    Early,
    /// The file is no store, or a damaged one.
    Damaged(String),
    Io(io::Error),
    Database(redb::Error),
}

impl StoreError {
    pub(super) fn new(path: &Path, kind: Kind) -> Self {
        StoreError { path: path.to_owned(), kind }
    }

    /// Sorts redb's errors into the kinds that a user can do something about.
    pub(super) fn database(path: &Path, error: impl Into<redb::Error>) -> Self {
        let kind = match error.into() {
            redb::Error::DatabaseAlreadyOpen => Kind::Locked,
            // The tables of one build have one pair of types.
            redb::Error::TableTypeMismatch { .. } => Kind::Early,
            // What redb reports for a file that is not its own.
            redb::Error::Io(e) if e.kind() == io::ErrorKind::InvalidData => {
                Kind::Damaged(e.to_string())
            }
            redb::Error::Io(e) => Kind::Io(e),
            redb::Error::Corrupted(text) => Kind::Damaged(text),
            error => Kind::Database(error),
        };
        StoreError::new(path, kind)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.kind {
            Kind::NotADirectory => write!(f, "storage path {path} is not a directory"),
            Kind::ForeignOwner(uid) => {
                write!(f, "storage directory {path} belongs to another user (id {uid})")
            }
            Kind::OpenToOthers(mode) => write!(
                f,
                "storage directory {path} can be written by other users (mode {mode:o}): \
                 run chmod 700 on it"
            ),
            Kind::Locked => write!(f, "storage {path} is in use by another process"),
            Kind::Newer { found, known } => write!(
                f,
                "storage {path} has format {found}, and this build knows formats up to {known}: \
                 it was written by a newer version"
            ),
            Kind::Early => write!(
                f,
                "storage {path} was written by a build from before the first version, whose format \
                 is no longer read: move it away"
            ),
            Kind::Damaged(text) => write!(f, "storage {path} cannot be read: {text}"),
            Kind::Io(e) => match e.kind() {
                io::ErrorKind::PermissionDenied => write!(f, "no permission for storage {path}"),
                io::ErrorKind::StorageFull => write!(f, "the disk of storage {path} is full"),
                io::ErrorKind::ReadOnlyFilesystem => {
                    write!(f, "the file system of storage {path} is read-only")
                }
                _ => write!(f, "storage {path}: {e}"),
            },
            Kind::Database(e) => write!(f, "storage {path}: {e}"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            Kind::Io(e) => Some(e),
            Kind::Database(e) => Some(e),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_names_the_path_and_the_cause() {
        let path = Path::new("/data/x");
        let io = |kind| Kind::Io(io::Error::from(kind));
        let cases = [
            (Kind::NotADirectory, "not a directory"),
            (Kind::ForeignOwner(7), "id 7"),
            (Kind::OpenToOthers(0o777), "chmod 700"),
            (Kind::Locked, "in use by another process"),
            (Kind::Newer { found: 9, known: 1 }, "format 9"),
            (io(io::ErrorKind::PermissionDenied), "no permission"),
            (io(io::ErrorKind::StorageFull), "is full"),
            (io(io::ErrorKind::ReadOnlyFilesystem), "read-only"),
        ];
        for (kind, expected) in cases {
            let text = StoreError::new(path, kind).to_string();
            assert!(text.contains("/data/x") && text.contains(expected), "{text}");
        }
    }
}
