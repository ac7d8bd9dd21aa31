//! The control API's functions and versions: names and JSON in, JSON out.
//!
//! Pure but for the registry: it knows no sockets, and the caller writes status and headers.
//! CreateFunction's and the updates' requests have files of their own.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) use super::configuration::json;
use super::configuration::{configuration, own_qualifier, whole};
use super::error::AwsError;
use super::function_rules::{not_json, validation};
use super::paging;
use super::rules::length;
use super::shapes::{
    FunctionCodeLocation, GetFunctionResponse, ListFunctionsResponse, ListVersionsResponse,
    PublishVersionRequest,
};
use crate::function::model::{Architecture, Code, Function};
use crate::function::name::{self, FunctionRef, Place, Qualifier};
use crate::function::registry::{Publication, Registry};
use crate::function::violation::{Violation, Violations, one_of, pattern};

const MASTER_REGION_PATTERN: &str = r"ALL|(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}";

/// What an operation needs to know beside its request.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub place: Place<'a>,
    /// The architecture of a function that names none: the host's.
    pub architecture: Architecture,
    /// The most memory that a function may have here.
    pub max_memory_mb: u32,
    pub now: SystemTime,
    /// Where the caller reaches this service, as it said itself.
    pub host: Option<&'a str>,
    /// Writes a time as AWS does in `LastModified`: `2026-11-23T09:02:51.123+0000`.
    pub format_time: fn(SystemTime) -> String,
}

impl Context<'_> {
    /// Where a stored package can be downloaded.
    pub(super) fn package_location(&self, sha256_hex: &str) -> Option<String> {
        self.host.map(|host| format!("http://{host}/packages/{sha256_hex}"))
    }

    /// Milliseconds since 1970, as records keep times.
    pub(super) fn now_ms(&self) -> u64 {
        let now = self.now.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The query of ListFunctions, percent-decoded.
#[derive(Debug, Clone, Copy, Default)]
pub struct ListQuery<'a> {
    pub marker: Option<&'a str>,
    pub max_items: Option<&'a str>,
    pub function_version: Option<&'a str>,
    pub master_region: Option<&'a str>,
}

/// 400 InvalidParameterValueException.
pub(super) fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new(400, "InvalidParameterValueException", message)
}

/// The function that a path and a `Qualifier` mean; whether it exists is not looked at.
pub fn resolve(
    raw: &str,
    qualifier: Option<&str>,
    context: &Context<'_>,
) -> Result<FunctionRef, AwsError> {
    Ok(name::parse(raw, qualifier, context.place)?)
}

/// The name in a path of an operation that is for whole functions.
pub(super) fn whole_function(raw: &str, context: &Context<'_>) -> Result<String, AwsError> {
    let reference = resolve(raw, None, context)?;
    match reference.qualifier {
        None | Some(Qualifier::Latest) => Ok(reference.name),
        Some(_) => Err(invalid(
            "This operation is permitted on Lambda functions only. Aliases and versions do not \
             support this operation. Please specify either a function name or an unqualified \
             function ARN.",
        )),
    }
}

/// The configuration of a function that was changed; a version's ARN says which one it is.
pub(super) fn changed(function: &Function, context: &Context<'_>) -> Result<String, AwsError> {
    let qualifier = (!function.is_latest()).then(|| own_qualifier(function));
    json(&whole(function, qualifier.as_ref(), context))
}

pub(super) fn get_function(
    registry: &Registry,
    raw: &str,
    qualifier: Option<&str>,
    context: &Context<'_>,
) -> Result<String, AwsError> {
    let reference = resolve(raw, qualifier, context)?;
    let function = registry.get(context.place.region, &reference)?;
    json(&GetFunctionResponse {
        configuration: whole(&function, reference.qualifier.as_ref(), context),
        code: match &function.code {
            Code::Image { uri, resolved_uri } => FunctionCodeLocation {
                repository_type: "ECR",
                location: None,
                image_uri: Some(uri),
                resolved_image_uri: resolved_uri.as_deref(),
            },
            Code::Zip { sha256_hex, .. } => FunctionCodeLocation {
                repository_type: "S3",
                location: context.package_location(sha256_hex),
                image_uri: None,
                resolved_image_uri: None,
            },
            Code::Directory { path } => FunctionCodeLocation {
                repository_type: "S3",
                location: Some(format!("file://{path}")),
                image_uri: None,
                resolved_image_uri: None,
            },
        },
        tags: &function.tags,
    })
}

