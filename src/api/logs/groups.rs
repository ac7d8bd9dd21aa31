//! Log groups: CreateLogGroup, DeleteLogGroup, DescribeLogGroups, and how long events are kept.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::request::{Call, group_arn, group_of};
use super::{Answer, Operation, invalid, rules, tokens};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::rules::{length, matching, member};
use crate::function::violation::{Violation, Violations};
use crate::logs::LogError;
use crate::logs::store::GroupInfo;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "CreateLogGroup", run: create },
    Operation { name: "DeleteLogGroup", run: delete },
    Operation { name: "DescribeLogGroups", run: describe },
    Operation { name: "PutRetentionPolicy", run: put_retention },
    Operation { name: "DeleteRetentionPolicy", run: delete_retention },
];

/// The days that CloudWatch takes.
const RETENTION_DAYS: [u32; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];
const CLASSES: &[&str] = &["STANDARD", "INFREQUENT_ACCESS", "DELIVERY"];
const CLASS: &str = "STANDARD";
const PAGE: u32 = 50;

fn create(api: &Api, call: &Call) -> Result<Answer, AwsError> {
    let mut found = Violations::default();
    let name = call.group(&mut found)?;
    let class = call.text("logGroupClass")?;
    member(&mut found, "logGroupClass", class, CLASSES);
    let tags = rules::tags(&mut found, call.map("tags")?)?;
    rules::check(found)?;
    if name.starts_with("aws/") {
        return Err(invalid("Log groups starting with aws/ are reserved for AWS."));
    }
    let unsupported = [
        ("kmsKeyId", call.text("kmsKeyId")?.is_some()),
        ("logGroupClass", class.is_some_and(|class| class != CLASS)),
        ("deletionProtectionEnabled", call.flag("deletionProtectionEnabled")?),
    ];
    if let Some((member, _)) = unsupported.iter().find(|(_, given)| *given) {
        return Err(invalid(format!("{member} is not supported by this service.")));
    }
    api.logs.create_group(&call.region, name, tags)?;
    Ok(None)
}

fn delete(api: &Api, call: &Call) -> Result<Answer, AwsError> {
    let mut found = Violations::default();
    let name = call.group(&mut found)?;
    rules::check(found)?;
    api.logs.delete_group(&call.region, name)?;
    Ok(None)
}

fn describe(api: &Api, call: &Call) -> Result<Answer, AwsError> {
    let mut found = Violations::default();
    let prefix = call.text("logGroupNamePrefix")?;
    rules::group_name(&mut found, "logGroupNamePrefix", prefix);
    let part = call.text("logGroupNamePattern")?;
    length(&mut found, "logGroupNamePattern", part, 0, 512);
    matching(&mut found, "logGroupNamePattern", part, r"[\.\-_/#A-Za-z0-9]*", |part| {
        part.bytes().all(rules::is_group_byte)
    });
    let class = call.text("logGroupClass")?;
    member(&mut found, "logGroupClass", class, CLASSES);
    let limit = rules::limit(&mut found, call.number("limit")?, PAGE, PAGE);
    rules::check(found)?;
    if prefix.is_some() && part.is_some() {
        return Err(invalid(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
        ));
    }
    let identifiers = call.texts("logGroupIdentifiers")?;
    let after = tokens::parse_text(call.text("nextToken")?)?;
    let wanted = |name: &str| {
        class.is_none_or(|class| class == CLASS)
            && prefix.is_none_or(|prefix| name.starts_with(prefix))
            && part.is_none_or(|part| name.contains(part))
            && identifiers.as_ref().is_none_or(|identifiers| {
                identifiers.iter().any(|text| group_of(text).unwrap_or(text) == name)
            })
    };
    let (groups, more) = api.logs.groups(&call.region, after.as_deref(), limit, wanted);
    let shown: Vec<Value> = groups.iter().map(|group| show(api, &call.region, group)).collect();
    let mut answer = json!({ "logGroups": shown });
    if let (true, Some(last)) = (more, groups.last()) {
        answer["nextToken"] = tokens::text(&last.name).into();
    }
    Ok(Some(answer.to_string()))
}

fn show(api: &Api, region: &str, group: &GroupInfo) -> Value {
    let arn = group_arn(region, &api.settings.account_id, &group.name);
    let mut shown = json!({
        "logGroupName": group.name,
        "creationTime": group.created_ms,
        "metricFilterCount": 0,
        "arn": format!("{arn}:*"),
        "storedBytes": group.bytes,
        "logGroupClass": CLASS,
        "logGroupArn": arn,
    });
    if let Some(days) = group.retention_days {
        shown["retentionInDays"] = days.into();
    }
    shown
}

fn put_retention(api: &Api, call: &Call) -> Result<Answer, AwsError> {
    let mut found = Violations::default();
    let name = call.group(&mut found)?;
    let days = call.number("retentionInDays")?;
    if days.is_none() {
        found.push(Violation::null("retentionInDays"));
    }
    let known =
        days.and_then(|days| u32::try_from(days).ok().filter(|d| RETENTION_DAYS.contains(d)));
    if let (Some(days), None) = (days, known) {
        let all = RETENTION_DAYS.map(|days| days.to_string()).join(", ");
        let constraint = format!("Member must satisfy enum value set: [{all}]");
        found.push(Violation::new("retentionInDays", days, constraint));
    }
    rules::check(found)?;
    set_retention(api, call, name, known)
}

fn delete_retention(api: &Api, call: &Call) -> Result<Answer, AwsError> {
    let mut found = Violations::default();
    let name = call.group(&mut found)?;
    rules::check(found)?;
    set_retention(api, call, name, None)
}

fn set_retention(
    api: &Api,
    call: &Call,
    name: &str,
    days: Option<u32>,
) -> Result<Answer, AwsError> {
    let change = |kept: &mut Option<u32>, _: &mut BTreeMap<String, String>| {
        *kept = days;
        Ok::<(), LogError>(())
    };
    api.logs.change_group(&call.region, name, change)?;
    Ok(None)
}
