//! Invoke: `POST /2015-03-31/functions/{name}/invocations`.
//!
//! <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>. The request is parked in
//! dispatch; whoever brings the outcome writes the answer into the caller's socket.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use super::answer;
use super::error::AwsError;
use super::json_text::NotJson;
use super::{Api, functions, json_text, query};
use crate::access::Surface;
use crate::asynchronous::{Address, lineage};
use crate::audit::Source;
use crate::dispatch::{Event, Failure, Outcome, Refusal, Reply, Report, Target};
use crate::function::name::{FunctionRef, Qualifier};
use crate::function::state::State;
use crate::http::{Body, Head, Request, Responder, Response};
use crate::random;

/// The most that a synchronous invocation may carry.
pub(super) const REQUEST_BYTES: usize = 6 * 1024 * 1024;
/// The most that a client context may be in base64.
const CLIENT_CONTEXT_BYTES: usize = 3_583;
/// The longest trace header that is passed on; X-Ray's own are below 256, and a long chain of
/// functions adds some hundred.
const TRACE_BYTES: usize = 2048;
const IDENTITY_BYTES: usize = 1024;
/// No name with a qualifier is longer.
pub(super) const NAME_BYTES: usize = 400;
/// Headers that would change what an invocation is, with the model's names for them.
const UNSUPPORTED: [(&str, &str); 2] =
    [("x-amz-tenant-id", "TenantId"), ("x-amz-durable-execution-name", "DurableExecutionName")];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InvocationType {
    RequestResponse,
    DryRun,
    Event,
}

/// What the headers of an Invoke say.
struct Options {
    kind: InvocationType,
    tail: bool,
    client_context: Option<String>,
    cognito_identity: Option<String>,
}

/// What a request invokes.
pub(super) struct Invoked<'a> {
    target: Arc<Target>,
    /// The ARN that it was called by.
    pub(super) arn: String,
    region: &'a str,
    reference: FunctionRef,
    /// Whether it is in the registry.
    created: bool,
}

impl Invoked<'_> {
    pub(super) fn address(self) -> Address {
        Address {
            region: self.region.to_owned(),
            name: self.reference.name,
            qualifier: self.reference.qualifier.map(|qualifier| qualifier.to_string()),
            created: self.created,
        }
    }
}

/// A parked caller of Invoke.
struct Caller {
    api: Arc<Api>,
    responder: Responder,
    target: Arc<Target>,
    tail: bool,
}

impl Api {
    pub(super) fn invoke(self: &Arc<Self>, name: &str, request: Request<'_>, responder: Responder) {
        let head = request.head;
        if let Err((responder, error)) = self.try_invoke(name, request, responder) {
            responder.send(self.refused(&head, answer::error(Surface::Invoke, &error)));
        }
    }

    fn try_invoke(
        self: &Arc<Self>,
        raw_name: &str,
        request: Request<'_>,
        responder: Responder,
    ) -> Result<(), (Responder, AwsError)> {
        let head = &request.head;
        let (options, invoked) =
            match options(head).and_then(|options| Ok((options, self.invoked(head, raw_name)?))) {
                Ok(found) => found,
                Err(error) => return Err((responder, error)),
            };
        let payload = match payload(request.body) {
            Ok(payload) => payload,
            Err(error) => return Err((responder, error)),
        };
        match options.kind {
            InvocationType::RequestResponse => {}
            InvocationType::DryRun => {
                let response = Response::new(204)
                    .header("x-amzn-RequestId", &random::uuid().to_string())
                    .header("X-Amz-Executed-Version", &invoked.target.version);
                let mut ticket = self.ticket(head, "lambda", "InvokeFunction");
                ticket.about(&[invoked.arn], None, b"");
                ticket.end(&response);
                responder.send(response);
                return Ok(());
            }
            InvocationType::Event => {
                self.accept(invoked, head, payload, responder);
                return Ok(());
            }
        }
        let target = invoked.target.clone();
        let trace_id = trace_id(head);
        let name = (invoked.region, invoked.reference.name.as_str());
        let looped = lineage::count(&trace_id, name) >= lineage::INVOCATIONS_MAX;
        let trace_id = lineage::extended(&trace_id, name);
        let event = Event {
            id: random::uuid(),
            payload,
            invoked_arn: invoked.arn,
            trace_id,
            client_context: options.client_context,
            cognito_identity: options.cognito_identity,
            source: Source::Synchronous(self.who(head)),
        };
        let caller =
            Caller { api: self.clone(), responder, target: target.clone(), tail: options.tail };
        if looped {
            self.invoke_looped(invoked.region, &invoked.reference.name, event, caller);
        } else {
            self.dispatcher.invoke(&target, event, Box::new(caller));
        }
        Ok(())
    }

