//! What holds of any filter pattern and any message; see the crate's `fuzzing`.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::Filter;
use crate::fuzzing::Seed;

/// A first line as a pattern, the rest as the message. White space around a pattern means nothing,
/// an error says something, and patterns of plain words match what holds the words.
pub fn filter(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (pattern, message) = text.split_once('\n').unwrap_or((text, "{\"a\":1} b"));
    let filter = match Filter::parse(pattern) {
        Ok(filter) => filter,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let matches = filter.matches(message);
    let padded = Filter::parse(&format!(" \t{pattern}\r\n")).unwrap();
    assert_eq!(padded.matches(message), matches);
    if pattern.trim().is_empty() {
        assert!(matches);
    }
    let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b' ');
    if is_plain(pattern) && !pattern.trim().is_empty() {
        let all = pattern.split(' ').all(|word| message.contains(word));
        assert_eq!(matches, all, "words");
        let quoted = Filter::parse(&format!("\"{pattern}\"")).unwrap();
        assert_eq!(quoted.matches(message), message.contains(pattern), "quoted");
        if !pattern.contains(' ') {
            let absent = Filter::parse(&format!("-{pattern}")).unwrap();
            assert_eq!(absent.matches(message), !message.contains(pattern), "absent");
            // An expression may have 256 characters.
            match Filter::parse(&format!("%{pattern}%")) {
                Ok(regex) => assert_eq!(regex.matches(message), message.contains(pattern), "regex"),
                Err(_) => assert!(pattern.len() > 256),
            }
        }
    }
}

pub const SEEDS: &[Seed] = &[
    ("words", b"ERROR 42 -\"no way\" ?maybe\nan ERROR with 42"),
    ("plain", b"abc def\nabc and def"),
    ("json", b"{ ($.a.b[0] = \"x*\" && $.c >= 5) || $.d IS NULL || $.e NOT EXISTS }\n{\"a\":{\"b\":[\"xy\"]},\"c\":7}"),
    ("columns", b"[ip, user, status = 4* || status = 500, ..., bytes > 1000]\n127.0.0.1 me 404 [a b] \"c d\" 2000"),
    ("regex", b"%^[a-c]+.{2,3}\\d?(x|y)*$%\nabcdefxy"),
    ("regex in json", b"{ $.a = %b+c% }\n{\"a\":\"xbbc\"}"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::{OTHERS, run_in_small};

    #[test]
    fn filters_of_any_text_hold() {
        run_in_small(SEEDS, OTHERS, filter);
    }
}
