//! The Runtime API (2018-06-01): what a function's runtime speaks.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>. A `/next` is parked in
//! dispatch; whoever brings the event writes it into the runtime's socket.

use std::any::Any;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use super::answer::{accepted, runtime_error};
use super::{Api, Slot};
use crate::access::Peer;
use crate::dispatch::{AnswerError, Answerer, Caller, Event, Failure, Outcome, Poll};
use crate::http::{Body, Head, Request, Responder, Response, WatchId};
use crate::sandbox::adoption::{DEFAULT_FUNCTION, Known};

/// The most that a function may answer.
pub(super) const RESPONSE_BYTES: usize = 6_291_556;
/// Content type of an error body whose `errorCause` is for X-Ray alone.
const ERROR_CAUSE: &str = "application/vnd.aws.lambda.error.cause+json";

/// Calls as the audit log names them.
const NEXT: (&str, &str) = ("GET", "/runtime/invocation/next");
const INIT_ERROR: (&str, &str) = ("POST", "/runtime/init/error");

/// A parked `/next`.
struct NextPoll {
    responder: Responder,
}

impl Poll for NextPoll {
    fn watch(&self, id: WatchId) -> bool {
        self.responder.watch(id)
    }

    fn deliver(self: Box<Self>, event: &Event, deadline: SystemTime) -> bool {
        let mut buffer = Uuid::encode_buffer();
        let id = event.id.hyphenated().encode_lower(&mut buffer);
        let deadline_ms = deadline.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        // Content-Type always: without it the Python and Node clients crash.
        let mut response = Response::new(200)
            .header("Content-Type", "application/json")
            .header("Lambda-Runtime-Aws-Request-Id", id)
            .header("Lambda-Runtime-Deadline-Ms", &deadline_ms.to_string())
            .header("Lambda-Runtime-Invoked-Function-Arn", &event.invoked_arn)
            .header("Lambda-Runtime-Trace-Id", &event.trace_id);
        if let Some(context) = &event.client_context {
            response.push_header("Lambda-Runtime-Client-Context", context);
        }
        // Only when there is one: an empty identity makes the Rust client panic.
        if let Some(identity) = &event.cognito_identity {
            response.push_header("Lambda-Runtime-Cognito-Identity", identity);
        }
        self.responder.send(response.body(event.payload.clone()))
    }

    fn hang_up(self: Box<Self>) {
        self.responder.hang_up();
    }

    fn refuse(self: Box<Self>) {
        self.responder.send(refused(AnswerError::InvalidState));
    }
}

impl Api {
    /// `GET /runtime/invocation/next`.
    pub(super) fn next(self: &Arc<Self>, head: &Head<'_>, responder: Responder) {
        match self.peer(head.peer.ip()) {
            Peer::Loopback => {
                let name = local_function(head);
                let Some(target) = self.targets.of_runtimes(&name, &self.adoption) else {
                    let message = "Lambda-Runtime-Function-Name is not a function's name.";
                    let response = runtime_error(400, "InvalidFunctionName", message);
                    responder.send(self.refused(head, response));
                    return;
                };
                let caller = Caller::Local { target: &target, connection: head.connection };
                self.park(caller, responder);
            }
            Peer::Remote(address) if self.dispatcher.is_sandbox(address) => {
                self.park(Caller::Container(address), responder);
            }
            // No sandbox is behind a proxy; such a call was refused by its head.
            Peer::Proxy => {
                responder.send(stranger());
            }
            Peer::Remote(address) => {
                let api = self.clone();
                self.when_sandbox(address, NEXT, responder, move |responder| {
                    api.park(Caller::Container(address), responder);
                });
            }
        }
    }

    /// Parks a poll.
    fn park(&self, caller: Caller<'_>, responder: Responder) {
        if let Err(poll) = self.dispatcher.poll(caller, Box::new(NextPoll { responder })) {
            let peer = match caller {
                Caller::Container(address) => address,
                Caller::Local { .. } => Ipv4Addr::LOCALHOST.into(),
            };
            self.refused_at(peer, NEXT, refused(AnswerError::InvalidState));
            poll.refuse();
        }
    }