    /// The chain of requests has been through this function often: its settings, which are on the
    /// disk, say whether that may be.
    fn invoke_looped(&self, region: &str, name: &str, event: Event, caller: Caller) {
        let Caller { api, responder, target, tail } = caller;
        let (region, name) = (region.to_owned(), name.to_owned());
        self.block(Surface::Invoke, responder, move |responder| {
            let settings = api.registry.settings(&region, &name);
            if settings.is_ok_and(|settings| settings.recursion_allowed) {
                let caller = Caller { api: api.clone(), responder, target: target.clone(), tail };
                api.dispatcher.invoke(&target, event, Box::new(caller));
                return;
            }
            log::warn!("{name} was invoked in a loop, and is not any more");
            let message = "Lambda has detected your function being invoked in a recursive loop \
                           with other AWS resources and stopped your function's invocation.";
            let error = AwsError::new(400, "RecursiveInvocationException", message);
            let response = answer::error(Surface::Invoke, &error);
            let response = match &event.source {
                Source::Synchronous(who) => {
                    api.refused_at(who.peer, ("POST", &event.invoked_arn), response)
                }
                Source::Asynchronous | Source::Schedule => response,
            };
            responder.send(response);
        });
    }

    /// What the path, the qualifier and the region name; an error when it cannot be invoked.
    pub(super) fn invoked<'a>(
        &'a self,
        head: &Head<'a>,
        raw_name: &str,
    ) -> Result<Invoked<'a>, AwsError> {
        let name = query::decode(raw_name).ok_or_else(|| {
            AwsError::new(400, "ValidationException", "The function's name is not UTF-8.")
        })?;
        let qualifier = query::value(head.query, "Qualifier");
        let region = self.region(head);
        let context = self.context(region);
        let reference = functions::resolve(&name, qualifier.as_deref(), &context)?;
        let arn = || context.place.arn(&reference.name, reference.qualifier.as_ref());
        let latest = matches!(reference.qualifier, None | Some(Qualifier::Latest));
        let found = self.registry.find(region, &reference, random::fraction);
        let created = found.is_some();
        let target = match found {
            Some(function) => {
                let target = self.targets.of(&function, context.place);
                Some(target.ok_or_else(|| not_ready(&function.state))?)
            }
            None if reference.qualifier == Some(Qualifier::LatestPublished)
                && self.registry.latest(region, &reference.name).is_some() =>
            {
                let message = "The function has no published versions available.";
                return Err(AwsError::new(400, "NoPublishedVersionException", message));
            }
            None => self.runtime_target(&reference.name).filter(|_| latest),
        };
        let target = target.ok_or_else(|| {
            let message = format!("Function not found: {}", arn());
            AwsError::new(404, "ResourceNotFoundException", message)
        })?;
        let arn = if reference.qualifier.is_some() { arn() } else { target.arn.clone() };
        Ok(Invoked { target, arn, region, reference, created })
    }

    /// A function that only its runtimes know.
    pub(super) fn runtime_target(&self, name: &str) -> Option<Arc<Target>> {
        let target = self.targets.of_runtimes(name, &self.adoption)?;
        self.dispatcher.has_runtimes(&target.key).then_some(target)
    }
}

impl Reply for Caller {
    fn reply(self: Box<Self>, outcome: Outcome, report: Report) {
        let Caller { api, responder, target, tail } = *self;
        // A refusal has no log.
        let logged = report.sandbox.filter(|_| !matches!(outcome, Outcome::Refused(_)));
        let response = render(&api, &target, outcome, &report);
        let Some(sandbox) = logged.filter(|_| tail) else {
            responder.send(response);
            return;
        };
        let answer = move |log: Vec<u8>| {
            responder.send(response.header("X-Amz-Log-Result", &STANDARD.encode(log)));
        };
        api.collector.tail(sandbox, report.event.id, Box::new(answer));
    }

    fn wants_log(&self) -> bool {
        self.tail
    }
}

