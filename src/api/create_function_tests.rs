//! One case for each thing that CreateFunction refuses, and what it makes of what it takes.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::*;
use crate::api::function_rules::ROLE_PATTERN;
use crate::api::fuzzing::AcceptAll;
use crate::function::model::{Architecture, TracingMode};
use crate::function::name::Place;

fn context() -> Context<'static> {
    Context {
        place: Place { region: "us-east-1", account_id: "123456789012" },
        architecture: Architecture::X86_64,
        max_memory_mb: 256,
        now: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        host: None,
        format_time: |_| "date".to_owned(),
    }
}

/// The least request, with `change` merged over it; `null` removes a member.
fn create(change: Value) -> Result<Function, AwsError> {
    let mut request = json!({
        "FunctionName": "f",
        "Role": "arn:aws:iam::123456789012:role/service-role/r",
        "PackageType": "Image",
        "Code": {"ImageUri": "registry.local:5000/team/image:1"},
    });
    for (name, value) in change.as_object().unwrap() {
        request[name] = value.clone();
    }
    create_function(request.to_string().as_bytes(), &context(), &AcceptAll).map(|new| new.function)
}

fn refused(change: Value, error_type: &str, message: &str) {
    let shown = change.to_string();
    let error = create(change).expect_err(&shown);
    assert_eq!((error.error_type, error.message.as_str()), (error_type, message), "{shown}");
}

/// One broken constraint of the model.
fn violated(change: Value, finding: &str) {
    let message = format!("1 validation error detected: {finding}");
    refused(change, "ValidationException", &message);
}

fn invalid_value(change: Value, message: &str) {
    refused(change, "InvalidParameterValueException", message);
}

#[test]
fn the_least_request_gets_awss_defaults() {
    let function = create(json!({})).unwrap();
    assert_eq!((function.region.as_str(), function.name.as_str()), ("us-east-1", "f"));
    assert_eq!((function.timeout_s, function.memory_mb), (3, 128));
    assert_eq!(function.ephemeral_storage_mb, 512);
    assert_eq!((function.environment, function.image_config, function.vpc), (None, None, None));
    assert_eq!(function.architecture, Architecture::X86_64);
    assert_eq!(function.logging.group, "/aws/lambda/f");
    assert_eq!(function.last_modified_ms, 1_700_000_000_123);
    assert_eq!(function.state, State::new());
    assert_ne!(function.revision_id, create(json!({})).unwrap().revision_id);
}

#[test]
fn everything_that_is_given_is_kept() {
    let function = create(json!({
        "FunctionName": "arn:aws:lambda:us-east-1:123456789012:function:g:$LATEST",
        "Description": "d", "Timeout": 900, "MemorySize": 256, "Publish": false,
        "EphemeralStorage": {"Size": 10240}, "Architectures": ["x86_64"],
        "Environment": {"Variables": {"KEY": "a=b"}}, "Tags": {"team": "x y"},
        "ImageConfig": {"EntryPoint": ["/e"], "Command": ["c"], "WorkingDirectory": "/w"},
        "TracingConfig": {"Mode": "Active"}, "SnapStart": {"ApplyOn": "None"},
        "DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:123456789012:q"},
        "KMSKeyArn": "arn:aws:kms:us-east-1:123456789012:key/k",
        "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
        "LoggingConfig": {"LogFormat": "JSON", "SystemLogLevel": "WARN", "LogGroup": "/g"},
        "Layers": [], "FileSystemConfigs": [], "Unknown": {"ignored": [1]},
    }))
    .unwrap();
    assert_eq!((function.name.as_str(), function.description.as_str()), ("g", "d"));
    assert_eq!((function.timeout_s, function.memory_mb), (900, 256));
    assert_eq!(function.ephemeral_storage_mb, 10_240);
    assert_eq!(function.architecture, Architecture::X86_64);
    assert_eq!(function.environment.unwrap()["KEY"], "a=b");
    assert_eq!(function.tags["team"], "x y");
    let image_config = function.image_config.unwrap();
    assert_eq!(image_config.entry_point.unwrap(), ["/e"]);
    assert_eq!(image_config.command.unwrap(), ["c"]);
    assert_eq!(image_config.working_directory.unwrap(), "/w");
    assert_eq!(function.tracing, TracingMode::Active);
    assert_eq!(function.dead_letter_target.unwrap(), "arn:aws:sqs:us-east-1:123456789012:q");
    assert_eq!(function.kms_key_arn.unwrap(), "arn:aws:kms:us-east-1:123456789012:key/k");
    assert_eq!(function.vpc.unwrap().subnet_ids, ["subnet-1"]);
    let logging = function.logging;
    assert!(logging.json);
    assert_eq!(logging.application_level.unwrap(), "INFO");
    assert_eq!((logging.system_level.unwrap(), logging.group), ("WARN".into(), "/g".into()));
}

