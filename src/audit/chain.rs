//! A line of the audit log, and what binds it to the line before: as text, and read again.
//!
//! ```text
//! {"n":7,"time":"2026-11-27T10:45:30.123Z","event":"call",...,"previous":"HASH","hash":"HASH"}
//! ```
//!
//! `hash` is that of the line's own bytes before it, `previous` that of the line before; so a line
//! tells of its own change, also the last one. Without a key the hash is SHA-256, with one it is
//! HMAC-SHA-256, and `key` in the lines `begin` and `start` names it. A line is ASCII, whatever stands
//! in its fields. Pure: nothing here knows files.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::observe::time;

/// Longer lines are none of ours: every field has its limit.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// What names the files, before and behind the day.
pub const PREFIX: &str = "audit-";
pub const SUFFIX: &str = ".jsonl";

const N: &str = "{\"n\":";
const TIME: &str = ",\"time\":\"";
const EVENT: &str = "\",\"event\":\"";
const PREVIOUS: &str = ",\"previous\":\"";
const HASH: &str = "\",\"hash\":\"";
const END: &str = "\"}";

/// A hash of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// What the first line of all follows.
    pub const NONE: Hash = Hash([0; 32]);

    pub fn of(bytes: &[u8]) -> Hash {
        Hash(Sha256::digest(bytes).into())
    }

    /// 64 lower-case hexadecimal digits, and nothing else.
    pub fn read(digits: &[u8]) -> Option<Hash> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut hash = Hash::NONE;
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in hash.0.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(hash)
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// What lines are hashed with.
#[derive(Clone)]
pub enum Binding {
    Plain,
    Keyed { mac: Box<Hmac<Sha256>>, name: String },
}

impl Binding {
    /// With this secret as the key. Its name tells keys apart and nothing of the secret.
    pub fn keyed(secret: &[u8]) -> Binding {
        // A key of any length is allowed: RFC 2104 section 2.
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret) else { return Binding::Plain };
        let name = mac.clone().chain_update(b"lambda-runtime-api-server audit").finalize();
        let name = Hash(name.into_bytes().into()).to_string();
        Binding::Keyed { mac: Box::new(mac), name: name[..16].to_owned() }
    }

    /// The name of the key, if there is one.
    pub fn key(&self) -> Option<&str> {
        match self {
            Binding::Plain => None,
            Binding::Keyed { name, .. } => Some(name),
        }
    }

    pub fn hash(&self, bytes: &[u8]) -> Hash {
        match self {
            Binding::Plain => Hash::of(bytes),
            Binding::Keyed { mac, .. } => {
                Hash(Hmac::clone(mac).chain_update(bytes).finalize().into_bytes().into())
            }
        }
    }
}

impl std::fmt::Debug for Binding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Binding({})", self.key().unwrap_or("plain"))
    }
}

/// The end of a chain: its last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// 0 where there is no line yet.
    pub n: u64,
    pub hash: Hash,
}

impl Head {
    pub const NONE: Head = Head { n: 0, hash: Hash::NONE };
}

/// Members of a line between its `event` and its `previous`, as text that grows.
#[derive(Debug, Default)]
pub struct Fields(pub String);

impl Fields {
    pub fn text(mut self, name: &str, value: &str) -> Fields {
        self.push(name);
        quote(&mut self.0, value);
        self
    }

    pub fn number(mut self, name: &str, value: impl std::fmt::Display) -> Fields {
        self.push(name);
        let _ = write!(self.0, "{value}"); // writing to a String cannot fail
        self
    }

    /// A value that is an object; it has at least one member.
    pub fn object(mut self, name: &str, members: impl FnOnce(Fields) -> Fields) -> Fields {
        self.push(name);
        let begin = self.0.len();
        let mut whole = members(self);
        whole.0.replace_range(begin..=begin, "{"); // instead of the comma
        whole.0.push('}');
        whole
    }

    pub fn hash(mut self, name: &str, value: Hash) -> Fields {
        self.push(name);
        let _ = write!(self.0, "\"{value}\"");
        self
    }

    /// Members that were made before.
    pub fn all(mut self, made: &Fields) -> Fields {
        self.0.push_str(&made.0);
        self
    }

