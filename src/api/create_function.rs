//! A CreateFunction request: JSON in, a function that can be stored out.
//!
//! Every member of AWS's model is acted on, kept and returned, or refused; nothing is dropped in
//! silence. First the model's constraints, all reported together (ValidationException), then what
//! AWS checks one by one (InvalidParameterValueException). It does not look at the image.

use std::time::UNIX_EPOCH;

use uuid::Uuid;

use super::error::AwsError;
use super::functions::{Context, invalid};
use super::rules::{entries, java_list, length, matching, member, number};
use super::shapes::{CreateFunctionRequest, FunctionCode, LoggingConfig, Pairs};
use crate::function::model::{
    Architecture, Code, EPHEMERAL_STORAGE_DEFAULT_MB, Function, ImageConfig, LATEST, Logging,
    MEMORY_DEFAULT_MB, TIMEOUT_DEFAULT_S, TracingMode, Vpc,
};
use crate::function::name::{Qualifier, check_new, is_partition};
use crate::function::state::State;
use crate::function::violation::{Violation, Violations, longest, one_of, pattern, shortest};

const TIMEOUT_S: (u32, u32, u32) = (1, TIMEOUT_DEFAULT_S, 900);
const MEMORY_MB: (u32, u32, u32) = (128, MEMORY_DEFAULT_MB, 10_240);
const EPHEMERAL_STORAGE_MB: (u32, u32, u32) = (512, EPHEMERAL_STORAGE_DEFAULT_MB, 10_240);
const ENVIRONMENT_MAX_BYTES: usize = 4_096;
const TAGS_MAX: usize = 50;
const IMAGE_URI_MAX: usize = 1_024;

const ARCHITECTURES: [&str; 2] = ["x86_64", "arm64"];
const APPLICATION_LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
const SYSTEM_LEVELS: [&str; 3] = ["DEBUG", "INFO", "WARN"];

const ROLE_PATTERN: &str = r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+";
const ARN_PATTERN: &str = r"(arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()";
const LOG_GROUP_PATTERN: &str = r"[\.\-_/#A-Za-z0-9]+";
const VARIABLE_PATTERN: &str = "[a-zA-Z]([a-zA-Z0-9_])+";
const TAG_PATTERN: &str = r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)";
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

/// The function that the request describes, in state Pending, not stored yet.
pub fn create_function(body: &[u8], context: &Context<'_>) -> Result<Function, AwsError> {
    let request: CreateFunctionRequest = serde_json::from_slice(body).map_err(not_json)?;

    let mut found = Violations::default();
    let name = match &request.function_name {
        Some(name) => check_new(name, &mut found),
        None => {
            found.push(Violation::null("functionName"));
            None
        }
    };
    let timeout_s = number(&mut found, "timeout", request.timeout, TIMEOUT_S);
    let memory_mb = number(&mut found, "memorySize", request.memory_size, MEMORY_MB);
    let storage = request.ephemeral_storage.as_ref();
    if storage.is_some_and(|storage| storage.size.is_none()) {
        found.push(Violation::null("ephemeralStorage.size"));
    }
    let size = storage.and_then(|storage| storage.size);
    let ephemeral_storage_mb =
        number(&mut found, "ephemeralStorage.size", size, EPHEMERAL_STORAGE_MB);
    check_texts(&request, &mut found);
    check_lists(&request, &mut found);
    check_variables(&request, &mut found);
    check_tags(request.tags.as_ref(), &mut found);
    found.into_result().map_err(|found| validation(&found))?;

    // What is `None` here was reported above.
    let (Some(name), Some(role), Some(code)) = (name, request.role.clone(), &request.code) else {
        return Err(AwsError::service("a violation was found and not reported"));
    };
    let name = name.resolve(context.place)?;
    if !matches!(name.qualifier, None | Some(Qualifier::Latest)) {
        return Err(invalid("A function is created as $LATEST: name no other version or alias."));
    }
    let name = name.name;
    let uri = image_uri(&request, code)?;
    refuse_unsupported(&request)?;
    if memory_mb > context.max_memory_mb {
        // AWS's words for an account whose limit is lower than Lambda's.
        let max = context.max_memory_mb;
        return Err(invalid(format!(
            "'MemorySize' value failed to satisfy constraint: Member must have value less than or \
             equal to {max}"
        )));
    }
    let environment = request.environment.and_then(|environment| environment.variables);
    if let Some(variables) = &environment {
        check_environment(variables)?;
    }
    let tags = request.tags.unwrap_or_default().into_map();
    check_tag_limits(tags.keys())?;
    let image_config = request.image_config.map(|config| ImageConfig {
        entry_point: config.entry_point,
        command: config.command,
        working_directory: config.working_directory,
    });
    if let Some(config) = &image_config {
        check_image_config(config)?;
    }
    let now = context.now.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Function {
        region: context.place.region.to_owned(),
        logging: logging(request.logging_config.unwrap_or_default(), &name)?,
        name,
        version: LATEST.to_owned(),
        role,
        handler: None,
        description: request.description.unwrap_or_default(),
        timeout_s,
        memory_mb,
        ephemeral_storage_mb,
        environment: environment.map(Pairs::into_map),
        code: Code::Image { uri, resolved_uri: None },
        code_sha256: String::new(),
        code_size: 0,
        image_config: image_config.filter(|config| *config != ImageConfig::default()),
        architecture: match request.architectures.as_deref() {
            Some([name]) if name == "arm64" => Architecture::Arm64,
            Some([_]) => Architecture::X86_64,
            _ => context.architecture,
        },
        tags,
        tracing: match request.tracing_config.and_then(|tracing| tracing.mode).as_deref() {
            Some("Active") => TracingMode::Active,
            _ => TracingMode::PassThrough,
        },
        dead_letter_target: request
            .dead_letter_config
            .and_then(|config| config.target_arn)
            .filter(|arn| !arn.is_empty()),
        kms_key_arn: request.kms_key_arn.filter(|arn| !arn.is_empty()),
        vpc: request.vpc_config.map(|vpc| Vpc {
            subnet_ids: vpc.subnet_ids.unwrap_or_default(),
            security_group_ids: vpc.security_group_ids.unwrap_or_default(),
            ipv6_allowed_for_dual_stack: vpc.ipv6_allowed_for_dual_stack.unwrap_or_default(),
        }),
        last_modified_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        revision_id: Uuid::new_v4().to_string(),
        state: State::new(),
        last_update: None,
    })
}

