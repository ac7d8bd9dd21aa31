//! What can go wrong with a function, apart from how any client is told of it.
//!
//! The texts here are for the log; AWS's texts and statuses are in `api::functions`' one table.

use std::fmt;

use super::store_error::StoreError;
use super::violation::Violations;

#[derive(Debug)]
pub enum FunctionError {
    /// A function name or qualifier that breaks the model's constraints.
    Invalid(Violations),
    /// The bare name is too long for a new function.
    NameTooLong(Violations),
    /// `name:a` together with a different qualifier.
    QualifierMismatch,
    /// The ARN names a region that the request was not sent to.
    OtherRegion {
        asked: String,
        here: String,
    },
    /// The ARN names an account that this service does not hold.
    OtherAccount {
        asked: String,
        here: String,
    },
    /// The ARN that was looked for.
    NotFound {
        arn: String,
    },
    AlreadyExists {
        name: String,
    },
    /// `$LATEST` goes only together with its function.
    LatestNotDeletable,
    /// Aliases have an operation of their own for this.
    AliasNotDeletable,
    /// The client has seen an older revision.
    OtherRevision,
    /// The client wants to publish other code than there is.
    OtherCode {
        asked: String,
        latest: String,
    },
    /// A version's code never changes, and that of a directory may at any time.
    NotPublishable,
    /// Not while the function is in this state.
    NotReady {
        state: &'static str,
    },
    /// Not while an update is being prepared.
    UpdateInProgress {
        arn: String,
    },
    /// These aliases point at the version.
    VersionInUse {
        aliases: Vec<String>,
    },
    AliasExists {
        arn: String,
    },
    AliasNotFound {
        arn: String,
    },
    /// Another text with AWS than where it is only read.
    AliasToUpdateNotFound {
        arn: String,
    },
    /// A function in this state cannot take this step.
    Transition {
        name: String,
        from: &'static str,
        step: &'static str,
    },
    Store(StoreError),
}

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FunctionError::Invalid(found) | FunctionError::NameTooLong(found) => found.fmt(f),
            FunctionError::QualifierMismatch => {
                f.write_str("the qualifier in the function name differs from the one given apart")
            }
            FunctionError::OtherRegion { asked, here } => {
                write!(f, "the function is in region {asked:?}, the request is for {here:?}")
            }
            FunctionError::OtherAccount { asked, here } => {
                write!(f, "the function is in account {asked:?}, this service holds {here:?}")
            }
            FunctionError::NotFound { arn } => write!(f, "function {arn:?} not found"),
            FunctionError::AlreadyExists { name } => write!(f, "function {name:?} exists already"),
            FunctionError::LatestNotDeletable => {
                f.write_str("version $LATEST cannot be deleted without its function")
            }
            FunctionError::AliasNotDeletable => {
                f.write_str("an alias cannot be deleted as a version")
            }
            FunctionError::OtherRevision => f.write_str("the revision is not the latest one"),
            FunctionError::OtherCode { asked, latest } => {
                write!(f, "the code is {latest:?} and not {asked:?}")
            }
            FunctionError::NotPublishable => {
                f.write_str("a function whose code is a directory has no versions")
            }
            FunctionError::NotReady { state } => write!(f, "the function is {state}"),
            FunctionError::UpdateInProgress { arn } => write!(f, "{arn:?} is being updated"),
            FunctionError::VersionInUse { aliases } => {
                write!(f, "the version is used by aliases {}", aliases.join(", "))
            }
            FunctionError::AliasExists { arn } => write!(f, "alias {arn:?} exists already"),
            FunctionError::AliasNotFound { arn } | FunctionError::AliasToUpdateNotFound { arn } => {
                write!(f, "alias {arn:?} not found")
            }
            FunctionError::Transition { name, from, step } => {
                write!(f, "function {name:?} is {from} and cannot become {step}")
            }
            FunctionError::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FunctionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FunctionError::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl From<StoreError> for FunctionError {
    fn from(error: StoreError) -> Self {
        FunctionError::Store(error)
    }
}
