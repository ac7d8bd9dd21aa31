//! The target of a schedule: a function of this account. Whatever else AWS's schedules can call is
//! refused when it is configured, for nothing would ever come of it.

use serde_json::{Value, json};

use super::invalid;
use super::request::{Members, required};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::rules::{length, matching, number};
use crate::asynchronous::{LETTERS_ARN, WEBHOOK_ARN};
use crate::function::name::is_partition;
use crate::function::violation::{Violation, Violations, pattern};
use crate::schedule::payload::{Run, payload};

/// <https://docs.aws.amazon.com/scheduler/latest/APIReference/API_Target.html>
const INPUT_BYTES: usize = 256 << 10;
const ROLE_PATTERN: &str = r"arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@\/-]+";
const QUEUE_PATTERN: &str = r"arn:aws[a-z-]*:sqs:[a-z0-9\-]+:\d{12}:[a-zA-Z0-9\-_]+";

/// AWS's defaults, and greatest values.
const MAX_AGE_S: u32 = 86_400;
const MAX_RETRIES: u32 = 185;

/// What belongs to other services' targets.
const TEMPLATES: [&str; 7] = [
    "EcsParameters",
    "EventBridgeParameters",
    "EventBridgePutEventsV2Parameters",
    "EventBridgePutRawEventsParameters",
    "KinesisParameters",
    "SageMakerPipelineParameters",
    "SqsParameters",
];

/// The target, by the model's constraints.
pub(super) fn read(body: &Members, found: &mut Violations) -> Result<Value, AwsError> {
    let Some(target) = body.object("Target")? else {
        found.push(Violation::null("target"));
        return Ok(Value::Null);
    };
    let arn = target.text("Arn")?;
    length(found, "target.arn", arn, 1, 1600);
    let arn = required(found, "target.arn", arn);
    let role = target.text("RoleArn")?;
    length(found, "target.roleArn", role, 1, 1600);
    matching(found, "target.roleArn", role, ROLE_PATTERN, is_role);
    let role = required(found, "target.roleArn", role);
    let policy = target.object("RetryPolicy")?.unwrap_or_default();
    let whole = |found: &mut Violations, name: &str, field: &str, range| {
        let field = format!("target.retryPolicy.{field}");
        policy.number(name).map(|value| number(found, &field, value, range))
    };
    let age = (60, MAX_AGE_S, MAX_AGE_S);
    let age = whole(found, "MaximumEventAgeInSeconds", "maximumEventAgeInSeconds", age)?;
    let retries = (0, MAX_RETRIES, MAX_RETRIES);
    let retries = whole(found, "MaximumRetryAttempts", "maximumRetryAttempts", retries)?;
    let mut read = json!({
        "Arn": arn,
        "RoleArn": role,
        "RetryPolicy": { "MaximumEventAgeInSeconds": age, "MaximumRetryAttempts": retries },
    });
    if let Some(input) = target.text("Input")? {
        length(found, "target.input", Some(input), 1, usize::MAX);
        read["Input"] = input.into();
    }
    if let Some(config) = target.object("DeadLetterConfig")? {
        read["DeadLetterConfig"] = json!({});
        let arn = config.text("Arn")?;
        length(found, "target.deadLetterConfig.arn", arn, 1, 1600);
        if let Some(arn) = arn {
            if !is_queue(arn) && arn != LETTERS_ARN && arn != WEBHOOK_ARN {
                let constraint = pattern(QUEUE_PATTERN);
                found.push(Violation::new("target.deadLetterConfig.arn", arn, constraint));
            }
            read["DeadLetterConfig"]["Arn"] = arn.into();
        }
    }
    // Refused below, by name.
    let others: Vec<&str> = TEMPLATES.into_iter().filter(|name| target.has(name)).collect();
    if let Some(other) = others.first() {
        read["Other"] = (*other).into();
    }
    Ok(read)
}

