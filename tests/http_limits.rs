//! What bounds a client: sizes, counts and deadlines, each with its status or close, and memory
//! that is given back. Deadlines are looked at once a second, so a short one costs about that.

#![allow(clippy::unwrap_used, clippy::panic)]

mod http_support;

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use http_support::{MAX_BODY, limits, serve, statuses, until};
use lambda_runtime_api_server::http::{Limits, Response};

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn a_promised_length_costs_nothing_and_is_refused_before_the_body() {
    let service = serve(limits());
    let answer = service
        .exchange(b"POST /e HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000000000\r\n\r\nabc");
    assert_eq!(statuses(&answer), [413]);
    let just = format!("POST /e HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", MAX_BODY + 1);
    assert_eq!(statuses(&service.exchange(just.as_bytes())), [413]);
    assert_eq!(service.seen.count(), 0);
    assert_eq!(service.seen.pending_ever.load(SeqCst), 0);
}

#[test]
fn heads_are_bounded_in_bytes_fields_and_target() {
    let service = serve(limits());
    let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "a: b\r\n".repeat(100));
    assert_eq!(statuses(&service.exchange(many.as_bytes())), [431]);
    let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(17 << 10));
    assert_eq!(statuses(&service.exchange(long.as_bytes())), [414]);
    let whole = format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "a".repeat(65 << 10));
    assert_eq!(statuses(&service.exchange(whole.as_bytes())), [431]);
    assert_eq!(service.seen.count(), 0);
}

#[test]
fn a_body_cut_short_reaches_no_handler() {
    let service = serve(limits());
    for framing in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n5\r\nabc"] {
        let mut client = service.client();
        client.send(format!("POST /cut HTTP/1.1\r\nHost: h\r\n{framing}").as_bytes());
        until("the body is pending", || service.seen.pending.load(SeqCst) == 1);
        client.finish();
        assert_eq!(client.rest(), b"");
        until("the token is dropped", || service.seen.pending.load(SeqCst) == 0);
    }
    assert_eq!(service.seen.pending_ever.load(SeqCst), 2);
    assert_eq!(service.seen.count(), 0);
    until("all bytes are given back", || service.counters.buffered_bytes.load(SeqCst) == 0);
}

#[test]
fn what_comes_too_slowly_is_answered_408() {
    let service = serve(Limits { head_timeout: SHORT, body_timeout: SHORT, ..limits() });
    let parts: [&[u8]; 3] = [
        b"GET / HTTP/1.1\r\nHo",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ];
    for part in parts {
        let mut client = service.client();
        client.send(part);
        let answer = client.answer();
        assert_eq!(answer.status, 408);
        assert!(answer.closes());
        assert_eq!(client.rest(), b"");
    }
    until("the tokens are dropped", || service.seen.pending.load(SeqCst) == 0);
    assert_eq!(service.seen.count(), 0);
}

#[test]
fn the_silent_and_the_idle_are_closed_and_the_parked_are_not() {
    let service = serve(Limits { head_timeout: SHORT, keep_alive_timeout: SHORT, ..limits() });
    let mut parked = service.client();
    parked.get("/park");
    assert_eq!(service.client().rest(), b"", "silent");
    let mut idle = service.client();
    idle.get("/a");
    assert_eq!(idle.answer().status, 200);
    assert_eq!(idle.rest(), b"");
    let (_, responder) = service.seen.take_parked();
    assert!(responder.send(Response::new(202)));
    assert_eq!(parked.answer().status, 202);
}

#[test]
fn a_client_that_never_reads_is_closed_and_its_memory_given_back() {
    let service = serve(Limits { write_timeout: SHORT, ..limits() });
    let body = vec![b'b'; MAX_BODY];
    let mut client = service.client();
    client.send(
        format!("POST /e HTTP/1.1\r\nHost: h\r\nContent-Length: {MAX_BODY}\r\n\r\n").as_bytes(),
    );
    client.send(&body);
    until("the answer waits", || service.seen.count() == 1);
    until("the connection is closed", || service.counters.connections_open.load(SeqCst) == 0);
    until("the body is freed", || service.counters.buffered_bytes.load(SeqCst) == 0);
    assert!(client.rest().len() < MAX_BODY);
}

