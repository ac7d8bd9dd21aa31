//! Lambda's control API: every operation in one table, each with its method, path and function.
//!
//! All of them may commit to the store or ask the Engine, so they run on the blocking pool, with
//! a request of their own. A file here holds the operations of one resource; [`TABLES`] lists the
//! files. Paths are those of botocore's `lambda/2015-03-31/service-2.json`.

mod account;
mod aliases;
mod code;
mod code_signing;
mod common;
mod concurrency;
mod event_invoke;
mod functions;
mod layer_policy;
mod layers;
mod policy;
mod provisioned;
mod recursion;
mod runtime_management;
mod tags;
mod url;
mod versions;

pub(super) use self::code_signing::check_code_signing_arn;
pub(super) use self::provisioned::keep_promises;

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::audited::Ticket;
use super::error::AwsError;
use super::functions::{Context, invalid};
use super::{Api, answer, query};
use crate::access::Surface;
use crate::http::{Body, Head, Request, Responder, Response};
use crate::package::Digest;
use crate::random;

/// The largest request of the operations that carry code.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html> and recorded errors.
pub(super) const CODE_BYTES: usize = 70_167_211;

/// The largest package that is stored: as large as one from S3 may be.
pub(super) const PACKAGE_BYTES: usize = 262_144_000;

/// The operations, a table for each file.
const TABLES: &[&[Operation]] = &[
    functions::OPERATIONS,
    versions::OPERATIONS,
    aliases::OPERATIONS,
    account::OPERATIONS,
    code_signing::OPERATIONS,
    concurrency::OPERATIONS,
    event_invoke::OPERATIONS,
    layer_policy::OPERATIONS,
    layers::OPERATIONS,
    policy::OPERATIONS,
    provisioned::OPERATIONS,
    recursion::OPERATIONS,
    runtime_management::OPERATIONS,
    tags::OPERATIONS,
    url::OPERATIONS,
];

/// One operation.
pub(super) struct Operation {
    pub(super) name: &'static str,
    method: &'static str,
    /// The path's segments; `{}` stands for a value.
    pub(super) path: &'static str,
    pub(super) max_body_bytes: usize,
    run: fn(&Arc<Api>, &Call) -> Result<Answer, AwsError>,
}

impl Operation {
    /// Whether its body can name what is not in its path, but has to be allowed.
    pub(super) fn reads_others(&self) -> bool {
        matches!(
            self.name,
            "CreateFunction"
                | "UpdateFunctionConfiguration"
                | "PutFunctionEventInvokeConfig"
                | "UpdateFunctionEventInvokeConfig"
        )
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What [`find`] has found.
#[derive(Debug)]
pub(super) enum Found {
    Operation(&'static Operation),
    /// The path is there with these methods.
    OtherMethods(String),
    Nothing,
}

/// The operation that a method and a path mean. Older SDKs send trailing slashes.
pub(super) fn find(method: &str, path: &str) -> Found {
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut others = Vec::new();
    for operation in TABLES.iter().flat_map(|table| table.iter()) {
        if matches(operation.path, path) {
            if operation.method == method {
                return Found::Operation(operation);
            }
            others.push(operation.method);
        }
    }
    if others.is_empty() { Found::Nothing } else { Found::OtherMethods(others.join(", ")) }
}

pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    let fits = pattern.split('/').all(|wanted| {
        segments.next().is_some_and(|found| wanted == found || wanted == "{}" && !found.is_empty())
    });
    fits && segments.next().is_none()
}

/// A request of the control API.
#[derive(Debug)]
pub(super) struct Call {
    /// The values of the path, percent-decoded, in order.
    values: Vec<String>,
    query: Option<String>,
    host: Option<String>,
    pub(super) peer: IpAddr,
    pub(super) region: String,
    pub(super) body: Body,
}

impl Call {
    /// The value of the path at this place.
    pub(super) fn value(&self, index: usize) -> &str {
        self.values.get(index).map_or("", String::as_str)
    }

    /// The first value of this name in the query.
    pub(super) fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        query::value(self.query.as_deref(), name)
    }

    pub(super) fn context<'a>(&'a self, api: &'a Api) -> Context<'a> {
        Context { host: self.host.as_deref(), ..api.context(&self.region) }
    }
}

/// An operation's answer: a status, and JSON where there is any.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    json: Option<String>,
}

impl Answer {
    pub(super) fn json(status: u16, json: String) -> Answer {
        Answer { status, json: Some(json) }
    }

    pub(super) fn empty(status: u16) -> Answer {
        Answer { status, json: None }
    }
}

impl Api {
    /// `GET /packages/SHA256`: a stored package, as `Code.Location` of GetFunction names it.
    pub(super) fn package(
        self: &Arc<Self>,
        digest: &str,
        mut ticket: Ticket,
        responder: Responder,
    ) {
        let api = self.clone();
        ticket.about(&[digest.to_owned()], None, b"");
        let digest = Digest::from_hex(digest);
        self.block(Surface::Control, responder, move |responder| {
            let zip = digest.and_then(|digest| api.files.read(&digest).ok());
            let response = match zip {
                Some(zip) => Response::new(200).header("Content-Type", "application/zip").body(zip),
                None => answer::not_found(Surface::Control),
            };
            ticket.end(&response);
            responder.send(response);
        });
    }

