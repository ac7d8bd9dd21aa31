//! What a request needs to be allowed: pairs of an action and a resource, in IAM's names.
//!
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html>. What a
//! request has done in another's name needs to be allowed as well: the target of a schedule and the
//! destinations of a function are invoked for who names them, and a role's powers are given to who
//! may pass it (`iam:PassRole`). Surfaces that AWS does not have are named `operator:`.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use super::route::{QueueCall, Route};
use super::{logs, query};
use crate::config::Auth;
use crate::function::name::{self, Place, partition};
use crate::http::Head;

/// An action and its resource.
pub(super) type Permission = (String, String);

const ANY: &str = "*";

/// All of them have to be allowed. An error where the body, which may name more of them, cannot be
/// read whole: what is not known cannot be denied.
pub(super) fn needed(
    route: Route<'_>,
    head: &Head<'_>,
    body: &[u8],
    place: Place<'_>,
    auth: &Auth,
) -> Result<Vec<Permission>, serde_json::Error> {
    let any = |action: &str| vec![(action.to_owned(), ANY.to_owned())];
    let value = |name: &str| query::value(head.query, name);
    Ok(match route {
        Route::Invoke(name) | Route::InvokeAsync(name) => {
            let name = query::decode(name).unwrap_or_default();
            let qualifier = value("Qualifier");
            vec![invoke(&name, qualifier.as_deref(), place)]
        }
        Route::Control(operation) => {
            let values = super::control::values(operation.path, head.path).unwrap_or_default();
            let body = if operation.reads_others() { json(body)? } else { Value::Null };
            let resource = control_resource(operation.path, &values, &body, place);
            let mut needed = vec![(format!("lambda:{}", operation.name), resource)];
            let role = body["Role"].as_str().filter(|role| auth.roles.contains_key(*role));
            needed.extend(role.map(|role| ("iam:PassRole".to_owned(), role.to_owned())));
            let layers = body["Layers"].as_array().into_iter().flatten().filter_map(Value::as_str);
            needed.extend(layers.map(|arn| ("lambda:GetLayerVersion".to_owned(), arn.to_owned())));
            let destinations = ["OnSuccess", "OnFailure"]
                .map(|end| body["DestinationConfig"][end]["Destination"].as_str());
            needed.extend(destinations.into_iter().flatten().filter_map(|arn| target(arn, place)));
            needed
        }
        Route::Logs => {
            let operation = head.header_str("x-amz-target").and_then(logs::operation_name);
            let action = format!("logs:{}", operation.unwrap_or("Unknown"));
            logs_resources(&json(body)?, place)
                .into_iter()
                .map(|resource| (action.clone(), resource))
                .collect()
        }
        Route::Scheduler(operation) => {
            let values = super::control::values(operation.path, head.path).unwrap_or_default();
            let body = json(body)?;
            // A definition names its group itself; where there is none, the query does.
            let group = match head.method {
                "POST" | "PUT" => body["GroupName"].as_str().map(str::to_owned),
                _ => value("groupName").map(|group| group.into_owned()),
            };
            let Place { region, account_id } = place;
            let arn = |rest: String| {
                format!("arn:{}:scheduler:{region}:{account_id}:{rest}", partition(region))
            };
            let resource = match (operation.path.split('/').nth(1), values.first()) {
                (Some("schedules"), Some(name)) => {
                    arn(format!("schedule/{}/{name}", group.as_deref().unwrap_or("default")))
                }
                (Some("schedule-groups"), Some(name)) => arn(format!("schedule-group/{name}")),
                (_, Some(arn)) => arn.clone(),
                (_, None) => ANY.to_owned(),
            };
            let mut needed = vec![(format!("scheduler:{}", operation.name), resource)];
            needed.extend(body["Target"]["Arn"].as_str().and_then(|arn| target(arn, place)));
            needed
        }
        Route::Package(_) => any("operator:GetPackage"),
        Route::NewPackage(_) => any("operator:PutPackage"),
        Route::Queue(QueueCall::Summary | QueueCall::Events) => any("operator:GetQueue"),
        Route::Queue(QueueCall::Retry) => any("operator:RetryQueue"),
        Route::Queue(QueueCall::Purge) => any("operator:PurgeQueue"),
        Route::Status => any("operator:GetStatus"),
        Route::Metrics => any("operator:GetMetrics"),
        // Not by signature.
        Route::Health | Route::Next | Route::Response(_) | Route::Error(_) | Route::InitError => {
            any("operator:None")
        }
    })
}

