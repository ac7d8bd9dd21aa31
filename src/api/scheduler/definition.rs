//! What CreateSchedule and UpdateSchedule say of a schedule, checked, in the form in which
//! GetSchedule answers it.
//!
//! Sentences of constraints and of expressions are AWS's. Where AWS's own are not known, they say
//! what is wrong.

use serde_json::{Value, json};

use super::request::{self, Call, Members, check, required};
use super::{invalid, target};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::rules::{length, member, number};
use crate::function::violation::{Violation, Violations};
use crate::schedule::DEFAULT_GROUP;
use crate::schedule::timing::Expression;
use crate::schedule::zone::Zone;

/// A start may be so many seconds ago, as on AWS.
const START_AGO: f64 = 300.0;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) group: String,
    pub(super) definition: Value,
    pub(super) token: String,
}

pub(super) fn read(api: &Api, call: &Call) -> Result<Asked, AwsError> {
    let mut found = Violations::default();
    let body = call.body();
    let name = call.name(&mut found).to_owned();
    let group = body.text("GroupName")?;
    request::name(&mut found, "groupName", group);
    let expression = body.text("ScheduleExpression")?;
    length(&mut found, "scheduleExpression", expression, 1, 256);
    let expression = required(&mut found, "scheduleExpression", expression);
    let zone = body.text("ScheduleExpressionTimezone")?;
    length(&mut found, "scheduleExpressionTimezone", zone, 1, 50);
    let description = body.text("Description")?;
    length(&mut found, "description", description, 0, 512);
    let state = body.text("State")?;
    member(&mut found, "state", state, &["ENABLED", "DISABLED"]);
    let action = body.text("ActionAfterCompletion")?;
    member(&mut found, "actionAfterCompletion", action, &["NONE", "DELETE"]);
    let token = body.text("ClientToken")?;
    request::token(&mut found, token);
    let window = window(body, &mut found)?;
    let target = target::read(body, &mut found)?;
    let dates = [("StartDate", body.date("StartDate")?), ("EndDate", body.date("EndDate")?)];
    check(found)?;

    if body.has("KmsKeyArn") {
        return Err(invalid("KmsKeyArn is not supported by this service."));
    }
    if Expression::parse(expression).is_none() {
        return Err(invalid_expression(expression));
    }
    let zone = zone.unwrap_or("UTC");
    if Zone::of(zone).is_none() {
        return Err(invalid(format!("Invalid Schedule Expression Timezone {zone}.")));
    }
    check_window(&window)?;
    target::check(api, &target)?;
    let mut definition = json!({
        "ScheduleExpression": expression,
        "ScheduleExpressionTimezone": zone,
        "State": state.unwrap_or("ENABLED"),
        "ActionAfterCompletion": action.unwrap_or("NONE"),
        "FlexibleTimeWindow": window,
        "Target": target,
    });
    if let Some(description) = description {
        definition["Description"] = description.into();
    }
    for (date, seconds) in dates {
        if let Some(seconds) = seconds {
            definition[date] = seconds.into();
        }
    }
    Ok(Asked {
        name,
        group: group.unwrap_or(DEFAULT_GROUP).to_owned(),
        definition,
        token: token.unwrap_or_default().to_owned(),
    })
}

pub(super) fn invalid_expression(expression: &str) -> AwsError {
    invalid(format!("Invalid Schedule Expression {expression}."))
}

fn window(body: &Members, found: &mut Violations) -> Result<Value, AwsError> {
    let Some(window) = body.object("FlexibleTimeWindow")? else {
        found.push(Violation::null("flexibleTimeWindow"));
        return Ok(Value::Null);
    };
    let mode = window.text("Mode")?;
    member(found, "flexibleTimeWindow.mode", mode, &["OFF", "FLEXIBLE"]);
    let mode = required(found, "flexibleTimeWindow.mode", mode);
    let minutes = window.number("MaximumWindowInMinutes")?;
    number(found, "flexibleTimeWindow.maximumWindowInMinutes", minutes, (1, 1, 1440));
    let mut read = json!({ "Mode": mode });
    if let Some(minutes) = minutes {
        read["MaximumWindowInMinutes"] = minutes.into();
    }
    Ok(read)
}

fn check_window(window: &Value) -> Result<(), AwsError> {
    match (window["Mode"].as_str(), window["MaximumWindowInMinutes"].as_i64()) {
        (Some("FLEXIBLE"), None) => Err(invalid(
            "A FlexibleTimeWindow with the mode FLEXIBLE needs MaximumWindowInMinutes.",
        )),
        (Some("OFF"), Some(_)) => {
            Err(invalid("A FlexibleTimeWindow with the mode OFF has no MaximumWindowInMinutes."))
        }
        _ => Ok(()),
    }
}

/// Dates of a recurring schedule, where they are other ones than before.
pub(super) fn check_dates(
    definition: &Value,
    before: Option<&Value>,
    now_s: f64,
) -> Result<(), AwsError> {
    let expression = definition["ScheduleExpression"].as_str().unwrap_or_default();
    if expression.starts_with("at(") {
        return Ok(());
    }
    let date = |name: &str| definition[name].as_f64();
    let changed = |name: &str| before.is_none_or(|before| before[name] != definition[name]);
    let (start, end) = (date("StartDate"), date("EndDate"));
    if changed("StartDate") && start.is_some_and(|start| start < now_s - START_AGO) {
        return Err(invalid("The StartDate you specify cannot be earlier than 5 minutes ago."));
    }
    if changed("EndDate") && end.is_some_and(|end| end < now_s) {
        return Err(invalid("The EndDate you specify cannot be in the past."));
    }
    match (start, end) {
        (Some(start), Some(end)) if end <= start => {
            Err(invalid("The EndDate you specify must be later than the StartDate."))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(definition: &Value, before: Option<&Value>) -> String {
        check_dates(definition, before, 1000.0).err().map_or(String::new(), |e| e.message.clone())
    }

    #[test]
    fn dates_are_in_order_and_not_in_the_past() {
        let dated = |start: f64, end: f64| json!({ "ScheduleExpression": "rate(1 day)", "StartDate": start, "EndDate": end });
        assert_eq!(told(&dated(700.0, 1000.0), None), "");
        let early = dated(699.0, 2000.0);
        assert!(told(&early, None).ends_with("cannot be earlier than 5 minutes ago."));
        // What was taken once is taken again.
        assert_eq!(told(&early, Some(&early)), "");
        assert!(told(&early, Some(&dated(698.0, 2000.0))).contains("5 minutes"));
        assert!(told(&dated(700.0, 999.0), None).contains("in the past"));
        assert!(told(&dated(2000.0, 2000.0), None).contains("later than the StartDate"));
        let mut once = dated(1.0, 1.0);
        once["ScheduleExpression"] = "at(2026-11-27T00:00:00)".into();
        assert_eq!(told(&once, None), "");
    }

    #[test]
    fn a_flexible_window_has_its_minutes() {
        let with = |window: Value| check_window(&window).is_ok();
        assert!(with(json!({ "Mode": "OFF" })));
        assert!(with(json!({ "Mode": "FLEXIBLE", "MaximumWindowInMinutes": 1440 })));
        assert!(!with(json!({ "Mode": "FLEXIBLE" })));
        assert!(!with(json!({ "Mode": "OFF", "MaximumWindowInMinutes": 5 })));
    }
}
