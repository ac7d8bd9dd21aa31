//! The Engine client against an Engine that misbehaves: a scripted peer on a Unix socket.

// clippy.toml lets tests panic and print; helpers of an integration test count as none.
#![allow(clippy::unwrap_used)]

mod docker_support;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use docker_support::{CALL_TIMEOUT, Peer, answer, close, versioned};
use lambda_runtime_api_server::docker::{ContainerSpec, Engine, EngineError, Event, Settings};

#[test]
fn an_error_keeps_the_engines_message() {
    let peer = Peer::start(|head, stream| {
        if !versioned(head, stream) {
            answer(stream, 500, r#"{"message":"disk is full"}"#);
        }
    });
    let error = peer.engine().info().unwrap_err();
    let text = error.to_string();
    assert_eq!(text, "docker engine answered GET /info with 500: disk is full");
    assert!(!error.is_unreachable() && !error.is_not_found());
}

#[test]
fn a_hanging_call_ends_in_time_and_is_named() {
    let peer = Peer::start(|head, stream| {
        if !versioned(head, stream) {
            std::thread::sleep(Duration::from_secs(5));
        }
    });
    let engine = peer.engine();
    let started = Instant::now();
    let error = engine.start_container("abc").unwrap_err();
    assert!(started.elapsed() < CALL_TIMEOUT * 3, "{:?}", started.elapsed());
    assert!(matches!(error, EngineError::Timeout { .. }), "{error:?}");
    let expected = "docker engine did not answer POST /containers/abc/start within 400 ms";
    assert_eq!(error.to_string(), expected);
    assert!(error.is_unreachable());
    assert_eq!(peer.received("/start"), 1);
}

#[test]
fn a_body_that_trickles_ends_in_time() {
    let peer = Peer::start(|head, stream| {
        if !versioned(head, stream) {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
            while stream.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    });
    let started = Instant::now();
    let error = peer.engine().info().unwrap_err();
    assert!(matches!(error, EngineError::Timeout { .. }), "{error:?}");
    assert!(started.elapsed() < CALL_TIMEOUT * 4, "{:?}", started.elapsed());
}

#[test]
fn a_body_cut_short_is_an_error() {
    let peer = Peer::start(|head, stream| {
        if !versioned(head, stream) {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{{\"NCPU\":2");
            close(stream);
        }
    });
    let error = peer.engine().info().unwrap_err();
    assert!(matches!(error, EngineError::Interrupted { .. }), "{error:?}");
}

#[test]
fn garbage_is_malformed() {
    let peer = Peer::start(|head, stream| {
        if versioned(head, stream) {
        } else if head.contains("/info") {
            answer(stream, 200, "<html>");
        } else {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n");
        }
    });
    let engine = peer.engine();
    let error = engine.info().unwrap_err();
    assert!(matches!(&error, EngineError::Malformed { call, .. } if call == "GET /info"));
    let error = engine.ping().unwrap_err();
    assert!(matches!(error, EngineError::Malformed { .. }), "{error:?}");
}

#[test]
fn an_endless_answer_is_cut_at_the_limit() {
    let peer = Peer::start(|head, stream| {
        if versioned(head, stream) {
            return;
        }
        let status = if head.contains("/info") { 200 } else { 500 };
        let _ = write!(stream, "HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        while stream.write_all(chunk.as_bytes()).is_ok() {}
    });
    let settings = Settings { call_timeout: Duration::from_secs(20), ..peer.settings() };
    let engine = Engine::connect(&settings).unwrap();
    let error = engine.info().unwrap_err();
    assert!(matches!(error, EngineError::TooLarge { limit_bytes: 16_777_216, .. }), "{error:?}");
    let error = engine.networks().unwrap_err();
    assert!(matches!(error, EngineError::TooLarge { limit_bytes: 65_536, .. }), "{error:?}");
}

#[test]
fn too_old_and_too_new_engines_are_told_apart() {
    let offer = |minimum: &'static str, newest: &'static str| {
        let peer = Peer::start(move |_, stream| {
            let body = format!(r#"{{"ApiVersion":"{newest}","MinAPIVersion":"{minimum}"}}"#);
            answer(stream, 200, &body);
        });
        Engine::connect(&peer.settings())
    };
    let old = offer("1.12", "1.39").unwrap_err();
    assert!(matches!(old, EngineError::TooOld { .. }), "{old:?}");
    assert!(old.to_string().contains("1.39") && old.to_string().contains("1.40"), "{old}");
    let new = offer("1.99", "1.120").unwrap_err();
    assert!(matches!(new, EngineError::TooNew { .. }), "{new:?}");
    assert!(new.to_string().contains("1.99") && new.to_string().contains("1.47"), "{new}");
    assert_eq!(offer("1.44", "1.52").unwrap().api_version().to_string(), "1.47");
    let odd = offer("1.12", "newest").unwrap_err();
    assert!(matches!(odd, EngineError::Malformed { .. }), "{odd:?}");
}

#[test]
fn a_missing_socket_and_a_dead_one_are_told_apart() {
    let settings = Settings {
        socket: std::env::temp_dir().join(format!("docker-faults-none-{}", std::process::id())),
        call_timeout: CALL_TIMEOUT,
        max_idle_connections: 1,
    };
    let error = Engine::connect(&settings).unwrap_err();
    assert!(matches!(error, EngineError::SocketMissing { .. }), "{error:?}");
    assert!(error.to_string().contains("docker-faults-none"), "{error}");

    drop(UnixListener::bind(&settings.socket).unwrap());
    let error = Engine::connect(&settings).unwrap_err();
    std::fs::remove_file(&settings.socket).unwrap();
    assert!(matches!(error, EngineError::Unreachable { .. }), "{error:?}");
    assert!(error.is_unreachable());
}

/// dockerd stopped with SIGSTOP: connections are made by the kernel until its backlog is full.
#[test]
fn a_full_backlog_does_not_block_for_ever() {
    let path = std::env::temp_dir().join(format!("docker-faults-full-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let filling = path.clone();
    // The kernel holds back the connection that no longer fits, so it is made aside.
    std::thread::spawn(move || {
        let mut held = Vec::new();
        while let Ok(stream) = UnixStream::connect(&filling) {
            held.push(stream);
        }
    });
    std::thread::sleep(Duration::from_millis(300));
    let settings =
        Settings { socket: path.clone(), call_timeout: CALL_TIMEOUT, max_idle_connections: 1 };
    let started = Instant::now();
    let error = Engine::connect(&settings).unwrap_err();
    drop(listener);
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(error, EngineError::Timeout { .. }), "{error:?}");
    assert!(started.elapsed() < CALL_TIMEOUT * 3, "{:?}", started.elapsed());
}

#[test]
fn a_read_is_repeated_and_a_change_never() {
    // The Engine reads the request and dies: the client cannot know whether it acted.
    let peer = Peer::start(|head, stream| {
        if !versioned(head, stream) {
            close(stream);
        }
    });
    let engine = peer.engine();
    assert!(engine.info().unwrap_err().is_unreachable());
    assert_eq!(peer.received("/info"), 2);
    assert!(engine.remove_container("abc", true).is_err());
    assert_eq!(peer.received("delete"), 2);

    let created = engine.create_container("n", &ContainerSpec::default());
    assert!(matches!(created, Err(EngineError::Interrupted { .. })), "{created:?}");
    assert_eq!(peer.received("/create"), 1);
    assert!(engine.start_container("abc").is_err());
    assert_eq!(peer.received("/start"), 1);
}

#[test]
fn a_restarted_engine_is_simply_used_again() {
    let closed = Arc::new(AtomicUsize::new(0));
    let closing = closed.clone();
    let peer = Peer::start(move |head, stream| {
        if versioned(head, stream) {
            close(stream); // as a restart closes all connections that are idle in the pool
            closing.fetch_add(1, Ordering::SeqCst);
        } else {
            answer(stream, 204, "");
        }
    });
    let engine = peer.engine();
    // Until it has closed, the client may rightly take the connection for a good one.
    while closed.load(Ordering::SeqCst) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    engine.start_container("abc").unwrap();
    assert_eq!(peer.received("/start"), 1);
}

#[test]
fn connections_are_reused() {
    let peer = Peer::start(|head, stream| {
        if versioned(head, stream) {
        } else if head.contains("/none/") {
            answer(stream, 404, r#"{"message":"No such container: none"}"#);
        } else {
            answer(stream, 200, "OK");
        }
    });
    let engine = peer.engine();
    for _ in 0..20 {
        engine.ping().unwrap();
        assert_eq!(engine.container("none").unwrap(), None);
    }
    assert_eq!(peer.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn removal_that_is_done_or_under_way_is_fine() {
    let peer = Peer::start(|head, stream| {
        if versioned(head, stream) {
        } else if head.contains("/gone?") {
            answer(stream, 404, r#"{"message":"No such container: gone"}"#);
        } else if head.contains("/going?") {
            let text = r#"{"message":"removal of container going is already in progress"}"#;
            answer(stream, 409, text);
        } else {
            answer(stream, 409, r#"{"message":"You cannot remove a running container"}"#);
        }
    });
    let engine = peer.engine();
    engine.remove_container("gone", true).unwrap();
    engine.remove_container("going", true).unwrap();
    assert!(engine.remove_container("busy", false).unwrap_err().is_conflict());
}

#[test]
fn an_error_within_a_pull_is_an_error() {
    let lines = concat!(
        r#"{"status":"Pulling from x","id":"latest"}"#,
        "\r\n",
        r#"{"errorDetail":{"message":"no space left"},"error":"no space left"}"#,
        "\r\n"
    );
    let peer = Peer::start(move |head, stream| {
        if !versioned(head, stream) {
            answer(stream, 200, lines);
        }
    });
    let mut seen = Vec::new();
    let error = peer.engine().pull_image("x", &mut |line| seen.push(line.to_owned())).unwrap_err();
    assert_eq!(error.to_string(), "docker engine failed POST /images/create: no space left");
    assert_eq!(seen, ["latest: Pulling from x"]);
    assert_eq!(peer.received("fromimage=x&tag=latest"), 1);
}

#[test]
fn logs_that_are_no_frames_after_frames_are_malformed() {
    let peer = Peer::start(|head, stream| {
        if !versioned(head, stream) {
            answer(stream, 200, "\u{1}\0\0\0\0\0\0\u{2}okgarbage garbage");
        }
    });
    let error = peer.engine().container_logs("c", None, None, 100).unwrap_err();
    assert!(matches!(error, EngineError::Malformed { .. }), "{error:?}");
}

/// Writes the head of an event stream and one chunk of it.
fn begin_events(stream: &mut UnixStream, text: &str) {
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let _ = write!(stream, "{:x}\r\n{text}\r\n", text.len());
}

const DIED: &str = concat!(
    r#"{"Type":"container","Action":"die","Actor":{"ID":"c","Attributes":{"exitCode":"3"}},"#,
    r#""timeNano":1700000000000000007}"#,
    "\n"
);

#[test]
fn an_event_stream_cut_within_a_line_ends_with_an_error() {
    let peer = Peer::start(|head, stream| {
        if !versioned(head, stream) {
            begin_events(stream, &format!("{DIED}{}", &DIED[..40]));
            close(stream);
        }
    });
    let mut events = peer.engine().events(None, &[], Duration::from_secs(5)).unwrap();
    let event = events.next_event().unwrap().unwrap();
    assert!(matches!(event, Event::Died { exit_code: Some(3), .. }), "{event:?}");
    let error = events.next_event().unwrap_err();
    assert!(matches!(error, EngineError::Interrupted { .. }), "{error:?}");
    let last = events.last().unwrap();
    assert_eq!(last.to_string(), "1700000000.000000007");
    let _ = peer.engine().events(Some(last), &["a=b"], Duration::from_secs(5)).unwrap();
    assert_eq!(peer.received("since=1700000000.000000007"), 1);
}

#[test]
fn a_silent_event_stream_ticks_and_goes_on() {
    let peer = Peer::start(|head, stream| {
        if !versioned(head, stream) {
            // The silence falls in the middle of a line.
            begin_events(stream, &DIED[..25]);
            std::thread::sleep(Duration::from_millis(350));
            let _ = write!(stream, "{:x}\r\n{}\r\n", DIED.len() - 25, &DIED[25..]);
            std::thread::sleep(Duration::from_secs(5));
        }
    });
    let mut events = peer.engine().events(None, &[], Duration::from_millis(100)).unwrap();
    let mut ticks = 0;
    loop {
        match events.next_event().unwrap().unwrap() {
            Event::Tick => ticks += 1,
            event => {
                assert!(matches!(event, Event::Died { .. }), "{event:?}");
                break;
            }
        }
    }
    assert!((2..=4).contains(&ticks), "{ticks}");
}

#[test]
fn stopping_interrupts_a_blocked_read() {
    let peer = Peer::start(|head, stream| {
        if !versioned(head, stream) {
            begin_events(stream, DIED);
            std::thread::sleep(Duration::from_secs(20));
        }
    });
    let mut events = peer.engine().events(None, &[], Duration::from_secs(20)).unwrap();
    events.next_event().unwrap().unwrap();
    let stopper = events.stopper();
    let reader = std::thread::spawn(move || events.next_event());
    std::thread::sleep(Duration::from_millis(100));
    let started = Instant::now();
    stopper.stop();
    assert_eq!(reader.join().unwrap().unwrap(), None);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[test]
fn an_endless_event_is_cut_at_the_limit() {
    let peer = Peer::start(|head, stream| {
        if !versioned(head, stream) {
            begin_events(stream, "{");
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
            loop {
                match stream.write_all(chunk.as_bytes()) {
                    Err(e) if e.kind() != ErrorKind::Interrupted => return,
                    _ => {}
                }
            }
        }
    });
    let mut events = peer.engine().events(None, &[], Duration::from_secs(5)).unwrap();
    let error = events.next_event().unwrap_err();
    assert!(matches!(error, EngineError::TooLarge { .. }), "{error:?}");
}

#[test]
fn what_comes_with_the_head_of_a_stream_is_not_lost() {
    for cut in [0, 1, 30, 70] {
        let peer = Peer::start(move |head, stream| {
            if !versioned(head, stream) {
                let text = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\nfirst";
                let (early, late) = text.split_at(cut);
                let _ = stream.write_all(early.as_bytes());
                std::thread::sleep(Duration::from_millis(20));
                let _ = stream.write_all(late.as_bytes());
                std::thread::sleep(Duration::from_millis(20));
                let _ = stream.write_all(b" and more");
                close(stream);
            }
        });
        let attached = peer.engine().attach("c").unwrap();
        let (mut socket, mut all) = (attached.socket, attached.first);
        socket.set_nonblocking(false).unwrap();
        socket.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"first and more", "{cut}");
        assert_eq!(peer.received("post /v1.41/containers/c/attach?stream=1&stdout=1&stderr=1 "), 1);
    }
}

#[test]
fn a_stream_that_cannot_be_opened_says_why_in_time() {
    let peer = Peer::start(|head, stream| {
        if versioned(head, stream) {
        } else if head.contains("/none/") {
            answer(stream, 404, "{\"message\":\"No such container: none\"}\n");
        } else if head.contains("/silent/") {
            std::thread::sleep(Duration::from_secs(5));
        } else if head.contains("/half/") {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nA: ");
            close(stream);
        } else if head.contains("/garbage/") {
            let _ = write!(stream, "SSH-2.0-OpenSSH_9.2\r\n\r\n");
        } else {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nA: ");
            while stream.write_all(&[b'a'; 4096]).is_ok() {}
        }
    });
    let engine = peer.engine();
    let error = engine.attach("none").unwrap_err();
    assert!(error.is_not_found() && error.to_string().contains("No such container"), "{error}");
    let started = Instant::now();
    let error = engine.attach("silent").unwrap_err();
    assert!(matches!(error, EngineError::Timeout { .. }), "{error:?}");
    assert!(started.elapsed() < CALL_TIMEOUT * 4);
    let error = engine.attach("half").unwrap_err();
    assert!(matches!(error, EngineError::Interrupted { .. }), "{error:?}");
    for container in ["garbage", "endless"] {
        let error = engine.attach(container).unwrap_err();
        assert!(matches!(error, EngineError::Malformed { .. }), "{container} {error:?}");
    }
    assert!(matches!(engine.attach("../x"), Err(EngineError::InvalidName { .. })));
}

#[test]
fn a_question_is_asked_and_not_waited_for() {
    let peer = Peer::start(|head, stream| {
        if !versioned(head, stream) {
            std::thread::sleep(Duration::from_millis(300));
            answer(stream, 500, "{}");
        }
    });
    let engine = peer.engine();
    let started = Instant::now();
    let mut pulse = engine.ask_pulse("c").unwrap();
    assert!(!pulse.is_answered() && started.elapsed() < Duration::from_millis(250));
    while !pulse.is_answered() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!(peer.received("/containers/c/resize?"), 1);
}
