//! Tags of log groups, by ARN and, as older clients ask, by name.

use std::collections::BTreeMap;

use serde_json::json;

use super::request::{Call, group_of};
use super::{Answer, Operation, invalid, rules};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::rules::{length, matching};
use crate::function::violation::{Violation, Violations};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "TagResource", run: tag },
    Operation { name: "UntagResource", run: untag },
    Operation { name: "ListTagsForResource", run: list },
    Operation { name: "TagLogGroup", run: tag },
    Operation { name: "UntagLogGroup", run: untag },
    Operation { name: "ListTagsLogGroup", run: list },
];

const ARN_PATTERN: &str = r"[\w+=/:,.@-]*";

/// The group that is meant: by its name where the operation has that member, else by its ARN.
fn group<'a>(call: &'a Call, found: &mut Violations) -> Result<&'a str, AwsError> {
    if call.text("logGroupName")?.is_some() {
        return call.group(found);
    }
    let arn = call.text("resourceArn")?;
    length(found, "resourceArn", arn, 1, 1011);
    matching(found, "resourceArn", arn, ARN_PATTERN, |arn| {
        arn.chars().all(|c| c.is_alphanumeric() || "_+=/:,.@-*#".contains(c))
    });
    let arn = rules::required(found, "resourceArn", arn);
    Ok(group_of(arn).unwrap_or_default())
}

/// An ARN that is none of a group.
fn check_group(name: &str) -> Result<(), AwsError> {
    match name {
        "" => Err(invalid("The specified resource ARN is not that of a log group.")),
        _ => Ok(()),
    }
}

fn tag(api: &Api, call: &Call) -> Result<Answer, AwsError> {
    let mut found = Violations::default();
    let name = group(call, &mut found)?;
    let given = call.map("tags")?;
    if given.is_none() {
        found.push(Violation::null("tags"));
    }
    let tags = rules::tags(&mut found, given)?;
    rules::check(found)?;
    check_group(name)?;
    api.logs.change_group(&call.region, name, |_, kept: &mut BTreeMap<String, String>| {
        kept.extend(tags);
        if kept.len() > rules::TAGS {
            let message = format!("A resource can have at most {} tags.", rules::TAGS);
            return Err(AwsError::new(400, "TooManyTagsException", message));
        }
        Ok(())
    })?;
    Ok(None)
}

fn untag(api: &Api, call: &Call) -> Result<Answer, AwsError> {
    let mut found = Violations::default();
    let name = group(call, &mut found)?;
    let keys = match call.texts("tagKeys")? {
        Some(keys) => Some(keys),
        None => call.texts("tags")?,
    };
    if keys.is_none() {
        found.push(Violation::null("tagKeys"));
    }
    rules::check(found)?;
    check_group(name)?;
    let keys = keys.unwrap_or_default();
    api.logs.change_group(&call.region, name, |_, kept: &mut BTreeMap<String, String>| {
        kept.retain(|key, _| !keys.contains(&key.as_str()));
        Ok::<(), AwsError>(())
    })?;
    Ok(None)
}

fn list(api: &Api, call: &Call) -> Result<Answer, AwsError> {
    let mut found = Violations::default();
    let name = group(call, &mut found)?;
    rules::check(found)?;
    check_group(name)?;
    let group = api.logs.group_info(&call.region, name)?;
    Ok(Some(json!({ "tags": group.tags }).to_string()))
}
