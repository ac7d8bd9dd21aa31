//! The life of connections: who answers and from where, who leaves and when that is told, and what
//! many of them cost. One process-wide lock keeps the tests apart that count threads or descriptors.

#![allow(clippy::unwrap_used, clippy::panic)]

mod http_support;

use std::io::{Read, Write};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http_support::{MAX_BODY, PATIENCE, limits, serve, statuses, until};
use lambda_runtime_api_server::http::Response;
use lambda_runtime_api_server::http::blocking::Pool;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// All tests of this file count something of the whole process, or would disturb one that does.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Threads of servers; the test harness's own come and go.
fn threads() -> usize {
    let names = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = names.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("http-") || name.starts_with("listener")).count()
}

/// Clock ticks (10 ms) of CPU that this process has used.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Resident kilobytes of this process.
fn resident_kb() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// It is answered at the limit; the rest is thrown away, up to the server's patience.
#[test]
fn an_endless_head_is_refused_and_not_kept() {
    let _alone = alone();
    let service = serve(limits());
    for (start, status) in [("GET / HTTP/1.1\r\nHost: h\r\nA: ", 431), ("GET /", 414)] {
        let mut client = service.client();
        let before = resident_kb();
        client.send(start.as_bytes());
        for _ in 0..400 {
            client.send(&[b'a'; 64 << 10]);
        }
        assert!(resident_kb() < before + (10 << 10), "25 MB of a head are kept");
        assert_eq!(client.answer().status, status);
        assert_eq!(client.rest(), b"");
    }
    assert_eq!(service.seen.count(), 0);
}

