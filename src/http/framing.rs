//! How long a request's body is, strictly by RFC 9112 sections 6 and 7.
//!
//! One valid Content-Length, or `chunked` alone, or nothing; never both and never two. Whatever
//! two parsers could read differently is refused: that is where request smuggling lives.
//! Trailer fields are checked and counted, and not given on.

use super::head::{BadRequest, Head, bad};

/// The framing that a head announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
}

/// Bytes of chunk extensions and trailers that one body may have: nobody needs any.
const MAX_OVERHEAD_BYTES: usize = 16 << 10;

impl Framing {
    pub(super) fn of(head: &Head<'_>) -> Result<Framing, BadRequest> {
        let mut codings = head.all("transfer-encoding");
        let mut lengths = head.all("content-length");
        match (codings.next(), lengths.next()) {
            (None, None) => Ok(Framing::Length(0)),
            (None, Some(length)) if lengths.next().is_none() => {
                parse_length(length.trim_ascii()).map(Framing::Length)
            }
            (None, Some(_)) => Err(bad(400, "The request has more than one Content-Length.")),
            (Some(_), Some(_)) => {
                Err(bad(400, "The request has both Content-Length and Transfer-Encoding."))
            }
            // RFC 9112 section 6.1: an HTTP/1.0 message with a transfer coding is faulty.
            (Some(_), None) if head.minor == 0 => {
                Err(bad(400, "Transfer-Encoding needs HTTP/1.1."))
            }
            (Some(coding), None) => {
                if codings.next().is_some() {
                    Err(bad(400, "The request has more than one Transfer-Encoding."))
                } else {
                    check_coding(coding).map(|()| Framing::Chunked)
                }
            }
        }
    }
}

/// RFC 9112 section 6.3: where `chunked` is not the last coding nobody knows the body's end. Section
/// 6.1: it is applied once, and 501 is for a coding that is not understood.
fn check_coding(value: &[u8]) -> Result<(), BadRequest> {
    let is_chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
    match value.iter().rposition(|&byte| byte == b',') {
        None if is_chunked(value) => Ok(()),
        Some(at)
            if is_chunked(&value[at + 1..])
                && !value[..at]
                    .split(|&byte| byte == b',')
                    .any(|one| is_chunked(one) || one.trim_ascii().is_empty()) =>
        {
            Err(bad(501, "The only transfer coding of this service is chunked."))
        }
        _ => Err(bad(
            400,
            "The request's last transfer coding is not chunked, or it is chunked twice.",
        )),
    }
}

/// `1*DIGIT`, within 64 bits: no sign, no list, no white space inside.
fn parse_length(value: &[u8]) -> Result<u64, BadRequest> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)
        .and_then(|text| text.parse().ok())
        .ok_or(bad(400, "The request's Content-Length is not a number of bytes."))
}

/// Decodes a chunked body as it arrives.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    /// Bytes spent on sizes, extensions and trailers beyond what chunks need.
    overhead: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In a chunk's size; the digits so far and how many there were.
    Size {
        value: u64,
        digits: u8,
    },
    /// In white space after a size, which only an extension may follow.
    Space {
        value: u64,
    },
    /// In an extension, until the line's CR.
    Extension {
        value: u64,
    },
    /// The LF that must follow a size line's CR.
    SizeLf {
        value: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// In the trailer section; bytes of the current line.
    Trailer {
        line: usize,
    },
    TrailerLf {
        line: usize,
    },
    Done,
}

const MALFORMED: BadRequest = bad(400, "The request's chunked body is malformed.");

