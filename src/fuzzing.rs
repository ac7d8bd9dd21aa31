//! What the fuzz targets of `fuzz/` share, and how `cargo test` runs them in small.
//!
//! What must hold of any bytes is written beside what it is about, in a `fuzzing.rs` of that folder:
//! functions that take bytes and panic where it does not hold, and the inputs to begin with. The
//! targets hand them libFuzzer's bytes; the tests hand them every seed, and every small change of
//! it. None of this is in the product.

/// An input that fuzzing begins with, and its file's name.
pub type Seed = (&'static str, &'static [u8]);

/// Cuts `data` into pieces as a peer's segments could: which ones is decided by the bytes alone, so
/// that an input that fails does so again.
pub fn pieces(data: &[u8]) -> Vec<&[u8]> {
    let mut numbers = Numbers::of(data);
    let mut rest = data;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        // Mostly short ones: what matters happens within a few bytes.
        let most = if numbers.below(4) == 0 { rest.len() } else { 8 };
        let (piece, after) = rest.split_at((1 + numbers.below(most)).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// xorshift, begun with a sum of the input.
#[derive(Debug)]
struct Numbers(u64);

impl Numbers {
    fn of(data: &[u8]) -> Numbers {
        // FNV-1a; never 0, where xorshift stands still.
        let hash = data.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Numbers(hash | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound.max(1)
    }
}

/// Bytes that mean something to some parser.
#[cfg(test)]
pub(crate) const OTHERS: &[u8] = b"\r\n\t \0:;,=/%\"\\{}[]$*()0fZ\x7f\x80\xff";

/// Runs `check` on every seed, every prefix of it, and it with each byte left out, twice, and
/// replaced by each of `others`.
#[cfg(test)]
pub(crate) fn run_in_small(seeds: &[Seed], others: &[u8], check: impl Fn(&[u8])) {
    for (_, seed) in seeds {
        check(seed);
        for at in 0..seed.len() {
            check(&seed[..at]);
            let (before, after) = (&seed[..at], &seed[at + 1..]);
            check(&[before, after].concat());
            check(&[before, &[seed[at], seed[at]], after].concat());
            for other in others {
                check(&[before, &[*other], after].concat());
            }
        }
    }
}