#[test]
fn what_is_no_request_is_refused() {
    let error = |body: &[u8]| create_function(body, &context(), &AcceptAll).unwrap_err();
    for body in [&b""[..], b"{", b"not json", b"{}x", b"\xff{}", b"{\"FunctionName\":\"\\ud800\"}"]
    {
        let error = error(body);
        assert_eq!(error.error_type, "InvalidRequestContentException", "{body:?}");
        assert!(error.message.starts_with("Could not parse request body into json: "), "{error}");
    }
    for body in [&b"[1]"[..], b"3", b"{\"Timeout\":\"3\"}", b"{\"Timeout\":1.5}", b"{\"Tags\":[1]}"]
    {
        assert_eq!(error(body).error_type, "SerializationException", "{body:?}");
    }
    let deep = format!("{{\"TenancyConfig\":{}", "[".repeat(1_000_000));
    assert_eq!(error(deep.as_bytes()).status, 400);
}

#[test]
fn required_members_are_all_named() {
    let error = create_function(b"{}", &context(), &AcceptAll).unwrap_err();
    assert_eq!(
        error.message,
        "3 validation errors detected: Value null at 'functionName' failed to satisfy constraint: \
         Member must not be null; Value null at 'role' failed to satisfy constraint: Member must \
         not be null; Value null at 'code' failed to satisfy constraint: Member must not be null"
    );
    let null = "failed to satisfy constraint: Member must not be null";
    violated(json!({"Role": null}), &format!("Value null at 'role' {null}"));
    violated(json!({"Code": null}), &format!("Value null at 'code' {null}"));
    violated(
        json!({"EphemeralStorage": {}}),
        &format!("Value null at 'ephemeralStorage.size' {null}"),
    );
}

#[test]
fn numbers_beyond_their_range_are_refused() {
    let cases = [
        (json!({"Timeout": 0}), "'0' at 'timeout'", "greater than or equal to 1"),
        (json!({"Timeout": 901}), "'901' at 'timeout'", "less than or equal to 900"),
        (json!({"MemorySize": 127}), "'127' at 'memorySize'", "greater than or equal to 128"),
        (json!({"MemorySize": 10241}), "'10241' at 'memorySize'", "less than or equal to 10240"),
        (
            json!({"MemorySize": i64::MAX}),
            "'9223372036854775807' at 'memorySize'",
            "less than or equal to 10240",
        ),
        (
            json!({"EphemeralStorage": {"Size": 511}}),
            "'511' at 'ephemeralStorage.size'",
            "greater than or equal to 512",
        ),
        (
            json!({"EphemeralStorage": {"Size": 10241}}),
            "'10241' at 'ephemeralStorage.size'",
            "less than or equal to 10240",
        ),
    ];
    for (change, value, limit) in cases {
        let constraint = format!("failed to satisfy constraint: Member must have value {limit}");
        violated(change, &format!("Value {value} {constraint}"));
    }
    invalid_value(
        json!({"MemorySize": 257}),
        "'MemorySize' value failed to satisfy constraint: Member must have value less than or \
         equal to 256",
    );
}

