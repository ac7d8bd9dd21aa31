//! Numbers and texts as the bytes of a segment: little-endian, texts with their length before them.
//!
//! Reading never panics: what is not there is `None`, whatever the disk gave.

/// Reads from the start of what is left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// A length and so many bytes.
    pub(super) fn sized(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.bytes(usize::try_from(len).ok()?)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.sized()?).ok()
    }
}

pub(super) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// A text, or as much of it as a length can say: no caller comes near that.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
    put_u32(out, len);
    out.extend_from_slice(&text.as_bytes()[..len as usize]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_read_and_no_more() {
        let mut bytes = Vec::new();
        put_u32(&mut bytes, 7);
        put_i64(&mut bytes, -1);
        put_u64(&mut bytes, u64::MAX);
        put_text(&mut bytes, "é");
        let mut reader = Reader(&bytes);
        assert_eq!(reader.u32(), Some(7));
        assert_eq!(reader.i64(), Some(-1));
        assert_eq!(reader.u64(), Some(u64::MAX));
        assert_eq!(reader.text(), Some("é"));
        assert_eq!(reader.u8(), None);
        // A length beyond the end, and half a character.
        assert_eq!(Reader(&[255, 255, 255, 255, 1]).sized(), None);
        assert_eq!(Reader(&[1, 0, 0, 0, 0xc3]).text(), None);
    }
}
