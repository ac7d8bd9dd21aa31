//! The Docker Engine client: typed, blocking calls over the Engine's Unix socket.
//!
//! It knows the Engine's API and nothing of what the containers are for. Reading order:
//!
//! | file | what it is |
//! |---|---|
//! | [`engine`](Engine) | connects, negotiates the API version, makes one call |
//! | `transport` | HTTP over a Unix socket for ureq; the only file that names ureq's unstable traits |
//! | `error` | [`EngineError`], what a call can end in |
//! | `system` | ping, version, info |
//! | `networks`, `images`, `containers`, `spec`, `stats` | one resource each, with its wire types |
//! | `attach`, `logs` | what a container writes: as it comes, and what the Engine has kept of it |
//! | `frames`, `lines` | taking the Engine's streams apart; pure |
//! | `events` | the event stream, on a connection of its own |
//! | `pulse` | whether the Engine has got round to something |
//! | `ipv4net`, `tar` | values the calls need; pure |
//!
//! Invariants: every answer is read within a limit and to its end (so its connection is reused);
//! every call has a deadline; a call that changes something is sent at most once; a stream that may
//! stay open never uses the pool of connections that calls use.

mod attach;
mod containers;
mod engine;
mod error;
mod events;
mod frames;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod images;
mod ipv4net;
mod lines;
mod logs;
mod networks;
mod pulse;
mod spec;
mod stats;
mod system;
mod tar;
mod transport;
mod wire;

pub use attach::Attached;
pub use containers::{Container, ContainerSummary};
pub use engine::{Engine, Settings};
pub use error::EngineError;
pub use events::{Event, EventStopper, EventStream, EventTime};
pub use frames::{BadFrame, Frames, Output};
pub use images::{Image, ImageSummary};
pub use ipv4net::{Ipv4Net, ParseNetError};
pub use logs::Logged;
pub use networks::{Network, NetworkSpec};
pub use pulse::Pulse;
pub use spec::{ContainerSpec, LogDriver, NetworkMode, ReadOnlyMount};
pub use stats::Stats;
pub use system::{ApiVersion, EngineInfo, EngineVersion};
pub use tar::{TarEntry, TarWriter};
