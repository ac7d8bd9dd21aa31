//! The half of a connection that only its worker touches: what the client sends, request by request.
//!
//! Input is parsed where it was read; only what is not consumed is copied and kept, so an idle or
//! parked connection holds no buffer. Whatever is refused is answered, and then what still comes
//! is thrown away for a while ("lingering close", RFC 9112 section 9.6): a client that is still
//! sending would otherwise lose the answer to a reset.

use std::any::Any;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::io::Errno;

use super::connection::{Connection, Responder};
use super::framing::{Chunked, Framing};
use super::head::{self, BadRequest, Head, Persistence, bad};
use super::limits::{Charge, Counters, Limits};
use super::listener::Permit;
use super::message::{Body, Request, Response};
use super::{Admission, Handler};

/// Input of one read, and how much pipelined input may wait for an answer.
pub(super) const READ_BYTES: usize = 64 << 10;
/// A body's buffer grows rather than be read into in smaller pieces than this.
const SMALL_READ_BYTES: usize = 4 << 10;
/// How much of one large body is read before other connections get their turn.
const TURN_BYTES: usize = 1 << 20;
/// How long, and how much, a client may go on sending after its last answer.
const LINGER: Duration = Duration::from_secs(5);
const LINGER_BYTES: usize = 64 << 20;

/// What a conversation needs of its worker.
pub(super) struct Context<'w> {
    pub(super) handler: &'w dyn Handler,
    pub(super) limits: &'w Limits,
    pub(super) counters: &'w Counters,
    /// The worker's read buffer, empty between reads.
    pub(super) scratch: &'w mut Vec<u8>,
    pub(super) now: Instant,
}

/// Whether the connection stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Open,
    Close,
}

pub(super) struct Conversation {
    pub(super) connection: Arc<Connection>,
    /// To read from; the connection's other handle of it is for writing.
    socket: Arc<TcpStream>,
    stage: Stage,
    /// Received and not consumed: the start of a head, or requests that wait for their turn.
    input: Vec<u8>,
    /// How much of `input` was searched for the head's end.
    seen: usize,
    /// What an unfinished head takes of the budget: a trusted peer's may be large.
    held: Option<Charge>,
    /// When the present stage began.
    since: Instant,
    lingered: usize,
    /// Whether the request that is being read is a HEAD, whose answer has no body.
    head_only: bool,
    /// The client's last byte was read.
    drained: bool,
    permit: Permit,
}

enum Stage {
    /// Between requests, or in a head.
    Head,
    Body(Box<Receiving>),
    /// The last answer is given; input is thrown away until the client closes.
    Linger,
}

/// A request whose head was admitted and whose body is arriving.
struct Receiving {
    head: Vec<u8>,
    body: Vec<u8>,
    decoder: Decoder,
    max_body_bytes: usize,
    charge: Charge,
    /// The handler's token for a pending body.
    pending: Option<Box<dyn Any + Send>>,
}

enum Decoder {
    Length(usize),
    Chunked(Chunked),
}

impl Conversation {
    pub(super) fn new(
        connection: Connection,
        socket: Arc<TcpStream>,
        permit: Permit,
        now: Instant,
    ) -> Conversation {
        Conversation {
            connection: Arc::new(connection),
            socket,
            stage: Stage::Head,
            input: Vec::new(),
            seen: 0,
            held: None,
            since: now,
            lingered: 0,
            head_only: false,
            drained: false,
            permit,
        }
    }

    /// The socket has input, or its end.
    pub(super) fn on_readable(&mut self, context: &mut Context<'_>) -> Next {
        let mut turn = 0;
        loop {
            let read = match self.read(context) {
                Ok(0) => return self.on_end(context),
                Ok(n) => n,
                Err(Errno::AGAIN) => return Next::Open,
                Err(Errno::INTR) => continue,
                Err(_) => {
                    self.connection.reset();
                    return Next::Close;
                }
            };
            turn += read;
            // A large body is read on; everything else usually came whole in this one read.
            if !matches!(self.stage, Stage::Body(_)) || turn >= TURN_BYTES {
                break;
            }
        }
        if self.lingered > LINGER_BYTES { Next::Close } else { Next::Open }
    }

