//! A server in the test's own process, with a handler whose behaviour the path names, and a raw
//! client that sends bytes and reads whole answers. It knows no HTTP library on purpose: the bytes
//! are the test.

// Each test file uses another part of this one, and helpers of an integration test count as none.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, unreachable_pub)]

use std::any::Any;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use lambda_runtime_api_server::http::{
    Admission, Counters, Handler, Head, Limits, Request, Responder, Response, Server,
};

/// Long enough for any machine; only a failing test waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const MAX_BODY: usize = 6 << 20;

/// What the handler saw and holds.
#[derive(Default)]
pub struct Seen {
    /// `METHOD path body-length` of each request that was handled.
    pub handled: Mutex<Vec<String>>,
    parked: Mutex<Vec<(u64, Responder)>>,
    arrived: Condvar,
    numbers: AtomicUsize,
    pub gone: Mutex<Vec<u64>>,
    pub unread: Mutex<Vec<u64>>,
    /// Tokens of pending bodies that are alive now, and that ever were.
    pub pending: Arc<AtomicUsize>,
    pub pending_ever: AtomicUsize,
    /// Who holds this keeps the workers that handle `/hang`.
    pub gate: Mutex<()>,
}

impl Seen {
    pub fn count(&self) -> usize {
        self.handled.lock().unwrap().len()
    }

    /// Waits for a parked request and takes it.
    pub fn take_parked(&self) -> (u64, Responder) {
        let parked = self.parked.lock().unwrap();
        let (mut parked, time) =
            self.arrived.wait_timeout_while(parked, PATIENCE, |parked| parked.is_empty()).unwrap();
        assert!(!time.timed_out(), "no request was parked");
        parked.remove(0)
    }

    pub fn parked_count(&self) -> usize {
        self.parked.lock().unwrap().len()
    }
}

struct Pending(Arc<AtomicUsize>);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

struct TestHandler(Arc<Seen>);

impl Handler for TestHandler {
    fn admit(&self, head: &Head<'_>) -> Admission {
        match head.path {
            "/refuse" => Admission::Refuse(Response::json(403, "{\"message\":\"no\"}")),
            "/admit-panic" => panic!("expected by a test"),
            _ => Admission::Accept { max_body_bytes: MAX_BODY },
        }
    }

    fn handle(&self, request: Request<'_>, responder: Responder) {
        let head = &request.head;
        let line = format!("{} {} {}", head.method, head.path, request.body.len());
        self.0.handled.lock().unwrap().push(line);
        let number = self.0.numbers.fetch_add(1, Ordering::SeqCst) as u64;
        match head.path {
            "/park" | "/watch" => {
                if head.path == "/watch" && !responder.watch(number) {
                    self.0.gone.lock().unwrap().push(number);
                    return;
                }
                self.0.parked.lock().unwrap().push((number, responder));
                self.0.arrived.notify_all();
            }
            "/panic" => panic!("expected by a test"),
            "/drop" => drop(responder),
            "/hang" => {
                drop(self.0.gate.lock().unwrap());
                responder.send(Response::new(200));
            }
            "/none" => drop(responder.send(Response::new(204).body(b"never sent".to_vec()))),
            "/large" => {
                let length: usize = head.query.unwrap().parse().unwrap();
                responder.send(Response::new(200).body(vec![b'x'; length]));
            }
            path => {
                let response = Response::new(200).header("X-Path", path);
                responder.send(response.body(request.body.clone()));
            }
        }
    }

    fn body_too_large(&self, _head: &Head<'_>) -> Response {
        Response::json(413, "{\"message\":\"too large\"}")
    }

    fn body_pending(&self, _head: &Head<'_>) -> Option<Box<dyn Any + Send>> {
        self.0.pending.fetch_add(1, Ordering::SeqCst);
        self.0.pending_ever.fetch_add(1, Ordering::SeqCst);
        Some(Box::new(Pending(self.0.pending.clone())))
    }

    fn peer_gone(&self, watch: u64) {
        self.0.parked.lock().unwrap().retain(|(number, _)| *number != watch);
        self.0.gone.lock().unwrap().push(watch);
    }

    fn answer_unread(&self, watch: u64) {
        self.0.unread.lock().unwrap().push(watch);
    }
}

/// The product's sizes, with one worker more than one, and time enough for a slow machine.
pub fn limits() -> Limits {
    Limits {
        workers: 2,
        max_connections: 10_000,
        max_connections_per_address: 10_000,
        max_head_bytes: 64 << 10,
        max_header_count: 100,
        max_uri_bytes: 16 << 10,
        max_buffered_bytes: 64 << 20,
        head_timeout: PATIENCE,
        body_timeout: PATIENCE,
        write_timeout: PATIENCE,
        keep_alive_timeout: PATIENCE,
    }
}

pub struct Service {
    pub server: Server,
    pub seen: Arc<Seen>,
    pub counters: Arc<Counters>,
    pub address: SocketAddr,
}

pub fn serve(limits: Limits) -> Service {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (seen, counters) = (Arc::new(Seen::default()), Arc::new(Counters::default()));
    let handler = Arc::new(TestHandler(seen.clone()));
    let server = Server::start(vec![listener], limits, counters.clone(), handler).unwrap();
    let address = server.addresses()[0];
    Service { server, seen, counters, address }
}

impl Service {
    pub fn client(&self) -> Client {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Client { socket, unread: Vec::new() }
    }

    /// Sends and reads all that comes until the server closes.
    pub fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let mut client = self.client();
        client.send(bytes);
        client.rest()
    }
}

pub struct Client {
    pub socket: TcpStream,
    unread: Vec<u8>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn closes(&self) -> bool {
        self.head.contains("\r\nConnection: close\r\n")
    }
}

impl Client {
    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    pub fn get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
    }

    /// Reads one answer; `no_body` for those that have none whatever their length says.
    pub fn answer_of(&mut self, no_body: bool) -> Answer {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.more() > 0, "closed before an answer: {:?}", self.unread);
        };
        let head = String::from_utf8(self.unread.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length = length.map_or(0, |text| text.parse().unwrap());
        let length: usize = if no_body { 0 } else { length };
        while self.unread.len() < length {
            assert!(self.more() > 0, "closed within an answer's body");
        }
        Answer { status, head, body: self.unread.drain(..length).collect() }
    }

    pub fn answer(&mut self) -> Answer {
        self.answer_of(false)
    }

    fn more(&mut self) -> usize {
        let mut buffer = [0; 64 << 10];
        let read = self.socket.read(&mut buffer).unwrap();
        self.unread.extend_from_slice(&buffer[..read]);
        read
    }

    /// Everything until the server closes. A reset is a close.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.unread);
        let mut buffer = [0; 64 << 10];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return all,
                Ok(read) => all.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return all,
                Err(error) => panic!("not closed: {error}; {} bytes came", all.len()),
            }
        }
    }

    pub fn finish(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Closes with a reset (SO_LINGER of 0).
    pub fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO)).unwrap();
    }
}

/// Waits until something becomes true.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Where a status line starts in `bytes`, and the status, for each one.
pub fn statuses(bytes: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(bytes);
    text.split("HTTP/1.1 ").skip(1).map(|part| part[..3].parse().unwrap()).collect()
}
