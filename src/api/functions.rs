//! CreateFunction, GetFunction, ListFunctions and DeleteFunction: names and JSON in, JSON out.
//!
//! Pure but for the registry: it knows no sockets, and the caller writes status and headers
//! (201, 200, 200 and 204). The one table from `FunctionError` to AWS's errors is here.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

pub use super::create_function::create_function;
use super::error::AwsError;
use super::shapes::{
    DeadLetterConfig, EnvironmentResponse, EphemeralStorage, FunctionCodeLocation,
    FunctionConfiguration, GetFunctionResponse, ImageConfig, ImageConfigResponse,
    ListFunctionsResponse, LoggingConfig, SnapStartResponse, States, TracingConfig, VpcConfig,
};
use crate::function::error::FunctionError;
use crate::function::model::{Architecture, Code, Function};
use crate::function::name::{self, FunctionRef, Place, Qualifier};
use crate::function::registry::Registry;
use crate::function::state::{LastUpdate, State};
use crate::function::violation::{Violation, Violations, greatest, least, one_of, pattern};

/// AWS gives no more functions in one page, whatever MaxItems says.
const PAGE_MAX: i64 = 50;
/// The model's greatest MaxItems.
const MAX_ITEMS_MAX: i64 = 10_000;
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
    /// Writes a time as AWS does in `LastModified`: `2026-11-23T09:02:51.123+0000`.
    pub format_time: fn(SystemTime) -> String,
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

impl From<FunctionError> for AwsError {
    fn from(error: FunctionError) -> Self {
        let not_found = |message| AwsError::new(404, "ResourceNotFoundException", message);
        match error {
            FunctionError::Invalid(found) => {
                AwsError::new(400, "ValidationException", found.to_string())
            }
            FunctionError::NameTooLong(found) => invalid(found.to_string()),
            FunctionError::QualifierMismatch => invalid(
                "The derived qualifier from the function name does not match the specified \
                 qualifier.",
            ),
            FunctionError::OtherRegion { asked, here } => not_found(format!(
                "Functions from '{asked}' are not reachable in this region ('{here}')"
            )),
            FunctionError::OtherAccount { asked, here } => AwsError::new(
                403,
                "AccessDeniedException",
                format!("Functions of account {asked} are not accessible: this is account {here}."),
            ),
            FunctionError::NotFound { arn } => not_found(format!("Function not found: {arn}")),
            FunctionError::AlreadyExists { name } => AwsError::new(
                409,
                "ResourceConflictException",
                format!("Function already exist: {name}"),
            ),
            FunctionError::LatestNotDeletable => {
                invalid("$LATEST version cannot be deleted without deleting the function.")
            }
            FunctionError::AliasNotDeletable => {
                invalid("Deletion of aliases is not currently supported.")
            }
            // Both are the service's own affair: no request asks for a transition by itself.
            FunctionError::Transition { .. } | FunctionError::Store(_) => AwsError::service(error),
        }
    }
}

/// The function that a path and a `Qualifier` mean; whether it exists is not looked at.
pub fn resolve(
    raw: &str,
    qualifier: Option<&str>,
    context: &Context<'_>,
) -> Result<FunctionRef, AwsError> {
    Ok(name::parse(raw, qualifier, context.place)?)
}

/// CreateFunction's answer to the function as it was stored.
pub fn created(function: &Function, context: &Context<'_>) -> Result<String, AwsError> {
    json(&whole(function, None, context))
}

pub fn get_function(
    registry: &Registry,
    raw: &str,
    qualifier: Option<&str>,
    context: &Context<'_>,
) -> Result<String, AwsError> {
    let reference = resolve(raw, qualifier, context)?;
    let function = registry.get(context.place.region, &reference)?;
    let Code::Image { uri, resolved_uri } = &function.code;
    json(&GetFunctionResponse {
        configuration: whole(&function, reference.qualifier.as_ref(), context),
        code: FunctionCodeLocation {
            repository_type: "ECR",
            image_uri: uri,
            resolved_image_uri: resolved_uri.as_deref(),
        },
        tags: &function.tags,
    })
}

/// The function that was deleted, for whoever has sandboxes of it.
pub fn delete_function(
    registry: &Registry,
    raw: &str,
    qualifier: Option<&str>,
    context: &Context<'_>,
) -> Result<Arc<Function>, AwsError> {
    let reference = resolve(raw, qualifier, context)?;
    Ok(registry.delete(context.place.region, &reference)?)
}

