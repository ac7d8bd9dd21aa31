//! Answers against the forms that AWS gave, through a registry whose store is in memory.

use serde_json::{Value, json};

use super::*;
use crate::function::error::FunctionError;
use crate::function::model::LayerUse;
use crate::function::model::tests::{ready, sample};
use crate::function::power_cut::Backend;
use crate::function::state::{ReasonCode, Step};

const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function";

pub(in crate::api) fn context() -> Context<'static> {
    Context {
        place: Place { region: "us-east-1", account_id: "123456789012" },
        architecture: Architecture::X86_64,
        max_memory_mb: 256,
        now: UNIX_EPOCH,
        host: None,
        format_time: |time| format!("at {}", time.duration_since(UNIX_EPOCH).unwrap().as_millis()),
    }
}

fn registry(names: &[&str]) -> Registry {
    let registry = Registry::new(Backend::default().open().unwrap(), "123456789012").unwrap();
    for name in names {
        registry.create(sample(name), false).unwrap();
    }
    registry
}

fn parsed(answer: Result<String, AwsError>) -> Value {
    serde_json::from_str(&answer.unwrap()).unwrap()
}

/// What the sample has in each answer.
fn base(name: &str, arn: &str) -> Value {
    json!({
        "FunctionName": name, "FunctionArn": arn, "Version": "$LATEST",
        "Role": "arn:aws:iam::123456789012:role/r", "Description": "",
        "CodeSize": 0, "CodeSha256": "", "Timeout": 3, "MemorySize": 128,
        "LastModified": "at 1700000000123", "PackageType": "Image", "Architectures": ["x86_64"],
        "RevisionId": "11111111-1111-4111-8111-111111111111",
        "Environment": {"Variables": {"KEY": "secret"}}, "EphemeralStorage": {"Size": 512},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": format!("/aws/lambda/{name}")},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "TracingConfig": {"Mode": "PassThrough"},
    })
}

#[test]
fn a_created_function_is_pending() {
    let mut expected = base("f", &format!("{ARN}:f"));
    expected["State"] = json!("Pending");
    expected["StateReason"] = json!("The function is being created.");
    expected["StateReasonCode"] = json!("Creating");
    assert_eq!(parsed(changed(&sample("f"), &context())), expected);
}

#[test]
fn get_function_tells_code_tags_and_state() {
    let registry = registry(&[]);
    let mut function = sample("f");
    function.tags.insert("team".to_owned(), "x".to_owned());
    function.image_config = Some(crate::function::model::ImageConfig {
        command: Some(vec!["c".to_owned()]),
        ..Default::default()
    });
    let created = registry.create(function, false).unwrap().latest;
    let active = registry.set_state(&created, &ready()).unwrap();
    let mut configuration = base("f", &format!("{ARN}:f"));
    configuration["State"] = json!("Active");
    configuration["RevisionId"] = json!(active.revision_id);
    configuration["LastUpdateStatus"] = json!("Successful");
    configuration["CodeSha256"] = json!("ab12");
    configuration["CodeSize"] = json!(42);
    configuration["ImageConfigResponse"] = json!({"ImageConfig": {"Command": ["c"]}});
    let code = json!({
        "RepositoryType": "ECR", "ImageUri": "image:1", "ResolvedImageUri": "image@sha256:ab12",
    });
    let expected = json!({"Configuration": configuration, "Code": code, "Tags": {"team": "x"}});
    assert_eq!(parsed(get_function(&registry, "f", None, &context())), expected);
    let latest = parsed(get_function(&registry, "f", Some("$LATEST"), &context()));
    assert_eq!(latest["Configuration"]["FunctionArn"], format!("{ARN}:f:$LATEST"));
}

#[test]
fn a_failed_function_says_why() {
    let registry = registry(&["f"]);
    let step = Step::Fail { code: ReasonCode::InvalidImage, reason: "no such image".to_owned() };
    registry.set_state(&sample("f"), &step).unwrap();
    let answer = parsed(get_function(&registry, "f", None, &context()));
    let configuration = &answer["Configuration"];
    assert_eq!(configuration["State"], "Failed");
    assert_eq!(configuration["StateReasonCode"], "InvalidImage");
    assert_eq!(configuration["StateReason"], "no such image");
    assert_eq!(answer.get("Tags"), None);
}

fn told(error: AwsError) -> (u16, &'static str, String) {
    (error.status, error.error_type, error.message.clone())
}

#[test]
fn what_is_not_there_is_named_as_it_was_asked_for() {
    let registry = registry(&["f"]);
    let get =
        |raw, qualifier| told(get_function(&registry, raw, qualifier, &context()).unwrap_err());
    let cases = [
        ("g", None, format!("Function not found: {ARN}:g")),
        ("g", Some("$LATEST"), format!("Function not found: {ARN}:g:$LATEST")),
        ("f", Some("1221"), format!("Function not found: {ARN}:f:1221")),
        ("f:live", None, format!("Function not found: {ARN}:f:live")),
        (
            "arn:aws:lambda:eu-west-1:123456789012:function:f",
            None,
            "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')".to_owned(),
        ),
    ];
    for (raw, qualifier, message) in cases {
        assert_eq!(get(raw, qualifier), (404, "ResourceNotFoundException", message));
    }
    assert_eq!(get("f f", None).1, "ValidationException");
    assert_eq!(get("000000000000:f", None).1, "AccessDeniedException");
}

