//! A corpus of requests that are not as RFC 9112 wants them, or only just are: each with the exact
//! status, and whether the connection is closed. And pairs of readings in which a second request
//! hides: it is never seen.
//!
//! The sockets are raw; what may be sent again and again (limits, deadlines) is in `http_limits`.

#![allow(clippy::unwrap_used, clippy::panic)]

mod http_support;

use http_support::{Service, limits, serve, statuses};

/// What becomes of a connection after its one answer.
#[derive(Debug, Clone, Copy)]
enum Then {
    Closed,
    Open,
}
use Then::{Closed, Open};

type Case = (&'static [u8], u16, Then);

fn check(service: &Service, bytes: &[u8], status: u16, then: Then) {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
    let mut client = service.client();
    client.send(bytes);
    match then {
        Closed => {
            let answer = client.rest();
            assert_eq!(statuses_of(&answer), [status], "{shown:?}");
            let head = String::from_utf8_lossy(&answer).into_owned();
            assert!(head.contains("\r\nConnection: close\r\n"), "{shown:?}");
        }
        Open => {
            let answer = client.answer_of(bytes.starts_with(b"HEAD"));
            assert_eq!((answer.status, answer.closes()), (status, false), "{shown:?}");
            client.get("/after");
            assert!(client.answer().head.contains("X-Path: /after\r\n"), "{shown:?}");
        }
    }
}

/// Of the answers' heads only: a sentence may name HTTP too.
fn statuses_of(answers: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answers).replace("speaks HTTP/1.1", "");
    statuses(text.as_bytes())
}

fn check_all(cases: &[Case]) {
    let service = serve(limits());
    for (bytes, status, then) in cases {
        check(&service, bytes, *status, *then);
    }
    let closed = cases.iter().filter(|(_, _, then)| matches!(then, Closed)).count();
    // Each connection that went on carried two.
    assert_eq!(service.seen.count(), 2 * (cases.len() - closed), "{:?}", service.seen.handled);
}

#[test]
fn request_lines() {
    check_all(&[
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 200, Open),
        (b"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 200, Open),
        (b"get / HTTP/1.1\r\nHost: h\r\n\r\n", 200, Open), // a method of its own, for routes to judge
        (b"M-SEARCH!#$%&'*+.^_`|~ / HTTP/1.1\r\nHost: h\r\n\r\n", 200, Open),
        (b"\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"\r\rGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b" GET / HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET /  HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1 x\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET / \r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET /\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\nHost: h\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\rHost: h\r\n\r\n", 400, Closed),
        (b"G(T / HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"G\x00T / HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"G\xc3\x89T / HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b": / HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", 400, Closed),
    ]);
}

#[test]
fn versions() {
    check_all(&[
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, Open),
        (b"GET / HTTP/0.9\r\nHost: h\r\n\r\n", 505, Closed),
        (b"GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505, Closed),
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505, Closed),
        (b"GET / HTTP/3.0\r\nHost: h\r\n\r\n", 505, Closed),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, Closed), // HTTP/2 with prior knowledge
        (b"GET / HTTP/1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.10\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET / HTTP/11.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET / http/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET / HTTP /1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1,1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET / HTTP\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET / ICY/1.1\r\nHost: h\r\n\r\n", 400, Closed),
    ]);
}

#[test]
fn targets() {
    check_all(&[
        (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 200, Open),
        (b"GET http://h/a HTTP/1.1\r\nHost: other\r\n\r\n", 200, Open),
        (b"GET HTTP://h:80 HTTP/1.1\r\nHost: h\r\n\r\n", 200, Open),
        (b"GET //a/../b/./c HTTP/1.1\r\nHost: h\r\n\r\n", 200, Open), // a path as any other
        (b"GET /%00%0d%0a%zz% HTTP/1.1\r\nHost: h\r\n\r\n", 200, Open), // encoded: for routes to judge
        (b"GET /?a?b&c=d#e HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET /a\x00b HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET /a\x7fb HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET a HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET ?a HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET http:// HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET http://:80/a HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET http://u:p@h/a HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET http://h:x/a HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET http://h?a HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET https://h/a HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET ftp://h/a HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET file:///etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n", 400, Closed),
    ]);
}

#[test]
fn hosts() {
    check_all(&[
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 200, Open),
        (b"GET / HTTP/1.1\r\nhOST: \t[::1]:80 \r\n\r\n", 200, Open),
        (b"GET / HTTP/1.1\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: a%zz\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n", 400, Closed),
        (b"GET http://h/ HTTP/1.1\r\n\r\n", 400, Closed),
    ]);
}

