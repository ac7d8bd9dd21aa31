//! AddPermission, RemovePermission, GetPolicy: a function's resource policy.
//!
//! Kept and returned as AWS builds it; each version and alias has one of its own. Who may call this
//! service is `access`' affair: a policy opens nothing here.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::common::{self, ARN_PATTERN, SETTINGS_BYTES, body, is_account, is_arn, json, not_found};
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

const STATEMENT_ID_PATTERN: &str = "([a-zA-Z0-9-_]+)";
const ACTION_PATTERN: &str = "(lambda:[*]|lambda:[a-zA-Z]+|[*])";
const TOKEN_PATTERN: &str = r"[a-zA-Z0-9._\-]+";
const ORGANIZATION_PATTERN: &str = "o-[a-z0-9]{10,32}";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct AddRequest {
    statement_id: Option<String>,
    action: Option<String>,
    principal: Option<String>,
    source_arn: Option<String>,
    function_url_auth_type: Option<String>,
    invoked_via_function_url: Option<bool>,
    source_account: Option<String>,
    event_source_token: Option<String>,
    revision_id: Option<String>,
    #[serde(rename = "PrincipalOrgID")]
    principal_org_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AddAnswer {
    statement: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetAnswer<'a> {
    policy: String,
    revision_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    version: &'static str,
    id: &'static str,
    statement: &'a [Statement],
}

impl Document<'_> {
    fn of(policy: &Policy) -> Result<String, AwsError> {
        let statement = &policy.statements;
        let document = Document { version: "2012-10-17", id: "default", statement };
        serde_json::to_string(&document).map_err(AwsError::service)
    }
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
        check_revision(policy, revision_id.as_deref())?;
        let mut statements = policy.map(|policy| policy.statements.clone()).unwrap_or_default();
        if statements.iter().any(|earlier| earlier.sid == statement.sid) {
            return Err(AwsError::new(
                409,
                "ResourceConflictException",
                format!(
                    "The statement id ({}) provided already exists. Please provide a new \
                     statement id, or remove the existing statement.",
                    statement.sid
                ),
            ));
        }
        statements.push(statement);
        let policy = Policy { revision_id: random::uuid().to_string(), statements };
        let size = Document::of(&policy)?.len();
        if size > POLICY_BYTES {
            return Err(AwsError::new(
                400,
                "PolicyLengthExceededException",
                format!(
                    "The final policy size ({size}) is bigger than the limit ({POLICY_BYTES})."
                ),
            ));
        }
        settings.policies.insert(key, policy);
        Ok(())
    })?;
    json(201, &AddAnswer { statement: answer })
}

fn get(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let reference = common::reference(call, &call.context(api))?;
    let settings = api.registry.settings(&call.region, &reference.name)?;
    let Some(policy) = settings.policies.get(&qualifier_key(reference.qualifier.as_ref())) else {
        return Err(not_found("The resource you requested does not exist."));
    };
    json(200, &GetAnswer { policy: Document::of(policy)?, revision_id: &policy.revision_id })
}

fn remove(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let context = call.context(api);
    let reference = common::reference(call, &context)?;
    if api.registry.get(&call.region, &reference).is_err() {
        let arn = common::arn(&reference, &context);
        return Err(not_found(format!("No policy found for: {arn}")));
    }
    let (sid, revision_id) = (call.value(1), call.query("RevisionId"));
    let key = qualifier_key(reference.qualifier.as_ref());
    api.registry.change_settings(&call.region, &reference, |settings| {
        let Some(policy) = settings.policies.get_mut(&key) else {
            return Err(not_found("No policy is associated with the given resource."));
        };
        let Some(at) = policy.statements.iter().position(|statement| statement.sid == sid) else {
            return Err(not_found(format!("Statement {sid} is not found in resource policy.")));
        };
        check_revision(Some(policy), revision_id.as_deref())?;
        policy.statements.remove(at);
        policy.revision_id = random::uuid().to_string();
        if policy.statements.is_empty() {
            settings.policies.remove(&key);
        }
        Ok(())
    })?;
    Ok(Answer::empty(204))
}

fn check_revision(policy: Option<&Policy>, expected: Option<&str>) -> Result<(), AwsError> {
    let Some(expected) = expected else { return Ok(()) };
    if policy.is_some_and(|policy| policy.revision_id == expected) {
        return Ok(());
    }
    Err(AwsError::new(
        412,
        "PreconditionFailedException",
        "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API \
         to retrieve the latest Revision Id",
    ))
}

fn check(request: &AddRequest) -> Result<(), AwsError> {
    let mut found = Violations::default();
    let sid = request.statement_id.as_deref();
    let action = request.action.as_deref();
    let principal = request.principal.as_deref();
    for (field, value) in [("statementId", sid), ("action", action), ("principal", principal)] {
        if value.is_none() {
            found.push(Violation::null(field));
        }
    }
    length(&mut found, "statementId", sid, 1, 100);
    matching(&mut found, "statementId", sid, STATEMENT_ID_PATTERN, |sid| {
        !sid.is_empty() && sid.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    });
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
    let organization = request.principal_org_id.as_deref();
    matching(&mut found, "principalOrgID", organization, ORGANIZATION_PATTERN, |text| {
        text.strip_prefix("o-").is_some_and(|id| {
            (10..=32).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        })
    });
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
fn statement(request: AddRequest, resource: String) -> Result<Statement, AwsError> {
    let mut condition: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let url = request.invoked_via_function_url.map(|via| via.to_string());
    for (operator, key, value) in [
        ("StringEquals", "AWS:SourceAccount", request.source_account),
        ("StringEquals", "lambda:EventSourceToken", request.event_source_token),
        ("StringEquals", "lambda:FunctionUrlAuthType", request.function_url_auth_type),
        ("StringEquals", "aws:PrincipalOrgID", request.principal_org_id),
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
