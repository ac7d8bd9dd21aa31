//! The collector of functions' output against an Engine that misbehaves.

// clippy.toml lets tests panic and print; helpers of an integration test count as none.
#![allow(clippy::unwrap_used)]

mod docker_support;

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant, SystemTime};

use docker_support::{Peer, answer, close, versioned};
use lambda_runtime_api_server::audit::Source;
use lambda_runtime_api_server::dispatch::{
    Ended, Event, Given, Journal, Kind, Outcome, Report, StartOrder, Target,
};
use lambda_runtime_api_server::docker::{Engine, Settings};
use lambda_runtime_api_server::http::blocking::Pool;
use lambda_runtime_api_server::logs::collect::{Collector, Place, Sink};
use lambda_runtime_api_server::logs::{LogError, LogEvent};
use uuid::Uuid;

const SANDBOX: u64 = 7;

#[derive(Default)]
struct Kept(Mutex<Vec<String>>);

impl Sink for Kept {
    fn append(&self, place: &Place, events: &[LogEvent]) -> Result<(), LogError> {
        assert_eq!((place.region.as_str(), place.group.as_str()), ("r", "/aws/lambda/f"));
        self.0.lock().unwrap().extend(events.iter().map(|event| event.message.clone()));
        Ok(())
    }
}

/// A collector whose Engine the test scripts.
struct Bench {
    peer: Peer,
    collector: Collector,
    kept: Arc<Kept>,
    target: Arc<Target>,
}

impl Bench {
    /// `attached` is what happens on each stream in turn; what follows the last is an end.
    fn new(
        attached: impl Fn(usize, &mut UnixStream) + Send + Sync + 'static,
        others: impl Fn(&str, &mut UnixStream) + Send + Sync + 'static,
    ) -> Bench {
        let streams = AtomicUsize::new(0);
        let peer = Peer::start(move |head, stream| {
            if versioned(head, stream) {
            } else if head.contains("/attach?") {
                let number = streams.fetch_add(1, Ordering::SeqCst);
                attached(number, stream);
            } else {
                others(head, stream);
            }
        });
        let settings = Settings { call_timeout: Duration::from_secs(5), ..peer.settings() };
        let engine = Engine::connect(&settings).unwrap();
        let kept = Arc::new(Kept::default());
        let pool = Arc::new(Pool::start("blocking", 1, 4, &Arc::default()).unwrap());
        let collector = Collector::start(engine, kept.clone(), pool).unwrap();
        let target = Arc::new(Target {
            key: "r/f/$LATEST".to_owned(),
            name: "f".to_owned(),
            version: "$LATEST".to_owned(),
            arn: "arn".to_owned(),
            timeout: Duration::from_secs(3),
            memory_mb: 128,
            function: None,
        });
        Bench { peer, collector, kept, target }
    }

    fn follow(&self) {
        let target = self.target.clone();
        let order = StartOrder { sandbox: SANDBOX, target, kind: Kind::OnDemand };
        self.collector.follow(&order, "c", "stream".to_owned());
        assert_eq!(self.collector.place_of(SANDBOX).unwrap().stream, "stream");
    }

    /// An invocation from its beginning to its end.
    fn invoke(&self, number: u128, meanwhile: impl FnOnce()) {
        let event = Event {
            id: Uuid::from_u128(number),
            payload: Vec::new().into(),
            invoked_arn: String::new(),
            trace_id: String::new(),
            client_context: None,
            cognito_identity: None,
            source: Source::Asynchronous,
        };
        let at = SystemTime::now();
        let (target, sandbox) = (self.target.clone(), SANDBOX);
        let given = Given { sandbox, at, target, init: None, local: false, tail: true };
        self.collector.given(&event, given);
        meanwhile();
        let report = Report {
            event: Arc::new(event),
            duration: at.elapsed().unwrap(),
            started: Some(at),
            init: None,
            sandbox: Some(SANDBOX),
            target: Some(self.target.clone()),
            container: None,
        };
        let outcome = Outcome::Response(Vec::new().into());
        self.collector.concluded(&outcome, &report);
    }

    /// The tail of an invocation, and how long it took.
    fn tail(&self, number: u128) -> (Vec<String>, Duration) {
        let (sender, told) = mpsc::channel();
        let started = Instant::now();
        let waiter = move |text| sender.send(text).unwrap();
        self.collector.tail(SANDBOX, Uuid::from_u128(number), Box::new(waiter));
        let text = String::from_utf8(told.recv_timeout(Duration::from_secs(20)).unwrap()).unwrap();
        (text.lines().map(short).collect(), started.elapsed())
    }

