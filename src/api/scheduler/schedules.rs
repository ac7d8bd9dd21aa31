//! CreateSchedule, GetSchedule, UpdateSchedule, DeleteSchedule, ListSchedules.

use serde_json::{Value, json};

use super::definition::{self, Asked};
use super::request::{self, Call, check};
use super::{Operation, timestamp};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::rules::member;
use crate::function::violation::Violations;
use crate::schedule::{DEFAULT_GROUP, Filter, Name, ScheduleError};

const PATH: &str = "/schedules/{}";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "CreateSchedule", method: "POST", path: PATH, run: create },
    Operation { name: "GetSchedule", method: "GET", path: PATH, run: get },
    Operation { name: "UpdateSchedule", method: "PUT", path: PATH, run: update },
    Operation { name: "DeleteSchedule", method: "DELETE", path: PATH, run: delete },
    Operation { name: "ListSchedules", method: "GET", path: "/schedules", run: list },
];

fn create(api: &Api, call: &Call) -> Result<Value, AwsError> {
    let Asked { name, group, definition, token } = definition::read(api, call)?;
    let name = Name { region: &call.region, group: &group, name: &name };
    definition::check_dates(&definition, None, now_s())?;
    let expression = expression_of(&definition);
    api.schedules.create(name, definition, &token).map_err(|error| told(error, &expression))?;
    Ok(json!({ "ScheduleArn": api.schedules.arn(name) }))
}

fn update(api: &Api, call: &Call) -> Result<Value, AwsError> {
    let Asked { name, group, definition, token } = definition::read(api, call)?;
    let name = Name { region: &call.region, group: &group, name: &name };
    let before = api.schedules.get(name)?;
    definition::check_dates(&definition, Some(&before.definition), now_s())?;
    let expression = expression_of(&definition);
    api.schedules.update(name, definition, &token).map_err(|error| told(error, &expression))?;
    Ok(json!({ "ScheduleArn": api.schedules.arn(name) }))
}

fn get(api: &Api, call: &Call) -> Result<Value, AwsError> {
    let mut found = Violations::default();
    let (schedule, group) = named(call, &mut found);
    check(found)?;
    let name = Name { region: &call.region, group: &group, name: schedule };
    let record = api.schedules.get(name)?;
    let mut shown = record.definition;
    shown["Arn"] = api.schedules.arn(name).into();
    shown["GroupName"] = name.group.into();
    shown["Name"] = name.name.into();
    shown["CreationDate"] = timestamp(record.created_ms);
    shown["LastModificationDate"] = timestamp(record.modified_ms);
    Ok(shown)
}

fn delete(api: &Api, call: &Call) -> Result<Value, AwsError> {
    let mut found = Violations::default();
    let (schedule, group) = named(call, &mut found);
    let token = call.query("clientToken");
    request::token(&mut found, token.as_deref());
    check(found)?;
    let name = Name { region: &call.region, group: &group, name: schedule };
    api.schedules.delete(name, token.as_deref())?;
    Ok(json!({}))
}

fn list(api: &Api, call: &Call) -> Result<Value, AwsError> {
    let mut found = Violations::default();
    let (group, prefix, state) =
        (call.query("ScheduleGroup"), call.query("NamePrefix"), call.query("State"));
    request::name(&mut found, "groupName", group.as_deref());
    request::name(&mut found, "namePrefix", prefix.as_deref());
    member(&mut found, "state", state.as_deref(), &["ENABLED", "DISABLED"]);
    let (max, after) = request::page(call, &mut found)?;
    check(found)?;
    let filter = Filter {
        region: &call.region,
        group: group.as_deref(),
        prefix: prefix.as_deref(),
        enabled: state.map(|state| state == "ENABLED"),
        after: after.as_deref(),
    };
    let (found, more) = api.schedules.list(&filter, max)?;
    let shown: Vec<Value> = found
        .iter()
        .map(|schedule| {
            let name = Name { region: &call.region, group: &schedule.group, name: &schedule.name };
            json!({
                "Arn": api.schedules.arn(name),
                "Name": schedule.name,
                "GroupName": schedule.group,
                "State": if schedule.enabled { "ENABLED" } else { "DISABLED" },
                "CreationDate": timestamp(schedule.created_ms),
                "LastModificationDate": timestamp(schedule.modified_ms),
                "Target": { "Arn": schedule.target },
            })
        })
        .collect();
    let mut answer = json!({ "Schedules": shown });
    if let (true, Some(last)) = (more, found.last()) {
        answer["NextToken"] = request::next_token(&format!("{}/{}", last.group, last.name)).into();
    }
    Ok(answer)
}

/// The schedule and the group that a path and a query name.
fn named<'c>(call: &'c Call, found: &mut Violations) -> (&'c str, String) {
    let group = call.query("groupName");
    request::name(found, "groupName", group.as_deref());
    (call.name(found), group.map_or_else(|| DEFAULT_GROUP.to_owned(), |group| group.into_owned()))
}

fn expression_of(definition: &Value) -> String {
    definition["ScheduleExpression"].as_str().unwrap_or_default().to_owned()
}

/// A time that has passed is an expression that AWS does not take.
fn told(error: ScheduleError, expression: &str) -> AwsError {
    match error {
        ScheduleError::Over => definition::invalid_expression(expression),
        other => other.into(),
    }
}

fn now_s() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}
