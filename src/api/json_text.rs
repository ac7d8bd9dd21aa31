//! Whether a payload is JSON (RFC 8259), without making anything of it.
//!
//! AWS refuses an invocation whose payload is no JSON before the function sees it. Reading all of a
//! payload costs about 3 ns a byte, which is nothing for an event of the usual size and more than
//! the whole rest of the way for one of a megabyte. So a short text is read whole, and of a longer
//! one only both ends: what was meant to be another format, or was cut off, is seen there too.

use std::fmt;

/// The longest text that is read whole.
const WHOLE_BYTES: usize = 8 * 1024;
/// As deep as AWS's reader goes.
const DEPTH_MAX: usize = 1_000;

/// Where a text stops being JSON.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotJson {
    at: usize,
    found: Option<u8>,
}

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.found {
            Some(byte) if byte.is_ascii_graphic() => {
                write!(f, "Unexpected character '{}' at byte {}", char::from(byte), self.at)
            }
            Some(byte) => write!(f, "Unexpected byte 0x{byte:02x} at byte {}", self.at),
            None => write!(f, "Unexpected end of input at byte {}", self.at),
        }
    }
}

pub(super) fn check(text: &[u8]) -> Result<(), NotJson> {
    if text.len() > WHOLE_BYTES { ends(text) } else { whole(text) }
}

fn error(text: &[u8], at: usize) -> NotJson {
    NotJson { at, found: text.get(at).copied() }
}

/// The first and the last character that is no space: they belong together.
fn ends(text: &[u8]) -> Result<(), NotJson> {
    let is_filled = |byte: &u8| !is_space(*byte);
    let first = text.iter().position(is_filled).unwrap_or(text.len());
    let last = text.iter().rposition(is_filled).unwrap_or(first);
    let wanted = match text.get(first) {
        Some(b'{') => b'}',
        Some(b'[') => b']',
        Some(b'"') => b'"',
        // Only a number that no reader takes could be that long.
        _ => return Err(error(text, first)),
    };
    if last > first && text.get(last) == Some(&wanted) { Ok(()) } else { Err(error(text, last)) }
}

fn whole(bytes: &[u8]) -> Result<(), NotJson> {
    if let Err(bad) = std::str::from_utf8(bytes) {
        return Err(error(bytes, bad.valid_up_to()));
    }
    let mut text = Text { bytes, at: 0 };
    text.document().ok_or_else(|| error(bytes, text.at))
}

/// What is open around the place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Object,
    Array,
}

/// A text and the place in it. What gives `None` stands on what it did not expect.
struct Text<'a> {
    bytes: &'a [u8],
    at: usize,
}