    /// Waits for a line.
    fn until(&self, line: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        while !self.lines().iter().any(|kept| kept == line) {
            assert!(Instant::now() < end, "no {line:?} in {:?}", self.lines());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn lines(&self) -> Vec<String> {
        self.kept.0.lock().unwrap().iter().map(|line| short(line)).collect()
    }
}

/// `START 1` for a START of the invocation with that number.
fn short(line: &str) -> String {
    let mut words = line.split([' ', '\t']);
    match (words.next(), words.next(), words.next()) {
        (Some(kind @ ("START" | "END" | "REPORT")), Some("RequestId:"), Some(id)) => {
            format!("{kind} {}", Uuid::parse_str(id).unwrap().as_u128())
        }
        _ => line.to_owned(),
    }
}

fn frame(output: u8, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    [&[output, 0, 0, 0][..], &length.to_be_bytes(), data].concat()
}

fn begin(stream: &mut UnixStream) {
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
    );
}

fn nothing(_: &str, _: &mut UnixStream) {}

/// Lets the test send on the first stream, and keeps it open.
fn stream_of(receiver: mpsc::Receiver<Vec<u8>>) -> impl Fn(usize, &mut UnixStream) + Send + Sync {
    let receiver = Mutex::new(receiver);
    move |_, stream| {
        begin(stream);
        for bytes in receiver.lock().unwrap().iter() {
            let _ = stream.write_all(&bytes);
        }
        close(stream);
    }
}

#[test]
fn frames_may_come_byte_by_byte() {
    let (sender, receiver) = mpsc::channel();
    let bench = Bench::new(stream_of(receiver), |head, stream| {
        if head.contains("/resize?") {
            answer(stream, 200, "");
        }
    });
    bench.follow();
    bench.invoke(1, || {
        std::thread::sleep(Duration::from_millis(5));
        for byte in [frame(1, b"one\ntw"), frame(2, b"err\n"), frame(1, b"o\n")].concat() {
            sender.send(vec![byte]).unwrap();
        }
        bench.until("two");
    });
    let (tail, _) = bench.tail(1);
    assert_eq!(tail, ["START 1", "one", "err", "two", "END 1", "REPORT 1"]);
    bench.until("REPORT 1");
    assert_eq!(bench.lines(), tail);
    assert_eq!(bench.collector.counters().lines.load(Ordering::Relaxed), 3);
    assert_eq!(bench.collector.counters().streams.load(Ordering::Relaxed), 1);
}

#[test]
fn a_tail_waits_for_a_busy_engine_but_not_for_ever() {
    let (sender, receiver) = mpsc::channel();
    let questions = AtomicUsize::new(0);
    let late = sender.clone();
    let bench = Bench::new(stream_of(receiver), move |head, stream| {
        // The first answer is slow, and so is what the function has printed before; the second
        // never comes.
        if head.contains("/resize?") && questions.fetch_add(1, Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(150));
            late.send(frame(1, b"late\n")).unwrap();
            answer(stream, 200, "");
        } else {
            std::thread::sleep(Duration::from_secs(10));
        }
    });
    bench.follow();
    bench.invoke(1, || ());
    let (tail, took) = bench.tail(1);
    assert_eq!(tail, ["START 1", "late", "END 1", "REPORT 1"]);
    assert!(took >= Duration::from_millis(150));
    bench.invoke(2, || ());
    let (tail, took) = bench.tail(2);
    assert_eq!(tail, ["START 2", "END 2", "REPORT 2"]);
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop(sender);
}

/// As when the Engine restarts and the containers go on.
#[test]
fn a_stream_that_is_cut_is_opened_again_without_a_gap() {
    let bench = Bench::new(
        |number, stream| {
            begin(stream);
            let text = if number == 0 { &b"before\nhal"[..] } else { &b"after\n"[..] };
            let _ = stream.write_all(&frame(1, text));
            if number > 0 {
                std::thread::sleep(Duration::from_secs(20));
            }
            close(stream);
        },
        |head, stream| {
            if head.contains("/containers/c/json") {
                let body =
                    r#"{"Id":"c","Name":"/c","State":{"Running":true,"ExitCode":0},"Config":{}}"#;
                answer(stream, 200, body);
            } else if head.contains("/logs?") {
                assert!(head.contains("&since=") && head.contains("&until="), "{head}");
                let frames = frame(1, b"2026-01-02T03:04:05.000000006Z meanwhile\n");
                let length = frames.len();
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                let _ = stream.write_all(&frames);
            }
        },
    );
    bench.follow();
    bench.until("after");
    assert_eq!(bench.lines(), ["before", "hal", "meanwhile", "after"]);
    assert_eq!(bench.collector.counters().reopened.load(Ordering::Relaxed), 1);
    assert_eq!(bench.peer.received("/attach?"), 2);
}

