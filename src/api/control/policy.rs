//! AddPermission, RemovePermission, GetPolicy: a function's resource policy.
//!
//! Kept and returned as AWS builds it; each version and alias has one of its own. Who may call this
//! service is `access`' affair: a policy opens nothing here. How a policy grows and shrinks is the
//! same for layers, whose operations are in `layer_policy`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::common::{self, ARN_PATTERN, SETTINGS_BYTES, body, is_account, is_arn, not_found};
use super::{Answer, Call, Operation};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::functions::invalid;
use crate::api::rules::{length, matching, member};
use crate::function::name::Qualifier;
use crate::function::settings::{Policy, Principal, Statement, qualifier_key};
use crate::function::violation::{Violation, Violations};
use crate::random;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "AddPermission",
        method: "POST",
        path: "/2015-03-31/functions/{}/policy",
        max_body_bytes: SETTINGS_BYTES,
        run: add,
    },
    Operation {
        name: "GetPolicy",
        method: "GET",
        path: "/2015-03-31/functions/{}/policy",
        max_body_bytes: 0,
        run: get,
    },
    Operation {
        name: "RemovePermission",
        method: "DELETE",
        path: "/2015-03-31/functions/{}/policy/{}",
        max_body_bytes: 0,
        run: remove,
    },
];

/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>, "Resource-based
/// policy".
const POLICY_BYTES: usize = 20_480;

const ACTION_PATTERN: &str = "(lambda:[*]|lambda:[a-zA-Z]+|[*])";
const TOKEN_PATTERN: &str = r"[a-zA-Z0-9._\-]+";

/// AddPermission, and AddLayerVersionPermission with its `OrganizationId`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct AddRequest {
    pub(super) statement_id: Option<String>,
    pub(super) action: Option<String>,
    pub(super) principal: Option<String>,
    source_arn: Option<String>,
    function_url_auth_type: Option<String>,
    invoked_via_function_url: Option<bool>,
    source_account: Option<String>,
    event_source_token: Option<String>,
    revision_id: Option<String>,
    #[serde(rename = "PrincipalOrgID")]
    principal_org_id: Option<String>,
    pub(super) organization_id: Option<String>,
}

/// A policy as IAM writes it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    version: &'static str,
    id: &'static str,
    statement: &'a [Statement],
}

fn document(policy: &Policy) -> Result<String, AwsError> {
    let statement = &policy.statements;
    let document = Document { version: "2012-10-17", id: "default", statement };
    serde_json::to_string(&document).map_err(AwsError::service)
}

/// The answer of the operations that read a policy.
pub(super) fn answer(policy: &Policy) -> Result<String, AwsError> {
    let answer = json!({ "Policy": document(policy)?, "RevisionId": policy.revision_id });
    Ok(answer.to_string())
}

/// Where a policy is read, as the message for an outdated revision names it.
pub(super) const FUNCTION_POLICY: &str = "GetPolicy";
pub(super) const LAYER_POLICY: &str = "GetLayerPolicy";

/// The policy with one more statement, for a caller who has seen this revision.
pub(super) fn with_statement(
    policy: Option<&Policy>,
    statement: Statement,
    seen: Option<&str>,
    read_by: &str,
) -> Result<Policy, AwsError> {
    check_revision(policy, seen, read_by)?;
    let mut statements = policy.map(|policy| policy.statements.clone()).unwrap_or_default();
    if statements.iter().any(|earlier| earlier.sid == statement.sid) {
        return Err(AwsError::new(
            409,
            "ResourceConflictException",
            format!(
                "The statement id ({}) provided already exists. Please provide a new statement \
                 id, or remove the existing statement.",
                statement.sid
            ),
        ));
    }
    statements.push(statement);
    let policy = Policy { revision_id: random::uuid().to_string(), statements };
    let size = document(&policy)?.len();
    if size > POLICY_BYTES {
        return Err(AwsError::new(
            400,
            "PolicyLengthExceededException",
            format!("The final policy size ({size}) is bigger than the limit ({POLICY_BYTES})."),
        ));
    }
    Ok(policy)
}

/// The policy without a statement; `None` when none is left.
pub(super) fn without_statement(
    policy: &Policy,
    sid: &str,
    seen: Option<&str>,
    read_by: &str,
) -> Result<Option<Policy>, AwsError> {
    let mut statements = policy.statements.clone();
    statements.retain(|statement| statement.sid != sid);
    if statements.len() == policy.statements.len() {
        return Err(not_found(format!("Statement {sid} is not found in resource policy.")));
    }
    check_revision(Some(policy), seen, read_by)?;
    let revision_id = random::uuid().to_string();
    Ok((!statements.is_empty()).then_some(Policy { revision_id, statements }))
}

pub(super) fn no_policy() -> AwsError {
    not_found("No policy is associated with the given resource.")
}

