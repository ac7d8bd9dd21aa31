//! A conversation over a socket, on the thread of who asks: bytes in, requests seen and answers out.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crossbeam_channel::Receiver;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, Event, EventFlags};
use rustix::event::{EventfdFlags, Timespec};

use super::{MAX_BODY_BYTES, limits, reference};
use crate::fuzzing::{Seed, pieces};
use crate::http::connection::{Connection, Mail, Mailbox, Responder};
use crate::http::conversation::{Context, Conversation, Next, READ_BYTES};
use crate::http::limits::{Counters, Limits};
use crate::http::listener::Admittance;
use crate::http::{Admission, Handler, Head, Request, Response};

/// A connection that ends after `data`: the handler sees the requests that a plain reading finds,
/// in their order and with their bodies, up to the first that is refused, and nothing behind it.
/// Where the bytes were cut changes neither that nor any byte of the answers.
pub fn connection(data: &[u8]) {
    let whole = converse(&[data]);
    let (expected, then) = requests(data);
    let answers = count(&whole.answers);
    match then {
        Then::Unknown => assert!(whole.seen.starts_with(&expected)),
        Then::Refused => {
            assert_eq!(whole.seen, expected);
            assert!(answers <= expected.len() + 1, "more answers than requests");
        }
        Then::Nothing => {
            assert_eq!(whole.seen, expected);
            assert_eq!(answers, expected.len());
        }
    }
    // Byte by byte costs a poll for each, which a long input need not.
    let short = (data.len() <= 160).then(|| data.chunks(1).collect());
    for cuts in [pieces(data)].into_iter().chain(short) {
        let other = converse(&cuts);
        assert_eq!(other.seen, whole.seen);
        assert_eq!(
            String::from_utf8_lossy(&other.answers),
            String::from_utf8_lossy(&whole.answers)
        );
    }
}

fn count(answers: &[u8]) -> usize {
    answers.windows(4).filter(|bytes| *bytes == b"\r\n\r\n").count()
}

/// What comes behind the requests that a plain reading finds.
enum Then {
    /// Nothing that could be one more.
    Nothing,
    /// One that is not whole, or to be refused: nothing behind it is a request.
    Refused,
    /// One of which the plain reading does not know.
    Unknown,
}

fn requests(mut data: &[u8]) -> (Vec<String>, Then) {
    let mut found = Vec::new();
    loop {
        while let Some(rest) = data.strip_prefix(b"\r\n") {
            data = rest;
        }
        if data.is_empty() {
            return (found, Then::Nothing);
        }
        let Some(end) = reference::end(data) else { return (found, Then::Refused) };
        let Some(head) = reference::head(&data[..end]) else { return (found, Then::Refused) };
        if !head.is_plain() {
            return (found, Then::Unknown);
        }
        data = &data[end..];
        let read = match reference::framing(&head) {
            None => None,
            Some(reference::Framing::Length(length)) => {
                let length =
                    usize::try_from(length).ok().filter(|length| *length <= MAX_BODY_BYTES);
                length.and_then(|length| Some((data.get(..length)?.to_vec(), length)))
            }
            Some(reference::Framing::Chunked) => reference::chunked(data, MAX_BODY_BYTES),
        };
        let Some((body, taken)) = read else { return (found, Then::Refused) };
        data = &data[taken..];
        found.push(line(head.method, head.target, &body));
        if closes(&head) {
            return (found, Then::Nothing);
        }
    }
}

fn closes(head: &reference::Head<'_>) -> bool {
    let options = head.all("connection").join(&b',');
    let named = |name: &[u8]| {
        options.split(|&byte| byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(name))
    };
    named(b"close") || (head.minor == 0 && !named(b"keep-alive"))
}

fn line(method: &[u8], target: &[u8], body: &[u8]) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{} {} {body:?}", text(method), text(target))
}

/// Answers at once, but for paths that begin with `/p`: those later, as from another thread.
#[derive(Default)]
struct Recorder {
    seen: Mutex<Vec<String>>,
    parked: Mutex<Vec<Responder>>,
}

impl Handler for Recorder {
    fn admit(&self, _head: &Head<'_>) -> Admission {
        Admission::Accept { max_body_bytes: MAX_BODY_BYTES }
    }

    fn handle(&self, request: Request<'_>, responder: Responder) {
        let head = &request.head;
        let query = head.query.map(|query| format!("?{query}")).unwrap_or_default();
        let target = format!("{}{query}", head.path);
        let seen = line(head.method.as_bytes(), target.as_bytes(), &request.body);
        self.seen.lock().unwrap().push(seen);
        if head.path.starts_with("/p") {
            self.parked.lock().unwrap().push(responder);
        } else {
            responder.send(Response::new(200));
        }
    }

    fn body_too_large(&self, _head: &Head<'_>) -> Response {
        Response::new(413)
    }
}

/// What came of a connection.
struct Outcome {
    seen: Vec<String>,
    /// Without dates, and without interim answers: whether those are sent, the reads decide.
    answers: Vec<u8>,
}

/// What connections of one thread share.
struct Shared {
    mailbox: Arc<Mailbox>,
    mail: Receiver<Mail>,
    limits: Arc<Limits>,
    counters: Arc<Counters>,
}

