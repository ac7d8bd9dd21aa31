//! What an update changes, what it leaves, and what it refuses.

use serde_json::{Value, json};

use super::*;
use crate::api::functions::tests::context;
use crate::api::new_code::NewCode;
use crate::function::model::tests::sample;

/// Takes all code and all layers.
struct AcceptAll;

impl Accept for AcceptAll {
    fn code(&self, code: NewCode) -> Result<Code, AwsError> {
        Ok(match code {
            NewCode::Image(uri) => Code::Image { uri, resolved_uri: None },
            _ => Code::Zip { sha256_hex: "00ff10".to_owned(), size: 3 },
        })
    }

    fn layers(&self, arns: &[String]) -> Result<Vec<LayerUse>, AwsError> {
        let layer = |arn: &String| LayerUse { arn: arn.clone(), sha256_hex: "0".into(), size: 5 };
        Ok(arns.iter().map(layer).collect())
    }
}

fn zipped() -> Function {
    let mut function = sample("f");
    function.runtime = Some("python3.13".to_owned());
    function.handler = Some("a.b".to_owned());
    function.set_code(Code::Zip { sha256_hex: "00".to_owned(), size: 1 });
    function
}

fn configure(function: &Function, body: Value) -> Result<Function, AwsError> {
    let body = body.to_string();
    let update = ConfigurationUpdate::parse(body.as_bytes(), &context(), &AcceptAll)?;
    update.apply(function, &context())
}

fn recode(function: &Function, body: Value) -> Result<Function, AwsError> {
    let update = CodeUpdate::parse(body.to_string().as_bytes(), &context())?;
    Ok(update.accept(function, &AcceptAll)?.apply(function, &context()))
}

#[test]
fn nothing_named_is_nothing_changed() {
    let expected = Function { last_modified_ms: 0, ..sample("f") };
    assert_eq!(configure(&sample("f"), json!({})).unwrap(), expected);
}

#[test]
fn each_member_replaces_what_there_was() {
    let changed = configure(
        &sample("f"),
        json!({
            "Role": "arn:aws:iam::123456789012:role/other", "Description": "new", "Timeout": 60,
            "MemorySize": 256, "EphemeralStorage": {"Size": 1024},
            "Environment": {"Variables": {"A1": "b"}}, "ImageConfig": {"Command": ["c"]},
            "TracingConfig": {"Mode": "Active"}, "KMSKeyArn": "arn:aws:kms:k",
            "DeadLetterConfig": {"TargetArn": "arn:aws:sqs:q"},
            "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": []},
            "LoggingConfig": {"LogFormat": "JSON"},
        }),
    )
    .unwrap();
    assert_eq!((changed.timeout_s, changed.memory_mb), (60, 256));
    assert_eq!(changed.ephemeral_storage_mb, 1024);
    assert_eq!(
        (changed.role.as_str(), changed.description.as_str()),
        ("arn:aws:iam::123456789012:role/other", "new")
    );
    assert_eq!(changed.environment, Some([("A1".to_owned(), "b".to_owned())].into()));
    assert_eq!(changed.image_config.as_ref().unwrap().command, Some(vec!["c".to_owned()]));
    assert_eq!(changed.tracing.as_str(), "Active");
    assert_eq!(changed.dead_letter_target.as_deref(), Some("arn:aws:sqs:q"));
    assert_eq!(changed.kms_key_arn.as_deref(), Some("arn:aws:kms:k"));
    assert_eq!(changed.vpc.as_ref().unwrap().subnet_ids, ["subnet-1"]);
    assert_eq!(changed.logging.application_level.as_deref(), Some("INFO"));
    assert_eq!(changed.logging.group, "/aws/lambda/f");
    assert_eq!(changed.code, sample("f").code);
    let emptied = json!({
        "Environment": {}, "ImageConfig": {}, "KMSKeyArn": "", "DeadLetterConfig": {"TargetArn": ""},
        "LoggingConfig": {"LogFormat": "Text"},
    });
    let emptied = configure(&changed, emptied).unwrap();
    assert_eq!((emptied.environment, emptied.image_config), (None, None));
    assert_eq!((emptied.kms_key_arn, emptied.dead_letter_target), (None, None));
    assert_eq!((emptied.logging.json, emptied.logging.application_level), (false, None));
}

#[test]
fn a_level_stays_where_another_is_changed() {
    let json = json!({"LoggingConfig": {"LogFormat": "JSON", "ApplicationLogLevel": "WARN"}});
    let function = configure(&sample("f"), json).unwrap();
    let json = json!({"LoggingConfig": {"SystemLogLevel": "DEBUG"}});
    let logging = configure(&function, json).unwrap().logging;
    assert_eq!(logging.application_level.as_deref(), Some("WARN"));
    assert_eq!(logging.system_level.as_deref(), Some("DEBUG"));
}

