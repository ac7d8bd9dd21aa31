//! A builder of zip archives for tests, good ones and hostile ones: every field of both headers can
//! say something else than the truth.

use miniz_oxide::deflate::compress_to_vec;

/// One entry. What is not set is right.
#[derive(Clone)]
pub(super) struct ZipEntry {
    pub(super) name: Vec<u8>,
    /// The name at the data, if it is another one.
    pub(super) local_name: Option<Vec<u8>>,
    pub(super) method: u16,
    pub(super) local_method: Option<u16>,
    /// As it stands in the archive.
    pub(super) data: Vec<u8>,
    pub(super) size: u32,
    pub(super) local_size: Option<u32>,
    pub(super) crc: u32,
    pub(super) local_crc: Option<u32>,
    pub(super) flags: u16,
    pub(super) local_flags: Option<u16>,
    /// `st_mode`, of a system of this number (3 is Unix, 0 is FAT).
    pub(super) mode: u32,
    pub(super) system: u8,
    /// Put into the directory instead of where the entry really is.
    pub(super) offset: Option<u32>,
    /// The descriptor's checksum; the descriptor is there if flag 3 is.
    pub(super) descriptor_crc: Option<u32>,
}

impl ZipEntry {
    pub(super) fn stored(name: &str, data: &[u8]) -> Self {
        ZipEntry {
            name: name.as_bytes().to_vec(),
            local_name: None,
            method: 0,
            local_method: None,
            data: data.to_vec(),
            size: u32::try_from(data.len()).unwrap(),
            local_size: None,
            crc: rawzip::crc32(data),
            local_crc: None,
            flags: 0,
            local_flags: None,
            mode: 0o100_644,
            system: 3,
            offset: None,
            descriptor_crc: None,
        }
    }

    pub(super) fn deflated(name: &str, data: &[u8]) -> Self {
        ZipEntry { method: 8, data: compress_to_vec(data, 6), ..ZipEntry::stored(name, data) }
    }

    pub(super) fn link(name: &str, target: &str) -> Self {
        ZipEntry { mode: 0o120_777, ..ZipEntry::stored(name, target.as_bytes()) }
    }

    pub(super) fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// As a program writes it that does not know sizes beforehand.
    pub(super) fn streamed(mut self) -> Self {
        self.flags |= 1 << 3;
        (self.local_crc, self.local_size) = (Some(0), Some(0));
        self
    }

    /// What both headers have from the flags to the length of the extra field. A local header that
    /// was streamed has no compressed size either.
    fn common(&self, local: bool) -> Vec<u8> {
        let pick16 = |other: Option<u16>, own| other.filter(|_| local).unwrap_or(own);
        let pick32 = |other: Option<u32>, own| other.filter(|_| local).unwrap_or(own);
        let flags = pick16(self.local_flags, self.flags);
        let compressed = u32::try_from(self.data.len()).unwrap();
        let streamed = local && self.local_size == Some(0);
        let name = if local { self.local_name.as_ref() } else { None }.unwrap_or(&self.name);
        let mut bytes = Vec::new();
        bytes.extend(20_u16.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(pick16(self.local_method, self.method).to_le_bytes());
        bytes.extend([0; 4]); // time and date
        bytes.extend(pick32(self.local_crc, self.crc).to_le_bytes());
        bytes.extend(if streamed { 0 } else { compressed }.to_le_bytes());
        bytes.extend(pick32(self.local_size, self.size).to_le_bytes());
        bytes.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        bytes.extend(0_u16.to_le_bytes());
        bytes
    }
}

/// An archive of these entries, in this order.
pub(super) fn zip(entries: &[ZipEntry]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let offset = entry.offset.unwrap_or_else(|| u32::try_from(bytes.len()).unwrap());
        bytes.extend(b"PK\x03\x04");
        bytes.extend(entry.common(true));
        bytes.extend(entry.local_name.as_ref().unwrap_or(&entry.name));
        bytes.extend(&entry.data);
        if entry.flags & 1 << 3 != 0 {
            bytes.extend(b"PK\x07\x08");
            bytes.extend(entry.descriptor_crc.unwrap_or(entry.crc).to_le_bytes());
            bytes.extend(u32::try_from(entry.data.len()).unwrap().to_le_bytes());
            bytes.extend(entry.size.to_le_bytes());
        }
        directory.extend(b"PK\x01\x02");
        directory.extend([20, entry.system]);
        directory.extend(entry.common(false));
        directory.extend([0; 6]); // comment, disk, internal attributes
        directory.extend((entry.mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(&entry.name);
    }
    end(bytes, &directory, entries.len())
}

/// Puts the directory and its end behind the entries.
pub(super) fn end(mut bytes: Vec<u8>, directory: &[u8], count: usize) -> Vec<u8> {
    let start = u32::try_from(bytes.len()).unwrap();
    bytes.extend(directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    let count = u16::try_from(count).unwrap().to_le_bytes();
    bytes.extend(count);
    bytes.extend(count);
    bytes.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}