    /// `PUT /packages/SHA256`: keeps a package. Code that is [`code::STORED`] names it.
    pub(super) fn new_package(
        self: &Arc<Self>,
        digest: &str,
        zip: Body,
        mut ticket: Ticket,
        responder: Responder,
    ) {
        let api = self.clone();
        ticket.about(&[digest.to_owned()], None, b"");
        let digest = Digest::from_hex(digest);
        self.block(Surface::Control, responder, move |responder| {
            let stored = match digest.filter(|digest| Digest::of(&zip) == *digest) {
                Some(_) => code::keep(&api, &zip),
                None => Err(invalid("The content has another SHA-256 than its path names.")),
            };
            let response = reply(stored.map(|_| Answer::empty(201)));
            ticket.end(&response);
            responder.send(response);
        });
    }

    pub(super) fn control(
        self: &Arc<Self>,
        operation: &'static Operation,
        request: Request<'_>,
        responder: Responder,
    ) {
        let mut ticket = self.ticket(&request.head, "lambda", operation.name);
        let Some(values) = values(operation.path, request.head.path) else {
            let message = "A value in the path is not UTF-8.";
            let error = AwsError::new(400, "ValidationException", message);
            let response = answer::error(Surface::Control, &error);
            ticket.end(&response);
            responder.send(response);
            return;
        };
        let call = Call {
            values,
            query: request.head.query.map(str::to_owned),
            host: host(&request.head),
            peer: request.head.peer.ip(),
            region: self.region(&request.head).to_owned(),
            body: request.body,
        };
        let api = self.clone();
        self.block(Surface::Control, responder, move |responder| {
            let named: &[u8] = if call.values.is_empty() { &call.body } else { b"" };
            ticket.about(&call.values, call.query.as_deref(), named);
            let result = (operation.run)(&api, &call);
            log::debug!("{}: {}", operation.name, outcome(&result));
            let response = reply(result);
            ticket.end(&response);
            responder.send(response);
        });
    }
}

/// The Host that the caller used, if it is one: it becomes part of addresses in answers.
fn host(head: &Head<'_>) -> Option<String> {
    let host = head.header_str("host")?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    (!host.is_empty() && host.len() <= 255 && host.bytes().all(fits)).then(|| host.to_owned())
}

fn outcome(result: &Result<Answer, AwsError>) -> String {
    match result {
        Ok(answer) => answer.status.to_string(),
        Err(error) => format!("{} {}", error.status, error.error_type),
    }
}

fn reply(result: Result<Answer, AwsError>) -> Response {
    let response = match result {
        Ok(Answer { status, json: Some(json) }) => Response::json(status, json),
        Ok(Answer { status, json: None }) => Response::new(status),
        Err(error) => return answer::error(Surface::Control, &error),
    };
    response.header("x-amzn-RequestId", &random::uuid().to_string())
}

/// The values that stand in a path. None when one is not UTF-8.
pub(super) fn values(pattern: &str, path: &str) -> Option<Vec<String>> {
    let pairs = pattern.split('/').zip(path.split('/'));
    let values = pairs.filter(|(wanted, _)| *wanted == "{}");
    values.map(|(_, found)| query::decode(found).map(Cow::into_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_finds_its_operation() {
        let name = |method, path| match find(method, path) {
            Found::Operation(operation) => operation.name,
            Found::OtherMethods(methods) => {
                assert_eq!(methods, "GET, DELETE");
                "other method"
            }
            Found::Nothing => "nothing",
        };
        assert_eq!(name("POST", "/2015-03-31/functions"), "CreateFunction");
        assert_eq!(name("GET", "/2015-03-31/functions/"), "ListFunctions");
        assert_eq!(name("GET", "/2015-03-31/functions/a%2Fb"), "GetFunction");
        assert_eq!(name("PATCH", "/2015-03-31/functions/f"), "other method");
        assert_eq!(name("GET", "/2015-03-31/functions//"), "nothing");
        assert_eq!(name("GET", "/2015-03-31/functions/f/nothing"), "nothing");
        assert_eq!(name("GET", "/"), "nothing");
    }

    #[test]
    fn no_two_operations_share_method_and_path() {
        let all: Vec<&Operation> = TABLES.iter().flat_map(|table| table.iter()).collect();
        for (index, one) in all.iter().enumerate() {
            assert!(one.path.starts_with('/') && !one.path.ends_with('/'), "{}", one.name);
            for other in &all[..index] {
                assert!((one.method, one.path) != (other.method, other.path), "{}", one.name);
                assert_ne!(one.name, other.name);
            }
        }
    }

    #[test]
    fn values_are_decoded() {
        let values = values("/v/{}/x/{}", "/v/arn%3Aaws/x/%24LATEST").unwrap();
        assert_eq!(values, ["arn:aws", "$LATEST"]);
        assert_eq!(super::values("/v/{}", "/v/%ff"), None);
    }
}
