//! Dead letters: a directory with one JSON file for each, bounded in size.
//!
//! A file is written whole under another name, brought to the disk, and only then named, so a file
//! with a letter's name is complete after a crash at any moment. Its name begins with the time of
//! the end in milliseconds and the event's id, and goes on with the function's name: a list needs no
//! file opened, and the oldest come first. Operators may take files away at any time.
//!
//! A full directory takes no more letters; what is meant for it waits in the queue. Nothing is
//! thrown away to make room.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::record::{ENCODED, Object};
use super::storage::Storage;
use super::stored::{Address, Stored};
use crate::observe::time;

const FORMAT: u32 = 1;
const UNFINISHED: &str = "unfinished-";
const SUFFIX: &str = ".json";
/// The digits of a time until the year 2286.
const TIME_DIGITS: usize = 13;
const ID_CHARS: usize = 36;
/// A file's name has room for so much of a function's.
const NAME_CHARS_MAX: usize = 140;

/// What a letter's name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) file: String,
    pub(super) ended_ms: u64,
    pub(super) id: Uuid,
    /// As much of it as a file's name holds.
    pub(super) function: String,
}

impl Letter {
    fn new(stored: &Stored) -> Letter {
        let function: String = stored.function.name.chars().take(NAME_CHARS_MAX).collect();
        let (ended_ms, id) = (stored.accepted_ms, stored.id);
        let file = format!("{ended_ms:013}-{id}-{function}{SUFFIX}");
        Letter { file, ended_ms, id, function }
    }

    pub(super) fn of(file: &str) -> Option<Letter> {
        let rest = file.strip_suffix(SUFFIX)?;
        let (time, rest) = rest.split_at_checked(TIME_DIGITS)?;
        let (id, function) = rest.strip_prefix('-')?.split_at_checked(ID_CHARS)?;
        let ended_ms = time.parse().ok()?;
        let (id, function) = (id.parse().ok()?, function.strip_prefix('-')?.to_owned());
        Some(Letter { file: file.to_owned(), ended_ms, id, function })
    }
}

/// A letter that was read.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) function: Address,
    pub(super) trace_id: String,
    pub(super) destination: Option<String>,
    /// `None` where the disk had lost it.
    pub(super) payload: Option<Vec<u8>>,
    /// The record as JSON.
    pub(super) record: Box<RawValue>,
}

#[derive(Debug, Default)]
struct Tally {
    letters: usize,
    bytes: u64,
    counted: bool,
}

/// The directory. See the module's text.
#[derive(Debug)]
pub(super) struct Letters {
    storage: Arc<dyn Storage>,
    max_bytes: u64,
    tally: Mutex<Tally>,
}

impl Letters {
    /// Removes what a crash has left unfinished.
    pub(super) fn open(storage: Arc<dyn Storage>, max_bytes: u64) -> io::Result<Letters> {
        for name in storage.names()?.iter().filter(|name| name.starts_with(UNFINISHED)) {
            storage.remove(name)?;
        }
        Ok(Letters { storage, max_bytes, tally: Mutex::new(Tally::default()) })
    }

