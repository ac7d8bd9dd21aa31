//! CreateFunction, GetFunction, ListFunctions, DeleteFunction.

use std::sync::Arc;

use super::{Answer, CODE_BYTES, Call, Operation};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::functions::{self, ListQuery};

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
];

fn create(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let context = call.context(api);
    let function = functions::create_function(&call.body, &context)?;
    let function = api.registry.create(function)?;
    let answer = functions::created(&function, &context)?;
    // Here, before the answer: with a local image the function is Active at once.
    api.packages.prepare(&api.registry, &function);
    Ok(Answer::json(201, answer))
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
    let function =
        functions::delete_function(&api.registry, call.value(0), qualifier.as_deref(), &context)?;
    log::info!("function {} of {} is deleted", function.name, function.region);
    api.dispatcher.retire(&function.key());
    Ok(Answer::empty(204))
}