#[test]
fn delete_function_deletes_functions_only() {
    let registry = registry(&["f"]);
    let delete =
        |qualifier| told(delete_function(&registry, "f", qualifier, &context()).unwrap_err());
    let bad = |message: &str| (400, "InvalidParameterValueException", message.to_owned());
    assert_eq!(
        delete(Some("$LATEST")),
        bad("$LATEST version cannot be deleted without deleting the function.")
    );
    assert_eq!(delete(Some("live")), bad("Deletion of aliases is not currently supported."));
    let differ = delete_function(&registry, "f:1", Some("2"), &context()).unwrap_err();
    assert_eq!(
        told(differ),
        bad("The derived qualifier from the function name does not match the specified qualifier.")
    );
    assert_eq!(delete_function(&registry, "f", None, &context()).unwrap()[0].name, "f");
    assert_eq!(delete(None).2, format!("Function not found: {ARN}:f"));
}

#[test]
fn an_existing_name_is_a_conflict() {
    let error = registry(&["f"]).create(sample("f"), false).unwrap_err();
    let expected = (409, "ResourceConflictException", "Function already exist: f".to_owned());
    assert_eq!(told(error.into()), expected);
}

#[test]
fn pages_of_a_list_follow_the_marker() {
    let registry = registry(&["c", "a", "b"]);
    let list = |query: &ListQuery<'_>| parsed(list_functions(&registry, query, &context()));
    let first = list(&ListQuery { max_items: Some("2"), ..Default::default() });
    // No State in a list, and the ARN is without a version unless all versions are asked for.
    let entry = |name: &str| base(name, &format!("{ARN}:{name}"));
    let marker = format!("{ARN}:b");
    assert_eq!(first, json!({"NextMarker": marker, "Functions": [entry("a"), entry("b")]}));
    let next = list(&ListQuery { marker: Some(&marker), ..Default::default() });
    assert_eq!(next, json!({"Functions": [entry("c")]}));
    let all = list(&ListQuery { function_version: Some("ALL"), ..Default::default() });
    assert_eq!(all["Functions"][0]["FunctionArn"], format!("{ARN}:a:$LATEST"));
    let edge = list(&ListQuery { master_region: Some("ALL"), ..Default::default() });
    assert_eq!(edge, json!({"Functions": []}));
}

