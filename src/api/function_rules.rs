//! What CreateFunction and UpdateFunctionConfiguration check alike: the constraints of the model,
//! and what AWS checks one by one afterwards.
//!
//! It takes no decision about a member that is absent, except to pass it: what is required or has a
//! default is said where the request is read.

use super::control::check_code_signing_arn;
use super::error::AwsError;
use super::functions::{Context, invalid};
use super::rules::{entries, java_list, length, matching, member, members, number};
use super::shapes::{self, FunctionRequest, LoggingConfig, Pairs};
use crate::function::model::{
    Architecture, EPHEMERAL_STORAGE_DEFAULT_MB, ImageConfig, Logging, MEMORY_DEFAULT_MB,
    TIMEOUT_DEFAULT_S, TracingMode, Vpc,
};
use crate::function::name::{is_partition, is_region};
use crate::function::violation::{Violation, Violations, longest, one_of, pattern, shortest};

const TIMEOUT_S: (u32, u32, u32) = (1, TIMEOUT_DEFAULT_S, 900);
const MEMORY_MB: (u32, u32, u32) = (128, MEMORY_DEFAULT_MB, 10_240);
const EPHEMERAL_STORAGE_MB: (u32, u32, u32) = (512, EPHEMERAL_STORAGE_DEFAULT_MB, 10_240);
const ENVIRONMENT_MAX_BYTES: usize = 4_096;
const LAYERS_MAX: usize = 5;

const ARCHITECTURES: [&str; 2] = ["x86_64", "arm64"];
const APPLICATION_LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
const SYSTEM_LEVELS: [&str; 3] = ["DEBUG", "INFO", "WARN"];

/// The model's identifiers of runtimes. AWS's message lists those that it still takes; functions of
/// the others run here all the same where there is an image for them.
pub(super) const RUNTIMES: &[&str] = &[
    "nodejs",
    "nodejs4.3",
    "nodejs6.10",
    "nodejs8.10",
    "nodejs10.x",
    "nodejs12.x",
    "nodejs14.x",
    "nodejs16.x",
    "nodejs18.x",
    "nodejs20.x",
    "nodejs22.x",
    "nodejs24.x",
    "nodejs26.x",
    "java8",
    "java8.al2",
    "java8.al2023",
    "java11",
    "java11.al2023",
    "java17",
    "java17.al2023",
    "java21",
    "java25",
    "python2.7",
    "python3.6",
    "python3.7",
    "python3.8",
    "python3.9",
    "python3.10",
    "python3.11",
    "python3.12",
    "python3.13",
    "python3.14",
    "python3.15",
    "dotnetcore1.0",
    "dotnetcore2.0",
    "dotnetcore2.1",
    "dotnetcore3.1",
    "dotnet6",
    "dotnet8",
    "dotnet10",
    "nodejs4.3-edge",
    "go1.x",
    "ruby2.5",
    "ruby2.7",
    "ruby3.2",
    "ruby3.3",
    "ruby3.4",
    "ruby4.0",
    "provided",
    "provided.al2",
    "provided.al2023",
];
/// As AWS's message has them.
const RUNTIMES_SHOWN: &str = "nodejs20.x, python3.14, provided.al2023, python3.12, python3.13, \
    nodejs24.x, nodejs22.x, java25, python3.10, python3.11, java21, ruby3.3, ruby3.4, ruby3.2, \
    python3.8, python3.9, java17, nodejs16.x, dotnet10, dotnet8, java11, dotnet6, nodejs18.x, \
    provided.al2, java8.al2";

const LAYER_PATTERN: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)";
const HANDLER_PATTERN: &str = r"[^\s]+";
pub(super) const ROLE_PATTERN: &str =
    r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+";
const ARN_PATTERN: &str = r"(arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()";
const LOG_GROUP_PATTERN: &str = r"[\.\-_/#A-Za-z0-9]+";
const VARIABLE_PATTERN: &str = "[a-zA-Z]([a-zA-Z0-9_])+";
const SUBNET_PATTERN: &str = "subnet-[0-9a-z]*";
const SECURITY_GROUP_PATTERN: &str = "sg-[0-9a-zA-Z]*";

