//! What a container wrote: the request, and the demultiplexer for its answer.
//!
//! The Engine frames the two outputs: a byte for the stream, three zeros, four for the length (big
//! endian), then that many bytes. A frame may end in the middle of a line, and a read in the middle
//! of a frame. Nothing is followed here, and the outputs are not told apart.

use std::io::{self, Read};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::engine::{Call, Engine};
use super::error::EngineError;
use super::wire::Target;

const HEADER_BYTES: usize = 8;

/// How much of a log is read to find its end. A log driver with a size limit keeps far less; a
/// container without one is asked for its last lines only.
const STREAM_LIMIT_BYTES: u64 = 256 * 1024 * 1024;

/// Which part of a container's output is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogQuery {
    pub since: Option<SystemTime>,
    pub until: Option<SystemTime>,
    /// Only this many lines from the end.
    pub tail_lines: Option<u32>,
}

/// Takes the frames apart and keeps the last bytes of what was in them.
struct Demultiplexer {
    header: [u8; HEADER_BYTES],
    header_filled: usize,
    /// Bytes of the current frame that are still to come.
    left: usize,
    /// The container has a terminal: then there are no frames.
    raw: bool,
    frames: u64,
    keep: usize,
    kept: Vec<u8>,
}

/// A frame began with what is no header.
#[derive(Debug, PartialEq, Eq)]
struct BadFrame;

impl Demultiplexer {
    /// Keeps the last `keep` bytes.
    fn new(keep: usize) -> Self {
        Demultiplexer {
            header: [0; HEADER_BYTES],
            header_filled: 0,
            left: 0,
            raw: false,
            frames: 0,
            keep,
            kept: Vec::new(),
        }
    }

    fn push(&mut self, mut input: &[u8]) -> Result<(), BadFrame> {
        while !input.is_empty() {
            if self.raw {
                self.store(input);
                return Ok(());
            }
            if self.left > 0 {
                let (data, rest) = input.split_at(self.left.min(input.len()));
                self.left -= data.len();
                self.store(data);
                input = rest;
                continue;
            }
            let wanted = HEADER_BYTES - self.header_filled;
            let (part, rest) = input.split_at(wanted.min(input.len()));
            let end = self.header_filled + part.len();
            self.header[self.header_filled..end].copy_from_slice(part);
            self.header_filled = end;
            input = rest;
            if end == HEADER_BYTES {
                self.begin_frame()?;
            }
        }
        Ok(())
    }

    fn begin_frame(&mut self) -> Result<(), BadFrame> {
        self.header_filled = 0;
        let [stream, 0, 0, 0, length @ ..] = self.header else { return self.not_a_frame() };
        // 3 is the Engine's own error text within the stream.
        if stream > 3 {
            return self.not_a_frame();
        }
        self.frames += 1;
        self.left = usize::try_from(u32::from_be_bytes(length)).map_err(|_| BadFrame)?;
        Ok(())
    }

    /// Only a log that never had a frame is a terminal's.
    fn not_a_frame(&mut self) -> Result<(), BadFrame> {
        if self.frames > 0 {
            return Err(BadFrame);
        }
        self.raw = true;
        let header = self.header;
        self.store(&header);
        Ok(())
    }

    fn store(&mut self, data: &[u8]) {
        let data = &data[data.len().saturating_sub(self.keep)..];
        // Dropping the oldest bytes moves the others: only once in a while.
        if self.kept.len() + data.len() > self.keep.saturating_mul(2) {
            let surplus = (self.kept.len() + data.len()).saturating_sub(self.keep);
            self.kept.drain(..surplus.min(self.kept.len()));
        }
        self.kept.extend_from_slice(data);
    }

    /// What was kept. A log that ends within a frame was cut off while it was written: its bytes
    /// are there all the same.
    fn finish(mut self) -> Vec<u8> {
        if self.frames == 0 && !self.raw {
            // A terminal's log of less than a header.
            let header = self.header;
            self.store(&header[..self.header_filled]);
        }
        let surplus = self.kept.len().saturating_sub(self.keep);
        self.kept.drain(..surplus);
        self.kept
    }
}

/// Seconds and nanoseconds since 1970, as the Engine takes a time.
pub(super) fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

