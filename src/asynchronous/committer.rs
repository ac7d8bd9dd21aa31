//! The one thread that writes the journal: many accepts share one wait for the disk.
//!
//! Whoever has something to write sends a job and goes on. While one batch is on its way to the disk
//! the next one gathers, so the more callers there are, the more events share a wait. Only accepts
//! wait for the disk: an end or an attempt that a power cut takes back makes an event run again,
//! which at-least-once allows; it reaches the disk with the next accept.
//!
//! It also reclaims the journal's space: what is still wanted of the oldest segment is copied to the
//! end, a slice at a time, once more than half of the journal is not wanted any more.
//!
//! Invariants: an accept is answered with success only after its event is on the disk; an entry is
//! in the core only while it is in the journal; an end that could not be written is tried again.

use std::io;
use std::slice;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use uuid::Uuid;

use super::core::Core;
use super::counters::{Count, Counters};
use super::frame::Kind;
use super::journal::{Frame, Journal, SEGMENT_BYTES, Terms};
use super::state::State;
use super::stored::{Attempt, Stored, end_head};
use super::{Acceptance, Refused, lock};
use crate::http::Body;

/// Jobs of one write. More would make the first of them wait longer than a wait for the disk takes.
const BATCH_JOBS: usize = 512;
const BATCH_BYTES: usize = 4 << 20;
/// Ids in one frame.
const IDS_PER_END: usize = 1024;
/// What is copied between two batches.
const SLICE_BYTES: u64 = 1 << 20;
/// The journal may have so many segments that are not wanted, whatever its size: cleaning costs writes.
const SPARE_SEGMENTS: u64 = 4;
/// Space that is kept for what ends the entries of the queue: an `End` of its own for each, and a
/// few attempts.
const SPARE_BYTES: u64 = 64 << 10;
const SPARE_BYTES_PER_ENTRY: u64 = 64;
/// How long a failed write is let alone.
const PAUSE: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(3600);

/// What is to be written.
pub(super) enum Job {
    Accept(Accept),
    Settle(Settle),
    Note(Attempt),
    /// Write what came before, then end.
    Stop,
}

/// An event that somebody waits for to be durable.
pub(super) struct Accept {
    pub(super) stored: Stored,
    pub(super) head: Vec<u8>,
    pub(super) body: Body,
    /// The room that was reserved for it.
    pub(super) bytes: u64,
    pub(super) reply: Box<dyn Acceptance>,
}

/// The end of entries, and what follows from it: written together. A follower with the id of an
/// entry takes its place, and so ends it.
#[derive(Debug, Default)]
pub(super) struct Settle {
    pub(super) followers: Vec<(Stored, Body)>,
    pub(super) ends: Vec<Uuid>,
    /// Told when it is written; then it is also on the disk.
    pub(super) told: Option<Sender<()>>,
}

impl Settle {
    fn written(self) {
        if let Some(told) = self.told {
            let _ = told.send(());
        }
    }
}

/// See the module's text.
pub(super) struct Committer {
    journal: Journal,
    core: Arc<Mutex<Core>>,
    counters: Arc<Counters>,
    /// Called when there is something new to deliver.
    wake: Box<dyn Fn() + Send>,
    /// What could not be written yet.
    unsettled: Vec<Settle>,
    /// The last write failed.
    failing: bool,
    clean_after: Instant,
}