/// An outcome as the caller of Invoke reads it.
fn render(api: &Api, target: &Target, outcome: Outcome, report: &Report) -> Response {
    let mut buffer = Uuid::encode_buffer();
    let id: &str = report.event.id.hyphenated().encode_lower(&mut buffer);
    let (body, is_error): (Body, bool) = match outcome {
        Outcome::Response(body) => (body, false),
        Outcome::FunctionError(body) => (body, true),
        Outcome::Failed(failure) => {
            (failed(api, &failure, &report.event).into_bytes().into(), true)
        }
        Outcome::Refused(refusal) => {
            let response = answer::error(Surface::Invoke, &refused(&refusal, target));
            return name_log(api, report, response);
        }
    };
    let mut response = Response::new(200)
        .header("Content-Type", "application/json")
        .header("x-amzn-RequestId", id)
        .header("X-Amz-Executed-Version", &target.version)
        .header("X-Amzn-Trace-Id", &report.event.trace_id);
    if is_error {
        response.push_header("X-Amz-Function-Error", "Unhandled");
        response = name_log(api, report, response);
    }
    response.body(body)
}

/// Without a payload the function gets an empty object.
pub(super) fn payload(body: Body) -> Result<Body, AwsError> {
    let payload = if body.is_empty() { b"{}".to_vec().into() } else { body };
    json_text::check(&payload).map_err(|error| not_json(&error))?;
    Ok(payload)
}

/// Says where the log is that tells more of an error. AWS has no such fields, and its bodies stay
/// as they are.
fn name_log(api: &Api, report: &Report, response: Response) -> Response {
    match report.sandbox.and_then(|sandbox| api.collector.place_of(sandbox)) {
        Some(place) => response
            .header("X-Lambda-Log-Group", &place.group)
            .header("X-Lambda-Log-Stream", &place.stream),
        None => response,
    }
}

/// A failure in AWS's words.
pub(super) fn failed(api: &Api, failure: &Failure, event: &Event) -> String {
    let id = event.id;
    // arn:aws:lambda:REGION:ACCOUNT:function:NAME
    let function = event.invoked_arn.split(':').nth(6).unwrap_or_default();
    let timed_out = |after: &Duration| {
        format!("RequestId: {id} Error: Task timed out after {:.2} seconds", after.as_secs_f64())
    };
    let (kind, message) = match failure {
        Failure::TimedOut { after } => ("Sandbox.Timedout", timed_out(after)),
        Failure::Exited(exit) if exit.out_of_memory => {
            ("Runtime.OutOfMemory", format!("RequestId: {id} Error: {exit}"))
        }
        Failure::Exited(exit) => ("Runtime.ExitError", format!("RequestId: {id} Error: {exit}")),
        Failure::InitTimedOut { after } => (
            "Sandbox.Timedout",
            format!("{}. {}", timed_out(after), api.settings.unreachable(function)),
        ),
        Failure::ResponseTooLarge { limit } => (
            "Function.ResponseSizeTooLarge",
            format!("Response payload size exceeded maximum allowed payload size ({limit} bytes)."),
        ),
        Failure::NoAnswer => (
            "Runtime.Unknown",
            format!("RequestId: {id} Error: Runtime asked for the next event without an answer"),
        ),
    };
    log::info!("{id}: {kind}: {message}");
    serde_json::json!({ "errorType": kind, "errorMessage": message }).to_string()
}

fn refused(refusal: &Refusal, target: &Target) -> AwsError {
    let throttled = |message: &str| {
        let mut error = AwsError::new(429, "TooManyRequestsException", message);
        error.reason = Some("ConcurrentInvocationLimitExceeded");
        error.retry_after_s = Some(1);
        error
    };
    match refusal {
        Refusal::ConcurrencyLimit => throttled("Rate Exceeded."),
        Refusal::MemoryLimit => throttled("Rate Exceeded: no memory for another sandbox is left."),
        Refusal::ReservedLimit | Refusal::Stopped => {
            let mut error = throttled("Rate Exceeded.");
            error.reason = Some("ReservedFunctionConcurrentInvocationLimitExceeded");
            error
        }
        Refusal::NoRuntime => throttled(
            "No runtime of this function came to take the invocation; its runtimes are started \
             by somebody else.",
        ),
        Refusal::NoSandbox(why) => {
            let message = "The service could not start a container for this function.";
            AwsError::new(500, "ServiceException", message).because(why)
        }
        // As for a function that is not Active: it helps to change something, not to try again.
        Refusal::NoCode(why) => AwsError::new(409, "ResourceConflictException", why),
        Refusal::FunctionGone => {
            let message = format!("Function not found: {}", target.arn);
            AwsError::new(404, "ResourceNotFoundException", message)
        }
        Refusal::ShuttingDown => {
            let mut error = AwsError::new(503, "ServiceException", "The service is shutting down.");
            error.retry_after_s = Some(5);
            error
        }
    }
}

