//! Put/Update/Get/Delete/ListFunctionEventInvokeConfig(s): how asynchronous invocations are retried
//! and where their outcomes go. `asynchronous` acts on them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::common::{self, ARN_PATTERN, SETTINGS_BYTES, body, is_arn, json, millis, not_found};
use super::{Answer, Call, Operation};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::functions::{self, Context, invalid};
use crate::api::rules::{length, matching};
use crate::asynchronous::{self, Carrier, LETTERS_ARN, WEBHOOK_ARN};
use crate::function::error::FunctionError;
use crate::function::name::FunctionRef;
use crate::function::settings::{EventInvoke, qualifier_key};
use crate::function::violation::{Violation, Violations, greatest, least};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "PutFunctionEventInvokeConfig",
        method: "PUT",
        path: "/2019-09-25/functions/{}/event-invoke-config",
        max_body_bytes: SETTINGS_BYTES,
        run: put,
    },
    Operation {
        name: "UpdateFunctionEventInvokeConfig",
        method: "POST",
        path: "/2019-09-25/functions/{}/event-invoke-config",
        max_body_bytes: SETTINGS_BYTES,
        run: update,
    },
    Operation {
        name: "GetFunctionEventInvokeConfig",
        method: "GET",
        path: "/2019-09-25/functions/{}/event-invoke-config",
        max_body_bytes: 0,
        run: get,
    },
    Operation {
        name: "DeleteFunctionEventInvokeConfig",
        method: "DELETE",
        path: "/2019-09-25/functions/{}/event-invoke-config",
        max_body_bytes: 0,
        run: delete,
    },
    Operation {
        name: "ListFunctionEventInvokeConfigs",
        method: "GET",
        path: "/2019-09-25/functions/{}/event-invoke-config/list",
        max_body_bytes: 0,
        run: list,
    },
];

