//! AddLayerVersionPermission, RemoveLayerVersionPermission, GetLayerVersionPolicy: who else may use a
//! layer version.
//!
//! Kept and returned as AWS builds it. This service holds one account, whose functions may use all
//! of its layers, so a policy opens nothing here.

use std::sync::Arc;

use super::common::{SETTINGS_BYTES, body, is_account, not_found};
use super::layers::{layer_name, version};
use super::policy::{self, AddRequest, LAYER_POLICY};
use super::{Answer, Call, Operation};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::rules::{length, matching};
use crate::function::layers;
use crate::function::name::is_partition;
use crate::function::settings::Policy;
use crate::function::violation::Violations;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "AddLayerVersionPermission",
        method: "POST",
        path: "/2018-10-31/layers/{}/versions/{}/policy",
        max_body_bytes: SETTINGS_BYTES,
        run: add,
    },
    Operation {
        name: "GetLayerVersionPolicy",
        method: "GET",
        path: "/2018-10-31/layers/{}/versions/{}/policy",
        max_body_bytes: 0,
        run: get,
    },
    Operation {
        name: "RemoveLayerVersionPermission",
        method: "DELETE",
        path: "/2018-10-31/layers/{}/versions/{}/policy/{}",
        max_body_bytes: 0,
        run: remove,
    },
];

/// The one thing that others can be allowed.
const ACTION: &str = "lambda:GetLayerVersion";
const PRINCIPAL_PATTERN: &str = r"\d{12}|\*|arn:(aws[a-zA-Z-]*):iam::\d{12}:root";

/// The version that a path names.
struct Named<'a> {
    layer: &'a str,
    version: u64,
    arn: String,
}

impl<'a> Named<'a> {
    /// `found` is what else is wrong with the request.
    fn of(api: &Api, call: &'a Call, found: Violations) -> Result<Named<'a>, AwsError> {
        let context = call.context(api);
        let layer = layer_name(call, &context, found)?;
        let version = version(call)?;
        let arn = format!("{}:{version}", layers::arn(context.place, layer));
        Ok(Named { layer, version, arn })
    }

    fn missing(&self) -> AwsError {
        not_found(format!("Layer version {} does not exist.", self.arn))
    }

    /// Changes the policy by what the last one was, in one transaction.
    fn change(
        &self,
        api: &Api,
        call: &Call,
        change: impl FnOnce(Option<&Policy>) -> Result<Option<Policy>, AwsError>,
    ) -> Result<Option<Policy>, AwsError> {
        let key = (call.region.as_str(), self.layer, self.version);
        api.registry.change_layer_policy(key, change)?.ok_or_else(|| self.missing())
    }
}

fn add(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let request: AddRequest = body(call)?;
    let mut found = Violations::default();
    check(&request, &mut found);
    let named = Named::of(api, call, found)?;
    // Not in the body, as it is for a function.
    let seen = call.query("RevisionId");
    let statement = policy::statement(request, named.arn.clone())?;
    let told = serde_json::to_string(&statement).map_err(AwsError::service)?;
    let policy = named.change(api, call, |earlier| {
        policy::with_statement(earlier, statement, seen.as_deref(), LAYER_POLICY).map(Some)
    })?;
    let revision = policy.map(|policy| policy.revision_id);
    let answer = serde_json::json!({ "Statement": told, "RevisionId": revision });
    Ok(Answer::json(201, answer.to_string()))
}

fn get(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let named = Named::of(api, call, Violations::default())?;
    let layer = api.registry.layer_version(&call.region, named.layer, named.version)?;
    let policy = layer.ok_or_else(|| named.missing())?.policy.ok_or_else(policy::no_policy)?;
    Ok(Answer::json(200, policy::answer(&policy)?))
}

fn remove(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let (sid, seen) = (call.value(2), call.query("RevisionId"));
    let mut found = Violations::default();
    policy::check_statement_id(&mut found, Some(sid), "([a-zA-Z0-9-_]+)", b"-_");
    let named = Named::of(api, call, found)?;
    named.change(api, call, |earlier| {
        let earlier = earlier.ok_or_else(policy::no_policy)?;
        policy::without_statement(earlier, sid, seen.as_deref(), LAYER_POLICY)
    })?;
    Ok(Answer::empty(204))
}

fn check(request: &AddRequest, found: &mut Violations) {
    policy::check_required(request, found);
    let action = request.action.as_deref();
    length(found, "action", action, 0, ACTION.len());
    matching(found, "action", action, ACTION, |action| action == ACTION);
    matching(found, "principal", request.principal.as_deref(), PRINCIPAL_PATTERN, is_principal);
    policy::check_organization(found, "organizationId", request.organization_id.as_deref());
}

/// [`PRINCIPAL_PATTERN`], by hand.
fn is_principal(text: &str) -> bool {
    let root = || {
        let (partition, rest) = text.strip_prefix("arn:")?.split_once(':')?;
        let account = rest.strip_prefix("iam::")?.strip_suffix(":root")?;
        Some(!partition.is_empty() && is_partition(partition) && is_account(account))
    };
    text == "*" || is_account(text) || root().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::control::common;

    fn told(body: &str) -> String {
        let mut found = Violations::default();
        check(&serde_json::from_str(body).unwrap(), &mut found);
        common::check(found).err().map_or_else(String::new, |error| error.message.clone())
    }

    #[test]
    fn only_the_one_action_and_accounts_can_be_allowed() {
        let request = |action: &str, principal: &str| {
            format!(r#"{{"StatementId":"s","Action":"{action}","Principal":"{principal}"}}"#)
        };
        for good in ["*", "123456789012", "arn:aws-cn:iam::123456789012:root"] {
            assert_eq!(told(&request(ACTION, good)), "", "{good}");
        }
        assert_eq!(
            told(&request("*", "*")),
            "1 validation error detected: Value '*' at 'action' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: lambda:GetLayerVersion"
        );
        for bad in
            ["12", "s3.amazonaws.com", "arn:aws:iam::123456789012:user/u", "arn::iam::1:root"]
        {
            assert!(told(&request(ACTION, bad)).contains("'principal'"), "{bad}");
        }
        assert!(
            told("{}").starts_with("3 validation errors detected: Value null at 'statementId'")
        );
        let organization = r#"{"StatementId":"s","Action":"lambda:GetLayerVersion","Principal":"*",
            "OrganizationId":"o-short"}"#;
        assert!(told(organization).contains("'organizationId'"));
    }
}