// Inlined by order: at this crate's level of optimization a call costs more than its few bytes.
impl Text<'_> {
    fn document(&mut self) -> Option<()> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            self.spaces();
            let opened = match self.peek()? {
                b'{' => Some((Open::Object, b'}')),
                b'[' => Some((Open::Array, b']')),
                _ => None,
            };
            match opened {
                None => self.scalar()?,
                Some((kind, end)) => {
                    self.at += 1;
                    self.spaces();
                    if !self.takes(end) {
                        (open.len() < DEPTH_MAX).then_some(())?;
                        open.push(kind);
                        if kind == Open::Object {
                            self.key()?;
                        }
                        continue;
                    }
                }
            }
            if self.after_value(&mut open)? {
                return Some(());
            }
        }
    }

    /// Goes to the next value, or to the end, which is `true`.
    #[inline(always)]
    fn after_value(&mut self, open: &mut Vec<Open>) -> Option<bool> {
        loop {
            self.spaces();
            let Some(around) = open.last().copied() else {
                return (self.at == self.bytes.len()).then_some(true);
            };
            match (self.peek()?, around) {
                (b',', _) => {
                    self.at += 1;
                    if around == Open::Object {
                        self.spaces();
                        self.key()?;
                    }
                    return Some(false);
                }
                (b'}', Open::Object) | (b']', Open::Array) => {
                    self.at += 1;
                    open.pop();
                }
                _ => return None,
            }
        }
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline(always)]
    fn takes(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    #[inline(always)]
    fn spaces(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    #[inline(always)]
    fn key(&mut self) -> Option<()> {
        if self.peek()? != b'"' {
            return None;
        }
        self.string()?;
        self.spaces();
        self.takes(b':').then_some(())
    }

    #[inline(always)]
    fn scalar(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => None,
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        word.iter().all(|byte| self.takes(*byte)).then_some(())
    }

    #[inline(always)]
    fn number(&mut self) -> Option<()> {
        self.takes(b'-');
        if !self.takes(b'0') {
            self.digits()?;
        }
        if self.takes(b'.') {
            self.digits()?;
        }
        if self.takes(b'e') || self.takes(b'E') {
            let _ = self.takes(b'+') || self.takes(b'-');
            self.digits()?;
        }
        Some(())
    }

    #[inline(always)]
    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.escape()?,
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        self.at += 1;
        match self.peek()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                self.at += 1;
                for _ in 0..4 {
                    self.peek().filter(u8::is_ascii_hexdigit)?;
                    self.at += 1;
                }
            }
            _ => return None,
        }
        Some(())
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What serde_json says of the same text.
    fn is_json(text: &[u8]) -> bool {
        serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
    }

    const GOOD: [&str; 16] = [
        "{}",
        "[]",
        "null",
        " true\n",
        "\"\"",
        "-0",
        "0.5e+7",
        "12E-3",
        "[1,2, 3 ]",
        "[[],{},[{}]]",
        r#"{"a":{"b":[1,null]},"c":"d"}"#,
        "\t{ \"a\" : [ ] , \"b\" : { } }\r\n",
        r#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00""#,
        "\"\u{e9}\u{1f600}\u{7f}\"",
        "[true,false,null,\"x\",1.0]",
        "{\"\":0}",
    ];

    #[test]
    fn what_is_json_passes() {
        for text in GOOD {
            assert!(is_json(text.as_bytes()), "{text}");
            assert_eq!(check(text.as_bytes()), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_not_is_refused_with_its_place() {
        for (text, told) in [
            ("", "Unexpected end of input at byte 0"),
            (" ", "Unexpected end of input at byte 1"),
            ("hello", "Unexpected character 'h' at byte 0"),
            ("{", "Unexpected end of input at byte 1"),
            ("{\"a\":1", "Unexpected end of input at byte 6"),
            ("{\"a\":1,}", "Unexpected character '}' at byte 7"),
            ("{\"a\" 1}", "Unexpected character '1' at byte 5"),
            ("{a:1}", "Unexpected character 'a' at byte 1"),
            ("[1,]", "Unexpected character ']' at byte 3"),
            ("[1}", "Unexpected character '}' at byte 2"),
            ("{}{}", "Unexpected character '{' at byte 2"),
            ("01", "Unexpected character '1' at byte 1"),
            ("1.", "Unexpected end of input at byte 2"),
            ("-", "Unexpected end of input at byte 1"),
            ("1e", "Unexpected end of input at byte 2"),
            ("tru", "Unexpected end of input at byte 3"),
            ("nulll", "Unexpected character 'l' at byte 4"),
            ("NaN", "Unexpected character 'N' at byte 0"),
            ("\"a\nb\"", "Unexpected byte 0x0a at byte 2"),
            ("\"\\x\"", "Unexpected character 'x' at byte 2"),
            ("\"\\u12g4\"", "Unexpected character 'g' at byte 5"),
            ("\u{feff}{}", "Unexpected byte 0xef at byte 0"),
        ] {
            assert!(!is_json(text.as_bytes()), "{text}");
            assert_eq!(check(text.as_bytes()).unwrap_err().to_string(), told, "{text:?}");
        }
        let told = check(b"\"\xff\"").unwrap_err().to_string();
        assert_eq!(told, "Unexpected byte 0xff at byte 1");
    }

    #[test]
    fn every_small_change_of_a_text_is_judged_as_serde_judges_it() {
        let others = b"{}[]\",:0-.eEtu\\ \n\x00\xc3";
        for text in GOOD.map(str::as_bytes) {
            for at in 0..text.len() {
                let mut shorter = text.to_vec();
                shorter.remove(at);
                let changed = others.iter().map(|other| {
                    let mut changed = text.to_vec();
                    changed[at] = *other;
                    changed
                });
                for one in changed.chain([shorter]) {
                    let shown = String::from_utf8_lossy(&one).into_owned();
                    // serde_json wants whole pairs of surrogates and UTF-8 where it reads text.
                    if !shown.contains("\\u") && std::str::from_utf8(&one).is_ok() {
                        assert_eq!(check(&one).is_ok(), is_json(&one), "{shown:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn depth_is_bounded_and_costs_no_stack() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(nested(DEPTH_MAX).as_bytes()), Ok(()));
        assert!(check(nested(DEPTH_MAX + 1).as_bytes()).is_err());
    }

    #[test]
    fn of_a_long_text_both_ends_are_looked_at() {
        let long = |first: &str, last: &str| {
            let text = format!(" \n{first}{}{last}\n", "\"".repeat(WHOLE_BYTES));
            check(text.as_bytes()).is_ok()
        };
        assert!(long("{", "}") && long("[", "]") && long("", ""));
        for (first, last) in [("{", ""), ("{", "]"), ("x", "}"), ("<", ">"), ("", ","), ("1", "1")]
        {
            assert!(!long(first, last), "{first} {last}");
        }
        assert!(check(&[b' '; WHOLE_BYTES + 1]).is_err());
        let one = [&[b' '; WHOLE_BYTES][..], b"\""].concat();
        assert!(check(&one).is_err(), "one character is not both ends");
    }
}
