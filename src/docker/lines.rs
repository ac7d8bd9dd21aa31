//! Bounded lines from a stream that may fall silent in the middle of one.
//!
//! std's `BufRead::read_line` has no limit. Here a line beyond the limit is an error, and a read
//! that times out loses nothing: the next call goes on with what had arrived.

use std::io::{self, Read};

/// How much is read at once.
const CHUNK_BYTES: usize = 8 * 1024;

/// What a call for the next line found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line without its end mark.
    Whole(Vec<u8>),
    /// The stream ended in the middle of a line.
    CutShort,
    /// The line exceeds the limit; what follows cannot be told apart from its rest.
    TooLong,
    /// The stream ended after a whole line.
    End,
}

/// Reads a stream line by line.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    limit: usize,
    /// Bytes that were read and not yet given out.
    buffer: Vec<u8>,
    /// How many of `buffer`'s bytes are known to hold no end mark.
    searched: usize,
}

impl<R: Read> Lines<R> {
    /// Lines of at most `limit` bytes each.
    pub(super) fn new(reader: R, limit: usize) -> Self {
        Lines { reader, limit, buffer: Vec::new(), searched: 0 }
    }

    /// The next line. After an error of the reader the call may be repeated.
    pub(super) fn next_line(&mut self) -> io::Result<Line> {
        loop {
            let end = self.buffer[self.searched..].iter().position(|&b| b == b'\n');
            if let Some(end) = end.map(|offset| self.searched + offset) {
                let rest = self.buffer.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                self.searched = 0;
                line.truncate(end);
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(if line.len() > self.limit { Line::TooLong } else { Line::Whole(line) });
            }
            self.searched = self.buffer.len();
            // A CR at the end may be of the end mark.
            let text = self.buffer.strip_suffix(b"\r").unwrap_or(&self.buffer);
            if text.len() > self.limit {
                return Ok(Line::TooLong);
            }
            let mut chunk = [0; CHUNK_BYTES];
            match self.reader.read(&mut chunk) {
                Ok(0) if self.buffer.is_empty() => return Ok(Line::End),
                Ok(0) => return Ok(Line::CutShort),
                Ok(amount) => self.buffer.extend_from_slice(&chunk[..amount]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives out one scripted piece per read; `None` is a timeout.
    struct Script(std::collections::VecDeque<Option<&'static [u8]>>);

    impl Read for Script {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            match self.0.pop_front() {
                Some(Some(piece)) => {
                    buf[..piece.len()].copy_from_slice(piece);
                    Ok(piece.len())
                }
                Some(None) => Err(io::ErrorKind::TimedOut.into()),
                None => Ok(0),
            }
        }
    }

    fn lines(pieces: &[Option<&'static [u8]>], limit: usize) -> Lines<Script> {
        Lines::new(Script(pieces.iter().copied().collect()), limit)
    }

    fn whole(text: &str) -> Line {
        Line::Whole(text.as_bytes().to_vec())
    }

    #[test]
    fn splits_whatever_the_reads_are() {
        let mut it = lines(&[Some(b"one\r\ntw"), Some(b"o\n\nthr"), Some(b"ee\n")], 10);
        for text in ["one", "two", "", "three"] {
            assert_eq!(it.next_line().unwrap(), whole(text));
        }
        assert_eq!(it.next_line().unwrap(), Line::End);
    }

    #[test]
    fn a_timeout_loses_nothing() {
        let mut it = lines(&[Some(b"ab"), None, Some(b"c\n")], 10);
        assert_eq!(it.next_line().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(it.next_line().unwrap(), whole("abc"));
    }

    #[test]
    fn a_cut_line_is_not_a_line() {
        assert_eq!(lines(&[Some(b"abc")], 10).next_line().unwrap(), Line::CutShort);
    }

    #[test]
    fn the_limit_is_exact() {
        assert_eq!(lines(&[Some(b"abcd\n")], 4).next_line().unwrap(), whole("abcd"));
        assert_eq!(lines(&[Some(b"abcde\n")], 4).next_line().unwrap(), Line::TooLong);
        assert_eq!(lines(&[Some(b"abcde"), Some(b"f")], 4).next_line().unwrap(), Line::TooLong);
        // Found by fuzzing: the end mark may come in two pieces.
        assert_eq!(lines(&[Some(b"abcd\r"), Some(b"\n")], 4).next_line().unwrap(), whole("abcd"));
        assert_eq!(lines(&[Some(b"abcd\r"), Some(b"x")], 4).next_line().unwrap(), Line::TooLong);
    }
}
