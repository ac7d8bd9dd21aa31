//! The connection to the Engine: negotiation, and the one way that every call goes.
//!
//! The calls themselves are in the files of their resources. Nothing is cached here but idle
//! connections and the negotiated API version, so an Engine that restarts is simply used again.
//!
//! Invariants: a call that is not a plain read or a removal is sent at most once, because a
//! connection that breaks does not tell whether the Engine has carried the call out; every answer
//! is read to its end within a limit.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::config::Config;
use ureq::http::{Method, Request, Response};
use ureq::{Agent, AsSendBody, Body, SendBody};

use super::error::EngineError;
use super::system::{self, ApiVersion};
use super::transport::{self, ConnectError};
use super::wire::{self, Target};

/// The longest answer that is read whole. A list of some thousand containers is a few MB.
const ANSWER_LIMIT_BYTES: u64 = 16 * 1024 * 1024;

/// The longest error answer that is read.
const ERROR_LIMIT_BYTES: u64 = 64 * 1024;

/// ureq's own 128 KiB, twice and zeroed for each connection, cost more than they save on JSON.
const BUFFER_BYTES: usize = 16 * 1024;

const JSON: &str = "application/json";
const TAR: &str = "application/x-tar";

/// How the Engine is reached.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The Engine's Unix socket, usually `/var/run/docker.sock`.
    pub socket: PathBuf,
    /// How long one call may take, from connecting to the answer's last byte.
    pub call_timeout: Duration,
    /// How many idle connections are kept: as many as there are threads that make calls.
    pub max_idle_connections: usize,
}

/// A Docker Engine. Clones share its connections.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    agent: Agent,
    settings: Settings,
    /// The minor part of the API version in use; the major part is 1 and always was.
    api_minor: AtomicU16,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("socket", &self.shared.settings.socket)
            .field("api", &self.api_version())
            .finish_non_exhaustive()
    }
}

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wait {
    /// In all.
    Whole(Duration),
    /// Without a byte moving in either direction; for streams, which may take long in all.
    Silence(Duration),
}

impl Wait {
    fn duration(self) -> Duration {
        match self {
            Wait::Whole(duration) | Wait::Silence(duration) => duration,
        }
    }
}

/// What a call sends.
pub(super) enum Payload<'a> {
    /// No body at all: for GET and DELETE.
    None,
    /// A body of known length. An empty one goes out as `Content-Length: 0`, as POST needs it: a
    /// POST without a length would be chunked, and `start` refuses that as a non-empty body.
    Json(Vec<u8>),
    /// A tar archive, sent as it is read.
    Tar(&'a mut dyn Read),
}

/// One call to the Engine.
pub(super) struct Call<'a> {
    method: Method,
    target: Target,
    payload: Payload<'a>,
    wait: Option<Wait>,
}

impl<'a> Call<'a> {
    pub(super) fn get(target: Target) -> Self {
        Call { method: Method::GET, target, payload: Payload::None, wait: None }
    }

    pub(super) fn delete(target: Target) -> Self {
        Call { method: Method::DELETE, target, payload: Payload::None, wait: None }
    }

    /// A POST with an empty body.
    pub(super) fn post(target: Target) -> Self {
        Call { method: Method::POST, target, payload: Payload::Json(Vec::new()), wait: None }
    }

    /// A PUT, whose body comes with [`Call::payload`].
    pub(super) fn put(target: Target) -> Self {
        Call { method: Method::PUT, ..Call::post(target) }
    }

    pub(super) fn payload(mut self, payload: Payload<'a>) -> Self {
        self.payload = payload;
        self
    }

    /// Replaces the settings' call timeout.
    pub(super) fn wait(mut self, wait: Wait) -> Self {
        self.wait = Some(wait);
        self
    }

    /// How errors name the call: without its query, which can be long.
    fn name(&self) -> String {
        format!("{} {}", self.method, self.target.path())
    }
}

