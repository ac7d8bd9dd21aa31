//! Aliases in AWS's forms and texts, over a registry in memory with versions 1 and 2 of `f`.

use serde_json::{Value, json};

use super::*;
use crate::api::functions::publish_version;
use crate::api::functions::tests::{active, context, update};

const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function";

fn registry() -> Registry {
    let registry = active();
    for _ in 0..2 {
        publish_version(&registry, "f", b"", &context()).unwrap();
        update(&registry);
    }
    registry
}

fn create(registry: &Registry, body: Value) -> Result<Value, AwsError> {
    let answer = create_alias(registry, "f", body.to_string().as_bytes(), &context())?;
    Ok(serde_json::from_str(&answer).unwrap())
}

fn change(registry: &Registry, name: &str, body: Value) -> Result<Value, AwsError> {
    let answer = update_alias(registry, "f", name, body.to_string().as_bytes(), &context())?;
    Ok(serde_json::from_str(&answer).unwrap())
}

#[test]
fn an_alias_is_shown_in_awss_form() {
    let registry = registry();
    let routing = json!({"AdditionalVersionWeights": {"2": 0.2}});
    let created = create(
        &registry,
        json!({"Name": "live", "FunctionVersion": "1", "Description": "d", "RoutingConfig": routing}),
    );
    let created = created.unwrap();
    let expected = json!({
        "AliasArn": format!("{ARN}:f:live"), "Name": "live", "FunctionVersion": "1",
        "Description": "d", "RoutingConfig": routing, "RevisionId": created["RevisionId"],
    });
    assert_eq!(created, expected);
    let got = get_alias(&registry, "f", "live", &context()).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&got).unwrap(), expected);
    create(&registry, json!({"Name": "beta", "FunctionVersion": "$LATEST"})).unwrap();
    let query = AliasQuery { max_items: Some("1"), ..AliasQuery::default() };
    let page = list_aliases(&registry, "f", &query, &context()).unwrap();
    let page: Value = serde_json::from_str(&page).unwrap();
    assert_eq!(
        (&page["NextMarker"], page["Aliases"].as_array().unwrap().len()),
        (&json!("beta"), 1)
    );
    assert_eq!(page["Aliases"][0].get("RoutingConfig"), None);
    let query = AliasQuery { function_version: Some("2"), ..AliasQuery::default() };
    let page = list_aliases(&registry, "f", &query, &context()).unwrap();
    assert!(page.contains("live") && !page.contains("beta"), "{page}");
}

#[test]
fn an_update_leaves_what_it_does_not_name() {
    let registry = registry();
    let routing = json!({"AdditionalVersionWeights": {"2": 0.2}});
    let body = json!({"Name": "live", "FunctionVersion": "1", "RoutingConfig": routing});
    let created = create(&registry, body).unwrap();
    let seen = json!({"Description": "new", "RevisionId": created["RevisionId"]});
    let updated = change(&registry, "live", seen.clone()).unwrap();
    assert_eq!((&updated["Description"], &updated["RoutingConfig"]), (&json!("new"), &routing));
    assert_ne!(updated["RevisionId"], created["RevisionId"]);
    let stale = change(&registry, "live", seen).unwrap_err();
    assert_eq!((stale.status, stale.error_type), (412, "PreconditionFailedException"));
    let none = json!({"RoutingConfig": {"AdditionalVersionWeights": {}}, "FunctionVersion": "2"});
    let updated = change(&registry, "live", none).unwrap();
    assert_eq!((&updated["FunctionVersion"], updated.get("RoutingConfig")), (&json!("2"), None));
}

fn refused(result: Result<Value, AwsError>) -> (u16, &'static str, String) {
    let error = result.unwrap_err();
    (error.status, error.error_type, error.message.clone())
}

