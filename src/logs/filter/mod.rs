//! CloudWatch's filter patterns: a text, parsed once, against the message of each event.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html>. A pattern
//! is one of three languages by its first character: [`json`] in braces, [`columns`] in brackets,
//! else [`words`]. The first two share [`expression`] and [`value`]; all know [`regex`].
//!
//! Patterns come from anybody: parsing goes no deeper than [`expression`] allows, and no match takes
//! more than the length of the message times that of the pattern.

mod columns;
mod expression;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod json;
mod regex;
mod value;
mod words;

use std::fmt;

/// CloudWatch's own limit, in characters.
pub const PATTERN_CHARS: usize = 1024;

/// A parsed pattern. See the module's text.
#[derive(Debug)]
pub struct Filter(Kind);

#[derive(Debug)]
enum Kind {
    All,
    Words(words::Words),
    Json(json::Json),
    Columns(columns::Columns),
}

/// What is wrong with a pattern, in CloudWatch's words where they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPattern(String);

impl BadPattern {
    fn invalid() -> BadPattern {
        BadPattern("Invalid filter pattern".to_owned())
    }

    fn characters(term: &str) -> BadPattern {
        BadPattern(format!("Invalid character(s) in term '{term}'"))
    }
}

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadPattern {}

impl Filter {
    pub fn parse(pattern: &str) -> Result<Filter, BadPattern> {
        let pattern = pattern.trim();
        if pattern.is_empty() {
            return Ok(Filter(Kind::All));
        }
        if let Some(inner) = enclosed(pattern, '{', '}')? {
            return json::Json::parse(inner).map(Kind::Json).map(Filter);
        }
        if let Some(inner) = enclosed(pattern, '[', ']')? {
            return columns::Columns::parse(inner).map(Kind::Columns).map(Filter);
        }
        words::Words::parse(pattern).map(Kind::Words).map(Filter)
    }

    pub fn matches(&self, message: &str) -> bool {
        match &self.0 {
            Kind::All => true,
            Kind::Words(words) => words.matches(message),
            Kind::Json(json) => json.matches(message),
            Kind::Columns(columns) => columns.matches(message),
        }
    }
}

fn enclosed(pattern: &str, open: char, close: char) -> Result<Option<&str>, BadPattern> {
    let Some(rest) = pattern.strip_prefix(open) else { return Ok(None) };
    match rest.strip_suffix(close) {
        Some(inner) => Ok(Some(inner)),
        None => Err(BadPattern(format!(
            "If a filter pattern starts with '{open}' it must end with '{close}'"
        ))),
    }
}

/// A text in double quotes at the start of `text`, with what comes after it. A backslash takes the
/// next character as it is.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut chars = text.strip_prefix('"')?.char_indices();
    let mut content = String::new();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((content, &text[at + 2..])),
            '\\' => content.push(chars.next()?.1),
            c => content.push(c),
        }
    }
    None
}

/// What stands between percent signs at the start of `text`, with what comes after it. A backslash
/// and what follows it stay together.
fn percents(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('%')?;
    let mut escaped = false;
    for (at, c) in inner.char_indices() {
        match c {
            '%' if !escaped => return Some((&inner[..at], &inner[at + 1..])),
            c => escaped = c == '\\' && !escaped,
        }
    }
    None
}

#[cfg(test)]
mod tests;
