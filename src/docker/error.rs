//! What a call to the Engine can end in.
//!
//! Each kind is one that a caller or an operator acts on differently. The Engine's own message is
//! kept word for word. Nothing here decides what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::system::ApiVersion;

/// Why a call to the Docker Engine failed. `call` is the method and path, as `GET /_ping`.
#[derive(Debug)]
#[non_exhaustive]
pub enum EngineError {
    /// There is no socket at `path`.
    SocketMissing { path: PathBuf },
    /// This process may not open the socket at `path`.
    SocketForbidden { path: PathBuf },
    /// Nobody answers behind the socket at `path`.
    Unreachable { path: PathBuf, source: io::Error },
    /// The connection broke after the call was sent, or in the middle of its answer: whether the
    /// Engine carried it out is unknown.
    Interrupted { call: String, source: io::Error },
    /// The Engine did not answer in time: whether it carried the call out is unknown.
    Timeout { call: String, after: Duration },
    /// The Engine refused the call.
    Status { call: String, status: u16, message: String },
    /// The Engine accepted the call, and reported in the stream of its progress that it failed.
    Failed { call: String, message: String },
    /// The answer is not what the API promises.
    Malformed { call: String, reason: String },
    /// The answer, or one line of it, is longer than this client reads.
    TooLarge { call: String, limit_bytes: u64 },
    /// A name that cannot stand in a call's path.
    InvalidName { name: String },
    /// The newest API version that the Engine speaks is below what this client needs.
    TooOld { engine: ApiVersion, minimum: ApiVersion },
    /// The oldest API version that the Engine accepts is above what this client knows.
    TooNew { engine_minimum: ApiVersion, maximum: ApiVersion },
}

impl EngineError {
    /// The Engine has no such container, image or network.
    pub fn is_not_found(&self) -> bool {
        matches!(self, EngineError::Status { status: 404, .. })
    }

    /// The state or name of something stands in the way.
    pub fn is_conflict(&self) -> bool {
        matches!(self, EngineError::Status { status: 409, .. })
    }

    /// The Engine itself cannot be reached or has stopped answering; the call is not at fault.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            EngineError::SocketMissing { .. }
                | EngineError::SocketForbidden { .. }
                | EngineError::Unreachable { .. }
                | EngineError::Interrupted { .. }
                | EngineError::Timeout { .. }
        )
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineError::SocketMissing { path } => write!(
                f,
                "no docker socket at {}: start the docker engine, or name its socket in the \
                 configuration",
                path.display()
            ),
            EngineError::SocketForbidden { path } => write!(
                f,
                "no permission to open the docker socket {}: run as a member of the group that \
                 owns it (usually docker), or as root",
                path.display()
            ),
            EngineError::Unreachable { path, source } => {
                write!(f, "docker engine unreachable at {}: {source}", path.display())
            }
            EngineError::Interrupted { call, source } => {
                write!(f, "connection to the docker engine broke during {call}: {source}")
            }
            EngineError::Timeout { call, after } => {
                write!(f, "docker engine did not answer {call} within {} ms", after.as_millis())
            }
            EngineError::Status { call, status, message } => {
                write!(f, "docker engine answered {call} with {status}: {message}")
            }
            EngineError::Failed { call, message } => {
                write!(f, "docker engine failed {call}: {message}")
            }
            EngineError::Malformed { call, reason } => {
                write!(f, "docker engine gave a malformed answer to {call}: {reason}")
            }
            EngineError::TooLarge { call, limit_bytes } => {
                write!(f, "docker engine's answer to {call} exceeds {limit_bytes} bytes")
            }
            EngineError::InvalidName { name } => {
                write!(f, "{name:?} is not a name that the docker engine can be asked for")
            }
            EngineError::TooOld { engine, minimum } => write!(
                f,
                "docker engine speaks API {engine} at most, and {minimum} is needed: upgrade the \
                 engine to 19.03 or later"
            ),
            EngineError::TooNew { engine_minimum, maximum } => write!(
                f,
                "docker engine accepts API {engine_minimum} at least, and this program speaks \
                 {maximum} at most: upgrade this program"
            ),
        }
    }
}

impl std::error::Error for EngineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            EngineError::Unreachable { source, .. } | EngineError::Interrupted { source, .. } => {
                Some(source)
            }
            _ => None,
        }
    }
}