/// What can be a destination
/// (<https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html>).
const DESTINATIONS: [&str; 7] = ["lambda", "sqs", "sns", "events", "s3", "file", "http"];

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ConfigRequest {
    maximum_retry_attempts: Option<i64>,
    maximum_event_age_in_seconds: Option<i64>,
    destination_config: Option<DestinationConfig>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct DestinationConfig {
    on_success: Option<Destination>,
    on_failure: Option<Destination>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct Destination {
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    /// Seconds, as the model's timestamps are.
    last_modified: f64,
    function_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum_retry_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum_event_age_in_seconds: Option<u32>,
    destination_config: DestinationConfig,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Configs<'a> {
    function_event_invoke_configs: Vec<Config>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<&'a str>,
}

fn put(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let request: ConfigRequest = body(call)?;
    if request.maximum_retry_attempts.is_none()
        && request.maximum_event_age_in_seconds.is_none()
        && request.destination_config.is_none()
    {
        return Err(invalid(
            "You must specify at least one of error handling or destination setting.",
        ));
    }
    store(api, call, &request, |_| Ok(EventInvoke::default()))
}

fn update(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let request: ConfigRequest = body(call)?;
    store(api, call, &request, |earlier| earlier.cloned().ok_or(()))
}

/// Writes the request's members over what `base` makes of the earlier configuration.
fn store(
    api: &Api,
    call: &Call,
    request: &ConfigRequest,
    base: impl FnOnce(Option<&EventInvoke>) -> Result<EventInvoke, ()>,
) -> Result<Answer, AwsError> {
    check(request)?;
    let context = call.context(api);
    let reference = common::reference(call, &context)?;
    match api.registry.get(&call.region, &reference) {
        Err(FunctionError::NotFound { .. }) => {
            return Err(not_found("The function doesn't exist."));
        }
        other => drop(other?),
    }
    if let Some(config) = &request.destination_config {
        check_destinations(config, &context.place.arn(&reference.name, None))?;
        check_supported(config, &context, api.queue.has_webhook())?;
    }
    let key = qualifier_key(reference.qualifier.as_ref());
    let stored = api.registry.change_settings(&call.region, &reference, |settings| {
        let mut config =
            base(settings.event_invoke.get(&key)).map_err(|()| no_config(&reference, &context))?;
        let small = |value: i64| u32::try_from(value).ok();
        config.max_retries = request.maximum_retry_attempts.map_or(config.max_retries, small);
        config.max_age_s = request.maximum_event_age_in_seconds.map_or(config.max_age_s, small);
        if let Some(destinations) = &request.destination_config {
            // An absent one stays, an empty one goes.
            let named = |to: &Option<Destination>, earlier: Option<String>| match to {
                Some(to) => to.destination.clone().filter(|arn| !arn.is_empty()),
                None => earlier,
            };
            config.on_success = named(&destinations.on_success, config.on_success.take());
            config.on_failure = named(&destinations.on_failure, config.on_failure.take());
        }
        config.modified_ms = millis(context.now);
        settings.event_invoke.insert(key.clone(), config.clone());
        Ok::<EventInvoke, AwsError>(config)
    })?;
    json(200, &answer(&reference.name, &key, &stored, &context))
}

fn get(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let context = call.context(api);
    let reference = common::reference(call, &context)?;
    let key = qualifier_key(reference.qualifier.as_ref());
    let settings = api.registry.settings(&call.region, &reference.name)?;
    let config = settings.event_invoke.get(&key);
    let config = config.ok_or_else(|| no_config(&reference, &context))?;
    json(200, &answer(&reference.name, &key, config, &context))
}

fn delete(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let context = call.context(api);
    let reference = common::reference(call, &context)?;
    let nothing = || no_config(&reference, &context);
    api.registry.get(&call.region, &reference).map_err(|_| nothing())?;
    let key = qualifier_key(reference.qualifier.as_ref());
    api.registry.change_settings(&call.region, &reference, |settings| {
        settings.event_invoke.remove(&key).map(drop).ok_or_else(nothing)
    })?;
    Ok(Answer::empty(204))
}

fn list(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let context = call.context(api);
    let reference = functions::resolve(call.value(0), None, &context)?;
    if api.registry.latest(&call.region, &reference.name).is_none() {
        return Err(not_found("The function doesn't exist."));
    }
    let settings = api.registry.settings(&call.region, &reference.name)?;
    let page = common::page(call, &settings.event_invoke)?;
    let configs = page.items.iter();
    let configs = configs.map(|(key, config)| answer(&reference.name, key, config, &context));
    let next_marker = page.next_marker;
    json(200, &Configs { function_event_invoke_configs: configs.collect(), next_marker })
}

/// AWS does not say whether the function is there.
fn no_config(reference: &FunctionRef, context: &Context<'_>) -> AwsError {
    let key = qualifier_key(reference.qualifier.as_ref());
    let arn = common::qualified_arn(&reference.name, &key, context);
    not_found(format!("The function {arn} doesn't have an EventInvokeConfig"))
}

fn check(request: &ConfigRequest) -> Result<(), AwsError> {
    let mut found = Violations::default();
    for (field, value, min, max) in [
        ("maximumRetryAttempts", request.maximum_retry_attempts, 0, 2),
        ("maximumEventAgeInSeconds", request.maximum_event_age_in_seconds, 60, 21_600),
    ] {
        match value {
            Some(value) if value > max => {
                found.push(Violation::new(field, value, greatest(max)));
            }
            Some(value) if value < min => found.push(Violation::new(field, value, least(min))),
            _ => {}
        }
    }
    let pattern = format!(r"$|kafka://([^.]([a-zA-Z0-9\-_.]{{0,248}}))|{ARN_PATTERN}");
    for (field, destination) in destinations(request.destination_config.as_ref()) {
        let field = format!("destinationConfig.{field}.destination");
        length(&mut found, &field, destination, 0, 350);
        matching(&mut found, &field, destination, &pattern, |text| {
            text.is_empty() || text.starts_with("kafka://") || is_arn(text)
        });
    }
    common::check(found)
}

fn destinations(config: Option<&DestinationConfig>) -> [(&'static str, Option<&str>); 2] {
    let arn = |pick: fn(&DestinationConfig) -> &Option<Destination>| {
        pick(config?).as_ref()?.destination.as_deref()
    };
    [("onFailure", arn(|c| &c.on_failure)), ("onSuccess", arn(|c| &c.on_success))]
}

fn check_destinations(config: &DestinationConfig, function_arn: &str) -> Result<(), AwsError> {
    for (_, destination) in destinations(Some(config)) {
        let Some(destination) = destination.filter(|text| !text.is_empty()) else { continue };
        let rest = destination.strip_prefix(function_arn);
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':')) {
            return Err(invalid("You can't specify the function as a destination for itself."));
        }
        let service = destination.split(':').nth(2).unwrap_or_default();
        if !DESTINATIONS.contains(&service) {
            let told = |name: &str, to: &Option<Destination>| match to {
                Some(to) => {
                    let arn = to.destination.as_deref().unwrap_or("null");
                    format!("{name}(destination={arn})")
                }
                None => "null".to_owned(),
            };
            return Err(invalid(format!(
                "The provided destination config DestinationConfig(onSuccess={}, onFailure={}) is \
                 invalid.",
                told("OnSuccess", &config.on_success),
                told("OnFailure", &config.on_failure)
            )));
        }
    }
    Ok(())
}

/// AWS's services that are not here: failed events that are meant for them become dead letters, and
/// for successful ones there is no place.
fn check_supported(
    config: &DestinationConfig,
    context: &Context<'_>,
    has_webhook: bool,
) -> Result<(), AwsError> {
    for (field, arn) in destinations(Some(config)) {
        let Some(arn) = arn.filter(|arn| !arn.is_empty()) else { continue };
        let service = arn.split(':').nth(2).unwrap_or_default();
        let ours = matches!(service, "file" | "http");
        use asynchronous::Destination as To;
        match To::of(arn, context.place.account_id) {
            To::Carried(Carrier::Webhook) if !has_webhook => {
                return Err(invalid(format!(
                    "The destination {WEBHOOK_ARN} needs asynchronous.webhook_url in the \
                     configuration of this service."
                )));
            }
            To::Elsewhere if ours || field == "onSuccess" => {
                return Err(invalid(format!(
                    "The destination {arn} is not supported by this service. Use a function of \
                     account {}, {LETTERS_ARN} or {WEBHOOK_ARN}.",
                    context.place.account_id
                )));
            }
            To::Elsewhere => {
                log::warn!("{arn} is not here: what should go there becomes dead letters");
            }
            _ => {}
        }
    }
    Ok(())
}

fn answer(name: &str, key: &str, config: &EventInvoke, context: &Context<'_>) -> Config {
    let to = |arn: &Option<String>| Some(Destination { destination: arn.clone() });
    #[expect(clippy::cast_precision_loss, reason = "milliseconds fit until the year 287396")]
    let millis = config.modified_ms as f64;
    Config {
        last_modified: millis / 1_000.0,
        function_arn: common::qualified_arn(name, key, context),
        maximum_retry_attempts: config.max_retries,
        maximum_event_age_in_seconds: config.max_age_s,
        destination_config: DestinationConfig {
            on_success: to(&config.on_success),
            on_failure: to(&config.on_failure),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::model::Architecture;
    use crate::function::name::Place;

    const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:f";

    fn refused(to: &str) -> Option<String> {
        let to = Some(Destination { destination: Some(to.to_owned()) });
        let config = DestinationConfig { on_success: to, on_failure: None };
        check_destinations(&config, ARN).err().map(|error| error.message.clone())
    }

    #[test]
    fn destinations_are_of_a_kind_that_can_take_a_record() {
        assert_eq!(refused("arn:aws:sqs:us-east-1:123456789012:q"), None);
        assert_eq!(refused(&format!("{ARN}-2")), None);
        let itself = "You can't specify the function as a destination for itself.";
        assert_eq!(refused(ARN).as_deref(), Some(itself));
        assert_eq!(refused(&format!("{ARN}:live")).as_deref(), Some(itself));
        assert_eq!(
            refused("arn:aws:iam:us-east-1:123456789012:function:f").as_deref(),
            Some(
                "The provided destination config DestinationConfig(onSuccess=OnSuccess(destination=\
                 arn:aws:iam:us-east-1:123456789012:function:f), onFailure=null) is invalid."
            )
        );
    }

    #[test]
    fn destinations_are_here_or_become_dead_letters() {
        let context = Context {
            place: Place { region: "us-east-1", account_id: "123456789012" },
            architecture: Architecture::X86_64,
            max_memory_mb: 256,
            now: std::time::SystemTime::UNIX_EPOCH,
            host: None,
            format_time: crate::observe::time::last_modified,
        };
        let refused = |success: &str, failure: &str, has_webhook| {
            let to = |arn: &str| Some(Destination { destination: Some(arn.to_owned()) });
            let config = DestinationConfig { on_success: to(success), on_failure: to(failure) };
            check_supported(&config, &context, has_webhook).err().map(|error| error.message.clone())
        };
        let sqs = "arn:aws:sqs:us-east-1:123456789012:q";
        assert_eq!(refused(ARN, sqs, false), None);
        assert_eq!(refused("", "arn:aws:lambda:us-east-1:1:function:f", false), None);
        assert_eq!(refused(LETTERS_ARN, WEBHOOK_ARN, true), None);
        let message = refused(sqs, "", true).unwrap();
        assert!(message.contains(sqs) && message.contains("not supported"), "{message}");
        assert!(refused("", "arn:aws:file:::other", true).is_some());
        assert!(refused("", WEBHOOK_ARN, false).unwrap().contains("webhook_url"));
    }

    #[test]
    fn limits_are_the_models() {
        let refused = |body: &str| check(&serde_json::from_str(body).unwrap()).is_err();
        for body in [
            r#"{"MaximumRetryAttempts":3}"#,
            r#"{"MaximumEventAgeInSeconds":59}"#,
            r#"{"DestinationConfig":{"OnFailure":{"Destination":"q"}}}"#,
        ] {
            assert!(refused(body), "{body}");
        }
        for body in [
            r#"{"MaximumRetryAttempts":0,"MaximumEventAgeInSeconds":60}"#,
            r#"{"DestinationConfig":{"OnFailure":{"Destination":""}}}"#,
        ] {
            assert!(!refused(body), "{body}");
        }
    }
}
