//! CreateScheduleGroup, GetScheduleGroup, DeleteScheduleGroup, ListScheduleGroups. A group is
//! deleted at once, with its schedules, so that no client ever sees one that is `DELETING`.

use serde_json::{Value, json};

use super::request::{self, Call, check};
use super::{Operation, tags, timestamp};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::function::violation::Violations;
use crate::schedule::Group;

const PATH: &str = "/schedule-groups/{}";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "CreateScheduleGroup", method: "POST", path: PATH, run: create },
    Operation { name: "GetScheduleGroup", method: "GET", path: PATH, run: get },
    Operation { name: "DeleteScheduleGroup", method: "DELETE", path: PATH, run: delete },
    Operation { name: "ListScheduleGroups", method: "GET", path: "/schedule-groups", run: list },
];

fn create(api: &Api, call: &Call) -> Result<Value, AwsError> {
    let mut found = Violations::default();
    let name = call.name(&mut found);
    let token = call.body().text("ClientToken")?;
    request::token(&mut found, token);
    let tags = tags::read(call.body(), &mut found)?;
    check(found)?;
    api.schedules.create_group(&call.region, name, tags, token.unwrap_or_default())?;
    Ok(json!({ "ScheduleGroupArn": api.schedules.group_arn(&call.region, name) }))
}

fn get(api: &Api, call: &Call) -> Result<Value, AwsError> {
    let mut found = Violations::default();
    let name = call.name(&mut found);
    check(found)?;
    let group = api.schedules.group(&call.region, name)?;
    Ok(show(api, &call.region, name, &group))
}

fn delete(api: &Api, call: &Call) -> Result<Value, AwsError> {
    let mut found = Violations::default();
    let name = call.name(&mut found);
    request::token(&mut found, call.query("clientToken").as_deref());
    check(found)?;
    api.schedules.delete_group(&call.region, name)?;
    Ok(json!({}))
}

fn list(api: &Api, call: &Call) -> Result<Value, AwsError> {
    let mut found = Violations::default();
    let prefix = call.query("NamePrefix");
    request::name(&mut found, "namePrefix", prefix.as_deref());
    let (max, after) = request::page(call, &mut found)?;
    check(found)?;
    let prefix = prefix.as_deref().unwrap_or_default();
    let (groups, more) = api.schedules.groups(&call.region, prefix, after.as_deref(), max);
    let shown: Vec<Value> =
        groups.iter().map(|(name, group)| show(api, &call.region, name, group)).collect();
    let mut answer = json!({ "ScheduleGroups": shown });
    if let (true, Some((last, _))) = (more, groups.last()) {
        answer["NextToken"] = request::next_token(last).into();
    }
    Ok(answer)
}

fn show(api: &Api, region: &str, name: &str, group: &Group) -> Value {
    let arn = api.schedules.group_arn(region, name);
    let mut shown = json!({ "Arn": arn, "Name": name, "State": "ACTIVE" });
    // Of the default group there is no such day.
    if group.created_ms > 0 {
        shown["CreationDate"] = timestamp(group.created_ms);
        shown["LastModificationDate"] = timestamp(group.modified_ms);
    }
    shown
}
