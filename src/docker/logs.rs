//! What a container wrote, as the Engine's own log has kept it: line by line, with times.
//!
//! This is for what [`attach`](super::attach) has missed. Nothing is followed here: with API 1.41
//! a log that is followed loses lines, and repeats others, whenever it is rotated.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::engine::{Call, Engine};
use super::error::EngineError;
use super::frames::{BadFrame, Frames, Output};
use super::wire::Target;
use crate::observe::time::parse_rfc3339;

/// How much of a log is read to find its end. A log driver with a size limit keeps far less.
const STREAM_LIMIT_BYTES: u64 = 256 * 1024 * 1024;
/// The longest message that is put together; the Engine's own are of 16 KiB at most.
const MESSAGE_BYTES: usize = 64 * 1024;

/// A line, or a piece of one: the Engine cuts lines of more than 16 KiB. The last piece of a line
/// ends in a line feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    pub output: Output,
    /// When the Engine had it; of all pieces of a line the time of the first.
    pub time: SystemTime,
    pub bytes: Vec<u8>,
}

/// Puts messages together and keeps the last of them.
struct Messages {
    frames: Frames,
    kept: VecDeque<Logged>,
    kept_bytes: usize,
    keep_bytes: usize,
    message: Vec<u8>,
    output: Output,
}

impl Messages {
    fn new(keep_bytes: usize) -> Messages {
        Messages {
            frames: Frames::default(),
            kept: VecDeque::new(),
            kept_bytes: 0,
            keep_bytes,
            message: Vec::new(),
            output: Output::Stdout,
        }
    }

    fn push(&mut self, input: &[u8]) -> Result<(), BadFrame> {
        let mut frames = std::mem::take(&mut self.frames);
        let pushed = frames.push(input, &mut |output, begins, bytes| {
            self.take(output, begins, bytes);
        });
        self.frames = frames;
        pushed
    }

    /// Each frame is one message; without frames each line is.
    fn take(&mut self, output: Output, begins: bool, bytes: &[u8]) {
        if begins {
            self.end_message();
        }
        self.output = output;
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.message.extend_from_slice(line);
            if line.ends_with(b"\n") || self.message.len() >= MESSAGE_BYTES {
                self.end_message();
            }
        }
    }

    fn end_message(&mut self) {
        let message = std::mem::take(&mut self.message);
        let Some(space) = message.iter().position(|&byte| byte == b' ') else { return };
        let time = std::str::from_utf8(&message[..space]).ok().and_then(parse_rfc3339);
        let bytes = &message[space + 1..];
        // Without a time it is the rest of a message that was too long, or no message at all.
        let Some(time) = time.filter(|_| !bytes.is_empty() && self.output != Output::Engine) else {
            return;
        };
        self.kept_bytes += bytes.len();
        self.kept.push_back(Logged { output: self.output, time, bytes: bytes.to_vec() });
        while self.kept_bytes > self.keep_bytes
            && let Some(oldest) = self.kept.pop_front()
        {
            self.kept_bytes -= oldest.bytes.len();
        }
    }

    fn finish(mut self) -> VecDeque<Logged> {
        let mut frames = std::mem::take(&mut self.frames);
        frames.finish(&mut |output, begins, bytes| self.take(output, begins, bytes));
        self.end_message();
        self.kept
    }
}

/// Seconds and nanoseconds since 1970, as the Engine takes a time.
fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

impl Engine {
    /// What a container wrote to both its outputs from `since` to `until`, in the order in which
    /// the Engine received it: the last messages of it that have `max_bytes` together.
    pub fn container_logs(
        &self,
        id: &str,
        since: Option<SystemTime>,
        until: Option<SystemTime>,
        max_bytes: usize,
    ) -> Result<VecDeque<Logged>, EngineError> {
        let mut target = Target::named("/containers", id, "/logs")?
            .query("stdout", "1")
            .query("stderr", "1")
            .query("timestamps", "1");
        for (key, time) in [("since", since), ("until", until)] {
            if let Some(time) = time {
                target = target.query(key, &timestamp(time));
            }
        }
        let mut streamed = self.stream(Call::get(target))?;
        let read = {
            let mut reader = streamed.body.with_config().limit(STREAM_LIMIT_BYTES).reader();
            read_all(&mut reader, max_bytes)
        };
        match read {
            Ok(Ok(kept)) => Ok(kept),
            Ok(Err(BadFrame)) => Err(EngineError::Malformed {
                call: streamed.call,
                reason: "a log frame without a valid header".to_owned(),
            }),
            Err(e) => Err(streamed.error(&self.settings().socket, e)),
        }
    }
}