    /// Reads once and consumes what came.
    fn read(&mut self, context: &mut Context<'_>) -> Result<usize, Errno> {
        if let Stage::Body(receiving) = &mut self.stage
            && let Decoder::Length(left) = receiving.decoder
        {
            // Straight into the body's own buffer. It is made as large as promised once so much has
            // really arrived: a promise alone costs no memory, and nothing is copied twice.
            let begun = receiving.body.len() >= READ_BYTES;
            let spare = receiving.body.capacity() - receiving.body.len();
            if begun || spare < left.min(SMALL_READ_BYTES) {
                receiving.body.reserve_exact(if begun { left } else { left.min(READ_BYTES) });
            }
            let read = rustix::io::read(&self.socket, spare_capacity(&mut receiving.body))?;
            let excess = read.saturating_sub(left);
            let keep = receiving.body.len() - excess;
            let rest = receiving.body.split_off(keep);
            receiving.decoder = Decoder::Length(left - (read - excess));
            self.consume_owned(context, rest);
            return Ok(read);
        }
        let mut scratch = std::mem::take(context.scratch);
        let read = rustix::io::read(&self.socket, spare_capacity(&mut scratch));
        if read.is_ok() && !scratch.is_empty() {
            if self.input.is_empty() {
                let taken = self.consume(context, &scratch);
                self.input.extend_from_slice(&scratch[taken..]);
            } else {
                let mut input = std::mem::take(&mut self.input);
                input.extend_from_slice(&scratch);
                self.consume_owned(context, input);
            }
        }
        scratch.clear();
        *context.scratch = scratch;
        read
    }

    fn consume_owned(&mut self, context: &mut Context<'_>, mut input: Vec<u8>) {
        let taken = self.consume(context, &input);
        if taken < input.len() {
            input.drain(..taken);
            self.input = input;
        } else {
            self.input = Vec::new();
        }
    }

    /// The answer is written and something was left for after it.
    pub(super) fn resume(&mut self, context: &mut Context<'_>) -> Next {
        let input = std::mem::take(&mut self.input);
        self.consume_owned(context, input);
        // Only what waits for another answer may keep the reading paused; a long head must go on.
        if self.input.len() < READ_BYTES || !self.connection.in_flight() {
            self.connection.resume_reading();
        }
        // Nothing more comes, so what is left of the input is no request.
        close_if(self.drained && !self.connection.wait_for_answer(false))
    }

    /// The client has sent its last byte, and that was read.
    fn on_end(&mut self, context: &mut Context<'_>) -> Next {
        self.drained = true;
        if self.on_finished(context) == Next::Close {
            return Next::Close;
        }
        close_if(!self.connection.wait_for_answer(false))
    }

    /// The client has sent its last byte, which may wait behind pipelined requests.
    ///
    /// It may still read: a caller with `shutdown(SHUT_WR)` is legal. Only a parked poll counts as
    /// gone (its watch says so), for an event must not go to a dead runtime.
    pub(super) fn on_finished(&mut self, context: &mut Context<'_>) -> Next {
        match self.connection.peer_finished(self.drained) {
            Some(watch) => {
                context.handler.peer_gone(watch);
                Next::Close
            }
            None => Next::Open,
        }
    }

    /// Consumes `data` as far as possible; what is left is for later.
    fn consume(&mut self, context: &mut Context<'_>, data: &[u8]) -> usize {
        let mut at = 0;
        loop {
            match &mut self.stage {
                Stage::Linger => {
                    self.lingered += data.len() - at;
                    return data.len();
                }
                Stage::Body(_) => {
                    at += self.receive(context, &data[at..]);
                    if matches!(self.stage, Stage::Body(_)) {
                        return at;
                    }
                }
                Stage::Head if at == data.len() => return at,
                Stage::Head if self.connection.in_flight() => {
                    let pause = data.len() - at >= READ_BYTES;
                    if self.connection.wait_for_answer(pause) {
                        return at;
                    }
                }
                // Looked at after `in_flight`: another thread's answer sets it before it clears
                // that, and a request after the last answer must not be seen.
                Stage::Head if self.connection.closing() => {
                    self.enter(Stage::Linger, context.now);
                }
                Stage::Head => match self.head(context, &data[at..]) {
                    0 => return at,
                    taken => at += taken,
                },
            }
        }
    }

    fn enter(&mut self, stage: Stage, now: Instant) {
        self.stage = stage;
        self.since = now;
        self.seen = 0;
        self.held = None;
    }

