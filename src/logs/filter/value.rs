//! What a field of a message is compared with: an operator, and a number, a text with `*` for
//! anything, or a regular expression.

use super::regex::Regex;
use super::{BadPattern, percents, quoted};

#[derive(Debug)]
pub(super) struct Comparison {
    operator: Operator,
    value: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug)]
enum Value {
    /// As it was written, and as a number.
    Number(String, f64),
    /// The parts between the asterisks.
    Text(Vec<String>),
    Regex(Regex),
}

/// A field's value in a message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field<'a> {
    Text(&'a str),
    /// As it is written, and as a number.
    Number(&'a str, f64),
}

impl Comparison {
    /// The comparison at the start of `text`, and what comes after it. A value without quotes ends
    /// before blanks and the characters of `ends`.
    pub(super) fn parse<'a>(
        text: &'a str,
        ends: &str,
    ) -> Result<(Comparison, &'a str), BadPattern> {
        let operators = [
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("=", Operator::Equal),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        let found = operators
            .iter()
            .find_map(|(sign, operator)| Some((text.strip_prefix(sign)?, *operator)));
        let (rest, operator) = found.ok_or_else(BadPattern::invalid)?;
        let rest = rest.trim_start();
        let (value, rest) = match rest.as_bytes().first() {
            Some(b'"') => {
                let (text, rest) = quoted(rest).ok_or_else(BadPattern::invalid)?;
                (Value::Text(parts(&text)), rest)
            }
            Some(b'%') => {
                let (regex, rest) = percents(rest).ok_or_else(BadPattern::invalid)?;
                (Value::Regex(Regex::parse(regex)?), rest)
            }
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || ends.contains(c));
                let (text, rest) = rest.split_at(end.unwrap_or(rest.len()));
                (bare(text)?, rest)
            }
        };
        let is_ordered = !matches!(operator, Operator::Equal | Operator::NotEqual);
        if is_ordered && !matches!(value, Value::Number(..)) {
            return Err(BadPattern::invalid());
        }
        Ok((Comparison { operator, value }, rest))
    }

    pub(super) fn holds(&self, field: Field<'_>) -> bool {
        let text = match field {
            Field::Text(text) | Field::Number(text, _) => text,
        };
        let equals = match (&self.value, field) {
            (Value::Number(_, wanted), Field::Number(_, found)) => found == *wanted,
            (Value::Number(wanted, _), Field::Text(found)) => found == wanted,
            (Value::Text(parts), _) => matches_parts(parts, text),
            (Value::Regex(regex), _) => regex.matches(text),
        };
        let order = match (&self.value, field) {
            (Value::Number(_, wanted), Field::Number(_, found)) => found.partial_cmp(wanted),
            _ => None,
        };
        match self.operator {
            Operator::Equal => equals,
            Operator::NotEqual => !equals,
            Operator::Less => order.is_some_and(|order| order.is_lt()),
            Operator::LessOrEqual => order.is_some_and(|order| order.is_le()),
            Operator::Greater => order.is_some_and(|order| order.is_gt()),
            Operator::GreaterOrEqual => order.is_some_and(|order| order.is_ge()),
        }
    }
}

/// A value without quotes. AWS promises letters, digits and the underscore; its own examples have
/// dots and asterisks, too.
fn bare(text: &str) -> Result<Value, BadPattern> {
    if let Some(number) = number(text) {
        return Ok(Value::Number(text.to_owned(), number));
    }
    let odd: String =
        text.chars().filter(|c| !c.is_alphanumeric() && !"_.*-/:@#+".contains(*c)).collect();
    match (text.is_empty(), odd.is_empty()) {
        (true, _) => Err(BadPattern::invalid()),
        (_, false) => Err(BadPattern::characters(&odd)),
        _ => Ok(Value::Text(parts(text))),
    }
}

/// A number as patterns and columns write it: a sign, digits with a point, an exponent.
pub(super) fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    text.parse().ok().filter(|number: &f64| plain && number.is_finite())
}

fn parts(text: &str) -> Vec<String> {
    text.split('*').map(str::to_owned).collect()
}

/// Whether the text is these parts in their order, with anything between them.
fn matches_parts(parts: &[String], text: &str) -> bool {
    let [first, middle @ .., last] = parts else {
        return parts.iter().all(|only| text == only);
    };
    let Some(rest) = text.strip_prefix(first.as_str()) else { return false };
    let Some(mut rest) = rest.strip_suffix(last.as_str()) else { return false };
    for part in middle {
        match rest.find(part.as_str()) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}
