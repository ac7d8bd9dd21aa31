//! A scripted peer on a Unix socket that stands for an Engine.
//!
//! It is a bare listener, not an HTTP library: it must be able to break the protocol.

// Each of the tests that share this uses a part of it.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lambda_runtime_api_server::docker::{Engine, Settings};

pub(crate) const CALL_TIMEOUT: Duration = Duration::from_millis(400);

/// What the peer does with one request, whose head line it is given.
type Script = dyn Fn(&str, &mut UnixStream) + Send + Sync;

/// A scripted Engine; `/version` is answered by itself unless the script is told to.
pub(crate) struct Peer {
    pub(crate) socket: PathBuf,
    heads: Arc<Mutex<Vec<String>>>,
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Peer {
    pub(crate) fn start(script: impl Fn(&str, &mut UnixStream) + Send + Sync + 'static) -> Peer {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("docker-faults-{}-{number}.sock", std::process::id());
        let socket = std::env::temp_dir().join(name);
        let listener = UnixListener::bind(&socket).unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let script: Arc<Script> = Arc::new(script);
        let (seen, count) = (heads.clone(), connections.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                count.fetch_add(1, Ordering::SeqCst);
                let (script, seen) = (script.clone(), seen.clone());
                std::thread::spawn(move || serve(stream, &*script, &seen));
            }
        });
        Peer { socket, heads, connections }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            socket: self.socket.clone(),
            call_timeout: CALL_TIMEOUT,
            max_idle_connections: 4,
        }
    }

    pub(crate) fn engine(&self) -> Engine {
        Engine::connect(&self.settings()).unwrap()
    }

    /// How often a request whose first line contains `text` was received.
    pub(crate) fn received(&self, text: &str) -> usize {
        self.heads.lock().unwrap().iter().filter(|head| head.contains(text)).count()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Serves one connection until its script closes it.
fn serve(mut stream: UnixStream, script: &Script, seen: &Mutex<Vec<String>>) {
    while let Some(head) = read_request(&mut stream) {
        let first = head.lines().next().unwrap_or_default().to_owned();
        seen.lock().unwrap().push(first.clone());
        script(&first, &mut stream);
    }
}

/// Reads one request with its body; `None` at the end of the connection.
fn read_request(stream: &mut UnixStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    if let Some(length) = length {
        stream.read_exact(&mut vec![0; length.parse().unwrap()]).unwrap();
    }
    Some(head)
}

pub(crate) fn answer(stream: &mut UnixStream, status: u16, body: &str) {
    let length = body.len();
    let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}");
}

/// Answers `/version` as Engine 20.10 does, and says whether it did.
pub(crate) fn versioned(head: &str, stream: &mut UnixStream) -> bool {
    let asked = head.contains(" /version ");
    if asked {
        answer(stream, 200, r#"{"Version":"20.10","ApiVersion":"1.41","MinAPIVersion":"1.12"}"#);
    }
    asked
}

pub(crate) fn close(stream: &UnixStream) {
    let _ = stream.shutdown(std::net::Shutdown::Both);
}