    /// Looks for a head at the start of `data`; 0 when it is not complete.
    fn head(&mut self, context: &mut Context<'_>, data: &[u8]) -> usize {
        self.head_only = data.starts_with(b"HEAD ");
        let blank = head::leading_blank(data);
        if blank > 0 {
            self.seen = 0;
            self.held = None;
            return blank;
        }
        let limits = context.limits;
        let mut max = limits.max_head_bytes;
        if data.len() > max {
            max = max.max(context.handler.max_head_bytes(self.connection.peer));
        }
        let end = match head::end(data, self.seen, max, limits) {
            Ok(Some(end)) => end,
            Ok(None) => return self.await_head(context, data),
            Err(error) => return self.refuse(context, error, data.len()),
        };
        self.seen = 0;
        self.held = None;
        let mut room = head::header_room();
        let head = head::parse(&data[..end], &mut room, self.connection.from(), context.limits);
        match head.and_then(|head| Framing::of(&head).map(|framing| (head, framing))) {
            Ok((head, framing)) => self.request(context, head, framing, data, end),
            Err(error) => self.refuse(context, error, end),
        }
    }

    /// The head's end has not arrived: what there is of it is kept, within the budget.
    fn await_head(&mut self, context: &mut Context<'_>, data: &[u8]) -> usize {
        if self.seen == 0 {
            self.since = context.now; // the head's deadline runs from its first byte
        }
        self.seen = data.len();
        let (total, own) = (&context.counters.buffered_bytes, &self.permit.buffered_bytes);
        let held = self.held.get_or_insert_with(|| Charge::new(total, own.clone()));
        if held.grow_to(data.len(), context.limits.max_buffered_bytes) {
            return 0;
        }
        self.refuse(context, TOO_MUCH_BUFFERED, data.len())
    }

