//! The queue on disk: an append-only journal in segments, with one owner.
//!
//! Frames are appended; nothing is changed in place. Space comes back by removing the oldest
//! segment, once nothing in it is wanted; whoever owns the journal moves the last wanted entries of it
//! to the journal's end first. Removing only the oldest keeps what ends an entry behind the entry: no
//! `End` is gone while an entry that it ended is still there. A segment that is the only one, and in
//! which nothing is wanted, is emptied.
//!
//! On a full disk what is in the queue must still be able to leave it. So an entry is taken only
//! together with space for what ends it, which is allocated behind the last segment's length.
//!
//! Invariants: a segment is on the disk, whole and with its name, before the next one is begun; a
//! removal is on the disk before the next one. So after a crash only the last segment can be torn,
//! and only behind what was synced last: it is cut there. A write that fails is taken back as a
//! whole.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use super::frame::{self, FORMAT, Kind, Place, SEGMENT_HEADER_BYTES};
use super::storage::{Blob, Storage};

/// A segment that has this much is followed by the next one.
pub(super) const SEGMENT_BYTES: u64 = 16 << 20;
/// Where the next segment cannot be made (no inode or no room is left), the last one grows on up to
/// here.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// Space that is taken at once beyond what is needed.
const ALLOCATED_BYTES: u64 = 1 << 20;
const SUFFIX: &str = ".log";

/// Why the journal could not be opened.
#[derive(Debug)]
pub enum JournalError {
    Io { doing: &'static str, source: io::Error },
    Damaged { file: String, at: u64 },
    Newer { file: String, found: u32 },
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JournalError::Io { doing, source } => write!(f, "{doing} the event queue: {source}"),
            JournalError::Damaged { file, at } => write!(
                f,
                "the event queue's file {file} is damaged at byte {at}; to start without the \
                 events behind that, move the file out of the directory and keep it"
            ),
            JournalError::Newer { file, found } => write!(
                f,
                "the event queue's file {file} has format {found}, and this build knows formats \
                 up to {FORMAT}: it was written by a newer version"
            ),
        }
    }
}

impl std::error::Error for JournalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            JournalError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

fn io_error(doing: &'static str) -> impl Fn(io::Error) -> JournalError {
    move |source| JournalError::Io { doing, source }
}

/// A frame that is to be written.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) kind: Kind,
    pub(super) head: Vec<u8>,
    pub(super) body: &'a [u8],
}

/// What a write is to come with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// It waits for the disk.
    pub(super) durable: bool,
    /// Bytes that will end what is in the journal.
    pub(super) spare: u64,
    /// Without space for those nothing is written, either.
    pub(super) grows: bool,
}

/// The files, for whoever reads from them.
#[derive(Debug, Clone, Default)]
pub(super) struct Segments(Arc<RwLock<BTreeMap<u32, Segment>>>);

#[derive(Debug)]
struct Segment {
    blob: Arc<dyn Blob>,
    bytes: u64,
}

impl Segments {
    /// Head and body of a frame. `NotFound` where its segment is gone: then the entry has moved.
    pub(super) fn read(&self, place: &Place) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let segments = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = segments.get(&place.segment).map(|segment| segment.blob.clone());
        drop(segments);
        frame::read(&*found.ok_or(io::ErrorKind::NotFound)?, place)
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<u32, Segment>) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Bytes on the disk.
    pub(super) fn bytes(&self) -> u64 {
        let segments = self.0.read().unwrap_or_else(PoisonError::into_inner);
        segments.values().map(|segment| segment.bytes).sum()
    }
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Journal {
    storage: Arc<dyn Storage>,
    segments: Segments,
    active: u32,
    blob: Arc<dyn Blob>,
    /// Up to here the active segment is good.
    len: u64,
    /// Up to here space for it is taken, as far as is known.
    allocated: u64,
    /// Something may be behind that.
    torn: bool,
    /// A removal may not be on the disk.
    unsynced_names: bool,
    buffer: Vec<u8>,
}

fn file_name(number: u32) -> String {
    format!("{number:010}{SUFFIX}")
}

fn number_of(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(SUFFIX)?;
    (digits.len() == 10).then(|| digits.parse().ok()).flatten()
}