    fn push(&mut self, name: &str) {
        self.0.push_str(",\"");
        self.0.push_str(name);
        self.0.push_str("\":");
    }
}

/// The most characters of a text that somebody else has chosen.
const TEXT_CHARS_MAX: usize = 512;

/// A text in quotes, bounded, in printable ASCII: nothing in it can end the line or reach a terminal.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    if text.len() <= TEXT_CHARS_MAX && text.bytes().all(plain) {
        out.push_str(text);
        out.push('"');
        return;
    }
    let mut characters = text.chars();
    for character in characters.by_ref().take(TEXT_CHARS_MAX) {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            ' '..='~' => out.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    if !characters.as_str().is_empty() {
        let _ = write!(out, "... ({} bytes in all)", text.len());
    }
    out.push('"');
}

/// A point in time as text; what is the same for a second is made once.
#[derive(Debug, Default)]
pub struct Stamps {
    second: u64,
    text: String,
}

impl Stamps {
    fn push(&mut self, out: &mut String, at: SystemTime) {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.second != since.as_secs() || self.text.is_empty() {
            self.second = since.as_secs();
            self.text = time::rfc3339_millis(at);
            self.text.truncate("2026-11-27T10:45:30.".len());
        }
        let _ = write!(out, "{}{:03}Z", self.text, since.subsec_millis());
    }
}

/// Appends a line with the members that `fields` appends, and makes it the head.
pub fn append(
    out: &mut String,
    binding: &Binding,
    (head, stamps): (&mut Head, &mut Stamps),
    at: SystemTime,
    event: &str,
    fields: impl FnOnce(Fields) -> Fields,
) {
    let begin = out.len();
    head.n += 1;
    let _ = write!(out, "{N}{}{TIME}", head.n); // writing to a String cannot fail
    stamps.push(out, at);
    let _ = write!(out, "{EVENT}{event}\"");
    *out = fields(Fields(std::mem::take(out))).0;
    let _ = write!(out, "{PREVIOUS}{}\"", head.hash);
    head.hash = binding.hash(&out.as_bytes()[begin..]);
    let _ = writeln!(out, "{}{}{END}", &HASH[1..], head.hash);
}

/// A line as it was read; whether it is true is for [`Line::is_whole`] and whoever knows the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    pub n: u64,
    pub event: &'a str,
    pub previous: Hash,
    pub hash: Hash,
    bytes: &'a [u8],
    hashed: usize,
}

