//! Messages that are JSON: `{ $.level = "error" && $.users[0].id >= 7 }`.
//!
//! A selector names a text, a number or a truth value; what leads to nothing, to an array or an
//! object meets no comparison, neither `=` nor `!=`. A message that is no JSON object matches no pattern.

use serde_json::Value;

use super::BadPattern;
use super::expression::Expression;
use super::value::{Comparison, Field};

/// CloudWatch's: wildcards in a selector, and in a pattern.
const SELECTOR_WILDCARDS: usize = 1;
const PATTERN_WILDCARDS: usize = 3;

#[derive(Debug)]
pub(super) struct Json(Expression<Condition>);

#[derive(Debug)]
struct Condition {
    selector: Vec<Step>,
    test: Test,
}

#[derive(Debug)]
enum Step {
    Member(String),
    Element(usize),
    /// Every member, or every element.
    Every,
}

#[derive(Debug)]
enum Test {
    Compares(Comparison),
    IsNull,
    Is(bool),
    Exists,
    NotExists,
}

impl Json {
    /// Parses what stands between the braces.
    pub(super) fn parse(text: &str) -> Result<Json, BadPattern> {
        let expression = Expression::parse(text, &condition)?;
        let mut wildcards = 0;
        expression.each(&mut |condition: &Condition| wildcards += every(&condition.selector));
        if wildcards > PATTERN_WILDCARDS {
            return Err(BadPattern::invalid());
        }
        Ok(Json(expression))
    }

    pub(super) fn matches(&self, message: &str) -> bool {
        let Ok(message @ Value::Object(_)) = serde_json::from_str(message) else { return false };
        self.0.holds(&|condition| match &condition.test {
            Test::NotExists => !any(&message, &condition.selector, &|_| true),
            test => any(&message, &condition.selector, &|value| test.holds(value)),
        })
    }
}

fn every(selector: &[Step]) -> usize {
    selector.iter().filter(|step| matches!(step, Step::Every)).count()
}

impl Test {
    fn holds(&self, value: &Value) -> bool {
        match self {
            Test::Exists => true,
            Test::NotExists => false,
            Test::IsNull => value.is_null(),
            Test::Is(wanted) => value.as_bool() == Some(*wanted),
            Test::Compares(comparison) => match value {
                Value::String(text) => comparison.holds(Field::Text(text)),
                Value::Bool(value) => comparison.holds(Field::Text(&value.to_string())),
                Value::Number(number) => number.as_f64().is_some_and(|value| {
                    comparison.holds(Field::Number(&number.to_string(), value))
                }),
                Value::Null | Value::Array(_) | Value::Object(_) => false,
            },
        }
    }
}

/// Whether the selector leads to a value that passes. The selector's length bounds the depth.
fn any(value: &Value, selector: &[Step], test: &dyn Fn(&Value) -> bool) -> bool {
    let Some((step, rest)) = selector.split_first() else { return test(value) };
    match (step, value) {
        (Step::Member(name), Value::Object(members)) => {
            members.get(name).is_some_and(|value| any(value, rest, test))
        }
        (Step::Element(index), Value::Array(elements)) => {
            elements.get(*index).is_some_and(|value| any(value, rest, test))
        }
        (Step::Every, Value::Array(elements)) => {
            elements.iter().any(|value| any(value, rest, test))
        }
        (Step::Every, Value::Object(members)) => {
            members.values().any(|value| any(value, rest, test))
        }
        _ => false,
    }
}

fn condition(text: &str) -> Result<(Condition, &str), BadPattern> {
    let (selector, rest) = selector(text)?;
    let rest = rest.trim_start();
    for (words, test) in [
        (&["IS", "NULL"][..], Test::IsNull),
        (&["IS", "TRUE"], Test::Is(true)),
        (&["IS", "FALSE"], Test::Is(false)),
        (&["NOT", "EXISTS"], Test::NotExists),
        (&["EXISTS"], Test::Exists),
    ] {
        if let Some(rest) = strip_words(rest, words) {
            return Ok((Condition { selector, test }, rest));
        }
    }
    let (comparison, rest) = Comparison::parse(rest, ")&|")?;
    Ok((Condition { selector, test: Test::Compares(comparison) }, rest))
}

/// What comes after these words, written in any case.
fn strip_words<'a>(text: &'a str, words: &[&str]) -> Option<&'a str> {
    let mut rest = text;
    for word in words {
        let (found, after) = rest.trim_start().split_at_checked(word.len())?;
        found.eq_ignore_ascii_case(word).then_some(())?;
        rest = after;
    }
    (!rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')).then_some(rest)
}

/// A selector at the start: `$.a.b-c[0]`, `$.a[*]`, `$.*`, `$.['a.b']`.
fn selector(text: &str) -> Result<(Vec<Step>, &str), BadPattern> {
    let mut rest = text.strip_prefix('$').ok_or_else(|| {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        BadPattern::characters(&text[..end])
    })?;
    let mut steps = Vec::new();
    loop {
        let bracket = rest.strip_prefix(".[").or_else(|| rest.strip_prefix('['));
        let (step, after) = if let Some(inner) = bracket {
            bracketed(inner)?
        } else if let Some(name) = rest.strip_prefix('.') {
            let end = name.find(|c: char| !c.is_alphanumeric() && !"_-*".contains(c));
            let (name, after) = name.split_at(end.unwrap_or(name.len()));
            match name {
                "" => return Err(BadPattern::characters("$.")),
                "*" => (Step::Every, after),
                name if name.contains('*') => return Err(BadPattern::characters("*")),
                name => (Step::Member(name.to_owned()), after),
            }
        } else {
            break;
        };
        steps.push(step);
        rest = after;
    }
    match steps.is_empty() || every(&steps) > SELECTOR_WILDCARDS {
        true => Err(BadPattern::invalid()),
        false => Ok((steps, rest)),
    }
}

/// What stands in brackets: a number, an asterisk, or a name in quotes.
fn bracketed(inner: &str) -> Result<(Step, &str), BadPattern> {
    let quote = inner.chars().next().filter(|c| *c == '\'' || *c == '"');
    if let Some(quote) = quote {
        let name = &inner[1..];
        let (name, after) = name.split_once(quote).ok_or_else(BadPattern::invalid)?;
        let after = after.strip_prefix(']').ok_or_else(BadPattern::invalid)?;
        return Ok((Step::Member(name.to_owned()), after));
    }
    let (index, after) = inner.split_once(']').ok_or_else(BadPattern::invalid)?;
    let step = match index.trim() {
        "*" => Step::Every,
        digits => Step::Element(digits.parse().map_err(|_| BadPattern::invalid())?),
    };
    Ok((step, after))
}
