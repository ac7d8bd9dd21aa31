//! UpdateFunctionCode and UpdateFunctionConfiguration requests: JSON in, a changed function out.
//!
//! An absent member leaves what there is. The checks are CreateFunction's, and in its order.

use super::create_function::Accept;
use super::error::AwsError;
use super::function_rules::{
    architecture, check_architectures, check_environment, check_layers, check_memory, check_model,
    check_runtime, dead_letter_target, image_config, logging, not_json, refuse_unsupported,
    tracing, validation, vpc,
};
use super::functions::{Context, invalid};
use super::new_code;
use super::shapes::{
    FunctionCode, FunctionRequest, LoggingConfig, Pairs, UpdateFunctionCodeRequest,
};
use crate::function::model::{Architecture, Code, Function, LayerUse, Logging};
use crate::function::violation::Violations;

/// A checked UpdateFunctionCode.
#[derive(Debug)]
pub(super) struct CodeUpdate {
    pub(super) publish: bool,
    pub(super) dry_run: bool,
    pub(super) revision_id: Option<String>,
    code: FunctionCode,
    architecture: Option<Architecture>,
}

impl CodeUpdate {
    pub(super) fn parse(body: &[u8], context: &Context<'_>) -> Result<CodeUpdate, AwsError> {
        // Read twice: a flattened member would have serde keep whatever else the body holds.
        let request: UpdateFunctionCodeRequest = crate::json::from_slice(body).map_err(not_json)?;
        let code: FunctionCode = crate::json::from_slice(body).map_err(not_json)?;
        let mut found = Violations::default();
        new_code::check_model(&code, "", &mut found);
        check_architectures(request.architectures.as_deref(), &mut found);
        found.into_result().map_err(|found| validation(&found))?;
        if request.publish_to.is_some() {
            return Err(invalid("PublishTo is not supported by this service."));
        }
        Ok(CodeUpdate {
            publish: request.publish.unwrap_or_default(),
            dry_run: request.dry_run.unwrap_or_default(),
            revision_id: request.revision_id,
            code,
            architecture: architecture(request.architectures.as_deref(), context)?,
        })
    }

    /// The new code of `function`, accepted: what cannot be done while the registry waits.
    pub(super) fn accept(
        self,
        function: &Function,
        accept: &impl Accept,
    ) -> Result<AcceptedCode, AwsError> {
        let code = self.code;
        let code = match &function.code {
            Code::Image { .. } if code.image_uri.is_none() => {
                return Err(invalid(
                    "Please provide ImageUri when updating a function with packageType Image.",
                ));
            }
            Code::Image { .. } => new_code::image(code)?,
            Code::Zip { .. } | Code::Directory { .. } if code.image_uri.is_some() => {
                return Err(invalid(
                    "Please don't provide ImageUri when updating a function with packageType Zip.",
                ));
            }
            Code::Zip { .. } | Code::Directory { .. } => new_code::zip(code)?,
        };
        Ok(AcceptedCode { code: accept.code(code)?, architecture: self.architecture })
    }
}

/// Code that was accepted for a function.
#[derive(Debug)]
pub(super) struct AcceptedCode {
    code: Code,
    architecture: Option<Architecture>,
}

impl AcceptedCode {
    /// The function with this code.
    pub(super) fn apply(self, function: &Function, context: &Context<'_>) -> Function {
        let mut changed = Function { last_modified_ms: context.now_ms(), ..function.clone() };
        changed.architecture = self.architecture.unwrap_or(function.architecture);
        changed.set_code(self.code);
        changed
    }
}

/// A checked UpdateFunctionConfiguration.
#[derive(Debug)]
pub(super) struct ConfigurationUpdate {
    pub(super) revision_id: Option<String>,
    request: FunctionRequest,
    layers: Option<Vec<LayerUse>>,
}

