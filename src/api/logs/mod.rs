//! CloudWatch Logs: `POST /` with the operation in `X-Amz-Target`, in AWS's JSON 1.1.
//!
//! What is kept, the log store knows; here requests are read and checked, and answers written, a file
//! for each resource. All of it may wait for the disk and runs on the blocking pool. Operations and
//! members are those of botocore's `logs/2014-03-28/service-2.json`.

mod events;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod groups;
mod request;
mod rules;
mod streams;
mod tags;
mod tokens;

use std::fmt;
use std::sync::Arc;

use self::request::Call;
use super::error::AwsError;
use super::{Api, answer};
use crate::access::Surface;
use crate::http::{Request, Responder, Response};
use crate::logs::LogError;
use crate::random;

/// The largest request: 10,000 events with 1 MB of text, of which each character may be an escape.
pub(super) const REQUEST_BYTES: usize = 8 << 20;

const TARGET: &str = "Logs_20140328.";
pub(super) const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// The operations, a table for each file.
const TABLES: &[&[Operation]] =
    &[groups::OPERATIONS, streams::OPERATIONS, events::OPERATIONS, tags::OPERATIONS];

/// One operation.
pub(super) struct Operation {
    name: &'static str,
    run: fn(&Api, &Call) -> Result<Answer, AwsError>,
}

/// What an operation answers: nothing, or JSON.
type Answer = Option<String>;

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

fn find(target: &str) -> Option<&'static Operation> {
    let name = target.strip_prefix(TARGET)?;
    TABLES.iter().flat_map(|table| table.iter()).find(|operation| operation.name == name)
}

/// The operation that `X-Amz-Target` names, if there is one.
pub(super) fn operation_name(target: &str) -> Option<&'static str> {
    find(target).map(|operation| operation.name)
}

impl Api {
    pub(super) fn logs(self: &Arc<Self>, request: Request<'_>, responder: Responder) {
        let target = request.head.header_str("x-amz-target").unwrap_or_default();
        let Some(operation) = find(target) else {
            let message = "This service has no such operation.";
            let error = AwsError::new(400, "UnknownOperationException", message);
            let response = answer::error(Surface::Logs, &error);
            responder.send(self.refused(&request.head, response));
            return;
        };
        let mut ticket = self.ticket(&request.head, "logs", operation.name);
        let region = self.region(&request.head).to_owned();
        let body = request.body;
        let api = self.clone();
        self.block(Surface::Logs, responder, move |responder| {
            ticket.about(&[], None, &body);
            let result = Call::new(region, &body).and_then(|call| (operation.run)(&api, &call));
            if let Err(error) = &result {
                log::debug!("{}: {} {}", operation.name, error.status, error.error_type);
            }
            let response = reply(result);
            ticket.end(&response);
            responder.send(response);
        });
    }
}

fn reply(result: Result<Answer, AwsError>) -> Response {
    let response = Response::new(200).header("Content-Type", CONTENT_TYPE);
    let response = match result {
        Ok(Some(json)) => response.body(json.into_bytes()),
        Ok(None) => response,
        Err(error) => return answer::error(Surface::Logs, &error),
    };
    response.header("x-amzn-RequestId", &random::uuid().to_string())
}

impl From<LogError> for AwsError {
    fn from(error: LogError) -> AwsError {
        let (error_type, message) = match &error {
            LogError::NoGroup => {
                ("ResourceNotFoundException", "The specified log group does not exist.")
            }
            LogError::NoStream => {
                ("ResourceNotFoundException", "The specified log stream does not exist.")
            }
            LogError::GroupExists => {
                ("ResourceAlreadyExistsException", "The specified log group already exists")
            }
            LogError::StreamExists => {
                ("ResourceAlreadyExistsException", "The specified log stream already exists")
            }
            LogError::TooManyGroups(_) => ("LimitExceededException", "Resource limit exceeded."),
            LogError::Io { .. } => {
                let message = "The service cannot complete the request.";
                return AwsError::new(500, "ServiceUnavailableException", message).because(error);
            }
        };
        AwsError::new(400, error_type, message)
    }
}

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new(400, "InvalidParameterException", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_finds_its_operation() {
        assert_eq!(find("Logs_20140328.GetLogEvents").unwrap().name, "GetLogEvents");
        for target in ["", "GetLogEvents", "Logs_20140328.", "Logs_20140328.getLogEvents", "X.Y"] {
            assert!(find(target).is_none(), "{target}");
        }
    }

    #[test]
    fn no_two_operations_have_one_name() {
        let names = TABLES.iter().flat_map(|table| table.iter()).map(|operation| operation.name);
        let all: Vec<&str> = names.collect();
        let distinct: std::collections::BTreeSet<&&str> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn a_disk_that_fails_tells_the_client_nothing_of_it() {
        let source = std::io::ErrorKind::StorageFull.into();
        let error = AwsError::from(LogError::Io { path: "/secret/place".into(), source });
        assert_eq!((error.status, error.error_type), (500, "ServiceUnavailableException"));
        assert!(!error.message.contains("secret"));
        assert!(error.internal.clone().unwrap().contains("/secret/place"));
    }
}