#[test]
fn a_large_answer_from_another_thread_reaches_a_slow_reader() {
    let _alone = alone();
    let service = serve(limits());
    let mut client = service.client();
    client.get("/park");
    let (_, responder) = service.seen.take_parked();
    let body: Vec<u8> = (0..=250).cycle().take(MAX_BODY).collect();
    let sent = body.clone();
    std::thread::spawn(move || responder.send(Response::new(200).body(sent))).join().unwrap();
    let mut got = Vec::new();
    let mut buffer = [0; 200_000];
    let start = Instant::now();
    while !got.ends_with(&body[MAX_BODY - 251..]) || got.len() < MAX_BODY {
        assert!(start.elapsed() < PATIENCE);
        let n = client.socket.read(&mut buffer).unwrap();
        got.extend_from_slice(&buffer[..n]);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(got.ends_with(&body), "the answer is not what was sent");
    client.get("/after");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_worker_that_hangs_has_no_pulse() {
    let _alone = alone();
    let service = serve(limits());
    let pulse = service.server.pulse();
    until("idle workers answer", || pulse.silent().is_empty());
    let gate = service.seen.gate.lock().unwrap();
    let mut client = service.client();
    client.get("/hang");
    until("it has come", || service.seen.count() == 1);
    let hangs = || pulse.silent().len() == 1;
    until("the other worker answers", hangs);
    // The other one may be asked again before it has woken; the one that hangs never has.
    assert!((0..10).all(|_| !pulse.silent().is_empty()), "a worker that hangs answers");
    drop(gate);
    assert_eq!(client.answer().status, 200);
    until("both answer", || pulse.silent().is_empty());
}

#[test]
fn a_panic_is_answered_500_and_the_worker_goes_on() {
    let _alone = alone();
    let service = serve(limits());
    for path in ["/panic", "/admit-panic", "/drop"] {
        for _ in 0..4 {
            let request = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na");
            let mut client = service.client();
            client.send(request.as_bytes());
            let answer = client.answer();
            assert_eq!(answer.status, 500, "{path}");
            assert!(answer.closes());
            assert_eq!(client.rest(), b"");
        }
    }
    until("all panics are counted", || service.counters.panics.load(SeqCst) == 8);
    for _ in 0..4 {
        let mut client = service.client();
        client.get("/after");
        assert_eq!(client.answer().status, 200);
    }
    until("a listener and two workers, no more", || threads() == 3);
}

#[test]
fn a_panic_in_the_blocking_pool_is_answered_500_and_the_pool_goes_on() {
    let _alone = alone();
    let service = serve(limits());
    let pool = Pool::start("blocking", 1, 4, &service.counters).unwrap();
    for round in 1..=3 {
        let mut client = service.client();
        client.get("/park");
        let (_, responder) = service.seen.take_parked();
        let job = Box::new(move || {
            let _responder = responder;
            panic!("expected by this test");
        });
        assert!(pool.offer(job).is_ok());
        assert_eq!(client.answer().status, 500);
        until("it is counted", || service.counters.panics.load(SeqCst) == round);
    }
    let mut client = service.client();
    client.get("/park");
    let (_, responder) = service.seen.take_parked();
    let job = Box::new(move || assert!(responder.send(Response::new(200))));
    assert!(pool.offer(job).is_ok());
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_half_closed_client_gets_its_answer() {
    let _alone = alone();
    let service = serve(limits());
    let mut client = service.client();
    client.get("/park");
    client.finish();
    let (_, responder) = service.seen.take_parked();
    std::thread::sleep(Duration::from_millis(50));
    assert!(responder.send(Response::new(200).body(vec![b'x'; MAX_BODY])));
    assert_eq!(client.answer().body.len(), MAX_BODY);
    assert_eq!(client.rest(), b"");
    until("it is closed", || service.counters.connections_open.load(SeqCst) == 0);
}

/// A runtime that died: told once, whether its kernel said FIN or RST, and also when it left more
/// input behind than is read ahead.
#[test]
fn a_parked_client_that_leaves_is_told_of_once() {
    let _alone = alone();
    let service = serve(limits());
    for round in 0..9 {
        let mut client = service.client();
        client.get("/watch");
        until("it is parked", || service.seen.parked_count() == 1);
        let number = round as u64;
        match round % 3 {
            0 => drop(client),
            1 => client.reset(),
            _ => {
                client.send(&[b'x'; 120_000]);
                client.finish();
            }
        }
        until("the handler is told", || service.seen.gone.lock().unwrap().contains(&number));
        until("it is closed", || service.counters.connections_open.load(SeqCst) == 0);
    }
    let gone = service.seen.gone.lock().unwrap();
    assert_eq!(*gone, (0..9).collect::<Vec<u64>>());
}

#[test]
fn nobody_is_told_of_a_client_that_leaves_after_its_answer() {
    let _alone = alone();
    let service = serve(limits());
    for round in 0..10 {
        let mut client = service.client();
        client.get("/watch");
        let (_, responder) = service.seen.take_parked();
        assert!(responder.send(Response::new(200)));
        assert_eq!(client.answer().status, 200);
        if round % 2 == 0 { drop(client) } else { client.reset() }
    }
    until("all are closed", || service.counters.connections_open.load(SeqCst) == 0);
    assert!(service.seen.gone.lock().unwrap().is_empty());
}

/// A process that ends with something unread resets its connections.
#[test]
fn an_answer_that_was_not_read_to_its_end_is_told_of() {
    let _alone = alone();
    let service = serve(limits());
    // It reads nothing; a part; all of it.
    for (round, read) in [Some(0), Some(100_000), None].into_iter().enumerate() {
        let mut client = service.client();
        client.get("/watch");
        let (_, responder) = service.seen.take_parked();
        assert!(responder.send(Response::new(200).body(vec![b'x'; MAX_BODY])));
        match read {
            Some(0) => until("it has come", || client.socket.peek(&mut [0]).is_ok_and(|n| n == 1)),
            Some(part) => client.socket.read_exact(&mut vec![0; part]).unwrap(),
            None => assert_eq!(client.answer().body.len(), MAX_BODY),
        }
        drop(client);
        until("it is closed", || service.counters.connections_open.load(SeqCst) == 0);
        let told: Vec<u64> = (0..=round as u64).take(2).collect();
        assert_eq!(*service.seen.unread.lock().unwrap(), told);
    }
    // After another request it is known that the answer was read, whatever comes of that one.
    let mut client = service.client();
    client.get("/watch");
    service.seen.take_parked().1.send(Response::new(200));
    assert_eq!(client.answer().status, 200);
    client.get("/large?100000");
    until("it has come", || client.socket.peek(&mut [0]).is_ok_and(|n| n == 1));
    drop(client);
    until("it is closed", || service.counters.connections_open.load(SeqCst) == 0);
    assert_eq!(service.seen.unread.lock().unwrap().len(), 2);
    assert!(service.seen.gone.lock().unwrap().is_empty());
}

/// The descriptor of a client that has gone is not held by the responder that somebody keeps.
#[test]
fn an_answer_to_a_client_that_has_gone_says_so_and_holds_no_descriptor() {
    let _alone = alone();
    let service = serve(limits());
    let before = descriptors();
    let mut kept = Vec::new();
    for _ in 0..50 {
        let mut client = service.client();
        client.get("/park");
        kept.push(service.seen.take_parked().1);
        client.reset();
    }
    until("all are closed", || service.counters.connections_open.load(SeqCst) == 0);
    assert_eq!(descriptors(), before);
    for responder in kept {
        assert!(!responder.watch(1000));
        assert!(!responder.send(Response::new(200)));
    }
}

#[test]
fn hanging_up_closes_without_an_answer() {
    let _alone = alone();
    let service = serve(limits());
    let mut client = service.client();
    client.get("/watch");
    service.seen.take_parked().1.hang_up();
    assert_eq!(client.rest(), b"");
    until("it is closed", || service.counters.connections_open.load(SeqCst) == 0);
    assert!(service.seen.gone.lock().unwrap().is_empty(), "the service itself hung up");
}

#[test]
fn stopping_writes_what_was_answered_and_closes_the_rest() {
    let _alone = alone();
    let before = descriptors();
    let service = serve(limits());
    let mut reading = service.client();
    let mut parked = service.client();
    let mut silent = service.client();
    parked.get("/watch");
    reading.get(&format!("/large?{MAX_BODY}"));
    let (_, kept) = service.seen.take_parked();
    until("the large one is answered", || service.seen.count() == 2);
    let reader = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        reading.answer().body.len()
    });
    service.server.stop();
    assert_eq!(reader.join().unwrap(), MAX_BODY);
    assert_eq!(parked.rest(), b"", "parked, although its responder is still held");
    assert_eq!(silent.rest(), b"");
    assert!(!kept.send(Response::new(200)));
    until("no thread is left", || threads() == 0);
    drop((parked, silent, service));
    assert_eq!(descriptors(), before);
}

#[test]
fn silent_and_half_heads_cost_no_thread_and_delay_nobody() {
    let _alone = alone();
    let service = serve(limits());
    let mut many = Vec::new();
    let mut client = service.client();
    for n in 0..2200 {
        let mut other = service.client();
        if n % 11 == 0 {
            other.send(b"GET / HTTP/1.1\r\nHo");
        }
        many.push(other);
        if n % 100 == 0 {
            client.get("/a");
            assert_eq!(client.answer().status, 200);
        }
    }
    until("all are open", || service.counters.connections_open.load(SeqCst) == 2201);
    for _ in 0..100 {
        client.get("/a");
        assert_eq!(client.answer().status, 200);
    }
    until("a listener and two workers, no more", || threads() == 3);
}

/// With no descriptor left the open connections go on, and the next one is accepted later.
#[test]
fn running_out_of_descriptors_is_survived() {
    let _alone = alone();
    let service = serve(limits());
    let mut open = service.client();
    open.get("/a");
    assert_eq!(open.answer().status, 200);
    let old = getrlimit(Resource::Nofile);
    let few = Rlimit { current: Some(descriptors() as u64 + 20), ..old };
    setrlimit(Resource::Nofile, few).unwrap();
    let mut filled = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        filled.push(file);
    }
    filled.pop(); // for the client's own side
    let mut late = service.client();
    let errors = &service.counters.accept_errors;
    let start = Instant::now();
    while errors.load(SeqCst) < 2 && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
    }
    open.get("/a");
    let meanwhile = open.answer().status;
    filled.clear();
    setrlimit(Resource::Nofile, old).unwrap();
    assert!((2..200).contains(&errors.load(SeqCst)), "{errors:?} failed accepts");
    assert_eq!(meanwhile, 200);
    late.get("/b");
    assert_eq!(late.answer().status, 200);
}