#[test]
fn names_and_enums_of_the_model_are_checked() {
    let cases = [
        (json!({"PackageType": "zip"}), "'zip' at 'packageType'", "[Zip, Image]"),
        (
            json!({"TracingConfig": {"Mode": "On"}}),
            "'On' at 'tracingConfig.mode'",
            "[Active, PassThrough]",
        ),
        (
            json!({"SnapStart": {"ApplyOn": "invalidOption"}}),
            "'invalidOption' at 'snapStart.applyOn'",
            "[PublishedVersions, None]",
        ),
        (
            json!({"LoggingConfig": {"LogFormat": "XML"}}),
            "'XML' at 'loggingConfig.logFormat'",
            "[JSON, Text]",
        ),
        (
            json!({"LoggingConfig": {"SystemLogLevel": "ERROR"}}),
            "'ERROR' at 'loggingConfig.systemLogLevel'",
            "[DEBUG, INFO, WARN]",
        ),
        (
            json!({"LoggingConfig": {"ApplicationLogLevel": "x"}}),
            "'x' at 'loggingConfig.applicationLogLevel'",
            "[TRACE, DEBUG, INFO, WARN, ERROR, FATAL]",
        ),
    ];
    for (change, value, set) in cases {
        violated(
            change,
            &format!(
                "Value {value} failed to satisfy constraint: Member must satisfy enum value set: \
                 {set}"
            ),
        );
    }
    violated(
        json!({"Architectures": ["x86_64", "arm64"]}),
        "Value '[x86_64, arm64]' at 'architectures' failed to satisfy constraint: Member must \
         have length less than or equal to 1",
    );
    violated(
        json!({"Architectures": ["mips"]}),
        "Value '[mips]' at 'architectures' failed to satisfy constraint: Member must satisfy \
         constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
    );
    invalid_value(
        json!({"Architectures": ["arm64"]}),
        "The function is for arm64, which this host (x86_64) cannot run. Build it for x86_64.",
    );
    for empty in [json!({"Architectures": []}), json!({"LoggingConfig": {"LogGroup": "a b"}})] {
        assert_eq!(create(empty).unwrap_err().error_type, "ValidationException");
    }
}

#[test]
fn texts_that_break_a_pattern_are_refused() {
    let roles = [
        "r",
        "arn:aws:iam::1:role/r",
        "arn:aws:iam::123456789012:user/r",
        "arn:aws:iam::123456789012:role/",
        "",
    ];
    for role in roles {
        violated(
            json!({"Role": role}),
            &format!(
                "Value '{role}' at 'role' failed to satisfy constraint: Member must satisfy \
                 regular expression pattern: {ROLE_PATTERN}"
            ),
        );
    }
    let others = [
        json!({"KMSKeyArn": "key"}),
        json!({"DeadLetterConfig": {"TargetArn": "arn:x:y:z"}}),
        json!({"Description": "d".repeat(257)}),
        json!({"ImageConfig": {"WorkingDirectory": "/".repeat(1_001)}}),
        json!({"ImageConfig": {"Command": vec!["c"; 1_501]}}),
        json!({"VpcConfig": {"SubnetIds": ["net-1"]}}),
        json!({"VpcConfig": {"SecurityGroupIds": ["sg-1", "sg-2", "sg-3", "sg-4", "sg-5", "sg-6"]}}),
    ];
    for change in others {
        let shown = change.to_string();
        assert_eq!(create(change).expect_err(&shown).error_type, "ValidationException", "{shown}");
    }
}

