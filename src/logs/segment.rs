//! The format of a segment, the file that a group's events are in: what is written, and how it is
//! read back after a crash. No I/O happens here.
//!
//! A segment is [`MAGIC`], the time when it was begun, and blocks, only ever appended:
//!
//! | block | body after its kind |
//! |---|---|
//! | stream | when it was made, its name; the nth one names the stream n of this segment |
//! | events | stream, time of ingestion, first and last time, then each event's time and text |
//! | deleted | the name of a stream whose events before this place are gone |
//! | index | the [`Table`] of all blocks before; nothing but [`END`] comes after it |
//!
//! Each has its length and CRC before it. Nothing is synced, so the end of a file may be torn after
//! a loss of power: reading stops at the first block that is not whole, and what is written next
//! goes over it. Many streams share a segment, so that a stream costs no file.

use super::LogEvent;
use super::codec::{Reader, put_i64, put_text, put_u32, put_u64};

const MAGIC: &[u8; 8] = b"lrtlogs1";
const HEADER_BYTES: usize = 16;
/// After the index: where it begins, and this.
const END: &[u8; 8] = b"lrtindex";
pub(super) const END_BYTES: usize = 16;
/// A length and a CRC.
const FRAME_BYTES: usize = 8;
/// A block of events is closed at this size, so that a reader can pass over what it does not want.
const BLOCK_BYTES: usize = 64 << 10;

const STREAM: u8 = 1;
const EVENTS: u8 = 2;
const DELETED: u8 = 3;
const INDEX: u8 = 4;

/// Begins a segment.
pub(super) fn put_header(out: &mut Vec<u8>, begun_ms: i64) {
    out.extend_from_slice(MAGIC);
    put_i64(out, begun_ms);
}

pub(super) fn put_stream(out: &mut Vec<u8>, created_ms: i64, name: &str) {
    put_block(out, STREAM, |out| {
        put_i64(out, created_ms);
        put_text(out, name);
    });
}

pub(super) fn put_deleted(out: &mut Vec<u8>, name: &str) {
    put_block(out, DELETED, |out| put_text(out, name));
}

/// Writes events as one or more blocks.
pub(super) fn put_events(out: &mut Vec<u8>, stream: u32, ingested_ms: i64, events: &[LogEvent]) {
    let mut rest = events;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |event: &&LogEvent| {
            bytes += event.message.len();
            bytes <= BLOCK_BYTES
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (block, after) = rest.split_at(count);
        let times = || block.iter().map(|event| event.timestamp_ms);
        put_block(out, EVENTS, |out| {
            put_u32(out, stream);
            put_i64(out, ingested_ms);
            put_i64(out, times().min().unwrap_or_default());
            put_i64(out, times().max().unwrap_or_default());
            for event in block {
                put_i64(out, event.timestamp_ms);
                put_text(out, &event.message);
            }
        });
        rest = after;
    }
}

/// Ends a segment of `len` bytes.
pub(super) fn put_index(out: &mut Vec<u8>, len: u64, table: &Table) {
    put_block(out, INDEX, |out| table.put(out));
    put_u64(out, len);
    out.extend_from_slice(END);
}

fn put_block(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_BYTES]);
    out.push(kind);
    body(out);
    let written = &out[start + FRAME_BYTES..];
    let crc = rawzip::crc32(written);
    let len = u32::try_from(written.len()).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    out[start + 4..start + FRAME_BYTES].copy_from_slice(&crc.to_le_bytes());
}

