//! A writer of tar archives in the pax format (POSIX.1-2001), for what is sent into images.
//!
//! The same entries give the same bytes: all times are 0. It writes directories, files and
//! symbolic links, and refuses what would not fit or would leave the archive's root. A header is
//! plain ustar; only a path or a link's target that has no room there gets a record before it. It
//! does not read archives.

use std::io::{self, Read, Write};

const BLOCK_BYTES: usize = 512;
const PATH_BYTES: usize = 100;
const PREFIX_BYTES: usize = 155;
/// Linux's own limit for a path (PATH_MAX).
const LONG_PATH_BYTES: usize = 4096;
/// The largest number in the eleven octal digits of the size field: 8 GiB less one byte.
const SIZE_LIMIT_BYTES: u64 = 0o77_777_777_777;
/// The largest number in the seven octal digits of the owner fields.
const ID_LIMIT: u32 = 0o7_777_777;

/// The head of an entry. Modes are permission bits, as `0o755`.
#[derive(Debug, Clone, Copy)]
pub struct TarEntry<'a> {
    /// Relative to the root, as `var/task/bootstrap`.
    pub path: &'a str,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

impl<'a> TarEntry<'a> {
    /// An entry that belongs to root.
    pub fn root(path: &'a str, mode: u32) -> Self {
        TarEntry { path, mode, uid: 0, gid: 0 }
    }
}

/// Writes an archive to `output`.
#[derive(Debug)]
pub struct TarWriter<W> {
    output: W,
}

impl<W: Write> TarWriter<W> {
    pub fn new(output: W) -> Self {
        TarWriter { output }
    }

    pub fn directory(&mut self, entry: TarEntry<'_>) -> io::Result<()> {
        self.header(entry, b'5', 0, "")
    }

    pub fn symlink(&mut self, entry: TarEntry<'_>, target: &str) -> io::Result<()> {
        self.header(entry, b'2', 0, target)
    }

    /// A file of exactly `size` bytes from `data`; fewer or more are an error.
    pub fn file(&mut self, entry: TarEntry<'_>, size: u64, data: &mut dyn Read) -> io::Result<()> {
        self.header(entry, b'0', size, "")?;
        let copied = io::copy(&mut data.take(size), &mut self.output)?;
        if copied != size || data.read(&mut [0])? != 0 {
            return Err(invalid(entry.path, "its data is not as long as was said"));
        }
        self.pad(size)
    }

    /// Fills the last block of `size` bytes of data.
    fn pad(&mut self, size: u64) -> io::Result<()> {
        let over = usize::try_from(size % BLOCK_BYTES as u64).unwrap_or(0);
        if over > 0 {
            self.output.write_all(&[0; BLOCK_BYTES][over..])?;
        }
        Ok(())
    }

    /// The header of an entry, after the records that it needs.
    fn header(&mut self, entry: TarEntry<'_>, kind: u8, size: u64, target: &str) -> io::Result<()> {
        let TarEntry { path, mode, uid, gid } = entry;
        let plain = |text: &str| text.len() <= LONG_PATH_BYTES && !text.bytes().any(|b| b == 0);
        if !path.split('/').all(|part| !matches!(part, "" | "." | "..")) || !plain(path) {
            return Err(invalid(path, "not a plain relative path"));
        }
        if !plain(target) {
            return Err(invalid(path, "its link target is too long or has a zero in it"));
        }
        if size > SIZE_LIMIT_BYTES || uid > ID_LIMIT || gid > ID_LIMIT || mode > 0o7777 {
            return Err(invalid(path, "its size, owner or mode is larger than the format allows"));
        }
        let mut records = String::new();
        // Where a record says more, the field has what of it is short enough: nothing.
        let (prefix, name) = split(path).unwrap_or_else(|| {
            records.push_str(&record("path", path));
            ("", "long-path")
        });
        let mut short_target = target;
        if target.len() > PATH_BYTES {
            records.push_str(&record("linkpath", target));
            short_target = "";
        }
        if !records.is_empty() {
            let head = Header { prefix: "", name: "pax", mode: 0o644, uid: 0, gid: 0, target: "" };
            self.output.write_all(&head.block(b'x', records.len() as u64))?;
            self.output.write_all(records.as_bytes())?;
            self.pad(records.len() as u64)?;
        }
        let head = Header { prefix, name, mode, uid, gid, target: short_target };
        self.output.write_all(&head.block(kind, size))
    }

    /// Ends the archive and gives the output back. Without it the archive is cut short.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.write_all(&[0; 2 * BLOCK_BYTES])?;
        self.output.flush()?;
        Ok(self.output)
    }
}

fn invalid(path: &str, reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("tar entry {path:?}: {reason}"))
}

/// One record of a pax header: its own length in decimal, a space, `key=value`, a line feed.
fn record(key: &str, value: &str) -> String {
    // The length counts its own digits, so a digit more can need a digit more.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length += 1;
    }
    format!("{length} {key}={value}\n")
}

/// The fields of a header block, each short enough for its place.
struct Header<'a> {
    prefix: &'a str,
    name: &'a str,
    mode: u32,
    uid: u32,
    gid: u32,
    target: &'a str,
}

