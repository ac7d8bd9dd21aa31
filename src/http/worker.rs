//! A worker: the event loop over its connections.
//!
//! It reads, parses and runs handlers itself, and handlers write answers straight into whichever
//! socket they belong to, so a warm invocation passes no queue between threads: each hand-off
//! would cost two futex calls and a wake-up, more than the work itself.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

use super::Handler;
use super::connection::{Connection, Left, Mail, Mailbox};
use super::conversation::{Context, Conversation, Next, READ_BYTES};
use super::limits::{Counters, Limits};
use super::listener::Permit;

/// How often deadlines are looked at. Coarse: a late close harms nobody.
const TICK: Duration = Duration::from_secs(1);
/// Events taken from the poller at once.
const EVENTS: usize = 256;
/// How long answers that are still being written may take when the service stops.
const STOP_GRACE: Duration = Duration::from_secs(2);
const WAKE: u64 = u64::MAX;

/// Starts a worker. It ends when it is sent [`Mail::Stop`].
pub(super) fn start(
    index: usize,
    limits: Arc<Limits>,
    counters: Arc<Counters>,
    handler: Arc<dyn Handler>,
) -> io::Result<(Arc<Mailbox>, JoinHandle<()>)> {
    let (sender, mail) = crossbeam_channel::unbounded();
    let mailbox = Arc::new(Mailbox {
        mail: sender,
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        asked: AtomicBool::new(false),
    });
    epoll::add(&mailbox.epoll, &mailbox.wake, EventData::new_u64(WAKE), EventFlags::IN)?;
    let worker = Worker {
        mailbox: mailbox.clone(),
        mail,
        limits,
        counters,
        handler,
        slots: Vec::new(),
        free: Vec::new(),
        scratch: Vec::with_capacity(READ_BYTES),
        stopping: None,
    };
    let thread = thread::Builder::new().name(name(index)).spawn(move || worker.run())?;
    Ok((mailbox, thread))
}

/// What the thread of a worker is called.
pub(super) fn name(index: usize) -> String {
    format!("http-{index}")
}

struct Worker {
    mailbox: Arc<Mailbox>,
    mail: Receiver<Mail>,
    limits: Arc<Limits>,
    counters: Arc<Counters>,
    handler: Arc<dyn Handler>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    scratch: Vec<u8>,
    stopping: Option<Instant>,
}

/// A place for a connection. The generation is part of the token that the poller gives back, so
/// an event of a connection that has gone cannot reach the one that took its place.
struct Slot {
    generation: u32,
    conversation: Option<Conversation>,
}

fn token(index: usize, generation: u32) -> u64 {
    u64::from(generation) << 32 | index as u64
}

