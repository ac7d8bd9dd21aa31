//! The half of a connection that every thread may touch: its socket's write side.
//!
//! Whoever has an answer writes it itself, under the connection's short lock. What the socket does
//! not take at once stays queued here, and the owning worker goes on when the socket is writable.
//! Invariants: one request of a connection is in flight at a time; only the owner starts one, and
//! exactly one answer, once it is written, or the close of the connection ends it. So a client that
//! pipelines without reading makes at most one answer wait here. The descriptor closes when the
//! owner lets go, however long a responder is kept.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crossbeam_channel::Sender;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::sockopt;

use super::head::{From, Persistence};
use super::message::{Body, Response};

/// Numbers connections; see `Head::connection`.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// Names a parked request to [`Handler::peer_gone`](super::Handler::peer_gone).
pub type WatchId = u64;

/// What other threads send to a worker.
pub(super) enum Mail {
    Accepted(TcpStream, SocketAddr, super::listener::Permit),
    /// The connection's answer is written, and its owner has something to do after that.
    Resume(u64),
    Stop,
}

/// The way to one worker. The channel is unbounded because each open connection has at most one
/// message in it, and open connections are bounded.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) mail: Sender<Mail>,
    pub(super) epoll: OwnedFd,
    pub(super) wake: OwnedFd,
    /// A sign of life was asked for, and the worker has not woken since.
    pub(super) asked: AtomicBool,
}

impl Mailbox {
    pub(super) fn post(&self, mail: Mail) {
        // Fails only when the worker has ended; then nothing waits for the message either.
        if self.mail.send(mail).is_ok() {
            self.wake_up();
        }
    }

    /// Whether the worker has woken since this was last asked; asks it to, for the next time.
    pub(super) fn beat(&self) -> bool {
        let answered = !self.asked.swap(true, Ordering::SeqCst);
        self.wake_up();
        answered
    }

    fn wake_up(&self) {
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

/// See the module's text.
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    pub(super) token: u64,
    number: u64,
    owner: Arc<Mailbox>,
    in_flight: AtomicBool,
    /// The last answer of this connection has been written.
    closing: AtomicBool,
    write: Mutex<WriteSide>,
}

struct WriteSide {
    /// None when the owner has let go.
    socket: Option<Arc<TcpStream>>,
    /// The peer takes nothing more, or must get nothing more.
    gone: bool,
    queue: VecDeque<Unsent>,
    /// The answer of the request in flight is given; whether it is the connection's last.
    answered: Option<bool>,
    shut: bool,
    /// The peer will send nothing more.
    finished: bool,
    /// What it sent is read to the end.
    drained: bool,
    /// The owner has stopped reading because too much pipelined input waits.
    paused: bool,
    /// The owner wants [`Mail::Resume`] after the answer.
    resume: bool,
    watch: Option<WatchId>,
    /// The watch of the last request, which is answered.
    watched: Option<WatchId>,
    /// The peer has reset the connection.
    reset: bool,
    interest: EventFlags,
    /// When something was last written, or an answer given.
    progress: Instant,
}

struct Unsent {
    bytes: Body,
    from: usize,
}

/// A write side's answer to the owner's regular look.
pub(super) struct WriteStatus {
    pub(super) unsent: bool,
    pub(super) shut: bool,
    pub(super) progress: Instant,
}

/// What an abandoned connection leaves.
pub(super) enum Left {
    Nothing,
    /// The watch of a request that was parked on it.
    Parked(WatchId),
    /// The same of one that was answered, and whose peer has not read all of that.
    Unread(WatchId),
}

impl Connection {
    pub(super) fn new(
        socket: Arc<TcpStream>,
        peer: SocketAddr,
        token: u64,
        owner: Arc<Mailbox>,
        now: Instant,
    ) -> io::Result<Connection> {
        let interest = EventFlags::IN | EventFlags::RDHUP;
        epoll::add(&owner.epoll, &socket, EventData::new_u64(token), interest)?;
        Ok(Connection {
            peer,
            token,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            owner,
            in_flight: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            write: Mutex::new(WriteSide {
                socket: Some(socket),
                gone: false,
                queue: VecDeque::new(),
                answered: None,
                shut: false,
                finished: false,
                drained: false,
                paused: false,
                resume: false,
                watch: None,
                watched: None,
                reset: false,
                interest,
                progress: now,
            }),
        })
    }

    /// What heads read from this connection say of where they come from.
    pub(super) fn from(&self) -> From {
        From { peer: self.peer, connection: self.number }
    }