impl Journal {
    /// Opens the journal, shows every frame in the order in which it was written, and cuts what a crash
    /// has left behind the last whole one.
    pub(super) fn open(
        storage: Arc<dyn Storage>,
        visit: &mut dyn FnMut(Kind, &[u8], Place),
    ) -> Result<Journal, JournalError> {
        let read = io_error("reading");
        let names = storage.names().map_err(&read)?;
        let mut numbers: Vec<u32> = names.iter().filter_map(|name| number_of(name)).collect();
        numbers.sort_unstable();
        let segments = Segments::default();
        let mut last = None;
        for (index, &number) in numbers.iter().enumerate() {
            let is_last = index + 1 == numbers.len();
            let blob = storage.open(&file_name(number)).map_err(&read)?;
            if !check_header(&*blob, number, is_last)? {
                // Begun when the power went: it has never held anything.
                drop(blob);
                storage.remove(&file_name(number)).map_err(io_error("tidying"))?;
                break;
            }
            let found = frame::scan(&*blob, number, is_last, visit).map_err(&read)?;
            if found.valid < found.length && !is_last {
                return Err(JournalError::Damaged { file: file_name(number), at: found.valid });
            }
            if found.valid < found.length {
                let cut = found.length - found.valid;
                log::warn!("cut {cut} bytes off the event queue that a crash has left unfinished");
                blob.set_len(found.valid)
                    .and_then(|()| blob.sync())
                    .map_err(io_error("cutting"))?;
            }
            last = Some((number, blob.clone(), found.valid));
            segments.change(|all| all.insert(number, Segment { blob, bytes: found.valid }));
        }
        let (active, blob, len) = match last {
            Some(last) => last,
            None => {
                let number = numbers.last().copied().unwrap_or(1);
                let blob = begin(&*storage, number, 0).map_err(io_error("beginning"))?;
                let bytes = SEGMENT_HEADER_BYTES as u64;
                let segment = Segment { blob: blob.clone(), bytes };
                segments.change(|all| all.insert(number, segment));
                (number, blob, bytes)
            }
        };
        let (torn, unsynced_names) = (false, true);
        Ok(Journal {
            storage,
            segments,
            active,
            blob,
            len,
            allocated: len,
            torn,
            unsynced_names,
            buffer: Vec::new(),
        })
    }

    pub(super) fn segments(&self) -> &Segments {
        &self.segments
    }

    /// Appends frames as one write; when it waits for the disk, everything before it is there, too.
    /// All of them or, after an error, none is in the journal.
    pub(super) fn write(&mut self, frames: &[Frame<'_>], terms: Terms) -> io::Result<Vec<Place>> {
        self.mend()?;
        if self.len >= SEGMENT_BYTES {
            self.next_segment(terms.spare)?;
        }
        self.buffer.clear();
        let start = (self.active, self.len);
        let places = frames
            .iter()
            .map(|frame| frame::push(&mut self.buffer, start, frame.kind, &frame.head, frame.body))
            .collect();
        let spare = if terms.grows { terms.spare } else { 0 };
        self.allocate(self.len + self.buffer.len() as u64 + spare)?;
        let blob = &self.blob;
        let written = blob.write_at(&self.buffer, self.len);
        let written = written.and_then(|()| if terms.durable { blob.sync() } else { Ok(()) });
        let grown = self.len + self.buffer.len() as u64;
        if self.buffer.capacity() > 1 << 20 {
            self.buffer = Vec::new();
        }
        if let Err(error) = written {
            self.torn = true;
            // What was refused must not be there after a restart.
            let _ = self.mend();
            return Err(error);
        }
        self.len = grown;
        self.tell_length();
        Ok(places)
    }

    /// Waits until everything that was written is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.blob.sync()
    }

    fn tell_length(&self) {
        self.segments.change(|all| {
            if let Some(segment) = all.get_mut(&self.active) {
                segment.bytes = self.len;
            }
        });
    }

