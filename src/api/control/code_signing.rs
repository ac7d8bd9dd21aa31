//! The code signing configuration of a function: there is none, and none can be made here.
//!
//! Tools ask for it at each deployment (Terraform does), so the answers are AWS's for a function
//! without one. Signatures are not checked by this service.

use std::sync::Arc;

use serde::Deserialize;

use super::common::{self, SETTINGS_BYTES, body, check_exists};
use super::{Answer, Call, Operation};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::functions;

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

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PutRequest {
    code_signing_config_arn: Option<String>,
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
