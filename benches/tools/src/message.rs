//! Reads HTTP/1.1 messages, requests and answers alike, one after the other from one connection.
//!
//! The whole message lies in one buffer that the next message reuses, so a measured exchange
//! allocates nothing once the buffer has grown to the largest message.
//! It does not judge methods, targets or versions.
//! Invariant: bytes that arrive behind a message stay in the buffer and begin the next one.

use std::io::{self, ErrorKind, Read};
use std::ops::Range;

/// Longest head that is read: more than any peer sends.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Longest body that is read: Lambda's 6 MB payload with ample room.
const BODY_BYTES_MAX: usize = 32 << 20;
/// First size of the buffer, and the least room offered to a read.
const READ_BYTES: usize = 16 << 10;

/// The message that was read last.
#[derive(Debug, Default)]
pub struct Message {
    bytes: Vec<u8>,
    /// Bytes of `bytes` that came from the peer; what lies behind is room.
    filled: usize,
    /// Where the next message begins.
    end: usize,
    head: Range<usize>,
    body: Range<usize>,
}

impl Message {
    /// Reads the next message; `false` if the peer closed before its first byte.
    pub fn read(&mut self, mut source: impl Read) -> io::Result<bool> {
        self.bytes.copy_within(self.end..self.filled, 0);
        self.filled -= self.end;
        self.end = 0;
        let mut searched = 0;
        let head_end = loop {
            if let Some(at) = position(&self.bytes[searched..self.filled], b"\r\n\r\n") {
                break searched + at + 4;
            }
            if self.filled > HEAD_BYTES_MAX {
                return Err(invalid("head above 64 KiB"));
            }
            searched = self.filled.saturating_sub(3);
            if !self.fill(&mut source)? {
                return if self.filled == 0 { Ok(false) } else { Err(cut_short()) };
            }
        };
        self.head = 0..head_end;
        if self.has_token("transfer-encoding", "chunked") {
            self.read_chunks(&mut source)?;
        } else if let Some(length) = self.header("content-length") {
            let length = number(length, 10).ok_or_else(|| invalid("content length"))?;
            self.fill_to(head_end, length, &mut source)?;
            self.body = head_end..head_end + length;
            self.end = head_end + length;
        } else {
            // Without a length a request has no body (RFC 9112 section 6.3), and neither have
            // the answers that are of interest here: 100, 202 and 204.
            self.body = head_end..head_end;
            self.end = head_end;
        }
        Ok(true)
    }

    /// The first line: a request line or a status line.
    pub fn start_line(&self) -> &[u8] {
        let head = &self.bytes[self.head.clone()];
        &head[..position(head, b"\r\n").unwrap_or(0)]
    }

