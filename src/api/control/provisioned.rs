//! Put/Get/Delete/ListProvisionedConcurrencyConfig(s): kept and returned, not acted on yet.
//!
//! So nothing is allocated, and the status says so: a tool that waits for READY fails at once with
//! the reason, and does not wait for ever.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::common::{self, SETTINGS_BYTES, body, json, millis, time_of};
use super::concurrency::unreserved_minimum;
use super::{Answer, Call, Operation};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::functions::{self, Context, invalid};
use crate::function::error::FunctionError;
use crate::function::name::{FunctionRef, Qualifier};
use crate::function::settings::{Provisioned, qualifier_key};
use crate::function::violation::{Violation, least};
use crate::observe::time::last_modified;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "PutProvisionedConcurrencyConfig",
        method: "PUT",
        path: "/2019-09-30/functions/{}/provisioned-concurrency",
        max_body_bytes: SETTINGS_BYTES,
        run: put,
    },
    // ListProvisionedConcurrencyConfigs has the same path, with `List=ALL` in the query.
    Operation {
        name: "GetProvisionedConcurrencyConfig",
        method: "GET",
        path: "/2019-09-30/functions/{}/provisioned-concurrency",
        max_body_bytes: 0,
        run: get_or_list,
    },
    Operation {
        name: "DeleteProvisionedConcurrencyConfig",
        method: "DELETE",
        path: "/2019-09-30/functions/{}/provisioned-concurrency",
        max_body_bytes: 0,
        run: delete,
    },
];

const REASON: &str = "This version of the service keeps the configuration, and does not keep \
                      execution environments ready yet.";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PutRequest {
    provisioned_concurrent_executions: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(skip_serializing_if = "Option::is_none")]
    function_arn: Option<String>,
    requested_provisioned_concurrent_executions: u32,
    available_provisioned_concurrent_executions: u32,
    allocated_provisioned_concurrent_executions: u32,
    status: &'static str,
    status_reason: &'static str,
    last_modified: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Configs<'a> {
    provisioned_concurrency_configs: Vec<Config>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<&'a str>,
}

fn config(of: &Provisioned) -> Config {
    Config {
        function_arn: None,
        requested_provisioned_concurrent_executions: of.requested,
        available_provisioned_concurrent_executions: 0,
        allocated_provisioned_concurrent_executions: 0,
        status: "FAILED",
        status_reason: REASON,
        last_modified: last_modified(time_of(of.modified_ms)),
    }
}

fn put(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let request: PutRequest = body(call)?;
    let Some(requested) = request.provisioned_concurrent_executions else {
        return Err(common::null("provisionedConcurrentExecutions"));
    };
    if requested < 1 {
        let found = Violation::new("provisionedConcurrentExecutions", requested, least(1));
        return Err(FunctionError::Invalid(found.into()).into());
    }
    let context = call.context(api);
    let unpublished = "Provisioned Concurrency Configs cannot be applied to unpublished function \
                       versions.";
    let reference = version_or_alias(call, &context, unpublished)?;
    common::check_exists(api, &reference, &context)?;
    let key = qualifier_key(reference.qualifier.as_ref());
    let requested = check_room(api, &reference, &key, requested, &context)?;
    let provisioned = Provisioned { requested, modified_ms: millis(context.now) };
    api.registry.change_settings(&call.region, &reference, |settings| {
        settings.provisioned.insert(key, provisioned.clone());
        Ok::<(), AwsError>(())
    })?;
    json(202, &config(&provisioned))
}

/// Provisioned concurrency comes out of the function's reservation, else out of what nobody has
/// reserved.
fn check_room(
    api: &Api,
    reference: &FunctionRef,
    key: &str,
    requested: i64,
    context: &Context<'_>,
) -> Result<u32, AwsError> {
    let settings = api.registry.settings(context.place.region, &reference.name)?;
    if let Some(reserved) = settings.reserved_concurrency {
        let others = settings.provisioned.iter().filter(|(other, _)| *other != key);
        let others: i64 = others.map(|(_, one)| i64::from(one.requested)).sum();
        if others.saturating_add(requested) > i64::from(reserved) {
            return Err(invalid(
                "Requested Provisioned Concurrency should not be greater than the \
                 reservedConcurrentExecution for function",
            ));
        }
    } else {
        let limit = api.dispatcher.limit();
        let reservations = api.registry.reservations()?;
        let reserved = reservations.iter().fold(0u32, |sum, (_, one)| sum.saturating_add(*one));
        let unreserved = i64::from(limit.saturating_sub(reserved));
        if requested > unreserved {
            return Err(invalid(format!(
                "Specified ConcurrentExecutions for function is greater than account's unreserved \
                 concurrency [{unreserved}]."
            )));
        }
        let minimum = unreserved_minimum(limit);
        if unreserved - requested < i64::from(minimum) {
            return Err(invalid(format!(
                "Specified ConcurrentExecutions for function decreases account's \
                 UnreservedConcurrentExecution below its minimum value of [{minimum}]."
            )));
        }
    }
    u32::try_from(requested).map_err(AwsError::service)
}

fn get_or_list(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    if call.query("List").as_deref() == Some("ALL") {
        return list(api, call);
    }
    let context = call.context(api);
    let reference = version_or_alias(call, &context, NO_VERSION)?;
    common::check_exists(api, &reference, &context)?;
    let settings = api.registry.settings(&call.region, &reference.name)?;
    let key = qualifier_key(reference.qualifier.as_ref());
    let Some(found) = settings.provisioned.get(&key) else {
        return Err(AwsError::new(
            404,
            "ProvisionedConcurrencyConfigNotFoundException",
            "No Provisioned Concurrency Config found for this function",
        ));
    };
    json(200, &config(found))
}

const NO_VERSION: &str = "The function resource provided must be an alias or a published version.";

fn delete(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let context = call.context(api);
    let reference = version_or_alias(call, &context, NO_VERSION)?;
    common::check_exists(api, &reference, &context)?;
    let key = qualifier_key(reference.qualifier.as_ref());
    api.registry.change_settings(&call.region, &reference, |settings| {
        settings.provisioned.remove(&key);
        Ok::<(), AwsError>(())
    })?;
    Ok(Answer::empty(204))
}

fn list(api: &Api, call: &Call) -> Result<Answer, AwsError> {
    let context = call.context(api);
    let mut reference = functions::resolve(call.value(0), None, &context)?;
    reference.qualifier = None;
    common::check_exists(api, &reference, &context)?;
    let settings = api.registry.settings(&call.region, &reference.name)?;
    let page = common::page(call, &settings.provisioned)?;
    let configs = page.items.iter().map(|(key, one)| Config {
        function_arn: Some(common::qualified_arn(&reference.name, key, &context)),
        ..config(one)
    });
    let provisioned_concurrency_configs = configs.collect();
    json(200, &Configs { provisioned_concurrency_configs, next_marker: page.next_marker })
}

/// What can have provisioned concurrency; `otherwise` is the error for anything else.
fn version_or_alias(
    call: &Call,
    context: &Context<'_>,
    otherwise: &str,
) -> Result<FunctionRef, AwsError> {
    let qualifier = call.query("Qualifier").ok_or_else(|| common::null("qualifier"))?;
    let reference = functions::resolve(call.value(0), Some(&qualifier), context)?;
    match reference.qualifier {
        Some(Qualifier::Version(_) | Qualifier::Alias(_)) => Ok(reference),
        _ => Err(invalid(otherwise)),
    }
}