#[test]
fn the_name_is_checked_as_awss_recorded_answers_are() {
    violated(
        json!({"FunctionName": "invalid:function:name"}),
        r"Value 'invalid:function:name' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?",
    );
    let long = "a".repeat(65);
    invalid_value(
        json!({"FunctionName": long}),
        &format!(
            "1 validation error detected: Value '{long}' at 'functionName' failed to satisfy \
             constraint: Member must have length less than or equal to 64"
        ),
    );
    refused(
        json!({"FunctionName": "arn:aws:lambda:ap-southeast-1:123456789012:function:f"}),
        "ResourceNotFoundException",
        "Functions from 'ap-southeast-1' are not reachable in this region ('us-east-1')",
    );
    let other = json!({"FunctionName": "000000000000:function:f"});
    assert_eq!(create(other).unwrap_err().status, 403);
    assert!(create(json!({"FunctionName": "f:1"})).unwrap_err().message.contains("$LATEST"));
}

#[test]
fn the_environment_has_awss_limits() {
    let with = |variables: Value| json!({"Environment": {"Variables": variables}});
    invalid_value(
        with(json!({"AWS_REGION": "x", "OK": "y", "LAMBDA_TASK_ROOT": "z"})),
        "Lambda was unable to configure your environment variables because the environment \
         variables you have provided contains reserved keys that are currently not supported for \
         modification. Reserved keys used in this request: AWS_REGION, LAMBDA_TASK_ROOT",
    );
    assert!(create(with(json!({"_HANDLER": "x"}))).unwrap_err().message.ends_with(": _HANDLER"));
    for name in ["1A", "A", "A-B", "", "A B", "_AB"] {
        violated(
            with(json!({name: "secret"})),
            "Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy \
             constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]",
        );
    }
    assert!(create(with(json!({"AB": "a\0b"}))).is_err());
    // {"SMALL_VAR":"ok","LARGE_VAR":""} has 33 bytes; the order of the request is kept.
    let body = |length: usize| {
        format!(
            r#"{{"FunctionName":"f","Role":"arn:aws:iam::123456789012:role/r",
                "PackageType":"Image","Code":{{"ImageUri":"i"}},"Environment":{{"Variables":
                {{"SMALL_VAR":"ok", "LARGE_VAR":"{}"}}}}}}"#,
            "x".repeat(length)
        )
    };
    assert!(create_function(body(4_096 - 33).as_bytes(), &context(), &AcceptAll).is_ok());
    let error = create_function(body(4_097 - 33).as_bytes(), &context(), &AcceptAll).unwrap_err();
    let start = "Lambda was unable to configure your environment variables because the \
                 environment variables you have provided exceeded the 4KB limit. String measured: \
                 {\"SMALL_VAR\":\"ok\",\"LARGE_VAR\":\"xxx";
    assert!(error.message.starts_with(start), "{error}");
}

#[test]
fn tags_have_awss_limits() {
    let many: serde_json::Map<_, _> = (0..51).map(|i| (format!("k{i}"), json!("v"))).collect();
    invalid_value(json!({"Tags": many}), "Number of tags exceeds resource tag limit.");
    assert!(create(json!({"Tags": {"aws:x": "y"}})).unwrap_err().message.contains("reserved"));
    for tags in [json!({"a*": "b"}), json!({"": "b"}), json!({"a": "b".repeat(257)})] {
        assert_eq!(create(json!({"Tags": tags})).unwrap_err().error_type, "ValidationException");
    }
}

