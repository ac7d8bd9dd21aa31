//! What holds of any body that a client sends to one of AWS's surfaces; see the crate's `fuzzing`.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use serde::de::IgnoredAny;

use super::aliases;
use super::create_function::{Accept, create_function};
use super::error::AwsError;
use super::function_rules::{not_json, validation};
use super::functions::{Context, changed};
use super::new_code::NewCode;
use super::shapes::AliasRequest;
use super::update_function::{CodeUpdate, ConfigurationUpdate};
use super::{json_text, logs, query, scheduler};
use crate::function::model::{Architecture, Code, Function, LayerUse};
use crate::function::name::Place;
use crate::function::violation::Violations;
use crate::fuzzing::Seed;

/// Any bytes as the body of each request. What is refused is the client's fault and says why; what
/// is accepted keeps AWS's limits, is stored and read back as it is, and is answered as JSON.
pub fn shapes(data: &[u8]) {
    payload(data);
    let new = check(create_function(data, &context(), &AcceptAll)).map(|new| new.function);
    if let Some(function) = &new {
        check_function(function);
    }
    for function in BASES.iter().chain(&new) {
        let update = ConfigurationUpdate::parse(data, &context(), &AcceptAll);
        if let Some(update) = check(update)
            && let Some(updated) = check(update.apply(function, &context()))
        {
            check_function(&updated);
        }
        if let Some(update) = check(CodeUpdate::parse(data, &context()))
            && let Some(accepted) = check(update.accept(function, &AcceptAll))
        {
            check_function(&accepted.apply(function, &context()));
        }
    }
    check(alias(data));
    check(scheduler::fuzzing::target(data));
    check(logs::fuzzing::events(data));
    if let Ok(text) = std::str::from_utf8(data) {
        logs::fuzzing::token(text);
        query::value(Some(text), "Qualifier");
        query::values(Some(text), "tagKeys");
    }
}

/// What a refusal says.
fn check<T>(result: Result<T, AwsError>) -> Option<T> {
    if let Err(error) = &result {
        assert!((400..500).contains(&error.status), "{error}");
        assert!(!error.message.is_empty() && !error.error_type.is_empty());
    }
    result.ok()
}

/// A short payload is JSON here if and only if it is to serde_json, which wants whole surrogate
/// pairs beside, and goes less deep.
fn payload(data: &[u8]) {
    let here = json_text::check(data);
    let there = serde_json::from_slice::<IgnoredAny>(data);
    match (&here, &there) {
        (Ok(()), Err(error)) => {
            let surrogates = data.windows(2).any(|two| two == b"\\u");
            let deep = error.to_string().contains("recursion limit");
            assert!(surrogates || deep, "JSON here, and there: {error}");
        }
        // The reader that ignores looks at no text.
        (Err(_), Ok(_)) => assert!(std::str::from_utf8(data).is_err(), "{here:?}"),
        (Ok(()), Ok(_)) => {}
        (Err(error), Err(_)) => assert!(!error.to_string().is_empty()),
    }
}

fn alias(body: &[u8]) -> Result<(), AwsError> {
    let request: AliasRequest = crate::json::from_slice(body).map_err(not_json)?;
    let mut found = Violations::default();
    if let Some(name) = &request.name {
        aliases::check_name(name, &mut found);
    }
    aliases::check_model(&request, &mut found);
    found.into_result().map_err(|found| validation(&found))?;
    if let Some(name) = &request.name {
        assert!((1..=128).contains(&name.len()) && !name.bytes().all(|b| b.is_ascii_digit()));
    }
    let version = request.function_version.unwrap_or_default();
    if let Some(additional) = aliases::additional(request.routing_config, &version)? {
        assert!((0.0..=1.0).contains(&additional.weight) && additional.version != version);
    }
    Ok(())
}

fn check_function(function: &Function) {
    assert!((1..=64).contains(&function.name.len()));
    assert!((1..=900).contains(&function.timeout_s), "{}", function.timeout_s);
    assert!((128..=MAX_MEMORY_MB).contains(&function.memory_mb), "{}", function.memory_mb);
    assert!((512..=10_240).contains(&function.ephemeral_storage_mb));
    assert!(function.description.chars().count() <= 256);
    assert!(function.layers.len() <= 5 && function.tags.len() <= 50);
    let variables = function.environment.iter().flatten();
    let size: usize = variables.map(|(name, value)| name.len() + value.len()).sum();
    assert!(size <= 4096, "{size} bytes of environment");
    let stored = serde_json::to_vec(function).unwrap();
    let read: Function = crate::json::from_slice(&stored).unwrap();
    assert!(read == *function, "not stored as it is");
    let answer = changed(function, &context()).unwrap();
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["MemorySize"], function.memory_mb);
}

