//! Messages of fields between blanks: `[ip, user, ..., status = 4* && status != 404, bytes]`.
//!
//! What a message has in brackets or in double quotes is one field. There are as many fields as
//! names, but that `...` stands for any number of them, and the last name for all that is left.

use super::expression::Expression;
use super::value::{Comparison, Field, number};
use super::{BadPattern, percents, quoted};

#[derive(Debug)]
pub(super) struct Columns {
    before: Vec<Column>,
    /// The names after `...`, if there is one.
    after: Option<Vec<Column>>,
}

#[derive(Debug)]
struct Column(Option<Expression<Comparison>>);

impl Columns {
    /// Parses what stands between the brackets.
    pub(super) fn parse(text: &str) -> Result<Columns, BadPattern> {
        let mut columns = Columns { before: Vec::new(), after: None };
        for part in split(text)? {
            match (part.trim(), &mut columns.after) {
                ("...", Some(_)) => return Err(BadPattern::invalid()),
                ("...", after) => *after = Some(Vec::new()),
                (column, Some(after)) => after.push(Column::parse(column)?),
                (column, None) => columns.before.push(Column::parse(column)?),
            }
        }
        Ok(columns)
    }

    pub(super) fn matches(&self, message: &str) -> bool {
        // Beyond the names it is enough to know that there is more.
        let most = self.after.as_ref().map_or(self.before.len() + 1, |_| usize::MAX);
        let fields = fields(message, most);
        let Some(after) = &self.after else {
            let Some((last, first)) = self.before.split_last() else { return false };
            if fields.len() < self.before.len() {
                return false;
            }
            // Where more is left than the last name, it has all of it.
            let rest = match fields.len() == self.before.len() {
                true => fields[first.len()].text,
                false => message[fields[first.len()].start..].trim_end(),
            };
            return all(first, &fields) && last.matches(rest);
        };
        let Some(skipped) = fields.len().checked_sub(after.len()) else { return false };
        skipped >= self.before.len() && all(&self.before, &fields) && all(after, &fields[skipped..])
    }
}

fn all(columns: &[Column], fields: &[Part<'_>]) -> bool {
    columns.iter().zip(fields).all(|(column, field)| column.matches(field.text))
}

impl Column {
    /// A name, alone or with conditions, in each of which it stands again.
    fn parse(text: &str) -> Result<Column, BadPattern> {
        if name(text) == Some("") {
            return Ok(Column(None));
        }
        Expression::parse(text, &condition).map(Some).map(Column)
    }

    fn matches(&self, field: &str) -> bool {
        let Some(expression) = &self.0 else { return true };
        let value = match number(field) {
            Some(value) => Field::Number(field, value),
            None => Field::Text(field),
        };
        expression.holds(&|comparison| comparison.holds(value))
    }
}

fn condition(text: &str) -> Result<(Comparison, &str), BadPattern> {
    let rest = name(text).ok_or_else(BadPattern::invalid)?;
    Comparison::parse(rest.trim_start(), ")&|,")
}

/// What comes after a name. A column need not have one.
fn name(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|c: char| c.is_alphanumeric() || "_-$.".contains(c));
    let is_name =
        rest.is_empty() || rest.starts_with(|c: char| c.is_whitespace() || "=!<>".contains(c));
    is_name.then_some(rest)
}

/// The parts between commas that are not in quotes or percent signs.
fn split(text: &str) -> Result<Vec<&str>, BadPattern> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        at = match c {
            '"' => text.len() - quoted(rest).ok_or_else(BadPattern::invalid)?.1.len(),
            '%' => text.len() - percents(rest).ok_or_else(BadPattern::invalid)?.1.len(),
            ',' => {
                parts.push(&text[start..at]);
                start = at + 1;
                start
            }
            c => at + c.len_utf8(),
        };
    }
    parts.push(&text[start..]);
    Ok(parts)
}

/// A field of a message, and where it begins there, its bracket or quote included.
struct Part<'a> {
    text: &'a str,
    start: usize,
}

/// The first fields of a message, at most so many.
fn fields(message: &str, most: usize) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut at = 0;
    // Beyond the last of them nothing is enclosed: one that is never closed is a word like others.
    let last = |c| message.rfind(c).unwrap_or(0);
    let (last_bracket, last_quote) = (last(']'), last('"'));
    loop {
        let rest = message[at..].trim_start();
        let start = message.len() - rest.len();
        if parts.len() == most {
            return parts;
        }
        let close = match rest.chars().next() {
            None => return parts,
            Some('[') if start < last_bracket => Some(']'),
            Some('"') if start < last_quote => Some('"'),
            Some(_) => None,
        };
        let enclosed = close.and_then(|close| Some((1, 1 + rest[1..].find(close)?, 1)));
        let word = || (0, rest.find(char::is_whitespace).unwrap_or(rest.len()), 0);
        let (from, to, over) = enclosed.unwrap_or_else(word);
        parts.push(Part { text: &rest[from..to], start });
        at = start + to + over;
    }
}
