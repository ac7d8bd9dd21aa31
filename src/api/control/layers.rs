//! PublishLayerVersion, GetLayerVersion(ByArn), ListLayerVersions, ListLayers, DeleteLayerVersion.
//!
//! Records and answers only: what becomes of a layer's content is [`accept_layer`]'s affair.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::common::{self, body, is_account, json, millis, not_found, time_of};
use super::{Answer, CODE_BYTES, Call, Operation, code};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::function_rules::RUNTIMES;
use crate::api::functions::{Context, invalid};
use crate::api::new_code;
use crate::api::rules::{entries, java_list, length, member};
use crate::function::error::FunctionError;
use crate::function::layers::{self, LayerCode, LayerDetails, LayerVersion};
use crate::function::name::{is_partition, is_region};
use crate::function::violation::{Violation, Violations, one_of, pattern};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "PublishLayerVersion",
        method: "POST",
        path: "/2018-10-31/layers/{}/versions",
        max_body_bytes: CODE_BYTES,
        run: publish,
    },
    Operation {
        name: "GetLayerVersion",
        method: "GET",
        path: "/2018-10-31/layers/{}/versions/{}",
        max_body_bytes: 0,
        run: get,
    },
    Operation {
        name: "ListLayerVersions",
        method: "GET",
        path: "/2018-10-31/layers/{}/versions",
        max_body_bytes: 0,
        run: list_versions,
    },
    // GetLayerVersionByArn has the same path, with `find=LayerVersion` in the query.
    Operation {
        name: "ListLayers",
        method: "GET",
        path: "/2018-10-31/layers",
        max_body_bytes: 0,
        run: list_or_get_by_arn,
    },
    Operation {
        name: "DeleteLayerVersion",
        method: "DELETE",
        path: "/2018-10-31/layers/{}/versions/{}",
        max_body_bytes: 0,
        run: delete,
    },
];

const NAME_MAX: usize = 140;
const DESCRIPTION_MAX: usize = 256;
const LICENSE_MAX: usize = 512;
const RUNTIMES_MAX: usize = 15;
const ARCHITECTURES: [&str; 2] = ["x86_64", "arm64"];

const NAME_PATTERN: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]{1,140}|[a-zA-Z0-9-_]{1,140})";
const VERSION_ARN_PATTERN: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)";

/// Those of [`RUNTIMES`] that AWS names in its message, in its order: the ones that are not out of support.
const RUNTIMES_TOLD: [&str; 25] = [
    "nodejs20.x",
    "python3.14",
    "provided.al2023",
    "python3.12",
    "python3.13",
    "nodejs24.x",
    "nodejs22.x",
    "java25",
    "python3.10",
    "python3.11",
    "java21",
    "ruby3.3",
    "ruby3.4",
    "ruby3.2",
    "python3.8",
    "python3.9",
    "java17",
    "nodejs16.x",
    "dotnet10",
    "dotnet8",
    "java11",
    "dotnet6",
    "nodejs18.x",
    "provided.al2",
    "java8.al2",
];

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PublishRequest {
    description: Option<String>,
    content: Option<LayerContent>,
    compatible_architectures: Option<Vec<String>>,
    compatible_runtimes: Option<Vec<String>>,
    license_info: Option<String>,
}

/// Where the content of a layer comes from.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct LayerContent {
    #[serde(rename = "S3Bucket")]
    s3_bucket: Option<String>,
    #[serde(rename = "S3Key")]
    s3_key: Option<String>,
    #[serde(rename = "S3ObjectVersion")]
    s3_object_version: Option<String>,
    /// Base64.
    zip_file: Option<String>,
}

impl std::fmt::Debug for LayerContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.zip_file.as_ref().map(String::len);
        f.debug_struct("LayerContent").field("base64_bytes", &bytes).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WholeVersion<'a> {
    content: ContentAnswer,
    layer_arn: String,
    #[serde(flatten)]
    entry: Entry<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ContentAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    code_sha256: String,
    code_size: u64,
}

