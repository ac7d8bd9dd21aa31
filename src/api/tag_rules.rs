//! Which tags a function may have, in the model's words and in AWS's.

use super::error::AwsError;
use super::functions::invalid;
use super::rules::{java_list, members};
use super::shapes::Pairs;
use crate::function::violation::{Violation, Violations, longest, pattern, shortest};

const TAGS_MAX: usize = 50;
const TAG_PATTERN: &str = r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)";

pub(super) fn check_tags(tags: Option<&Pairs>, found: &mut Violations) {
    let Some(Pairs(pairs)) = tags else { return };
    let shown = || {
        let texts: Vec<String> =
            pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!("{{{}}}", texts.join(", "))
    };
    let fits = |text: &str, min, max| {
        (min..=max).contains(&text.chars().count()) && text.chars().all(is_tag_char)
    };
    let constraint = |what, min, max| {
        let list = [longest(max), shortest(min), pattern(TAG_PATTERN)].join(", ");
        format!("{what} must satisfy constraint: [{list}]")
    };
    if !pairs.iter().all(|(key, _)| fits(key, 1, 128)) {
        found.push(Violation::new("tags", shown(), constraint("Map keys", 1, 128)));
    }
    if !pairs.iter().all(|(_, value)| fits(value, 0, 256)) {
        found.push(Violation::new("tags", shown(), constraint("Map value", 0, 256)));
    }
}

/// The keys of tags to be taken away.
pub(super) fn check_tag_keys(keys: &[String], found: &mut Violations) {
    let fits =
        |key: &String| (1..=128).contains(&key.chars().count()) && key.chars().all(is_tag_char);
    if !keys.iter().all(fits) {
        let constraint = members(&[longest(128), shortest(1), pattern(TAG_PATTERN)]);
        found.push(Violation::new("tagKeys", java_list(keys), constraint));
    }
}

pub(super) fn check_tag_limits<'a>(
    mut keys: impl ExactSizeIterator<Item = &'a String>,
) -> Result<(), AwsError> {
    if keys.len() > TAGS_MAX {
        return Err(invalid("Number of tags exceeds resource tag limit."));
    }
    if keys.any(|key| key.to_ascii_lowercase().starts_with("aws:")) {
        return Err(invalid("Tag keys that start with aws: are reserved."));
    }
    Ok(())
}

/// `[\p{L}\p{Z}\p{N}_.:/=+\-@]`, as near as the standard library's classes come.
fn is_tag_char(c: char) -> bool {
    c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c)
}