impl Worker {
    fn run(mut self) {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        let mut next_tick = Instant::now() + TICK;
        loop {
            let now = Instant::now();
            let idle = self.slots.len() == self.free.len() && self.stopping.is_none();
            let wait = (!idle).then(|| timespec(next_tick.saturating_duration_since(now)));
            events.clear();
            match epoll::wait(&self.mailbox.epoll, spare_capacity(&mut events), wait.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    // Only a broken descriptor gets here; the loop must not spin on it.
                    log::error!("waiting for connections failed: {error}");
                    thread::sleep(TICK);
                }
            }
            let now = Instant::now();
            for event in &events {
                match event.data.u64() {
                    WAKE => self.take_mail(now),
                    token => self.on_event(token, event.flags, now),
                }
            }
            if now >= next_tick {
                next_tick = now + TICK;
                self.tick(now);
            }
            if self.stopping.is_some_and(|since| self.may_stop(since, now)) {
                return;
            }
        }
    }

    fn take_mail(&mut self, now: Instant) {
        let mut count = [0u8; 8];
        let _ = rustix::io::read(&self.mailbox.wake, &mut count);
        self.mailbox.asked.store(false, Ordering::SeqCst);
        while let Ok(mail) = self.mail.try_recv() {
            match mail {
                Mail::Accepted(socket, peer, permit) => self.open(socket, peer, permit, now),
                Mail::Resume(token) => {
                    self.with(token, now, |conversation, context| conversation.resume(context));
                }
                Mail::Stop => self.stopping = Some(now),
            }
        }
    }

    fn open(&mut self, socket: TcpStream, peer: SocketAddr, permit: Permit, now: Instant) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, conversation: None });
            self.slots.len() - 1
        });
        let slot = &mut self.slots[index];
        slot.generation = slot.generation.wrapping_add(1) & 0x7fff_ffff;
        let token = token(index, slot.generation);
        let socket = Arc::new(socket);
        match Connection::new(socket.clone(), peer, token, self.mailbox.clone(), now) {
            Ok(connection) => {
                slot.conversation = Some(Conversation::new(connection, socket, permit, now));
            }
            Err(error) => {
                log::warn!("a connection of {peer} could not be watched: {error}");
                self.free.push(index);
            }
        }
    }

    fn on_event(&mut self, token: u64, flags: EventFlags, now: Instant) {
        self.with(token, now, |conversation, context| {
            if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
                return Next::Close;
            }
            if flags.contains(EventFlags::OUT) && !conversation.connection.on_writable() {
                return Next::Close;
            }
            if flags.contains(EventFlags::IN) {
                return conversation.on_readable(context);
            }
            // Without input: reading is paused, and what waits in the socket stays there.
            if flags.contains(EventFlags::RDHUP) {
                return conversation.on_finished(context);
            }
            Next::Open
        });
    }

    /// Runs `act` on a connection, if it still exists, and closes it if told to.
    fn with(
        &mut self,
        token: u64,
        now: Instant,
        act: impl FnOnce(&mut Conversation, &mut Context<'_>) -> Next,
    ) {
        let index = (token & 0xffff_ffff) as usize;
        let Some(slot) = self.slots.get_mut(index) else { return };
        if u64::from(slot.generation) != token >> 32 {
            return;
        }
        let Some(conversation) = &mut slot.conversation else { return };
        let mut context = Context {
            handler: &*self.handler,
            limits: &self.limits,
            counters: &self.counters,
            scratch: &mut self.scratch,
            now,
        };
        // One request's panic must not end the thread that all the others live on.
        let acted = catch_unwind(AssertUnwindSafe(|| act(conversation, &mut context)));
        let next = acted.unwrap_or_else(|_| {
            Counters::add(&self.counters.panics);
            log::error!("a handler panicked; its connection is closed");
            *context.scratch = Vec::with_capacity(READ_BYTES); // the unwinding has dropped it
            conversation.fail(&mut context)
        });
        if next == Next::Close {
            let left = conversation.connection.abandon();
            slot.conversation = None;
            self.free.push(index);
            let tell = || match left {
                Left::Nothing => {}
                Left::Parked(watch) => self.handler.peer_gone(watch),
                Left::Unread(watch) => self.handler.answer_unread(watch),
            };
            if catch_unwind(AssertUnwindSafe(tell)).is_err() {
                Counters::add(&self.counters.panics);
                log::error!("a handler panicked over a client that had gone");
            }
        }
    }

    fn tick(&mut self, now: Instant) {
        for index in 0..self.slots.len() {
            if self.slots[index].conversation.is_some() {
                let token = token(index, self.slots[index].generation);
                self.with(token, now, |conversation, context| conversation.tick(context));
            }
        }
    }

    /// Whether everything that was answered is also written, or has had its time.
    fn may_stop(&self, since: Instant, now: Instant) -> bool {
        let unsent = |slot: &Slot| {
            slot.conversation.as_ref().is_some_and(|c| c.connection.write_status().unsent)
        };
        now.saturating_duration_since(since) > STOP_GRACE || !self.slots.iter().any(unsent)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        for slot in &mut self.slots {
            if let Some(conversation) = slot.conversation.take() {
                conversation.connection.abandon();
            }
        }
        log::debug!(
            "a worker ended; {} connections were open in all",
            self.counters.connections_open.load(Ordering::Relaxed)
        );
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
