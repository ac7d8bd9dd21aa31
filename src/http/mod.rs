//! HTTP/1.1 for this service: sockets, framing, limits, deadlines and the fixed worker threads.
//!
//! The way of a request: [`listener`] accepts and hands the connection to one of the [`worker`]s;
//! the worker reads it through [`conversation`], which parses the [`head`], follows the
//! [`framing`] of the body and gives the [`Handler`] a [`Request`] with a [`Responder`]. The
//! responder can be parked, sent to another thread and answered once; whoever answers writes
//! straight into the socket ([`connection`]), so an answer needs no hand-off between threads.
//!
//! Invariants: the number of threads does not depend on the number of connections; nothing here
//! knows Lambda; no handler may block a worker (what blocks goes to [`blocking`]); memory for
//! unread input is bounded by [`Limits`].

pub mod blocking;
mod connection;
mod conversation;
mod framing;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod head;
mod limits;
mod listener;
mod message;
mod server;
mod worker;

pub use connection::{Responder, WatchId};
pub use head::Head;
pub use limits::{Counters, Limits};
pub use message::{Body, Detached, Request, Response};
pub use server::{Connections, Pulse, Server, StartError};

use std::any::Any;
use std::net::SocketAddr;

/// What the service does with requests. Every method runs on a worker's thread and must not block.
pub trait Handler: Send + Sync + 'static {
    /// Decides on a request by its head alone, before any of its body is read.
    fn admit(&self, head: &Head<'_>) -> Admission;

    /// Takes a whole request. The responder may be kept for as long as the answer takes.
    fn handle(&self, request: Request<'_>, responder: Responder);

    /// The answer to a body that is larger than [`Admission::Accept`] allowed.
    fn body_too_large(&self, head: &Head<'_>) -> Response;

    /// Called once when an admitted body did not arrive together with its head.
    ///
    /// What it returns is dropped when the body is complete, or when it never will be.
    fn body_pending(&self, _head: &Head<'_>) -> Option<Box<dyn Any + Send>> {
        None
    }

    /// The largest head that this peer may send; asked only beyond [`Limits::max_head_bytes`].
    fn max_head_bytes(&self, _peer: SocketAddr) -> usize {
        0
    }

    /// The peer of a request parked with [`Responder::watch`] has gone away.
    fn peer_gone(&self, _watch: WatchId) {}

    /// The peer of a request that was parked like this has had its answer, and has reset the
    /// connection before its next request: it has not read all of the answer (RFC 9293 section
    /// 3.10.7.4; Linux resets where a socket is closed with something unread), or it does not close
    /// its connections properly.
    fn answer_unread(&self, _watch: WatchId) {}
}

/// The verdict on a request's head.
#[derive(Debug)]
pub enum Admission {
    /// Read the body, up to this many bytes.
    Accept { max_body_bytes: usize },
    /// Answer this at once; what the client still sends of the body is thrown away.
    Refuse(Response),
}

/// Heads for the tests of who reads them.
#[cfg(test)]
pub(crate) mod for_tests {
    use super::Head;
    use super::head::{From, header_room, parse};
    use super::limits::tests_support::limits;

    /// A request of a process of this host, as the listener would have it.
    pub(crate) fn with_head<T>(
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        then: impl FnOnce(&Head<'_>) -> T,
    ) -> T {
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n");
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        let from = From { peer: ([127, 0, 0, 1], 7).into(), connection: 1 };
        then(&parse(text.as_bytes(), &mut header_room(), from, &limits()).unwrap())
    }
}
