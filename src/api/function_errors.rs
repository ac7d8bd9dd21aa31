//! The one table from the registry's errors to AWS's.

use super::error::AwsError;
use super::functions::invalid;
use crate::function::error::FunctionError;

impl From<FunctionError> for AwsError {
    fn from(error: FunctionError) -> Self {
        let not_found = |message| AwsError::new(404, "ResourceNotFoundException", message);
        let conflict = |message| AwsError::new(409, "ResourceConflictException", message);
        match error {
            FunctionError::Invalid(found) => {
                AwsError::new(400, "ValidationException", found.to_string())
            }
            FunctionError::NameTooLong(found) => invalid(found.to_string()),
            FunctionError::QualifierMismatch => invalid(
                "The derived qualifier from the function name does not match the specified \
                 qualifier.",
            ),
            FunctionError::OtherRegion { asked, here } => not_found(format!(
                "Functions from '{asked}' are not reachable in this region ('{here}')"
            )),
            FunctionError::OtherAccount { asked, here } => AwsError::new(
                403,
                "AccessDeniedException",
                format!("Functions of account {asked} are not accessible: this is account {here}."),
            ),
            FunctionError::NotFound { arn } => not_found(format!("Function not found: {arn}")),
            FunctionError::AlreadyExists { name } => {
                conflict(format!("Function already exist: {name}"))
            }
            FunctionError::LatestNotDeletable => {
                invalid("$LATEST version cannot be deleted without deleting the function.")
            }
            FunctionError::AliasNotDeletable => {
                invalid("Deletion of aliases is not currently supported.")
            }
            FunctionError::OtherRevision => AwsError::new(
                412,
                "PreconditionFailedException",
                "The Revision Id provided does not match the latest Revision Id. Call the \
                 GetFunction/GetAlias API to retrieve the latest Revision Id",
            ),
            FunctionError::OtherCode { asked, latest } => invalid(format!(
                "CodeSHA256 ({asked}) is different from current CodeSHA256 in $LATEST ({latest}). \
                 Please try again with the CodeSHA256 in $LATEST."
            )),
            FunctionError::NotPublishable => invalid(
                "A hot-reload function cannot be published: its files may change at any time, and \
                 a version's code never does. Update the function's code to a zip package first.",
            ),
            FunctionError::NotReady { state } => conflict(format!(
                "The operation cannot be performed at this time. The function is currently in the \
                 following state: {state}"
            )),
            FunctionError::UpdateInProgress { arn } => conflict(format!(
                "The operation cannot be performed at this time. An update is in progress for \
                 resource: {arn}"
            )),
            FunctionError::VersionInUse { aliases } => conflict(format!(
                "Unable to delete version because the following aliases reference it: [{}]",
                aliases.join(", ")
            )),
            FunctionError::AliasExists { arn } => conflict(format!("Alias already exists: {arn}")),
            FunctionError::AliasNotFound { arn } => {
                not_found(format!("Cannot find alias arn: {arn}"))
            }
            FunctionError::AliasToUpdateNotFound { arn } => {
                not_found(format!("Alias not found: {arn}"))
            }
            // Both are the service's own affair: no request asks for a transition by itself.
            FunctionError::Transition { .. } | FunctionError::Store(_) => AwsError::service(error),
        }
    }
}
