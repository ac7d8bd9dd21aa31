//! Takes the Engine's stream of a container's two outputs apart. Pure.
//!
//! The Engine frames them: a byte for the output, three zeros, four for the length (big endian),
//! then that many bytes. A frame may end in the middle of a line, and a read in the middle of a
//! frame. A container with a terminal has no frames: then everything is its one output.
//!
//! Nothing is kept but the header that has not arrived whole, so a length that is a lie costs no
//! memory.

const HEADER_BYTES: usize = 8;

/// Which of its outputs a container has written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Stdout,
    Stderr,
    /// No output of the container: the Engine's own words within the stream.
    Engine,
}

/// A frame began with what is no header.
#[derive(Debug, PartialEq, Eq)]
pub struct BadFrame;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Frames {
    header: [u8; HEADER_BYTES],
    header_filled: u8,
    /// What the bytes are that come now.
    inside: Inside,
    any_frame: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Inside {
    #[default]
    Header,
    /// A frame with so many bytes still to come, and whether none has come yet.
    Frame(Output, u32, bool),
    /// There are no frames.
    Terminal,
}

impl Frames {
    /// Gives `take` what `input` holds, piece by piece: the output, whether this piece begins a
    /// frame, and the bytes.
    pub fn push(
        &mut self,
        mut input: &[u8],
        take: &mut dyn FnMut(Output, bool, &[u8]),
    ) -> Result<(), BadFrame> {
        while !input.is_empty() {
            match self.inside {
                Inside::Terminal => {
                    take(Output::Stdout, false, input);
                    return Ok(());
                }
                Inside::Frame(output, left, begins) => {
                    let amount = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let (data, rest) = input.split_at(amount);
                    input = rest;
                    // What was just cut off is at most `left`.
                    let left = left - u32::try_from(amount).unwrap_or(left);
                    self.inside =
                        if left == 0 { Inside::Header } else { Inside::Frame(output, left, false) };
                    take(output, begins, data);
                }
                Inside::Header => {
                    let filled = usize::from(self.header_filled);
                    let (part, rest) = input.split_at(input.len().min(HEADER_BYTES - filled));
                    self.header[filled..filled + part.len()].copy_from_slice(part);
                    // At most eight.
                    self.header_filled += u8::try_from(part.len()).unwrap_or_default();
                    input = rest;
                    if usize::from(self.header_filled) == HEADER_BYTES {
                        self.begin_frame(take)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the container has a terminal, as far as anything has come.
    pub fn is_terminal(&self) -> bool {
        self.inside == Inside::Terminal
    }

    /// The stream is at its end: a terminal's output of less than a header is there all the same.
    pub fn finish(&mut self, take: &mut dyn FnMut(Output, bool, &[u8])) {
        let filled = usize::from(std::mem::take(&mut self.header_filled));
        if !self.any_frame && self.inside == Inside::Header && filled > 0 {
            take(Output::Stdout, false, &self.header[..filled]);
        }
    }

    fn begin_frame(&mut self, take: &mut dyn FnMut(Output, bool, &[u8])) -> Result<(), BadFrame> {
        self.header_filled = 0;
        let output = match self.header[..4] {
            [0 | 1, 0, 0, 0] => Output::Stdout,
            [2, 0, 0, 0] => Output::Stderr,
            [3, 0, 0, 0] => Output::Engine,
            // Only a stream that never had a frame is a terminal's.
            _ if self.any_frame => return Err(BadFrame),
            _ => {
                self.inside = Inside::Terminal;
                take(Output::Stdout, false, &self.header);
                return Ok(());
            }
        };
        self.any_frame = true;
        let [.., a, b, c, d] = self.header;
        let length = u32::from_be_bytes([a, b, c, d]);
        if length > 0 {
            self.inside = Inside::Frame(output, length, true);
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn frame(stream: u8, data: &[u8]) -> Vec<u8> {
        let mut frame = vec![stream, 0, 0, 0];
        frame.extend_from_slice(&u32::try_from(data.len()).unwrap().to_be_bytes());
        frame.extend_from_slice(data);
        frame
    }

    /// What each output gets, and how many frames began, when the reads are of `chunk` bytes.
    fn run(input: &[u8], chunk: usize) -> Result<(Vec<u8>, Vec<u8>, usize), BadFrame> {
        let (mut frames, mut out, mut err, mut begun) = (Frames::default(), vec![], vec![], 0);
        let mut take = |output, begins: bool, bytes: &[u8]| {
            begun += usize::from(begins);
            match output {
                Output::Stdout => out.extend_from_slice(bytes),
                Output::Stderr | Output::Engine => err.extend_from_slice(bytes),
            }
        };
        for piece in input.chunks(chunk) {
            frames.push(piece, &mut take)?;
        }
        frames.finish(&mut take);
        Ok((out, err, begun))
    }

    #[test]
    fn frames_come_apart_wherever_the_reads_cut_them() {
        let input = [frame(1, b"one\ntw"), frame(2, b""), frame(2, b"err"), frame(1, b"o\n")];
        let input = input.concat();
        for chunk in 1..=input.len() {
            let (out, err, begun) = run(&input, chunk).unwrap();
            assert_eq!((out.as_slice(), err.as_slice()), (&b"one\ntwo\n"[..], &b"err"[..]));
            assert_eq!(begun, 3, "{chunk}");
        }
    }

    #[test]
    fn a_cut_at_every_byte_loses_nothing_before_it() {
        let input = [frame(1, b"abc"), frame(2, b"de")].concat();
        for end in 0..input.len() {
            let (out, err, _) = run(&input[..end], 64).unwrap();
            if end < HEADER_BYTES {
                continue; // it could still be a terminal's
            }
            assert_eq!(out, b"abc"[..(end - HEADER_BYTES).min(3)]);
            assert_eq!(err, b"de"[..end.saturating_sub(2 * HEADER_BYTES + 3)]);
        }
    }

    #[test]
    fn a_length_that_never_comes_is_no_memory() {
        let input = [1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, b'a', b'b'];
        assert_eq!(run(&input, 3).unwrap().0, b"ab");
        assert!(size_of::<Frames>() <= 24);
    }

    #[test]
    fn a_terminal_has_no_frames() {
        for text in [&b"hello, terminal\r\n"[..], b"hi", b"12345678"] {
            for chunk in 1..=text.len() {
                assert_eq!(run(text, chunk).unwrap().0, text);
            }
        }
    }

    #[test]
    fn garbage_after_frames_is_told() {
        let input = [frame(1, b"ok"), b"no header".to_vec()].concat();
        assert_eq!(run(&input, 64), Err(BadFrame));
        assert_eq!(run(&[1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0], 64), Err(BadFrame));
    }
}
