//! PutRuntimeManagementConfig and GetRuntimeManagementConfig: kept and returned.
//!
//! Nothing updates a runtime behind the operator's back here: the images that `[runtimes]` names
//! are the runtimes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::common::{self, SETTINGS_BYTES, body, json};
use super::{Answer, Call, Operation};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::functions::{Context, invalid};
use crate::api::rules::{length, matching, member};
use crate::function::name::{FunctionRef, Qualifier};
use crate::function::settings::{RuntimeManagement, qualifier_key};
use crate::function::violation::Violations;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "PutRuntimeManagementConfig",
        method: "PUT",
        path: "/2021-07-20/functions/{}/runtime-management-config",
        max_body_bytes: SETTINGS_BYTES,
        run: put,
    },
    Operation {
        name: "GetRuntimeManagementConfig",
        method: "GET",
        path: "/2021-07-20/functions/{}/runtime-management-config",
        max_body_bytes: 0,
        run: get,
    },
];

const MODES: [&str; 3] = ["Auto", "Manual", "FunctionUpdate"];
const RUNTIME_ARN_PATTERN: &str = r"((arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}::runtime:.+)|(arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:runtime/[A-Za-z0-9_.-]{1,128}/version/[A-Za-z0-9_.-]{1,128}))";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PutRequest {
    update_runtime_on: Option<String>,
    runtime_version_arn: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Config<'a> {
    update_runtime_on: &'a str,
    function_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime_version_arn: Option<&'a str>,
}

fn put(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let request: PutRequest = body(call)?;
    let Some(update_on) = request.update_runtime_on else {
        return Err(common::null("updateRuntimeOn"));
    };
    let arn = request.runtime_version_arn;
    let mut found = Violations::default();
    member(&mut found, "updateRuntimeOn", Some(&update_on), &MODES);
    length(&mut found, "runtimeVersionArn", arn.as_deref(), 26, 2_048);
    matching(&mut found, "runtimeVersionArn", arn.as_deref(), RUNTIME_ARN_PATTERN, |arn| {
        common::is_arn(arn) && arn.contains(":lambda:") && arn.contains(":runtime")
    });
    common::check(found)?;
    if arn.is_some() != (update_on == "Manual") {
        return Err(invalid(
            "RuntimeVersionArn goes together with UpdateRuntimeOn Manual, and with it only.",
        ));
    }
    let context = call.context(api);
    let reference = version(api, call, &context)?;
    let config = RuntimeManagement { update_on, version_arn: arn };
    let key = qualifier_key(reference.qualifier.as_ref());
    api.registry.change_settings(&call.region, &reference, |settings| {
        settings.runtime_management.insert(key.clone(), config.clone());
        Ok::<(), AwsError>(())
    })?;
    json(200, &answer(&reference.name, &key, Some(&config), &context))
}

fn get(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let context = call.context(api);
    let reference = version(api, call, &context)?;
    let key = qualifier_key(reference.qualifier.as_ref());
    let settings = api.registry.settings(&call.region, &reference.name)?;
    let config = settings.runtime_management.get(&key);
    json(200, &answer(&reference.name, &key, config, &context))
}

/// The version that the request means: a runtime is a version's and no alias's.
fn version(api: &Api, call: &Call, context: &Context<'_>) -> Result<FunctionRef, AwsError> {
    let reference = common::reference(call, context)?;
    if matches!(reference.qualifier, Some(Qualifier::Alias(_))) {
        return Err(invalid("A runtime is that of $LATEST or of a published version."));
    }
    common::check_exists(api, &reference, context)?;
    Ok(reference)
}

fn answer<'a>(
    name: &str,
    qualifier: &str,
    config: Option<&'a RuntimeManagement>,
    context: &Context<'_>,
) -> Config<'a> {
    Config {
        update_runtime_on: config.map_or("Auto", |config| config.update_on.as_str()),
        function_arn: common::qualified_arn(name, qualifier, context),
        runtime_version_arn: config.and_then(|config| config.version_arn.as_deref()),
    }
}