    /// The value of the first header of this name, without the space around it.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.bytes[self.head.clone()].split(|&byte| byte == b'\n').skip(1).find_map(|line| {
            let (found, value) = line.split_at_checked(name.len())?;
            let value = value.strip_prefix(b":")?;
            found.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
        })
    }

    pub fn body(&self) -> &[u8] {
        &self.bytes[self.body.clone()]
    }

    /// Whether the sender closes the connection after this message.
    pub fn closes(&self) -> bool {
        self.has_token("connection", "close")
    }

    fn has_token(&self, name: &str, token: &str) -> bool {
        self.header(name).is_some_and(|value| value.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Takes the chunks one by one and moves their data together behind the head.
    fn read_chunks(&mut self, source: &mut impl Read) -> io::Result<()> {
        let body_start = self.head.end;
        let (mut body_end, mut at) = (body_start, body_start);
        loop {
            let line_end = loop {
                match position(&self.bytes[at..self.filled], b"\r\n") {
                    Some(found) => break at + found,
                    None if self.filled - at > HEAD_BYTES_MAX => return Err(invalid("chunk size")),
                    None if !self.fill(source)? => return Err(cut_short()),
                    None => {}
                }
            };
            let line = &self.bytes[at..line_end];
            let size = line.split(|&byte| byte == b';').next().unwrap_or(line).trim_ascii();
            let size = number(size, 16).ok_or_else(|| invalid("chunk size"))?;
            at = line_end + 2;
            if body_end - body_start + size > BODY_BYTES_MAX {
                return Err(invalid("body above 32 MiB"));
            }
            // Also the line end behind the data; behind the last chunk it ends the message,
            // for trailers are sent by none of the peers.
            self.fill_to(at, size + 2, source)?;
            self.bytes.copy_within(at..at + size, body_end);
            body_end += size;
            at += size + 2;
            if size == 0 {
                self.body = body_start..body_end;
                self.end = at;
                return Ok(());
            }
        }
    }

    /// Reads until `length` bytes from `start` on are there.
    fn fill_to(&mut self, start: usize, length: usize, source: &mut impl Read) -> io::Result<()> {
        if length > BODY_BYTES_MAX + 2 {
            return Err(invalid("body above 32 MiB"));
        }
        if self.bytes.len() < start + length {
            self.bytes.resize(start + length, 0);
        }
        while self.filled < start + length {
            if !self.fill(source)? {
                return Err(cut_short());
            }
        }
        Ok(())
    }

    /// One read; `false` at the end of the stream.
    fn fill(&mut self, source: &mut impl Read) -> io::Result<bool> {
        if self.filled == self.bytes.len() {
            self.bytes.resize(self.filled + READ_BYTES, 0);
        }
        loop {
            match source.read(&mut self.bytes[self.filled..]) {
                Ok(count) => {
                    self.filled += count;
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn number(text: &[u8], radix: u32) -> Option<usize> {
    usize::from_str_radix(std::str::from_utf8(text).ok()?, radix).ok()
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("invalid message: {what}"))
}

fn cut_short() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the peer closed inside a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time: the worst way in which a message can arrive.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(1);
            room[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn reads_messages_one_after_the_other() {
        let mut wire = Drip(
            b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\
              HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n2;x=y\r\nde\r\n1\r\nf\r\n0\r\n\r\n\
              GET /b HTTP/1.1\r\nconnection: close\r\n\r\n",
        );
        let mut message = Message::default();
        assert!(message.read(&mut wire).unwrap());
        assert_eq!((message.start_line(), message.body()), (&b"POST /a HTTP/1.1"[..], &b"abc"[..]));
        assert!(message.read(&mut wire).unwrap());
        assert_eq!((message.body(), message.closes()), (&b"def"[..], false));
        assert!(message.read(&mut wire).unwrap());
        assert_eq!((message.body(), message.closes()), (&b""[..], true));
        assert!(!message.read(&mut wire).unwrap());
    }

    #[test]
    fn bytes_behind_a_message_are_kept_when_they_arrive_with_it() {
        let mut wire = &b"A\r\nContent-Length: 1\r\n\r\nxB\r\n\r\n"[..];
        let mut message = Message::default();
        assert!(message.read(&mut wire).unwrap());
        assert_eq!(message.body(), b"x");
        assert!(message.read(&mut wire).unwrap());
        assert_eq!(message.start_line(), b"B");
    }

    #[test]
    fn a_message_that_is_cut_short_or_too_long_is_an_error() {
        let kind = |wire: &[u8]| Message::default().read(wire).unwrap_err().kind();
        assert_eq!(kind(b"HTTP/1.1 200 OK\r\n"), ErrorKind::UnexpectedEof);
        assert_eq!(kind(b"A\r\nContent-Length: 9\r\n\r\nx"), ErrorKind::UnexpectedEof);
        assert_eq!(kind(b"A\r\nContent-Length: x\r\n\r\n"), ErrorKind::InvalidData);
        assert_eq!(kind(b"A\r\nContent-Length: 99999999999\r\n\r\n"), ErrorKind::InvalidData);
        assert_eq!(
            kind(b"A\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n"),
            ErrorKind::InvalidData
        );
        assert_eq!(kind(&[b'a'; HEAD_BYTES_MAX * 2]), ErrorKind::InvalidData);
    }

    #[test]
    fn a_header_is_found_by_its_whole_name_only() {
        let mut message = Message::default();
        assert!(message.read(&b"A\r\nX-Ab: 1\r\nx-A:  2 \r\n\r\n"[..]).unwrap());
        assert_eq!(message.header("X-a"), Some(&b"2"[..]));
        assert_eq!(message.header("X"), None);
    }
}
