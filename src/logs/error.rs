//! Why logs could not be kept or found.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A failure of the log store.
#[derive(Debug)]
pub enum LogError {
    NoGroup,
    NoStream,
    GroupExists,
    StreamExists,
    /// As many groups as there may be are there.
    TooManyGroups(usize),
    /// The disk said no.
    Io {
        path: PathBuf,
        source: io::Error,
    },
}

impl LogError {
    /// Adds the path to an error of the file system.
    pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> LogError {
        move |source| LogError::Io { path: path.to_owned(), source }
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::NoGroup => f.write_str("no such log group"),
            LogError::NoStream => f.write_str("no such log stream"),
            LogError::GroupExists => f.write_str("the log group is there already"),
            LogError::StreamExists => f.write_str("the log stream is there already"),
            LogError::TooManyGroups(limit) => write!(f, "there are {limit} log groups already"),
            LogError::Io { path, source } => write!(f, "logs in {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LogError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
