//! A request's head: where it ends, and what it says, strictly by RFC 9112 sections 2 to 5.
//!
//! `httparse` does the tokens; this file adds what it lets pass: bare LF line ends, missing or
//! repeated Host, targets outside ASCII. It does not decide on bodies (see `framing`).

use std::mem::MaybeUninit;
use std::net::SocketAddr;

use super::limits::{Limits, MAX_HEADER_COUNT};

/// Room for the header fields of one head, on the caller's stack.
pub(super) type HeaderRoom<'a> = [MaybeUninit<httparse::Header<'a>>; MAX_HEADER_COUNT];

pub(super) const fn header_room<'a>() -> HeaderRoom<'a> {
    [const { MaybeUninit::uninit() }; MAX_HEADER_COUNT]
}

/// The parsed head of a request. Borrows from the bytes that were read.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    pub method: &'a str,
    /// The path as sent: percent-encoded, without the query.
    pub path: &'a str,
    pub query: Option<&'a str>,
    /// HTTP/1.`minor`.
    pub minor: u8,
    pub peer: SocketAddr,
    /// Numbers the connection, uniquely as long as the service runs.
    pub connection: u64,
    headers: &'a [httparse::Header<'a>],
}

impl<'a> Head<'a> {
    pub(super) fn to_owned(self) -> OwnedHead {
        OwnedHead {
            method: self.method.to_owned(),
            path: self.path.to_owned(),
            query: self.query.map(str::to_owned),
            minor: self.minor,
            peer: self.peer,
            connection: self.connection,
            headers: self
                .fields()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }
    }

    /// The first field of this name, compared without case.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|f| f.value)
    }

    /// The first field of this name as text, surrounding white space removed. None when it is
    /// not UTF-8.
    pub fn header_str(&self, name: &str) -> Option<&'a str> {
        self.header(name).and_then(|value| std::str::from_utf8(value).ok()).map(str::trim)
    }

    /// All fields, as they were sent and in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.headers.iter().map(|field| (field.name, field.value))
    }

    pub(super) fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let headers = self.headers;
        headers.iter().filter(move |f| f.name.eq_ignore_ascii_case(name)).map(|f| f.value)
    }

    /// Whether the connection may carry another request after this one (RFC 9112 section 9.3).
    pub(super) fn persistence(&self) -> Persistence {
        let mut asked = false;
        for value in self.all("connection") {
            for option in value.split(|&byte| byte == b',') {
                let option = option.trim_ascii();
                if option.eq_ignore_ascii_case(b"close") {
                    return Persistence::Close;
                }
                asked |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        }
        match (self.minor, asked) {
            (0, false) => Persistence::Close,
            (0, true) => Persistence::KeepAndSay,
            _ => Persistence::Keep,
        }
    }

    pub(super) fn expects_continue(&self) -> bool {
        self.minor >= 1
            && self.header("expect").is_some_and(|v| v.eq_ignore_ascii_case(b"100-continue"))
    }
}

/// A head that borrows from nothing.
#[derive(Debug)]
pub(super) struct OwnedHead {
    method: String,
    path: String,
    query: Option<String>,
    minor: u8,
    peer: SocketAddr,
    connection: u64,
    headers: Vec<(String, Vec<u8>)>,
}

impl OwnedHead {
    pub(super) fn with<T>(&self, then: impl FnOnce(Head<'_>) -> T) -> T {
        let headers: Vec<httparse::Header<'_>> = self
            .headers
            .iter()
            .map(|(name, value)| httparse::Header { name: name.as_str(), value: value.as_slice() })
            .collect();
        then(Head {
            method: &self.method,
            path: &self.path,
            query: self.query.as_deref(),
            minor: self.minor,
            peer: self.peer,
            connection: self.connection,
            headers: &headers,
        })
    }
}

/// What becomes of a connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Persistence {
    Close,
    Keep,
    /// A client of HTTP/1.0 that asked for it believes in it only when it is told so.
    KeepAndSay,
}

/// Why a head was refused: the status and the sentence for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadRequest {
    pub(super) status: u16,
    pub(super) message: &'static str,
}

