//! Terms of unstructured messages: all of them have to be there, those after a minus must not, and
//! where all are optional (`?`) one suffices.
//!
//! A term is found wherever it stands, also inside a word, in its own case. What is no plain word has
//! to be in quotes; a minus is never part of a word.

use super::regex::Regex;
use super::{BadPattern, percents, quoted};

#[derive(Debug, Default)]
pub(super) struct Words {
    required: Vec<Term>,
    excluded: Vec<Term>,
    optional: Vec<Term>,
}

#[derive(Debug)]
enum Term {
    Text(String),
    Regex(Regex),
}

impl Term {
    fn is_in(&self, message: &str) -> bool {
        match self {
            Term::Text(text) => message.contains(text),
            Term::Regex(regex) => regex.matches(message),
        }
    }
}

impl Words {
    pub(super) fn parse(pattern: &str) -> Result<Words, BadPattern> {
        let mut words = Words::default();
        let mut rest = pattern;
        while !rest.is_empty() {
            let (list, after) = match rest.as_bytes() {
                [b'-', ..] => (&mut words.excluded, &rest[1..]),
                [b'?', ..] => (&mut words.optional, &rest[1..]),
                _ => (&mut words.required, rest),
            };
            let (term, after) = term(after.trim_start())?;
            list.push(term);
            rest = after.trim_start();
        }
        if !words.required.is_empty() || !words.excluded.is_empty() {
            // As CloudWatch says: beside other terms, optional ones have no effect.
            words.optional.clear();
        }
        Ok(words)
    }

    pub(super) fn matches(&self, message: &str) -> bool {
        self.required.iter().all(|term| term.is_in(message))
            && !self.excluded.iter().any(|term| term.is_in(message))
            && (self.optional.is_empty() || self.optional.iter().any(|term| term.is_in(message)))
    }
}

/// The term at the start, and what comes after it.
fn term(text: &str) -> Result<(Term, &str), BadPattern> {
    if text.starts_with('"') {
        let (phrase, rest) = quoted(text).ok_or_else(BadPattern::invalid)?;
        if phrase.is_empty() {
            return Err(BadPattern::characters("\"\""));
        }
        // A blank phrase is how CloudWatch writes "everything".
        let phrase = if phrase.trim().is_empty() { String::new() } else { phrase };
        return Ok((Term::Text(phrase), rest));
    }
    if text.starts_with('%') {
        let (regex, rest) = percents(text).ok_or_else(BadPattern::invalid)?;
        return Ok((Term::Regex(Regex::parse(regex)?), rest));
    }
    let end = text.find(|c| !is_plain(c)).unwrap_or(text.len());
    if end > 0 {
        return Ok((Term::Text(text[..end].to_owned()), &text[end..]));
    }
    let is_odd = |c: char| !is_plain(c) && !c.is_whitespace() && !"-?\"%".contains(c);
    let end = text.find(|c| !is_odd(c)).unwrap_or(text.len());
    Err(if end > 0 { BadPattern::characters(&text[..end]) } else { BadPattern::invalid() })
}

/// What may stand in a word without quotes. CloudWatch promises letters, digits and the underscore;
/// what it is known to refuse is refused here.
fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || "_./@#=".contains(c)
}