/// A block as it is read.
#[derive(Debug)]
pub(super) enum Block<'a> {
    Stream { created_ms: i64, name: &'a str },
    Events(Events<'a>),
    Deleted { name: &'a str },
    Index(Reader<'a>),
}

/// The events of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Events<'a> {
    pub(super) stream: u32,
    pub(super) ingested_ms: i64,
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
    /// Where the rest begins in the segment.
    offset: usize,
    rest: Reader<'a>,
}

impl<'a> Iterator for Events<'a> {
    /// Where an event stands in the segment, its time and its text.
    type Item = (u32, i64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let before = self.rest.0.len();
        let (time, message) = (self.rest.i64()?, self.rest.sized()?);
        let offset = u32::try_from(self.offset).ok()?;
        self.offset += before - self.rest.0.len();
        Some((offset, time, message))
    }
}

/// The blocks of a segment, up to the first that is not whole.
#[derive(Debug)]
pub(super) struct Blocks<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Blocks<'a> {
    /// With the time when the segment was begun. `None` if it is no segment, or has no whole header.
    pub(super) fn of(bytes: &'a [u8]) -> Option<(Blocks<'a>, i64)> {
        let mut header = Reader(bytes);
        (header.bytes(MAGIC.len())? == MAGIC).then_some(())?;
        let begun_ms = header.i64()?;
        Some((Blocks { bytes, at: HEADER_BYTES }, begun_ms))
    }

    /// How many bytes are whole.
    pub(super) fn whole(&self) -> usize {
        self.at
    }

    /// The block that begins at `offset`.
    pub(super) fn at(bytes: &'a [u8], offset: usize) -> Option<Block<'a>> {
        Blocks { bytes, at: offset }.next()
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        let mut rest = Reader(self.bytes.get(self.at..)?);
        let len = usize::try_from(rest.u32()?).ok()?;
        let crc = rest.u32()?;
        let body = rest.bytes(len)?;
        if rawzip::crc32(body) != crc {
            return None;
        }
        let block = parse(Reader(body), self.at + FRAME_BYTES)?;
        self.at += FRAME_BYTES + len;
        Some(block)
    }
}

fn parse(mut body: Reader<'_>, offset: usize) -> Option<Block<'_>> {
    let len = body.0.len();
    Some(match body.u8()? {
        STREAM => Block::Stream { created_ms: body.i64()?, name: body.text()? },
        EVENTS => {
            let (stream, ingested_ms) = (body.u32()?, body.i64()?);
            let (first_ms, last_ms) = (body.i64()?, body.i64()?);
            let offset = offset + len - body.0.len();
            Block::Events(Events { stream, ingested_ms, first_ms, last_ms, offset, rest: body })
        }
        DELETED => Block::Deleted { name: body.text()? },
        INDEX => Block::Index(body),
        _ => return None,
    })
}

/// A stream as one segment knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) name: Box<str>,
    pub(super) created_ms: i64,
    /// Of its events here; the first is after the last while there are none.
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
    pub(super) ingested_ms: i64,
    /// Whether it was deleted further on in this segment.
    pub(super) deleted: bool,
}

impl Stream {
    pub(super) fn new(name: &str, created_ms: i64) -> Stream {
        Stream {
            name: name.into(),
            created_ms,
            first_ms: i64::MAX,
            last_ms: i64::MIN,
            ingested_ms: i64::MIN,
            deleted: false,
        }
    }

    pub(super) fn has_events(&self) -> bool {
        self.first_ms <= self.last_ms
    }

    /// Takes a batch of events into account.
    pub(super) fn extend(&mut self, first_ms: i64, last_ms: i64, ingested_ms: i64) {
        self.first_ms = self.first_ms.min(first_ms);
        self.last_ms = self.last_ms.max(last_ms);
        self.ingested_ms = self.ingested_ms.max(ingested_ms);
    }
}

/// What a segment holds: its streams by their numbers, and which ones of older segments are gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) begun_ms: i64,
    pub(super) streams: Vec<Stream>,
    pub(super) deleted: Vec<Box<str>>,
}

/// What a scan of a segment has found.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) table: Table,
    /// Bytes that are whole.
    pub(super) whole: usize,
    /// Whether an index ends it.
    pub(super) sealed: bool,
}

impl Table {
    /// Reads a segment from its start. `None` if not even its header is whole.
    pub(super) fn scan(bytes: &[u8]) -> Option<Scan> {
        let (mut blocks, begun_ms) = Blocks::of(bytes)?;
        let mut table = Table { begun_ms, ..Table::default() };
        while let Some(block) = blocks.next() {
            match block {
                Block::Stream { created_ms, name } => {
                    table.streams.push(Stream::new(name, created_ms));
                }
                Block::Events(events) => {
                    let index = usize::try_from(events.stream).unwrap_or(usize::MAX);
                    if let Some(stream) = table.streams.get_mut(index) {
                        stream.extend(events.first_ms, events.last_ms, events.ingested_ms);
                    }
                }
                Block::Deleted { name } => table.delete(name),
                Block::Index(_) => {
                    return Some(Scan { table, whole: blocks.whole(), sealed: true });
                }
            }
        }
        Some(Scan { table, whole: blocks.whole(), sealed: false })
    }

