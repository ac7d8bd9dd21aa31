//! The data of one zip entry as a stream: stored or deflated, checked while it is read.
//!
//! Invariant: it never gives more bytes than the archive's directory claims, whatever the
//! compressed data would inflate to, and it reports its end only after the length, the CRC and the
//! end of the compressed data were right. It holds 43 KB whatever the entry's size.

use std::fmt;
use std::io::{self, Read};

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};
use rawzip::Crc32;

/// How an entry's data is not what the archive says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// It inflates to more than the directory claims: it stops there.
    Longer,
    Shorter,
    Checksum,
    Deflate,
    /// There is something after the end of the deflated data.
    Trailing,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Damage::Longer => "unzips to more than the archive's directory says",
            Damage::Shorter => "unzips to less than the archive's directory says",
            Damage::Checksum => "does not have the checksum that the archive's directory says",
            Damage::Deflate => "has data that is not deflated data",
            Damage::Trailing => "has something behind its deflated data",
        })
    }
}

impl std::error::Error for Damage {}

/// What is to be read, and what has to come out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) data: &'a [u8],
    pub(super) deflated: bool,
    pub(super) size: u64,
    pub(super) crc: u32,
}

/// Reads entries one after the other with the same memory.
pub(super) struct Inflater {
    state: Box<InflateState>,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Inflater { state: InflateState::new_boxed(DataFormat::Raw) }
    }

    pub(super) fn open<'a>(&'a mut self, source: Source<'a>) -> Reader<'a> {
        // This also clears the window, which a hostile entry could otherwise read of another one.
        self.state.reset(DataFormat::Raw);
        Reader {
            state: &mut self.state,
            source,
            left: source.size,
            crc: Crc32::new(),
            ended: !source.deflated,
            verified: false,
        }
    }
}

/// The data of one entry. A [`Damage`] comes out as the inner error of an [`io::Error`].
pub(super) struct Reader<'a> {
    state: &'a mut InflateState,
    source: Source<'a>,
    left: u64,
    crc: Crc32,
    /// The deflated data has said that it ends.
    ended: bool,
    verified: bool,
}

impl Reader<'_> {
    /// Reads everything and throws it away.
    pub(super) fn verify(mut self, buffer: &mut [u8]) -> Result<(), Damage> {
        while self.next(buffer)? > 0 {}
        Ok(())
    }

    /// The next bytes; 0 is the end, where everything was right.
    pub(super) fn next(&mut self, buffer: &mut [u8]) -> Result<usize, Damage> {
        if buffer.is_empty() || self.verified {
            return Ok(0);
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = match (room, self.source.deflated) {
            (0, _) => 0,
            (_, true) => self.inflate(&mut buffer[..room])?,
            (_, false) => self.copy(&mut buffer[..room])?,
        };
        if count == 0 {
            self.finish()?;
            return Ok(0);
        }
        self.left -= count as u64;
        self.crc.update(&buffer[..count]);
        Ok(count)
    }

    fn copy(&mut self, buffer: &mut [u8]) -> Result<usize, Damage> {
        let count = buffer.len().min(self.source.data.len());
        let (now, later) = self.source.data.split_at(count);
        buffer[..count].copy_from_slice(now);
        self.source.data = later;
        if count == 0 { Err(Damage::Shorter) } else { Ok(count) }
    }

    /// Inflates at least one byte, or none when the data has ended.
    fn inflate(&mut self, buffer: &mut [u8]) -> Result<usize, Damage> {
        while !self.ended {
            let step = inflate(self.state, self.source.data, buffer, MZFlush::None);
            self.source.data = &self.source.data[step.bytes_consumed..];
            match step.status {
                Ok(MZStatus::StreamEnd) => self.ended = true,
                // No step forward without more data, and there is none: it was cut off.
                Ok(_) if step.bytes_consumed == 0 && step.bytes_written == 0 => {
                    return Err(Damage::Shorter);
                }
                Ok(_) => {}
                Err(MZError::Buf) => return Err(Damage::Shorter),
                Err(_) => return Err(Damage::Deflate),
            }
            if step.bytes_written > 0 {
                return Ok(step.bytes_written);
            }
        }
        Ok(0)
    }

    fn finish(&mut self) -> Result<(), Damage> {
        if self.left > 0 {
            return Err(Damage::Shorter);
        }
        // The end of deflated data may need one more step to be seen; one more byte is too many.
        if !self.ended && self.inflate(&mut [0])? > 0 {
            return Err(Damage::Longer);
        }
        if !self.source.data.is_empty() {
            return Err(if self.source.deflated { Damage::Trailing } else { Damage::Longer });
        }
        if self.crc.checksum() != self.source.crc {
            return Err(Damage::Checksum);
        }
        self.verified = true;
        Ok(())
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.next(buffer).map_err(|damage| io::Error::new(io::ErrorKind::InvalidData, damage))
    }
}

#[cfg(test)]
mod tests {
    use miniz_oxide::deflate::compress_to_vec;

    use super::*;

    fn read(source: Source<'_>) -> Result<Vec<u8>, Damage> {
        let (mut all, mut buffer) = (Vec::new(), [0; 7]);
        let mut inflater = Inflater::new();
        let mut reader = inflater.open(source);
        loop {
            match reader.next(&mut buffer)? {
                0 => return Ok(all),
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
    }

    fn deflated<'a>(data: &'a [u8], plain: &[u8]) -> Source<'a> {
        Source { data, deflated: true, size: plain.len() as u64, crc: rawzip::crc32(plain) }
    }

    #[test]
    fn what_went_in_comes_out() {
        let long = vec![b'x'; 300_000];
        for plain in [b"".as_slice(), b"a", b"hello hello hello hello", &long] {
            for level in [0, 1, 9] {
                let data = compress_to_vec(plain, level);
                assert_eq!(read(deflated(&data, plain)).unwrap(), plain);
            }
            let stored = Source { data: plain, deflated: false, ..deflated(plain, plain) };
            assert_eq!(read(stored).unwrap(), plain);
        }
    }

    #[test]
    fn a_bomb_stops_at_what_it_claimed() {
        let data = compress_to_vec(&vec![0; 50_000_000], 9);
        let claimed = vec![0; 1000];
        assert_eq!(read(deflated(&data, &claimed)), Err(Damage::Longer));
    }

    #[test]
    fn every_other_damage_is_seen() {
        let plain = b"some text that is long enough to be deflated, deflated, deflated";
        let data = compress_to_vec(plain, 6);
        let good = deflated(&data, plain);
        assert_eq!(read(Source { size: good.size + 1, ..good }), Err(Damage::Shorter));
        assert_eq!(read(Source { size: good.size - 1, ..good }), Err(Damage::Longer));
        assert_eq!(read(Source { crc: !good.crc, ..good }), Err(Damage::Checksum));
        assert_eq!(read(Source { data: &data[..data.len() - 3], ..good }), Err(Damage::Shorter));
        assert_eq!(read(Source { data: b"\xff\xff\xff", ..good }), Err(Damage::Deflate));
        let longer = [&data[..], b"x"].concat();
        assert_eq!(read(Source { data: &longer, ..good }), Err(Damage::Trailing));
        let stored = Source { data: plain, deflated: false, ..good };
        assert_eq!(read(Source { size: good.size - 1, ..stored }), Err(Damage::Longer));
        assert_eq!(read(Source { size: good.size + 1, ..stored }), Err(Damage::Shorter));
    }
}
