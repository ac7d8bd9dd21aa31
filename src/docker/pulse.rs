//! Asks the Engine a trifle about a container and never waits for the answer: whoever watches the
//! socket learns from it when everybody on the way has got round to what reached them before.
//!
//! What a container writes passes containerd's shim and the Engine, and so does this question: to
//! set the size of a terminal that the container does not have. It changes nothing (but for a line
//! in `docker events`), and of the calls that the shim answers it is the cheapest: some 2 ms.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use super::engine::Engine;
use super::transport;
use super::wire::Target;

/// A question that is under way.
#[derive(Debug)]
pub struct Pulse {
    /// Non-blocking.
    socket: UnixStream,
}

impl Engine {
    /// Asks at once or fails. Not for a container that has a terminal.
    pub fn ask_pulse(&self, container: &str) -> io::Result<Pulse> {
        let target = Target::named("/containers", container, "/resize")
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?
            .query("h", "24")
            .query("w", "80");
        let question = format!(
            "POST {} HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            target.path_and_query(self.api_version())
        );
        let mut socket = transport::connect_at_once(&self.settings().socket)?;
        // It fits into an empty socket.
        socket.write_all(question.as_bytes())?;
        Ok(Pulse { socket })
    }
}

impl Pulse {
    /// Whether there is an answer, whatever it says.
    pub fn is_answered(&mut self) -> bool {
        use io::ErrorKind::{Interrupted, WouldBlock};
        // Any byte, the end, and a broken connection.
        let read = self.socket.read(&mut [0; 256]);
        !read.is_err_and(|error| matches!(error.kind(), WouldBlock | Interrupted))
    }
}

impl AsFd for Pulse {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