fn add(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let request: AddRequest = body(call)?;
    check(&request)?;
    let context = call.context(api);
    let reference = common::reference(call, &context)?;
    if matches!(reference.qualifier, Some(Qualifier::Latest)) {
        return Err(invalid("We currently do not support adding policies for $LATEST."));
    }
    common::check_exists(api, &reference, &context)?;
    let revision_id = request.revision_id.clone();
    let statement = statement(request, common::arn(&reference, &context))?;
    let answer = serde_json::to_string(&statement).map_err(AwsError::service)?;
    let key = qualifier_key(reference.qualifier.as_ref());
    api.registry.change_settings(&call.region, &reference, |settings| {
        let policy = settings.policies.get(&key);
        let policy = with_statement(policy, statement, revision_id.as_deref(), FUNCTION_POLICY)?;
        settings.policies.insert(key, policy);
        Ok::<(), AwsError>(())
    })?;
    Ok(Answer::json(201, json!({ "Statement": answer }).to_string()))
}

fn get(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let reference = common::reference(call, &call.context(api))?;
    let settings = api.registry.settings(&call.region, &reference.name)?;
    let Some(policy) = settings.policies.get(&qualifier_key(reference.qualifier.as_ref())) else {
        return Err(not_found("The resource you requested does not exist."));
    };
    Ok(Answer::json(200, answer(policy)?))
}

fn remove(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let mut found = Violations::default();
    // Older statements may have a dot in their ids, so one can be taken away by such an id.
    check_statement_id(&mut found, Some(call.value(1)), "([a-zA-Z0-9-_.]+)", b"-_.");
    common::check(found)?;
    let context = call.context(api);
    let reference = common::reference(call, &context)?;
    if api.registry.get(&call.region, &reference).is_err() {
        let arn = common::arn(&reference, &context);
        return Err(not_found(format!("No policy found for: {arn}")));
    }
    let (sid, revision_id) = (call.value(1), call.query("RevisionId"));
    let key = qualifier_key(reference.qualifier.as_ref());
    api.registry.change_settings(&call.region, &reference, |settings| {
        let policy = settings.policies.get(&key).ok_or_else(no_policy)?;
        match without_statement(policy, sid, revision_id.as_deref(), FUNCTION_POLICY)? {
            Some(policy) => _ = settings.policies.insert(key, policy),
            None => _ = settings.policies.remove(&key),
        }
        Ok::<(), AwsError>(())
    })?;
    Ok(Answer::empty(204))
}

fn check_revision(policy: Option<&Policy>, seen: Option<&str>, by: &str) -> Result<(), AwsError> {
    let Some(seen) = seen else { return Ok(()) };
    if policy.is_some_and(|policy| policy.revision_id == seen) {
        return Ok(());
    }
    Err(AwsError::new(
        412,
        "PreconditionFailedException",
        format!(
            "The Revision Id provided does not match the latest Revision Id. Call the {by} API to \
             retrieve the latest Revision Id"
        ),
    ))
}

/// What every statement must have, in a function's policy or a layer's.
pub(super) fn check_required(request: &AddRequest, found: &mut Violations) {
    let sid = request.statement_id.as_deref();
    let (action, principal) = (&request.action, &request.principal);
    for (field, is_there) in [
        ("statementId", sid.is_some()),
        ("action", action.is_some()),
        ("principal", principal.is_some()),
    ] {
        if !is_there {
            found.push(Violation::null(field));
        }
    }
    check_statement_id(found, sid, "([a-zA-Z0-9-_]+)", b"-_");
}

/// Letters, digits and `others`, which is what the model's text says.
pub(super) fn check_statement_id(
    found: &mut Violations,
    sid: Option<&str>,
    text: &str,
    others: &[u8],
) {
    length(found, "statementId", sid, 1, 100);
    matching(found, "statementId", sid, text, |sid| {
        !sid.is_empty() && sid.bytes().all(|b| b.is_ascii_alphanumeric() || others.contains(&b))
    });
}

pub(super) fn check_organization(found: &mut Violations, field: &str, id: Option<&str>) {
    matching(found, field, id, "o-[a-z0-9]{10,32}", |text| {
        text.strip_prefix("o-").is_some_and(|id| {
            (10..=32).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        })
    });
}

fn check(request: &AddRequest) -> Result<(), AwsError> {
    let mut found = Violations::default();
    check_required(request, &mut found);
    let action = request.action.as_deref();
    let principal = request.principal.as_deref();
    length(&mut found, "action", action, 0, 10_000);
    matching(&mut found, "action", action, ACTION_PATTERN, is_action);
    length(&mut found, "principal", principal, 0, 2_048);
    matching(&mut found, "principal", principal, r"[^\s]+", |principal| {
        !principal.is_empty() && !principal.contains(char::is_whitespace)
    });
    let arn = request.source_arn.as_deref();
    length(&mut found, "sourceArn", arn, 0, 10_000);
    matching(&mut found, "sourceArn", arn, ARN_PATTERN, is_arn);
    let account = request.source_account.as_deref();
    matching(&mut found, "sourceAccount", account, r"\d{12}", is_account);
    let token = request.event_source_token.as_deref();
    length(&mut found, "eventSourceToken", token, 0, 256);
    matching(&mut found, "eventSourceToken", token, TOKEN_PATTERN, |token| {
        !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    });
    check_organization(&mut found, "principalOrgID", request.principal_org_id.as_deref());
    let auth_type = request.function_url_auth_type.as_deref();
    member(&mut found, "functionUrlAuthType", auth_type, &["NONE", "AWS_IAM"]);
    common::check(found)?;
    if auth_type.is_some() && action != Some("lambda:InvokeFunctionUrl") {
        return Err(invalid(
            "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action",
        ));
    }
    Ok(())
}

