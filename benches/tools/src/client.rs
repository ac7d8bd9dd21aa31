//! The client half of a keep-alive connection, and the address it is opened to.
//!
//! One exchange at a time, one write for each request whatever its size.

use std::io::{self, ErrorKind, IoSlice, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::message::Message;

/// `http://HOST:PORT/PATH`, with the scheme and the path optional.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// `HOST:PORT`.
    pub authority: String,
    /// Empty, or a path that begins with a slash and does not end with one.
    pub path: String,
}

impl Endpoint {
    pub fn parse(text: &str) -> Self {
        let text = text.strip_prefix("http://").unwrap_or(text);
        let (authority, path) = text.find('/').map_or((text, ""), |slash| text.split_at(slash));
        Self { authority: authority.to_owned(), path: path.trim_end_matches('/').to_owned() }
    }
}

/// One connection and the answer that came last on it.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    answer: Message,
}

impl Connection {
    /// `silence_max` bounds each read and write; without it a long poll waits for ever.
    pub fn open(authority: &str, silence_max: Option<Duration>) -> io::Result<Self> {
        let stream = TcpStream::connect(authority)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(silence_max)?;
        stream.set_write_timeout(silence_max)?;
        Ok(Self { stream, answer: Message::default() })
    }

    /// Sends a request whose head already says how long the body is.
    pub fn send(&self, head: &[u8], body: &[u8]) -> io::Result<()> {
        write_message(&self.stream, head, body)
    }

    /// Sends the body of the last answer as the body of a request: an echo without a copy.
    pub fn send_back(&self, head: &[u8]) -> io::Result<()> {
        write_message(&self.stream, head, self.answer.body())
    }

    /// Waits for the answer and gives its status.
    pub fn receive(&mut self) -> io::Result<u16> {
        loop {
            if !self.answer.read(&self.stream)? {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "closed without an answer"));
            }
            let status = status(self.answer.start_line())?;
            if status >= 200 {
                return Ok(status);
            }
        }
    }

    pub fn answer(&self) -> &Message {
        &self.answer
    }

    /// The socket itself, for those who only look at whether something has arrived.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// The code of a status line such as `HTTP/1.1 200 OK`.
pub fn status(line: &[u8]) -> io::Result<u16> {
    line.get(9..12)
        .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "invalid status line"))
}

/// Writes head and body without first copying them together: usually one system call, for
/// small messages always.
pub fn write_message(mut stream: impl Write, head: &[u8], body: &[u8]) -> io::Result<()> {
    let written = loop {
        match stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => break result?,
        }
    };
    if written < head.len() {
        stream.write_all(&head[written..])?;
        return stream.write_all(body);
    }
    stream.write_all(&body[written - head.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_with_and_without_scheme_and_path() {
        let parse = |text| {
            let endpoint = Endpoint::parse(text);
            (endpoint.authority, endpoint.path)
        };
        assert_eq!(parse("127.0.0.1:80"), ("127.0.0.1:80".into(), String::new()));
        assert_eq!(parse("http://h:1/.rt/f/"), ("h:1".into(), "/.rt/f".into()));
    }

    #[test]
    fn a_message_arrives_whole_however_little_is_taken_at_once() {
        struct Few(Vec<u8>);
        impl Write for Few {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let count = bytes.len().min(3);
                self.0.extend_from_slice(&bytes[..count]);
                Ok(count)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for head in [&b"ab"[..], b"abcdefg"] {
            let mut few = Few(Vec::new());
            write_message(&mut few, head, b"0123456789").unwrap();
            assert_eq!(few.0, [head, b"0123456789"].concat());
        }
    }

    #[test]
    fn a_status_line_must_have_a_code() {
        assert_eq!(status(b"HTTP/1.1 202 Accepted").unwrap(), 202);
        assert!(status(b"HTTP/1.1").is_err());
    }
}