/// Names that Lambda sets itself and a function may not
/// (AWS, "Defined runtime environment variables", those marked as reserved).
const RESERVED_VARIABLES: [&str; 19] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_MAX_CONCURRENCY",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];

/// The numbers of a request, the defaults where it has none.
#[derive(Debug)]
pub(super) struct Sizes {
    pub(super) timeout_s: u32,
    pub(super) memory_mb: u32,
    pub(super) ephemeral_storage_mb: u32,
}

/// The model's constraints on every member that both requests have.
pub(super) fn check_model(request: &FunctionRequest, found: &mut Violations) -> Sizes {
    let timeout_s = number(found, "timeout", request.timeout, TIMEOUT_S);
    let memory_mb = number(found, "memorySize", request.memory_size, MEMORY_MB);
    let storage = request.ephemeral_storage.as_ref();
    if storage.is_some_and(|storage| storage.size.is_none()) {
        found.push(Violation::null("ephemeralStorage.size"));
    }
    let size = storage.and_then(|storage| storage.size);
    let ephemeral_storage_mb = number(found, "ephemeralStorage.size", size, EPHEMERAL_STORAGE_MB);
    check_texts(request, found);
    check_lists(request, found);
    check_variables(request, found);
    Sizes { timeout_s, memory_mb, ephemeral_storage_mb }
}

/// Text that is no JSON, or JSON of other types than the model's, are two exceptions with AWS.
pub(super) fn not_json(error: serde_json::Error) -> AwsError {
    if error.is_data() {
        return AwsError::new(400, "SerializationException", error.to_string());
    }
    let message = format!("Could not parse request body into json: {error}");
    AwsError::new(400, "InvalidRequestContentException", message)
}

pub(super) fn validation(found: &Violations) -> AwsError {
    AwsError::new(400, "ValidationException", found.to_string())
}

fn check_texts(request: &FunctionRequest, found: &mut Violations) {
    let role = request.role.as_deref();
    length(found, "role", role, 0, 10_000);
    matching(found, "role", role, ROLE_PATTERN, is_role);
    let handler = request.handler.as_deref();
    length(found, "handler", handler, 0, 128);
    matching(found, "handler", handler, HANDLER_PATTERN, |handler| {
        !handler.is_empty() && !handler.contains(char::is_whitespace)
    });
    length(found, "description", request.description.as_deref(), 0, 256);
    member(found, "packageType", request.package_type.as_deref(), &["Zip", "Image"]);
    let target = request.dead_letter_config.as_ref().and_then(|c| c.target_arn.as_deref());
    for (field, value) in
        [("deadLetterConfig.targetArn", target), ("kMSKeyArn", request.kms_key_arn.as_deref())]
    {
        length(found, field, value, 0, 10_000);
        matching(found, field, value, ARN_PATTERN, is_arn_or_empty);
    }
    let mode = request.tracing_config.as_ref().and_then(|c| c.mode.as_deref());
    member(found, "tracingConfig.mode", mode, &["Active", "PassThrough"]);
    let apply_on = request.snap_start.as_ref().and_then(|c| c.apply_on.as_deref());
    member(found, "snapStart.applyOn", apply_on, &["PublishedVersions", "None"]);
    check_code_signing_arn(request.code_signing_config_arn.as_deref(), found);
    let directory = request.image_config.as_ref().and_then(|c| c.working_directory.as_deref());
    length(found, "imageConfig.workingDirectory", directory, 0, 1_000);
    if let Some(config) = &request.logging_config {
        let group = config.log_group.as_deref();
        member(found, "loggingConfig.logFormat", config.log_format.as_deref(), &["JSON", "Text"]);
        let level = config.application_log_level.as_deref();
        member(found, "loggingConfig.applicationLogLevel", level, &APPLICATION_LEVELS);
        let level = config.system_log_level.as_deref();
        member(found, "loggingConfig.systemLogLevel", level, &SYSTEM_LEVELS);
        length(found, "loggingConfig.logGroup", group, 1, 512);
        matching(found, "loggingConfig.logGroup", group, LOG_GROUP_PATTERN, |group| {
            group.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_/#".contains(&b))
                && !group.is_empty()
        });
    }
}