impl Header<'_> {
    fn block(&self, kind: u8, size: u64) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, self.name.as_bytes());
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, format!("{:07o}\0", self.uid).as_bytes());
        put(116, format!("{:07o}\0", self.gid).as_bytes());
        put(124, format!("{size:011o}\0").as_bytes());
        put(136, b"00000000000\0");
        // The checksum counts its own field as spaces.
        put(148, b"        ");
        put(156, &[kind]);
        put(157, self.target.as_bytes());
        put(257, b"ustar\x0000");
        put(345, self.prefix.as_bytes());
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

/// Splits a path at a slash into the format's prefix and name fields.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= PATH_BYTES {
        return Some(("", path));
    }
    path.match_indices('/')
        .map(|(at, _)| (&path[..at], &path[at + 1..]))
        .find(|(prefix, name)| prefix.len() <= PREFIX_BYTES && name.len() <= PATH_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(block: &[u8], at: usize, length: usize) -> &str {
        let bytes = &block[at..at + length];
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(length);
        std::str::from_utf8(&bytes[..end]).unwrap()
    }

    fn archive(data: &[u8]) -> Vec<u8> {
        let mut tar = TarWriter::new(Vec::new());
        tar.directory(TarEntry::root("a", 0o755)).unwrap();
        let entry = TarEntry { path: "a/f", mode: 0o640, uid: 993, gid: 990 };
        tar.file(entry, data.len() as u64, &mut &data[..]).unwrap();
        tar.symlink(TarEntry::root("l", 0o777), "a/f").unwrap();
        tar.finish().unwrap()
    }

    #[test]
    fn fields_are_where_the_format_has_them() {
        let tar = archive(b"hello");
        assert_eq!(tar.len(), 512 * (1 + 2 + 1 + 2));
        let file = &tar[512..];
        assert_eq!(field(file, 0, 100), "a/f");
        assert_eq!(field(file, 100, 8), "0000640");
        assert_eq!(field(file, 108, 8), "0001741");
        assert_eq!(field(file, 124, 12), "00000000005");
        assert_eq!(&file[257..265], b"ustar\x0000");
        assert_eq!(&file[512..517], b"hello");
        assert_eq!(field(&tar[1536..], 157, 100), "a/f");
        assert_eq!([tar[156], tar[512 + 156], tar[1536 + 156]], *b"502");
    }

    #[test]
    fn the_checksum_counts_its_field_as_spaces() {
        let tar = archive(b"");
        let sum: u32 = tar[..512]
            .iter()
            .enumerate()
            .map(|(at, &b)| if (148..156).contains(&at) { 32 } else { u32::from(b) })
            .sum();
        assert_eq!(u32::from_str_radix(field(&tar, 148, 8), 8).unwrap(), sum);
    }

    #[test]
    fn data_fills_whole_blocks() {
        for length in [0, 1, 511, 512, 513] {
            let tar = archive(&vec![b'x'; length]);
            assert_eq!(tar.len(), 512 * (5 + length.div_ceil(512)), "{length}");
        }
    }

    #[test]
    fn long_paths_are_split_at_a_slash() {
        let path = format!("{}/{}", "p".repeat(155), "n".repeat(100));
        assert_eq!(split(&path).unwrap(), (&path[..155], &path[156..]));
        assert_eq!(split(&"x".repeat(101)), None);
        assert_eq!(split(&format!("{}/n", "p".repeat(156))), None);
    }

    #[test]
    fn what_no_field_has_room_for_is_in_a_record_before() {
        let (path, target) = ("n".repeat(101), "t".repeat(101));
        let mut tar = TarWriter::new(Vec::new());
        tar.symlink(TarEntry::root(&path, 0o777), &target).unwrap();
        let tar = tar.finish().unwrap();
        let records = format!("111 path={path}\n115 linkpath={target}\n");
        assert_eq!(tar[156], b'x');
        assert_eq!(field(&tar, 124, 12), format!("{:011o}", records.len()));
        assert_eq!(&tar[512..512 + records.len()], records.as_bytes());
        assert_eq!((tar[1024 + 156], field(&tar[1024..], 157, 100)), (b'2', ""));
        assert_eq!(tar.len(), 512 * (1 + 1 + 1 + 2));
    }

    #[test]
    fn a_record_counts_its_own_digits() {
        for length in 0..1200 {
            let record = record("path", &"v".repeat(length));
            let (said, _) = record.split_once(' ').unwrap();
            assert_eq!(said.parse(), Ok(record.len()));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut tar = TarWriter::new(Vec::new());
        for bad in ["", "/etc", "a/../b", "a//b", "./a", "a\0b", "a/"] {
            assert!(tar.directory(TarEntry::root(bad, 0o755)).is_err(), "{bad:?}");
        }
        assert!(tar.symlink(TarEntry::root("l", 0o777), &"x".repeat(4097)).is_err());
        assert!(tar.symlink(TarEntry::root("l", 0o777), "a\0b").is_err());
        let entry = TarEntry::root("f", 0o644);
        assert!(tar.file(entry, 1 << 33, &mut &b""[..]).is_err());
        assert!(tar.file(entry, 3, &mut &b"ab"[..]).is_err());
        assert!(tar.file(entry, 1, &mut &b"ab"[..]).is_err());
    }
}
