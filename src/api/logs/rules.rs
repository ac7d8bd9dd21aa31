//! The constraints of CloudWatch Logs' members, told as AWS tells them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::invalid;
use super::request::serialization;
use crate::api::error::AwsError;
use crate::api::rules::{length, matching, number};
use crate::api::shapes::Pairs;
use crate::api::tag_rules::check_tags;
use crate::function::violation::{Violation, Violations, longest};

const GROUP_PATTERN: &str = r"[\.\-_/#A-Za-z0-9]+";
const STREAM_PATTERN: &str = "[^:*]*";
const IDENTIFIER_PATTERN: &str = r"[\w#+=/:,.@-]*";

/// The member, for a call that [`check`] lets pass only if it is there.
pub(super) fn required<'a>(found: &mut Violations, field: &str, value: Option<&'a str>) -> &'a str {
    if value.is_none() {
        found.push(Violation::null(field));
    }
    value.unwrap_or_default()
}

pub(super) fn group_name(found: &mut Violations, field: &str, name: Option<&str>) {
    length(found, field, name, 1, 512);
    matching(found, field, name, GROUP_PATTERN, |name| name.bytes().all(is_group_byte));
}

pub(super) fn is_group_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_/#".contains(&byte)
}

pub(super) fn stream_name(found: &mut Violations, field: &str, name: Option<&str>) {
    length(found, field, name, 1, 512);
    matching(found, field, name, STREAM_PATTERN, |name| !name.contains([':', '*']));
}

pub(super) fn identifier(found: &mut Violations, field: &str, text: &str) {
    length(found, field, Some(text), 1, 2048);
    let accept = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_#+=/:,.@-*".contains(&byte))
    };
    matching(found, field, Some(text), IDENTIFIER_PATTERN, accept);
}

pub(super) fn time(found: &mut Violations, field: &str, value: Option<i64>) -> Option<i64> {
    const MAX: u32 = u32::MAX;
    if value.is_some_and(|value| value < 0) {
        number(found, field, value, (0, 0, MAX));
    }
    value
}

pub(super) fn limit(found: &mut Violations, value: Option<i64>, default: u32, max: u32) -> usize {
    number(found, "limit", value, (1, default, max)) as usize
}

/// Tags as a map, checked.
pub(super) fn tags(
    found: &mut Violations,
    tags: Option<&Map<String, Value>>,
) -> Result<BTreeMap<String, String>, AwsError> {
    let mut pairs = Vec::new();
    for (key, value) in tags.into_iter().flatten() {
        let value = value.as_str().ok_or_else(|| serialization("a tag's value is no string"))?;
        pairs.push((key.clone(), value.to_owned()));
    }
    if pairs.len() > TAGS {
        found.push(Violation::hidden("tags", longest(TAGS)));
    }
    let pairs = Pairs(pairs);
    check_tags(Some(&pairs), found);
    Ok(pairs.into_map())
}

/// Tags of one resource.
pub(super) const TAGS: usize = 50;

/// Fails with everything that was found.
pub(super) fn check(found: Violations) -> Result<(), AwsError> {
    found.into_result().map_err(|found| invalid(found.to_string()))
}