pub(super) fn read_all(
    reader: &mut dyn Read,
    max_bytes: usize,
) -> io::Result<Result<VecDeque<Logged>, BadFrame>> {
    let mut messages = Messages::new(max_bytes);
    let mut chunk = [0; 8 * 1024];
    loop {
        match reader.read(&mut chunk)? {
            0 => return Ok(Ok(messages.finish())),
            amount => {
                if let Err(bad) = messages.push(&chunk[..amount]) {
                    return Ok(Err(bad));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::tests::frame;
    use super::*;

    fn run(input: &[u8], chunk: usize, keep: usize) -> Vec<(Output, u64, Vec<u8>)> {
        let mut messages = Messages::new(keep);
        for piece in input.chunks(chunk) {
            messages.push(piece).unwrap();
        }
        let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let kept = messages.finish().into_iter();
        kept.map(|logged| (logged.output, since(logged.time), logged.bytes)).collect()
    }

    #[test]
    fn messages_come_with_their_times_wherever_the_reads_cut_them() {
        let input = [
            frame(1, b"1970-01-01T00:00:01.000000000Z one\n"),
            frame(2, b"1970-01-01T00:00:02.000000000Z begun "),
            frame(1, b"1970-01-01T00:00:03.000000000Z three\n"),
            frame(2, b"1970-01-01T00:00:02.000000000Z and ended"),
        ];
        let input = input.concat();
        for chunk in 1..=input.len() {
            let expected = [
                (Output::Stdout, 1, b"one\n".to_vec()),
                (Output::Stderr, 2, b"begun ".to_vec()),
                (Output::Stdout, 3, b"three\n".to_vec()),
                (Output::Stderr, 2, b"and ended".to_vec()),
            ];
            assert_eq!(run(&input, chunk, 100), expected, "{chunk}");
        }
        assert_eq!(run(&input, 7, 15).len(), 2, "the last that have 15 bytes together");
    }

    #[test]
    fn a_terminals_lines_have_times_too() {
        let input = b"1970-01-01T00:00:01Z a b\r\n1970-01-01T00:00:02Z c";
        for chunk in 1..=input.len() {
            let expected =
                [(Output::Stdout, 1, b"a b\r\n".to_vec()), (Output::Stdout, 2, b"c".to_vec())];
            assert_eq!(run(input, chunk, 100), expected);
        }
    }

    #[test]
    fn what_has_no_time_is_no_message() {
        let input = [frame(3, b"Error grabbing logs: EOF\n"), frame(1, b"text\n")].concat();
        assert_eq!(run(&input, 64, 100), []);
    }

    #[test]
    fn memory_stays_within_what_is_kept() {
        let mut messages = Messages::new(64);
        for _ in 0..100 {
            let text = [&b"1970-01-01T00:00:01Z "[..], &[b'x'; 1000]].concat();
            messages.push(&frame(1, &text)).unwrap();
        }
        let endless = [1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
        messages.push(&endless).unwrap();
        for _ in 0..100 {
            messages.push(&[b'x'; 8192]).unwrap();
            assert!(messages.message.len() < MESSAGE_BYTES + 8192);
        }
        assert_eq!(messages.finish(), []);
    }

    #[test]
    fn times_have_nanoseconds() {
        let time = UNIX_EPOCH + Duration::new(1_700_000_000, 42);
        assert_eq!(timestamp(time), "1700000000.000000042");
    }
}
