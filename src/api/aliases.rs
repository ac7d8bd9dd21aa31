//! CreateAlias, GetAlias, ListAliases, UpdateAlias and DeleteAlias: JSON in, JSON out.
//!
//! Whether the versions exist is the registry's to say; the model's constraints and AWS's rules for
//! weights are here.

use std::collections::BTreeMap;

use super::configuration::json;
use super::error::AwsError;
use super::function_rules::{not_json, validation};
use super::functions::{Context, invalid, whole_function};
use super::paging;
use super::rules::{length, matching};
use super::shapes::{AliasRequest, AliasResponse, ListAliasesResponse, RoutingConfig};
use crate::function::alias::{Additional, Alias};
use crate::function::model::LATEST;
use crate::function::name::Qualifier;
use crate::function::registry::Registry;
use crate::function::violation::{Violation, Violations, longest, pattern, shortest};
use crate::random;

const NAME_PATTERN: &str = "(?!^[0-9]+$)([a-zA-Z0-9-_]+)";
const VERSION_PATTERN: &str = r"(\$LATEST(\.PUBLISHED)?|[0-9]+)";
const VERSION_MAX: usize = 1_024;

/// The query of ListAliases, percent-decoded.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AliasQuery<'a> {
    pub(super) function_version: Option<&'a str>,
    pub(super) marker: Option<&'a str>,
    pub(super) max_items: Option<&'a str>,
}

pub(super) fn create_alias(
    registry: &Registry,
    raw: &str,
    body: &[u8],
    context: &Context<'_>,
) -> Result<String, AwsError> {
    let request: AliasRequest = crate::json::from_slice(body).map_err(not_json)?;
    let mut found = Violations::default();
    match &request.name {
        Some(name) => check_name(name, &mut found),
        None => found.push(Violation::null("name")),
    }
    if request.function_version.is_none() {
        found.push(Violation::null("functionVersion"));
    }
    check_model(&request, &mut found);
    found.into_result().map_err(|found| validation(&found))?;
    let function = whole_function(raw, context)?;
    // What is `None` here was reported above.
    let (Some(name), Some(version)) = (request.name, request.function_version) else {
        return Err(AwsError::service("a violation was found and not reported"));
    };
    let version = numbered(&version)?;
    let alias = Alias {
        region: context.place.region.to_owned(),
        function,
        name,
        additional: additional(request.routing_config, &version)?,
        version,
        description: request.description.unwrap_or_default(),
        revision_id: random::uuid().to_string(),
    };
    json(&rendered(&*registry.create_alias(alias)?, context))
}

pub(super) fn get_alias(
    registry: &Registry,
    raw: &str,
    name: &str,
    context: &Context<'_>,
) -> Result<String, AwsError> {
    let function = named(raw, name, context)?;
    json(&rendered(&*registry.alias(context.place.region, &function, name)?, context))
}

pub(super) fn list_aliases(
    registry: &Registry,
    raw: &str,
    query: &AliasQuery<'_>,
    context: &Context<'_>,
) -> Result<String, AwsError> {
    let mut found = Violations::default();
    check_version(query.function_version, &mut found);
    let max = paging::max_items(query.max_items, found)?;
    let function = whole_function(raw, context)?;
    let region = context.place.region;
    let page = registry.aliases(region, &function, query.function_version, query.marker, max)?;
    let last = page.items.last().filter(|_| page.more);
    json(&ListAliasesResponse {
        next_marker: last.map(|alias| alias.name.clone()),
        aliases: page.items.iter().map(|alias| rendered(alias, context)).collect(),
    })
}

pub(super) fn update_alias(
    registry: &Registry,
    raw: &str,
    name: &str,
    body: &[u8],
    context: &Context<'_>,
) -> Result<String, AwsError> {
    let request: AliasRequest = crate::json::from_slice(body).map_err(not_json)?;
    let mut found = Violations::default();
    check_name(name, &mut found);
    check_model(&request, &mut found);
    found.into_result().map_err(|found| validation(&found))?;
    let function = whole_function(raw, context)?;
    let revision_id = request.revision_id.clone();
    let change = |alias: &Alias| {
        let version = match request.function_version {
            Some(version) => numbered(&version)?,
            None => alias.version.clone(),
        };
        let additional = match request.routing_config {
            Some(config) => additional(Some(config), &version)?,
            None => {
                check_weight(alias.additional.as_ref(), &version)?;
                alias.additional.clone()
            }
        };
        Ok(Alias {
            version,
            additional,
            description: request.description.unwrap_or_else(|| alias.description.clone()),
            revision_id: random::uuid().to_string(),
            ..alias.clone()
        })
    };
    let key = (context.place.region, function.as_str(), name);
    let alias = registry.update_alias::<AwsError>(key, revision_id.as_deref(), change)?;
    json(&rendered(&alias, context))
}

