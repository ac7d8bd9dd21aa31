//! What a segment of the journal is made of: a header, then frames, each with checksums of its own.
//!
//! ```text
//! segment:  "LRAQ"  format u32  number u32  checksum of these u32
//! frame:    checksum of what follows up to the body u32
//!           kind u8  head's length u32  body's length u32  body's checksum u32  head  body
//! ```
//!
//! Numbers are little-endian, checksums CRC-32. A head says what a frame means and is small; a body
//! is a payload. So a scan reads heads only, and still knows a torn one. Nothing here knows what
//! heads mean.

use std::io;

use super::storage::Blob;

/// A build knows one format and refuses a greater one.
pub(super) const FORMAT: u32 = 1;
pub(super) const SEGMENT_HEADER_BYTES: usize = 16;
const MAGIC: &[u8; 4] = b"LRAQ";

/// What stands before a head.
const PREFIX_BYTES: usize = 17;
/// Names, a trace id, an error's text; or the ids of many ended events.
pub(super) const HEAD_BYTES_MAX: usize = 64 << 10;
/// A record of an invocation: its payload (1 MB) and its answer (6 MB), both in base64 at the worst.
pub(super) const BODY_BYTES_MAX: usize = 16 << 20;
/// How much a scan reads at once.
const WINDOW_BYTES: usize = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An event or a record that waits, with its payload as the body. A later one of the same id
    /// takes its place.
    Entry = 1,
    /// How often an entry was tried, and when it is tried again.
    Attempt = 2,
    /// Entries that are gone.
    End = 3,
}

impl Kind {
    fn of(byte: u8) -> Option<Kind> {
        [Kind::Entry, Kind::Attempt, Kind::End].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Where a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) at: u32,
    head: u32,
    body: u32,
}

impl Place {
    pub(super) fn bytes(&self) -> u64 {
        PREFIX_BYTES as u64 + u64::from(self.head) + u64::from(self.body)
    }
}

/// The bytes that a frame of this head and body takes.
pub(super) fn size(head: usize, body: usize) -> u64 {
    (PREFIX_BYTES + head + body) as u64
}