/// A version as lists have it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    layer_version_arn: String,
    version: u64,
    description: &'a str,
    created_date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    compatible_architectures: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compatible_runtimes: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    license_info: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Versions<'a> {
    layer_versions: Vec<Entry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Layers<'a> {
    layers: Vec<Layer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Layer<'a> {
    layer_name: &'a str,
    layer_arn: String,
    latest_matching_version: Entry<'a>,
}

/// A layer may also be for no runtime of the list.
fn is_runtime(name: &str) -> bool {
    name == "custom" || RUNTIMES.contains(&name)
}

/// Takes a layer's content in, and says what it is.
fn accept_layer(api: &Api, region: &str, content: LayerContent) -> Result<LayerCode, AwsError> {
    let LayerContent { s3_bucket, s3_key, s3_object_version, zip_file } = content;
    let zip = match (zip_file, s3_bucket, s3_key) {
        (Some(text), None, None) => new_code::decode(&text)?,
        (None, Some(bucket), _) if bucket == new_code::HOT_RELOAD => {
            return Err(invalid(
                "Hot reload is for functions only: a layer version never changes. Publish the \
                 layer as a zip package, or have its files in the function's directory.",
            ));
        }
        (None, Some(bucket), Some(key)) => {
            code::fetch(api, region, &bucket, &key, s3_object_version.as_deref())?
        }
        (Some(_), ..) => {
            return Err(invalid(
                "Please do not provide other content parameters together with ZipFile.",
            ));
        }
        _ => return Err(invalid("Please provide a source for the layer's content.")),
    };
    let digest = code::keep(api, &zip)?;
    Ok(LayerCode { sha256_hex: digest.to_string(), size: zip.len() as u64 })
}

fn publish(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let request: PublishRequest = body(call)?;
    let mut found = Violations::default();
    check(&request, &mut found);
    let context = call.context(api);
    let name = layer_name(call, &context, found)?;
    let code = accept_layer(api, &call.region, request.content.unwrap_or_default())?;
    let details = LayerDetails {
        description: request.description.unwrap_or_default(),
        license: request.license_info,
        runtimes: request.compatible_runtimes,
        architectures: request.compatible_architectures,
        code,
        created_ms: millis(context.now),
    };
    let layer = api.registry.publish_layer(&call.region, name, details)?;
    log::info!("layer {name} of {}: version {} is published", call.region, layer.version);
    json(201, &whole(&layer, &context)?)
}

fn get(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let context = call.context(api);
    let name = layer_name(call, &context, Violations::default())?;
    version_answer(api, call, name, version(call)?, &context)
}

fn version_answer(
    api: &Api,
    call: &Call,
    name: &str,
    version: u64,
    context: &Context<'_>,
) -> Result<Answer, AwsError> {
    match api.registry.layer_version(&call.region, name, version)? {
        Some(layer) => json(200, &whole(&layer, context)?),
        None => Err(not_found("The resource you requested does not exist.")),
    }
}

fn delete(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let name = layer_name(call, &call.context(api), Violations::default())?;
    api.registry.delete_layer_version(&call.region, name, version(call)?)?;
    Ok(Answer::empty(204))
}

fn list_versions(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let (runtime, architecture, found) = filters(call);
    let context = call.context(api);
    let name = layer_name(call, &context, found)?;
    let max = common::max_items(call)?;
    // The marker is the last version of the page before; the next one is older.
    let before = match call.query("Marker").as_deref().map(str::parse::<u64>) {
        None => u64::MAX,
        Some(Ok(version)) => version,
        Some(Err(e)) => return Err(invalid("Invalid marker.").because(e)),
    };
    let versions = api.registry.layer_versions(&call.region, name)?;
    let fits = |layer: &&LayerVersion| {
        layer.version < before && layer.fits(runtime.as_deref(), architecture.as_deref())
    };
    let mut rest = versions.iter().filter(fits);
    let page: Vec<&LayerVersion> = rest.by_ref().take(max).collect();
    let next_marker = rest.next().and_then(|_| page.last()).map(|layer| layer.version.to_string());
    let layer_versions = page.iter().map(|layer| entry(layer, &context)).collect();
    json(200, &Versions { layer_versions, next_marker })
}

