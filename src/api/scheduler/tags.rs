//! TagResource, UntagResource, ListTagsForResource: tags of schedule groups, as on AWS, where
//! schedules have none.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::request::{Call, Members, check, is_name_byte, required};
use super::{Operation, invalid};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::rules::length;
use crate::function::violation::{Violation, Violations, longest, pattern};
use crate::schedule::ScheduleError;

const PATH: &str = "/tags/{}";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "TagResource", method: "POST", path: PATH, run: tag },
    Operation { name: "UntagResource", method: "DELETE", path: PATH, run: untag },
    Operation { name: "ListTagsForResource", method: "GET", path: PATH, run: list },
];

const ARN_PATTERN: &str =
    r"arn:aws[a-z-]*:scheduler:[a-z0-9\-]+:\d{12}:schedule-group\/[0-9a-zA-Z-_.]+";
const TAGS_MAX: usize = 200;
/// AWS's own limit of a resource.
const KEPT_MAX: usize = 50;

fn tag(api: &Api, call: &Call) -> Result<Value, AwsError> {
    let mut found = Violations::default();
    let tags = read(call.body(), &mut found)?;
    if !call.body().has("Tags") {
        found.push(Violation::null("tags"));
    }
    change(api, call, found, |kept| {
        kept.extend(tags);
        if kept.len() > KEPT_MAX {
            return Err(invalid(format!("A schedule group has {KEPT_MAX} tags at most.")));
        }
        Ok(())
    })
}

fn untag(api: &Api, call: &Call) -> Result<Value, AwsError> {
    let mut found = Violations::default();
    let keys = call.queries("TagKeys");
    if keys.is_empty() {
        found.push(Violation::null("tagKeys"));
    }
    change(api, call, found, |kept| {
        kept.retain(|key, _| !keys.contains(key));
        Ok(())
    })
}

fn change(
    api: &Api,
    call: &Call,
    mut found: Violations,
    change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<(), AwsError>,
) -> Result<Value, AwsError> {
    let group = group(call.value(), &mut found);
    check(found)?;
    let (region, name) = group.here(api)?;
    api.schedules.change_tags(region, name, change)?;
    Ok(json!({}))
}

fn list(api: &Api, call: &Call) -> Result<Value, AwsError> {
    let mut found = Violations::default();
    let group = group(call.value(), &mut found);
    check(found)?;
    let (region, name) = group.here(api)?;
    let group = api.schedules.group(region, name)?;
    let tags = group.tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value }));
    Ok(json!({ "Tags": tags.collect::<Vec<Value>>() }))
}

/// `Tags` of a body.
pub(super) fn read(
    body: &Members,
    found: &mut Violations,
) -> Result<BTreeMap<String, String>, AwsError> {
    let mut tags = BTreeMap::new();
    let list = body.list("Tags")?.unwrap_or_default();
    if list.len() > TAGS_MAX {
        found.push(Violation::hidden("tags", longest(TAGS_MAX)));
    }
    for (index, tag) in list.iter().enumerate().take(TAGS_MAX) {
        let mut member = |name: &str, field: &str, max| {
            let field = format!("tags.{}.member.{field}", index + 1);
            let text = tag.text(name)?;
            length(found, &field, text, 1, max);
            Ok::<_, AwsError>(required(found, &field, text).to_owned())
        };
        let (key, value) = (member("Key", "key", 128)?, member("Value", "value", 256)?);
        tags.insert(key, value);
    }
    Ok(tags)
}

/// What an ARN of a group names.
#[derive(Debug, Default)]
struct GroupArn<'a> {
    region: &'a str,
    account_id: &'a str,
    name: &'a str,
}

impl<'a> GroupArn<'a> {
    /// Region and name, if it is of this account.
    fn here(&self, api: &Api) -> Result<(&'a str, &'a str), AwsError> {
        if self.account_id != api.settings.account_id {
            return Err(ScheduleError::NoGroup(self.name.to_owned()).into());
        }
        Ok((self.region, self.name))
    }
}

fn group<'a>(arn: &'a str, found: &mut Violations) -> GroupArn<'a> {
    length(found, "resourceArn", Some(arn), 1, 1011);
    parse(arn).unwrap_or_else(|| {
        found.push(Violation::new("resourceArn", arn, pattern(ARN_PATTERN)));
        GroupArn::default()
    })
}

fn parse(arn: &str) -> Option<GroupArn<'_>> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "scheduler", region, account_id, rest] = parts[..] else { return None };
    let name = rest.strip_prefix("schedule-group/")?;
    let place = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fits = partition.starts_with("aws")
        && !region.is_empty()
        && region.bytes().all(place)
        && account_id.len() == 12
        && account_id.bytes().all(|byte| byte.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(is_name_byte);
    fits.then_some(GroupArn { region, account_id, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_groups_have_tags() {
        let arn = "arn:aws:scheduler:us-east-1:000000000000:schedule-group/g.1";
        let found = parse(arn).unwrap();
        assert_eq!((found.region, found.name), ("us-east-1", "g.1"));
        for bad in [
            "",
            "arn:aws:scheduler:us-east-1:000000000000:schedule/default/s",
            "arn:aws:scheduler:us-east-1:0:schedule-group/g",
            "arn:aws:lambda:us-east-1:000000000000:schedule-group/g",
            "arn:aws:scheduler:us-east-1:000000000000:schedule-group/",
            "arn:aws:scheduler:us-east-1:000000000000:schedule-group/a/b",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