/// Text that is no JSON, or JSON of other types than the model's, are two exceptions with AWS.
fn not_json(error: serde_json::Error) -> AwsError {
    if error.is_data() {
        return AwsError::new(400, "SerializationException", error.to_string());
    }
    let message = format!("Could not parse request body into json: {error}");
    AwsError::new(400, "InvalidRequestContentException", message)
}

fn validation(found: &Violations) -> AwsError {
    AwsError::new(400, "ValidationException", found.to_string())
}

fn check_texts(request: &CreateFunctionRequest, found: &mut Violations) {
    let role = request.role.as_deref();
    match role {
        None => found.push(Violation::null("role")),
        Some(_) => length(found, "role", role, 0, 10_000),
    }
    matching(found, "role", role, ROLE_PATTERN, is_role);
    if request.code.is_none() {
        found.push(Violation::null("code"));
    }
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
    length(found, "codeSigningConfigArn", request.code_signing_config_arn.as_deref(), 0, 200);
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

fn check_lists(request: &CreateFunctionRequest, found: &mut Violations) {
    let architectures = request.architectures.as_deref();
    entries(found, "architectures", architectures, 1, 1);
    let unknown = |name: &String| !ARCHITECTURES.contains(&name.as_str());
    if let Some(list) = architectures.filter(|list| list.iter().any(unknown)) {
        let constraint = members(&[one_of(&ARCHITECTURES), "Member must not be null".to_owned()]);
        found.push(Violation::new("architectures", java_list(list), constraint));
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

/// `Member must satisfy constraint: [...]`, for the entries of a list.
fn members(constraints: &[String]) -> String {
    format!("Member must satisfy constraint: [{}]", constraints.join(", "))
}

fn check_variables(request: &CreateFunctionRequest, found: &mut Violations) {
    let variables = request.environment.as_ref().and_then(|e| e.variables.as_ref());
    // A reserved name is answered as that, also where it does not fit the pattern.
    let bad = |name: &str| !is_variable(name) && !RESERVED_VARIABLES.contains(&name);
    if variables.is_some_and(|pairs| pairs.0.iter().any(|(name, _)| bad(name))) {
        let constraint =
            format!("Map keys must satisfy constraint: [{}]", pattern(VARIABLE_PATTERN));
        found.push(Violation::hidden("environment.variables", constraint));
    }
}

fn check_tags(tags: Option<&Pairs>, found: &mut Violations) {
    let Some(Pairs(pairs)) = tags else { return };
    let shown = || {
        let texts: Vec<String> =
            pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!("{{{}}}", texts.join(", "))
    };
    let fits = |text: &str, min, max| {
        (min..=max).contains(&text.chars().count()) && text.chars().all(is_tag_char)
    };
    let constraint = |what, min, max| {
        let list = [longest(max), shortest(min), pattern(TAG_PATTERN)].join(", ");
        format!("{what} must satisfy constraint: [{list}]")
    };
    if !pairs.iter().all(|(key, _)| fits(key, 1, 128)) {
        found.push(Violation::new("tags", shown(), constraint("Map keys", 1, 128)));
    }
    if !pairs.iter().all(|(_, value)| fits(value, 0, 256)) {
        found.push(Violation::new("tags", shown(), constraint("Map value", 0, 256)));
    }
}

fn check_tag_limits<'a>(
    mut keys: impl ExactSizeIterator<Item = &'a String>,
) -> Result<(), AwsError> {
    if keys.len() > TAGS_MAX {
        return Err(invalid("Number of tags exceeds resource tag limit."));
    }
    if keys.any(|key| key.to_ascii_lowercase().starts_with("aws:")) {
        return Err(invalid("Tag keys that start with aws: are reserved."));
    }
    Ok(())
}

/// The image of a request whose package is one, and nothing that an image cannot have.
fn image_uri(request: &CreateFunctionRequest, code: &FunctionCode) -> Result<String, AwsError> {
    if request.package_type.as_deref() != Some("Image") {
        return Err(invalid(
            "This build of the service takes functions with PackageType Image only; zip packages \
             (ZipFile, S3Bucket, S3Key) are not supported.",
        ));
    }
    let layers = request.layers.as_ref().is_some_and(|layers| !layers.is_empty());
    if request.handler.is_some() || request.runtime.is_some() || layers {
        return Err(invalid(
            "Please don't provide Handler or Runtime or Layer when the intended function \
             PackageType is Image.",
        ));
    }
    let zip = [
        &code.zip_file,
        &code.s3_bucket,
        &code.s3_key,
        &code.s3_object_version,
        &code.s3_object_storage_mode,
        &code.source_kms_key_arn,
    ];
    if zip.iter().any(|member| member.is_some()) {
        return Err(invalid(
            "Please provide only ImageUri as the source for function code when the intended \
             function PackageType is Image.",
        ));
    }
    match code.image_uri.as_deref() {
        None | Some("") => Err(invalid("Please provide a source for function code.")),
        Some(uri) if !is_image(uri) => {
            Err(invalid(format!("Source image {uri} is not valid. Provide a valid source image.")))
        }
        Some(uri) => Ok(uri.to_owned()),
    }
}

/// Members of the model that would change what a function does and that this service has not.
fn refuse_unsupported(request: &CreateFunctionRequest) -> Result<(), AwsError> {
    if let Some(arn) = &request.code_signing_config_arn {
        let message = format!(
            "The code signing configuration cannot be found. Check that the provided code signing \
             configuration is not deleted: {arn}."
        );
        return Err(AwsError::new(404, "CodeSigningConfigNotFoundException", message));
    }
    let snap_start = request.snap_start.as_ref().and_then(|c| c.apply_on.as_deref());
    let members = [
        ("Publish", request.publish == Some(true)),
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

fn check_environment(variables: &Pairs) -> Result<(), AwsError> {
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

/// The logging settings with AWS's defaults; levels exist with the JSON format only.
fn logging(config: LoggingConfig, name: &str) -> Result<Logging, AwsError> {
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

/// `[\p{L}\p{Z}\p{N}_.:/=+\-@]`, as near as the standard library's classes come.
fn is_tag_char(c: char) -> bool {
    c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c)
}

/// An image reference by its form: components that start with a letter or digit, so none is `..`,
/// and no byte that means something in the path of an Engine call.
fn is_image(uri: &str) -> bool {
    uri.len() <= IMAGE_URI_MAX
        && uri.split('/').all(|component| {
            component.starts_with(|c: char| c.is_ascii_alphanumeric())
                && component.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:@".contains(&b))
        })
}

#[cfg(test)]
#[path = "create_function_tests.rs"]
mod tests;
