//! What holds of any bytes that a client sends; see the crate's `fuzzing`.
//!
//! [`head`] and [`body`] look at the two parsers, [`connection`] at a whole conversation over a
//! socket: however the bytes are cut, the handler sees the requests that a plain reading of RFC 9112
//! finds in them, and not one more.

#![allow(clippy::unwrap_used, clippy::panic)]

mod connection;
mod reference;

pub use connection::{SEEDS as CONNECTION_SEEDS, connection};

use self::reference::{MAX_FIELDS, MAX_HEAD_BYTES, MAX_URI_BYTES};
use super::framing::{Chunked, Framing};
use super::head::{BadRequest, From, end, header_room, leading_blank, parse};
use super::limits::Limits;
use crate::fuzzing::{Seed, pieces};
use std::time::Duration;

/// The largest body.
const MAX_BODY_BYTES: usize = 64;

pub(crate) fn limits() -> Limits {
    let long = Duration::from_secs(3600);
    Limits {
        workers: 1,
        max_connections: 1,
        max_connections_per_address: 1,
        max_head_bytes: MAX_HEAD_BYTES,
        max_header_count: MAX_FIELDS,
        max_uri_bytes: MAX_URI_BYTES,
        max_buffered_bytes: 1 << 20,
        head_timeout: long,
        body_timeout: long,
        write_timeout: long,
        keep_alive_timeout: long,
    }
}

/// A head is found, and judged, the same wherever its bytes were cut; what is accepted is what a
/// plain reading of RFC 9112 accepts, and says the same.
pub fn head(mut data: &[u8]) {
    while leading_blank(data) > 0 {
        data = &data[leading_blank(data)..];
    }
    let limits = limits();
    let found = |data: &[u8], seen| end(data, seen, limits.max_head_bytes, &limits);
    let whole = found(data, 0);
    for cuts in [pieces(data), data.chunks(1).collect()] {
        let (mut seen, mut verdict) = (0, Ok(None));
        for piece in cuts {
            let upto = seen + piece.len();
            verdict = found(&data[..upto], seen);
            if verdict != Ok(None) {
                break;
            }
            seen = upto;
        }
        assert_eq!(verdict, whole);
    }
    match whole {
        Ok(Some(end)) => {
            assert_eq!(reference::end(data), Some(end));
            read(&data[..end], &limits);
        }
        Ok(None) => {
            assert_eq!(reference::end(data), None);
            assert!(data.len() <= MAX_HEAD_BYTES);
        }
        Err(error) => {
            let end = reference::end(data).unwrap_or(data.len());
            let refused = reference::head(&data[..end]).is_none();
            assert!(refused, "{error:?}");
        }
    }
}

fn read(data: &[u8], limits: &Limits) {
    let mut room = header_room();
    let from = From { peer: ([127, 0, 0, 1], 1).into(), connection: 1 };
    let head = match parse(data, &mut room, from, limits) {
        Ok(head) => head,
        Err(error) => {
            assert!([400, 414, 431, 505].contains(&error.status), "{error:?}");
            let plain = reference::head(data).is_some_and(|head| head.is_plain());
            assert!(!plain, "{error:?}");
            return;
        }
    };
    let reference = reference::head(data).expect("accepted, and not by RFC 9112");
    assert_eq!((head.method.as_bytes(), head.minor), (reference.method, reference.minor));
    let target = match head.query {
        Some(query) => format!("{}?{query}", head.path),
        None => head.path.to_owned(),
    };
    if target.as_bytes() != reference.target {
        let absolute = String::from_utf8(reference.target.to_vec()).unwrap();
        assert!(absolute[..7].eq_ignore_ascii_case("http://"), "{absolute} became {target}");
        assert!(absolute.ends_with(&target) || (target == "/" && !absolute[7..].contains('/')));
    }
    assert!(head.path == "*" || head.path.starts_with('/'));
    for (name, value) in &reference.fields {
        let name = std::str::from_utf8(name).unwrap();
        assert_eq!(head.all(name).collect::<Vec<_>>(), reference.all(name));
        assert!(value.len() < data.len());
    }
    let framing = match Framing::of(&head) {
        Ok(Framing::Length(length)) => Some(reference::Framing::Length(length)),
        Ok(Framing::Chunked) => Some(reference::Framing::Chunked),
        Err(error) => {
            assert!([400, 501].contains(&error.status), "{error:?}");
            None
        }
    };
    assert_eq!(framing, reference::framing(&reference));
    head.persistence();
    head.expects_continue();
}