impl Engine {
    /// What a container wrote to both its outputs, in the order the Engine received it: the last
    /// `max_bytes` of what the query selects.
    pub fn container_logs(
        &self,
        id: &str,
        query: LogQuery,
        max_bytes: usize,
    ) -> Result<Vec<u8>, EngineError> {
        let mut target =
            Target::named("/containers", id, "/logs")?.query("stdout", "1").query("stderr", "1");
        if let Some(since) = query.since {
            target = target.query("since", &timestamp(since));
        }
        if let Some(until) = query.until {
            target = target.query("until", &timestamp(until));
        }
        if let Some(lines) = query.tail_lines {
            target = target.query("tail", &lines.to_string());
        }
        let mut streamed = self.stream(Call::get(target))?;
        let read = {
            let mut reader = streamed.body.with_config().limit(STREAM_LIMIT_BYTES).reader();
            demultiplex(&mut reader, max_bytes)
        };
        match read {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(BadFrame)) => Err(EngineError::Malformed {
                call: streamed.call,
                reason: "a log frame without a valid header".to_owned(),
            }),
            Err(e) => Err(streamed.error(&self.settings().socket, e)),
        }
    }
}

fn demultiplex(reader: &mut dyn Read, keep: usize) -> io::Result<Result<Vec<u8>, BadFrame>> {
    let mut demultiplexer = Demultiplexer::new(keep);
    let mut chunk = [0; 8 * 1024];
    loop {
        match reader.read(&mut chunk)? {
            0 => return Ok(Ok(demultiplexer.finish())),
            amount => {
                if let Err(bad) = demultiplexer.push(&chunk[..amount]) {
                    return Ok(Err(bad));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, data: &[u8]) -> Vec<u8> {
        let mut frame = vec![stream, 0, 0, 0];
        frame.extend_from_slice(&u32::try_from(data.len()).unwrap().to_be_bytes());
        frame.extend_from_slice(data);
        frame
    }

    fn run(input: &[u8], chunk: usize, keep: usize) -> Result<Vec<u8>, BadFrame> {
        let mut demultiplexer = Demultiplexer::new(keep);
        for piece in input.chunks(chunk) {
            demultiplexer.push(piece)?;
        }
        Ok(demultiplexer.finish())
    }

    #[test]
    fn frames_come_apart_wherever_the_reads_cut_them() {
        let input = [frame(1, b"one\ntw"), frame(2, b""), frame(2, b"o\n")].concat();
        for chunk in 1..=input.len() {
            assert_eq!(run(&input, chunk, 100).unwrap(), b"one\ntwo\n", "{chunk}");
        }
    }

    #[test]
    fn only_the_end_is_kept() {
        let input: Vec<u8> = (0..1000).flat_map(|_| frame(1, b"0123456789")).collect();
        for chunk in [1, 7, 4096] {
            assert_eq!(run(&input, chunk, 13).unwrap(), b"7890123456789");
        }
        assert_eq!(run(&input, 64, 0).unwrap(), b"");
    }

    #[test]
    fn memory_stays_within_twice_what_is_kept() {
        let mut demultiplexer = Demultiplexer::new(64);
        for _ in 0..100 {
            demultiplexer.push(&frame(1, &[b'x'; 1000])).unwrap();
            assert!(demultiplexer.kept.len() <= 128);
        }
    }

    #[test]
    fn a_length_that_never_comes_is_no_memory() {
        let input = [1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, b'a', b'b'];
        assert_eq!(run(&input, 3, 100).unwrap(), b"ab");
    }

    #[test]
    fn a_terminal_has_no_frames() {
        assert_eq!(run(b"hello, terminal\r\n", 4, 100).unwrap(), b"hello, terminal\r\n");
        assert_eq!(run(b"hi", 4, 100).unwrap(), b"hi");
        let input = [frame(1, b"ok"), b"no header".to_vec()].concat();
        assert_eq!(run(&input, 64, 100), Err(BadFrame));
    }

    #[test]
    fn times_have_nanoseconds() {
        let time = UNIX_EPOCH + Duration::new(1_700_000_000, 42);
        assert_eq!(timestamp(time), "1700000000.000000042");
    }
}
