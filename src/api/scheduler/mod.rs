//! EventBridge Scheduler: schedules whose targets are functions, and their groups.
//!
//! What runs when, `schedule` knows; here requests are read and checked, and answers written, a file
//! for each resource. All of it may wait for the disk and runs on the blocking pool. Paths and
//! members are those of botocore's `scheduler/2021-06-30/service-2.json`.

mod definition;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod groups;
mod request;
mod schedules;
mod tags;
mod target;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use self::request::Call;
use super::control::{matches, values};
use super::error::AwsError;
use super::{Api, answer};
use crate::access::Surface;
use crate::http::{Request, Responder, Response};
use crate::random;
use crate::schedule::ScheduleError;

/// The largest request: an input of 256 KB, of which each character may be an escape.
pub(super) const REQUEST_BYTES: usize = 2 << 20;

/// The operations, a table for each file.
const TABLES: &[&[Operation]] = &[schedules::OPERATIONS, groups::OPERATIONS, tags::OPERATIONS];

/// One operation.
pub(super) struct Operation {
    pub(super) name: &'static str,
    method: &'static str,
    /// The path's segments; `{}` stands for a value.
    pub(super) path: &'static str,
    run: fn(&Api, &Call) -> Result<Value, AwsError>,
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The operation that a method and a path mean; the methods of a path that has others; `None`
/// where the path is none of this service's.
pub(super) fn find(
    method: &str,
    path: &str,
) -> Option<Result<&'static Operation, Cow<'static, str>>> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let all = TABLES.iter().flat_map(|table| table.iter());
    let here: Vec<&Operation> = all.filter(|operation| matches(operation.path, path)).collect();
    if here.is_empty() {
        return None;
    }
    let found = here.iter().find(|operation| operation.method == method);
    Some(found.copied().ok_or_else(|| {
        let methods: Vec<&str> = here.iter().map(|operation| operation.method).collect();
        methods.join(", ").into()
    }))
}

impl Api {
    pub(super) fn scheduler(
        self: &Arc<Self>,
        operation: &'static Operation,
        request: Request<'_>,
        responder: Responder,
    ) {
        let mut ticket = self.ticket(&request.head, "scheduler", operation.name);
        let Some(values) = values(operation.path, request.head.path) else {
            let error = invalid("A value in the path is not UTF-8.");
            let response = answer::error(Surface::Scheduler, &error);
            ticket.end(&response);
            responder.send(response);
            return;
        };
        let region = self.region(&request.head).to_owned();
        let query = request.head.query.map(str::to_owned);
        let body = request.body;
        let api = self.clone();
        self.block(Surface::Scheduler, responder, move |responder| {
            ticket.about(&values, query.as_deref(), &body);
            let call = Call::new(values, query, region, &body);
            let result = call.and_then(|call| (operation.run)(&api, &call));
            if let Err(error) = &result {
                log::debug!("{}: {} {}", operation.name, error.status, error.error_type);
            }
            let response = reply(result);
            ticket.end(&response);
            responder.send(response);
        });
    }
}

fn reply(result: Result<Value, AwsError>) -> Response {
    match result {
        Ok(json) => Response::json(200, json.to_string())
            .header("x-amzn-RequestId", &random::uuid().to_string()),
        Err(error) => answer::error(Surface::Scheduler, &error),
    }
}

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new(400, "ValidationException", message)
}

/// Milliseconds as the model's timestamps are: seconds.
fn timestamp(ms: u64) -> Value {
    #[allow(clippy::cast_precision_loss)] // Exact for 280,000 years.
    let seconds = ms as f64 / 1000.0;
    seconds.into()
}

impl From<ScheduleError> for AwsError {
    fn from(error: ScheduleError) -> AwsError {
        let (status, error_type, message) = match &error {
            ScheduleError::NoSchedule(name) => {
                (404, "ResourceNotFoundException", format!("Schedule {name} does not exist."))
            }
            ScheduleError::NoGroup(name) => {
                (404, "ResourceNotFoundException", format!("Schedule group {name} does not exist."))
            }
            ScheduleError::ScheduleExists(name) => {
                (409, "ConflictException", format!("Schedule {name} already exists."))
            }
            ScheduleError::GroupExists(name) => {
                (409, "ConflictException", format!("Schedule group {name} already exists."))
            }
            ScheduleError::TooMany(most) => (
                402,
                "ServiceQuotaExceededException",
                format!("There are {most} schedules, as many as [schedules] max_schedules allows."),
            ),
            ScheduleError::TooManyGroups(most) => (
                402,
                "ServiceQuotaExceededException",
                format!("There are {most} schedule groups, as many as there may be."),
            ),
            ScheduleError::DefaultGroup => (
                400,
                "ValidationException",
                "The default schedule group can neither be changed nor deleted.".to_owned(),
            ),
            ScheduleError::Over => (
                400,
                "ValidationException",
                "The time of this one-time schedule has passed.".to_owned(),
            ),
            ScheduleError::Damaged(_) | ScheduleError::Store(_) => {
                let message = "Unexpected error encountered while processing the request.";
                return AwsError::new(500, "InternalServerException", message).because(error);
            }
        };
        AwsError::new(status, error_type, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_finds_its_operation() {
        let name = |method, path| find(method, path).map(|found| found.map(|o| o.name));
        assert_eq!(name("POST", "/schedules/s"), Some(Ok("CreateSchedule")));
        assert_eq!(name("PUT", "/schedules/s/"), Some(Ok("UpdateSchedule")));
        assert_eq!(name("GET", "/schedules"), Some(Ok("ListSchedules")));
        assert_eq!(name("GET", "/schedule-groups"), Some(Ok("ListScheduleGroups")));
        assert_eq!(name("DELETE", "/schedule-groups/g"), Some(Ok("DeleteScheduleGroup")));
        assert_eq!(name("POST", "/tags/arn%3Aaws"), Some(Ok("TagResource")));
        assert_eq!(name("PUT", "/schedules"), Some(Err("GET".into())));
        for other in ["/schedule", "/schedules/a/b", "/tags", "/tags/", "/"] {
            assert_eq!(name("GET", other), None, "{other}");
        }
    }

    #[test]
    fn a_disk_that_fails_tells_the_client_nothing_of_it() {
        let error = AwsError::from(ScheduleError::Damaged("at /secret/place".to_owned()));
        assert_eq!((error.status, error.error_type), (500, "InternalServerException"));
        assert!(!error.message.contains("secret"));
        assert!(error.internal.clone().unwrap().contains("/secret/place"));
    }

    #[test]
    fn timestamps_are_seconds() {
        assert_eq!(timestamp(1_795_737_600_123), 1_795_737_600.123);
    }
}