pub(super) fn check_architectures(architectures: Option<&[String]>, found: &mut Violations) {
    entries(found, "architectures", architectures, 1, 1);
    let unknown = |name: &String| !ARCHITECTURES.contains(&name.as_str());
    if let Some(list) = architectures.filter(|list| list.iter().any(unknown)) {
        let constraint = members(&[one_of(&ARCHITECTURES), "Member must not be null".to_owned()]);
        found.push(Violation::new("architectures", java_list(list), constraint));
    }
}

fn check_lists(request: &FunctionRequest, found: &mut Violations) {
    check_architectures(request.architectures.as_deref(), found);
    if let Some(list) = request.layers.as_ref().filter(|l| !l.iter().all(|arn| is_layer(arn))) {
        let not_null = "Member must not be null".to_owned();
        let constraint = members(&[longest(2_048), shortest(1), pattern(LAYER_PATTERN), not_null]);
        found.push(Violation::new("layers", java_list(list), constraint));
    }
    if let Some(config) = &request.image_config {
        entries(found, "imageConfig.entryPoint", config.entry_point.as_deref(), 0, 1_500);
        entries(found, "imageConfig.command", config.command.as_deref(), 0, 1_500);
    }
    let Some(vpc) = &request.vpc_config else { return };
    let ids = [
        ("vpcConfig.subnetIds", &vpc.subnet_ids, 16, "subnet-", SUBNET_PATTERN),
        ("vpcConfig.securityGroupIds", &vpc.security_group_ids, 5, "sg-", SECURITY_GROUP_PATTERN),
    ];
    for (field, list, max, prefix, text) in ids {
        entries(found, field, list.as_deref(), 0, max);
        let fits = |id: &String| {
            id.len() <= 1_024
                && id
                    .strip_prefix(prefix)
                    .is_some_and(|id| id.bytes().all(|b| b.is_ascii_alphanumeric()))
        };
        if let Some(list) = list.as_ref().filter(|list| !list.iter().all(fits)) {
            let constraint = members(&[longest(1_024), shortest(0), pattern(text)]);
            found.push(Violation::new(field, java_list(list), constraint));
        }
    }
}

fn check_variables(request: &FunctionRequest, found: &mut Violations) {
    let variables = request.environment.as_ref().and_then(|e| e.variables.as_ref());
    // A reserved name is answered as that, also where it does not fit the pattern.
    let bad = |name: &str| !is_variable(name) && !RESERVED_VARIABLES.contains(&name);
    if variables.is_some_and(|pairs| pairs.0.iter().any(|(name, _)| bad(name))) {
        let constraint =
            format!("Map keys must satisfy constraint: [{}]", pattern(VARIABLE_PATTERN));
        found.push(Violation::hidden("environment.variables", constraint));
    }
}

/// Members of the model that would change what a function does and that this service has not.
pub(super) fn refuse_unsupported(request: &FunctionRequest) -> Result<(), AwsError> {
    if let Some(arn) = &request.code_signing_config_arn {
        let message = format!(
            "The code signing configuration cannot be found. Check that the provided code signing \
             configuration is not deleted: {arn}."
        );
        return Err(AwsError::new(404, "CodeSigningConfigNotFoundException", message));
    }
    let snap_start = request.snap_start.as_ref().and_then(|c| c.apply_on.as_deref());
    let members = [
        ("PublishTo", request.publish_to.is_some()),
        ("FileSystemConfigs", request.file_system_configs.as_ref().is_some_and(|l| !l.is_empty())),
        ("SnapStart", snap_start == Some("PublishedVersions")),
        ("TenancyConfig", request.tenancy_config.is_some()),
        ("CapacityProviderConfig", request.capacity_provider_config.is_some()),
        ("DurableConfig", request.durable_config.is_some()),
        ("RuntimeConfig", request.runtime_config.is_some()),
        ("AcceleratorConfig", request.accelerator_config.is_some()),
    ];
    match members.iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(invalid(format!("{name} is not supported by this service."))),
        None => Ok(()),
    }
}