/// An answer that was read whole.
pub(super) struct Answer {
    call: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Reads the body as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, EngineError> {
        crate::json::from_slice(&self.body)
            .map_err(|e| EngineError::Malformed { call: self.call.clone(), reason: e.to_string() })
    }
}

/// An answer whose body is still to be read.
pub(super) struct Streamed {
    pub(super) call: String,
    pub(super) body: Body,
    wait: Wait,
}

impl Streamed {
    /// Names an error that came up while the body was read.
    pub(super) fn error(&self, socket: &std::path::Path, error: io::Error) -> EngineError {
        named(&self.call, self.wait, socket, ureq::Error::from(error))
    }
}

impl Engine {
    /// Connects and negotiates the API version.
    pub fn connect(settings: &Settings) -> Result<Engine, EngineError> {
        let agent = agent(settings, settings.call_timeout);
        let api_minor = AtomicU16::new(system::MINIMUM_API.minor);
        let engine =
            Engine { shared: Arc::new(Shared { agent, settings: settings.clone(), api_minor }) };
        engine.renegotiate()?;
        Ok(engine)
    }

    /// Negotiates again, for this engine and all its clones: the Engine behind the socket may have
    /// been replaced by another version while this program ran.
    pub fn renegotiate(&self) -> Result<ApiVersion, EngineError> {
        let api = self.offered_api()?;
        self.shared.api_minor.store(api.minor, Ordering::Relaxed);
        log::debug!("docker engine at {}: API {api}", self.shared.settings.socket.display());
        Ok(api)
    }

