//! A zip package, checked, and written out as a tar stream.
//!
//! What is hostile or damaged is refused with a sentence, never repaired. The archive's directory
//! says what there is, each entry's own header must agree, and no byte belongs to two entries. The
//! limits hold while inflating: sizes are claims, and no entry gives more than it claimed.
//!
//! Nothing here touches the disk or keeps unzipped data. The memory is that of the list of entries
//! (within a limit) and one window. Beside the zip itself, nothing of a package decides about its
//! tar: times are 0, the owner is root, and modes say only whether a file can be executed.

use std::io::{self, Write};

use rawzip::{CompressionMethod, CreatorSystem, ZipArchive, ZipFileHeaderRecord, ZipSliceArchive};

use super::elf;
use super::error::{PackageError, Problem};
use super::inflate::{Damage, Inflater, Source};
use super::path;
use crate::docker::{TarEntry, TarWriter};

/// The program that an OS-only runtime starts.
const BOOTSTRAP: &str = "bootstrap";

/// What a package may be. AWS's limits, where AWS has them.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub zipped_bytes: u64,
    /// Of all files together.
    pub unzipped_bytes: u64,
    /// Files, directories and links, those directories included that are only implied.
    pub entries: usize,
}

impl Limits {
    /// For a zip in the request itself (AWS Lambda quotas: "Deployment package size").
    pub const INLINE: Limits =
        Limits { zipped_bytes: 52_428_800, unzipped_bytes: 262_144_000, entries: 100_000 };
    /// For a zip that the request only names: AWS limits what it unzips to.
    pub const FETCHED: Limits = Limits { zipped_bytes: 262_144_000, ..Limits::INLINE };
}

/// The entries of a zip, which it borrows.
#[derive(Debug)]
pub struct Archive<'a> {
    /// In tree order: a directory comes right before everything in it.
    entries: Vec<Entry<'a>>,
    unzipped_bytes: u64,
}

#[derive(Debug)]
struct Entry<'a> {
    path: String,
    kind: Kind,
    source: Source<'a>,
}

#[derive(Debug)]
enum Kind {
    Directory,
    File { executable: bool },
    Link { target: String },
}