#[test]
fn a_page_has_fifty_functions_at_most() {
    let names: Vec<String> = (10..61).map(|i| format!("f{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let query = ListQuery { max_items: Some("10000"), ..Default::default() };
    let page = parsed(list_functions(&registry(&names), &query, &context()));
    assert_eq!(page["Functions"].as_array().unwrap().len(), 50);
    assert_eq!(page["NextMarker"], format!("{ARN}:f59"));
}

#[test]
fn a_bad_list_query_is_refused() {
    let registry = registry(&[]);
    let refuse = |query| told(list_functions(&registry, &query, &context()).unwrap_err());
    let version = ListQuery { function_version: Some("invalid"), ..Default::default() };
    assert_eq!(
        refuse(version).2,
        "1 validation error detected: Value 'invalid' at 'functionVersion' failed to satisfy \
         constraint: Member must satisfy enum value set: [ALL]"
    );
    let items = |max| ListQuery { max_items: Some(max), ..Default::default() };
    assert!(refuse(items("0")).2.ends_with("value greater than or equal to 1"));
    assert!(refuse(items("10001")).2.ends_with("value less than or equal to 10000"));
    assert_eq!(refuse(items("many")).1, "SerializationException");
    assert_eq!(refuse(items("99999999999999999999")).1, "SerializationException");
    let marker = ListQuery { marker: Some("a b"), ..Default::default() };
    assert_eq!(refuse(marker).2, "Invalid marker.");
    let region = ListQuery { master_region: Some("moon"), ..Default::default() };
    assert_eq!(refuse(region).1, "ValidationException");
}

/// A registry with an Active `f`.
pub(in crate::api) fn active() -> Registry {
    let registry = registry(&["f"]);
    registry.set_state(&sample("f"), &ready()).unwrap();
    registry
}

/// A new `$LATEST`, so that there is something to publish.
pub(in crate::api) fn update(registry: &Registry) {
    let change = |f: &Function| Ok(Function { timeout_s: f.timeout_s + 1, ..f.clone() });
    let written = registry.update::<FunctionError>("us-east-1", "f", None, false, change).unwrap();
    registry.set_state(&written.latest, &ready()).unwrap();
}

#[test]
fn a_published_version_is_shown_as_itself() {
    let registry = active();
    let publish =
        |body: Value| publish_version(&registry, "f", body.to_string().as_bytes(), &context());
    let version = parsed(publish(json!({"Description": "first"})));
    assert_eq!((&version["Version"], &version["Description"]), (&json!("1"), &json!("first")));
    assert_eq!(version["FunctionArn"], format!("{ARN}:f:1"));
    assert_eq!((&version["State"], &version["CodeSha256"]), (&json!("Active"), &json!("ab12")));
    // Nothing has changed, and a request without a body is one without members.
    assert_eq!(parsed(publish_version(&registry, "f", b"", &context()))["Version"], "1");
    let refused = |body| told(publish(body).unwrap_err());
    assert_eq!(
        refused(json!({"RevisionId": "old"})),
        (
            412,
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. Call the \
             GetFunction/GetAlias API to retrieve the latest Revision Id"
                .to_owned()
        )
    );
    assert!(refused(json!({"CodeSha256": "x"})).2.starts_with("CodeSHA256 (x) is different from"));
    assert_eq!(refused(json!({"Description": "x".repeat(257)})).1, "ValidationException");
    let absent = publish_version(&registry, "g", b"", &context()).unwrap_err();
    assert_eq!(told(absent).2, format!("Function not found: {ARN}:g"));
    let version = publish_version(&registry, "f:1", b"", &context()).unwrap_err();
    assert!(told(version).2.starts_with("This operation is permitted on Lambda functions only."));
}

#[test]
fn versions_are_listed_after_latest() {
    let registry = active();
    for _ in 0..2 {
        publish_version(&registry, "f", b"", &context()).unwrap();
        update(&registry);
    }
    let list = |marker, max| parsed(list_versions(&registry, "f", (marker, max), &context()));
    let first = list(None, Some("2"));
    assert_eq!(first["Versions"][0]["FunctionArn"], format!("{ARN}:f:$LATEST"));
    assert_eq!(first["Versions"][1]["FunctionArn"], format!("{ARN}:f:1"));
    assert_eq!(first["Versions"][1].get("State"), None);
    let next = list(first["NextMarker"].as_str(), None);
    assert_eq!(next["Versions"][0]["Version"], "2");
    assert_eq!((next["Versions"].as_array().unwrap().len(), next.get("NextMarker")), (1, None));
    let query = |marker| ListQuery {
        marker,
        max_items: Some("1"),
        function_version: Some("ALL"),
        ..ListQuery::default()
    };
    let all = |marker| parsed(list_functions(&registry, &query(marker), &context()));
    let first = all(None);
    assert_eq!(first["NextMarker"], format!("{ARN}:f:$LATEST"));
    let second = all(first["NextMarker"].as_str());
    assert_eq!(second["Functions"][0]["FunctionArn"], format!("{ARN}:f:1"));
    assert_eq!(all(Some(&format!("{ARN}:f:2"))), json!({"Functions": []}));
}

#[test]
fn what_is_not_ready_is_a_conflict() {
    let registry = registry(&["f"]);
    let pending = publish_version(&registry, "f", b"", &context()).unwrap_err();
    let text = "The operation cannot be performed at this time. The function is currently in the \
                following state: Pending";
    assert_eq!(told(pending), (409, "ResourceConflictException", text.to_owned()));
    registry.set_state(&sample("f"), &ready()).unwrap();
    let change = |f: &Function| Ok(f.clone());
    registry.update::<FunctionError>("us-east-1", "f", None, false, change).unwrap();
    let updating = publish_version(&registry, "f", b"", &context()).unwrap_err();
    let text = format!(
        "The operation cannot be performed at this time. An update is in progress for resource: \
         {ARN}:f"
    );
    assert_eq!(told(updating), (409, "ResourceConflictException", text));
    let shown = parsed(get_configuration(&registry, "f", None, &context()));
    assert_eq!(
        (&shown["State"], &shown["LastUpdateStatus"]),
        (&json!("Active"), &json!("InProgress"))
    );
    assert_eq!(shown["LastUpdateStatusReasonCode"], "Creating");
}

#[test]
fn a_package_and_its_layers_are_shown() {
    let mut function = sample("f");
    function.runtime = Some("python3.13".to_owned());
    function.handler = Some("a.b".to_owned());
    function.set_code(Code::Zip { sha256_hex: "00ff10".to_owned(), size: 7 });
    let arn = "arn:aws:lambda:us-east-1:123456789012:layer:l:1".to_owned();
    function.layers = vec![LayerUse { arn: arn.clone(), sha256_hex: "0".to_owned(), size: 5 }];
    let shown = parsed(changed(&function, &context()));
    assert_eq!((&shown["PackageType"], &shown["Runtime"]), (&json!("Zip"), &json!("python3.13")));
    assert_eq!((&shown["CodeSha256"], &shown["CodeSize"]), (&json!("AP8Q"), &json!(7)));
    assert_eq!(shown["Layers"], json!([{"Arn": arn, "CodeSize": 5}]));
}