    fn lock(&self) -> MutexGuard<'_, WriteSide> {
        // A panic while the lock was held leaves a write side that is whole enough to be closed.
        self.write.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn in_flight(&self) -> bool {
        self.in_flight.load(Ordering::Acquire)
    }

    pub(super) fn closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Marks the start of a request. Only the owner calls this.
    pub(super) fn begin(&self) {
        self.lock().watched = None;
        self.in_flight.store(true, Ordering::Release);
    }

    /// Writes the answer of the request in flight; false when nobody is there to read it.
    fn answer(&self, mut response: Response, head_only: bool, persistence: Persistence) -> bool {
        let close = persistence == Persistence::Close || response.close;
        response.finish(if close { Persistence::Close } else { persistence });
        let body = response.take_body().filter(|body| !head_only && !body.is_empty());
        let mut side = self.lock();
        side.watched = side.watch.take();
        side.progress = Instant::now();
        side.answered = Some(close);
        let delivered = self.write_now(&mut side, response.head, body);
        self.settle(&mut side);
        delivered
    }

    /// Ends the request in flight when its answer is written.
    fn settle(&self, side: &mut WriteSide) {
        if !side.queue.is_empty() {
            return;
        }
        let Some(close) = side.answered.take() else { return };
        if close || side.gone {
            self.closing.store(true, Ordering::Release);
            if let Some(socket) = &side.socket
                && !side.shut
            {
                side.shut = true;
                let _ = socket.shutdown(Shutdown::Write);
            }
        }
        self.in_flight.store(false, Ordering::Release);
        if std::mem::take(&mut side.resume) {
            self.owner.post(Mail::Resume(self.token));
        }
    }

    /// Writes as much as the socket takes and queues the rest; false when the peer is gone.
    fn write_now(&self, side: &mut WriteSide, head: Vec<u8>, body: Option<Body>) -> bool {
        let Some(socket) = side.socket.clone().filter(|_| !side.gone) else { return false };
        let mut written = 0;
        if side.queue.is_empty() {
            let slices = [IoSlice::new(&head), IoSlice::new(body.as_deref().unwrap_or_default())];
            match retry(|| rustix::io::writev(&socket, &slices)) {
                Ok(n) => written = n,
                Err(rustix::io::Errno::AGAIN) => {}
                Err(_) => return refused(side),
            }
        }
        let head_len = head.len();
        if written < head_len {
            side.queue.push_back(Unsent { bytes: head.into(), from: written });
        }
        if let Some(body) = body {
            let from = written.saturating_sub(head_len);
            if from < body.len() {
                side.queue.push_back(Unsent { bytes: body, from });
            }
        }
        side.queue.is_empty() || self.flush(side)
    }

    /// Writes queued bytes; false when the peer is gone.
    fn flush(&self, side: &mut WriteSide) -> bool {
        let Some(socket) = side.socket.clone() else { return false };
        while let Some(unsent) = side.queue.front_mut() {
            match retry(|| rustix::io::write(&socket, &unsent.bytes[unsent.from..])) {
                Ok(n) => {
                    unsent.from += n;
                    side.progress = Instant::now();
                    if unsent.from >= unsent.bytes.len() {
                        side.queue.pop_front();
                    }
                }
                Err(rustix::io::Errno::AGAIN) => break,
                Err(_) => return refused(side),
            }
        }
        self.update_interest(side);
        true
    }

    /// Asks the poller for what is wanted now. Level-triggered, so whoever changes it may be any
    /// thread and nothing is missed; and what nobody acts on is not asked for, or it would spin.
    fn update_interest(&self, side: &mut WriteSide) {
        let mut wanted = EventFlags::empty();
        wanted.set(EventFlags::IN, !side.paused && !side.drained);
        wanted.set(EventFlags::RDHUP, !side.finished);
        wanted.set(EventFlags::OUT, !side.queue.is_empty());
        if wanted != side.interest
            && let Some(socket) = &side.socket
        {
            let data = EventData::new_u64(self.token);
            if epoll::modify(&self.owner.epoll, socket, data, wanted).is_ok() {
                side.interest = wanted;
            }
        }
    }

    /// The socket is writable. False when the peer is gone.
    pub(super) fn on_writable(&self) -> bool {
        let mut side = self.lock();
        let alive = self.flush(&mut side);
        self.settle(&mut side);
        alive
    }