/// The members that may name something; the others, which may be large, are passed over as their
/// operations pass over them.
const NAMING: [&str; 12] = [
    "FunctionName",
    "Role",
    "Layers",
    "DestinationConfig",
    "GroupName",
    "Target",
    "logGroupName",
    "logGroupNames",
    "logGroupIdentifier",
    "logGroupIdentifiers",
    "logStreamName",
    "resourceArn",
];

fn json(body: &[u8]) -> Result<Value, serde_json::Error> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    let members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(body)?;
    let naming = members.into_iter().filter(|(name, _)| NAMING.contains(&name.as_str()));
    let read = |value: Box<RawValue>| serde_json::from_str::<Value>(value.get());
    naming.map(|(name, value)| Ok((name, read(value)?))).collect()
}

fn invoke(name: &str, qualifier: Option<&str>, place: Place<'_>) -> Permission {
    ("lambda:InvokeFunction".to_owned(), function(name, qualifier, place))
}

/// Another function that is invoked for the caller; what is no function is refused elsewhere.
fn target(arn: &str, place: Place<'_>) -> Option<Permission> {
    arn.contains(":function:").then(|| invoke(arn, None, place))
}

/// A name that is none is refused by its operation; until then it stands for itself.
fn function(name: &str, qualifier: Option<&str>, place: Place<'_>) -> String {
    match name::parse(name, qualifier, place) {
        Ok(found) => place.arn(&found.name, found.qualifier.as_ref()),
        Err(_) => format!("{}:{name}", place.arn("", None)),
    }
}

fn control_resource(path: &str, values: &[String], body: &Value, place: Place<'_>) -> String {
    let Place { region, account_id } = place;
    let first = values.first().map(String::as_str);
    match (path.split('/').nth(2), first) {
        (Some("functions"), Some(name)) => function(name, None, place),
        (Some("functions"), None) => match body["FunctionName"].as_str() {
            Some(name) => function(name, None, place),
            None => ANY.to_owned(),
        },
        (Some("layers"), Some(name)) => {
            let layer = match name.starts_with("arn:") {
                true => name.to_owned(),
                false => {
                    format!("arn:{}:lambda:{region}:{account_id}:layer:{name}", partition(region))
                }
            };
            match values.get(1) {
                Some(version) => format!("{layer}:{version}"),
                None => layer,
            }
        }
        (Some("tags"), Some(arn)) => arn.to_owned(),
        _ => ANY.to_owned(),
    }
}

