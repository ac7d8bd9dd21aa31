//! A group as it is at one moment, for reading without its lock.
//!
//! Segments only grow and go as a whole, so the bytes that were there stay as they are; a segment
//! that has gone meanwhile is passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::LogError;
use super::group::file_name;
use super::segment::{Block, Blocks, END_BYTES, Table, index_offset};

/// See the module's text.
#[derive(Debug)]
pub(super) struct View {
    pub(super) directory: PathBuf,
    pub(super) retention_days: Option<u32>,
    /// Oldest first.
    pub(super) segments: Vec<Held>,
}

/// A segment of a view.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) number: u32,
    pub(super) len: u64,
    /// Of the one that grows; the others have theirs at their end.
    pub(super) table: Option<Arc<Table>>,
}

/// A segment with what it holds.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) number: u32,
    pub(super) len: u64,
    pub(super) table: Arc<Table>,
    /// The streams that are not deleted, by their numbers; as many as the table has.
    pub(super) live: Vec<bool>,
}

/// A stream as the API shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamInfo {
    pub created_ms: i64,
    /// First and last event and the last ingestion; `None` without events.
    pub events_ms: Option<(i64, i64, i64)>,
}

impl View {
    /// The segments with their tables, oldest first.
    pub(super) fn load(&self) -> Result<Vec<Loaded>, LogError> {
        let mut gone: BTreeSet<Box<str>> = BTreeSet::new();
        let mut all = Vec::new();
        for held in self.segments.iter().rev() {
            let Some(table) = self.table(held)? else { continue };
            let live = table.streams.iter().map(|s| !s.deleted && !gone.contains(&s.name));
            let live = live.collect();
            gone.extend(table.deleted.iter().cloned());
            all.push(Loaded { number: held.number, len: held.len, table, live });
        }
        all.reverse();
        Ok(all)
    }

    /// What a segment holds; `None` if it has gone.
    fn table(&self, held: &Held) -> Result<Option<Arc<Table>>, LogError> {
        match &held.table {
            Some(table) => Ok(Some(table.clone())),
            None => {
                let read = self.read_table(held).map_err(LogError::at(&self.directory))?;
                Ok(read.map(Arc::new))
            }
        }
    }

    /// By the index at its end; what has none is read from its start.
    fn read_table(&self, held: &Held) -> io::Result<Option<Table>> {
        let file = match File::open(self.directory.join(file_name(held.number))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        if let Some(table) = indexed(&file, held.len) {
            return Ok(Some(table));
        }
        let mut bytes = Vec::new();
        file.take(held.len).read_to_end(&mut bytes)?;
        Ok(Table::scan(&bytes).map(|scan| scan.table))
    }

    /// The bytes of a segment; `None` if it has gone.
    pub(super) fn read(&self, loaded: &Loaded) -> Result<Option<Vec<u8>>, LogError> {
        let path = self.directory.join(file_name(loaded.number));
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(LogError::at(&path))?,
        };
        let mut bytes = Vec::new();
        file.take(loaded.len).read_to_end(&mut bytes).map_err(LogError::at(&path))?;
        Ok(Some(bytes))
    }

    /// The live streams by their names.
    pub(super) fn streams(&self) -> Result<BTreeMap<Box<str>, StreamInfo>, LogError> {
        let mut all: BTreeMap<Box<str>, StreamInfo> = BTreeMap::new();
        for loaded in self.load()? {
            let live = loaded.table.streams.iter().zip(&loaded.live);
            for (stream, _) in live.filter(|(_, live)| **live) {
                let info = all
                    .entry(stream.name.clone())
                    .or_insert(StreamInfo { created_ms: stream.created_ms, events_ms: None });
                if stream.has_events() {
                    let (first, last, ingested) =
                        info.events_ms.unwrap_or((i64::MAX, i64::MIN, i64::MIN));
                    info.events_ms = Some((
                        first.min(stream.first_ms),
                        last.max(stream.last_ms),
                        ingested.max(stream.ingested_ms),
                    ));
                }
            }
        }
        Ok(all)
    }

    /// Whether a stream is there. It looks at the newest segments first, and no further than it must.
    pub(super) fn has_stream(&self, name: &str) -> Result<bool, LogError> {
        for held in self.segments.iter().rev() {
            let Some(table) = self.table(held)? else { continue };
            if table.streams.iter().any(|stream| !stream.deleted && *stream.name == *name) {
                return Ok(true);
            }
            if table.deleted.iter().any(|gone| **gone == *name) {
                return Ok(false);
            }
        }
        Ok(false)
    }
}

/// The table that an index has, if there is a whole one.
fn indexed(file: &File, len: u64) -> Option<Table> {
    let mut end = [0; END_BYTES];
    let end_at = len.checked_sub(END_BYTES as u64)?;
    file.read_exact_at(&mut end, end_at).ok()?;
    let offset = index_offset(&end)?;
    let mut block = vec![0; usize::try_from(end_at.checked_sub(offset)?).ok()?];
    file.read_exact_at(&mut block, offset).ok()?;
    match Blocks::at(&block, 0)? {
        Block::Index(index) => Table::read(index),
        _ => None,
    }
}
