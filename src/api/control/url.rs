//! Create/Get/Update/Delete/ListFunctionUrlConfig(s): kept and returned; nothing answers there yet.
//!
//! A URL is a host name below `localhost` at this service's port, which RFC 6761 section 6.3 sends
//! to this machine: AWS's own host name would be a promise that this service cannot keep.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::common::{self, SETTINGS_BYTES, body, json, millis, not_found, time_of};
use super::{Answer, Call, Operation};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::functions::{self, Context};
use crate::api::rules::{entries, java_list, member};
use crate::function::error::FunctionError;
use crate::function::name::{FunctionRef, Qualifier};
use crate::function::settings::{Cors, Url, qualifier_key};
use crate::function::violation::{
    Violation, Violations, greatest, least, longest, pattern, shortest,
};
use crate::observe::time::rfc3339_millis;
use crate::random;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "CreateFunctionUrlConfig",
        method: "POST",
        path: "/2021-10-31/functions/{}/url",
        max_body_bytes: SETTINGS_BYTES,
        run: create,
    },
    Operation {
        name: "GetFunctionUrlConfig",
        method: "GET",
        path: "/2021-10-31/functions/{}/url",
        max_body_bytes: 0,
        run: get,
    },
    Operation {
        name: "UpdateFunctionUrlConfig",
        method: "PUT",
        path: "/2021-10-31/functions/{}/url",
        max_body_bytes: SETTINGS_BYTES,
        run: update,
    },
    Operation {
        name: "DeleteFunctionUrlConfig",
        method: "DELETE",
        path: "/2021-10-31/functions/{}/url",
        max_body_bytes: 0,
        run: delete,
    },
    Operation {
        name: "ListFunctionUrlConfigs",
        method: "GET",
        path: "/2021-10-31/functions/{}/urls",
        max_body_bytes: 0,
        run: list,
    },
];

const QUALIFIER_PATTERN: &str = r"((?!^\d+$)^[0-9a-zA-Z-_]+$)";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct UrlRequest {
    auth_type: Option<String>,
    cors: Option<Cors>,
    invoke_mode: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UrlConfig<'a> {
    function_url: String,
    function_arn: String,
    auth_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cors: Option<&'a Cors>,
    creation_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invoke_mode: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UrlConfigs<'a> {
    function_url_configs: Vec<UrlConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<&'a str>,
}

fn create(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let request: UrlRequest = body(call)?;
    let mut found = Violations::default();
    if request.auth_type.is_none() {
        found.push(Violation::null("authType"));
    }
    check(&request, &mut found);
    let context = call.context(api);
    let reference = function(call, &context, found)?;
    check_exists(api, call, &reference)?;
    let now = millis(context.now);
    let mode_told = request.invoke_mode.is_some();
    let url = Url {
        id: random::uuid().simple().to_string(),
        auth_type: request.auth_type.unwrap_or_default(),
        invoke_mode: request.invoke_mode.unwrap_or_else(|| "BUFFERED".to_owned()),
        cors: request.cors,
        created_ms: now,
        modified_ms: now,
    };
    let key = qualifier_key(reference.qualifier.as_ref());
    api.registry.change_settings(&call.region, &reference, |settings| {
        if settings.urls.contains_key(&key) {
            return Err(AwsError::new(
                409,
                "ResourceConflictException",
                format!(
                    "Failed to create function url config for [functionArn = {}]. Error message:  \
                     FunctionUrlConfig exists for this Lambda function",
                    common::arn(&reference, &context)
                ),
            ));
        }
        settings.urls.insert(key.clone(), url.clone());
        Ok(())
    })?;
    let mut config = config(api, &reference.name, &key, &url, &context);
    // As AWS: the mode is told where it was asked for, and a new one was not modified.
    config.last_modified_time = None;
    config.invoke_mode = config.invoke_mode.filter(|_| mode_told);
    json(201, &config)
}

fn get(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let context = call.context(api);
    let reference = function(call, &context, Violations::default())?;
    let key = qualifier_key(reference.qualifier.as_ref());
    let settings = api.registry.settings(&call.region, &reference.name)?;
    let url = settings.urls.get(&key).ok_or_else(nothing)?;
    json(200, &config(api, &reference.name, &key, url, &context))
}

fn update(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let request: UrlRequest = body(call)?;
    let mut found = Violations::default();
    check(&request, &mut found);
    let context = call.context(api);
    let reference = function(call, &context, found)?;
    let key = qualifier_key(reference.qualifier.as_ref());
    api.registry.get(&call.region, &reference).map_err(|_| nothing())?;
    let url = api.registry.change_settings(&call.region, &reference, |settings| {
        let url = settings.urls.get_mut(&key).ok_or_else(nothing)?;
        if let Some(auth_type) = request.auth_type {
            url.auth_type = auth_type;
        }
        if let Some(mode) = request.invoke_mode {
            url.invoke_mode = mode;
        }
        if request.cors.is_some() {
            url.cors = request.cors;
        }
        url.modified_ms = millis(context.now);
        Ok::<Url, AwsError>(url.clone())
    })?;
    json(200, &config(api, &reference.name, &key, &url, &context))
}