pub(super) const fn bad(status: u16, message: &'static str) -> BadRequest {
    BadRequest { status, message }
}

/// The length of the head at the start of `data`; None when its end has not arrived.
///
/// `seen` bytes were looked at before and are fine, so that a head that trickles in is not read
/// again and again. What is wrong is told at the first byte that makes it so: whoever sends
/// something else than HTTP need not wait for a deadline, and how the bytes were cut into reads
/// decides nothing.
pub(super) fn end(
    data: &[u8],
    seen: usize,
    max_head_bytes: usize,
    limits: &Limits,
) -> Result<Option<usize>, BadRequest> {
    let max_line_bytes = limits.max_uri_bytes + LINE_ROOM_BYTES;
    let mut before = seen.checked_sub(1).and_then(|last| data.get(last).copied()).unwrap_or(0);
    for (at, &byte) in data.iter().enumerate().skip(seen) {
        if at == max_head_bytes {
            return Err(bad(
                431,
                "The request's header fields are larger than this service allows.",
            ));
        }
        if at == max_line_bytes && !data[..at].contains(&b'\n') {
            return Err(bad(414, "The request target is longer than this service allows."));
        }
        // A line may be empty before the method, and its CR may have come alone.
        if at == 0 && !is_token_byte(byte) && byte != b'\r' {
            return Err(bad(400, "The request does not begin with a method."));
        }
        // A bare CR or LF is a line end to some parsers and not to others: request smuggling
        // starts there.
        if (byte == b'\n') != (before == b'\r') {
            return Err(bad(400, "The request's head has a line that does not end in CRLF."));
        }
        // The end is a CRLF CRLF; only a line feed can end it.
        if byte == b'\n' && data[..=at].ends_with(b"\r\n\r\n") {
            return Ok(Some(at + 1));
        }
        before = byte;
    }
    Ok(None)
}

/// Room in a request line for what is no target: the method and the version.
const LINE_ROOM_BYTES: usize = 32;

/// `tchar` of RFC 9110 section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Empty lines before a request line, which a client of old may send (RFC 9112 section 2.2).
pub(super) fn leading_blank(data: &[u8]) -> usize {
    if data.starts_with(b"\r\n") { 2 } else { 0 }
}

/// Where a head was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct From {
    pub(super) peer: SocketAddr,
    pub(super) connection: u64,
}

/// Parses a whole head (as found by [`end`]).
pub(super) fn parse<'a>(
    data: &'a [u8],
    room: &'a mut HeaderRoom<'a>,
    from: From,
    limits: &Limits,
) -> Result<Head<'a>, BadRequest> {
    let mut request = httparse::Request::new(&mut []);
    let count = limits.max_header_count.min(MAX_HEADER_COUNT);
    match request.parse_with_uninit_headers(data, &mut room[..count]) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(bad(400, "The request's head is malformed.")),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(bad(431, "The request has more header fields than this service allows."));
        }
        Err(httparse::Error::Version) if names_http(data) => {
            return Err(bad(505, "This service speaks HTTP/1.1 and HTTP/1.0."));
        }
        Err(_) => return Err(bad(400, "The request's head is malformed.")),
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(bad(400, "The request's head is malformed."));
    };
    if target.len() > limits.max_uri_bytes {
        return Err(bad(414, "The request target is longer than this service allows."));
    }
    if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(bad(400, "The request target has a character that must be percent-encoded."));
    }
    let origin = origin_form(method, target)?;
    let (path, query) = match origin.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (origin, None),
    };
    let From { peer, connection } = from;
    let head = Head { method, path, query, minor, peer, connection, headers: request.headers };
    // RFC 9112 section 3.2: exactly one Host in HTTP/1.1, never more than one, and a valid one.
    let mut hosts = head.all("host");
    match (hosts.next(), hosts.next(), minor) {
        (None, _, 0) => Ok(head),
        (None, ..) => Err(bad(400, "The request has no Host header field.")),
        (_, Some(_), _) => Err(bad(400, "The request has more than one Host header field.")),
        (Some(host), None, _) if is_host(host.trim_ascii()) => Ok(head),
        _ => Err(bad(400, "The request's Host is none.")),
    }
}