impl ConfigurationUpdate {
    pub(super) fn parse(
        body: &[u8],
        context: &Context<'_>,
        accept: &impl Accept,
    ) -> Result<ConfigurationUpdate, AwsError> {
        let mut request: FunctionRequest = crate::json::from_slice(body).map_err(not_json)?;
        let mut found = Violations::default();
        let sizes = check_model(&request, &mut found);
        found.into_result().map_err(|found| validation(&found))?;
        check_runtime(request.runtime.as_deref())?;
        refuse_unsupported(&request)?;
        if request.memory_size.is_some() {
            check_memory(sizes.memory_mb, context)?;
        }
        if let Some(variables) = request.environment.as_ref().and_then(|e| e.variables.as_ref()) {
            check_environment(variables)?;
        }
        let layers = match request.layers.take() {
            Some(arns) => {
                check_layers(&arns, context.place.region)?;
                Some(accept.layers(&arns)?)
            }
            None => None,
        };
        Ok(ConfigurationUpdate { revision_id: request.revision_id.take(), request, layers })
    }

    /// The function with this configuration.
    pub(super) fn apply(
        self,
        function: &Function,
        context: &Context<'_>,
    ) -> Result<Function, AwsError> {
        let ConfigurationUpdate { request, layers, .. } = self;
        let of_zip = request.handler.is_some() || request.runtime.is_some() || layers.is_some();
        match &function.code {
            Code::Image { .. } if of_zip => {
                return Err(invalid(
                    "Please don't provide Handler or Runtime or Layer when the intended function \
                     PackageType is Image.",
                ));
            }
            Code::Zip { .. } | Code::Directory { .. } if request.image_config.is_some() => {
                return Err(invalid(
                    "ImageConfig is not supported for functions with PackageType Zip.",
                ));
            }
            Code::Image { .. } | Code::Zip { .. } | Code::Directory { .. } => {}
        }
        let mut changed = Function { last_modified_ms: context.now_ms(), ..function.clone() };
        let number = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
        replace(&mut changed.timeout_s, number(request.timeout));
        replace(&mut changed.memory_mb, number(request.memory_size));
        let storage = request.ephemeral_storage.and_then(|storage| storage.size);
        replace(&mut changed.ephemeral_storage_mb, number(storage));
        replace(&mut changed.role, request.role);
        replace(&mut changed.description, request.description);
        replace(&mut changed.handler, request.handler.map(Some));
        replace(&mut changed.runtime, request.runtime.map(Some));
        replace(&mut changed.layers, layers);
        let environment = request.environment.map(|e| e.variables.map(Pairs::into_map));
        replace(&mut changed.environment, environment);
        let config = request.image_config.map(image_config).transpose()?;
        replace(&mut changed.image_config, config);
        replace(&mut changed.tracing, request.tracing_config.map(tracing));
        let target = request.dead_letter_config.map(dead_letter_target);
        replace(&mut changed.dead_letter_target, target);
        let key = request.kms_key_arn.map(|arn| Some(arn).filter(|arn| !arn.is_empty()));
        replace(&mut changed.kms_key_arn, key);
        replace(&mut changed.vpc, request.vpc_config.map(|config| Some(vpc(config))));
        if let Some(config) = request.logging_config {
            let config = merged(config, &function.logging);
            changed.logging = logging(config, &function.name)?;
        }
        Ok(changed)
    }
}

fn replace<T>(old: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *old = new;
    }
}

/// The logging settings that a request wants: where it says nothing, what there is. The levels go
/// with the JSON format.
fn merged(given: LoggingConfig, old: &Logging) -> LoggingConfig {
    let format = || if old.json { "JSON" } else { "Text" }.to_owned();
    let log_format = given.log_format.unwrap_or_else(format);
    let old_level = |level: &Option<String>| level.clone().filter(|_| log_format == "JSON");
    LoggingConfig {
        application_log_level: given
            .application_log_level
            .or_else(|| old_level(&old.application_level)),
        system_log_level: given.system_log_level.or_else(|| old_level(&old.system_level)),
        log_group: given.log_group.or_else(|| Some(old.group.clone())),
        log_format: Some(log_format),
    }
}

#[cfg(test)]
#[path = "update_function_tests.rs"]
mod tests;