#[test]
fn garbage_is_said_to_be_a_gap_and_is_not_the_end() {
    let bench = Bench::new(
        |number, stream| {
            begin(stream);
            let bytes = if number == 0 {
                // A length that is a lie, then what is no frame.
                [frame(1, b"good\n"), vec![9; 64]].concat()
            } else {
                [&frame(2, b"again\n")[..], &[2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], b"endless\n"]
                    .concat()
            };
            let _ = stream.write_all(&bytes);
            std::thread::sleep(Duration::from_secs(20));
        },
        |head, stream| {
            if head.contains("/containers/c/json") {
                let body =
                    r#"{"Id":"c","Name":"/c","State":{"Running":true,"ExitCode":0},"Config":{}}"#;
                answer(stream, 200, body);
            } else {
                answer(stream, 500, r#"{"message":"no log"}"#);
            }
        },
    );
    bench.follow();
    bench.until("endless");
    let lines = bench.lines();
    assert_eq!(
        (lines[0].as_str(), &lines[2..]),
        ("good", &["again".to_owned(), "endless".to_owned()][..])
    );
    assert!(lines[1].starts_with("LOGS_DROPPED Reason: The stream"), "{lines:?}");
}

#[test]
fn a_container_that_has_gone_is_not_asked_for_again() {
    let bench = Bench::new(
        |_, stream| {
            begin(stream);
            let _ = stream.write_all(&frame(1, b"last words"));
            close(stream);
        },
        |head, stream| {
            assert!(!head.contains("/logs?"));
            answer(stream, 404, r#"{"message":"No such container: c"}"#);
        },
    );
    bench.follow();
    bench.until("last words");
    let end = Instant::now() + Duration::from_secs(20);
    while bench.peer.received("/containers/c/json") == 0 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(bench.peer.received("/containers/c/json"), 1);
    assert_eq!(bench.peer.received("/attach?"), 1);
    // Without a stream nothing is waited for.
    bench.invoke(1, || ());
    let (tail, took) = bench.tail(1);
    // What came before the first invocation is in its tail.
    assert_eq!(tail, ["last words", "START 1", "END 1", "REPORT 1"]);
    assert!(took < Duration::from_millis(200), "{took:?}");
}

/// A sandbox that ends by itself tells so; then nobody looks for its stream.
#[test]
fn an_engine_that_refuses_at_first_is_asked_again_unless_the_sandbox_has_ended() {
    for ended in [false, true] {
        let bench = Bench::new(
            |number, stream| {
                if number == 0 {
                    answer(stream, 500, "{\"message\":\"not now\"}\n");
                } else {
                    begin(stream);
                    let _ = stream.write_all(&frame(1, b"there\n"));
                    std::thread::sleep(Duration::from_secs(20));
                }
            },
            |head, stream| {
                if head.contains("/containers/c/json") {
                    let body = r#"{"Id":"c","Name":"/c","State":{"Running":true,"ExitCode":0},"Config":{}}"#;
                    answer(stream, 200, body);
                } else {
                    answer(stream, 200, "");
                }
            },
        );
        bench.follow();
        if ended {
            bench.collector.ended(Ended { sandbox: SANDBOX, init: None });
            std::thread::sleep(Duration::from_millis(1500));
            assert_eq!(bench.peer.received("/attach?"), 1);
        } else {
            bench.until("there");
        }
    }
}

#[test]
fn the_end_of_the_service_keeps_the_last_lines() {
    let (sender, receiver) = mpsc::channel();
    let bench = Bench::new(stream_of(receiver), nothing);
    bench.follow();
    sender.send(frame(1, b"whole\nhalf")).unwrap();
    bench.until("whole");
    bench.invoke(1, || ());
    assert!(bench.collector.finish(Duration::from_secs(20)));
    assert_eq!(bench.lines(), ["whole", "half", "START 1", "END 1", "REPORT 1"]);
}
