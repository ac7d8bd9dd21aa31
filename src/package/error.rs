//! Why a package cannot be used: a sentence for the client, and apart from it the cause for the log.
//!
//! The texts that AWS has are AWS's own. Where AWS says no more than that a file could not be
//! unzipped, the sentence goes on and names the entry and what is wrong with it.

use std::fmt;
use std::io;

use super::digest::Digest;
use super::elf::Architecture;
use super::inflate::Damage;
use crate::docker::EngineError;

/// Why a package was refused, or could not be kept or made into an image.
#[derive(Debug)]
#[non_exhaustive]
pub enum PackageError {
    ZippedTooLarge {
        limit_bytes: u64,
    },
    UnzippedTooLarge {
        limit_bytes: u64,
    },
    /// It is no zip archive, or one that ends too early.
    Unreadable {
        cause: String,
    },
    /// There is no file in it.
    Empty,
    /// Directories that are only implied count too.
    TooManyEntries {
        limit: usize,
    },
    /// One entry is damaged or hostile. The name is what the archive says, within a limit.
    Entry {
        name: String,
        problem: Problem,
    },
    /// A program or image is for a machine that the host is not.
    WrongMachine {
        what: String,
        found: String,
        host: Architecture,
    },
    /// A package that was accepted is no longer among the stored files, or has changed there.
    Lost {
        digest: Digest,
    },
    /// The files could not be written or read: the disk is full, for instance.
    Storage {
        doing: &'static str,
        source: io::Error,
    },
    /// The image that the code goes on top of is not on the Engine.
    BaseMissing {
        image: String,
    },
    Engine {
        source: EngineError,
    },
}

/// What is wrong with an entry of a zip archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    NotUtf8,
    NoName,
    Absolute,
    Parent,
    Backslash,
    EmptyPart,
    Control,
    PathTooLong { limit_bytes: usize },
    PartTooLong { limit_bytes: usize },
    TooDeep { limit: usize },
    Duplicate,
    UnderFile,
    Special,
    LinkTooLong { limit_bytes: usize },
    LinkText,
    LinkAbsolute,
    LinkLeaves,
    LinkSteps,
    DirectoryWithData,
    Encrypted,
    Method { number: u16 },
    HeadersDiffer { field: &'static str },
    Overlap,
    CutShort,
    Damaged(Damage),
}

/// The longest part of an entry's name that a sentence repeats.
const NAME_CHARS: usize = 100;

impl PackageError {
    /// An error of the entry with this name, which may be anything.
    pub(super) fn entry(name: &[u8], problem: Problem) -> Self {
        let name = String::from_utf8_lossy(name).chars().take(NAME_CHARS).collect();
        PackageError::Entry { name, problem }
    }

    /// The status and exception type by which AWS answers it.
    pub fn aws(&self) -> (u16, &'static str) {
        match self {
            PackageError::ZippedTooLarge { .. } => (413, "RequestEntityTooLargeException"),
            PackageError::UnzippedTooLarge { .. }
            | PackageError::Unreadable { .. }
            | PackageError::Empty
            | PackageError::TooManyEntries { .. }
            | PackageError::Entry { .. }
            | PackageError::WrongMachine { .. } => (400, "InvalidParameterValueException"),
            PackageError::Lost { .. }
            | PackageError::Storage { .. }
            | PackageError::BaseMissing { .. }
            | PackageError::Engine { .. } => (500, "ServiceException"),
        }
    }

    /// What the sentence keeps from the client; empty when it says everything.
    pub fn cause(&self) -> String {
        match self {
            PackageError::Unreadable { cause } => cause.clone(),
            PackageError::Lost { digest } => format!("package file {digest}"),
            PackageError::Storage { doing, source } => format!("{doing}: {source}"),
            PackageError::Engine { source } => source.to_string(),
            _ => String::new(),
        }
    }
}

impl fmt::Display for PackageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PackageError::ZippedTooLarge { limit_bytes } => {
                write!(f, "Zipped size must be smaller than {limit_bytes} bytes")
            }
            PackageError::UnzippedTooLarge { limit_bytes } => {
                write!(f, "Unzipped size must be smaller than {limit_bytes} bytes")
            }
            PackageError::Unreadable { .. } => f.write_str(
                "Could not unzip uploaded file. Please check your file, then try to upload again.",
            ),
            PackageError::Empty => f.write_str("Uploaded file must be a non-empty zip"),
            PackageError::TooManyEntries { limit } => write!(
                f,
                "Could not unzip uploaded file: it has more than {limit} files and directories."
            ),
            PackageError::Entry { name, problem } => {
                write!(f, "Could not unzip uploaded file: its entry {name:?} {problem}.")
            }
            PackageError::WrongMachine { what, found, host } => write!(
                f,
                "{what} is for {found}, which this host ({host}) cannot run. Build it for {host}."
            ),
            PackageError::Lost { .. } => {
                f.write_str("The stored package is gone or damaged; update the function's code.")
            }
            PackageError::Storage { .. } => {
                f.write_str("The package could not be written to or read from the disk.")
            }
            PackageError::BaseMissing { image } => {
                write!(f, "The runtime's image {image} is not on this host's Engine.")
            }
            PackageError::Engine { .. } => {
                f.write_str("The Engine could not make the image of the function's code.")
            }
        }
    }
}

