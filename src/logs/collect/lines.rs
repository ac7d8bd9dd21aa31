//! Puts lines together from the pieces in which a container's output comes. Pure.
//!
//! Each output for itself: pieces of the two may take turns within a line. A line that has no end
//! yet is kept until it gets one, or until [`Lines::flush`]; what grows beyond [`LINE_BYTES`] is
//! cut there and goes on as another line, so that nothing is lost and memory stays bounded.

use crate::docker::Output;

/// The longest line, as CloudWatch has it for an event.
pub(super) const LINE_BYTES: usize = 256 * 1024;
/// What a line ends in that was cut.
const CUT: &str = " [the line is cut here and goes on]";
/// The most of a line's text that is kept, so that it fits with the mark.
const TEXT_BYTES: usize = LINE_BYTES - CUT.len();
/// A buffer that has grown beyond this is given back once it is empty.
const KEPT_CAPACITY: usize = 4 * 1024;

#[derive(Debug, Default)]
pub(super) struct Lines {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Lines {
    /// Gives `take` the lines that `bytes` complete, without their line breaks; says how many line
    /// breaks there were.
    pub(super) fn push(
        &mut self,
        output: Output,
        bytes: &[u8],
        take: &mut dyn FnMut(String),
    ) -> u64 {
        let begun = match output {
            Output::Stdout => &mut self.stdout,
            Output::Stderr => &mut self.stderr,
            Output::Engine => return 0,
        };
        let mut breaks = 0;
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(end) if begun.is_empty() => {
                    breaks += 1;
                    line(end, take);
                }
                Some(end) => {
                    breaks += 1;
                    begun.extend_from_slice(end);
                    line(begun, take);
                    empty(begun);
                }
                None => begun.extend_from_slice(piece),
            }
            while begun.len() > TEXT_BYTES {
                let end = boundary(begun, TEXT_BYTES);
                cut(text(&begun[..end]), true, take);
                begun.drain(..end);
            }
        }
        breaks
    }

    /// Gives `take` what waits for its end, and which output it is of.
    pub(super) fn flush(&mut self, take: &mut dyn FnMut(Output, String)) {
        let both = [(Output::Stdout, &mut self.stdout), (Output::Stderr, &mut self.stderr)];
        for (output, begun) in both {
            if !begun.is_empty() {
                line(begun, &mut |line| take(output, line));
                empty(begun);
            }
        }
    }
}

fn empty(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT_CAPACITY {
        *buffer = Vec::new();
    }
    buffer.clear();
}

/// One line, without what a terminal puts before the line feed.
fn line(bytes: &[u8], take: &mut dyn FnMut(String)) {
    cut(text(bytes.strip_suffix(b"\r").unwrap_or(bytes)), false, take);
}

/// What is not UTF-8 becomes U+FFFD, which makes it longer.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Gives out a text in pieces that are short enough; `goes_on` says whether the last one is cut.
fn cut(mut text: String, goes_on: bool, take: &mut dyn FnMut(String)) {
    while text.len() > TEXT_BYTES {
        let rest = text.split_off(boundary(text.as_bytes(), TEXT_BYTES));
        take(text + CUT);
        text = rest;
    }
    take(if goes_on { text + CUT } else { text });
}

/// The last place at or before `at` where no character is cut in two.
fn boundary(bytes: &[u8], at: usize) -> usize {
    let continues = |&end: &usize| bytes.get(end).is_some_and(|byte| byte & 0xc0 == 0x80);
    // A character has at most four bytes; what goes on for longer is no UTF-8.
    (at.saturating_sub(3)..=at).rev().find(|end| !continues(end)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pieces: &[(Output, &[u8])]) -> Vec<String> {
        let (mut lines, mut taken) = (Lines::default(), Vec::new());
        for (output, bytes) in pieces {
            lines.push(*output, bytes, &mut |line| taken.push(line));
        }
        lines.flush(&mut |_, line| taken.push(line));
        taken
    }

    #[test]
    fn lines_are_whole_wherever_they_are_cut() {
        let text = "one\n\nzwölf → 3\r\nlast".as_bytes();
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                let taken = run(&pieces.map(|piece| (Output::Stdout, piece)));
                assert_eq!(taken, ["one", "", "zwölf → 3", "last"], "{first} {second}");
            }
        }
    }

    #[test]
    fn the_two_outputs_do_not_run_into_each_other() {
        let taken = run(&[
            (Output::Stdout, b"out "),
            (Output::Stderr, b"err "),
            (Output::Engine, b"no output\n"),
            (Output::Stdout, b"put\nmore"),
            (Output::Stderr, b"or\n"),
        ]);
        assert_eq!(taken, ["out put", "err or", "more"]);
    }

    #[test]
    fn a_line_that_is_too_long_goes_on_as_another() {
        let text = "ä".repeat(LINE_BYTES); // twice as many bytes
        for chunk in [1000, 16 * 1024, text.len()] {
            let pieces: Vec<_> =
                text.as_bytes().chunks(chunk).map(|piece| (Output::Stdout, piece)).collect();
            let taken = run(&pieces);
            assert!(taken.iter().all(|line| line.len() <= LINE_BYTES));
            let (last, cut) = taken.split_last().unwrap();
            assert_eq!(cut.len(), 2);
            let parts = cut.iter().map(|line| line.strip_suffix(CUT).unwrap());
            let joined: String = parts.chain([last.as_str()]).collect();
            assert!(joined == text, "a character was cut");
        }
        let exact = "x".repeat(TEXT_BYTES);
        assert_eq!(run(&[(Output::Stdout, exact.as_bytes()), (Output::Stdout, b"\n")]), [exact]);
    }

    #[test]
    fn what_is_no_text_becomes_some_and_stays_short_enough() {
        let taken = run(&[(Output::Stdout, b"a\xff\xfeb\n")]);
        assert_eq!(taken, ["a\u{fffd}\u{fffd}b"]);
        let binary = vec![0x80; 300_000];
        let taken = run(&[(Output::Stdout, &binary)]);
        assert!(taken.iter().all(|line| line.len() <= LINE_BYTES));
        let characters: usize = taken.iter().map(|line| line.matches('\u{fffd}').count()).sum();
        assert_eq!(characters, 300_000);
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let mut lines = Lines::default();
        for _ in 0..1000 {
            lines.push(Output::Stdout, &[b'x'; 16 * 1024], &mut |_| ());
            assert!(lines.stdout.capacity() <= 4 * LINE_BYTES);
        }
        lines.push(Output::Stdout, b"\n", &mut |_| ());
        assert!(lines.stdout.capacity() <= KEPT_CAPACITY);
    }
}