#[test]
fn fields() {
    check_all(&[
        (b"GET / HTTP/1.1\r\nHost: h\r\nX:\r\nY: \t \r\nZ:a:b\r\n\r\n", 200, Open),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: \xff\x80\tlatin\r\n\r\n", 200, Open),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", 400, Closed), // obs-fold
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n\tb\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\n\tX: a\r\nHost: h\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: h\r\n: a\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX y: a\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX(y): a\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\"X\": a\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX\xc3\xa9: a\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX\x00: a\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x01b\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x0bb\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x7fb\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\nY: b\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\rY: b\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\r\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\nHost: h\n\n", 400, Closed),
        (b"GET / HTTP/1.1\r\nHost: h\n\r\n", 400, Closed),
        (b"GET / HTTP/1.1\rHost: h\r\r", 400, Closed),
    ]);
}

#[test]
fn lengths_and_codings() {
    check_all(&[
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 00002\r\n\r\nab", 200, Open),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab", 200, Open),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +2\r\n\r\nab", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -2\r\n\r\nab", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x2\r\n\r\nab", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2,2\r\n\r\nab", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2, 2\r\n\r\nab", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2.0\r\n\r\nab", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2e0\r\n\r\nab", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2 2\r\n\r\nab", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: \"2\"\r\n\r\nab", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: two\r\n\r\nab", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: \xd9\xa2\r\n\r\nab", 400, Closed), // an Arabic 2
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\nab", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551616\r\n\r\n", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551615\r\n\r\n", 413, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: CHUNKED\t\r\n\r\n0\r\n\r\n", 200, Open),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked;q=1\r\n\r\n", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: , chunked\r\n\r\n", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n\r\n", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: 'chunked'\r\n\r\n", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 400, Closed),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer_Encoding: chunked\r\n\r\n", 200, Open), // another field
    ]);
}

#[test]
fn chunks() {
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let cases: &[(&str, u16, Then)] = &[
        ("2\r\nab\r\n0\r\n\r\n", 200, Open),
        ("000000000000002\r\nab\r\n000\r\n\r\n", 200, Open),
        ("2;a=\"b;c\"\r\nab\r\n0;last\r\nX: y\r\n\r\n", 200, Open),
        ("0000000000000002\r\nab\r\n0\r\n\r\n", 400, Closed), // 16 digits
        ("ffffffffffffffff\r\nab", 400, Closed),
        ("10000000000000000\r\nab", 400, Closed),
        ("fffffff\r\nab", 413, Closed),
        ("600001\r\n", 413, Closed), // one byte more than a body may have
        ("\r\nab\r\n0\r\n\r\n", 400, Closed),
        ("x\r\nab\r\n0\r\n\r\n", 400, Closed),
        ("0x2\r\nab\r\n0\r\n\r\n", 400, Closed),
        ("-2\r\nab\r\n0\r\n\r\n", 400, Closed),
        ("+2\r\nab\r\n0\r\n\r\n", 400, Closed),
        (" 2\r\nab\r\n0\r\n\r\n", 400, Closed),
        ("2 \r\nab\r\n0\r\n\r\n", 400, Closed),
        ("2 2\r\nab\r\n0\r\n\r\n", 400, Closed),
        ("2\nab\r\n0\r\n\r\n", 400, Closed),
        ("2\rab\r\n0\r\n\r\n", 400, Closed),
        ("2\r\r\nab\r\n0\r\n\r\n", 400, Closed),
        ("2\r\nabc\r\n0\r\n\r\n", 400, Closed),
        ("2\r\nab0\r\n\r\n", 400, Closed),
        ("2\r\nab\n0\r\n\r\n", 400, Closed),
        ("2;a\nb\r\nab\r\n0\r\n\r\n", 400, Closed),
        ("2;a\0b\r\nab\r\n0\r\n\r\n", 400, Closed),
        ("0\r\nX: y\n\r\n", 400, Closed),
        ("0\r\nX: \0\r\n\r\n", 400, Closed),
        ("0\r\n\n", 400, Closed),
    ];
    let service = serve(limits());
    for (body, status, then) in cases {
        check(&service, format!("{head}{body}").as_bytes(), *status, *then);
    }
    let extension = format!("{head}2;{}\r\nab\r\n0\r\n\r\n", "x".repeat(17 << 10));
    check(&service, extension.as_bytes(), 431, Closed);
    let trailers = format!("{head}0\r\n{}\r\n", "A: b\r\n".repeat(5000));
    check(&service, trailers.as_bytes(), 431, Closed);
    assert_eq!(service.seen.count(), 6);
}