/// A number that cannot be is refused by whoever reads it.
fn small(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

pub(super) fn segment_header(number: u32) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut header = [0; SEGMENT_HEADER_BYTES];
    header[..4].copy_from_slice(MAGIC);
    header[4..8].copy_from_slice(&FORMAT.to_le_bytes());
    header[8..12].copy_from_slice(&number.to_le_bytes());
    let checksum = rawzip::crc32(&header[..12]);
    header[12..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// The format in a segment's header; `None` when it is no header of this segment.
pub(super) fn format_of(header: &[u8; SEGMENT_HEADER_BYTES], number: u32) -> Option<u32> {
    let word = |at| u32_at(header, at);
    let whole = word(12) == rawzip::crc32(&header[..12]) && word(8) == number;
    (whole && header.starts_with(MAGIC)).then(|| word(4))
}

/// Appends a frame to `out`, which begins at the offset `from` of segment `segment`.
pub(super) fn push(
    out: &mut Vec<u8>,
    (segment, from): (u32, u64),
    kind: Kind,
    head: &[u8],
    body: &[u8],
) -> Place {
    let at = u32::try_from(from + out.len() as u64).unwrap_or(u32::MAX);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(kind as u8);
    out.extend_from_slice(&small(head.len()).to_le_bytes());
    out.extend_from_slice(&small(body.len()).to_le_bytes());
    out.extend_from_slice(&rawzip::crc32(body).to_le_bytes());
    out.extend_from_slice(head);
    let checksum = rawzip::crc32(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(body);
    Place { segment, at, head: small(head.len()), body: small(body.len()) }
}

/// Reads a frame's head and body, and checks both.
pub(super) fn read(blob: &dyn Blob, place: &Place) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let head_end = PREFIX_BYTES + place.head as usize;
    let mut bytes = vec![0; head_end + place.body as usize];
    blob.read_at(&mut bytes, u64::from(place.at))?;
    let body = bytes.split_off(head_end);
    let prefix = Prefix::of(&bytes);
    let whole = prefix.is_some_and(|prefix| {
        prefix.head == place.head as usize
            && prefix.body == place.body as usize
            && prefix.checksum == rawzip::crc32(&bytes[4..])
            && prefix.body_checksum == rawzip::crc32(&body)
    });
    if !whole {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum is wrong"));
    }
    Ok((bytes.split_off(PREFIX_BYTES), body))
}

struct Prefix {
    checksum: u32,
    kind: Kind,
    head: usize,
    body: usize,
    body_checksum: u32,
}

impl Prefix {
    /// `None` for what no frame begins with.
    fn of(bytes: &[u8]) -> Option<Prefix> {
        let bytes = bytes.get(..PREFIX_BYTES)?;
        let length = |at| u32_at(bytes, at) as usize;
        Some(Prefix {
            checksum: u32_at(bytes, 0),
            kind: Kind::of(bytes[4])?,
            head: length(5),
            body: length(9),
            body_checksum: u32_at(bytes, 13),
        })
        .filter(|prefix| prefix.head <= HEAD_BYTES_MAX && prefix.body <= BODY_BYTES_MAX)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// How a scan ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Where the last whole frame ends.
    pub(super) valid: u64,
    /// The length of the file.
    pub(super) length: u64,
}

/// Shows every frame's head up to the first one that is not whole. `bodies` says whether bodies are
/// checked, too: it costs reading them.
pub(super) fn scan(
    blob: &dyn Blob,
    segment: u32,
    bodies: bool,
    visit: &mut dyn FnMut(Kind, &[u8], Place),
) -> io::Result<Scanned> {
    let length = blob.len()?;
    let mut window = Window { blob, length, from: 0, bytes: Vec::new() };
    let mut at = SEGMENT_HEADER_BYTES as u64;
    while let Some((prefix, head)) = window.frame(at)? {
        let place = Place {
            segment,
            at: u32::try_from(at).unwrap_or(u32::MAX),
            head: small(head.len()),
            body: small(prefix.body),
        };
        let end = at + place.bytes();
        if end > length || place.at == u32::MAX {
            break;
        }
        if bodies && prefix.body > 0 {
            let mut body = vec![0; prefix.body];
            blob.read_at(&mut body, end - prefix.body as u64)?;
            if rawzip::crc32(&body) != prefix.body_checksum {
                break;
            }
        }
        visit(prefix.kind, head, place);
        at = end;
    }
    Ok(Scanned { valid: at.min(length), length })
}

/// A part of the file in memory that moves on with the scan.
struct Window<'a> {
    blob: &'a dyn Blob,
    length: u64,
    from: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// `wanted` bytes from `at`, or as many as there are.
    fn get(&mut self, at: u64, wanted: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.length.saturating_sub(at)).unwrap_or(usize::MAX);
        let wanted = wanted.min(left);
        let held = at >= self.from && at + wanted as u64 <= self.from + self.bytes.len() as u64;
        if !held {
            self.bytes.resize(wanted.max(WINDOW_BYTES).min(left), 0);
            self.blob.read_at(&mut self.bytes, at)?;
            self.from = at;
        }
        let start = usize::try_from(at - self.from).unwrap_or(usize::MAX);
        Ok(&self.bytes[start..start + wanted])
    }

    /// The prefix and the head of the frame that begins there, if they are whole.
    fn frame(&mut self, at: u64) -> io::Result<Option<(Prefix, &[u8])>> {
        let Some(prefix) = Prefix::of(self.get(at, PREFIX_BYTES)?) else { return Ok(None) };
        let wanted = PREFIX_BYTES + prefix.head;
        let bytes = self.get(at, wanted)?;
        let whole = bytes.len() == wanted && rawzip::crc32(&bytes[4..]) == prefix.checksum;
        Ok(whole.then(|| (prefix, &bytes[PREFIX_BYTES..])))
    }
}