pub(super) fn check_environment(variables: &Pairs) -> Result<(), AwsError> {
    const UNABLE: &str = "Lambda was unable to configure your environment variables because the \
                          environment variables you have provided";
    let names = variables.0.iter().map(|(name, _)| name.as_str());
    let reserved: Vec<&str> = names.filter(|name| RESERVED_VARIABLES.contains(name)).collect();
    if !reserved.is_empty() {
        return Err(invalid(format!(
            "{UNABLE} contains reserved keys that are currently not supported for modification. \
             Reserved keys used in this request: {}",
            reserved.join(", ")
        )));
    }
    let measured = serde_json::to_string(variables).map_err(AwsError::service)?;
    if measured.len() > ENVIRONMENT_MAX_BYTES {
        return Err(invalid(format!(
            "{UNABLE} exceeded the 4KB limit. String measured: {measured}"
        )));
    }
    // No process can have such a variable.
    if variables.0.iter().any(|(_, value)| value.contains('\0')) {
        return Err(invalid(format!("{UNABLE} contain a null character.")));
    }
    Ok(())
}

/// What replaces the image's own settings; `None` where nothing does.
pub(super) fn image_config(config: shapes::ImageConfig) -> Result<Option<ImageConfig>, AwsError> {
    let config = ImageConfig {
        entry_point: config.entry_point,
        command: config.command,
        working_directory: config.working_directory,
    };
    check_image_config(&config)?;
    Ok(Some(config).filter(|config| *config != ImageConfig::default()))
}

/// What no container could be started with is refused now, and not at the first invocation.
fn check_image_config(config: &ImageConfig) -> Result<(), AwsError> {
    let lists = [&config.entry_point, &config.command];
    let mut texts = lists.into_iter().flatten().flatten().chain(&config.working_directory);
    if texts.any(|text| text.contains('\0')) {
        return Err(invalid("ImageConfig contains a null character."));
    }
    match &config.working_directory {
        Some(path) if !path.is_empty() && !path.starts_with('/') => {
            Err(invalid("ImageConfig.WorkingDirectory must be an absolute path."))
        }
        _ => Ok(()),
    }
}

/// AWS's words for an account whose limit is lower than Lambda's.
pub(super) fn check_memory(memory_mb: u32, context: &Context<'_>) -> Result<(), AwsError> {
    let max = context.max_memory_mb;
    if memory_mb <= max {
        return Ok(());
    }
    Err(invalid(format!(
        "'MemorySize' value failed to satisfy constraint: Member must have value less than or \
         equal to {max}"
    )))
}

/// The architecture that a valid list names, which has to be the host's own.
pub(super) fn architecture(
    list: Option<&[String]>,
    context: &Context<'_>,
) -> Result<Option<Architecture>, AwsError> {
    let Some([name]) = list else { return Ok(None) };
    let host = context.architecture;
    if name == host.as_str() {
        return Ok(Some(host));
    }
    let host = host.as_str();
    Err(invalid(format!(
        "The function is for {name}, which this host ({host}) cannot run. Build it for {host}."
    )))
}

pub(super) fn tracing(config: shapes::TracingConfig) -> TracingMode {
    match config.mode.as_deref() {
        Some("Active") => TracingMode::Active,
        _ => TracingMode::PassThrough,
    }
}

/// An empty ARN takes the target away.
pub(super) fn dead_letter_target(config: shapes::DeadLetterConfig) -> Option<String> {
    config.target_arn.filter(|arn| !arn.is_empty())
}

pub(super) fn vpc(config: shapes::VpcConfig) -> Vpc {
    Vpc {
        subnet_ids: config.subnet_ids.unwrap_or_default(),
        security_group_ids: config.security_group_ids.unwrap_or_default(),
        ipv6_allowed_for_dual_stack: config.ipv6_allowed_for_dual_stack.unwrap_or_default(),
    }
}

