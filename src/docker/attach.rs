//! Opens the stream of what a container writes, as it comes, on a connection of its own.
//!
//! By hand on the socket: ureq would keep the bytes that come with the answer's head, and what is
//! wanted is a socket that a poller can watch. Only the opening blocks; the stream itself is read
//! by whoever takes it, with [`Frames`](super::Frames).
//!
//! A container that was created and not started yet can be attached to: then nothing that it ever
//! writes is missed. The stream ends with the container's process, whether the container is
//! removed meanwhile or not. Who reads it slowly makes the container wait once the Engine's
//! buffers (1 MB) are full.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::engine::{Engine, Wait, named};
use super::error::EngineError;
use super::transport::{self, ConnectError};
use super::wire::{Target, error_message};

/// The longest head, or error answer, that is read.
const ANSWER_BYTES: usize = 64 * 1024;
const HEADERS: usize = 32;

/// An open stream.
#[derive(Debug)]
pub struct Attached {
    /// Non-blocking.
    pub socket: UnixStream,
    /// What came together with the answer's head.
    pub first: Vec<u8>,
}

impl Engine {
    /// Attaches to both outputs of a container.
    pub fn attach(&self, id: &str) -> Result<Attached, EngineError> {
        let target = Target::named("/containers", id, "/attach")?
            .query("stream", "1")
            .query("stdout", "1")
            .query("stderr", "1");
        let call = format!("POST {}", target.path());
        let settings = self.settings();
        let wait = Wait::Whole(settings.call_timeout);
        let failed = |error: ureq::Error| named(&call, wait, &settings.socket, error);
        let until = Instant::now() + settings.call_timeout;
        let mut socket = transport::connect(&settings.socket, Some(settings.call_timeout))
            .map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => failed(timed_out()),
                _ => failed(ureq::Error::Other(Box::new(ConnectError(error)))),
            })?;
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n\r\n",
            target.path_and_query(self.api_version())
        );
        socket.write_all(request.as_bytes()).map_err(|error| failed(bounded(error)))?;
        let mut answer = Vec::new();
        loop {
            match head(&answer) {
                Ok(Some((200 | 101, length))) => {
                    socket.set_nonblocking(true).map_err(|error| failed(error.into()))?;
                    return Ok(Attached { socket, first: answer.split_off(length) });
                }
                Ok(Some((status, length))) => {
                    // The reason, as far as it comes.
                    let complete = |answer: &[u8]| answer.ends_with(b"}\n");
                    while !complete(&answer) && fill(&mut socket, &mut answer, until).is_ok() {}
                    let message = error_message(answer.get(length..).unwrap_or_default());
                    return Err(EngineError::Status { call, status, message });
                }
                Ok(None) if answer.len() < ANSWER_BYTES => {}
                Ok(None) | Err(_) => {
                    let reason = "the answer's head cannot be read".to_owned();
                    return Err(EngineError::Malformed { call, reason });
                }
            }
            fill(&mut socket, &mut answer, until).map_err(|error| failed(bounded(error)))?;
        }
    }
}

/// The status and the length of an answer's head, once it is there.
fn head(answer: &[u8]) -> Result<Option<(u16, usize)>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    Ok(match response.parse(answer)? {
        httparse::Status::Complete(length) => response.code.map(|status| (status, length)),
        httparse::Status::Partial => None,
    })
}

/// Reads some more of an answer.
fn fill(socket: &mut UnixStream, answer: &mut Vec<u8>, until: Instant) -> io::Result<()> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    if answer.len() >= ANSWER_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    socket.set_read_timeout(Some(left))?;
    let mut some = [0; 1024];
    match socket.read(&mut some) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(amount) => {
            answer.extend_from_slice(&some[..amount]);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        Err(error) => Err(error),
    }
}

fn timed_out() -> ureq::Error {
    ureq::Error::Timeout(ureq::Timeout::PerCall)
}

/// What a read or write whose time is over gives, as a timeout.
fn bounded(error: io::Error) -> ureq::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => timed_out(),
        _ => error.into(),
    }
}