/// What updates change: one of each package type.
static BASES: LazyLock<[Function; 2]> = LazyLock::new(|| [base(IMAGE), base(ZIP)]);

const MAX_MEMORY_MB: u32 = 2048;

fn context() -> Context<'static> {
    Context {
        place: Place { region: "us-east-1", account_id: "123456789012" },
        architecture: Architecture::X86_64,
        max_memory_mb: MAX_MEMORY_MB,
        now: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        host: None,
        format_time: |_| "date".to_owned(),
    }
}

fn base(body: &[u8]) -> Function {
    create_function(body, &context(), &AcceptAll).unwrap().function
}

/// Takes all code and all layers.
pub(super) struct AcceptAll;

impl Accept for AcceptAll {
    fn code(&self, code: NewCode) -> Result<Code, AwsError> {
        Ok(match code {
            NewCode::Image(uri) => Code::Image { uri, resolved_uri: None },
            NewCode::Zip(bytes) => {
                Code::Zip { sha256_hex: "00ff10".to_owned(), size: bytes.len() as u64 }
            }
            NewCode::S3 { .. } => Code::Zip { sha256_hex: "00".to_owned(), size: 0 },
            NewCode::Directory(path) => Code::Directory { path },
        })
    }

    fn layers(&self, arns: &[String]) -> Result<Vec<LayerUse>, AwsError> {
        let layer = |arn: &String| LayerUse { arn: arn.clone(), sha256_hex: "0".into(), size: 5 };
        Ok(arns.iter().map(layer).collect())
    }
}

const IMAGE: &[u8] = br#"{"FunctionName":"f","Role":"arn:aws:iam::123456789012:role/r","PackageType":"Image","Code":{"ImageUri":"i:1"}}"#;
const ZIP: &[u8] = br#"{"FunctionName":"arn:aws:lambda:us-east-1:123456789012:function:g","Role":"arn:aws:iam::123456789012:role/r","Handler":"a.b","Runtime":"python3.13","Code":{"ZipFile":"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}}"#;

pub const SHAPES_SEEDS: &[Seed] = &[
    ("image", IMAGE),
    ("zip", ZIP),
    ("full", br#"{"FunctionName":"f","Role":"arn:aws:iam::123456789012:role/r","PackageType":"Image","Code":{"ImageUri":"i:1"},"Timeout":900,"MemorySize":2048,"EphemeralStorage":{"Size":10240},"Environment":{"Variables":{"A1":"b"}},"Tags":{"a":"b"},"ImageConfig":{"Command":["c"],"WorkingDirectory":"/"},"TracingConfig":{"Mode":"Active"},"LoggingConfig":{"LogFormat":"JSON","ApplicationLogLevel":"INFO"},"Architectures":["x86_64"],"Publish":true}"#),
    ("configuration", br#"{"Description":"d","Timeout":3,"MemorySize":128,"Layers":["arn:aws:lambda:us-east-1:123456789012:layer:l:1"],"VpcConfig":{"SubnetIds":["subnet-00000000"],"SecurityGroupIds":[]},"DeadLetterConfig":{"TargetArn":"arn:aws:sqs:us-east-1:123456789012:q"},"KMSKeyArn":"","RevisionId":"x"}"#),
    ("code", br#"{"ImageUri":"i:2","DryRun":true,"Architectures":["arm64"]}"#),
    ("alias", br#"{"Name":"live","FunctionVersion":"1","RoutingConfig":{"AdditionalVersionWeights":{"2":0.5}}}"#),
    ("schedule", br#"{"ScheduleExpression":"rate(1 day)","FlexibleTimeWindow":{"Mode":"OFF"},"StartDate":1.5,"Target":{"Arn":"arn:aws:lambda:us-east-1:123456789012:function:f","RoleArn":"arn:aws:iam::123456789012:role/r","RetryPolicy":{"MaximumEventAgeInSeconds":60,"MaximumRetryAttempts":0},"Input":"{}","DeadLetterConfig":{"Arn":"arn:aws:sqs:us-east-1:123456789012:q"}},"ClientToken":"t"}"#),
    ("events", br#"{"logGroupName":"/aws/lambda/f","logStreamName":"s","logEvents":[{"timestamp":1,"message":"m"},{"timestamp":2,"message":"\ud83d\ude00"}]}"#),
    ("payload", br#"{"a":[1,-2.5e+3,true,null,"\u00e9\\"],"b":{}}"#),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::run_in_small;

    #[test]
    fn bodies_are_refused_for_a_reason_or_keep_the_limits() {
        run_in_small(SHAPES_SEEDS, b"\"9", shapes);
    }
}