pub(super) fn get_configuration(
    registry: &Registry,
    raw: &str,
    qualifier: Option<&str>,
    context: &Context<'_>,
) -> Result<String, AwsError> {
    let reference = resolve(raw, qualifier, context)?;
    let function = registry.get(context.place.region, &reference)?;
    json(&whole(&function, reference.qualifier.as_ref(), context))
}

/// The versions that were deleted, for whoever has sandboxes of them.
pub(super) fn delete_function(
    registry: &Registry,
    raw: &str,
    qualifier: Option<&str>,
    context: &Context<'_>,
) -> Result<Vec<Arc<Function>>, AwsError> {
    let reference = resolve(raw, qualifier, context)?;
    Ok(registry.delete(context.place.region, &reference)?)
}

pub(super) fn publish_version(
    registry: &Registry,
    raw: &str,
    body: &[u8],
    context: &Context<'_>,
) -> Result<String, AwsError> {
    // A request without any member may come without a body.
    let body = if body.is_empty() { b"{}" } else { body };
    let request: PublishVersionRequest = crate::json::from_slice(body).map_err(not_json)?;
    let mut found = Violations::default();
    length(&mut found, "description", request.description.as_deref(), 0, 256);
    found.into_result().map_err(|found| validation(&found))?;
    let name = whole_function(raw, context)?;
    if request.publish_to.is_some() {
        return Err(invalid("PublishTo is not supported by this service."));
    }
    let wanted = Publication {
        revision_id: request.revision_id,
        code_sha256: request.code_sha256.filter(|sha| !sha.is_empty()),
        description: request.description,
    };
    changed(&*registry.publish(context.place.region, &name, &wanted)?, context)
}

pub(super) fn list_versions(
    registry: &Registry,
    raw: &str,
    (marker, max_items): (Option<&str>, Option<&str>),
    context: &Context<'_>,
) -> Result<String, AwsError> {
    let max = paging::max_items(max_items, Violations::default())?;
    let name = whole_function(raw, context)?;
    let page = registry.versions(context.place.region, &name, marker, max)?;
    let last = page.items.last().filter(|_| page.more);
    json(&ListVersionsResponse {
        next_marker: last.map(|version| version.version.clone()),
        versions: page
            .items
            .iter()
            .map(|version| configuration(version, Some(&own_qualifier(version)), context))
            .collect(),
    })
}

pub(super) fn list_functions(
    registry: &Registry,
    query: &ListQuery<'_>,
    context: &Context<'_>,
) -> Result<String, AwsError> {
    let max = check_list(query)?;
    // The marker is the ARN of the last function of the page before: it stays right when functions
    // come and go between two pages.
    let after = match query.marker {
        Some(marker) => {
            let reference = name::parse(marker, None, context.place);
            Some(reference.map_err(|e| invalid("Invalid marker.").because(e))?)
        }
        None => None,
    };
    // A master region asks for replicas of Lambda@Edge functions only; there are none here.
    let max = if query.master_region.is_some() { 0 } else { max };
    // Only a list of all versions says in the ARN which one it is.
    let all = query.function_version.is_some();
    let qualifier = |function: &Function| all.then(|| own_qualifier(function));
    let region = context.place.region;
    let page = if all {
        let after = after.as_ref().map(|FunctionRef { name, qualifier }| {
            let version = qualifier.as_ref().map_or_else(String::new, Qualifier::to_string);
            (name.as_str(), version)
        });
        let after = after.as_ref().map(|(name, version)| (*name, version.as_str()));
        registry.list_all(region, after, max)
    } else {
        registry.list(region, after.as_ref().map(|reference| reference.name.as_str()), max)
    };
    let last = page.items.last().filter(|_| page.more);
    json(&ListFunctionsResponse {
        next_marker: last.map(|last| context.place.arn(&last.name, qualifier(last).as_ref())),
        functions: page
            .items
            .iter()
            .map(|function| configuration(function, qualifier(function).as_ref(), context))
            .collect(),
    })
}

/// How many functions the page may have.
fn check_list(query: &ListQuery<'_>) -> Result<usize, AwsError> {
    let mut found = Violations::default();
    if let Some(region) = query.master_region.filter(|r| *r != "ALL" && !name::is_region(r)) {
        found.push(Violation::new("masterRegion", region, pattern(MASTER_REGION_PATTERN)));
    }
    if let Some(version) = query.function_version.filter(|version| *version != "ALL") {
        found.push(Violation::new("functionVersion", version, one_of(&["ALL"])));
    }
    paging::max_items(query.max_items, found)
}

#[cfg(test)]
#[path = "functions_tests.rs"]
pub(in crate::api) mod tests;