fn delete(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let context = call.context(api);
    let reference = function(call, &context, Violations::default())?;
    let key = qualifier_key(reference.qualifier.as_ref());
    api.registry.get(&call.region, &reference).map_err(|_| nothing())?;
    api.registry.change_settings(&call.region, &reference, |settings| {
        settings.urls.remove(&key).map(drop).ok_or_else(nothing)
    })?;
    Ok(Answer::empty(204))
}

fn list(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let context = call.context(api);
    let mut reference = functions::resolve(call.value(0), None, &context)?;
    reference.qualifier = None;
    check_exists(api, call, &reference)?;
    let settings = api.registry.settings(&call.region, &reference.name)?;
    let page = common::page(call, &settings.urls)?;
    let configs = page.items.iter();
    let configs = configs.map(|(key, url)| config(api, &reference.name, key, url, &context));
    json(
        200,
        &UrlConfigs { function_url_configs: configs.collect(), next_marker: page.next_marker },
    )
}

fn nothing() -> AwsError {
    not_found("The resource you requested does not exist.")
}

fn check_exists(api: &Api, call: &Call, reference: &FunctionRef) -> Result<(), AwsError> {
    match api.registry.get(&call.region, reference) {
        Err(FunctionError::NotFound { .. }) => Err(not_found("Function does not exist")),
        other => Ok(other.map(drop)?),
    }
}

/// The function or the alias: a published version has no URL. `found` is what else is wrong.
fn function(
    call: &Call,
    context: &Context<'_>,
    mut found: Violations,
) -> Result<FunctionRef, AwsError> {
    let qualifier = call.query("Qualifier");
    let bad = |text: &str| text.starts_with('$') || text.bytes().all(|b| b.is_ascii_digit());
    if let Some(text) = qualifier.as_deref().filter(|text| !text.is_empty() && bad(text)) {
        found.push(Violation::new("qualifier", text, pattern(QUALIFIER_PATTERN)));
    }
    common::check(found)?;
    let reference = functions::resolve(call.value(0), qualifier.as_deref(), context)?;
    match &reference.qualifier {
        None | Some(Qualifier::Alias(_)) => Ok(reference),
        Some(other) => {
            let found = Violation::new("qualifier", other, pattern(QUALIFIER_PATTERN));
            Err(FunctionError::Invalid(found.into()).into())
        }
    }
}

fn check(request: &UrlRequest, found: &mut Violations) {
    member(found, "authType", request.auth_type.as_deref(), &["NONE", "AWS_IAM"]);
    let modes = ["BUFFERED", "RESPONSE_STREAM"];
    member(found, "invokeMode", request.invoke_mode.as_deref(), &modes);
    let Some(cors) = &request.cors else { return };
    for (field, list, count, min, max) in [
        ("cors.allowHeaders", &cors.allow_headers, 100, 0, 1_024),
        ("cors.allowMethods", &cors.allow_methods, 6, 0, 6),
        ("cors.allowOrigins", &cors.allow_origins, 100, 1, 253),
        ("cors.exposeHeaders", &cors.expose_headers, 100, 0, 1_024),
    ] {
        entries(found, field, list.as_deref(), 0, count);
        let fits = |text: &String| (min..=max).contains(&text.chars().count());
        if let Some(list) = list.as_ref().filter(|list| !list.iter().all(fits)) {
            let constraint =
                format!("Member must satisfy constraint: [{}, {}]", longest(max), shortest(min));
            found.push(Violation::new(field, java_list(list), constraint));
        }
    }
    match cors.max_age {
        Some(age) if age > 86_400 => {
            found.push(Violation::new("cors.maxAge", age, greatest(86_400)));
        }
        Some(age) if age < 0 => found.push(Violation::new("cors.maxAge", age, least(0))),
        _ => {}
    }
}

fn config<'a>(
    api: &Api,
    name: &str,
    key: &str,
    url: &'a Url,
    context: &Context<'_>,
) -> UrlConfig<'a> {
    let port = api.settings.runtime_api.rsplit_once(':').map_or("80", |(_, port)| port);
    let arn = context.place.arn(name, None);
    UrlConfig {
        function_url: format!(
            "http://{}.lambda-url.{}.localhost:{port}/",
            url.id, context.place.region
        ),
        function_arn: if key == "$LATEST" { arn } else { format!("{arn}:{key}") },
        auth_type: &url.auth_type,
        cors: url.cors.as_ref(),
        creation_time: rfc3339_millis(time_of(url.created_ms)),
        last_modified_time: Some(rfc3339_millis(time_of(url.modified_ms))),
        invoke_mode: Some(&url.invoke_mode),
    }
}