impl<'a> Line<'a> {
    /// Reads a line without its end. None for anything that [`append`] does not write.
    pub fn read(bytes: &'a [u8]) -> Option<Line<'a>> {
        let rest = bytes.strip_prefix(N.as_bytes())?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (n, rest) = rest.split_at(digits);
        let n = std::str::from_utf8(n).ok().filter(|n| !n.starts_with('0'))?.parse().ok()?;
        let rest = rest.strip_prefix(TIME.as_bytes())?;
        let rest = rest.get("2026-11-27T10:45:30.123Z".len()..)?.strip_prefix(EVENT.as_bytes())?;
        let length = rest.iter().position(|byte| *byte == b'"')?;
        let event = std::str::from_utf8(&rest[..length]).ok()?;
        // From the end, for a field may hold anything.
        let front = bytes.strip_suffix(END.as_bytes())?;
        let (front, hash) = split_hash(front)?;
        let front = front.strip_suffix(HASH.as_bytes())?;
        let hashed = front.len() + 1;
        let (front, previous) = split_hash(front)?;
        front.strip_suffix(PREVIOUS.as_bytes())?;
        Some(Line { n, event, previous, hash, bytes, hashed })
    }

    /// Whether the line's hash is its own.
    pub fn is_whole(&self, binding: &Binding) -> bool {
        binding.hash(&self.bytes[..self.hashed]) == self.hash
    }

    pub fn head(&self) -> Head {
        Head { n: self.n, hash: self.hash }
    }

    /// The line's members.
    pub fn members(&self) -> Option<serde_json::Map<String, serde_json::Value>> {
        serde_json::from_slice(self.bytes).ok()
    }
}

fn split_hash(bytes: &[u8]) -> Option<(&[u8], Hash)> {
    let (front, digits) = bytes.split_at_checked(bytes.len().checked_sub(64)?)?;
    Some((front, Hash::read(digits)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn written(binding: &Binding, fields: Fields) -> (String, Head) {
        let mut head = Head { n: 6, hash: Hash([7; 32]) };
        let mut out = String::new();
        let at = UNIX_EPOCH + Duration::from_millis(1_795_424_571_123);
        let at_end = (&mut head, &mut Stamps::default());
        append(&mut out, binding, at_end, at, "call", |line| line.all(&fields));
        (out, head)
    }

    #[test]
    fn what_is_written_is_json_and_read_again() {
        let fields = Fields::default().text("action", "a\"\\b").number("status", 201);
        let (text, head) =
            written(&Binding::Plain, fields.object("who", |who| who.text("peer", "127.0.0.1")));
        let line = text.strip_suffix('\n').unwrap();
        let read = Line::read(line.as_bytes()).unwrap();
        assert_eq!((read.n, read.event, read.previous), (7, "call", Hash([7; 32])));
        assert_eq!(read.head(), head);
        assert!(read.is_whole(&Binding::Plain));
        let json = serde_json::Value::from(read.members().unwrap());
        assert_eq!(json["action"], "a\"\\b");
        assert_eq!(json["status"], 201);
        assert_eq!(json["who"]["peer"], "127.0.0.1");
        assert_eq!(json["time"], "2026-11-23T09:02:51.123Z");
        assert_eq!(json["hash"], head.hash.to_string());
    }

    #[test]
    fn any_change_of_a_byte_is_found() {
        for binding in [Binding::Plain, Binding::keyed(b"secret")] {
            let (text, _) = written(&binding, Fields::default().text("path", "/x"));
            let line = text.trim_end().as_bytes();
            for at in 0..line.len() {
                for other in (0..=255).filter(|other| *other != line[at]) {
                    let mut changed = line.to_vec();
                    changed[at] = other;
                    let read = Line::read(&changed);
                    assert!(!read.is_some_and(|read| read.is_whole(&binding)), "{at} {other}");
                }
                let cut = Line::read(&line[..at]);
                assert!(!cut.is_some_and(|read| read.is_whole(&binding)), "{at}");
            }
        }
    }

    #[test]
    fn hostile_text_stays_inside_its_quotes() {
        let hostile = "\n\r\0\u{1b}[2J\u{9b}\u{7f}\u{2028}\u{1f600}\",\"hash\":\"\u{e9}";
        let (text, _) = written(&Binding::Plain, Fields::default().text("path", hostile));
        assert_eq!(text.lines().count(), 1);
        assert!(text.trim_end().bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{text}");
        let line = Line::read(text.trim_end().as_bytes()).unwrap();
        assert_eq!(line.members().unwrap()["path"], hostile);
        let long = "\u{1f600}".repeat(100_000);
        let (text, _) = written(&Binding::Plain, Fields::default().text("path", &long));
        assert!(text.len() < 8192, "{}", text.len());
        assert!(text.contains("... (400000 bytes in all)"));
    }

    #[test]
    fn a_key_has_a_name_and_its_own_hashes() {
        let (one, other) = (Binding::keyed(b"one"), Binding::keyed(b"other"));
        assert_ne!(one.key(), other.key());
        assert_eq!(one.key().unwrap().len(), 16);
        assert_ne!(one.hash(b"x"), other.hash(b"x"));
        assert_ne!(one.hash(b"x"), Binding::Plain.hash(b"x"));
        assert!(!format!("{one:?}").contains("one"));
        // RFC 4231, test case 2.
        let hash = Binding::keyed(b"Jefe").hash(b"what do ya want for nothing?");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hash.to_string(), expected);
    }

    #[test]
    fn only_its_own_form_is_a_hash() {
        let text = Hash::of(b"abc").to_string();
        assert_eq!(Hash::read(text.as_bytes()), Some(Hash::of(b"abc")));
        for bad in ["", &text[1..], &format!("{text}0"), &text.to_uppercase()] {
            assert_eq!(Hash::read(bad.as_bytes()), None, "{bad}");
        }
    }
}