fn is_action(action: &str) -> bool {
    match action.strip_prefix("lambda:") {
        Some(name) => {
            name == "*" || !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic())
        }
        None => action == "*",
    }
}

/// The statement as AWS builds it of the request's members.
pub(super) fn statement(request: AddRequest, resource: String) -> Result<Statement, AwsError> {
    let mut condition: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let url = request.invoked_via_function_url.map(|via| via.to_string());
    for (operator, key, value) in [
        ("StringEquals", "AWS:SourceAccount", request.source_account),
        ("StringEquals", "lambda:EventSourceToken", request.event_source_token),
        ("StringEquals", "lambda:FunctionUrlAuthType", request.function_url_auth_type),
        (
            "StringEquals",
            "aws:PrincipalOrgID",
            request.principal_org_id.or(request.organization_id),
        ),
        ("ArnLike", "AWS:SourceArn", request.source_arn),
        ("Bool", "lambda:InvokedViaFunctionUrl", url),
    ] {
        if let Some(value) = value {
            condition.entry(operator.to_owned()).or_default().insert(key.to_owned(), value);
        }
    }
    let partition = resource.split(':').nth(1).unwrap_or("aws").to_owned();
    Ok(Statement {
        sid: request.statement_id.unwrap_or_default(),
        effect: "Allow".to_owned(),
        principal: principal(request.principal.unwrap_or_default(), &partition)?,
        action: request.action.unwrap_or_default(),
        resource,
        condition,
    })
}

/// `partition` is the function's own: an account number means one in it.
fn principal(text: String, partition: &str) -> Result<Principal, AwsError> {
    let named = |kind: &str, name| Principal::Named(BTreeMap::from([(kind.to_owned(), name)]));
    if text == "*" {
        Ok(Principal::Anyone(text))
    } else if is_account(&text) {
        Ok(named("AWS", format!("arn:{partition}:iam::{text}:root")))
    } else if is_arn(&text) {
        Ok(named("AWS", text))
    } else if text.contains('.') {
        Ok(named("Service", text))
    } else {
        Err(invalid(
            "The provided principal was invalid. Please check the principal and try again.",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(body: &str) -> Result<String, AwsError> {
        let request: AddRequest = serde_json::from_str(body).unwrap();
        check(&request)?;
        let statement = statement(request, "arn:aws-cn:x".to_owned())?;
        Ok(serde_json::to_string(&statement).unwrap())
    }

    #[test]
    fn statements_are_built_as_aws_builds_them() {
        let service = r#"{"StatementId":"s3","Action":"lambda:InvokeFunction",
            "Principal":"s3.amazonaws.com","SourceArn":"arn:aws:s3:::b"}"#;
        assert_eq!(
            built(service).unwrap(),
            r#"{"Sid":"s3","Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"lambda:InvokeFunction","Resource":"arn:aws-cn:x","Condition":{"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::b"}}}"#
        );
        let account = r#"{"StatementId":"a","Action":"lambda:*","Principal":"123456789012"}"#;
        assert!(built(account).unwrap().contains(r#"{"AWS":"arn:aws-cn:iam::123456789012:root"}"#));
        let anyone = r#"{"StatementId":"a","Action":"lambda:InvokeFunctionUrl","Principal":"*",
            "FunctionUrlAuthType":"NONE"}"#;
        let text = built(anyone).unwrap();
        assert!(text.contains(r#""Principal":"*""#), "{text}");
        assert!(text.contains(r#"{"StringEquals":{"lambda:FunctionUrlAuthType":"NONE"}}"#));
    }

    #[test]
    fn what_the_model_does_not_allow_is_refused() {
        for (body, told) in [
            ("{}", "3 validation errors detected: Value null at 'statementId'"),
            (r#"{"StatementId":"a b","Action":"*","Principal":"*"}"#, "'statementId'"),
            (r#"{"StatementId":"a","Action":"s3:Get","Principal":"*"}"#, "'action'"),
            (r#"{"StatementId":"a","Action":"*","Principal":"nobody"}"#, "principal was invalid"),
            (
                r#"{"StatementId":"a","Action":"*","Principal":"*","FunctionUrlAuthType":"NONE"}"#,
                "only supported",
            ),
            (
                r#"{"StatementId":"a","Action":"*","Principal":"*","SourceAccount":"1"}"#,
                "'sourceAccount'",
            ),
        ] {
            let error = built(body).unwrap_err();
            assert!(error.status == 400 && error.message.contains(told), "{body}: {error}");
        }
    }
}
