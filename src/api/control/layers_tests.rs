//! Layers as the model constrains and the answers show them.

use std::time::UNIX_EPOCH;

use super::*;
use crate::function::layers::tests::details;
use crate::function::model::Architecture;
use crate::function::name::Place;

fn context() -> Context<'static> {
    Context {
        place: Place { region: "us-east-1", account_id: "123456789012" },
        architecture: Architecture::X86_64,
        max_memory_mb: 256,
        now: UNIX_EPOCH,
        host: None,
        format_time: |_| "date".to_owned(),
    }
}

fn named(values: &[&str]) -> Call {
    Call {
        values: values.iter().map(ToString::to_string).collect(),
        query: None,
        host: None,
        peer: [127, 0, 0, 1].into(),
        region: "us-east-1".to_owned(),
        body: Vec::new().into(),
    }
}

fn name(raw: &str) -> Result<String, AwsError> {
    let call = named(&[raw]);
    layer_name(&call, &context(), Violations::default()).map(str::to_owned)
}

#[test]
fn a_version_is_answered_in_awss_shape() {
    let layer = LayerVersion {
        region: "us-east-1".to_owned(),
        name: "l".to_owned(),
        version: 3,
        details: details(&["python3.13"]),
        policy: None,
    };
    let context = context();
    assert_eq!(
        serde_json::to_value(whole(&layer, &context).unwrap()).unwrap(),
        serde_json::json!({
            "Content": { "CodeSha256": "AP8=", "CodeSize": 7 },
            "LayerArn": "arn:aws:lambda:us-east-1:123456789012:layer:l",
            "LayerVersionArn": "arn:aws:lambda:us-east-1:123456789012:layer:l:3",
            "Version": 3,
            "Description": "d",
            "CreatedDate": "date",
            "CompatibleRuntimes": ["python3.13"],
        })
    );
    assert_eq!(base64_of_hex("0g"), None);
    assert_eq!(base64_of_hex("000"), None);
}

#[test]
fn a_layer_is_named_by_its_name_or_its_arn() {
    assert_eq!(name("my-layer_1").unwrap(), "my-layer_1");
    assert_eq!(name("arn:aws:lambda:us-east-1:123456789012:layer:l").unwrap(), "l");
    for bad in ["", "a b", "a.b", "arn:aws:lambda:us-east-1:123456789012:layer:l:1"] {
        assert_eq!(name(bad).unwrap_err().error_type, "ValidationException", "{bad}");
    }
    assert!(name(&"l".repeat(140)).is_ok() && name(&"l".repeat(141)).is_err());
    let there = name("arn:aws:lambda:eu-west-1:123456789012:layer:l").unwrap_err();
    assert_eq!(there.status, 404);
    let theirs = name("arn:aws:lambda:us-east-1:000000000001:layer:l").unwrap_err();
    assert_eq!(theirs.status, 403);
}

#[test]
fn versions_are_numbers_from_one_on() {
    assert_eq!(version(&named(&["l", "2"])).unwrap(), 2);
    for bad in ["0", "-1"] {
        let error = version(&named(&["l", bad])).unwrap_err();
        assert_eq!(error.message, "Layer Version Cannot be less than 1");
    }
    assert_eq!(version(&named(&["l", "x"])).unwrap_err().status, 400);
}

#[test]
fn unknown_runtimes_and_architectures_are_told_together() {
    let request = PublishRequest {
        content: Some(LayerContent::default()),
        compatible_runtimes: Some(vec!["invalidruntime".to_owned(), "nodejs20.x".to_owned()]),
        compatible_architectures: Some(vec!["invalidarch".to_owned(), "x86_64".to_owned()]),
        ..PublishRequest::default()
    };
    let mut found = Violations::default();
    check(&request, &mut found);
    let text = found.into_result().unwrap_err().to_string();
    assert!(
        text.starts_with(
            "2 validation errors detected: Value '[invalidruntime, nodejs20.x]' at \
             'compatibleRuntimes' failed to satisfy constraint: Member must satisfy enum value \
             set: [nodejs20.x, python3.14, "
        ) && text.ends_with(
            "; Value '[invalidarch, x86_64]' at 'compatibleArchitectures' failed to satisfy \
             constraint: Member must satisfy constraint: [Member must satisfy enum value set: \
             [x86_64, arm64], Member must not be null]"
        ),
        "{text}"
    );
}