fn not_ready(state: &State) -> AwsError {
    let message = format!(
        "The operation cannot be performed at this time. The function is currently in the \
         following state: {}",
        state.name()
    );
    AwsError::new(409, "ResourceConflictException", message)
}

fn not_json(error: &NotJson) -> AwsError {
    let message = format!(
        "Could not parse request body into json: Could not parse payload into json: {error}"
    );
    AwsError::new(400, "InvalidRequestContentException", message)
}

/// Reads and checks the headers.
fn options(head: &Head<'_>) -> Result<Options, AwsError> {
    let kind = match head.header_str("x-amz-invocation-type") {
        None | Some("RequestResponse") => InvocationType::RequestResponse,
        Some("DryRun") => InvocationType::DryRun,
        Some("Event") => InvocationType::Event,
        Some(other) => {
            let values = "[Event, RequestResponse, DryRun]";
            return Err(not_in_enum("invocationType", other, values));
        }
    };
    for (header, member) in UNSUPPORTED {
        if head.header(header).is_some() {
            let message = format!("{member} is not supported by this service.");
            return Err(functions::invalid(message));
        }
    }
    let tail = match head.header_str("x-amz-log-type") {
        None | Some("None") => false,
        Some("Tail") => true,
        Some(other) => return Err(not_in_enum("logType", other, "[None, Tail]")),
    };
    let client_context = head.header("x-amz-client-context").map(client_context).transpose()?;
    let cognito_identity =
        head.header("x-amz-cognito-identity").map(cognito_identity).transpose()?;
    Ok(Options { kind, tail, client_context, cognito_identity })
}

fn not_in_enum(field: &str, value: &str, values: &str) -> AwsError {
    let message = format!(
        "1 validation error detected: Value '{value}' at '{field}' failed to satisfy constraint: \
         Member must satisfy enum value set: {values}"
    );
    AwsError::new(400, "ValidationException", message)
}

/// A client context that is not JSON kills real runtimes, so it does not get that far.
fn client_context(value: &[u8]) -> Result<String, AwsError> {
    let invalid = |message: &str| AwsError::new(400, "InvalidRequestContentException", message);
    if value.len() > CLIENT_CONTEXT_BYTES {
        return Err(invalid("Client context must be at most 3583 bytes of base64-encoded data."));
    }
    let decoded = STANDARD.decode(value.trim_ascii()).ok();
    decoded
        .and_then(json_object)
        .ok_or_else(|| invalid("Client context must be a valid Base64-encoded JSON object."))
}

/// For callers that stand for a mobile user: the JSON that AWS makes of Cognito's credentials.
fn cognito_identity(value: &[u8]) -> Result<String, AwsError> {
    let identity = (value.len() <= IDENTITY_BYTES).then(|| json_object(value.to_vec())).flatten();
    let message = "X-Amz-Cognito-Identity must be a JSON object with cognitoIdentityId and \
                   cognitoIdentityPoolId.";
    identity
        .filter(|text| text.contains("cognitoIdentityId") && text.contains("cognitoIdentityPoolId"))
        .ok_or_else(|| AwsError::new(400, "InvalidRequestContentException", message))
}

/// The text of a JSON object on one line: it becomes a header field.
fn json_object(bytes: Vec<u8>) -> Option<String> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&bytes).ok()?;
    serde_json::to_string(&object).ok()
}

/// The caller's trace header, or a new one that is not sampled.
/// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>
pub(super) fn trace_id(head: &Head<'_>) -> String {
    let given = head.header_str("x-amzn-trace-id");
    if let Some(given) = given
        && given.len() <= TRACE_BYTES
        && given.starts_with("Root=")
    {
        return given.to_owned();
    }
    random::trace_id()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_context_is_an_object_in_base64_or_refused() {
        let encoded = STANDARD.encode(b"{\"custom\":\n{\"k\":\"v\"}}");
        assert_eq!(client_context(encoded.as_bytes()).unwrap(), r#"{"custom":{"k":"v"}}"#);
        for bad in [&b"%%%"[..], b"W10=", b"bm90IGpzb24=", &[b'e'; 3584]] {
            assert_eq!(client_context(bad).unwrap_err().status, 400);
        }
    }

    #[test]
    fn a_cognito_identity_has_both_members() {
        let whole = br#"{"cognitoIdentityId":"i","cognitoIdentityPoolId":"p"}"#;
        assert!(cognito_identity(whole).is_ok());
        for bad in [&b"{}"[..], b"x", br#"{"cognitoIdentityId":"i"}"#] {
            assert!(cognito_identity(bad).is_err());
        }
    }
}