    /// Writes an interim response (RFC 9110 section 15.2).
    pub(super) fn interim(&self, head: &'static [u8]) {
        let mut side = self.lock();
        side.progress = Instant::now();
        self.write_now(&mut side, head.to_vec(), None);
    }

    /// Asks for [`Mail::Resume`] when the answer of the request in flight is written. False when
    /// it is already. `pause` stops reading until then.
    pub(super) fn wait_for_answer(&self, pause: bool) -> bool {
        let mut side = self.lock();
        if !self.in_flight() {
            return false;
        }
        side.resume = true;
        side.paused = pause;
        self.update_interest(&mut side);
        true
    }

    pub(super) fn resume_reading(&self) {
        let mut side = self.lock();
        side.paused = false;
        self.update_interest(&mut side);
    }

    /// The peer has sent its last byte; `drained` when that was read too. Returns the watch of a
    /// parked request, whose peer then counts as gone.
    pub(super) fn peer_finished(&self, drained: bool) -> Option<WatchId> {
        let mut side = self.lock();
        side.finished = true;
        side.drained |= drained;
        self.update_interest(&mut side);
        let watch = side.watch.take();
        // An answer that is being made just now must not count as delivered.
        side.gone |= watch.is_some();
        watch
    }

    /// Reading has failed.
    pub(super) fn reset(&self) {
        self.lock().reset = true;
    }

    /// The owner lets go of the connection.
    pub(super) fn abandon(&self) -> Left {
        let mut side = self.lock();
        side.gone = true;
        side.queue.clear();
        let watched = side.watched.take();
        let mut reset = side.reset;
        if let Some(socket) = side.socket.take() {
            let _ = epoll::delete(&self.owner.epoll, &socket);
            reset |= watched.is_some() && !matches!(sockopt::socket_error(&*socket), Ok(Ok(())));
        }
        match (side.watch.take(), watched) {
            (Some(watch), _) => Left::Parked(watch),
            (None, Some(watch)) if reset => Left::Unread(watch),
            _ => Left::Nothing,
        }
    }

    pub(super) fn write_status(&self) -> WriteStatus {
        let side = self.lock();
        WriteStatus { unsent: !side.queue.is_empty(), shut: side.shut, progress: side.progress }
    }
}

/// The socket does not take what is written. False, as the answer of a write.
fn refused(side: &mut WriteSide) -> bool {
    side.reset = true;
    give_up(side)
}

/// The peer is to have nothing more: end both ways, so that the owner sees a hang-up.
/// False, as the answer of a write.
fn give_up(side: &mut WriteSide) -> bool {
    side.gone = true;
    side.queue.clear();
    if let Some(socket) = &side.socket {
        let _ = socket.shutdown(Shutdown::Both);
    }
    false
}

fn retry(mut call: impl FnMut() -> rustix::io::Result<usize>) -> rustix::io::Result<usize> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            result => return result,
        }
    }
}

/// The one answer of one request. It may be kept, and sent to any thread.
///
/// Dropped without an answer it says 500: no client is left to wait for a bug.
pub struct Responder {
    connection: Option<Arc<Connection>>,
    head_only: bool,
    persistence: Persistence,
}

impl Responder {
    pub(super) fn new(
        connection: Arc<Connection>,
        head_only: bool,
        persistence: Persistence,
    ) -> Responder {
        Responder { connection: Some(connection), head_only, persistence }
    }

    /// Writes the response. False when the client is known to be gone; true does not mean that it
    /// has read anything.
    pub fn send(mut self, response: Response) -> bool {
        match self.connection.take() {
            Some(connection) => connection.answer(response, self.head_only, self.persistence),
            None => false,
        }
    }

    /// Asks for [`Handler::peer_gone`](super::Handler::peer_gone) with this id when the client
    /// goes away before the answer. False when it has gone already.
    pub fn watch(&self, id: WatchId) -> bool {
        let Some(connection) = &self.connection else { return false };
        let mut side = connection.lock();
        if side.gone || side.finished {
            return false;
        }
        side.watch = Some(id);
        true
    }

    /// Closes the connection without an answer: for a parked poll when the service stops.
    pub fn hang_up(mut self) {
        if let Some(connection) = self.connection.take() {
            let mut side = connection.lock();
            side.watch = None;
            give_up(&mut side);
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            let body = r#"{"message":"The service failed to answer this request."}"#;
            connection.answer(Response::json(500, body), self.head_only, Persistence::Close);
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.connection.as_ref().map(|connection| connection.peer);
        f.debug_struct("Responder").field("peer", &peer).finish_non_exhaustive()
    }
}