    /// Goes on with `then` once the Engine has said that the address is a function's container.
    fn when_sandbox(
        self: &Arc<Self>,
        address: IpAddr,
        asked: (&'static str, &'static str),
        responder: Responder,
        then: impl FnOnce(Responder) + Send + 'static,
    ) {
        let (slot, taken) = Slot::pair(responder);
        let api = self.clone();
        let go_on = Box::new(move |known| {
            let Some(responder) = taken.take() else { return };
            match known {
                Known::Sandbox => then(responder),
                Known::Stranger => {
                    responder.send(api.refused_at(address, asked, stranger()));
                }
                Known::EngineLost => {
                    let message = "The service cannot reach its container engine.";
                    let response = runtime_error(503, "ServiceException", message);
                    responder.send(api.refused_at(address, asked, response));
                }
            }
        });
        if self.adoption.look_up(address, go_on).is_err()
            && let Some(responder) = slot.take()
        {
            let message = "Too many unknown addresses ask for events; try again.";
            let response = runtime_error(503, "ServiceException", message);
            responder.send(self.refused_at(address, asked, response));
        }
    }

    /// `POST /runtime/invocation/{id}/response`.
    pub(super) fn response(&self, id: &str, request: Request<'_>, responder: Responder) {
        let mode = request.head.header("lambda-runtime-function-response-mode");
        if mode.is_some_and(|mode| mode != b"streaming") {
            let message = "Lambda-Runtime-Function-Response-Mode must be streaming, or absent.";
            let response = runtime_error(400, "InvalidFunctionResponseMode", message);
            responder.send(self.refused(&request.head, response));
            return;
        }
        let outcome = Outcome::Response(request.body);
        responder.send(self.answer(&request.head, id, outcome));
    }

    /// `POST /runtime/invocation/{id}/error`.
    pub(super) fn invocation_error(&self, id: &str, request: Request<'_>, responder: Responder) {
        // Before its JSON is read, which takes time: only one of each invocation's is.
        if let Err(response) = self.may_answer(&request.head, id) {
            responder.send(self.refused(&request.head, response));
            return;
        }
        let body = without_cause(&request);
        let response = self.answer(&request.head, id, Outcome::FunctionError(body));
        if response.status() == 202 {
            log_error_type(error_type(&request.head), id);
        }
        responder.send(response);
    }

    /// Whether an answer to this invocation would be taken from this caller; else what it is told.
    pub(super) fn may_answer(&self, head: &Head<'_>, id: &str) -> Result<(), Response> {
        let id = Uuid::try_parse(id).map_err(|_| AnswerError::InvalidRequestId);
        id.and_then(|id| self.dispatcher.may_answer(self.answerer(head), id)).map_err(refused)
    }

    fn answer(&self, head: &Head<'_>, id: &str, outcome: Outcome) -> Response {
        let result = match Uuid::try_parse(id) {
            Ok(id) => self.dispatcher.answer(self.answerer(head), id, outcome),
            Err(_) => Err(AnswerError::InvalidRequestId),
        };
        match result {
            Ok(()) => accepted(),
            Err(error) => self.refused(head, refused(error)),
        }
    }

    /// The same of an init error. A process of the host may always try.
    pub(super) fn may_fail_init(&self, peer: IpAddr) -> Result<(), Response> {
        match self.peer(peer) {
            Peer::Remote(address) if !self.dispatcher.is_initializing(address) => {
                Err(refused(AnswerError::InvalidState))
            }
            _ => Ok(()),
        }
    }