pub fn list_functions(
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
            Some(reference.map_err(|e| invalid("Invalid marker.").because(e))?.name)
        }
        None => None,
    };
    // A master region asks for replicas of Lambda@Edge functions only; there are none here.
    let max = if query.master_region.is_some() { 0 } else { max };
    let page = registry.list(context.place.region, after.as_deref(), max);
    let all_versions = query.function_version.is_some();
    let next_marker = page
        .functions
        .last()
        .filter(|_| page.more)
        .map(|function| context.place.arn(&function.name, None));
    let functions = page.functions.iter();
    let functions = functions.map(|function| {
        // Only a list of all versions says in the ARN which one it is.
        let qualifier = all_versions.then_some(&Qualifier::Latest);
        configuration(function, qualifier, context)
    });
    json(&ListFunctionsResponse { next_marker, functions: functions.collect() })
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
    let max = match query.max_items.map(str::parse::<i64>) {
        None => PAGE_MAX,
        Some(Ok(max)) => max,
        Some(Err(e)) => {
            let message = format!("MaxItems is not a whole number: {e}");
            return Err(AwsError::new(400, "SerializationException", message));
        }
    };
    if max < 1 {
        found.push(Violation::new("maxItems", max, least(1)));
    }
    if max > MAX_ITEMS_MAX {
        found.push(Violation::new("maxItems", max, greatest(MAX_ITEMS_MAX)));
    }
    found.into_result().map_err(FunctionError::Invalid)?;
    Ok(usize::try_from(max.min(PAGE_MAX)).unwrap_or_default())
}

/// A configuration with its states, which the entries of a list don't have.
fn whole<'a>(
    function: &'a Function,
    qualifier: Option<&Qualifier>,
    context: &Context<'_>,
) -> FunctionConfiguration<'a> {
    FunctionConfiguration {
        states: states(function),
        ..configuration(function, qualifier, context)
    }
}

fn configuration<'a>(
    function: &'a Function,
    qualifier: Option<&Qualifier>,
    context: &Context<'_>,
) -> FunctionConfiguration<'a> {
    let modified = UNIX_EPOCH.checked_add(Duration::from_millis(function.last_modified_ms));
    let logging = &function.logging;
    FunctionConfiguration {
        function_name: &function.name,
        function_arn: context.place.arn(&function.name, qualifier),
        role: &function.role,
        handler: function.handler.as_deref(),
        code_size: function.code_size,
        description: &function.description,
        timeout: function.timeout_s,
        memory_size: function.memory_mb,
        last_modified: (context.format_time)(modified.unwrap_or(UNIX_EPOCH)),
        code_sha256: &function.code_sha256,
        version: &function.version,
        vpc_config: function.vpc.as_ref().map(|vpc| VpcConfig {
            subnet_ids: Some(vpc.subnet_ids.clone()),
            security_group_ids: Some(vpc.security_group_ids.clone()),
            vpc_id: String::new(),
            ipv6_allowed_for_dual_stack: Some(vpc.ipv6_allowed_for_dual_stack),
        }),
        dead_letter_config: function
            .dead_letter_target
            .as_ref()
            .map(|arn| DeadLetterConfig { target_arn: Some(arn.clone()) }),
        environment: function
            .environment
            .as_ref()
            .map(|variables| EnvironmentResponse { variables }),
        kms_key_arn: function.kms_key_arn.as_deref(),
        tracing_config: TracingConfig { mode: Some(function.tracing.as_str().to_owned()) },
        revision_id: &function.revision_id,
        states: States::default(),
        package_type: match function.code {
            Code::Image { .. } => "Image",
        },
        image_config_response: function.image_config.as_ref().map(|config| ImageConfigResponse {
            image_config: ImageConfig {
                entry_point: config.entry_point.clone(),
                command: config.command.clone(),
                working_directory: config.working_directory.clone(),
            },
        }),
        architectures: [function.architecture.as_str()],
        ephemeral_storage: EphemeralStorage { size: Some(function.ephemeral_storage_mb.into()) },
        snap_start: SnapStartResponse { apply_on: "None", optimization_status: "Off" },
        logging_config: LoggingConfig {
            log_format: Some(if logging.json { "JSON" } else { "Text" }.to_owned()),
            application_log_level: logging.application_level.clone(),
            system_log_level: logging.system_level.clone(),
            log_group: Some(logging.group.clone()),
        },
    }
}

fn states(function: &Function) -> States<'_> {
    let mut states = States { state: Some(function.state.name()), ..States::default() };
    if let State::Pending { code, reason } | State::Failed { code, reason } = &function.state {
        states.state_reason = Some(reason);
        states.state_reason_code = Some(code.as_str());
    }
    match &function.last_update {
        None => {}
        Some(LastUpdate::Successful) => states.last_update_status = Some("Successful"),
        Some(LastUpdate::InProgress) => states.last_update_status = Some("InProgress"),
        Some(LastUpdate::Failed { code, reason }) => {
            states.last_update_status = Some("Failed");
            states.last_update_status_reason = Some(reason);
            states.last_update_status_reason_code = Some(code.as_str());
        }
    }
    states
}

fn json(answer: &impl Serialize) -> Result<String, AwsError> {
    serde_json::to_string(answer).map_err(AwsError::service)
}

#[cfg(test)]
#[path = "functions_tests.rs"]
mod tests;