impl<'a> Archive<'a> {
    /// Reads and checks everything, the data of all files included.
    pub fn check(zip: &'a [u8], limits: &Limits) -> Result<Archive<'a>, PackageError> {
        let archive = Archive::parse(zip, limits)?;
        let mut inflater = Inflater::new();
        let mut buffer = vec![0; 64 * 1024];
        for entry in archive.entries.iter().filter(|entry| matches!(entry.kind, Kind::File { .. }))
        {
            inflater.open(entry.source).verify(&mut buffer).map_err(|damage| {
                PackageError::entry(entry.path.as_bytes(), Problem::Damaged(damage))
            })?;
        }
        Ok(archive)
    }

    /// Reads and checks everything but the data of files, which is then checked by
    /// [`Archive::write_tar`]: enough for a zip that was checked before.
    pub fn parse(zip: &'a [u8], limits: &Limits) -> Result<Archive<'a>, PackageError> {
        if zip.len() as u64 > limits.zipped_bytes {
            return Err(PackageError::ZippedTooLarge { limit_bytes: limits.zipped_bytes });
        }
        let unreadable = |e: rawzip::Error| PackageError::Unreadable { cause: e.to_string() };
        let archive = ZipArchive::from_slice(zip).map_err(unreadable)?;
        let mut entries = Vec::new();
        let mut ranges = Vec::new();
        let mut unzipped_bytes = 0_u64;
        let mut count = 0_u64;
        let mut inflater = Inflater::new();
        for record in archive.entries() {
            let record = record.map_err(unreadable)?;
            count += 1;
            if count > limits.entries as u64 {
                return Err(PackageError::TooManyEntries { limit: limits.entries });
            }
            unzipped_bytes = unzipped_bytes.saturating_add(record.uncompressed_size_hint());
            if unzipped_bytes > limits.unzipped_bytes {
                return Err(PackageError::UnzippedTooLarge { limit_bytes: limits.unzipped_bytes });
            }
            let name = record.file_path();
            let (entry, range) = read(zip, &archive, &record, &mut inflater)
                .map_err(|problem| PackageError::entry(name.as_bytes(), problem))?;
            ranges.push((range, entries.len()));
            entries.push(entry);
        }
        if count != archive.entries_hint() {
            let cause = format!("{count} entries, and {} are announced", archive.entries_hint());
            return Err(PackageError::Unreadable { cause });
        }
        check_overlaps(&mut ranges, archive.directory_offset()).map_err(|index: usize| {
            PackageError::entry(entries[index].path.as_bytes(), Problem::Overlap)
        })?;
        // `./` is where the package goes; it is no entry of its own.
        entries.retain(|entry| !entry.path.is_empty());
        entries.sort_by(|a, b| path::tree_order(&a.path, &b.path));
        check_tree(&entries, limits.entries)?;
        if !entries.iter().any(|entry| matches!(entry.kind, Kind::File { .. })) {
            return Err(PackageError::Empty);
        }
        Ok(Archive { entries, unzipped_bytes })
    }

    /// What all files together have.
    pub fn unzipped_bytes(&self) -> u64 {
        self.unzipped_bytes
    }

    /// The first bytes of the file `bootstrap`, if there is one, for [`elf::check_program`].
    pub fn bootstrap_head(&self) -> Option<Vec<u8>> {
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.path == BOOTSTRAP && matches!(entry.kind, Kind::File { .. }))?;
        let mut head = Vec::with_capacity(elf::HEAD_BYTES);
        let mut inflater = Inflater::new();
        let reader = inflater.open(entry.source);
        // What cannot be read is not judged here: a check or the writing of the tar refuses it.
        let _ =
            io::Read::read_to_end(&mut io::Read::take(reader, elf::HEAD_BYTES as u64), &mut head);
        Some(head)
    }

    /// Writes everything below the directory `prefix`, as `var/task`, itself included.
    pub fn write_tar<W: Write>(
        &self,
        prefix: &str,
        tar: &mut TarWriter<W>,
    ) -> Result<(), PackageError> {
        tar.directory(TarEntry::root(prefix, 0o755)).map_err(unwritten)?;
        let mut inflater = Inflater::new();
        let mut before = "";
        for entry in &self.entries {
            for directory in path::new_directories(before, &entry.path) {
                let path = format!("{prefix}/{directory}");
                tar.directory(TarEntry::root(&path, 0o755)).map_err(unwritten)?;
            }
            entry.write(prefix, tar, &mut inflater).map_err(|source| entry.failed(source))?;
            before = &entry.path;
        }
        Ok(())
    }
}

impl Entry<'_> {
    fn write<W: Write>(
        &self,
        prefix: &str,
        tar: &mut TarWriter<W>,
        inflater: &mut Inflater,
    ) -> io::Result<()> {
        let path = format!("{prefix}/{}", self.path);
        match &self.kind {
            Kind::Directory => tar.directory(TarEntry::root(&path, 0o755)),
            Kind::Link { target } => tar.symlink(TarEntry::root(&path, 0o777), target),
            Kind::File { executable } => {
                // The function's user is neither the owner nor in the group.
                let mode = if *executable { 0o755 } else { 0o644 };
                let mut reader = inflater.open(self.source);
                tar.file(TarEntry::root(&path, mode), self.source.size, &mut reader)
            }
        }
    }

    /// Tells damaged data from an output that cannot be written.
    fn failed(&self, source: io::Error) -> PackageError {
        match source.get_ref().and_then(|inner| inner.downcast_ref::<Damage>()) {
            Some(&damage) => PackageError::entry(self.path.as_bytes(), Problem::Damaged(damage)),
            None => unwritten(source),
        }
    }
}

fn unwritten(source: io::Error) -> PackageError {
    PackageError::Storage { doing: "writing an unzipped package", source }
}

/// One entry, and the bytes of the zip that it takes.
fn read<'a>(
    zip: &'a [u8],
    archive: &ZipSliceArchive<&'a [u8]>,
    record: &ZipFileHeaderRecord<'_>,
    inflater: &mut Inflater,
) -> Result<(Entry<'a>, (u64, u64)), Problem> {
    // Bits 0, 6 and 13 of the flags (APPNOTE 4.4.4).
    let flags = record.flags();
    if flags.is_encrypted() || flags.has_strong_encryption() || flags.is_masked() {
        return Err(Problem::Encrypted);
    }
    let deflated = match record.compression_method() {
        CompressionMethod::STORE => false,
        CompressionMethod::DEFLATE => true,
        other => return Err(Problem::Method { number: other.as_u16() }),
    };
    let path = path::clean(record.file_path().as_bytes())?;
    let found = archive.get_entry(record.wayfinder()).map_err(|_| Problem::CutShort)?;
    check_local(record, &found)?;
    // A slice of the zip itself, because what the archive gives lives only as long as that.
    let (start, end) = found.compressed_data_range();
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    let data = range.and_then(|(start, end)| zip.get(start..end)).ok_or(Problem::CutShort)?;
    let source =
        Source { data, deflated, size: record.uncompressed_size_hint(), crc: record.crc32() };
    let kind = kind(record, &path, source, inflater)?;
    Ok((Entry { path, kind, source }, (record.local_header_offset(), end)))
}

/// File types of `st_mode`, which Unix's zip programs put into the upper half of the attributes.
const TYPE_MASK: u32 = 0o170_000;
const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_LINK: u32 = 0o120_000;

