//! Put/Get/Delete/ListProvisionedConcurrencyConfig(s): kept, and told to dispatch, which keeps that
//! many sandboxes of the version ready.
//!
//! The figures and the status of an answer are dispatch's own of that moment.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::common::{self, SETTINGS_BYTES, body, json, millis, time_of};
use super::concurrency::unreserved_minimum;
use super::{Answer, Call, Operation};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::functions::{self, Context, invalid};
use crate::function::error::FunctionError;
use crate::function::model::Function;
use crate::function::name::{FunctionRef, Place, Qualifier};
use crate::function::settings::{Provisioned, Settings, qualifier_key};
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
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<String>,
    last_modified: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Configs<'a> {
    provisioned_concurrency_configs: Vec<Config>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<&'a str>,
}

fn config(api: &Api, region: &str, name: &str, qualifier: &str, of: &Provisioned) -> Config {
    let version = version_of(api, region, name, qualifier);
    let view = version.and_then(|version| api.dispatcher.provisioned(&version.key()));
    let view = view.unwrap_or_default();
    let (status, status_reason) = match view.trouble {
        _ if view.available >= of.requested => ("READY", None),
        Some(trouble) => ("FAILED", Some(trouble)),
        None => ("IN_PROGRESS", None),
    };
    Config {
        function_arn: None,
        requested_provisioned_concurrent_executions: of.requested,
        available_provisioned_concurrent_executions: view.available.min(of.requested),
        allocated_provisioned_concurrent_executions: view.allocated.min(of.requested),
        status,
        status_reason,
        last_modified: last_modified(time_of(of.modified_ms)),
    }
}

/// The version that a qualifier means now.
fn version_of(api: &Api, region: &str, name: &str, qualifier: &str) -> Option<Arc<Function>> {
    let version = match api.registry.alias(region, name, qualifier) {
        Ok(alias) => alias.version.clone(),
        Err(_) => qualifier.to_owned(),
    };
    let qualifier = Some(Qualifier::Version(version));
    api.registry.get(region, &FunctionRef { name: name.to_owned(), qualifier }).ok()
}

/// Tells dispatch what each version of a function is promised now; of two changes the later one is
/// told last.
pub(super) fn tell_dispatch(api: &Api, region: &str, name: &str) -> Result<(), AwsError> {
    api.registry.with_settings(region, name, |settings| {
        let mut promised: HashMap<String, u32> = HashMap::new();
        for (qualifier, provisioned) in &settings.provisioned {
            if let Some(version) = version_of(api, region, name, qualifier) {
                *promised.entry(version.version.clone()).or_default() += provisioned.requested;
            }
        }
        let place = Place { region, account_id: &api.settings.account_id };
        for version in api.registry.versions(region, name, None, usize::MAX)?.items {
            let count = promised.get(&version.version).copied().unwrap_or(0);
            match api.targets.of(&version, place) {
                Some(target) => api.dispatcher.provision(&target, count),
                None if count > 0 => {
                    log::warn!("{} cannot run, so nothing is provisioned", version.key());
                }
                None => {}
            }
        }
        Ok(())
    })?
}

/// Tells dispatch of every promise, when the service has started.
pub(in crate::api) fn keep_promises(api: &Api) -> Result<(), AwsError> {
    for promise in api.registry.promises()?.iter().filter(|promise| promise.provisioned > 0) {
        if let Some((region, name)) = promise.function.split_once('/') {
            tell_dispatch(api, region, name)?;
        }
    }
    Ok(())
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
    let reference = version_or_alias(call, &context, UNPUBLISHED)?;
    common::check_exists(api, &reference, &context)?;
    let key = qualifier_key(reference.qualifier.as_ref());
    let limit = api.dispatcher.limit();
    let provisioned =
        api.registry.change_promise(&call.region, &reference, |settings, others| {
            check_version(api, &reference, &key, settings, &context)?;
            let requested = check_room(limit, &key, requested, settings, others)?;
            let provisioned = Provisioned { requested, modified_ms: millis(context.now) };
            settings.provisioned.insert(key.clone(), provisioned.clone());
            Ok::<_, AwsError>(provisioned)
        })?;
    tell_dispatch(api, &call.region, &reference.name)?;
    json(202, &config(api, &call.region, &reference.name, &key, &provisioned))
}

/// As on AWS, a version that can run has it by itself or through one alias, which routes to no
/// other.
fn check_version(
    api: &Api,
    reference: &FunctionRef,
    key: &str,
    settings: &Settings,
    context: &Context<'_>,
) -> Result<(), AwsError> {
    let (region, name) = (context.place.region, reference.name.as_str());
    if api.registry.alias(region, name, key).is_ok_and(|alias| alias.additional.is_some()) {
        return Err(invalid("Alias with weights can not be used with Provisioned Concurrency"));
    }
    let Some(version) = version_of(api, region, name, key).filter(|found| !found.is_latest())
    else {
        return Err(invalid(UNPUBLISHED));
    };
    // Nothing can be kept ready of a version whose image is not there yet, or never will be.
    if version.invocable().is_none() {
        return Err(FunctionError::NotReady { state: version.state.name() }.into());
    }
    let mut others = settings.provisioned.keys().filter(|other| *other != key);
    let same = |other: &String| {
        version_of(api, region, name, other).is_some_and(|other| other.version == version.version)
    };
    match others.any(same) {
        true => Err(invalid(
            "Alias can not be used for Provisioned Concurrency configuration on an already \
             provisioned version",
        )),
        false => Ok(()),
    }
}

/// Provisioned concurrency comes out of the function's reservation, else out of what `others` leave.
fn check_room(
    limit: u32,
    key: &str,
    requested: i64,
    settings: &Settings,
    others: u32,
) -> Result<u32, AwsError> {
    let own = settings.provisioned.iter().filter(|(other, _)| *other != key);
    let own = own.fold(0u32, |sum, (_, one)| sum.saturating_add(one.requested));
    if let Some(reserved) = settings.reserved_concurrency {
        if i64::from(own).saturating_add(requested) > i64::from(reserved) {
            return Err(invalid(
                "Requested Provisioned Concurrency should not be greater than the \
                 reservedConcurrentExecution for function",
            ));
        }
    } else {
        let unreserved = i64::from(limit.saturating_sub(others).saturating_sub(own));
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
    json(200, &config(api, &call.region, &reference.name, &key, found))
}

const UNPUBLISHED: &str =
    "Provisioned Concurrency Configs cannot be applied to unpublished function versions.";
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
    tell_dispatch(api, &call.region, &reference.name)?;
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
        ..config(api, &call.region, &reference.name, key, one)
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