impl Shared {
    fn new() -> Shared {
        let (sender, mail) = crossbeam_channel::unbounded();
        let mailbox = Arc::new(Mailbox {
            mail: sender,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).unwrap(),
            wake: rustix::event::eventfd(0, EventfdFlags::NONBLOCK).unwrap(),
            asked: AtomicBool::new(false),
        });
        Shared { mailbox, mail, limits: Arc::new(limits()), counters: Arc::default() }
    }
}

thread_local! {
    static SHARED: RefCell<Shared> = RefCell::new(Shared::new());
}

fn converse(pieces: &[&[u8]]) -> Outcome {
    SHARED.with_borrow(|shared| {
        let recorder = Recorder::default();
        let answers = Talk::begin(shared, &recorder).run(pieces);
        assert_eq!(shared.counters.buffered_bytes.load(std::sync::atomic::Ordering::SeqCst), 0);
        Outcome { seen: recorder.seen.into_inner().unwrap(), answers: plain(&answers) }
    })
}

struct Talk<'s> {
    shared: &'s Shared,
    recorder: &'s Recorder,
    conversation: Conversation,
    client: UnixStream,
    scratch: Vec<u8>,
    answers: Vec<u8>,
    open: bool,
}

impl<'s> Talk<'s> {
    fn begin(shared: &'s Shared, recorder: &'s Recorder) -> Talk<'s> {
        let (client, server) = UnixStream::pair().unwrap();
        client.set_nonblocking(true).unwrap();
        server.set_nonblocking(true).unwrap();
        let socket = Arc::new(TcpStream::from(OwnedFd::from(server)));
        let admittance = Admittance::new(shared.limits.clone(), Arc::default());
        let peer = ([127, 0, 0, 1], 1).into();
        let permit = admittance.admit(([127, 0, 0, 1]).into()).unwrap();
        let now = Instant::now();
        let mailbox = shared.mailbox.clone();
        let connection = Connection::new(socket.clone(), peer, 1, mailbox, now).unwrap();
        let conversation = Conversation::new(connection, socket, permit, now);
        let scratch = Vec::with_capacity(READ_BYTES);
        Talk { shared, recorder, conversation, client, scratch, answers: Vec::new(), open: true }
    }

    fn run(mut self, pieces: &[&[u8]]) -> Vec<u8> {
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() && self.open {
                match self.client.write(rest) {
                    Ok(written) => rest = &rest[written..],
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
                self.settle();
            }
        }
        let _ = self.client.shutdown(Shutdown::Write);
        self.settle();
        self.conversation.connection.abandon();
        self.take_answers();
        self.answers
    }

    fn context<T>(&mut self, act: impl FnOnce(&mut Conversation, &mut Context<'_>) -> T) -> T {
        let mut context = Context {
            handler: self.recorder,
            limits: &self.shared.limits,
            counters: &self.shared.counters,
            scratch: &mut self.scratch,
            now: Instant::now(),
        };
        act(&mut self.conversation, &mut context)
    }

    /// Does what a worker would, until nothing is left to do.
    fn settle(&mut self) {
        let mut busy = true;
        while busy && self.open {
            busy = false;
            if let Some(flags) = self.event() {
                busy = true;
                let next = self.context(|conversation, context| {
                    if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
                        return Next::Close;
                    }
                    if flags.contains(EventFlags::OUT) && !conversation.connection.on_writable() {
                        return Next::Close;
                    }
                    if flags.contains(EventFlags::IN) {
                        return conversation.on_readable(context);
                    }
                    conversation.on_finished(context)
                });
                self.open &= next == Next::Open;
            }
            let parked = std::mem::take(&mut *self.recorder.parked.lock().unwrap());
            for responder in parked {
                busy = true;
                responder.send(Response::new(202));
            }
            busy |= self.take_answers();
            while let Ok(mail) = self.shared.mail.try_recv() {
                busy = true;
                if matches!(mail, Mail::Resume(_)) {
                    let next = self.context(|conversation, context| conversation.resume(context));
                    self.open &= next == Next::Open;
                }
            }
        }
    }

    /// What the poller tells, if anything.
    fn event(&self) -> Option<EventFlags> {
        let mut events: Vec<Event> = Vec::with_capacity(1);
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&self.shared.mailbox.epoll, spare_capacity(&mut events), Some(&none)).unwrap();
        events.first().map(|event| event.flags)
    }

    fn take_answers(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.client.read(&mut buffer) {
            Ok(read) if read > 0 => {
                self.answers.extend_from_slice(&buffer[..read]);
                true
            }
            _ => false,
        }
    }
}

fn plain(answers: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(answers.to_vec()).unwrap();
    let text = text.replace("HTTP/1.1 100 Continue\r\n\r\n", "");
    let lines = text.split_inclusive("\r\n").filter(|line| !line.starts_with("Date: "));
    lines.collect::<String>().into_bytes()
}

pub const SEEDS: &[Seed] = &[
    ("one", b"GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("length", b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("chunked", b"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nA: b\r\n\r\nHEAD /c HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("old", b"\r\nGET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\nGET /c HTTP/1.0\r\n\r\n"),
    ("expect", b"PUT /p HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nxGET /d HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /e HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("both", b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /e HTTP/1.1\r\nHost: h\r\n\r\n"),
];