    /// A head is complete: decide on it, and go on with its body.
    fn request(
        &mut self,
        context: &mut Context<'_>,
        head: Head<'_>,
        framing: Framing,
        data: &[u8],
        end: usize,
    ) -> usize {
        Counters::add(&context.counters.requests);
        let max_body_bytes = match context.handler.admit(&head) {
            Admission::Accept { max_body_bytes } => max_body_bytes,
            Admission::Refuse(response) => {
                let body = framing != Framing::Length(0);
                let persistence = if body { Persistence::Close } else { head.persistence() };
                self.answer(context, response, persistence);
                return end;
            }
        };
        let decoder = match framing {
            Framing::Chunked => Decoder::Chunked(Chunked::new()),
            Framing::Length(length) => match usize::try_from(length) {
                Ok(length) if length <= max_body_bytes => Decoder::Length(length),
                _ => {
                    let response = context.handler.body_too_large(&head);
                    self.answer(context, response, Persistence::Close);
                    return end;
                }
            },
        };
        let own = self.permit.buffered_bytes.clone();
        let mut charge = Charge::new(&context.counters.buffered_bytes, own);
        if let Decoder::Length(length) = decoder
            && let Some(body) = data[end..].get(..length)
        {
            if !charge.grow_to(length, context.limits.max_buffered_bytes) {
                return self.refuse(context, TOO_MUCH_BUFFERED, end);
            }
            let body = Body::charged(body.to_vec(), charge);
            self.handle(context, head, body);
            return end + length;
        }
        if !charge.grow_to(end, context.limits.max_buffered_bytes) {
            return self.refuse(context, TOO_MUCH_BUFFERED, end);
        }
        if head.expects_continue() && data.len() == end {
            self.connection.interim(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let receiving = Receiving {
            head: data[..end].to_vec(),
            body: Vec::new(),
            decoder,
            max_body_bytes,
            charge,
            pending: context.handler.body_pending(&head),
        };
        self.enter(Stage::Body(Box::new(receiving)), context.now);
        end
    }

    /// Takes body bytes from `data`; the stage changes when the body is complete or refused.
    fn receive(&mut self, context: &mut Context<'_>, data: &[u8]) -> usize {
        let Stage::Body(receiving) = &mut self.stage else { return 0 };
        let (taken, done) = match &mut receiving.decoder {
            Decoder::Length(left) => {
                let take = data.len().min(*left);
                receiving.body.extend_from_slice(&data[..take]);
                *left -= take;
                (take, *left == 0)
            }
            Decoder::Chunked(chunked) => {
                match chunked.decode(data, &mut receiving.body, receiving.max_body_bytes) {
                    Ok(Some(taken)) => (taken, chunked.is_done()),
                    Ok(None) => return self.refuse_body(context, data.len()),
                    Err(error) => return self.refuse(context, error, data.len()),
                }
            }
        };
        let kept = receiving.head.len() + receiving.body.len();
        if !receiving.charge.grow_to(kept, context.limits.max_buffered_bytes) {
            return self.refuse(context, TOO_MUCH_BUFFERED, data.len());
        }
        if done && let Stage::Body(receiving) = std::mem::replace(&mut self.stage, Stage::Head) {
            self.enter(Stage::Head, context.now);
            let Receiving { head, body, charge, pending, .. } = *receiving;
            let mut room = head::header_room();
            // It was parsed before; it is kept as bytes because a parsed head borrows from them.
            if let Ok(head) = head::parse(&head, &mut room, self.connection.from(), context.limits)
            {
                self.handle(context, head, Body::charged(body, charge));
            }
            drop(pending);
        }
        taken
    }

    fn handle(&mut self, context: &mut Context<'_>, head: Head<'_>, body: Body) {
        self.connection.begin();
        let responder = Responder::new(self.connection.clone(), self.head_only, head.persistence());
        let request = Request { head, body };
        let run = AssertUnwindSafe(|| context.handler.handle(request, responder));
        // The responder was dropped by the unwinding, which has answered 500.
        if catch_unwind(run).is_err() {
            Counters::add(&context.counters.panics);
            log::error!("a handler panicked; the request was answered 500");
        }
    }

    /// A chunked body has outgrown its limit.
    fn refuse_body(&mut self, context: &mut Context<'_>, taken: usize) -> usize {
        if let Stage::Body(receiving) = std::mem::replace(&mut self.stage, Stage::Head) {
            let mut room = head::header_room();
            let from = self.connection.from();
            if let Ok(head) = head::parse(&receiving.head, &mut room, from, context.limits) {
                let response = context.handler.body_too_large(&head);
                self.answer(context, response, Persistence::Close);
            }
        }
        taken
    }

    fn refuse(&mut self, context: &mut Context<'_>, error: BadRequest, taken: usize) -> usize {
        Counters::add(&context.counters.bad_requests);
        log::debug!("refused a request of {}: {}", self.connection.peer, error.message);
        let body = format!(r#"{{"message":"{}"}}"#, error.message);
        let mut response = Response::json(error.status, body);
        if error.status == 503 {
            response.push_header("Retry-After", "1");
        }
        self.answer(context, response, Persistence::Close);
        taken
    }

    /// Answers without a handler; after the last answer what still comes is thrown away.
    fn answer(&mut self, context: &mut Context<'_>, response: Response, persistence: Persistence) {
        self.connection.begin();
        Responder::new(self.connection.clone(), self.head_only, persistence).send(response);
        if persistence == Persistence::Close {
            self.enter(Stage::Linger, context.now);
        }
    }

    /// A handler panicked outside [`Handler::handle`], where no responder's drop answers.
    pub(super) fn fail(&mut self, context: &mut Context<'_>) -> Next {
        if self.connection.in_flight() {
            return Next::Close;
        }
        self.connection.begin();
        drop(Responder::new(self.connection.clone(), self.head_only, Persistence::Close));
        self.enter(Stage::Linger, context.now);
        Next::Open
    }

    /// The regular look at deadlines.
    pub(super) fn tick(&mut self, context: &mut Context<'_>) -> Next {
        let limits = context.limits;
        let write = self.connection.write_status();
        let waited = |since: Instant| context.now.saturating_duration_since(since);
        if write.unsent {
            return close_if(waited(write.progress) > limits.write_timeout);
        }
        if self.connection.in_flight() {
            return Next::Open;
        }
        if write.shut || matches!(self.stage, Stage::Linger) {
            return close_if(waited(write.progress.max(self.since)) > LINGER);
        }
        match &self.stage {
            Stage::Body(_) if waited(self.since) > limits.body_timeout => {
                self.time_out(context, "The request's body did not arrive in time.")
            }
            Stage::Head if self.seen > 0 && waited(self.since) > limits.head_timeout => {
                self.time_out(context, "The request's head did not arrive in time.")
            }
            Stage::Head if self.seen == 0 => {
                // `since` is the connection's start until its first answer.
                let idle = waited(write.progress.max(self.since));
                let fresh = write.progress <= self.since;
                let limit = if fresh { limits.head_timeout } else { limits.keep_alive_timeout };
                close_if(idle > limit)
            }
            _ => Next::Open,
        }
    }

    fn time_out(&mut self, context: &mut Context<'_>, message: &'static str) -> Next {
        self.input = Vec::new();
        self.refuse(context, bad(408, message), 0);
        Next::Open
    }
}

fn close_if(close: bool) -> Next {
    if close { Next::Close } else { Next::Open }
}

const TOO_MUCH_BUFFERED: BadRequest =
    bad(503, "This service holds as many unfinished requests and bodies as it may; try again.");