#[test]
fn bombs() {
    let service = serve(limits());
    let get = |fields: String| format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n").into_bytes();
    let line = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes();
    check(&service, &get("a:\r\n".repeat(99)), 200, Open); // with Host a hundred
    check(&service, &get("a:\r\n".repeat(100)), 431, Closed);
    check(&service, &get("a:\r\n".repeat(10_000)), 431, Closed);
    check(&service, &get("a:\r\n".repeat(100_000)), 431, Closed);
    check(&service, &get(format!("a: {}\r\n", "x".repeat(60_000))), 200, Open);
    check(&service, &get(format!("a: {}\r\n", "x".repeat(66_000))), 431, Closed);
    check(&service, &get(format!("{}: a\r\n", "x".repeat(66_000))), 431, Closed);
    check(&service, &get(format!("a: {}\r\n", "x".repeat(600)).repeat(99)), 200, Open);
    check(&service, &get(format!("a: {}\r\n", "x".repeat(700)).repeat(99)), 431, Closed);
    check(&service, &get(format!("Cookie: {}\r\n", "a=b; ".repeat(20_000))), 431, Closed);
    let longest = limits().max_uri_bytes;
    check(&service, &line(&format!("/{}", "a".repeat(longest - 1))), 200, Open);
    check(&service, &line(&format!("/{}", "a".repeat(longest))), 414, Closed);
    check(&service, &line(&format!("/?{}", "a=b&".repeat(10_000))), 414, Closed);
    check(&service, &line(&format!("/{}", "%61".repeat(100_000))), 414, Closed);
    check(&service, &line(&format!("http://{}/", "a".repeat(longest))), 414, Closed);
    let method = format!("{} / HTTP/1.1\r\nHost: h\r\n\r\n", "M".repeat(17 << 10));
    check(&service, method.as_bytes(), 414, Closed);
    assert_eq!(service.seen.count(), 2 * 4);
}

