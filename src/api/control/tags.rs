//! TagResource, UntagResource, ListTags, for functions: only they can be tagged here.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::common::{self, SETTINGS_BYTES, body, is_account, json, not_found};
use super::{Answer, Call, Operation};
use crate::api::error::AwsError;

use crate::api::functions::invalid;
use crate::api::shapes::Pairs;
use crate::api::tag_rules::{check_tag_keys, check_tag_limits, check_tags};
use crate::api::{Api, query};
use crate::function::error::FunctionError;
use crate::function::name::{self, FunctionRef, Place, is_partition, is_region};
use crate::function::violation::{Violation, Violations, pattern};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "TagResource",
        method: "POST",
        path: "/2017-03-31/tags/{}",
        max_body_bytes: SETTINGS_BYTES,
        run: tag,
    },
    Operation {
        name: "UntagResource",
        method: "DELETE",
        path: "/2017-03-31/tags/{}",
        max_body_bytes: 0,
        run: untag,
    },
    Operation {
        name: "ListTags",
        method: "GET",
        path: "/2017-03-31/tags/{}",
        max_body_bytes: 0,
        run: list,
    },
];

/// As AWS tells it.
const RESOURCE_PATTERN: &str = r"arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|capacity-provider:[a-zA-Z0-9-_]+)";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TagRequest {
    tags: Option<Pairs>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tags<'a> {
    tags: &'a BTreeMap<String, String>,
}

fn tag(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let request: TagRequest = body(call)?;
    let mut found = Violations::default();
    if request.tags.is_none() {
        found.push(Violation::null("tags"));
    }
    check_tags(request.tags.as_ref(), &mut found);
    check_resource(call.value(0), &mut found);
    common::check(found)?;
    let function = function(call.value(0), call.context(api).place)?;
    let tags = request.tags.unwrap_or_default().into_map();
    check_tag_limits(tags.keys())?;
    api.registry.change_tags(&call.region, &function.name, |kept| {
        let mut all = kept.clone();
        all.extend(tags);
        check_tag_limits(all.keys())?;
        *kept = all;
        Ok::<(), AwsError>(())
    })?;
    Ok(Answer::empty(204))
}

fn untag(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let keys = query::values(call.query.as_deref(), "tagKeys");
    let mut found = Violations::default();
    if keys.is_empty() {
        found.push(Violation::null("tagKeys"));
    }
    check_tag_keys(&keys, &mut found);
    check_resource(call.value(0), &mut found);
    common::check(found)?;
    let function = function(call.value(0), call.context(api).place)?;
    api.registry.change_tags(&call.region, &function.name, |kept| {
        kept.retain(|key, _| !keys.contains(key));
        Ok::<(), AwsError>(())
    })?;
    Ok(Answer::empty(204))
}

fn list(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let mut found = Violations::default();
    check_resource(call.value(0), &mut found);
    common::check(found)?;
    let reference = function(call.value(0), call.context(api).place)?;
    let function = api.registry.get(&call.region, &reference)?;
    json(200, &Tags { tags: &function.tags })
}

/// The kind and the rest of an ARN that matches [`RESOURCE_PATTERN`].
fn resource(arn: &str) -> Option<(&str, &str)> {
    let mut parts = arn.splitn(7, ':');
    let mut part = || parts.next();
    let (Some("arn"), partition, Some("lambda"), region, account, kind, rest) =
        (part(), part()?, part(), part()?, part()?, part()?, part()?)
    else {
        return None;
    };
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let fits = match kind {
        "function" => match rest.split_once(':') {
            Some((name, qualifier)) => word(name) && (qualifier == "$LATEST" || word(qualifier)),
            None => word(rest),
        },
        "layer" | "capacity-provider" => word(rest),
        "code-signing-config" => rest.strip_prefix("csc-").is_some_and(|id| {
            id.len() == 17 && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        }),
        "event-source-mapping" => rest.len() == 36 && uuid::Uuid::try_parse(rest).is_ok(),
        _ => false,
    };
    let place = !partition.is_empty()
        && is_partition(partition)
        && is_region(region)
        && is_account(account);
    (fits && place).then_some((kind, rest))
}

fn check_resource(arn: &str, found: &mut Violations) {
    if resource(arn).is_none() {
        found.push(Violation::new("resource", arn, pattern(RESOURCE_PATTERN)));
    }
}

/// The function that the ARN names, after [`check_resource`].
fn function(arn: &str, place: Place<'_>) -> Result<FunctionRef, AwsError> {
    let kind = match resource(arn) {
        Some(("function", _)) => {
            let reference = name::parse(arn, None, place)?;
            if reference.qualifier.is_some() {
                return Err(invalid(
                    "Tags on function aliases and versions are not supported. Please specify a \
                     function ARN.",
                ));
            }
            return Ok(reference);
        }
        Some(("event-source-mapping", _)) => "Event source mapping",
        Some(("capacity-provider", _)) => "Capacity provider",
        Some(("code-signing-config", _)) => "Code signing config",
        Some(_) => return Err(invalid("Tags on layers are not supported.")),
        None => {
            let found = Violation::new("resource", arn, pattern(RESOURCE_PATTERN));
            return Err(FunctionError::Invalid(found.into()).into());
        }
    };
    Err(not_found(format!("{kind} not found: {arn}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place<'_> = Place { region: "us-east-1", account_id: "123456789012" };

    fn told(rest: &str) -> (u16, String) {
        let arn = format!("arn:aws:lambda:us-east-1:123456789012:{rest}");
        let error = function(&arn, HERE).unwrap_err();
        (error.status, error.message.clone())
    }

    #[test]
    fn only_functions_have_tags() {
        let arn = "arn:aws:lambda:us-east-1:123456789012:function:f";
        assert_eq!(function(arn, HERE).unwrap().name, "f");
        for qualified in ["function:f:1", "function:f:live", "function:f:$LATEST"] {
            assert!(told(qualified).1.starts_with("Tags on function aliases and versions"));
        }
        let uuid = "4487a0ac-6cd8-4ec2-a23d-04bd0c8ba4e4";
        let (status, message) = told(&format!("event-source-mapping:{uuid}"));
        assert!(status == 404 && message.starts_with("Event source mapping not found: arn:"));
        assert_eq!(told("capacity-provider:c").0, 404);
    }

    #[test]
    fn other_arns_are_refused_with_the_pattern() {
        for arn in [
            "arn:aws:something",
            "arn:aws:lambda:us-east-1:123456789012:foobar:x",
            "arn:aws:lambda:us-east-1:123456789012:event-source-mapping:x:alias",
            "arn:aws:s3:us-east-1:123456789012:function:f",
            "f",
        ] {
            let mut found = Violations::default();
            check_resource(arn, &mut found);
            let text = found.into_result().unwrap_err().to_string();
            assert!(text.ends_with(RESOURCE_PATTERN) && text.contains("'resource'"), "{text}");
        }
    }
}