/// The poller is level-triggered: whatever is ready and not acted on would spin.
#[test]
fn what_waits_costs_no_cpu() {
    let _alone = alone();
    let service = serve(limits());
    let mut half_closed = service.client();
    half_closed.get("/park");
    half_closed.finish();
    let mut paused = service.client();
    paused.get("/park");
    paused.send(&"GET /a HTTP/1.1\r\nHost: h\r\n\r\n".repeat(4200).into_bytes());
    let mut paused_and_half_closed = service.client();
    paused_and_half_closed.get("/park");
    paused_and_half_closed.send(&"GET /a HTTP/1.1\r\nHost: h\r\n\r\n".repeat(4200).into_bytes());
    paused_and_half_closed.finish();
    let mut unread = service.client();
    unread.get(&format!("/large?{MAX_BODY}"));
    let mut lingering = service.client();
    lingering.send(b"bad\r\n\r\n");
    until("all are there", || service.seen.count() == 4);
    std::thread::sleep(Duration::from_millis(300));
    let before = cpu_ticks();
    std::thread::sleep(Duration::from_millis(1500));
    let used = cpu_ticks() - before;
    assert!(used < 30, "{used} ticks of 10 ms in 1.5 s of waiting");
    for _ in 0..3 {
        assert!(service.seen.take_parked().1.send(Response::new(202)));
    }
    assert_eq!(statuses(&half_closed.rest()), [202]);
    assert_eq!(statuses(&paused_and_half_closed.rest()).len(), 4201);
    for _ in 0..4201 {
        paused.answer();
    }
    assert_eq!(unread.answer().body.len(), MAX_BODY);
}