impl std::error::Error for PackageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            PackageError::Storage { source, .. } => Some(source),
            PackageError::Engine { source } => Some(source),
            _ => None,
        }
    }
}

impl From<EngineError> for PackageError {
    fn from(source: EngineError) -> Self {
        PackageError::Engine { source }
    }
}

/// The second half of a sentence that begins with the entry's name.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NotUtf8 => f.write_str("has a name that is not UTF-8"),
            Problem::NoName => f.write_str("has no name"),
            Problem::Absolute => f.write_str("has an absolute path"),
            Problem::Parent => f.write_str("has a path with .. in it"),
            Problem::Backslash => f.write_str("has a path with a backslash; use slashes"),
            Problem::EmptyPart => f.write_str("has a path with an empty part"),
            Problem::Control => f.write_str("has a control character in its name"),
            Problem::PathTooLong { limit_bytes } => {
                write!(f, "has a path of more than {limit_bytes} bytes")
            }
            Problem::PartTooLong { limit_bytes } => {
                write!(f, "has a part of its path of more than {limit_bytes} bytes")
            }
            Problem::TooDeep { limit } => write!(f, "lies more than {limit} directories deep"),
            Problem::Duplicate => f.write_str("is there more than once"),
            Problem::UnderFile => f.write_str("lies under an entry that is not a directory"),
            Problem::Special => {
                f.write_str("is neither a file nor a directory nor a symbolic link")
            }
            Problem::LinkTooLong { limit_bytes } => {
                write!(f, "is a symbolic link of more than {limit_bytes} bytes")
            }
            Problem::LinkText => {
                f.write_str("is a symbolic link whose target is empty or no plain text")
            }
            Problem::LinkAbsolute => f.write_str("is a symbolic link to an absolute path"),
            Problem::LinkLeaves => f.write_str("is a symbolic link that leaves the package"),
            Problem::LinkSteps => {
                f.write_str("is a symbolic link with .. elsewhere than at its target's beginning")
            }
            Problem::DirectoryWithData => f.write_str("is a directory with data"),
            Problem::Encrypted => f.write_str("is encrypted"),
            Problem::Method { number } => write!(
                f,
                "is compressed by method {number}; only stored and deflated entries can be read"
            ),
            Problem::HeadersDiffer { field } => {
                write!(f, "has another {field} in the archive's directory than at its data")
            }
            Problem::Overlap => f.write_str("overlaps another entry or the archive's directory"),
            Problem::CutShort => f.write_str("is cut short"),
            Problem::Damaged(damage) => write!(f, "{damage}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_names_the_entry_within_a_limit_and_escaped() {
        let name = [b"\x1b[31m\xff\n".as_slice(), &[b'x'; 10_000]].concat();
        let text = PackageError::entry(&name, Problem::Parent).to_string();
        assert!(
            text.starts_with(
                "Could not unzip uploaded file: its entry \"\\u{1b}[31m\u{fffd}\\nxxx"
            )
        );
        assert!(text.ends_with("xxx\" has a path with .. in it."), "{text}");
        assert!(text.len() < 250, "{}", text.len());
    }

    #[test]
    fn the_client_is_not_told_of_the_inside() {
        let source = io::Error::other("/secret/place is full");
        let error = PackageError::Storage { doing: "writing a package", source };
        assert!(!error.to_string().contains("secret"));
        assert!(error.cause().contains("secret"));
        assert_eq!(error.aws(), (500, "ServiceException"));
    }

    #[test]
    fn sizes_are_refused_in_the_words_of_aws() {
        let zipped = PackageError::ZippedTooLarge { limit_bytes: 52_428_800 };
        assert_eq!(zipped.to_string(), "Zipped size must be smaller than 52428800 bytes");
        assert_eq!(zipped.aws(), (413, "RequestEntityTooLargeException"));
        let unzipped = PackageError::UnzippedTooLarge { limit_bytes: 262_144_000 };
        assert_eq!(unzipped.to_string(), "Unzipped size must be smaller than 262144000 bytes");
        assert_eq!(unzipped.aws(), (400, "InvalidParameterValueException"));
    }
}