#[test]
fn expectations() {
    check_all(&[
        (b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-CONTINUE\r\nContent-Length: 2\r\n\r\nab", 200, Open),
        // RFC 9110 section 10.1.1: a server may go on with what it does not know.
        (b"POST / HTTP/1.1\r\nHost: h\r\nExpect: miracles\r\nContent-Length: 2\r\n\r\nab", 200, Open),
        (b"GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n", 200, Open), // nothing to wait for
        (b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n", 413, Closed),
        (b"POST /refuse HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", 403, Closed),
    ]);
}

#[test]
fn what_is_no_http() {
    check_all(&[
        // TLS: the beginning of a ClientHello.
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x0a\x0b\x0c", 400, Closed),
        (b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10", 400, Closed), // SSL 2
        (b"\x04\x01\x00\x50\x7f\x00\x00\x01user\x00", 400, Closed),     // SOCKS 4
        (b"\x05\x01\x00", 400, Closed),                                 // SOCKS 5
        (
            b"PROXY TCP4 10.0.0.1 10.0.0.2 40000 80\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
            400,
            Closed,
        ),
        (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01", 400, Closed), // PROXY, binary
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", 400, Closed),
        (b"EHLO example.org\r\n\r\n", 400, Closed),
        (b"*1\r\n$4\r\nPING\r\n\r\n", 400, Closed), // Redis
        (b"\x00\x00\x00\x0c{\"ping\":true}", 400, Closed),
        (b"{\"op\":\"echo\"}\r\n\r\n", 400, Closed),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 400, Closed), // an answer
        (b"\0\0\0\0\0\0\0\0", 400, Closed),
    ]);
}

/// Behind a whole request: it is answered, then the garbage is refused, and no request behind that
/// is seen.
#[test]
fn garbage_behind_a_request() {
    let service = serve(limits());
    let first = "POST /first HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab";
    let evil = "GET /evil HTTP/1.1\r\nHost: h\r\n\r\n";
    for garbage in ["\0", "x y\r\n\r\n", "\n", " ", "ab\r\n", "\r\n\r\n:\r\n\r\n", "{}\r\n\r\n"] {
        let answers = service.exchange(format!("{first}{garbage}{evil}").as_bytes());
        assert_eq!(statuses(&answers), [200, 400], "{garbage:?}");
    }
    assert!(service.seen.handled.lock().unwrap().iter().all(|line| line == "POST /first 2"));
}

/// One request to this reading, two to another: whichever of the two an intermediary has, what it
/// took for a body is never a request here, nor the other way round. Each is one answer and a close,
/// or exactly the answers of the one reading that RFC 9112 allows.
#[test]
fn pairs_of_readings() {
    let service = serve(limits());
    let evil = "GET /evil HTTP/1.1\r\nHost: h\r\n\r\n";
    let length = evil.len();
    let post =
        |fields: &str, body: &str| format!("POST /first HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}");
    let chunk = format!("{length:x}\r\n{evil}\r\n0\r\n\r\n");
    let ended = format!("0\r\n\r\n{evil}");
    let whole = ended.len();
    let chunked = "Transfer-Encoding: chunked\r\n";
    let pairs: Vec<(&str, String, &[u16])> = vec![
        ("CL.TE", post(&format!("Content-Length: {whole}\r\n{chunked}"), &ended), &[400]),
        ("TE.CL", post(&format!("{chunked}Content-Length: 4\r\n"), &chunk), &[400]),
        ("TE.TE, one unknown", post(&format!("{chunked}Transfer-Encoding: x\r\n"), &ended), &[400]),
        ("TE.TE, one obscure", post("Transfer-Encoding: xchunked\r\n", &ended), &[400]),
        ("TE.TE, by a tab", post("Transfer-Encoding:\tchunked\r\n", &chunk), &[200]),
        ("TE.TE, by white space before", post("Transfer-Encoding : chunked\r\n", &ended), &[400]),
        ("TE.TE, by a fold", post("Transfer-Encoding:\r\n chunked\r\n", &ended), &[400]),
        ("TE.TE, by a vertical tab", post("Transfer-Encoding: \x0bchunked\r\n", &ended), &[400]),
        ("TE.TE, by a list", post("Transfer-Encoding: chunked, cow\r\n", &ended), &[400]),
        (
            "TE.0, HTTP/1.0",
            post(chunked, &ended).replace("HTTP/1.1\r\nHost: h\r\nT", "HTTP/1.0\r\nT"),
            &[400],
        ),
        (
            "CL.CL",
            post(&format!("Content-Length: 0\r\nContent-Length: {length}\r\n"), evil),
            &[400],
        ),
        ("CL.CL, a list", post(&format!("Content-Length: 0, {length}\r\n"), evil), &[400]),
        ("CL.CL, octal or not", post("Content-Length: 010\r\n", "0123456789"), &[200]),
        ("CL.0", post(&format!("Content-Length: {length}\r\n"), evil), &[200]),
        (
            "CL.0 of a GET",
            post(&format!("Content-Length: {length}\r\n"), evil).replace("POST", "GET"),
            &[200],
        ),
        (
            "CL.0 of a HEAD",
            post(&format!("Content-Length: {length}\r\n"), evil).replace("POST", "HEAD"),
            &[200],
        ),
        ("0.CL", post(&format!("Content-Length\0: {length}\r\n"), evil), &[400]),
        ("0.CL, a hidden name", post(&format!(" Content-Length: {length}\r\n"), evil), &[400]),
        ("0.CL, by a bare CR", post(&format!("X: y\rContent-Length: {length}\r\n"), evil), &[400]),
        ("0.CL, by a bare LF", post(&format!("X: y\nContent-Length: {length}\r\n"), evil), &[400]),
        ("chunk extension, bare LF", post(chunked, &format!("0;a\n\r\n\r\n{evil}")), &[400]),
        ("chunk extension, bare CR", post(chunked, &format!("0;a\rb\r\n\r\n{evil}")), &[400]),
        ("chunk size, bare LF", post(chunked, &format!("0\n\r\n{evil}")), &[400]),
        ("chunk end, two other bytes", post(chunked, &format!("2\r\nabXX0\r\n\r\n{evil}")), &[400]),
        ("chunk size, overflow to 0", post(chunked, &format!("100000000\0\r\n\r\n{evil}")), &[400]),
        ("chunk size, 2^64", post(chunked, &format!("10000000000000000\r\n\r\n{evil}")), &[400]),
        ("chunk holds a request", post(chunked, &chunk), &[200]),
        ("trailer, bare LF", post(chunked, &format!("0\r\nX: y\n\n{evil}")), &[400]),
        (
            "trailer names a length",
            post(chunked, &format!("0\r\nContent-Length: {length}\r\n\r\n")),
            &[200],
        ),
        (
            "trailer names a coding",
            post(chunked, "0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            &[200],
        ),
        ("a head ends early", post("X: y\r\n\n", evil), &[400]),
        ("upgrade", post("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n", ""), &[200]),
    ];
    for (name, bytes, expected) in &pairs {
        let mut client = service.client();
        client.send(bytes.as_bytes());
        client.finish();
        let answers = client.rest();
        assert_eq!(&statuses(&answers), expected, "{name}");
    }
    let handled = service.seen.handled.lock().unwrap();
    assert!(!handled.iter().any(|line| line.contains("/evil")), "{handled:?}");
}