    /// Takes back what a failed write has left.
    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            self.blob.set_len(self.len)?;
            (self.torn, self.allocated) = (false, self.len);
            // Only where the power goes now as well could it come back: as an event that ran although
            // it was refused.
            let _ = self.blob.sync();
        }
        Ok(())
    }

    /// Takes space up to `end`; more than that where there is more, so that this is done rarely.
    fn allocate(&mut self, end: u64) -> io::Result<()> {
        if end > self.allocated {
            let ample = end + ALLOCATED_BYTES;
            self.allocated = match self.blob.allocate(ample) {
                Ok(()) => ample,
                Err(_) => self.blob.allocate(end).map(|()| end)?,
            };
        }
        Ok(())
    }

    fn next_segment(&mut self, spare: u64) -> io::Result<()> {
        self.blob.sync()?;
        let number = self.active + 1;
        let blob = match begin(&*self.storage, number, spare) {
            Ok(blob) => blob,
            Err(error) if self.len < SEGMENT_BYTES_MAX => {
                log::debug!("the event queue's last file grows on: {error}");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        // What was taken for the old one and is not needed there.
        if let Err(error) = self.blob.set_len(self.len) {
            log::debug!("space of the event queue could not be given back: {error}");
        }
        (self.active, self.blob) = (number, blob.clone());
        (self.len, self.allocated) = (SEGMENT_HEADER_BYTES as u64, 0);
        self.segments.change(|all| all.insert(number, Segment { blob, bytes: self.len }));
        Ok(())
    }

    /// The oldest segment, unless it is also the one that is written to.
    pub(super) fn oldest(&self) -> Option<u32> {
        let oldest = self.segments.change(|all| all.first_key_value().map(|(number, _)| *number));
        oldest.filter(|oldest| *oldest != self.active)
    }

    /// The segment that is written to, when it is the only one and large enough for the next one.
    pub(super) fn only(&self) -> Option<u32> {
        (self.oldest().is_none() && self.len >= SEGMENT_BYTES).then_some(self.active)
    }

    /// Empties the only segment: on a full disk there may be no room to begin another one.
    pub(super) fn empty_only(&mut self) -> io::Result<()> {
        // Before anything is written in that place.
        self.torn = true;
        self.len = SEGMENT_HEADER_BYTES as u64;
        self.mend()?;
        self.tell_length();
        self.blob.sync()
    }

    /// Removes the oldest segment. What was moved out of it is on the disk.
    pub(super) fn remove_oldest(&mut self) -> io::Result<()> {
        let Some(number) = self.oldest() else { return Ok(()) };
        self.sync_names()?;
        match self.storage.remove(&file_name(number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.segments.change(|all| all.remove(&number));
        self.unsynced_names = true;
        self.sync_names()
    }

    fn sync_names(&mut self) -> io::Result<()> {
        if self.unsynced_names {
            self.storage.sync()?;
            self.unsynced_names = false;
        }
        Ok(())
    }
}

/// Whether the segment has its header. The last one may have been cut off while it was begun.
fn check_header(blob: &dyn Blob, number: u32, is_last: bool) -> Result<bool, JournalError> {
    let read = io_error("reading");
    let length = blob.len().map_err(&read)?;
    let mut header = [0; SEGMENT_HEADER_BYTES];
    if length >= SEGMENT_HEADER_BYTES as u64 {
        blob.read_at(&mut header, 0).map_err(&read)?;
    }
    let file = file_name(number);
    match frame::format_of(&header, number) {
        Some(FORMAT) => Ok(true),
        Some(found) if found > FORMAT => Err(JournalError::Newer { file, found }),
        None if is_last && length <= SEGMENT_HEADER_BYTES as u64 => Ok(false),
        _ => Err(JournalError::Damaged { file, at: 0 }),
    }
}

/// Makes a segment's file, which is on the disk with its name and header when this returns, and has
/// space for `spare` bytes more.
fn begin(storage: &dyn Storage, number: u32, spare: u64) -> io::Result<Arc<dyn Blob>> {
    let name = file_name(number);
    let made = match storage.create(&name) {
        // An earlier attempt failed half-way.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            storage.remove(&name)?;
            storage.create(&name)
        }
        other => other,
    };
    let blob = made?;
    let allocated = blob.allocate(SEGMENT_HEADER_BYTES as u64 + spare);
    let written = allocated.and_then(|()| blob.write_at(&frame::segment_header(number), 0));
    match written.and_then(|()| blob.sync()).and_then(|()| storage.sync()) {
        Ok(()) => Ok(blob),
        Err(error) => {
            let _ = storage.remove(&name);
            Err(error)
        }
    }
}
