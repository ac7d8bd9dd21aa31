//! Where requests begin and end: keep-alive, pipelining, bodies, and what must never be read as a
//! second request. The sockets are raw, so each test sends exactly the bytes that it names.

#![allow(clippy::unwrap_used, clippy::panic)]

mod http_support;

use std::time::Duration;

use http_support::{MAX_BODY, limits, serve, statuses, until};
use lambda_runtime_api_server::http::Response;

#[test]
fn a_connection_carries_requests_in_order() {
    let service = serve(limits());
    let mut client = service.client();
    for round in 0..3 {
        client.get(&format!("/{round}"));
        let answer = client.answer();
        assert_eq!(answer.status, 200);
        assert!(answer.head.contains(&format!("\r\nX-Path: /{round}\r\n")));
        assert!(!answer.closes());
    }
    let many: String = (0..50)
        .map(|n| format!("POST /{n} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab"))
        .collect();
    client.send(many.as_bytes());
    for n in 0..50 {
        let answer = client.answer();
        assert!(answer.head.contains(&format!("\r\nX-Path: /{n}\r\n")), "{}", answer.head);
        assert_eq!(answer.body, b"ab");
    }
}

#[test]
fn pipelined_requests_wait_for_the_parked_one() {
    let service = serve(limits());
    let mut client = service.client();
    client.send(b"GET /park HTTP/1.1\r\nHost: h\r\n\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n");
    client.get("/b");
    let (_, responder) = service.seen.take_parked();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(service.seen.count(), 1, "a second request before the first one's answer");
    assert!(responder.send(Response::new(202)));
    assert_eq!(client.answer().status, 202);
    assert!(client.answer().head.contains("X-Path: /a"));
    assert!(client.answer().head.contains("X-Path: /b"));
}

/// More pipelined input than may wait: reading stops, the client blocks, and all of it is served
/// once the parked request is answered.
#[test]
fn much_pipelined_input_is_left_in_the_socket_and_served_later() {
    let service = serve(limits());
    let mut client = service.client();
    client.get("/park");
    let (_, responder) = service.seen.take_parked();
    let one = format!("GET /n HTTP/1.1\r\nHost: h\r\nX-Pad: {}\r\n\r\n", "p".repeat(900));
    let count = 20_000; // 19 MB: more than any socket buffer
    let mut sender = client.socket.try_clone().unwrap();
    let thread = std::thread::spawn(move || {
        for _ in 0..count {
            std::io::Write::write_all(&mut sender, one.as_bytes()).unwrap();
        }
    });
    std::thread::sleep(Duration::from_millis(200));
    assert!(!thread.is_finished(), "all of the input was read while a request was in flight");
    assert!(responder.send(Response::new(202)));
    assert_eq!(client.answer().status, 202);
    for _ in 0..count {
        assert_eq!(client.answer().status, 200);
    }
    thread.join().unwrap();
    assert_eq!(service.seen.count(), count + 1);
}

/// `printf ... | nc -N`: the requests were all sent, and all of them are answered.
#[test]
fn pipelined_requests_before_a_half_close_are_all_answered() {
    let service = serve(limits());
    let mut client = service.client();
    client.get("/park");
    client.get("/a");
    client.get("/park");
    client.get("/b");
    client.finish();
    let (_, responder) = service.seen.take_parked();
    std::thread::sleep(Duration::from_millis(50));
    assert!(responder.send(Response::new(202)));
    let (_, responder) = service.seen.take_parked();
    assert!(responder.send(Response::new(202)));
    assert_eq!(statuses(&client.rest()), [202, 200, 202, 200]);
}

#[test]
fn much_pipelined_input_before_a_half_close_is_all_answered() {
    let service = serve(limits());
    let mut client = service.client();
    let one = format!("GET /n HTTP/1.1\r\nHost: h\r\nX-Pad: {}\r\n\r\n", "p".repeat(900));
    client.get("/park");
    let (_, responder) = service.seen.take_parked();
    client.send(one.repeat(150).as_bytes());
    client.finish();
    std::thread::sleep(Duration::from_millis(50));
    assert!(responder.send(Response::new(202)));
    assert_eq!(statuses(&client.rest()).len(), 151);
}

#[test]
fn expect_continue_is_answered_before_the_body_only_when_admitted() {
    let service = serve(limits());
    let mut client = service.client();
    client
        .send(b"POST /e HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    let interim = client.answer();
    assert_eq!((interim.status, interim.head.as_str()), (100, "HTTP/1.1 100 Continue\r\n\r\n"));
    client.send(b"abc");
    assert_eq!(client.answer().body, b"abc");
    client.send(
        b"POST /e HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    );
    assert_eq!(client.answer().status, 200, "a body that is here needs no invitation");

    for (path, length, status) in [("/refuse", 3, 403), ("/e", 100_000_000_000_000u64, 413)] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        );
        let answer = service.exchange(request.as_bytes());
        assert_eq!(statuses(&answer), [status]);
    }
    assert_eq!(service.seen.count(), 2);
}