#[test]
fn what_a_package_has_is_replaced() {
    let arn = "arn:aws:lambda:us-east-1:123456789012:layer:l:1";
    let change = json!({"Handler": "c.d", "Runtime": "python3.14", "Layers": [arn]});
    let changed = configure(&zipped(), change).unwrap();
    assert_eq!(changed.handler.as_deref(), Some("c.d"));
    assert_eq!(changed.runtime.as_deref(), Some("python3.14"));
    assert_eq!(changed.layers[0].arn, arn);
    assert_eq!(configure(&changed, json!({"Timeout": 9})).unwrap().layers, changed.layers);
    assert!(configure(&changed, json!({"Layers": []})).unwrap().layers.is_empty());
}

#[test]
fn the_other_package_types_members_are_refused() {
    let invalid = |result: Result<Function, AwsError>, text: &str| {
        let error = result.unwrap_err();
        assert_eq!(error.error_type, "InvalidParameterValueException");
        assert!(error.message.starts_with(text), "{}", error.message);
    };
    for change in [json!({"Handler": "a.b"}), json!({"Runtime": "java21"}), json!({"Layers": []})] {
        invalid(
            configure(&sample("f"), change),
            "Please don't provide Handler or Runtime or Layer",
        );
    }
    invalid(configure(&zipped(), json!({"ImageConfig": {}})), "ImageConfig is not supported");
    invalid(recode(&sample("f"), json!({"ZipFile": "UEs="})), "Please provide ImageUri when");
    invalid(recode(&zipped(), json!({"ImageUri": "i"})), "Please don't provide ImageUri when");
    invalid(recode(&zipped(), json!({})), "Please provide a source for function code.");
    invalid(configure(&zipped(), json!({"Runtime": "PYTHON3.9"})), "Value PYTHON3.9 at 'runtime'");
    invalid(configure(&zipped(), json!({"MemorySize": 512})), "'MemorySize' value failed");
    invalid(
        configure(&zipped(), json!({"SnapStart": {"ApplyOn": "PublishedVersions"}})),
        "SnapStart",
    );
}

#[test]
fn layers_are_few_of_one_region_and_each_once() {
    let layer = |name: &str, version: u32, region: &str| {
        format!("arn:aws:lambda:{region}:123456789012:layer:{name}:{version}")
    };
    let refused = |layers: &[String]| {
        configure(&zipped(), json!({"Layers": layers})).unwrap_err().message.clone()
    };
    let six: Vec<String> = (1..7).map(|i| layer(&format!("l{i}"), 1, "us-east-1")).collect();
    assert_eq!(refused(&six), "Cannot reference more than 5 layers.");
    assert!(configure(&zipped(), json!({"Layers": six[..5]})).is_ok());
    let twins = [layer("l", 1, "us-east-1"), layer("l", 2, "us-east-1")];
    assert_eq!(
        refused(&twins),
        format!(
            "Two different versions of the same layer are not allowed to be referenced in the same \
             function. {} and {} are versions of the same layer.",
            twins[0], twins[1]
        )
    );
    assert_eq!(
        refused(&[layer("l", 1, "eu-west-1")]),
        "Layers are not in the same region as the function. Layers are expected to be in region \
         us-east-1."
    );
    let unversioned = "arn:aws:lambda:us-east-1:123456789012:layer:l".to_owned();
    let text = refused(std::slice::from_ref(&unversioned));
    assert!(
        text.starts_with(&format!(
            "1 validation error detected: Value '[{unversioned}]' at 'layers' failed to satisfy \
             constraint: Member must satisfy constraint: [Member must have length less than or \
             equal to 2048, Member must have length greater than or equal to 1, Member must \
             satisfy regular expression pattern: (arn:"
        )) && text.ends_with(", Member must not be null]"),
        "{text}"
    );
}

#[test]
fn new_code_takes_the_place_of_the_old() {
    let old = Function { architecture: Architecture::Arm64, ..sample("f") };
    let changed = recode(&old, json!({"ImageUri": "image:2", "Architectures": ["x86_64"]}));
    let changed = changed.unwrap();
    assert_eq!(changed.code, Code::Image { uri: "image:2".to_owned(), resolved_uri: None });
    assert_eq!((changed.code_sha256.as_str(), changed.architecture), ("", Architecture::X86_64));
    let other = recode(&old, json!({"ImageUri": "image:2", "Architectures": ["arm64"]}));
    assert_eq!(
        other.unwrap_err().message,
        "The function is for arm64, which this host (x86_64) cannot run. Build it for x86_64."
    );
    let changed = recode(&zipped(), json!({"ZipFile": "UEs="})).unwrap();
    assert_eq!((changed.code_sha256.as_str(), changed.code_size), ("AP8Q", 3));
    let body = json!({"ZipFile": "UEs=", "Publish": true, "DryRun": true, "RevisionId": "r"});
    let update = CodeUpdate::parse(body.to_string().as_bytes(), &context()).unwrap();
    assert_eq!(
        (update.publish, update.dry_run, update.revision_id.as_deref()),
        (true, true, Some("r"))
    );
    let both = json!({"Architectures": ["x86_64", "arm64"]});
    assert_eq!(recode(&zipped(), both).unwrap_err().error_type, "ValidationException");
}