pub(super) fn delete_alias(
    registry: &Registry,
    raw: &str,
    name: &str,
    context: &Context<'_>,
) -> Result<(), AwsError> {
    let function = named(raw, name, context)?;
    Ok(registry.delete_alias(context.place.region, &function, name)?)
}

/// The function of a path that names an alias, too.
fn named(raw: &str, alias: &str, context: &Context<'_>) -> Result<String, AwsError> {
    let mut found = Violations::default();
    check_name(alias, &mut found);
    found.into_result().map_err(|found| validation(&found))?;
    whole_function(raw, context)
}

pub(super) fn check_name(name: &str, found: &mut Violations) {
    length(found, "name", Some(name), 1, 128);
    matching(found, "name", Some(name), NAME_PATTERN, |name| {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        !name.is_empty() && name.bytes().all(word) && !is_number(name)
    });
}

pub(super) fn check_model(request: &AliasRequest, found: &mut Violations) {
    check_version(request.function_version.as_deref(), found);
    length(found, "description", request.description.as_deref(), 0, 256);
    let Some(weights) = weights(request.routing_config.as_ref()) else { return };
    let field = "routingConfig.additionalVersionWeights";
    let shown = || {
        let pairs: Vec<String> = weights.iter().map(|(v, w)| format!("{v}={w:?}")).collect();
        format!("{{{}}}", pairs.join(", "))
    };
    if !weights.keys().all(|version| is_number(version) && version.len() <= VERSION_MAX) {
        let constraints = [longest(VERSION_MAX), shortest(1), pattern("[0-9]+")].join(", ");
        let constraint = format!("Map keys must satisfy constraint: [{constraints}]");
        found.push(Violation::new(field, shown(), constraint));
    }
    if !weights.values().all(|weight| (0.0..=1.0).contains(weight)) {
        let constraint = "Map value must satisfy constraint: [Member must have value less than or \
                          equal to 1.0, Member must have value greater than or equal to 0.0, \
                          Member must not be null]";
        found.push(Violation::new(field, shown(), constraint));
    }
}

fn check_version(version: Option<&str>, found: &mut Violations) {
    length(found, "functionVersion", version, 1, VERSION_MAX);
    matching(found, "functionVersion", version, VERSION_PATTERN, |version| {
        version == LATEST || version == "$LATEST.PUBLISHED" || is_number(version)
    });
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The version of an alias: one that stays the same.
fn numbered(version: &str) -> Result<String, AwsError> {
    if version == "$LATEST.PUBLISHED" {
        return Err(invalid("An alias cannot point at $LATEST.PUBLISHED in this service."));
    }
    Ok(version.to_owned())
}

fn weights(config: Option<&RoutingConfig>) -> Option<&BTreeMap<String, f64>> {
    config?.additional_version_weights.as_ref()
}

/// The second version of an alias that points at `version`. An empty configuration means none.
pub(super) fn additional(
    config: Option<RoutingConfig>,
    version: &str,
) -> Result<Option<Additional>, AwsError> {
    let weights = config.and_then(|config| config.additional_version_weights).unwrap_or_default();
    if weights.len() > 1 {
        return Err(invalid(
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
        ));
    }
    let additional =
        weights.into_iter().next().map(|(version, weight)| Additional { version, weight });
    check_weight(additional.as_ref(), version)?;
    Ok(additional)
}

fn check_weight(additional: Option<&Additional>, version: &str) -> Result<(), AwsError> {
    let Some(additional) = additional else { return Ok(()) };
    if additional.version == version {
        return Err(invalid(format!(
            "Invalid function version {version}. Function version {version} is already included \
             in routing configuration."
        )));
    }
    if version == LATEST {
        return Err(invalid(
            "$LATEST is not supported for an alias pointing to more than 1 version",
        ));
    }
    Ok(())
}

fn rendered<'a>(alias: &'a Alias, context: &Context<'_>) -> AliasResponse<'a> {
    let qualifier = Qualifier::Alias(alias.name.clone());
    AliasResponse {
        alias_arn: context.place.arn(&alias.function, Some(&qualifier)),
        name: &alias.name,
        function_version: &alias.version,
        description: &alias.description,
        routing_config: alias.additional.as_ref().map(|additional| RoutingConfig {
            additional_version_weights: Some(
                [(additional.version.clone(), additional.weight)].into(),
            ),
        }),
        revision_id: &alias.revision_id,
    }
}

#[cfg(test)]
#[path = "aliases_tests.rs"]
mod tests;
