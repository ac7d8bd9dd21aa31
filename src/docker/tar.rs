//! A writer of tar archives in the ustar format (POSIX.1-1988), for images that are imported.
//!
//! The same entries give the same bytes: all times are 0. It writes directories, files and
//! symbolic links, with paths of at most 255 bytes, and refuses what would not fit or would leave
//! the archive's root. It does not read archives.

use std::io::{self, Read, Write};

const BLOCK_BYTES: usize = 512;
const PATH_BYTES: usize = 100;
const PREFIX_BYTES: usize = 155;
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
        self.output.write_all(&header(entry, b'5', 0, "")?)
    }

    pub fn symlink(&mut self, entry: TarEntry<'_>, target: &str) -> io::Result<()> {
        self.output.write_all(&header(entry, b'2', 0, target)?)
    }

    /// A file of exactly `size` bytes from `data`; fewer or more are an error.
    pub fn file(&mut self, entry: TarEntry<'_>, size: u64, data: &mut dyn Read) -> io::Result<()> {
        self.output.write_all(&header(entry, b'0', size, "")?)?;
        let copied = io::copy(&mut data.take(size), &mut self.output)?;
        if copied != size || data.read(&mut [0])? != 0 {
            return Err(invalid(entry.path, "its data is not as long as was said"));
        }
        let over = usize::try_from(size % BLOCK_BYTES as u64).unwrap_or(0);
        if over > 0 {
            self.output.write_all(&[0; BLOCK_BYTES][over..])?;
        }
        Ok(())
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

/// One header block.
fn header(entry: TarEntry<'_>, kind: u8, size: u64, target: &str) -> io::Result<[u8; BLOCK_BYTES]> {
    let TarEntry { path, mode, uid, gid } = entry;
    let plain = |text: &str| !text.bytes().any(|b| b == 0);
    if !path.split('/').all(|part| !matches!(part, "" | "." | "..")) || !plain(path) {
        return Err(invalid(path, "not a plain relative path"));
    }
    let Some((prefix, name)) = split(path) else {
        return Err(invalid(path, "longer than the format allows"));
    };
    if target.len() > PATH_BYTES || !plain(target) {
        return Err(invalid(path, "its link target is longer than 100 bytes or has a zero in it"));
    }
    if size > SIZE_LIMIT_BYTES || uid > ID_LIMIT || gid > ID_LIMIT || mode > 0o7777 {
        return Err(invalid(path, "its size, owner or mode is larger than the format allows"));
    }
    let mut block = [0; BLOCK_BYTES];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, format!("{uid:07o}\0").as_bytes());
    put(116, format!("{gid:07o}\0").as_bytes());
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    // The checksum counts its own field as spaces.
    put(148, b"        ");
    put(156, &[kind]);
    put(157, target.as_bytes());
    put(257, b"ustar\x0000");
    put(345, prefix.as_bytes());
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
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
    fn what_does_not_fit_is_refused() {
        let mut tar = TarWriter::new(Vec::new());
        for bad in ["", "/etc", "a/../b", "a//b", "./a", "a\0b", "a/"] {
            assert!(tar.directory(TarEntry::root(bad, 0o755)).is_err(), "{bad:?}");
        }
        assert!(tar.symlink(TarEntry::root("l", 0o777), &"x".repeat(101)).is_err());
        let entry = TarEntry::root("f", 0o644);
        assert!(tar.file(entry, 1 << 33, &mut &b""[..]).is_err());
        assert!(tar.file(entry, 3, &mut &b"ab"[..]).is_err());
        assert!(tar.file(entry, 1, &mut &b"ab"[..]).is_err());
    }
}