#[test]
fn a_package_needs_a_runtime_and_a_handler() {
    let zip = |runtime: Value, handler: Value| {
        create(json!({
            "PackageType": null, "Code": {"ZipFile": "UEs="}, "Runtime": runtime, "Handler": handler,
        }))
    };
    let function = zip(json!("python3.13"), json!("a.b")).unwrap();
    assert_eq!(function.runtime.as_deref(), Some("python3.13"));
    assert_eq!((function.code_sha256.as_str(), function.code_size), ("AP8Q", 2));
    for error in [zip(json!(null), json!("a.b")), zip(json!("java21"), json!(null))] {
        assert_eq!(
            error.unwrap_err().message,
            "Runtime and Handler are mandatory parameters for functions created with deployment \
             packages."
        );
    }
    assert_eq!(zip(json!("java21"), json!("a b")).unwrap_err().error_type, "ValidationException");
    assert_eq!(
        zip(json!("PYTHON3.9"), json!("a.b")).unwrap_err().message,
        "Value PYTHON3.9 at 'runtime' failed to satisfy constraint: Member must satisfy enum value \
         set: [nodejs20.x, python3.14, provided.al2023, python3.12, python3.13, nodejs24.x, \
         nodejs22.x, java25, python3.10, python3.11, java21, ruby3.3, ruby3.4, ruby3.2, python3.8, \
         python3.9, java17, nodejs16.x, dotnet10, dotnet8, java11, dotnet6, nodejs18.x, \
         provided.al2, java8.al2] or be a valid ARN"
    );
    let config = create(json!({
        "PackageType": "Zip", "Code": {"ZipFile": "UEs="}, "Runtime": "java21", "Handler": "a",
        "ImageConfig": {},
    }));
    assert!(
        config.unwrap_err().message.contains("not supported for functions with PackageType Zip")
    );
}

#[test]
fn an_image_has_nothing_of_a_package() {
    let both = "Please don't provide Handler or Runtime or Layer when the intended function \
                PackageType is Image.";
    invalid_value(json!({"Handler": "a.b"}), both);
    invalid_value(json!({"Runtime": "python3.13"}), both);
    let layer = "arn:aws:lambda:us-east-1:123456789012:layer:l:1";
    invalid_value(json!({"Layers": [layer]}), both);
    for code in [json!({"ImageUri": "i", "S3Bucket": "bkt"}), json!({"ZipFile": "UEs="})] {
        assert!(create(json!({"Code": code})).unwrap_err().message.contains("only ImageUri"));
    }
    let none = "Please provide a source for function code.";
    invalid_value(json!({"Code": {}}), none);
    invalid_value(json!({"Code": {"ImageUri": ""}}), none);
    for uri in ["a b", "../x", "a/../b", "a//b", "a?b", "a#b", "a%2f", "/a", "a/", "\u{e9}"] {
        let message = format!("Source image {uri} is not valid. Provide a valid source image.");
        invalid_value(json!({"Code": {"ImageUri": uri}}), &message);
    }
    let digest = format!("host:5000/a/b_c.d@sha256:{}", "0".repeat(64));
    assert!(create(json!({"Code": {"ImageUri": digest}})).is_ok());
}

#[test]
fn what_this_service_has_not_is_refused_by_name() {
    for (name, value) in [
        ("PublishTo", json!("LATEST_PUBLISHED")),
        ("FileSystemConfigs", json!([{}])),
        ("SnapStart", json!({"ApplyOn": "PublishedVersions"})),
        ("TenancyConfig", json!({})),
        ("CapacityProviderConfig", json!({})),
        ("DurableConfig", json!({})),
        ("RuntimeConfig", json!({})),
        ("AcceleratorConfig", json!({})),
    ] {
        invalid_value(json!({name: value}), &format!("{name} is not supported by this service."));
    }
    let arn = "arn:aws:lambda:us-east-1:123456789012:code-signing-config:csc-0123456789abcdefg";
    let signing = create(json!({"CodeSigningConfigArn": arn})).unwrap_err();
    assert_eq!((signing.status, signing.error_type), (404, "CodeSigningConfigNotFoundException"));
    for bad in ["arn:x", &arn[..arn.len() - 1], &format!("{arn}:1")] {
        let error = create(json!({"CodeSigningConfigArn": bad})).unwrap_err();
        assert_eq!(error.error_type, "ValidationException", "{bad}");
    }
}

#[test]
fn settings_that_no_container_starts_with_are_refused() {
    assert!(create(json!({"ImageConfig": {"Command": ["a\u{0}"]}})).is_err());
    assert!(create(json!({"ImageConfig": {"WorkingDirectory": "var"}})).is_err());
    assert!(create(json!({"LoggingConfig": {"SystemLogLevel": "INFO"}})).is_err());
}