fn list_or_get_by_arn(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    if call.query("find").as_deref() == Some("LayerVersion") {
        return get_by_arn(api, call);
    }
    let (runtime, architecture, found) = filters(call);
    common::check(found)?;
    let context = call.context(api);
    let versions = api.registry.layers(&call.region)?;
    // The last of a name is its newest.
    let latest: BTreeMap<String, &LayerVersion> = versions
        .iter()
        .filter(|layer| layer.fits(runtime.as_deref(), architecture.as_deref()))
        .map(|layer| (layer.name.clone(), layer))
        .collect();
    let page = common::page(call, &latest)?;
    let layers = page.items.iter().map(|(name, layer)| Layer {
        layer_name: name,
        layer_arn: layers::arn(context.place, name),
        latest_matching_version: entry(layer, &context),
    });
    json(200, &Layers { layers: layers.collect(), next_marker: page.next_marker })
}

fn get_by_arn(api: &Api, call: &Call) -> Result<Answer, AwsError> {
    let arn = call.query("Arn").ok_or_else(|| common::null("arn"))?;
    let context = call.context(api);
    let parsed = arn.rsplit_once(':').and_then(|(layer, version)| {
        let digits = !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit());
        // A number beyond all numbers is one that is not there.
        digits.then(|| Some((LayerArn::parse(layer)?, version.parse().unwrap_or(u64::MAX))))?
    });
    let Some((layer, version)) = parsed else {
        let found = Violation::new("arn", &*arn, pattern(VERSION_ARN_PATTERN));
        return Err(FunctionError::Invalid(found.into()).into());
    };
    layer.check_place(&context)?;
    version_answer(api, call, layer.name, version, &context)
}

/// The query's filters, and what is wrong with them.
fn filters(call: &Call) -> (Option<String>, Option<String>, Violations) {
    let text = |name| call.query(name).map(std::borrow::Cow::into_owned);
    let (runtime, architecture) = (text("CompatibleRuntime"), text("CompatibleArchitecture"));
    let mut found = Violations::default();
    if let Some(bad) = runtime.as_deref().filter(|name| !is_runtime(name)) {
        found.push(Violation::new("compatibleRuntime", bad, one_of(&RUNTIMES_TOLD)));
    }
    member(&mut found, "compatibleArchitecture", architecture.as_deref(), &ARCHITECTURES);
    (runtime, architecture, found)
}

fn check(request: &PublishRequest, found: &mut Violations) {
    if request.content.is_none() {
        found.push(Violation::null("content"));
    }
    length(found, "description", request.description.as_deref(), 0, DESCRIPTION_MAX);
    length(found, "licenseInfo", request.license_info.as_deref(), 0, LICENSE_MAX);
    let runtimes = request.compatible_runtimes.as_deref();
    entries(found, "compatibleRuntimes", runtimes, 0, RUNTIMES_MAX);
    let unknown = |name: &String| !is_runtime(name);
    if let Some(list) = runtimes.filter(|list| list.iter().any(unknown)) {
        let constraint = one_of(&RUNTIMES_TOLD);
        found.push(Violation::new("compatibleRuntimes", java_list(list), constraint));
    }
    let architectures = request.compatible_architectures.as_deref();
    entries(found, "compatibleArchitectures", architectures, 0, ARCHITECTURES.len());
    let unknown = |name: &String| !ARCHITECTURES.contains(&name.as_str());
    if let Some(list) = architectures.filter(|list| list.iter().any(unknown)) {
        let constraint = format!(
            "Member must satisfy constraint: [{}, Member must not be null]",
            one_of(&ARCHITECTURES)
        );
        found.push(Violation::new("compatibleArchitectures", java_list(list), constraint));
    }
}

