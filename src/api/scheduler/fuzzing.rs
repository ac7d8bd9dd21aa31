//! The part of `api::fuzzing` that needs what is private here.

use super::request::{self, Call, check};
use super::target;
use crate::api::error::AwsError;
use crate::function::violation::Violations;

/// A schedule's target, by the model's constraints.
pub(in crate::api) fn target(body: &[u8]) -> Result<(), AwsError> {
    let call = Call::new(vec!["schedule".to_owned()], None, "us-east-1".to_owned(), body)?;
    let mut found = Violations::default();
    call.name(&mut found);
    request::name(&mut found, "groupName", call.body().text("GroupName")?);
    request::token(&mut found, call.body().text("ClientToken")?);
    for name in ["StartDate", "EndDate"] {
        let date = call.body().date(name)?;
        assert!(date.is_none_or(|date| (0.0..253_402_300_800.0).contains(&date)));
    }
    let target = target::read(call.body(), &mut found)?;
    check(found)?;
    let policy = &target["RetryPolicy"];
    let within = |name: &str, least, most| {
        let value = policy[name].as_i64().unwrap_or(-1);
        assert!((least..=most).contains(&value), "{name}: {value}");
    };
    within("MaximumEventAgeInSeconds", 60, 86_400);
    within("MaximumRetryAttempts", 0, 185);
    let arn = target["Arn"].as_str().unwrap_or_default();
    assert!((1..=1600).contains(&arn.chars().count()));
    Ok(())
}