    /// `POST /runtime/init/error`.
    pub(super) fn init_error(self: &Arc<Self>, request: Request<'_>, responder: Responder) {
        let body = without_cause(&request);
        let kind = error_type(&request.head);
        let peer = request.head.peer.ip();
        let told = move |api: &Api, result: Result<(), AnswerError>| match result {
            Ok(()) => {
                log_error_type(kind, "init");
                accepted()
            }
            Err(error) => api.refused_at(peer, INIT_ERROR, refused(error)),
        };
        match self.peer(peer) {
            Peer::Loopback => {
                let name = local_function(&request.head);
                let target = self.targets.of_runtimes(&name, &self.adoption);
                let result =
                    target.map_or(Ok(()), |t| self.dispatcher.local_init_error(&t.key, body));
                responder.send(told(self, result));
            }
            Peer::Remote(address) if self.dispatcher.is_sandbox(address) => {
                responder.send(told(self, self.dispatcher.init_error(address, body)));
            }
            // No sandbox is behind a proxy; such a call was refused by its head.
            Peer::Proxy => {
                responder.send(stranger());
            }
            // A container that fails at once may not be known yet.
            Peer::Remote(address) => {
                let api = self.clone();
                self.when_sandbox(address, INIT_ERROR, responder, move |responder| {
                    responder.send(told(&api, api.dispatcher.init_error(address, body)));
                });
            }
        }
    }

    /// An answer that is too large: the caller is told so, the sandbox goes on.
    pub(super) fn response_too_large(&self, head: &Head<'_>, id: &str) -> Response {
        let failure = Failure::ResponseTooLarge { limit: RESPONSE_BYTES };
        if let Ok(id) = Uuid::try_parse(id)
            && let Err(error) =
                self.dispatcher.answer(self.answerer(head), id, Outcome::Failed(failure))
        {
            return refused(error);
        }
        let message = format!("Exceeded maximum allowed payload size ({RESPONSE_BYTES} bytes).");
        runtime_error(413, "RequestEntityTooLarge", &message)
    }

    /// The body of an answer is on its way.
    pub(super) fn answer_pending(&self, head: &Head<'_>, id: &str) -> Option<Box<dyn Any + Send>> {
        let id = Uuid::try_parse(id).ok()?;
        let pending = self.dispatcher.answer_begins(self.answerer(head), id)?;
        Some(Box::new(pending))
    }

    fn answerer(&self, head: &Head<'_>) -> Answerer {
        match self.peer(head.peer.ip()) {
            Peer::Loopback => Answerer::Local,
            _ => Answerer::Container(head.peer.ip()),
        }
    }
}

/// The function that a process of this host serves: the header, the query, or the emulator's name.
fn local_function(head: &Head<'_>) -> String {
    if let Some(name) = head.header_str("lambda-runtime-function-name") {
        return name.to_owned();
    }
    super::query::value(head.query, "FunctionName")
        .map_or_else(|| DEFAULT_FUNCTION.to_owned(), std::borrow::Cow::into_owned)
}

fn refused(error: AnswerError) -> Response {
    match error {
        AnswerError::InvalidRequestId => {
            runtime_error(400, "InvalidRequestID", "Invalid request ID")
        }
        AnswerError::InvalidState => {
            runtime_error(403, "InvalidStateTransition", "State transition is not allowed")
        }
    }
}

fn stranger() -> Response {
    let message = "No function's container has this address. The service knows its own \
                   containers, and others by their environment: AWS_LAMBDA_RUNTIME_API and \
                   AWS_LAMBDA_FUNCTION_NAME must be set.";
    runtime_error(403, "AccessDenied", message)
}

/// The error as the caller may see it: without the cause that is meant for X-Ray.
fn without_cause(request: &Request<'_>) -> Body {
    if request.head.header_str("content-type") != Some(ERROR_CAUSE) {
        return request.body.clone();
    }
    let mut error: serde_json::Map<String, serde_json::Value> =
        match serde_json::from_slice(&request.body) {
            Ok(error) => error,
            Err(_) => return Vec::from(&br#"{"errorMessage":"Invalid error body"}"#[..]).into(),
        };
    error.remove("errorCause");
    serde_json::to_vec(&error).unwrap_or_default().into()
}

/// `Lambda-Runtime-Function-Error-Type` classifies an error for the operator; callers do not see it.
fn error_type(head: &Head<'_>) -> Option<String> {
    let kind = head.header_str("lambda-runtime-function-error-type")?;
    Some(kind.chars().take(256).collect())
}

/// Of an error that was taken: others, which cost a function nothing, would fill the log.
fn log_error_type(kind: Option<String>, id: &str) {
    if let Some(kind) = kind {
        log::info!("{id}: the function reports {kind:?}");
    }
}