    /// Counts what is there: it takes a look at each file, so it is not part of the opening.
    pub(super) fn count(&self) -> io::Result<()> {
        let mut found = Tally { counted: true, ..Tally::default() };
        for name in self.storage.names()?.iter().filter(|name| Letter::of(name).is_some()) {
            // One that is taken away meanwhile does not count.
            if let Ok(bytes) = self.storage.open(name).and_then(|blob| blob.len()) {
                found.letters += 1;
                found.bytes += bytes;
            }
        }
        *self.lock() = found;
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Letters and their bytes, as far as they were counted.
    pub(super) fn held(&self) -> (usize, u64) {
        let tally = self.lock();
        (tally.letters, tally.bytes)
    }

    /// Writes a letter. When this returns, it survives a loss of power. Written again, it is the
    /// same file.
    pub(super) fn put(&self, stored: &Stored, record: &[u8]) -> io::Result<()> {
        let bytes = contents(stored, record);
        self.make_room(bytes.len() as u64)?;
        let unfinished = format!("{UNFINISHED}{}", stored.id);
        let written = self.write(&unfinished, &Letter::new(stored).file, &bytes);
        if written.is_err() {
            // A full disk must not stay full of what could not be written.
            let _ = self.storage.remove(&unfinished);
        } else {
            let mut tally = self.lock();
            tally.letters += 1;
            tally.bytes += bytes.len() as u64;
        }
        written
    }

    fn write(&self, unfinished: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
        let blob = match self.storage.create(unfinished) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.storage.remove(unfinished)?;
                self.storage.create(unfinished)?
            }
            other => other?,
        };
        blob.write_at(bytes, 0)?;
        blob.sync()?;
        self.storage.rename(unfinished, name)?;
        self.storage.sync()
    }

    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let fits = |tally: &Tally| tally.counted && tally.bytes + bytes <= self.max_bytes;
        if fits(&self.lock()) {
            return Ok(());
        }
        // Somebody may have taken some away.
        self.count()?;
        if fits(&self.lock()) {
            return Ok(());
        }
        let max_mb = self.max_bytes >> 20;
        let message = format!(
            "the dead letters have the {max_mb} MB that they may have; purge, replay or move some"
        );
        Err(io::Error::new(io::ErrorKind::QuotaExceeded, message))
    }

    /// All letters, the oldest first.
    pub(super) fn list(&self) -> io::Result<Vec<Letter>> {
        let names = self.storage.names()?;
        let mut letters: Vec<Letter> = names.iter().filter_map(|name| Letter::of(name)).collect();
        letters.sort_by(|a, b| a.file.cmp(&b.file));
        Ok(letters)
    }

    /// How many there are of each function.
    pub(super) fn by_function(&self) -> io::Result<BTreeMap<String, usize>> {
        let mut counts = BTreeMap::new();
        for name in self.storage.names()? {
            if let Some(letter) = Letter::of(&name) {
                *counts.entry(letter.function).or_default() += 1;
            }
        }
        Ok(counts)
    }

    pub(super) fn read(&self, letter: &Letter) -> io::Result<Opened> {
        let blob = self.storage.open(&letter.file)?;
        let length = usize::try_from(blob.len()?).unwrap_or(usize::MAX);
        // Somebody else's file of such a name must not fill the memory.
        if length > 2 * super::frame::BODY_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = vec![0; length];
        blob.read_at(&mut bytes, 0)?;
        opened(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is no letter"))
    }

    pub(super) fn remove(&self, letter: &Letter) -> io::Result<()> {
        let bytes = self.storage.open(&letter.file).and_then(|blob| blob.len()).unwrap_or(0);
        match self.storage.remove(&letter.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        let mut tally = self.lock();
        tally.letters = tally.letters.saturating_sub(1);
        tally.bytes = tally.bytes.saturating_sub(bytes);
        Ok(())
    }

    /// Brings removals to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.storage.sync()
    }
}

fn contents(stored: &Stored, record: &[u8]) -> Vec<u8> {
    let Address { region, name, qualifier, created } = &stored.function;
    let ended = time::rfc3339_millis(UNIX_EPOCH + Duration::from_millis(stored.accepted_ms));
    let destination = Some(stored.note.as_str()).filter(|note| !note.is_empty());
    let mut out = Object::default();
    out.member("format", &Value::from(FORMAT));
    out.member("id", &Value::from(stored.id.to_string()));
    out.member("endedAt", &Value::from(ended));
    out.member("region", &Value::from(region.as_str()));
    out.member("function", &Value::from(name.as_str()));
    out.member("qualifier", &Value::from(qualifier.as_deref()));
    out.member("created", &Value::from(*created));
    out.member("destination", &Value::from(destination));
    out.member("traceId", &Value::from(stored.trace_id.as_str()));
    out.raw("record", record);
    let mut bytes = out.finish();
    bytes.push(b'\n');
    bytes
}

type Members<'a> = std::collections::HashMap<String, &'a RawValue>;

