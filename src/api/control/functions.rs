//! CreateFunction, GetFunction, GetFunctionConfiguration, ListFunctions, DeleteFunction and the
//! two updates.

use std::sync::Arc;

use super::code::{Accepted, check_together};
use super::common::SETTINGS_BYTES;
use super::{Answer, CODE_BYTES, Call, Operation, concurrency};
use crate::api::Api;
use crate::api::create_function::{NewFunction, create_function};
use crate::api::error::AwsError;
use crate::api::functions::{self, Context, ListQuery};
use crate::api::update_function::{CodeUpdate, ConfigurationUpdate};
use crate::function::model::Function;
use crate::function::name::{FunctionRef, Qualifier};
use crate::function::registry::{Written, check_publishable};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "CreateFunction",
        method: "POST",
        path: "/2015-03-31/functions",
        max_body_bytes: CODE_BYTES,
        run: create,
    },
    Operation {
        name: "ListFunctions",
        method: "GET",
        path: "/2015-03-31/functions",
        max_body_bytes: 0,
        run: list,
    },
    Operation {
        name: "GetFunction",
        method: "GET",
        path: "/2015-03-31/functions/{}",
        max_body_bytes: 0,
        run: get,
    },
    Operation {
        name: "DeleteFunction",
        method: "DELETE",
        path: "/2015-03-31/functions/{}",
        max_body_bytes: 0,
        run: delete,
    },
    Operation {
        name: "GetFunctionConfiguration",
        method: "GET",
        path: "/2015-03-31/functions/{}/configuration",
        max_body_bytes: 0,
        run: get_configuration,
    },
    Operation {
        name: "UpdateFunctionCode",
        method: "PUT",
        path: "/2015-03-31/functions/{}/code",
        max_body_bytes: CODE_BYTES,
        run: update_code,
    },
    Operation {
        name: "UpdateFunctionConfiguration",
        method: "PUT",
        path: "/2015-03-31/functions/{}/configuration",
        max_body_bytes: SETTINGS_BYTES,
        run: update_configuration,
    },
];

fn create(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let context = call.context(api);
    let NewFunction { function, publish } =
        create_function(&call.body, &context, &Accepted { api, call })?;
    check_together(api, &function)?;
    let Written { latest, published } = api.registry.create(function, publish)?;
    let answer = functions::changed(published.as_ref().unwrap_or(&latest), &context)?;
    // Here, before the answer: with a local image the function is Active at once.
    api.packages.prepare(&api.registry, &latest);
    Ok(Answer::json(201, answer))
}

fn update_code(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let context = call.context(api);
    let update = CodeUpdate::parse(&call.body, &context)?;
    let name = functions::whole_function(call.value(0), &context)?;
    let (publish, dry_run, revision) = (update.publish, update.dry_run, update.revision_id.clone());
    let latest = latest(api, &context, &name)?;
    api.registry.check_changeable(&latest, revision.as_deref())?;
    let code = update.accept(&latest, &Accepted { api, call })?;
    if dry_run {
        let would_be = code.apply(&latest, &context);
        if publish {
            check_publishable(&would_be)?;
        }
        // What an image would be is known once it is there.
        let shown = if would_be.code_sha256.is_empty() { &*latest } else { &would_be };
        return Ok(Answer::json(200, functions::changed(shown, &context)?));
    }
    let change = |function: &Function| {
        let changed = code.apply(function, &context);
        check_together(api, &changed).map(|()| changed)
    };
    let region = context.place.region;
    let written = api.registry.update(region, &name, revision.as_deref(), publish, change)?;
    prepared(api, &written, &context)
}

fn update_configuration(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let context = call.context(api);
    let name = functions::whole_function(call.value(0), &context)?;
    let latest = latest(api, &context, &name)?;
    let update = ConfigurationUpdate::parse(&call.body, &context, &Accepted { api, call })?;
    let revision = update.revision_id.clone();
    let change = |function: &Function| {
        let changed = update.apply(function, &context)?;
        check_together(api, &changed).map(|()| changed)
    };
    let region = context.place.region;
    let written = api.registry.update(region, &latest.name, revision.as_deref(), false, change)?;
    prepared(api, &written, &context)
}

fn latest(api: &Arc<Api>, context: &Context<'_>, name: &str) -> Result<Arc<Function>, AwsError> {
    let reference = FunctionRef { name: name.to_owned(), qualifier: None };
    Ok(api.registry.get(context.place.region, &reference)?)
}

/// Prepares what an update has written, and answers with what became of it: a client that goes on
/// with the revision of the answer has the latest one, unless an image has to be pulled first.
fn prepared(api: &Arc<Api>, written: &Written, context: &Context<'_>) -> Result<Answer, AwsError> {
    api.packages.prepare(&api.registry, &written.latest);
    let changed = written.published.as_ref().unwrap_or(&written.latest);
    let qualifier = (!changed.is_latest()).then(|| Qualifier::Version(changed.version.clone()));
    let reference = FunctionRef { name: changed.name.clone(), qualifier };
    let now = api.registry.get(context.place.region, &reference)?;
    Ok(Answer::json(200, functions::changed(&now, context)?))
}

fn get(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let qualifier = call.query("Qualifier");
    let context = call.context(api);
    functions::get_function(&api.registry, call.value(0), qualifier.as_deref(), &context)
        .map(|json| Answer::json(200, json))
}

fn list(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let (marker, max_items) = (call.query("Marker"), call.query("MaxItems"));
    let (version, region) = (call.query("FunctionVersion"), call.query("MasterRegion"));
    let list = ListQuery {
        marker: marker.as_deref(),
        max_items: max_items.as_deref(),
        function_version: version.as_deref(),
        master_region: region.as_deref(),
    };
    functions::list_functions(&api.registry, &list, &call.context(api))
        .map(|json| Answer::json(200, json))
}

fn delete(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let qualifier = call.query("Qualifier");
    let context = call.context(api);
    let gone =
        functions::delete_function(&api.registry, call.value(0), qualifier.as_deref(), &context)?;
    for version in gone {
        log::info!("{} is deleted", version.key());
        api.dispatcher.retire(&version.key());
        concurrency::tell_dispatch(api, &version.region, &version.name)?;
    }
    api.packages.collect(&api.registry);
    Ok(Answer::empty(204))
}

fn get_configuration(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let qualifier = call.query("Qualifier");
    let context = call.context(api);
    functions::get_configuration(&api.registry, call.value(0), qualifier.as_deref(), &context)
        .map(|json| Answer::json(200, json))
}
