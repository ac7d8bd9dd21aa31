//! What holds of any bytes that the Engine sends, and with them whatever a container writes; see
//! the crate's `fuzzing`.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{self, Read};

use super::events;
use super::frames::{BadFrame, Frames, Output};
use super::lines::{Line, Lines};
use super::logs::read_all;
use crate::fuzzing::{Seed, pieces};

/// Of each frame or terminal's output: which, and its bytes.
type Taken = Vec<(Output, Vec<u8>)>;

/// A stream comes apart the same wherever the reads cut it, and as a plain reading of the whole
/// takes it apart; so do the messages of a log, which stay within what is to be kept.
pub fn frames(data: &[u8]) {
    let whole = demultiplex(&[data]);
    assert_eq!(whole, plain(data));
    for cuts in [pieces(data), data.chunks(1).collect()] {
        assert_eq!(demultiplex(&cuts), whole);
    }
    for keep in [16, 1 << 20] {
        let kept = read_all(&mut &data[..], keep).unwrap();
        assert_eq!(read_all(&mut Pieces(pieces(data)), keep).unwrap(), kept);
        assert_eq!(kept.is_err(), whole.1.is_err());
        let bytes: usize = kept.iter().flatten().map(|logged| logged.bytes.len()).sum();
        assert!(bytes <= keep.min(data.len()));
    }
}

fn demultiplex(pieces: &[&[u8]]) -> (Taken, Result<(), BadFrame>) {
    let (mut frames, mut taken) = (Frames::default(), Taken::new());
    let mut take = |output, begins: bool, bytes: &[u8]| match taken.last_mut() {
        Some((last, all)) if !begins => {
            assert_eq!(*last, output);
            all.extend_from_slice(bytes);
        }
        _ => taken.push((output, bytes.to_vec())),
    };
    for piece in pieces {
        if frames.push(piece, &mut take).is_err() {
            return (taken, Err(BadFrame));
        }
    }
    frames.finish(&mut take);
    (taken, Ok(()))
}

fn plain(data: &[u8]) -> (Taken, Result<(), BadFrame>) {
    let (mut taken, mut rest) = (Taken::new(), data);
    let mut any = false;
    loop {
        let terminal = |mut taken: Taken| {
            taken.push((Output::Stdout, data.to_vec()));
            (taken, Ok(()))
        };
        let Some((header, after)) = rest.split_at_checked(8) else {
            return if any || rest.is_empty() { (taken, Ok(())) } else { terminal(taken) };
        };
        let output = match header[0] {
            0 | 1 => Output::Stdout,
            2 => Output::Stderr,
            _ => Output::Engine,
        };
        if header[0] > 3 || header[1..4] != [0, 0, 0] {
            return if any { (taken, Err(BadFrame)) } else { terminal(taken) };
        }
        any = true;
        let length =
            header[4..].iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
        let (frame, after) = after.split_at(length.min(after.len()));
        if !frame.is_empty() {
            taken.push((output, frame.to_vec()));
        }
        rest = after;
    }
}

/// One piece for each read.
struct Pieces<'a>(Vec<&'a [u8]>);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Ok(0);
        }
        let piece = self.0.remove(0);
        let amount = piece.len().min(buffer.len());
        buffer[..amount].copy_from_slice(&piece[..amount]);
        if amount < piece.len() {
            self.0.insert(0, &piece[amount..]);
        }
        Ok(amount)
    }
}

/// The longest line here, which short inputs reach.
const LINE_BYTES: usize = 64;

/// The Engine's streams of JSON come apart into lines the same wherever the reads cut them; a line
/// is never longer than its limit, and what is read of an event is what serde_json reads.
pub fn event_stream(data: &[u8]) {
    let whole = lines(Pieces(vec![data]));
    for cuts in [pieces(data), data.chunks(1).collect()] {
        assert_eq!(lines(Pieces(cuts)), whole);
    }
    let mut wanted = data.split(|&byte| byte == b'\n');
    for line in &whole {
        match line {
            Line::Whole(line) => {
                let raw = wanted.next().unwrap();
                assert_eq!(raw.strip_suffix(b"\r").unwrap_or(raw), line);
                assert!(line.len() <= LINE_BYTES);
            }
            Line::TooLong => assert!(wanted.next().unwrap().len() > LINE_BYTES),
            Line::CutShort => {
                assert!(
                    wanted.next().is_some_and(|raw| !raw.is_empty()) && wanted.next().is_none()
                );
            }
            Line::End => assert!(wanted.next().is_none_or(<[u8]>::is_empty)),
        }
    }
    for line in data.split(|&byte| byte == b'\n') {
        let Ok((time, event)) = events::parse(line) else { continue };
        let json: serde_json::Value = serde_json::from_slice(line).expect("read, and no JSON");
        assert_eq!(json.get("timeNano").and_then(|time| time.as_i64()).unwrap_or(0), time.0);
        if let Some(event) = event {
            let named = |id: &str| format!("{json:?}").contains(&format!("{id:?}"));
            let (events::Event::Died { container_id, .. }
            | events::Event::OutOfMemory { container_id, .. }
            | events::Event::Destroyed { container_id, .. }
            | events::Event::Disconnected { container_id, .. }) = event
            else {
                panic!("a tick is in no stream")
            };
            assert!(container_id.is_empty() || named(&container_id));
        }
    }
}

/// All of them, up to and with the one that says that no more comes.
fn lines(reader: Pieces<'_>) -> Vec<Line> {
    let (mut lines, mut found) = (Lines::new(reader, LINE_BYTES), Vec::new());
    loop {
        found.push(lines.next_line().unwrap());
        if !matches!(found.last(), Some(Line::Whole(_))) {
            return found;
        }
    }
}

pub const FRAMES_SEEDS: &[Seed] = &[
    ("two", b"\x01\0\0\0\0\0\0\x06one\ntw\x02\0\0\0\0\0\0\x03err\x01\0\0\0\0\0\0\x02o\n"),
    ("engine", b"\0\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\x04oops"),
    ("long", b"\x01\0\0\0\xff\xff\xff\xffab"),
    ("terminal", b"hello, terminal\r\n"),
    ("bad", b"\x01\0\0\0\0\0\0\x02okno header"),
    ("times", b"\x01\0\0\0\0\0\0\x191970-01-01T00:00:01Z one\n\x02\0\0\0\0\0\0\x1f1970-01-01T00:00:02.5+01:00 two"),
];

pub const EVENT_STREAM_SEEDS: &[Seed] = &[
    ("die", br#"{"Type":"container","Action":"die","Actor":{"ID":"c","Attributes":{"exitCode":"137"}},"timeNano":17}"#),
    ("oom", b"{\"Type\":\"container\",\"Action\":\"oom\",\"Actor\":{\"ID\":\"c\"}}\r\n\n{}\n"),
    ("network", br#"{"Type":"network","Action":"disconnect","timeNano":7,"Actor":{"ID":"n","Attributes":{"container":"c"}}}"#),
    ("null", b"{\"Type\":\"container\",\"Action\":\"destroy\",\"Actor\":null}\n[]\n"),
    ("cut", b"{\"Type\":\"contai"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::{OTHERS, run_in_small};

    #[test]
    fn the_stream_of_two_outputs_comes_apart_wherever_it_is_cut() {
        run_in_small(FRAMES_SEEDS, OTHERS, frames);
    }

    #[test]
    fn streams_of_json_come_apart_wherever_they_are_cut() {
        run_in_small(EVENT_STREAM_SEEDS, OTHERS, event_stream);
    }
}
