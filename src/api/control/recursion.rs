//! PutFunctionRecursionConfig and GetFunctionRecursionConfig. `asynchronous::lineage` says what a
//! loop is.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::common::{self, SETTINGS_BYTES, body, json};
use super::{Answer, Call, Operation};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::functions;
use crate::api::rules::member;
use crate::function::error::FunctionError;
use crate::function::name::FunctionRef;
use crate::function::violation::{Violation, Violations, pattern};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "PutFunctionRecursionConfig",
        method: "PUT",
        path: "/2024-08-31/functions/{}/recursion-config",
        max_body_bytes: SETTINGS_BYTES,
        run: put,
    },
    Operation {
        name: "GetFunctionRecursionConfig",
        method: "GET",
        path: "/2024-08-31/functions/{}/recursion-config",
        max_body_bytes: 0,
        run: get,
    },
];

const UNQUALIFIED_PATTERN: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)";

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct RecursionConfig {
    recursive_loop: Option<String>,
}

impl RecursionConfig {
    fn new(allowed: bool) -> RecursionConfig {
        let word = if allowed { "Allow" } else { "Terminate" };
        RecursionConfig { recursive_loop: Some(word.to_owned()) }
    }
}

fn put(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let request: RecursionConfig = body(call)?;
    let Some(wanted) = request.recursive_loop else {
        return Err(common::null("recursiveLoop"));
    };
    let mut found = Violations::default();
    // In the order in which AWS lists them.
    member(&mut found, "recursiveLoop", Some(&wanted), &["Terminate", "Allow"]);
    common::check(found)?;
    let reference = unqualified(api, call)?;
    let allowed = wanted == "Allow";
    api.registry.change_settings(&call.region, &reference, |settings| {
        settings.recursion_allowed = allowed;
        Ok::<(), AwsError>(())
    })?;
    json(200, &RecursionConfig::new(allowed))
}

fn get(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let reference = unqualified(api, call)?;
    common::check_exists(api, &reference, &call.context(api))?;
    let settings = api.registry.settings(&call.region, &reference.name)?;
    json(200, &RecursionConfig::new(settings.recursion_allowed))
}

fn unqualified(api: &Api, call: &Call) -> Result<FunctionRef, AwsError> {
    let reference = functions::resolve(call.value(0), None, &call.context(api))?;
    if reference.qualifier.is_some() {
        let found = Violation::new("functionName", call.value(0), pattern(UNQUALIFIED_PATTERN));
        return Err(FunctionError::Invalid(found.into()).into());
    }
    Ok(reference)
}