/// What the model does not say.
pub(super) fn check(api: &Api, target: &Value) -> Result<(), AwsError> {
    let arn = target["Arn"].as_str().unwrap_or_default();
    if arn.split(':').count() < 6 || !arn.starts_with("arn:") {
        return Err(invalid("Provided Arn is not in correct format."));
    }
    if api.schedules.function(arn).is_none() {
        return Err(invalid(format!(
            "The target {arn} is not supported by this service: it has to be the ARN of a Lambda \
             function, a version or an alias, of the account {}.",
            api.settings.account_id
        )));
    }
    if let Some(other) = target["Other"].as_str() {
        return Err(invalid(format!("{other} does not belong to the target, a Lambda function.")));
    }
    if target["DeadLetterConfig"]["Arn"] == WEBHOOK_ARN && !api.queue.has_webhook() {
        return Err(invalid(format!(
            "The destination {WEBHOOK_ARN} is not there: [asynchronous] webhook_url is not configured."
        )));
    }
    target["Input"].as_str().map_or(Ok(()), check_input)
}

/// A function's input is JSON, with its context attributes in place.
fn check_input(input: &str) -> Result<(), AwsError> {
    if input.len() > INPUT_BYTES {
        let message = format!("The Input of a target has {INPUT_BYTES} bytes at most.");
        return Err(invalid(message));
    }
    let any = Run {
        arn: "arn",
        region: "region",
        account_id: "0",
        scheduled: 0,
        id: uuid::Uuid::nil(),
        attempt: 1,
    };
    let whole = payload(Some(input), &any);
    match serde_json::from_str::<serde::de::IgnoredAny>(&whole) {
        Ok(_) => Ok(()),
        Err(error) => Err(invalid(format!(
            "The Input of a Lambda function has to be well-formed JSON: {error}."
        ))),
    }
}

fn is_role(arn: &str) -> bool {
    let mut parts = arn.splitn(6, ':');
    let mut part = || parts.next().unwrap_or_default();
    let place = part() == "arn" && is_aws(part()) && part() == "iam" && part().is_empty();
    let named = |rest: &str| {
        rest.strip_prefix("role/").is_some_and(|name| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@/-".contains(&byte);
            !name.is_empty() && name.bytes().all(fits)
        })
    };
    place && is_account(part()) && named(part())
}

fn is_queue(arn: &str) -> bool {
    let parts: Vec<&str> = arn.split(':').collect();
    let ["arn", partition, "sqs", region, account, queue] = parts[..] else { return false };
    let word = |text: &str, also: &[u8]| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || also.contains(&byte);
        !text.is_empty() && text.bytes().all(fits)
    };
    is_aws(partition) && word(region, b"-") && is_account(account) && word(queue, b"-_")
}

fn is_aws(partition: &str) -> bool {
    !partition.is_empty() && is_partition(partition)
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_and_queues_have_the_models_form() {
        for good in ["arn:aws:iam::000000000000:role/r", "arn:aws-cn:iam::000000000000:role/a/b@c"]
        {
            assert!(is_role(good), "{good}");
        }
        for bad in [
            "",
            "role",
            "arn:aws:iam::0:role/r",
            "arn:aws:iam::000000000000:role/",
            "arn:aws:iam:us-east-1:000000000000:role/r",
            "arn:aws:iam::000000000000:user/r",
            "arn::iam::000000000000:role/r",
        ] {
            assert!(!is_role(bad), "{bad}");
        }
        assert!(is_queue("arn:aws:sqs:us-east-1:000000000000:q_1"));
        for bad in [
            "arn:aws:sqs:us-east-1:000000000000:q.fifo",
            "arn:aws:sns:us-east-1:000000000000:q",
            "",
        ] {
            assert!(!is_queue(bad), "{bad}");
        }
    }

    #[test]
    fn an_input_is_json_once_its_attributes_are_in_place() {
        for good in
            ["1", "{\"a\": \"<aws.scheduler.schedule-arn>\"}", "[<aws.scheduler.attempt-number>]"]
        {
            assert!(check_input(good).is_ok(), "{good}");
        }
        for bad in ["", "hello", "{", "<aws.scheduler.schedule-arn>", "1 2"] {
            assert!(check_input(bad).unwrap_err().message.contains("well-formed JSON"), "{bad}");
        }
        let largest = format!("\"{}\"", "x".repeat(INPUT_BYTES - 2));
        assert!(check_input(&largest).is_ok() && check_input(&format!("{largest} ")).is_err());
    }
}
