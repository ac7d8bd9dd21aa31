//! Why logs could not be kept or found.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A failure of the log store.
#[derive(Debug)]
pub enum LogError {
    /// The disk said no.
    Io { path: PathBuf, source: io::Error },
}

impl LogError {
    /// Adds the path to an error of the file system.
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> LogError {
        let path = path.to_owned();
        move |source| LogError::Io { path, source }
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::Io { path, source } => write!(f, "logs in {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LogError::Io { source, .. } => Some(source),
        }
    }
}
