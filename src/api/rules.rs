//! The constraints that fields of a request share, told as AWS tells them.
//!
//! Each rule looks at one field and adds what it finds; it never stops at the first finding, since
//! AWS answers all of them together.

use crate::function::violation::{
    Violation, Violations, greatest, least, longest, one_of, pattern, shortest,
};

/// Length in characters, as AWS counts.
pub(super) fn length(
    found: &mut Violations,
    field: &str,
    value: Option<&str>,
    min: usize,
    max: usize,
) {
    let Some(value) = value else { return };
    let count = value.chars().count();
    if count > max {
        found.push(Violation::new(field, value, longest(max)));
    }
    if count < min {
        found.push(Violation::new(field, value, shortest(min)));
    }
}

/// A text that `accept` must take, which is what `text` says as a regular expression.
pub(super) fn matching(
    found: &mut Violations,
    field: &str,
    value: Option<&str>,
    text: &str,
    accept: impl Fn(&str) -> bool,
) {
    if let Some(value) = value.filter(|value| !accept(value)) {
        found.push(Violation::new(field, value, pattern(text)));
    }
}

/// A whole number in its range, or the default.
pub(super) fn number(
    found: &mut Violations,
    field: &str,
    value: Option<i64>,
    (min, default, max): (u32, u32, u32),
) -> u32 {
    let Some(value) = value else { return default };
    if value > i64::from(max) {
        found.push(Violation::new(field, value, greatest(max.into())));
    } else if value < i64::from(min) {
        found.push(Violation::new(field, value, least(min.into())));
    }
    u32::try_from(value).unwrap_or(default)
}

/// One of the model's names.
pub(super) fn member(found: &mut Violations, field: &str, value: Option<&str>, set: &[&str]) {
    if let Some(value) = value.filter(|value| !set.contains(value)) {
        found.push(Violation::new(field, value, one_of(set)));
    }
}

/// A list with the model's number of entries; AWS prints it as Java does.
pub(super) fn entries<T: AsRef<str>>(
    found: &mut Violations,
    field: &str,
    list: Option<&[T]>,
    min: usize,
    max: usize,
) {
    let Some(list) = list else { return };
    if list.len() > max {
        found.push(Violation::new(field, java_list(list), longest(max)));
    }
    if list.len() < min {
        found.push(Violation::new(field, java_list(list), shortest(min)));
    }
}

/// `Member must satisfy constraint: [...]`, for the entries of a list.
pub(super) fn members(constraints: &[String]) -> String {
    format!("Member must satisfy constraint: [{}]", constraints.join(", "))
}

/// `[a, b]`
pub(super) fn java_list<T: AsRef<str>>(list: &[T]) -> String {
    let texts: Vec<&str> = list.iter().map(AsRef::as_ref).collect();
    format!("[{}]", texts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(rule: impl FnOnce(&mut Violations)) -> String {
        let mut found = Violations::default();
        rule(&mut found);
        found.into_result().err().map_or_else(String::new, |found| found.to_string())
    }

    #[test]
    fn values_at_the_limits_pass_and_beyond_do_not() {
        for (value, bad) in
            [(1, ""), (900, ""), (901, "equal to 900"), (0, "equal to 1"), (-5, "equal to 1")]
        {
            let text = told(|f| _ = number(f, "timeout", Some(value), (1, 3, 900)));
            assert!(text.ends_with(bad) && text.is_empty() == bad.is_empty(), "{value}: {text}");
        }
        assert_eq!(number(&mut Violations::default(), "timeout", None, (1, 3, 900)), 3);
    }

    #[test]
    fn characters_are_counted_and_not_bytes() {
        assert_eq!(told(|f| length(f, "description", Some("\u{e9}\u{e9}"), 0, 2)), "");
        assert!(told(|f| length(f, "description", Some("abc"), 0, 2)).ends_with("equal to 2"));
    }

    #[test]
    fn lists_are_printed_as_java_does() {
        let list = ["x86_64", "arm64"];
        assert_eq!(
            told(|f| entries(f, "architectures", Some(&list), 1, 1)),
            "1 validation error detected: Value '[x86_64, arm64]' at 'architectures' failed to \
             satisfy constraint: Member must have length less than or equal to 1"
        );
    }
}