/// Every log group that a request names, however it does; with its stream where it names one.
fn logs_resources(body: &Value, place: Place<'_>) -> Vec<String> {
    let Place { region, account_id } = place;
    let single = ["logGroupName", "logGroupIdentifier", "resourceArn"];
    let single = single.into_iter().filter_map(|name| body[name].as_str());
    let lists = ["logGroupNames", "logGroupIdentifiers"];
    let listed = lists.into_iter().filter_map(|name| body[name].as_array()).flatten();
    let groups = single.chain(listed.filter_map(Value::as_str));
    let found: Vec<String> = groups
        .map(|group| {
            let arn = match group.starts_with("arn:") {
                true => group.strip_suffix(":*").unwrap_or(group).to_owned(),
                false => format!(
                    "arn:{}:logs:{region}:{account_id}:log-group:{group}",
                    partition(region)
                ),
            };
            match body["logStreamName"].as_str() {
                Some(stream) => format!("{arn}:log-stream:{stream}"),
                None => format!("{arn}:*"),
            }
        })
        .collect();
    if found.is_empty() { vec![ANY.to_owned()] } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::route::Routed;
    use crate::config::{AccessKey, Secret};
    use std::collections::HashMap;

    const PLACE: Place<'_> = Place { region: "eu-west-1", account_id: "000000000000" };
    const ROLE: &str = "arn:aws:iam::000000000000:role/strong";

    fn of(method: &str, target: &str, body: &str) -> Vec<Permission> {
        read(method, target, body).unwrap()
    }

    fn read(method: &str, target: &str, body: &str) -> Result<Vec<Permission>, serde_json::Error> {
        let policy = crate::access::policy::Policy::parse(r#"{"Statement": []}"#).unwrap();
        let policy = std::sync::Arc::new(policy);
        let key = AccessKey { secret: Secret::for_tests("s"), policy: policy.clone() };
        let auth = Auth {
            always: false,
            trusted_proxies: Vec::new(),
            keys: HashMap::from([("k".to_owned(), key)]),
            roles: HashMap::from([(ROLE.to_owned(), policy)]),
        };
        let logs = [("x-amz-target", "Logs_20140328.GetLogEvents")];
        crate::http::for_tests::with_head(method, target, &logs, |head| {
            let Routed::Found(route) = Route::of(head.method, head.path) else {
                panic!("{method} {target}")
            };
            needed(route, head, body.as_bytes(), PLACE, &auth)
        })
    }

    fn one(method: &str, target: &str, body: &str) -> String {
        let found = of(method, target, body);
        assert_eq!(found.len(), 1, "{found:?}");
        format!("{} {}", found[0].0, found[0].1)
    }

    #[test]
    fn functions_are_named_by_their_arn_however_they_are_called() {
        let arn = "arn:aws:lambda:eu-west-1:000000000000:function:f";
        let invoke = |name: &str| one("POST", &format!("/2015-03-31/functions/{name}"), "{}");
        assert_eq!(invoke("f/invocations"), format!("lambda:InvokeFunction {arn}"));
        assert_eq!(invoke("f:live/invocations"), format!("lambda:InvokeFunction {arn}:live"));
        assert_eq!(
            invoke("f/invocations?Qualifier=%24LATEST"),
            format!("lambda:InvokeFunction {arn}:$LATEST")
        );
        let encoded = arn.replace(':', "%3A");
        assert_eq!(
            invoke(&format!("{encoded}/invocations")),
            format!("lambda:InvokeFunction {arn}")
        );
        for (method, target, body, action) in [
            ("GET", "/2015-03-31/functions/f", "", "GetFunction"),
            ("DELETE", "/2015-03-31/functions/f", "", "DeleteFunction"),
            ("PUT", "/2017-10-31/functions/f/concurrency", "{}", "PutFunctionConcurrency"),
            ("POST", "/2015-03-31/functions", r#"{"FunctionName":"f"}"#, "CreateFunction"),
            (
                "POST",
                "/2015-03-31/functions",
                r#"{"FunctionName":"000000000000:f"}"#,
                "CreateFunction",
            ),
        ] {
            assert_eq!(one(method, target, body), format!("lambda:{action} {arn}"));
        }
        assert_eq!(one("GET", "/2015-03-31/functions", ""), "lambda:ListFunctions *");
        // What is no name matches no pattern of names but "*".
        assert!(invoke("a%20b/invocations").ends_with("function::a b"));
    }

    #[test]
    fn what_is_done_in_anothers_name_is_needed_too() {
        let body = format!(r#"{{"FunctionName":"f","Role":"{ROLE}"}}"#);
        let found = of("POST", "/2015-03-31/functions", &body);
        assert_eq!(found[1], ("iam:PassRole".to_owned(), ROLE.to_owned()));
        let body = format!(r#"{{"Role":"{ROLE}"}}"#);
        assert_eq!(of("PUT", "/2015-03-31/functions/f/configuration", &body).len(), 2);
        let weak = r#"{"FunctionName":"f","Role":"arn:aws:iam::000000000000:role/weak"}"#;
        assert_eq!(of("POST", "/2015-03-31/functions", weak).len(), 1);
        let g = "arn:aws:lambda:eu-west-1:000000000000:function:g:live";
        let layer = "arn:aws:lambda:eu-west-1:000000000000:layer:l:1";
        let body = format!(r#"{{"Layers":["{layer}"]}}"#);
        let found = of("PUT", "/2015-03-31/functions/f/configuration", &body);
        assert_eq!(found[1], ("lambda:GetLayerVersion".to_owned(), layer.to_owned()));
        let body = format!(r#"{{"DestinationConfig":{{"OnFailure":{{"Destination":"{g}"}}}}}}"#);
        let found = of("PUT", "/2019-09-25/functions/f/event-invoke-config", &body);
        assert_eq!(found[1], ("lambda:InvokeFunction".to_owned(), g.to_owned()));
        let body = format!(r#"{{"GroupName":"team","Target":{{"Arn":"{g}"}}}}"#);
        let found = of("POST", "/schedules/s", &body);
        assert_eq!(found[0].0, "scheduler:CreateSchedule");
        assert!(found[0].1.ends_with(":scheduler:eu-west-1:000000000000:schedule/team/s"));
        assert_eq!(found[1].1, g);
    }

    #[test]
    fn the_other_surfaces_have_their_names() {
        let arn = |rest: &str| format!("arn:aws:{rest}");
        assert_eq!(
            one("DELETE", "/schedules/s?groupName=g", ""),
            format!(
                "scheduler:DeleteSchedule {}",
                arn("scheduler:eu-west-1:000000000000:schedule/g/s")
            )
        );
        let group = arn("logs:eu-west-1:000000000000:log-group:/aws/lambda/f");
        assert_eq!(
            one("POST", "/", r#"{"logGroupName":"/aws/lambda/f"}"#),
            format!("logs:GetLogEvents {group}:*")
        );
        assert_eq!(
            one(
                "POST",
                "/",
                &format!(r#"{{"logGroupIdentifier":"{group}:*","logStreamName":"s"}}"#)
            ),
            format!("logs:GetLogEvents {group}:log-stream:s")
        );
        let two = r#"{"logGroupName":"a","logGroupIdentifier":"b"}"#;
        assert_eq!(of("POST", "/", two).len(), 2, "whichever is read");
        for unread in ["no JSON", "[]", r#"{"logGroupName":}"#] {
            assert!(read("POST", "/", unread).is_err(), "{unread}");
            assert!(read("POST", "/schedules/s", unread).is_err(), "{unread}");
            assert!(read("POST", "/2015-03-31/functions", unread).is_err(), "{unread}");
        }
        // What is too deep for a reader of everything hides no name from a Deny.
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        let hiding = format!(r#"{{"logGroupName":"/aws/lambda/f","logEvents":{deep}}}"#);
        assert_eq!(one("POST", "/", &hiding), format!("logs:GetLogEvents {group}:*"));
        assert_eq!(one("POST", "/", ""), "logs:GetLogEvents *");
        assert_eq!(
            one("GET", "/2018-10-31/layers/l/versions/3", ""),
            format!("lambda:GetLayerVersion {}", arn("lambda:eu-west-1:000000000000:layer:l:3"))
        );
        let tags = "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aeu-west-1%3A000000000000%3Afunction%3Af";
        assert!(one("GET", tags, "").ends_with("function:f"));
        for (method, target, expected) in [
            ("GET", "/status", "operator:GetStatus *"),
            ("GET", "/metrics", "operator:GetMetrics *"),
            ("GET", "/queue", "operator:GetQueue *"),
            ("POST", "/queue/retry", "operator:RetryQueue *"),
            ("POST", "/queue/purge", "operator:PurgeQueue *"),
            ("GET", "/packages/00", "operator:GetPackage *"),
            ("PUT", "/packages/00", "operator:PutPackage *"),
        ] {
            assert_eq!(one(method, target, ""), expected);
        }
    }
}
