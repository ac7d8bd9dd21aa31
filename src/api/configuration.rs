//! A function version as AWS's `FunctionConfiguration`.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::error::AwsError;
use super::functions::Context;
use super::shapes::{
    DeadLetterConfig, EnvironmentResponse, EphemeralStorage, FunctionConfiguration, ImageConfig,
    ImageConfigResponse, LayerResponse, LoggingConfig, SnapStartResponse, States, TracingConfig,
    VpcConfig,
};
use crate::function::model::{Code, Function};
use crate::function::name::Qualifier;
use crate::function::state::{LastUpdate, ReasonCode, State};

/// The version itself as a qualifier.
pub(super) fn own_qualifier(function: &Function) -> Qualifier {
    if function.is_latest() {
        Qualifier::Latest
    } else {
        Qualifier::Version(function.version.clone())
    }
}

/// A configuration with its states, which the entries of a list don't have.
pub(super) fn whole<'a>(
    function: &'a Function,
    qualifier: Option<&Qualifier>,
    context: &Context<'_>,
) -> FunctionConfiguration<'a> {
    FunctionConfiguration {
        states: states(function),
        ..configuration(function, qualifier, context)
    }
}

pub(super) fn configuration<'a>(
    function: &'a Function,
    qualifier: Option<&Qualifier>,
    context: &Context<'_>,
) -> FunctionConfiguration<'a> {
    let modified = UNIX_EPOCH.checked_add(Duration::from_millis(function.last_modified_ms));
    let logging = &function.logging;
    FunctionConfiguration {
        function_name: &function.name,
        function_arn: context.place.arn(&function.name, qualifier),
        runtime: function.runtime.as_deref(),
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
        layers: function
            .layers
            .iter()
            .map(|layer| LayerResponse { arn: &layer.arn, code_size: layer.size })
            .collect(),
        states: States::default(),
        package_type: match function.code {
            Code::Image { .. } => "Image",
            Code::Zip { .. } | Code::Directory { .. } => "Zip",
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
        Some(LastUpdate::InProgress { reason }) => {
            states.last_update_status = Some("InProgress");
            states.last_update_status_reason = Some(reason);
            states.last_update_status_reason_code = Some(ReasonCode::Creating.as_str());
        }
        Some(LastUpdate::Failed { code, reason }) => {
            states.last_update_status = Some("Failed");
            states.last_update_status_reason = Some(reason);
            states.last_update_status_reason_code = Some(code.as_str());
        }
    }
    states
}

pub(super) fn json(answer: &impl Serialize) -> Result<String, AwsError> {
    serde_json::to_string(answer).map_err(AwsError::service)
}