    pub(super) fn delete(&mut self, name: &str) {
        for stream in self.streams.iter_mut().filter(|stream| *stream.name == *name) {
            stream.deleted = true;
        }
        if !self.deleted.iter().any(|gone| **gone == *name) {
            self.deleted.push(name.into());
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_i64(out, self.begun_ms);
        put_u64(out, self.streams.len() as u64);
        for stream in &self.streams {
            put_text(out, &stream.name);
            put_i64(out, stream.created_ms);
            put_i64(out, stream.first_ms);
            put_i64(out, stream.last_ms);
            put_i64(out, stream.ingested_ms);
            out.push(u8::from(stream.deleted));
        }
        for name in &self.deleted {
            put_text(out, name);
        }
    }

    pub(super) fn read(mut index: Reader<'_>) -> Option<Table> {
        let mut table = Table { begun_ms: index.i64()?, ..Table::default() };
        for _ in 0..index.u64()? {
            table.streams.push(Stream {
                name: index.text()?.into(),
                created_ms: index.i64()?,
                first_ms: index.i64()?,
                last_ms: index.i64()?,
                ingested_ms: index.i64()?,
                deleted: index.u8()? != 0,
            });
        }
        while !index.0.is_empty() {
            table.deleted.push(index.text()?.into());
        }
        Some(table)
    }
}

/// Where the index begins, by the last bytes of a segment.
pub(super) fn index_offset(end: &[u8]) -> Option<u64> {
    let mut end = Reader(end);
    let offset = end.u64()?;
    (end.bytes(END.len())? == END).then_some(offset)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn event(timestamp_ms: i64, message: &str) -> LogEvent {
        LogEvent { timestamp_ms, message: message.to_owned() }
    }

    /// Two streams, one of them deleted, with an index at the end.
    fn sample() -> (Vec<u8>, usize) {
        let mut bytes = Vec::new();
        put_header(&mut bytes, 5);
        put_stream(&mut bytes, 6, "a");
        put_events(&mut bytes, 0, 9, &[event(7, "one"), event(8, "")]);
        put_stream(&mut bytes, 6, "b");
        put_events(&mut bytes, 1, 10, &[event(3, "x")]);
        put_deleted(&mut bytes, "a");
        let len = bytes.len();
        let table = Table::scan(&bytes).unwrap().table;
        put_index(&mut bytes, len as u64, &table);
        (bytes, len)
    }

    #[test]
    fn a_scan_and_the_index_tell_the_same() {
        let (bytes, len) = sample();
        let scan = Table::scan(&bytes).unwrap();
        assert!(scan.sealed && scan.whole + END_BYTES == bytes.len());
        let [a, b] = &scan.table.streams[..] else { panic!("{scan:?}") };
        assert!(a.deleted && !b.deleted);
        assert_eq!((&*a.name, a.first_ms, a.last_ms, a.ingested_ms), ("a", 7, 8, 9));
        assert_eq!(*scan.table.deleted, ["a".into()]);
        assert_eq!(scan.table.begun_ms, 5);

        let offset = index_offset(&bytes[bytes.len() - END_BYTES..]).unwrap();
        assert_eq!(offset, len as u64);
        match Blocks::at(&bytes, len) {
            Some(Block::Index(index)) => assert_eq!(Table::read(index), Some(scan.table)),
            other => panic!("{other:?}"),
        }
        assert_eq!(index_offset(&bytes[..END_BYTES]), None);
    }

    #[test]
    fn an_event_is_where_it_says() {
        let (bytes, _) = sample();
        let (blocks, _) = Blocks::of(&bytes).unwrap();
        let mut found = Vec::new();
        for block in blocks {
            if let Block::Events(events) = block {
                for (offset, time, message) in events {
                    let mut there = Reader(&bytes[offset as usize..]);
                    assert_eq!(there.i64(), Some(time));
                    assert_eq!(there.sized(), Some(message));
                    found.push((time, message.to_vec()));
                }
            }
        }
        assert_eq!(found, [(7, b"one".to_vec()), (8, b"".to_vec()), (3, b"x".to_vec())]);
    }

    #[test]
    fn a_large_batch_is_several_blocks() {
        let mut bytes = Vec::new();
        put_header(&mut bytes, 0);
        put_stream(&mut bytes, 0, "a");
        let batch = vec![event(1, &"x".repeat(BLOCK_BYTES / 3)); 7];
        put_events(&mut bytes, 0, 0, &batch);
        let (blocks, _) = Blocks::of(&bytes).unwrap();
        let sizes: Vec<usize> = blocks
            .filter_map(|block| match block {
                Block::Events(events) => Some(events.count()),
                _ => None,
            })
            .collect();
        assert_eq!(sizes, [3, 3, 1]);
    }

    #[test]
    fn a_torn_end_is_cut_at_a_block_wherever_it_is_torn() {
        let (bytes, len) = sample();
        let mut ends = vec![HEADER_BYTES];
        let (mut blocks, _) = Blocks::of(&bytes).unwrap();
        while blocks.next().is_some() {
            ends.push(blocks.whole());
        }
        for cut in 0..len {
            let torn = Table::scan(&bytes[..cut]);
            let expected = ends.iter().rev().find(|end| **end <= cut).copied();
            assert_eq!(torn.as_ref().map(|scan| scan.whole), expected, "{cut}");
            // What a file system may leave instead of the end: zeros.
            let mut zeros = bytes[..cut].to_vec();
            zeros.resize(len, 0);
            let whole = Table::scan(&zeros).map_or(0, |scan| scan.whole);
            // A header without its time is one of 1970: only an early end of the segment.
            let after_header = HEADER_BYTES.min(whole)..whole;
            assert_eq!(zeros[after_header.clone()], bytes[after_header], "{cut}");
            assert!(torn.is_none_or(|scan| !scan.sealed));
        }
    }

    #[test]
    fn no_damage_panics_or_invents_events() {
        let (bytes, len) = sample();
        for at in 0..len {
            for flip in [1_u8, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                let Some((blocks, _)) = Blocks::of(&damaged) else { continue };
                let known = [b"one".as_slice(), b"", b"x"];
                for block in blocks {
                    match block {
                        Block::Events(mut events) => {
                            assert!(events.all(|(_, _, text)| known.contains(&text)), "{at}");
                        }
                        Block::Index(index) => drop(Table::read(index)),
                        _ => {}
                    }
                }
            }
        }
    }
}