fn opened(bytes: &[u8]) -> Option<Opened> {
    let letter: Members<'_> = serde_json::from_slice(bytes).ok()?;
    let text = |name: &str| -> Option<String> {
        serde_json::from_str(letter.get(name)?.get()).ok().flatten()
    };
    let format: u32 = serde_json::from_str(letter.get("format")?.get()).ok()?;
    if format != FORMAT {
        return None;
    }
    let record = *letter.get("record")?;
    let members: Members<'_> = serde_json::from_str(record.get()).ok()?;
    let payload = members.get("requestPayload")?.get();
    let encoded = members.get("requestPayloadEncoding").map(|encoding| encoding.get());
    let payload = match encoded {
        Some(encoding) if encoding == format!("\"{ENCODED}\"") => {
            let text: String = serde_json::from_str(payload).ok()?;
            use base64::Engine as _;
            Some(base64::engine::general_purpose::STANDARD.decode(text).ok()?)
        }
        _ if payload == "null" => None,
        _ => Some(payload.as_bytes().to_vec()),
    };
    Some(Opened {
        function: Address {
            region: text("region")?,
            name: text("function")?,
            qualifier: text("qualifier"),
            created: letter.get("created").is_none_or(|created| created.get() == "true"),
        },
        trace_id: text("traceId").unwrap_or_default(),
        destination: text("destination"),
        payload,
        record: record.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::power_cut::Disk;
    use super::super::stored::tests::sample;
    use super::*;

    const RECORD: &[u8] = br#"{"requestPayload":{"a": 1},"version":"1.0"}"#;

    fn letters(disk: &Disk, max_bytes: u64) -> Letters {
        let letters = Letters::open(Arc::new(disk.clone()), max_bytes).unwrap();
        letters.count().unwrap();
        letters
    }

    #[test]
    fn a_letter_is_read_as_it_was_written() {
        let disk = Disk::default();
        let written = letters(&disk, 1 << 20);
        let mut stored = sample("f.g");
        stored.function.qualifier = Some("live".to_owned());
        stored.note = "arn:aws:sqs:::q".to_owned();
        written.put(&stored, RECORD).unwrap();
        written.put(&stored, RECORD).unwrap();
        let letters = letters(&disk, 1 << 20);
        assert_eq!(letters.held().0, 1, "twice is once");
        let list = letters.list().unwrap();
        assert_eq!((list[0].id, list[0].function.as_str()), (stored.id, "f.g"));
        let opened = letters.read(&list[0]).unwrap();
        assert_eq!(opened.function, stored.function);
        assert_eq!(opened.payload.as_deref(), Some(&br#"{"a": 1}"#[..]));
        assert_eq!(opened.destination.as_deref(), Some("arn:aws:sqs:::q"));
        assert_eq!((opened.trace_id, opened.record.get().as_bytes()), (stored.trace_id, RECORD));
        letters.remove(&list[0]).unwrap();
        letters.remove(&list[0]).unwrap();
        assert_eq!((letters.held(), letters.list().unwrap()), ((0, 0), vec![]));
    }

    #[test]
    fn payloads_come_back_byte_for_byte_or_not_at_all() {
        let of = |record: &[u8]| opened(&contents(&sample("f"), record)).unwrap().payload;
        let encoded = br#"{"requestPayload":"/3s=","requestPayloadEncoding":"base64"}"#;
        assert_eq!(of(encoded).as_deref(), Some(&b"\xff{"[..]));
        assert_eq!(of(br#"{"requestPayload":null}"#), None);
        assert_eq!(of(br#"{"requestPayload":"x"}"#).as_deref(), Some(&b"\"x\""[..]));
        for bad in [&b"{}"[..], b"", br#"{"format":2,"record":{}}"#, br#"{"format":1}"#] {
            assert!(opened(bad).is_none());
        }
    }

    #[test]
    fn a_full_directory_takes_no_more_until_there_is_room() {
        let disk = Disk::default();
        let (first, second) = (sample("f"), sample("f"));
        let bytes = contents(&first, RECORD).len() as u64;
        let letters = letters(&disk, 2 * bytes - 1);
        letters.put(&first, RECORD).unwrap();
        let error = letters.put(&second, RECORD).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        // Taken away by somebody else.
        let list = letters.list().unwrap();
        disk.remove(&list[0].file).unwrap();
        letters.put(&second, RECORD).unwrap();
        assert_eq!(letters.held(), (1, bytes));
    }

    #[test]
    fn other_files_are_left_alone() {
        for name in ["README", "x.json", "0000000000000-x-f.json", "é.json", UNFINISHED] {
            assert_eq!(Letter::of(name), None, "{name}");
        }
    }

    #[test]
    fn a_power_cut_leaves_a_whole_letter_or_none() {
        let stored = sample("f");
        for cut in 0.. {
            let disk = Disk::default();
            let letters = letters(&disk, 1 << 20);
            disk.cut_after(cut);
            let written = letters.put(&stored, RECORD).is_ok();
            for image in disk.images() {
                let letters = Letters::open(Arc::new(image.clone()), 1 << 20).unwrap();
                let list = letters.list().unwrap();
                assert!(!written || list.len() == 1, "cut {cut}");
                for letter in list {
                    letters.read(&letter).unwrap();
                }
                assert!(image.names().unwrap().iter().all(|name| !name.starts_with(UNFINISHED)));
            }
            if written {
                assert!(cut > 3);
                return;
            }
        }
    }
}