impl Chunked {
    pub(super) fn new() -> Chunked {
        Chunked { state: State::Size { value: 0, digits: 0 }, overhead: 0 }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Decodes `input` into `body` up to the end of the message; returns how much was taken.
    ///
    /// `Ok(None)` when the body would become larger than `max_body_bytes`.
    pub(super) fn decode(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
        max_body_bytes: usize,
    ) -> Result<Option<usize>, BadRequest> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if let State::Data { left } = self.state {
                let rest = &input[at..];
                let take = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                if body.len() + take > max_body_bytes {
                    return Ok(None);
                }
                body.extend_from_slice(&rest[..take]);
                at += take;
                let left = left - take as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data { left } };
            } else {
                self.state = self.step(input[at])?;
                at += 1;
                if let State::Data { left } = self.state
                    && left > (max_body_bytes - body.len()) as u64
                {
                    return Ok(None); // known before its bytes arrive
                }
            }
        }
        Ok(Some(at))
    }

    fn step(&mut self, byte: u8) -> Result<State, BadRequest> {
        Ok(match (self.state, byte) {
            (State::Size { value, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = (byte as char).to_digit(16).map_or(0, u64::from);
                if digits == 15 {
                    return Err(MALFORMED); // 2^60 bytes are beyond any limit
                }
                State::Size { value: value << 4 | digit, digits: digits + 1 }
            }
            (State::Size { digits: 0, .. }, _) => return Err(MALFORMED),
            (State::Size { value, .. } | State::Extension { value }, b'\r') => {
                State::SizeLf { value }
            }
            // RFC 9112 section 7.1.1: `*( BWS ";" ... )`. A parser that took "3 4" for 3 would
            // differ from one that took it for 34.
            (State::Size { value, .. } | State::Space { value }, b' ' | b'\t') => {
                self.spend(byte)?;
                State::Space { value }
            }
            (State::Size { value, .. } | State::Space { value }, b';')
            | (State::Extension { value }, _) => {
                self.spend(byte)?;
                State::Extension { value }
            }
            (State::SizeLf { value: 0 }, b'\n') => State::Trailer { line: 0 },
            (State::SizeLf { value }, b'\n') => State::Data { left: value },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { value: 0, digits: 0 },
            (State::Trailer { line }, b'\r') => State::TrailerLf { line },
            (State::Trailer { line }, _) => {
                self.spend(byte)?;
                State::Trailer { line: line + 1 }
            }
            (State::TrailerLf { line: 0 }, b'\n') => State::Done,
            (State::TrailerLf { .. }, b'\n') => State::Trailer { line: 0 },
            _ => return Err(MALFORMED),
        })
    }

    /// Counts a byte that carries no body, and refuses the bare line feeds that hide in such places.
    fn spend(&mut self, byte: u8) -> Result<(), BadRequest> {
        self.overhead += 1;
        if byte == b'\n' || byte == 0 {
            return Err(MALFORMED);
        }
        if self.overhead > MAX_OVERHEAD_BYTES {
            return Err(bad(431, "The chunked body's extensions or trailers are too large."));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{From, header_room, parse};
    use crate::http::limits::tests_support::limits;

    fn framing(version: &str, fields: &str) -> Result<Framing, u16> {
        let head = format!("POST / {version}\r\nHost: h\r\n{fields}\r\n");
        let mut room = header_room();
        let from = From { peer: ([127, 0, 0, 1], 1).into(), connection: 1 };
        let head = parse(head.as_bytes(), &mut room, from, &limits());
        Framing::of(&head.unwrap()).map_err(|error| error.status)
    }

    #[test]
    fn one_length_or_chunked_and_never_both() {
        let cases = [
            ("", Ok(Framing::Length(0))),
            ("Content-Length: 0\r\n", Ok(Framing::Length(0))),
            ("content-length:  12 \r\n", Ok(Framing::Length(12))),
            ("Content-Length: 100000000000000\r\n", Ok(Framing::Length(100_000_000_000_000))),
            ("Transfer-Encoding: Chunked\r\n", Ok(Framing::Chunked)),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", Err(400)),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", Err(400)),
            ("Content-Length: 5, 5\r\n", Err(400)),
            ("Content-Length: +5\r\n", Err(400)),
            ("Content-Length: -1\r\n", Err(400)),
            ("Content-Length: 0x5\r\n", Err(400)),
            ("Content-Length: 5 5\r\n", Err(400)),
            ("Content-Length:\r\n", Err(400)),
            ("Content-Length: 99999999999999999999999\r\n", Err(400)),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Err(400)),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(400)),
            ("Transfer-Encoding: gzip, chunked\r\n", Err(501)),
            ("Transfer-Encoding: identity\r\n", Err(400)),
            ("Transfer-Encoding: xchunked\r\n", Err(400)),
            ("Transfer-Encoding: chunked, identity\r\n", Err(400)),
            ("Transfer-Encoding: chunked, chunked\r\n", Err(400)),
            ("Transfer-Encoding: , chunked\r\n", Err(400)),
            ("Transfer-Encoding:\r\n", Err(400)),
        ];
        for (fields, expected) in cases {
            assert_eq!(framing("HTTP/1.1", fields), expected, "{fields:?}");
        }
        assert_eq!(framing("HTTP/1.0", "Transfer-Encoding: chunked\r\n"), Err(400));
    }

    type Decoded = Result<Option<(Vec<u8>, usize)>, u16>;

    fn decode(input: &[u8], step: usize, limit: usize) -> Decoded {
        let (mut chunked, mut body, mut taken) = (Chunked::new(), Vec::new(), 0);
        for part in input.chunks(step) {
            match chunked.decode(part, &mut body, limit).map_err(|error| error.status)? {
                None => return Ok(None),
                Some(n) => taken += n,
            }
            if chunked.is_done() {
                return Ok(Some((body, taken)));
            }
        }
        Err(0) // incomplete
    }

    #[test]
    fn a_chunked_body_is_decoded_however_it_is_cut() {
        let input = b"3\r\nabc\r\n0a \t; x=\"y\"\r\n0123456789\r\n0\r\nA: b\r\nC: d\r\n\r\nGET";
        for step in 1..=input.len() {
            let (body, taken) = decode(input, step, 13).unwrap().unwrap();
            assert_eq!(body, b"abc0123456789");
            assert_eq!(taken, input.len() - 3, "the next request is left alone");
        }
        assert_eq!(decode(b"0\r\n\r\n", 1, 0), Ok(Some((vec![], 5))));
    }

    #[test]
    fn a_chunked_body_over_the_limit_is_seen_at_once() {
        assert_eq!(decode(b"3\r\nabc\r\n0\r\n\r\n", 1, 2), Ok(None));
        assert_eq!(decode(b"ffffffffff\r\n", 12, 1 << 20), Ok(None), "before its bytes arrive");
    }

    #[test]
    fn malformed_chunks_are_refused() {
        let endless = [b"1;".as_slice(), &[b'x'; 17 << 10]].concat();
        let trailers = [b"0\r\n".as_slice(), "A: b\r\n".repeat(5000).as_bytes()].concat();
        let cases: &[(&[u8], u16)] = &[
            (b"\r\nabc", 400),
            (b"g\r\n", 400),
            (b"-1\r\n", 400),
            (b"0x3\r\nabc\r\n", 400),
            (b"3\nabc\r\n0\r\n\r\n", 400),
            (b"3 \r\nabc\r\n", 400),
            (b"3 4\r\nabc\r\n", 400),
            (b"3\x0c\r\nabc\r\n", 400),
            (b"3\r\nabcd\r\n", 400),
            (b"3\r\nabc\n0\r\n\r\n", 400),
            (b"3;a\nb\r\nabc", 400),
            (b"10000000000000000\r\n", 400),
            (b"0\r\nA: b\n\r\n", 400),
            (b"3\r\nab", 0),
            (&endless, 431),
            (&trailers, 431),
        ];
        for (input, status) in cases {
            assert_eq!(
                decode(input, 7, 1 << 20),
                Err(*status),
                "{:?}",
                &input[..input.len().min(40)]
            );
        }
    }
}