/// A chunked body is decoded, and judged, the same wherever its bytes were cut; it takes what a
/// plain reading takes, leaves the rest alone and never holds more than its limit.
pub fn body(data: &[u8]) {
    let whole = decode(&[data]);
    assert_eq!(decode(&pieces(data)), whole);
    assert_eq!(decode(&data.chunks(1).collect::<Vec<_>>()), whole);
    match (&whole, reference::chunked(data, MAX_BODY_BYTES)) {
        (Ok(Decoded::Whole(body, taken)), Some(reference)) => {
            assert_eq!((body, *taken), (&reference.0, reference.1));
            let again =
                [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat();
            let again = if body.is_empty() { b"0\r\n\r\n".to_vec() } else { again };
            let expected = Decoded::Whole(body.clone(), again.len());
            assert_eq!(decode(&[&again, b"GET"]), Ok(expected));
        }
        // Only its overhead may be too large, which a plain reading does not count.
        (Err(BadRequest { status: 431, .. }), Some((_, taken))) => assert!(taken > 16 << 10),
        (_, None) => assert!(!matches!(whole, Ok(Decoded::Whole(..))), "a plain reading has none"),
        (_, Some(_)) => panic!("a plain reading has a body: {whole:?}"),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Decoded {
    Whole(Vec<u8>, usize),
    TooLarge,
    Incomplete,
}

fn decode(pieces: &[&[u8]]) -> Result<Decoded, BadRequest> {
    let (mut chunked, mut body, mut taken) = (Chunked::new(), Vec::new(), 0);
    for piece in pieces {
        let result = chunked.decode(piece, &mut body, MAX_BODY_BYTES);
        assert!(body.len() <= MAX_BODY_BYTES && body.capacity() <= 4 * MAX_BODY_BYTES);
        match result? {
            None => return Ok(Decoded::TooLarge),
            Some(n) => taken += n,
        }
        if chunked.is_done() {
            return Ok(Decoded::Whole(body, taken));
        }
    }
    Ok(Decoded::Incomplete)
}

pub const HEAD_SEEDS: &[Seed] = &[
    ("get", b"GET /a%2Fb/c?Qualifier=1&x HTTP/1.1\r\nHost: h:80\r\nX-A:  v \r\nx-a: w\r\n\r\n"),
    ("post", b"POST / HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 5\r\n\r\nhello"),
    ("chunked", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("old", b"GET / HTTP/1.0\r\nConnection: keep-alive, x\r\n\r\n"),
    ("absolute", b"GET HTTP://h:1/a?b HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n"),
    ("asterisk", b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n"),
    ("both", b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
    ("many", b"GET / HTTP/1.1\r\nHost: h\r\na:1\r\nb:2\r\nc:3\r\nd:4\r\ne:5\r\nf:6\r\ng:7\r\nh:8\r\ni:9\r\nj:0\r\nk:1\r\nl:2\r\n\r\n"),
    // Found by fuzzing: a method may be so long that the line is too long.
    (
        "method",
        b"mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm / HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    ("folded", b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n"),
];

pub const BODY_SEEDS: &[Seed] = &[
    ("two", b"3\r\nabc\r\n0a \t; x=\"y\"\r\n0123456789\r\n0\r\nA: b\r\nC: d\r\n\r\nGET"),
    ("empty", b"0\r\n\r\n"),
    ("large", b"40\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n1\r\nx\r\n0\r\n\r\n"),
    ("overflow", b"fffffffffffffff\r\nabc"),
    ("line feed", b"3\nabc\n0\n\n"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::{OTHERS, run_in_small};

    #[test]
    fn heads_are_read_as_rfc_9112_has_them() {
        run_in_small(HEAD_SEEDS, OTHERS, head);
    }

    #[test]
    fn chunked_bodies_are_read_as_rfc_9112_has_them() {
        run_in_small(BODY_SEEDS, OTHERS, body);
    }

    #[test]
    fn connections_carry_the_requests_that_rfc_9112_finds_in_them() {
        run_in_small(CONNECTION_SEEDS, b"\n 1", connection);
    }
}
