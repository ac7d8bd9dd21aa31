//! Errors and other answers as each surface writes them.

use serde_json::json;

use super::error::AwsError;
use super::{error_body, logs};
use crate::access::Surface;
use crate::http::Response;

/// An error in the shape of its surface: the Runtime API's, AWS's JSON 1.1, that of
/// EventBridge Scheduler or that of AWS's Lambda API. What the
/// client does not see goes to the log.
pub(super) fn error(surface: Surface, error: &AwsError) -> Response {
    match &error.internal {
        Some(cause) if error.status >= 500 => log::error!("{}: {cause}", error.error_type),
        Some(cause) => log::debug!("{}: {cause}", error.error_type),
        None => {}
    }
    if surface == Surface::Runtime {
        return runtime_error(error.status, error.error_type, &error.message);
    }
    let response = match surface {
        Surface::Logs => {
            let body = json!({ "__type": error.error_type, "message": error.message });
            Response::new(error.status)
                .header("Content-Type", logs::CONTENT_TYPE)
                .body(body.to_string().into_bytes())
        }
        Surface::Scheduler => {
            Response::json(error.status, json!({ "Message": error.message }).to_string())
        }
        _ => Response::json(error.status, error_body::render(error)),
    };
    let mut response = response
        .of_error(error.error_type)
        .header("x-amzn-ErrorType", error.error_type)
        .header("x-amzn-RequestId", &crate::random::uuid().to_string());
    if let Some(seconds) = error.retry_after_s {
        response.push_header("Retry-After", &seconds.to_string());
    }
    response
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>: JSON, whatever Accept says.
pub(super) fn runtime_error(status: u16, error_type: &'static str, message: &str) -> Response {
    let body = json!({ "errorMessage": message, "errorType": error_type });
    Response::json(status, body.to_string()).of_error(error_type)
}

/// What a runtime reads when its post was taken. .NET's client needs the body.
pub(super) fn accepted() -> Response {
    Response::json(202, &b"{\"status\":\"OK\"}\n"[..])
}

pub(super) fn method_not_allowed(surface: Surface, allowed: &str) -> Response {
    let message = "This path does not have that method.";
    let found = AwsError::new(405, "MethodNotAllowedException", message);
    error(surface, &found).header("Allow", allowed)
}

pub(super) fn not_found(surface: Surface) -> Response {
    let message = "This service has no such path.";
    error(surface, &AwsError::new(404, "UnknownOperationException", message))
}