/// Answers wait in memory one at a time: a client that pipelines without reading gets no more.
#[test]
fn pipelining_without_reading_makes_one_answer_wait() {
    let service = serve(limits());
    let mut client = service.client();
    let request = format!("GET /large?{MAX_BODY} HTTP/1.1\r\nHost: h\r\n\r\n");
    client.send(request.repeat(50).as_bytes());
    until("the first is answered", || service.seen.count() >= 1);
    std::thread::sleep(Duration::from_millis(300));
    // The socket's buffers take some of it: at most two answers of 6 MB.
    assert!(service.seen.count() <= 3, "{} answers wait", service.seen.count());
    for _ in 0..50 {
        assert_eq!(client.answer().body.len(), MAX_BODY);
    }
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let service = serve(limits());
    let length = 7 << 20;
    for framing in [
        format!("Content-Length: {length}\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n"),
    ] {
        let mut client = service.client();
        client.send(format!("POST /e HTTP/1.1\r\nHost: h\r\n{framing}").as_bytes());
        for _ in 0..7 {
            client.send(&vec![b'x'; 1 << 20]);
        }
        let answer = client.answer();
        assert_eq!(answer.status, 413);
        assert!(answer.closes());
    }
}

#[test]
fn connections_over_a_limit_get_a_well_formed_503() {
    let total = Limits { max_connections: 2, ..limits() };
    let one_address = Limits { max_connections_per_address: 2, ..limits() };
    for limits in [total, one_address] {
        let service = serve(limits);
        let mut held = [service.client(), service.client()];
        for client in &mut held {
            client.get("/a");
            assert_eq!(client.answer().status, 200);
        }
        let mut third = service.client();
        let answer = third.answer(); // reads as many bytes as the head promises
        assert_eq!(answer.status, 503);
        assert!(answer.closes());
        assert!(answer.head.contains("Retry-After: "));
        assert!(answer.body.starts_with(b"{\"message\":\"") && answer.body.ends_with(b"\"}"));
        assert_eq!(third.rest(), b"");
        assert_eq!(service.counters.connections_refused.load(SeqCst), 1);
        drop(held);
        until("the places are free", || service.counters.connections_open.load(SeqCst) == 0);
        let mut next = service.client();
        next.get("/a");
        assert_eq!(next.answer().status, 200);
    }
}

#[test]
fn bodies_over_the_budget_get_503_and_the_budget_is_given_back() {
    let service = serve(Limits { max_buffered_bytes: 1 << 20, ..limits() });
    let body = vec![b'x'; 2 << 20];
    for framing in
        ["Content-Length: 2097152\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n200000\r\n"]
    {
        let mut client = service.client();
        client.send(format!("POST /e HTTP/1.1\r\nHost: h\r\n{framing}").as_bytes());
        client.send(&body);
        let answer = client.answer();
        assert_eq!(answer.status, 503);
        assert!(answer.head.contains("Retry-After: ") && answer.closes());
    }
    until("the budget is whole", || service.counters.buffered_bytes.load(SeqCst) == 0);
    let mut client = service.client();
    client.send(b"POST /e HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.answer().body, b"abc");
}

#[test]
fn unfinished_heads_count_against_the_budget() {
    let service = serve(Limits { max_buffered_bytes: 1 << 20, ..limits() });
    let part = format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}", "a".repeat(60_000));
    let mut clients: Vec<_> = (0..17).map(|_| service.client()).collect();
    for client in &mut clients {
        client.send(part.as_bytes());
    }
    let held = &service.counters.buffered_bytes;
    until("they are read", || held.load(SeqCst) > 17 * 60_000);
    let mut last = service.client();
    last.send(part.as_bytes());
    assert_eq!(last.answer().status, 503);
    for client in &mut clients {
        client.send(b"\r\n\r\n");
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(held.load(SeqCst), 0);
    clients[0].send(part.as_bytes());
    until("it is read", || held.load(SeqCst) > 60_000);
    drop(clients);
    until("all is given back", || held.load(SeqCst) == 0);
}