fn kind(
    record: &ZipFileHeaderRecord<'_>,
    path: &str,
    source: Source<'_>,
    inflater: &mut Inflater,
) -> Result<Kind, Problem> {
    let mode = match record.version_made_by().creator_system() {
        CreatorSystem::UNIX | CreatorSystem::MACOS => record.external_attributes() >> 16,
        // Others have no modes; what looks like one there is something else.
        _ => 0,
    };
    let file_type = mode & TYPE_MASK;
    if !matches!(file_type, 0 | TYPE_DIRECTORY | TYPE_FILE | TYPE_LINK) {
        return Err(Problem::Special);
    }
    let is_directory = record.is_dir() || file_type == TYPE_DIRECTORY || path.is_empty();
    if is_directory {
        return match (file_type, source.size) {
            (TYPE_LINK, _) => Err(Problem::Special),
            (_, 0) => Ok(Kind::Directory),
            _ => Err(Problem::DirectoryWithData),
        };
    }
    if file_type == TYPE_LINK {
        let limit_bytes = path::LINK_LIMIT_BYTES;
        if source.size > limit_bytes as u64 {
            return Err(Problem::LinkTooLong { limit_bytes });
        }
        let (mut reader, mut target) = (inflater.open(source), Vec::new());
        let mut buffer = [0; 256];
        loop {
            match reader.next(&mut buffer).map_err(Problem::Damaged)? {
                0 => return Ok(Kind::Link { target: path::link_target(path, &target)? }),
                count => target.extend_from_slice(&buffer[..count]),
            }
        }
    }
    // A zip made where files have no modes must be able to start all the same.
    Ok(Kind::File { executable: mode & 0o111 != 0 || path == BOOTSTRAP })
}

/// The header at the data must say what the directory says: whoever looks at one of the two only
/// would see another package.
fn check_local(
    record: &ZipFileHeaderRecord<'_>,
    found: &rawzip::ZipSliceEntry<'_>,
) -> Result<(), Problem> {
    let local = found.local_header();
    let same =
        |same: bool, field| if same { Ok(()) } else { Err(Problem::HeadersDiffer { field }) };
    same(local.file_path().as_bytes() == record.file_path().as_bytes(), "name")?;
    same(local.compression_method() == record.compression_method(), "compression method")?;
    // Encryption, the descriptor behind the data, and masking; the others change nothing here.
    const FLAGS: u16 = 1 << 0 | 1 << 3 | 1 << 6 | 1 << 13;
    same(local.flags().bits() & FLAGS == record.flags().bits() & FLAGS, "flag")?;
    let (crc, sizes) =
        (record.crc32(), [record.compressed_size_hint(), record.uncompressed_size_hint()]);
    let local_sizes = [local.compressed_size_hint(), local.uncompressed_size_hint()];
    if !record.flags().has_data_descriptor() {
        same(local.crc32() == crc, "checksum")?;
        return same(local_sizes == sizes, "size");
    }
    // Then the header has zeros and the descriptor behind the data has the figures. Whether its
    // sizes take 4 or 8 bytes is not certain, so the checksum before them is compared.
    let descriptor = found.data_descriptor().map_err(|_| Problem::CutShort)?;
    same(descriptor.is_some_and(|descriptor| descriptor.crc32() == crc), "checksum")?;
    same(matches!(local.crc32(), 0) || local.crc32() == crc, "checksum")?;
    same(local_sizes.iter().zip(sizes).all(|(&here, there)| here == 0 || here == there), "size")
}

/// No two entries share bytes, and none reaches into the directory. Gives the index of one that
/// does.
fn check_overlaps(ranges: &mut [((u64, u64), usize)], directory: u64) -> Result<(), usize> {
    ranges.sort_unstable();
    let mut taken = 0;
    for &((start, end), index) in ranges.iter() {
        if start < taken || end > directory {
            return Err(index);
        }
        taken = end;
    }
    Ok(())
}

/// Every path is there once and lies in directories only, and the directories that are implied are
/// within the limit too.
fn check_tree(entries: &[Entry<'_>], limit: usize) -> Result<(), PackageError> {
    let mut count = entries.len();
    let (mut before, mut before_is_directory) = ("", true);
    for entry in entries {
        let path: &str = &entry.path;
        let refuse = |problem| Err(PackageError::entry(path.as_bytes(), problem));
        if path == before {
            return refuse(Problem::Duplicate);
        }
        if !before_is_directory && path::is_under(path, before) {
            return refuse(Problem::UnderFile);
        }
        count += path::new_directories(before, path).count();
        if count > limit {
            return Err(PackageError::TooManyEntries { limit });
        }
        (before, before_is_directory) = (path, matches!(entry.kind, Kind::Directory));
    }
    Ok(())
}
