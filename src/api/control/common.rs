//! What the operations on a function's settings share: bodies, references, pages, times.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Answer, Call};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::function_rules::not_json;
use crate::api::functions::{self, Context};
use crate::function::error::FunctionError;
use crate::function::name::{FunctionRef, Qualifier, is_partition, is_region};
use crate::function::violation::{Violation, Violations, greatest, least};

/// The largest body of an operation that carries no code: far above the largest that is valid.
pub(super) const SETTINGS_BYTES: usize = 1 << 20;

/// The model's greatest `MaxItems` of these lists, and the default.
const PAGE_MAX: i64 = 50;

/// `Arn` of the model.
pub(super) const ARN_PATTERN: &str = r"arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1})?:(\d{12})?:(.*)";

/// The body as JSON. A request that has only optional members may have none.
pub(super) fn body<T: DeserializeOwned>(call: &Call) -> Result<T, AwsError> {
    let body: &[u8] = if call.body.is_empty() { b"{}" } else { &call.body };
    crate::json::from_slice(body).map_err(not_json)
}

pub(super) fn json(status: u16, answer: &impl Serialize) -> Result<Answer, AwsError> {
    serde_json::to_string(answer).map(|json| Answer::json(status, json)).map_err(AwsError::service)
}

pub(super) fn not_found(message: impl Into<String>) -> AwsError {
    AwsError::new(404, "ResourceNotFoundException", message)
}

pub(super) fn null(field: &str) -> AwsError {
    FunctionError::Invalid(Violation::null(field).into()).into()
}

/// Fails with everything that was found.
pub(super) fn check(found: Violations) -> Result<(), AwsError> {
    Ok(found.into_result().map_err(FunctionError::Invalid)?)
}

/// The function that the path names with the query's `Qualifier`; it may not be there.
pub(super) fn reference(call: &Call, context: &Context<'_>) -> Result<FunctionRef, AwsError> {
    functions::resolve(call.value(0), call.query("Qualifier").as_deref(), context)
}

/// Fails where the reference means nothing that is there, with a text of its own for aliases.
pub(super) fn check_exists(
    api: &Api,
    reference: &FunctionRef,
    context: &Context<'_>,
) -> Result<(), AwsError> {
    match api.registry.get(context.place.region, reference) {
        Ok(_) => Ok(()),
        Err(FunctionError::NotFound { .. })
            if matches!(reference.qualifier, Some(Qualifier::Alias(_))) =>
        {
            Err(not_found(format!("Cannot find alias arn: {}", arn(reference, context))))
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn arn(reference: &FunctionRef, context: &Context<'_>) -> String {
    context.place.arn(&reference.name, reference.qualifier.as_ref())
}

/// The ARN with the version in it, also that of the function itself.
pub(super) fn qualified_arn(name: &str, qualifier: &str, context: &Context<'_>) -> String {
    format!("{}:{qualifier}", context.place.arn(name, None))
}

pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn time_of(millis: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis)).unwrap_or(UNIX_EPOCH)
}

/// One page of a list.
#[derive(Debug)]
pub(super) struct Page<'a, T> {
    pub(super) items: Vec<(&'a str, &'a T)>,
    /// The last key of this page where more come after it.
    pub(super) next_marker: Option<&'a str>,
}

/// The entries after the query's `Marker`, at most `MaxItems` of them.
pub(super) fn page<'a, T>(
    call: &Call,
    entries: &'a BTreeMap<String, T>,
) -> Result<Page<'a, T>, AwsError> {
    let marker = call.query("Marker");
    let after = marker.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut rest = entries.range::<str, _>((after, Bound::Unbounded));
    let items: Vec<(&str, &T)> =
        rest.by_ref().take(max_items(call)?).map(|(key, item)| (key.as_str(), item)).collect();
    let next_marker = rest.next().and_then(|_| items.last()).map(|(key, _)| *key);
    Ok(Page { items, next_marker })
}

/// The query's `MaxItems`.
pub(super) fn max_items(call: &Call) -> Result<usize, AwsError> {
    let Some(text) = call.query("MaxItems") else {
        return Ok(usize::try_from(PAGE_MAX).unwrap_or_default());
    };
    let max: i64 = text.parse().map_err(|e| {
        let message = format!("MaxItems is not a whole number: {e}");
        AwsError::new(400, "SerializationException", message)
    })?;
    let mut found = Violations::default();
    if max > PAGE_MAX {
        found.push(Violation::new("maxItems", max, greatest(PAGE_MAX)));
    }
    if max < 1 {
        found.push(Violation::new("maxItems", max, least(1)));
    }
    check(found)?;
    Ok(usize::try_from(max).unwrap_or_default())
}

/// [`ARN_PATTERN`], by hand.
pub(super) fn is_arn(text: &str) -> bool {
    let mut parts = text.splitn(6, ':');
    let mut part = || parts.next();
    let (Some("arn"), Some(partition), Some(service), Some(region), Some(account), Some(rest)) =
        (part(), part(), part(), part(), part(), part())
    else {
        return false;
    };
    // The digits that this pattern allows in a partition and the older one does not.
    let letters: String = partition.chars().filter(|c| !c.is_ascii_digit()).collect();
    is_partition(&letters)
        && !partition.is_empty()
        && !service.is_empty()
        && service.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && (region.is_empty() || is_region(region))
        && (account.is_empty() || is_account(account))
        && !rest.contains(['\n', '\r'])
}

/// `\d{12}`
pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(query: &str) -> Call {
        Call {
            values: Vec::new(),
            query: Some(query.to_owned()),
            host: None,
            peer: [127, 0, 0, 1].into(),
            region: "us-east-1".to_owned(),
            body: Vec::new().into(),
        }
    }

    #[test]
    fn pages_follow_each_other_and_end() {
        let entries: BTreeMap<String, u8> =
            ["a", "b", "c"].into_iter().map(|key| (key.to_owned(), 0)).collect();
        let keys = |query: &str| {
            let call = call(query);
            let page = page(&call, &entries).unwrap();
            let keys: Vec<&str> = page.items.iter().map(|(key, _)| *key).collect();
            (keys.concat(), page.next_marker.map(str::to_owned))
        };
        assert_eq!(keys(""), ("abc".to_owned(), None));
        assert_eq!(keys("MaxItems=2"), ("ab".to_owned(), Some("b".to_owned())));
        assert_eq!(keys("MaxItems=2&Marker=b"), ("c".to_owned(), None));
        for bad in ["MaxItems=0", "MaxItems=51", "MaxItems=x"] {
            assert_eq!(page(&call(bad), &entries).unwrap_err().status, 400, "{bad}");
        }
    }

    #[test]
    fn arns_have_six_parts() {
        for good in [
            "arn:aws:s3:::bucket",
            "arn:aws:sqs:us-east-1:123456789012:queue",
            "arn:aws-cn:events:cn-north-1:123456789012:rule/a:b",
        ] {
            assert!(is_arn(good), "{good}");
        }
        for bad in [
            "",
            "arn:aws:s3",
            "arn:gcp:s3:::b",
            "arn::s3:::b",
            "arn:aws:s3:moon::b",
            "arn:aws:sqs:us-east-1:12:q",
            "arn:aws:_-/!lambda:us-east-1:123456789012:function:f",
        ] {
            assert!(!is_arn(bad), "{bad}");
        }
    }
}