/// Answers that race with the client's next requests: each gets its own, in order, none is lost.
#[test]
fn answers_from_another_thread_race_with_pipelined_requests() {
    let _alone = alone();
    let service = serve(limits());
    let rounds = 3000;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..rounds {
                let response = Response::new(200).header("X-Round", &n.to_string());
                assert!(service.seen.take_parked().1.send(response));
            }
        });
        let mut client = service.client();
        let mut sender = client.socket.try_clone().unwrap();
        scope.spawn(move || {
            for n in 0..rounds {
                sender.write_all(b"GET /park HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
                if n % 7 == 0 {
                    std::thread::yield_now();
                }
            }
        });
        for n in 0..rounds {
            assert!(client.answer().head.contains(&format!("X-Round: {n}\r\n")));
        }
    });
}

/// The last answer comes from another thread while the client sends on: the handler must never
/// see a request behind it.
#[test]
fn no_request_is_seen_behind_the_last_answer() {
    let _alone = alone();
    let service = serve(limits());
    for _ in 0..300 {
        let mut client = service.client();
        client.send(b"GET /park HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let (_, responder) = service.seen.take_parked();
        let answering = std::thread::spawn(move || responder.send(Response::new(200)));
        client.send(b"GET /evil HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(statuses(&client.rest()), [200]);
        answering.join().unwrap();
    }
    assert_eq!(service.seen.count(), 300);
}