/// What AWS says of the runtime, apart from the model's other constraints.
pub(super) fn check_runtime(runtime: Option<&str>) -> Result<(), AwsError> {
    match runtime.filter(|runtime| !RUNTIMES.contains(runtime)) {
        Some(runtime) => Err(invalid(format!(
            "Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum \
             value set: [{RUNTIMES_SHOWN}] or be a valid ARN"
        ))),
        None => Ok(()),
    }
}

/// As many layers as there may be, each layer once, and all from the function's region.
pub(super) fn check_layers(layers: &[String], region: &str) -> Result<(), AwsError> {
    if layers.len() > LAYERS_MAX {
        return Err(invalid(format!("Cannot reference more than {LAYERS_MAX} layers.")));
    }
    for (index, arn) in layers.iter().enumerate() {
        if arn.split(':').nth(3).is_some_and(|of| !of.is_empty() && of != region) {
            return Err(invalid(format!(
                "Layers are not in the same region as the function. Layers are expected to be in \
                 region {region}."
            )));
        }
        let layer = |arn: &str| arn.rsplit_once(':').map(|(layer, _)| layer.to_owned());
        if let Some(twin) = layers[..index].iter().find(|other| layer(other) == layer(arn)) {
            return Err(invalid(format!(
                "Two different versions of the same layer are not allowed to be referenced in the \
                 same function. {twin} and {arn} are versions of the same layer."
            )));
        }
    }
    Ok(())
}

/// The logging settings with AWS's defaults; levels exist with the JSON format only.
pub(super) fn logging(config: LoggingConfig, name: &str) -> Result<Logging, AwsError> {
    let json = config.log_format.as_deref() == Some("JSON");
    if !json && (config.application_log_level.is_some() || config.system_log_level.is_some()) {
        return Err(invalid("ApplicationLogLevel and SystemLogLevel need LogFormat JSON."));
    }
    let level = |given: Option<String>| json.then(|| given.unwrap_or_else(|| "INFO".to_owned()));
    Ok(Logging {
        json,
        application_level: level(config.application_log_level),
        system_level: level(config.system_log_level),
        group: config.log_group.unwrap_or_else(|| format!("/aws/lambda/{name}")),
    })
}

/// A layer version's ARN. (AWS's own layers for its service teams match the pattern too.)
fn is_layer(arn: &str) -> bool {
    let parse = || {
        let (partition, rest) = arn.strip_prefix("arn:")?.split_once(':')?;
        let rest = rest.strip_prefix("lambda:")?;
        let word = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let parts: Vec<&str> = rest.split(':').collect();
        Some(match parts[..] {
            [region, account, "layer", name, version] => {
                is_partition(partition)
                    && is_region(region)
                    && account.len() == 12
                    && digits(account)
                    && word(name)
                    && digits(version)
            }
            ["", "", "awslayer", name] => word(partition) && word(name),
            _ => false,
        })
    };
    arn.len() <= 2_048 && parse().unwrap_or(false)
}

fn is_role(text: &str) -> bool {
    let parse = || {
        let (partition, rest) = text.strip_prefix("arn:")?.split_once(':')?;
        let (account, path) = rest.strip_prefix("iam::")?.split_once(":role")?;
        let path = path.strip_prefix('/').unwrap_or(path);
        let fits = is_partition(partition)
            && account.len() == 12
            && account.bytes().all(|b| b.is_ascii_digit())
            && !path.is_empty()
            && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-/".contains(&b));
        Some(fits)
    };
    parse().unwrap_or(false)
}

fn is_arn_or_empty(text: &str) -> bool {
    let parse = || {
        let (partition, rest) = text.strip_prefix("arn:")?.split_once(':')?;
        let (service, resource) = rest.split_once(':')?;
        let service_byte =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        let fits = is_partition(partition)
            && !service.is_empty()
            && service.bytes().all(service_byte)
            && !resource.contains(['\n', '\r']);
        Some(fits)
    };
    text.is_empty() || parse().unwrap_or(false)
}

fn is_variable(name: &str) -> bool {
    name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