#[test]
fn head_and_204_have_no_body() {
    let service = serve(limits());
    let mut client = service.client();
    client.send(b"HEAD /large?1000 HTTP/1.1\r\nHost: h\r\n\r\n");
    let answer = client.answer_of(true);
    assert!(answer.head.contains("Content-Length: 1000\r\n"));
    client.get("/none");
    let answer = client.answer_of(true);
    assert_eq!(answer.status, 204);
    assert!(!answer.head.contains("Content-Length"));
    // Answers that no handler's responder gives: a body would be read as the next answer.
    client.send(b"HEAD /refuse HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.answer_of(true).status, 403);
    client.get("/after");
    assert!(client.answer().head.contains("X-Path: /after"));
    client.send(b"HEAD / HTTP/1.1\r\n\r\n");
    assert!(client.rest().ends_with(b"\r\n\r\n"), "an error of a HEAD has no body");
}

#[test]
fn http_1_0_closes_unless_it_asks_and_is_told_so() {
    let service = serve(limits());
    let answer = service.exchange(b"GET /a HTTP/1.0\r\n\r\n");
    assert_eq!(statuses(&answer), [200]);
    let mut client = service.client();
    client.send(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(client.answer().head.contains("\r\nConnection: keep-alive\r\n"));
    client.send(b"GET /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /c HTTP/1.1\r\n");
    assert!(client.answer().closes());
    assert_eq!(client.rest(), b"");
    assert_eq!(service.seen.count(), 3);
}

#[test]
fn an_absolute_target_and_leading_empty_lines_are_understood() {
    let service = serve(limits());
    let mut client = service.client();
    client.send(b"\r\n\r\nGET http://other:80/a/b?c HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(client.answer().head.contains("X-Path: /a/b\r\n"));
}

#[test]
fn a_chunked_body_is_whole_wherever_it_is_cut() {
    let service = serve(limits());
    let request = b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nabc\r\n0a;x=\"y\"\r\n0123456789\r\n0\r\nA: b\r\n\r\nGET /next HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut client = service.client();
    for cut in 1..request.len() {
        client.send(&request[..cut]);
        std::thread::sleep(Duration::from_micros(300)); // two segments, as far as a test can say
        client.send(&request[cut..]);
        assert_eq!(client.answer().body, b"abc0123456789", "cut at {cut}");
        assert!(client.answer().head.contains("X-Path: /next"), "cut at {cut}");
    }
}

#[test]
fn bodies_arrive_whole_one_byte_at_a_time_and_in_large_pieces() {
    let service = serve(limits());
    let mut client = service.client();
    for &byte in b"POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" {
        client.send(&[byte]);
    }
    assert_eq!(client.answer().body, b"hello");
    let body: Vec<u8> = (0..=250).cycle().take(MAX_BODY).collect();
    client.send(
        format!("POST /l HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(),
    );
    client.send(&body);
    client.get("/next");
    assert!(client.answer().body == body, "the body is not what was sent");
    assert!(client.answer().head.contains("X-Path: /next"));
    until("the tokens of pending bodies are dropped", || {
        service.seen.pending.load(std::sync::atomic::Ordering::SeqCst) == 0
    });
}

/// Each pair of readings that another parser could take for two requests gets one refusal, a
/// close, and no handler.
#[test]
fn nothing_is_smuggled() {
    let service = serve(limits());
    let evil = "GET /evil HTTP/1.1\r\nHost: h\r\n\r\n";
    let cases: &[(&str, u16)] = &[
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        ("Content-Length: 0\r\nContent-Length: 31\r\n\r\n", 400),
        ("Content-Length: 0\r\nContent-Length: 0\r\n\r\n", 400),
        ("Content-Length: 0, 31\r\n\r\n", 400),
        ("Content-Length: +0\r\n\r\n", 400),
        ("Content-Length: 0x0\r\n\r\n", 400),
        ("Content-Length : 0\r\n\r\n", 400),
        ("Content-Length:\r\n 0\r\n\r\n", 400),
        ("X: a\r\n Content-Length: 31\r\n\r\n", 400),
        ("X: a\r\n\tTransfer-Encoding: chunked\r\n\r\n", 400),
        ("X: a\nContent-Length: 31\r\n\r\n", 400),
        ("X: a\rContent-Length: 31\r\n\r\n", 400),
        ("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400),
        ("\0Content-Length: 31\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n-0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n 0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n0 1\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n0\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n0;a\nb\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n1\r\naX0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\r\n", 400),
    ];
    for (rest, status) in cases {
        let request = format!("POST /first HTTP/1.1\r\nHost: h\r\n{rest}{evil}");
        let answer = service.exchange(request.as_bytes());
        assert_eq!(statuses(&answer), [*status], "{rest:?}");
        assert!(String::from_utf8_lossy(&answer).contains("Connection: close"), "{rest:?}");
    }
    let old = format!("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{evil}");
    assert_eq!(statuses(&service.exchange(old.as_bytes())), [400]);
    assert_eq!(service.seen.count(), 0, "{:?}", service.seen.handled.lock().unwrap());
}

/// A body that a refusal leaves unread is never read as a request.
#[test]
fn the_body_of_a_refused_request_is_thrown_away() {
    let service = serve(limits());
    let evil = "GET /evil HTTP/1.1\r\nHost: h\r\n\r\n";
    let length = evil.len();
    let refused =
        format!("POST /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{evil}");
    assert_eq!(statuses(&service.exchange(refused.as_bytes())), [403]);
    let large = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n{evil}"
    );
    assert_eq!(statuses(&service.exchange(large.as_bytes())), [413]);
    let mut client = service.client();
    client.get("/refuse"); // without a body the connection goes on
    assert!(!client.answer().closes());
    client.get("/after");
    assert_eq!(client.answer().status, 200);
    assert_eq!(service.seen.count(), 1);
}