impl Committer {
    pub(super) fn new(
        journal: Journal,
        core: Arc<Mutex<Core>>,
        counters: Arc<Counters>,
        wake: Box<dyn Fn() + Send>,
    ) -> Committer {
        let (unsettled, failing, clean_after) = (Vec::new(), false, Instant::now());
        Committer { journal, core, counters, wake, unsettled, failing, clean_after }
    }

    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        let mut cleaning = true;
        loop {
            let wait = match (cleaning, self.unsettled.is_empty()) {
                (true, true) => Duration::ZERO,
                (_, false) => PAUSE,
                _ => IDLE,
            };
            let mut batch = Vec::new();
            match jobs.recv_timeout(wait) {
                Ok(job) => batch.push(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let mut bytes = batch.first().map_or(0, Job::bytes);
            while !batch.is_empty()
                && batch.len() < BATCH_JOBS
                && bytes < BATCH_BYTES
                && let Ok(job) = jobs.try_recv()
            {
                bytes += job.bytes();
                batch.push(job);
            }
            if self.commit(batch) {
                break;
            }
            cleaning = self.clean();
        }
        if !self.unsettled.is_empty() {
            log::error!("the ends of some events could not be written: they will run again");
        }
        if let Err(error) = self.journal.sync() {
            log::error!("the end of the event queue did not reach the disk: {error}");
        }
    }

    /// Writes a batch. True when it has told to stop.
    pub(super) fn commit(&mut self, batch: Vec<Job>) -> bool {
        let mut settles = std::mem::take(&mut self.unsettled);
        let (mut accepts, mut notes, mut stop) = (Vec::new(), Vec::new(), false);
        for job in batch {
            match job {
                Job::Accept(accept) => accepts.push(accept),
                Job::Settle(settle) => settles.push(settle),
                Job::Note(attempt) => notes.push(attempt),
                Job::Stop => stop = true,
            }
        }
        if settles.is_empty() && accepts.is_empty() && notes.is_empty() {
            return stop;
        }
        match self.write(&settles, &notes, &mut accepts) {
            Ok(()) => {
                self.recovered();
                settles.into_iter().for_each(Settle::written);
                for accept in accepts {
                    self.counters.count(Count::Accepted);
                    accept.reply.settled(Ok(()));
                }
            }
            Err(error) => {
                self.failed(&error);
                self.settle_singly(settles);
                let mut core = lock(&self.core);
                for accept in &accepts {
                    core.give_room_back(accept.bytes);
                }
                drop(core);
                for accept in accepts {
                    accept.reply.settled(Err(Refused::Disk));
                }
            }
        }
        stop
    }

    /// What is small may find room where all of it does not.
    fn settle_singly(&mut self, settles: Vec<Settle>) {
        for settle in settles {
            match self.write(slice::from_ref(&settle), &[], &mut []) {
                Ok(()) => settle.written(),
                Err(_) => self.unsettled.push(settle),
            }
        }
    }

    /// One write of everything. Afterwards the core knows it, and deliveries are woken.
    fn write(
        &mut self,
        settles: &[Settle],
        notes: &[Attempt],
        accepts: &mut [Accept],
    ) -> io::Result<()> {
        let grows = !accepts.is_empty();
        let durable = grows || settles.iter().any(|settle| settle.told.is_some());
        let terms = Terms { durable, spare: self.spare(), grows };
        let mut frames = Vec::new();
        let followers = || settles.iter().flat_map(|settle| &settle.followers);
        for (stored, body) in followers() {
            frames.push(Frame { kind: Kind::Entry, head: stored.head(), body });
        }
        for accept in &mut *accepts {
            let head = std::mem::take(&mut accept.head);
            frames.push(Frame { kind: Kind::Entry, head, body: &accept.body });
        }
        for attempt in notes {
            frames.push(Frame { kind: Kind::Attempt, head: attempt.head(), body: &[] });
        }
        for ends in settles.iter().flat_map(|settle| settle.ends.chunks(IDS_PER_END)) {
            let head = end_head(ends.iter().copied());
            frames.push(Frame { kind: Kind::End, head, body: &[] });
        }
        let places = self.journal.write(&frames, terms)?;
        let mut places = places.into_iter();
        let mut core = lock(&self.core);
        for ((stored, _), place) in followers().zip(places.by_ref()) {
            core.take_room(place.bytes());
            core.insert(stored, place);
        }
        for (accept, place) in accepts.iter().zip(places) {
            core.insert(&accept.stored, place);
        }
        for id in settles.iter().flat_map(|settle| &settle.ends) {
            core.end(*id);
        }
        drop(core);
        (self.wake)();
        Ok(())
    }

    fn spare(&self) -> u64 {
        SPARE_BYTES + SPARE_BYTES_PER_ENTRY * lock(&self.core).used().entries
    }

    fn failed(&mut self, error: &io::Error) {
        self.counters.count(Count::WriteFailures);
        if !std::mem::replace(&mut self.failing, true) {
            log::error!("the event queue cannot be written, new events are refused: {error}");
        }
    }

    fn recovered(&mut self) {
        if std::mem::replace(&mut self.failing, false) {
            log::info!("the event queue can be written again");
        }
    }

    /// Does a part of the reclaiming, if there is any to do. True when there is more.
    pub(super) fn clean(&mut self) -> bool {
        if Instant::now() < self.clean_after {
            return false;
        }
        self.clean_step().unwrap_or_else(|error| {
            log::warn!("space of the event queue could not be reclaimed: {error}");
            self.clean_after = Instant::now() + 60 * PAUSE;
            false
        })
    }

    fn clean_step(&mut self) -> io::Result<bool> {
        let Some(oldest) = self.journal.oldest() else {
            let only = self.journal.only();
            if only.is_some_and(|only| lock(&self.core).live_in(only).entries == 0) {
                self.journal.empty_only()?;
            }
            return Ok(false);
        };
        let (live, wanted) = {
            let core = lock(&self.core);
            (core.live_in(oldest), core.live_bytes())
        };
        if live.entries == 0 {
            // What has taken the place of its entries has to be there first.
            self.journal.sync()?;
            self.journal.remove_oldest()?;
            return Ok(true);
        }
        if self.journal.segments().bytes() <= 2 * wanted + SPARE_SEGMENTS * SEGMENT_BYTES {
            return Ok(false);
        }
        self.move_slice(oldest)?;
        Ok(true)
    }

    fn move_slice(&mut self, segment: u32) -> io::Result<()> {
        let core = lock(&self.core);
        let chosen: Vec<_> = core
            .entries_in(segment, SLICE_BYTES)
            .into_iter()
            .filter_map(|(index, _)| {
                let entry = core.entry(index)?;
                let until_ms = match entry.state {
                    State::Waiting { until_ms } => until_ms,
                    _ => 0,
                };
                Some((entry.id, entry.place, entry.attempts, until_ms))
            })
            .collect();
        drop(core);
        let mut moving = Vec::new();
        for (id, place, attempts, until_ms) in chosen {
            match self.journal.segments().read(&place) {
                Ok((head, body)) => {
                    let stored = Stored::of(&head).ok_or(io::ErrorKind::InvalidData)?;
                    moving.push((id, Stored { attempts, until_ms, ..stored }, body));
                }
                // Its delivery finds that out, too, and ends it.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Err(error) => return Err(error),
            }
        }
        if moving.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an event is damaged"));
        }
        let terms = Terms { durable: false, spare: self.spare(), grows: false };
        let frames: Vec<Frame<'_>> = moving
            .iter()
            .map(|(_, stored, body)| Frame { kind: Kind::Entry, head: stored.head(), body })
            .collect();
        let places = self.journal.write(&frames, terms)?;
        let mut core = lock(&self.core);
        for ((id, ..), place) in moving.iter().zip(places) {
            core.moved(*id, place);
        }
        Ok(())
    }
}

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Job::Accept(accept) => accept.body.len(),
            Job::Settle(settle) => settle.followers.iter().map(|(_, body)| body.len()).sum(),
            Job::Note(_) | Job::Stop => 0,
        }
    }
}