/// The parts of `arn:aws:lambda:REGION:ACCOUNT:layer:NAME`.
struct LayerArn<'a> {
    region: &'a str,
    account: &'a str,
    name: &'a str,
}

impl<'a> LayerArn<'a> {
    fn parse(text: &'a str) -> Option<LayerArn<'a>> {
        let mut parts = text.splitn(7, ':');
        let mut part = || parts.next();
        let (Some("arn"), partition, Some("lambda"), region, account, Some("layer"), name) =
            (part(), part()?, part(), part()?, part()?, part(), part()?)
        else {
            return None;
        };
        let fits =
            is_partition(partition) && is_region(region) && is_account(account) && is_name(name);
        fits.then_some(LayerArn { region, account, name })
    }

    fn check_place(&self, context: &Context<'_>) -> Result<(), AwsError> {
        let (asked, here) = (self.region.to_owned(), context.place.region.to_owned());
        if asked != here {
            return Err(FunctionError::OtherRegion { asked, here }.into());
        }
        if self.account != context.place.account_id {
            let message = format!("Layers of account {} are not here.", self.account);
            return Err(AwsError::new(403, "AccessDeniedException", message));
        }
        Ok(())
    }
}

fn is_name(text: &str) -> bool {
    (1..=NAME_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// The bare name of the path's layer, which may be an ARN. `found` is what else is wrong.
pub(super) fn layer_name<'a>(
    call: &'a Call,
    context: &Context<'_>,
    mut found: Violations,
) -> Result<&'a str, AwsError> {
    let raw = call.value(0);
    let arn = LayerArn::parse(raw);
    if arn.is_none() && !is_name(raw) {
        found.push(Violation::new("layerName", raw, pattern(NAME_PATTERN)));
    }
    common::check(found)?;
    let Some(arn) = arn else { return Ok(raw) };
    arn.check_place(context)?;
    Ok(arn.name)
}

/// The path's version number.
pub(super) fn version(call: &Call) -> Result<u64, AwsError> {
    let number: i64 = call.value(1).parse().map_err(|e| {
        let message = format!("VersionNumber is not a whole number: {e}");
        AwsError::new(400, "SerializationException", message)
    })?;
    u64::try_from(number)
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| invalid("Layer Version Cannot be less than 1"))
}

fn entry<'a>(layer: &'a LayerVersion, context: &Context<'_>) -> Entry<'a> {
    let details = &layer.details;
    Entry {
        layer_version_arn: format!("{}:{}", layers::arn(context.place, &layer.name), layer.version),
        version: layer.version,
        description: &details.description,
        created_date: (context.format_time)(time_of(details.created_ms)),
        compatible_architectures: details.architectures.as_deref(),
        compatible_runtimes: details.runtimes.as_deref(),
        license_info: details.license.as_deref(),
    }
}

fn whole<'a>(layer: &'a LayerVersion, context: &Context<'_>) -> Result<WholeVersion<'a>, AwsError> {
    let code = &layer.details.code;
    Ok(WholeVersion {
        content: ContentAnswer {
            location: context.package_location(&code.sha256_hex),
            code_sha256: base64_of_hex(&code.sha256_hex).ok_or_else(|| {
                AwsError::service(format!("the hash of layer {} is not hex", layer.name))
            })?,
            code_size: code.size,
        },
        layer_arn: layers::arn(context.place, &layer.name),
        entry: entry(layer, context),
    })
}

/// AWS tells hashes in base64.
fn base64_of_hex(hex: &str) -> Option<String> {
    let nibble = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes: Option<Vec<u8>> = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => Some(nibble(high)? << 4 | nibble(low)?),
            _ => None,
        })
        .collect();
    Some(STANDARD.encode(bytes?))
}

#[cfg(test)]
#[path = "layers_tests.rs"]
mod tests;
