//! An `AwsError` as the JSON body that AWS's control and Invoke API answers.
//!
//! The exception's name goes into the header `x-amzn-ErrorType`, not here. Members differ between
//! exceptions, down to the case of `message`, because each is a shape of its own in AWS's model.

use serde::Serialize;

use super::error::AwsError;

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "Reason", skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(rename = "Type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(rename = "Message", skip_serializing_if = "Option::is_none")]
    upper: Option<&'a str>,
    #[serde(rename = "message", skip_serializing_if = "Option::is_none")]
    lower: Option<&'a str>,
}

/// The body of an error answer. `internal` stays out of it.
pub fn render(error: &AwsError) -> String {
    let message = Some(error.message.as_str());
    // Whose fault it is; the errors that AWS's front end gives before any operation don't say.
    let kind = match error.error_type {
        "ValidationException" | "SerializationException" | "AccessDeniedException" => None,
        _ if error.status >= 500 => Some("Service"),
        _ => Some("User"),
    };
    let upper = matches!(
        error.error_type,
        "ResourceNotFoundException"
            | "ServiceException"
            | "CodeSigningConfigNotFoundException"
            | "NoPublishedVersionException"
            | "RecursiveInvocationException"
            | "AccessDeniedException"
    ) || error.status >= 500;
    let (upper, lower) = if upper { (message, None) } else { (None, message) };
    let body = Body { reason: error.reason, kind, upper, lower };
    // Strings always serialize.
    serde_json::to_string(&body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_exception_has_its_own_members() {
        let cases = [
            (404, "ResourceNotFoundException", r#"{"Type":"User","Message":"m \"x\""}"#),
            (400, "InvalidParameterValueException", r#"{"Type":"User","message":"m \"x\""}"#),
            (412, "PreconditionFailedException", r#"{"Type":"User","message":"m \"x\""}"#),
            (409, "ResourceConflictException", r#"{"Type":"User","message":"m \"x\""}"#),
            (413, "RequestTooLargeException", r#"{"Type":"User","message":"m \"x\""}"#),
            (400, "ValidationException", r#"{"message":"m \"x\""}"#),
            (400, "SerializationException", r#"{"message":"m \"x\""}"#),
            (403, "AccessDeniedException", r#"{"Message":"m \"x\""}"#),
            (500, "ServiceException", r#"{"Type":"Service","Message":"m \"x\""}"#),
            (502, "EC2UnexpectedException", r#"{"Type":"Service","Message":"m \"x\""}"#),
        ];
        for (status, error_type, body) in cases {
            assert_eq!(render(&AwsError::new(status, error_type, "m \"x\"")), body);
        }
    }

    #[test]
    fn a_throttle_says_its_reason() {
        let mut error = AwsError::new(429, "TooManyRequestsException", "Rate Exceeded.");
        error.reason = Some("ConcurrentInvocationLimitExceeded");
        assert_eq!(
            render(&error),
            r#"{"Reason":"ConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}"#
        );
    }

    #[test]
    fn the_internal_cause_stays_inside() {
        let body = render(&AwsError::service("disk /dev/sda is gone"));
        assert!(!body.contains("sda"), "{body}");
    }
}
