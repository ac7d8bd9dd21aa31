//! The code signing configuration of a function: there is none, and none can be made here.
//!
//! Tools ask for it at each deployment (Terraform does), so the answers are AWS's for a function
//! without one. Signatures are not checked by this service. What an ARN of one looks like is said here, for
//! CreateFunction, too.

use std::sync::Arc;

use serde::Deserialize;

use super::common::{self, SETTINGS_BYTES, body, check_exists, is_account};
use super::{Answer, Call, Operation};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::functions;
use crate::api::rules::{length, matching};
use crate::function::name::{is_partition, is_region};
use crate::function::violation::Violations;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "PutFunctionCodeSigningConfig",
        method: "PUT",
        path: "/2020-06-30/functions/{}/code-signing-config",
        max_body_bytes: SETTINGS_BYTES,
        run: put,
    },
    Operation {
        name: "GetFunctionCodeSigningConfig",
        method: "GET",
        path: "/2020-06-30/functions/{}/code-signing-config",
        max_body_bytes: 0,
        run: get,
    },
    Operation {
        name: "DeleteFunctionCodeSigningConfig",
        method: "DELETE",
        path: "/2020-06-30/functions/{}/code-signing-config",
        max_body_bytes: 0,
        run: delete,
    },
];

const ARN_PATTERN: &str = r"arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:code-signing-config:csc-[a-z0-9]{17}";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PutRequest {
    code_signing_config_arn: Option<String>,
}

pub(in crate::api) fn check_code_signing_arn(arn: Option<&str>, found: &mut Violations) {
    let field = "codeSigningConfigArn";
    length(found, field, arn, 0, 200);
    matching(found, field, arn, ARN_PATTERN, |arn| {
        let parts: Vec<&str> = arn.split(':').collect();
        let &["arn", partition, "lambda", region, account, "code-signing-config", id] =
            parts.as_slice()
        else {
            return false;
        };
        is_partition(partition)
            && is_region(region)
            && is_account(account)
            && id.strip_prefix("csc-").is_some_and(|id| {
                id.len() == 17 && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            })
    });
}

fn check_function(api: &Api, call: &Call) -> Result<(), AwsError> {
    let context = call.context(api);
    check_exists(api, &functions::resolve(call.value(0), None, &context)?, &context)
}

fn put(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let request: PutRequest = body(call)?;
    let Some(arn) = request.code_signing_config_arn else {
        return Err(common::null("codeSigningConfigArn"));
    };
    let mut found = Violations::default();
    check_code_signing_arn(Some(&arn), &mut found);
    common::check(found)?;
    check_function(api, call)?;
    Err(AwsError::new(
        404,
        "CodeSigningConfigNotFoundException",
        format!(
            "The code signing configuration cannot be found. Check that the provided \
             configuration is not deleted: {arn}."
        ),
    ))
}

fn get(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    check_function(api, call)?;
    Ok(Answer::json(200, "{}".to_owned()))
}

fn delete(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    check_function(api, call)?;
    Ok(Answer::empty(204))
}