/// Whether the request line ends in a version of HTTP: another protocol is no HTTP of another
/// version.
fn names_http(data: &[u8]) -> bool {
    let line = data.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ');
    let (_, _, version, None) = (words.next(), words.next(), words.next(), words.next()) else {
        return false;
    };
    matches!(version, Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// `uri-host [ ":" port ]` (RFC 9110 section 7.2, RFC 3986 section 3.2.2); it may be empty.
fn is_host(text: &[u8]) -> bool {
    let literal = text.first() == Some(&b'[');
    let (host, port) = match text.iter().rposition(|&byte| byte == b':') {
        Some(at) if !literal || text[..at].ends_with(b"]") => (&text[..at], &text[at + 1..]),
        _ => (text, &[][..]),
    };
    let fits = match host {
        [b'[', inside @ .., b']'] => {
            !inside.is_empty() && inside.iter().all(|&byte| byte == b':' || is_name_byte(byte))
        }
        name => name.iter().enumerate().all(|(at, &byte)| match byte {
            b'%' => {
                name.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
            }
            byte => is_name_byte(byte),
        }),
    };
    fits && port.iter().all(u8::is_ascii_digit)
}

/// `unreserved` and `sub-delims` of RFC 3986.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

/// The origin-form of a target: absolute-form is accepted (RFC 9112 section 3.2.2), its authority
/// is not used. One without a host is invalid (RFC 9110 section 4.2.1).
fn origin_form<'a>(method: &str, target: &'a str) -> Result<&'a str, BadRequest> {
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok(target);
    }
    let scheme = target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
    if scheme.is_some() {
        let rest = &target[7..];
        let (authority, origin) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let named = !authority.is_empty() && !authority.starts_with(':');
        if named && is_host(authority.as_bytes()) && !origin.starts_with('?') {
            return Ok(if origin.is_empty() { "/" } else { origin });
        }
    }
    Err(bad(400, "The request target is malformed."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::limits::tests_support::limits;

    fn status(head: &[u8]) -> u16 {
        let mut room = header_room();
        match parse(head, &mut room, from(), &limits()) {
            Ok(_) => 200,
            Err(error) => error.status,
        }
    }

    fn from() -> From {
        From { peer: ([10, 0, 0, 1], 7).into(), connection: 1 }
    }

    #[test]
    fn a_head_is_parsed_as_sent() {
        let bytes =
            b"POST /a%2Fb/c?Qualifier=1&x HTTP/1.1\r\nHost: h\r\nX-A:  v \r\nx-a: w\r\n\r\n";
        let mut room = header_room();
        let head = parse(bytes, &mut room, from(), &limits()).unwrap();
        assert_eq!(
            (head.method, head.path, head.query),
            ("POST", "/a%2Fb/c", Some("Qualifier=1&x"))
        );
        assert_eq!(head.header_str("X-a"), Some("v"));
        assert_eq!(head.all("x-A").count(), 2);
        assert_eq!(head.header("nope"), None);
        assert_eq!(head.persistence(), Persistence::Keep);
    }

    #[test]
    fn malformed_heads_are_refused_with_their_status() {
        let cases: &[(&[u8], u16)] = &[
            (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 200),
            (b"GET / HTTP/1.0\r\n\r\n", 200),
            (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 200),
            (b"GET http://h:1/a?b HTTP/1.1\r\nHost: h\r\n\r\n", 200),
            (b"GET http://h HTTP/1.1\r\nHost: h\r\n\r\n", 200),
            (b"GET / HTTP/1.1\r\nHost: h\r\nX: \xc3\xa9\r\n\r\n", 200),
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
            (b"GET / HTTP/1.9\r\nHost: h\r\n\r\n", 505),
            (b"GET / HTTPS/1.1\r\nHost: h\r\n\r\n", 400),
            (b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
            (b"GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n", 400),
            (b"GET http://u@h/a HTTP/1.1\r\nHost: h\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHo st: h\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: h\r\n: v\r\n\r\n", 400),
            (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
            (b"G\x01T / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
            (b"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400),
            (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
            (b"GET a HTTP/1.1\r\nHost: h\r\n\r\n", 400),
            (b"GET http:// HTTP/1.1\r\nHost: h\r\n\r\n", 400),
            (b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
            (b"GET / HTTP/1.1 x\r\nHost: h\r\n\r\n", 400),
        ];
        for (head, expected) in cases {
            assert_eq!(status(head), *expected, "{:?}", String::from_utf8_lossy(head));
        }
        let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "a: b\r\n".repeat(100));
        assert_eq!(status(many.as_bytes()), 431);
        let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(20_000));
        assert_eq!(status(long.as_bytes()), 414);
    }

    fn end_of(data: &[u8], seen: usize) -> Result<Option<usize>, u16> {
        let limits = limits();
        end(data, seen, limits.max_head_bytes, &limits).map_err(|error| error.status)
    }

    #[test]
    fn the_end_is_found_wherever_the_bytes_were_cut() {
        let head = b"GET / HTTP/1.1\r\nHost: h\r\n\r\nbody\r\n\r\n";
        for cut in 0..head.len() {
            let expected = (cut >= 27).then_some(27);
            assert_eq!(end_of(&head[..cut], 0), Ok(expected));
            assert_eq!(end_of(head, cut.min(26)), Ok(Some(27)), "seen {cut}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_at_once() {
        let cases: [&[u8]; 7] = [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"\x04\x01\x00\x50",
            b" GET / HTTP/1.1\r\n",
            b"\nGET / HTTP/1.1\r\n",
            b"GET / HTTP/1.1\n",
            b"GET / HTTP/1.1\r\nHost: h\n",
            b"GET / HTTP/1.1\r\nHost: h\rX",
        ];
        for bytes in cases {
            assert_eq!(end_of(bytes, 0), Err(400), "{:?}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(end_of(b"\r", 0), Ok(None), "an empty line whose LF has not come");
    }

    #[test]
    fn a_host_is_one_as_rfc_3986_writes_it() {
        let hosts: [&[u8]; 9] = [
            b"",
            b"h",
            b"h:",
            b"h:80",
            b"127.0.0.1:9001",
            b"[::1]",
            b"[fe80::1]:80",
            b"a_b.c%20d",
            b":80",
        ];
        for host in hosts {
            assert!(is_host(host), "{:?}", String::from_utf8_lossy(host));
        }
        let others: [&[u8]; 14] = [
            b"a b",
            b"a/b",
            b"http://a",
            b"u@a",
            b"a:b",
            b"a:80:80",
            b"a?b",
            b"a#b",
            b"a%2",
            b"a%zz",
            b"[::1",
            b"[]",
            b"[::1]x",
            b"\xc3\xa9",
        ];
        for host in others {
            assert!(!is_host(host), "{:?}", String::from_utf8_lossy(host));
        }
    }

    #[test]
    fn connection_options_decide_on_keep_alive() {
        let persistence = |head: &str| {
            let mut room = header_room();
            parse(head.as_bytes(), &mut room, from(), &limits()).unwrap().persistence()
        };
        let cases = [
            ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", Persistence::Keep),
            ("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade, Close\r\n\r\n", Persistence::Close),
            ("GET / HTTP/1.0\r\n\r\n", Persistence::Close),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", Persistence::KeepAndSay),
        ];
        for (head, expected) in cases {
            assert_eq!(persistence(head), expected, "{head:?}");
        }
    }

    #[test]
    fn an_endless_head_is_refused_before_its_end() {
        let limits = limits();
        let target = vec![b'a'; limits.max_uri_bytes + 40];
        assert_eq!(end_of(&target, 0), Err(414));
        let mut head = b"GET / HTTP/1.1\r\nA: ".to_vec();
        head.resize(limits.max_head_bytes, b'a');
        assert_eq!(end_of(&head, 0), Ok(None));
        head.push(b'a');
        assert_eq!(end_of(&head, 0), Err(431));
        assert_eq!(end_of(&head, limits.max_head_bytes), Err(431));
    }
}