#[test]
fn routing_is_refused_in_awss_words() {
    let registry = registry();
    let routed = |version: &str, weights: Value| {
        let routing = json!({"AdditionalVersionWeights": weights});
        let body = json!({"Name": "a", "FunctionVersion": version, "RoutingConfig": routing});
        refused(create(&registry, body))
    };
    let bad = |message: &str| (400, "InvalidParameterValueException", message.to_owned());
    assert_eq!(
        routed("$LATEST", json!({"1": 0.5})),
        bad("$LATEST is not supported for an alias pointing to more than 1 version")
    );
    assert_eq!(
        routed("1", json!({"1": 0.5})),
        bad("Invalid function version 1. Function version 1 is already included in routing \
             configuration.")
    );
    assert_eq!(
        routed("1", json!({"2": 0.5, "3": 0.1})),
        bad("Number of items in AdditionalVersionWeights cannot be greater than 1")
    );
    let violated = |finding: &str| {
        let field = "routingConfig.additionalVersionWeights";
        let text = finding.replace('@', &format!("at '{field}' failed to satisfy constraint: Map"));
        (400, "ValidationException", format!("1 validation error detected: Value {text}"))
    };
    assert_eq!(
        routed("1", json!({"$LATEST": 0.5})),
        violated(
            "'{$LATEST=0.5}' @ keys must satisfy constraint: [Member must have length less than \
             or equal to 1024, Member must have length greater than or equal to 1, Member must \
             satisfy regular expression pattern: [0-9]+]"
        )
    );
    let out_of_range = " @ value must satisfy constraint: [Member must have value less than or \
                        equal to 1.0, Member must have value greater than or equal to 0.0, Member \
                        must not be null]";
    assert_eq!(routed("1", json!({"2": -1})), violated(&format!("'{{2=-1.0}}'{out_of_range}")));
    assert_eq!(routed("1", json!({"2": 1.5})), violated(&format!("'{{2=1.5}}'{out_of_range}")));
    let absent =
        |arn: &str| (404, "ResourceNotFoundException", format!("Function not found: {ARN}:{arn}"));
    assert_eq!(routed("1", json!({"7": 0.5})), absent("f:7"));
    assert_eq!(routed("10", json!({})), absent("f:10"));
}

#[test]
fn what_is_not_there_or_there_already_is_told() {
    let registry = registry();
    let live = json!({"Name": "live", "FunctionVersion": "1"});
    create(&registry, live.clone()).unwrap();
    let exists = format!("Alias already exists: {ARN}:f:live");
    assert_eq!(
        refused(create(&registry, live.clone())),
        (409, "ResourceConflictException", exists)
    );
    let error = get_alias(&registry, "f", "none", &context()).unwrap_err();
    assert_eq!(error.message, format!("Cannot find alias arn: {ARN}:f:none"));
    let error = change(&registry, "none", json!({})).unwrap_err();
    assert_eq!(error.message, format!("Alias not found: {ARN}:f:none"));
    let body = live.to_string();
    let error = create_alias(&registry, "g", body.as_bytes(), &context()).unwrap_err();
    assert_eq!(error.message, format!("Function not found: {ARN}:g:1"));
    delete_alias(&registry, "f", "live", &context()).unwrap();
    delete_alias(&registry, "f", "live", &context()).unwrap();
    assert_eq!(delete_alias(&registry, "g", "live", &context()).unwrap_err().status, 404);
}

#[test]
fn names_and_versions_fit_the_model() {
    let registry = registry();
    for (body, finding) in [
        (json!({"Name": "7", "FunctionVersion": "1"}), "Value '7' at 'name'"),
        (json!({"FunctionVersion": "1"}), "Value null at 'name'"),
        (json!({"Name": "a"}), "Value null at 'functionVersion'"),
        (json!({"Name": "a", "FunctionVersion": "live"}), "Value 'live' at 'functionVersion'"),
    ] {
        let (status, kind, message) = refused(create(&registry, body));
        assert_eq!((status, kind), (400, "ValidationException"));
        assert!(
            message.starts_with(&format!("1 validation error detected: {finding}")),
            "{message}"
        );
    }
    let body = json!({"Name": "a", "FunctionVersion": "$LATEST.PUBLISHED"});
    assert_eq!(refused(create(&registry, body)).1, "InvalidParameterValueException");
}
