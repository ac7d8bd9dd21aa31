//! The record of an invocation as AWS sends it to destinations.
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html>
//!
//! Payloads that are JSON stand in it as they are, byte for byte; others, which AWS does not take,
//! as text in base64 with a member beside that says so. It is put together as text, for a payload
//! is not to be read into a tree and written again.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::value::RawValue;

use super::state::Condition;
use crate::observe::time;

/// The marker of a payload in base64.
pub(super) const ENCODED: &str = "base64";

/// How an event ended.
#[derive(Debug)]
pub(super) struct End<'a> {
    pub(super) request_id: &'a str,
    pub(super) function_arn: &'a str,
    pub(super) condition: Condition,
    /// How often the function ran.
    pub(super) invoke_count: u32,
    pub(super) response: Option<Response<'a>>,
    pub(super) now_ms: u64,
}

/// What the function answered last.
#[derive(Debug)]
pub(super) struct Response<'a> {
    pub(super) version: &'a str,
    pub(super) failed: bool,
    pub(super) body: &'a [u8],
}

/// `payload` is absent where the disk does not give it back.
pub(super) fn record(end: &End<'_>, payload: Option<&[u8]>) -> Vec<u8> {
    let timestamp = time::rfc3339_millis(UNIX_EPOCH + Duration::from_millis(end.now_ms));
    let context = serde_json::json!({
        "requestId": end.request_id,
        "functionArn": end.function_arn,
        "condition": end.condition.name(),
        "approximateInvokeCount": end.invoke_count,
    });
    let mut out = Object::default();
    out.member("version", &Value::from("1.0"));
    out.member("timestamp", &Value::from(timestamp));
    out.member("requestContext", &context);
    match payload {
        Some(payload) => out.payload("requestPayload", payload),
        None => out.member("requestPayload", &Value::Null),
    }
    if let Some(response) = &end.response {
        let mut context = serde_json::json!({
            "statusCode": 200,
            "executedVersion": response.version,
        });
        if response.failed {
            context["functionError"] = Value::from("Unhandled");
        }
        out.member("responseContext", &context);
        out.payload("responsePayload", response.body);
    }
    out.finish()
}

/// A JSON object that is written member by member.
#[derive(Debug)]
pub struct Object(Vec<u8>);

impl Default for Object {
    fn default() -> Object {
        Object(b"{".to_vec())
    }
}

impl Object {
    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        // Names are constants without anything to escape.
        self.0.extend_from_slice(format!("\"{name}\":").as_bytes());
    }

    pub fn member(&mut self, name: &str, value: &Value) {
        self.name(name);
        self.0.extend_from_slice(value.to_string().as_bytes());
    }

    /// Something that is JSON already.
    pub fn raw(&mut self, name: &str, json: &[u8]) {
        self.name(name);
        self.0.extend_from_slice(json);
    }

    /// Bytes that may be anything; none are null.
    pub fn payload(&mut self, name: &str, payload: &[u8]) {
        if payload.is_empty() {
            return self.member(name, &Value::Null);
        }
        match serde_json::from_slice::<&RawValue>(payload) {
            Ok(json) => self.raw(name, json.get().as_bytes()),
            Err(_) => {
                self.member(name, &Value::from(STANDARD.encode(payload)));
                self.member(&format!("{name}Encoding"), &Value::from(ENCODED));
            }
        }
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(condition: Condition, response: Option<Response<'_>>) -> End<'_> {
        End {
            request_id: "e4b46cbf-b738-4880-8880-a18cdf61200e",
            function_arn: "arn:aws:lambda:us-east-2:123456789012:function:my-function:$LATEST",
            condition,
            invoke_count: 3,
            response,
            now_ms: 1_573_755_365_568,
        }
    }

    #[test]
    fn a_record_is_as_aws_documents_it() {
        let response =
            Response { version: "$LATEST", failed: true, body: br#"{"errorMessage": "no"}"# };
        let record =
            record(&end(Condition::RetriesExhausted, Some(response)), Some(b"{\"a\": [1]}"));
        let expected = concat!(
            r#"{"version":"1.0","timestamp":"2019-11-14T18:16:05.568Z","requestContext":{"#,
            r#""approximateInvokeCount":3,"condition":"RetriesExhausted","#,
            r#""functionArn":"arn:aws:lambda:us-east-2:123456789012:function:my-function:$LATEST","#,
            r#""requestId":"e4b46cbf-b738-4880-8880-a18cdf61200e"},"requestPayload":{"a": [1]},"#,
            r#""responseContext":{"executedVersion":"$LATEST","functionError":"Unhandled","#,
            r#""statusCode":200},"responsePayload":{"errorMessage": "no"}}"#
        );
        assert_eq!(String::from_utf8(record).unwrap(), expected);
    }

    #[test]
    fn what_is_no_json_is_in_base64_and_what_is_lost_is_null() {
        let response = Response { version: "1", failed: false, body: b"" };
        let bytes = record(&end(Condition::Success, Some(response)), Some(b"\xff{"));
        let read: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read["requestPayload"], "/3s=");
        assert_eq!(read["requestPayloadEncoding"], ENCODED);
        assert!(read["responsePayload"].is_null());
        assert!(read["responseContext"].get("functionError").is_none());
        let bytes = record(&end(Condition::PayloadLost, None), None);
        let read: Value = serde_json::from_slice(&bytes).unwrap();
        assert!(read["requestPayload"].is_null() && read.get("responsePayload").is_none());
    }
}
