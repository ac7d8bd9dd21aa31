//! A CreateFunction request: JSON in, a function that can be stored out.
//!
//! Every member of AWS's model is acted on, kept and returned, or refused; nothing is dropped in
//! silence. First the model's constraints, all reported together (ValidationException), then what
//! AWS checks one by one (InvalidParameterValueException). It does not look at the code.

use super::error::AwsError;
use super::function_rules::{
    architecture, check_environment, check_layers, check_memory, check_model, check_runtime,
    dead_letter_target, image_config, logging, not_json, refuse_unsupported, tracing, validation,
    vpc,
};
use super::functions::{Context, invalid};
use super::new_code::{self, NewCode};
use super::shapes::{FunctionCode, FunctionRequest, Pairs};
use super::tag_rules::{check_tag_limits, check_tags};
use crate::function::model::{Code, Function, LATEST, LayerUse};
use crate::function::name::{Qualifier, check_new};
use crate::function::state::State;
use crate::function::violation::{Violation, Violations};
use crate::random;

/// What a request wants: the function in state Pending, not stored yet.
#[derive(Debug)]
pub(super) struct NewFunction {
    pub(super) function: Function,
    pub(super) publish: bool,
}

/// What takes a request's code and layers, once everything else about the request is right.
pub(super) trait Accept {
    fn code(&self, code: NewCode) -> Result<Code, AwsError>;
    fn layers(&self, arns: &[String]) -> Result<Vec<LayerUse>, AwsError>;
}

/// The function that the request describes.
pub(super) fn create_function(
    body: &[u8],
    context: &Context<'_>,
    accept: &impl Accept,
) -> Result<NewFunction, AwsError> {
    let mut request: FunctionRequest = crate::json::from_slice(body).map_err(not_json)?;

    let mut found = Violations::default();
    let name = match &request.function_name {
        Some(name) => check_new(name, &mut found),
        None => {
            found.push(Violation::null("functionName"));
            None
        }
    };
    if request.role.is_none() {
        found.push(Violation::null("role"));
    }
    match &request.code {
        Some(code) => new_code::check_model(code, "code.", &mut found),
        None => found.push(Violation::null("code")),
    }
    let sizes = check_model(&request, &mut found);
    check_tags(request.tags.as_ref(), &mut found);
    found.into_result().map_err(|found| validation(&found))?;

    // What is `None` here was reported above.
    let (Some(name), Some(role), Some(code)) = (name, request.role.clone(), request.code.take())
    else {
        return Err(AwsError::service("a violation was found and not reported"));
    };
    let name = name.resolve(context.place)?;
    if !matches!(name.qualifier, None | Some(Qualifier::Latest)) {
        return Err(invalid("A function is created as $LATEST: name no other version or alias."));
    }
    let name = name.name;
    let code = new_code(&request, code)?;
    refuse_unsupported(&request)?;
    let architecture = architecture(request.architectures.as_deref(), context)?;
    check_memory(sizes.memory_mb, context)?;
    let environment = request.environment.and_then(|environment| environment.variables);
    if let Some(variables) = &environment {
        check_environment(variables)?;
    }
    let tags = request.tags.unwrap_or_default().into_map();
    check_tag_limits(tags.keys())?;
    let image_config = request.image_config.map(image_config).transpose()?.flatten();
    let logging = logging(request.logging_config.unwrap_or_default(), &name)?;
    let layers = request.layers.unwrap_or_default();
    check_layers(&layers, context.place.region)?;
    let layers = accept.layers(&layers)?;
    let code = accept.code(code)?;
    let (code_sha256, code_size) = code.identity();
    let function = Function {
        region: context.place.region.to_owned(),
        logging,
        name,
        version: LATEST.to_owned(),
        role,
        runtime: request.runtime,
        handler: request.handler,
        description: request.description.unwrap_or_default(),
        timeout_s: sizes.timeout_s,
        memory_mb: sizes.memory_mb,
        ephemeral_storage_mb: sizes.ephemeral_storage_mb,
        environment: environment.map(Pairs::into_map),
        code,
        code_sha256,
        code_size,
        image_id: String::new(),
        layers,
        image_config,
        architecture: architecture.unwrap_or(context.architecture),
        tags,
        tracing: request.tracing_config.map(tracing).unwrap_or_default(),
        dead_letter_target: request.dead_letter_config.and_then(dead_letter_target),
        kms_key_arn: request.kms_key_arn.filter(|arn| !arn.is_empty()),
        vpc: request.vpc_config.map(vpc),
        last_modified_ms: context.now_ms(),
        revision_id: random::uuid().to_string(),
        content_id: random::uuid().to_string(),
        state: State::new(),
        last_update: None,
        running: None,
        last_version: 0,
    };
    Ok(NewFunction { function, publish: request.publish.unwrap_or_default() })
}

/// The code of either package type, and nothing beside it that such a function cannot have.
fn new_code(request: &FunctionRequest, code: FunctionCode) -> Result<NewCode, AwsError> {
    let layers = request.layers.as_deref().unwrap_or_default();
    if request.package_type.as_deref() == Some("Image") {
        if request.handler.is_some() || request.runtime.is_some() || !layers.is_empty() {
            return Err(invalid(
                "Please don't provide Handler or Runtime or Layer when the intended function \
                 PackageType is Image.",
            ));
        }
        return new_code::image(code);
    }
    if request.handler.is_none() || request.runtime.is_none() {
        return Err(invalid(
            "Runtime and Handler are mandatory parameters for functions created with deployment \
             packages.",
        ));
    }
    check_runtime(request.runtime.as_deref())?;
    if request.image_config.is_some() {
        return Err(invalid("ImageConfig is not supported for functions with PackageType Zip."));
    }
    new_code::zip(code)
}

#[cfg(test)]
#[path = "create_function_tests.rs"]
mod tests;
