//! What a handler gets and gives: requests, bodies that are shared and never copied, responses.

use std::cell::RefCell;
use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::head::{Head, OwnedHead, Persistence};
use super::limits::Charge;
use crate::observe::time;

/// A request whose body has arrived whole.
#[derive(Debug)]
pub struct Request<'a> {
    pub head: Head<'a>,
    pub body: Body,
}

/// A request that can be taken to another thread.
#[derive(Debug)]
pub struct Detached {
    head: OwnedHead,
    body: Body,
}

impl Request<'_> {
    pub fn detach(self) -> Detached {
        Detached { head: self.head.to_owned(), body: self.body }
    }
}

impl Detached {
    /// Goes on with the request as it was.
    pub fn with<T>(self, then: impl FnOnce(Request<'_>) -> T) -> T {
        let Detached { head, body } = self;
        head.with(|head| then(Request { head, body }))
    }
}

/// The bytes of a body. Cloning shares them: a payload of 6 MB is in memory once, from the
/// caller's socket to the runtime's.
#[derive(Clone)]
pub struct Body(Arc<Held>);

struct Held {
    bytes: Vec<u8>,
    /// Gives the bytes back to the listener's budget when the last clone goes.
    _charge: Option<Charge>,
}

impl Body {
    pub(super) fn charged(bytes: Vec<u8>, charge: Charge) -> Body {
        Body(Arc::new(Held { bytes, _charge: Some(charge) }))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body(Arc::new(Held { bytes, _charge: None }))
    }
}

impl std::ops::Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.len())
    }
}

/// A response: its head is written as it is built, its body is shared.
#[derive(Debug)]
pub struct Response {
    pub(super) head: Vec<u8>,
    pub(super) body: Option<Body>,
    pub(super) close: bool,
    status: u16,
    error: Option<&'static str>,
}

impl Response {
    pub fn new(status: u16) -> Response {
        let mut head = Vec::with_capacity(512);
        // Writing to a Vec cannot fail.
        let _ = write!(head, "HTTP/1.1 {status} {}\r\n", reason(status));
        Response { head, body: None, close: false, status, error: None }
    }

    /// A response with a JSON body.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Response {
        Response::new(status).header("Content-Type", "application/json").body(body.into())
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    /// Gives it the name of the error that it tells, for who accounts for it.
    pub fn of_error(mut self, error: &'static str) -> Response {
        self.error = Some(error);
        self
    }

    pub fn error(&self) -> Option<&'static str> {
        self.error
    }

    /// Adds a field. Control characters in the value become spaces, so that no value, wherever it
    /// came from, can start another field.
    pub fn header(mut self, name: &str, value: &str) -> Response {
        self.push_header(name, value);
        self
    }

    pub fn push_header(&mut self, name: &str, value: &str) {
        self.head.extend_from_slice(name.as_bytes());
        self.head.extend_from_slice(b": ");
        let start = self.head.len();
        self.head.extend_from_slice(value.as_bytes());
        for byte in &mut self.head[start..] {
            if byte.is_ascii_control() && *byte != b'\t' {
                *byte = b' ';
            }
        }
        self.head.extend_from_slice(b"\r\n");
    }

    pub fn body(mut self, body: impl Into<Body>) -> Response {
        self.body = Some(body.into());
        self
    }

    /// Closes the connection after this response.
    pub fn close(mut self) -> Response {
        self.close = true;
        self
    }

    /// Ends the head: date, length, connection option as decided by both sides.
    pub(super) fn finish(&mut self, persistence: Persistence) {
        self.head.extend_from_slice(b"Date: ");
        date_into(&mut self.head);
        // RFC 9110 section 8.6: no Content-Length in 1xx and 204.
        if self.status != 204 {
            let length = self.body.as_ref().map_or(0, |body| body.len());
            let _ = write!(self.head, "\r\nContent-Length: {length}");
        }
        self.head.extend_from_slice(match persistence {
            Persistence::Close => b"\r\nConnection: close\r\n\r\n".as_slice(),
            Persistence::Keep => b"\r\n\r\n".as_slice(),
            Persistence::KeepAndSay => b"\r\nConnection: keep-alive\r\n\r\n".as_slice(),
        });
    }

    /// The body to write. A 204 has none, whatever it was given: the client would take it for the
    /// next answer (RFC 9112 section 6.3).
    pub(super) fn take_body(&mut self) -> Option<Body> {
        self.body.take().filter(|_| self.status != 204)
    }
}

/// Appends the current IMF-fixdate (RFC 9110 section 5.6.7), formatted once a second and thread.
fn date_into(out: &mut Vec<u8>) {
    thread_local! {
        static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    DATE.with_borrow_mut(|(formatted, text)| {
        if *formatted != second || text.is_empty() {
            *text = time::imf_fixdate(now);
            *formatted = second;
        }
        out.extend_from_slice(text.as_bytes());
    });
}

/// The reason phrases of the statuses that this service sends.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_start_another_field() {
        let mut response = Response::new(200).header("X-A", "b\r\nX-Evil: c\0");
        response.finish(Persistence::Keep);
        let text = String::from_utf8(response.head).unwrap();
        assert!(text.contains("X-A: b  X-Evil: c \r\n"), "{text}");
    }

    #[test]
    fn a_response_says_its_length_and_date() {
        let mut response = Response::json(404, "{}");
        response.finish(Persistence::Close);
        let text = String::from_utf8(response.head).unwrap();
        assert!(text.starts_with("HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n"));
        assert!(text.ends_with(" GMT\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"), "{text}");
        let mut none = Response::new(204);
        none.finish(Persistence::Keep);
        assert!(!String::from_utf8(none.head).unwrap().contains("Content-Length"));
    }
}