    /// The API version in use.
    pub fn api_version(&self) -> ApiVersion {
        ApiVersion { major: 1, minor: self.shared.api_minor.load(Ordering::Relaxed) }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Makes a call and reads its answer whole.
    pub(super) fn call(&self, call: Call<'_>) -> Result<Answer, EngineError> {
        let mut streamed = self.stream(call)?;
        let body = streamed.body.with_config().limit(ANSWER_LIMIT_BYTES).read_to_vec();
        match body {
            Ok(body) => Ok(Answer { call: streamed.call, body }),
            Err(e) => Err(named(&streamed.call, streamed.wait, &self.settings().socket, e)),
        }
    }

    /// [`Engine::call`], with `None` when there is no such thing.
    pub(super) fn find(&self, call: Call<'_>) -> Result<Option<Answer>, EngineError> {
        match self.call(call) {
            Ok(answer) => Ok(Some(answer)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Makes a call and leaves the body of its answer to be read.
    pub(super) fn stream(&self, call: Call<'_>) -> Result<Streamed, EngineError> {
        let wait = call.wait.unwrap_or_else(|| Wait::Whole(self.settings().call_timeout));
        let name = call.name();
        // What only reads or removes may be sent again; the pool notices a connection that the
        // Engine has closed, except for one that closes in the very moment of its use.
        let repeatable = matches!(call.payload, Payload::None);
        let (method, target) = (call.method, call.target);
        let sent = match call.payload {
            Payload::None => self.send(&method, &target, None, (), wait),
            Payload::Json(bytes) => self.send(&method, &target, Some(JSON), &bytes[..], wait),
            Payload::Tar(reader) => {
                self.send(&method, &target, Some(TAR), SendBody::from_reader(reader), wait)
            }
        };
        let sent = match sent {
            Err(ureq::Error::Io(e)) if repeatable && is_broken(&e) => {
                log::debug!("{name}: {e}, trying again on a new connection");
                self.send(&method, &target, None, (), wait)
            }
            sent => sent,
        };
        let socket = &self.settings().socket;
        let response = sent.map_err(|e| named(&name, wait, socket, e))?;
        accepted(name, wait, socket, response)
    }

    fn send<B: AsSendBody>(
        &self,
        method: &Method,
        target: &Target,
        content_type: Option<&'static str>,
        body: B,
        wait: Wait,
    ) -> Result<Response<Body>, ureq::Error> {
        let mut request = Request::builder().method(method).uri(target.uri(self.api_version()));
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let request = request.body(body)?;
        let config = self.shared.agent.configure_request(request);
        let request = match wait {
            Wait::Whole(all) => config.timeout_per_call(Some(all)),
            Wait::Silence(one) => config.timeout_per_read(Some(one)).timeout_per_write(Some(one)),
        };
        self.shared.agent.run(request.build())
    }
}

/// An agent for the Engine's socket. Whoever reads a stream that may stay open takes one of its
/// own: its connections are no part of any other agent's pool.
pub(super) fn agent(settings: &Settings, connect_timeout: Duration) -> Agent {
    let config: Config = Agent::config_builder()
        .proxy(None) // else ureq takes one from the environment
        .http_status_as_error(false) // the Engine's message is in the body
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        .input_buffer_size(BUFFER_BYTES)
        .output_buffer_size(BUFFER_BYTES)
        .max_idle_connections(settings.max_idle_connections)
        .max_idle_connections_per_host(settings.max_idle_connections)
        .timeout_connect(Some(connect_timeout))
        .build();
    transport::agent(&settings.socket, config)
}

/// Turns an answer that refuses the call into an error with the Engine's own message.
pub(super) fn accepted(
    call: String,
    wait: Wait,
    socket: &std::path::Path,
    response: Response<Body>,
) -> Result<Streamed, EngineError> {
    let status = response.status().as_u16();
    let mut body = response.into_body();
    // 304 says that a container is in the wanted state already.
    if (200..300).contains(&status) || status == 304 {
        return Ok(Streamed { call, body, wait });
    }
    match body.with_config().limit(ERROR_LIMIT_BYTES).read_to_vec() {
        Ok(text) => Err(EngineError::Status { call, status, message: wire::error_message(&text) }),
        Err(e) => Err(named(&call, wait, socket, e)),
    }
}

/// Whether a connection broke, as it does when the Engine restarts.
fn is_broken(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// Names ureq's error after the call that it ended.
pub(super) fn named(
    call: &str,
    wait: Wait,
    socket: &std::path::Path,
    error: ureq::Error,
) -> EngineError {
    let call = call.to_owned();
    let path = || socket.to_owned();
    match error {
        ureq::Error::Timeout(_) => EngineError::Timeout { call, after: wait.duration() },
        ureq::Error::Io(source) => EngineError::Interrupted { call, source },
        ureq::Error::BodyExceedsLimit(limit_bytes) => EngineError::TooLarge { call, limit_bytes },
        ureq::Error::Other(inner) => match inner.downcast::<ConnectError>() {
            Ok(failed) => match failed.0.kind() {
                io::ErrorKind::NotFound => EngineError::SocketMissing { path: path() },
                io::ErrorKind::PermissionDenied => EngineError::SocketForbidden { path: path() },
                _ => EngineError::Unreachable { path: path(), source: failed.0 },
            },
            Err(other) => EngineError::Malformed { call, reason: other.to_string() },
        },
        other => EngineError::Malformed { call, reason: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_go_to_other_threads() {
        fn check<T: Clone + Send + Sync>() {}
        check::<Engine>();
    }

    /// As root, who runs the tests in a container, no socket is forbidden: so by hand.
    #[test]
    fn failures_to_connect_are_told_apart() {
        let error = |kind: io::ErrorKind| {
            let inner = ureq::Error::Other(Box::new(ConnectError(kind.into())));
            let wait = Wait::Whole(Duration::from_secs(1));
            named("GET /x", wait, std::path::Path::new("/run/d.sock"), inner)
        };
        let forbidden = error(io::ErrorKind::PermissionDenied);
        assert!(matches!(forbidden, EngineError::SocketForbidden { .. }));
        let text = forbidden.to_string();
        assert!(text.contains("/run/d.sock") && text.contains("group"), "{text}");
        let missing = error(io::ErrorKind::NotFound);
        assert!(matches!(missing, EngineError::SocketMissing { .. }));
        let refused = error(io::ErrorKind::ConnectionRefused);
        assert!(matches!(refused, EngineError::Unreachable { .. }));
    }
}
