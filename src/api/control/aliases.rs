//! CreateAlias, GetAlias, ListAliases, UpdateAlias, DeleteAlias.

use std::sync::Arc;

use super::common::SETTINGS_BYTES;
use super::{Answer, Call, Operation, provisioned};
use crate::api::Api;
use crate::api::aliases::{self, AliasQuery};
use crate::api::error::AwsError;
use crate::api::functions;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "CreateAlias",
        method: "POST",
        path: "/2015-03-31/functions/{}/aliases",
        max_body_bytes: SETTINGS_BYTES,
        run: create,
    },
    Operation {
        name: "ListAliases",
        method: "GET",
        path: "/2015-03-31/functions/{}/aliases",
        max_body_bytes: 0,
        run: list,
    },
    Operation {
        name: "GetAlias",
        method: "GET",
        path: "/2015-03-31/functions/{}/aliases/{}",
        max_body_bytes: 0,
        run: get,
    },
    Operation {
        name: "UpdateAlias",
        method: "PUT",
        path: "/2015-03-31/functions/{}/aliases/{}",
        max_body_bytes: SETTINGS_BYTES,
        run: update,
    },
    Operation {
        name: "DeleteAlias",
        method: "DELETE",
        path: "/2015-03-31/functions/{}/aliases/{}",
        max_body_bytes: 0,
        run: delete,
    },
];

fn create(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    aliases::create_alias(&api.registry, call.value(0), &call.body, &call.context(api))
        .map(|json| Answer::json(201, json))
}

fn list(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let (version, marker) = (call.query("FunctionVersion"), call.query("Marker"));
    let max_items = call.query("MaxItems");
    let query = AliasQuery {
        function_version: version.as_deref(),
        marker: marker.as_deref(),
        max_items: max_items.as_deref(),
    };
    aliases::list_aliases(&api.registry, call.value(0), &query, &call.context(api))
        .map(|json| Answer::json(200, json))
}

fn get(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    aliases::get_alias(&api.registry, call.value(0), call.value(1), &call.context(api))
        .map(|json| Answer::json(200, json))
}

fn update(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let (function, name) = (call.value(0), call.value(1));
    let json =
        aliases::update_alias(&api.registry, function, name, &call.body, &call.context(api))?;
    tell_provisioned(api, call)?;
    Ok(Answer::json(200, json))
}

fn delete(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    aliases::delete_alias(&api.registry, call.value(0), call.value(1), &call.context(api))?;
    tell_provisioned(api, call)?;
    Ok(Answer::empty(204))
}

/// What an alias has of provisioned concurrency goes where it points.
fn tell_provisioned(api: &Arc<Api>, call: &Call) -> Result<(), AwsError> {
    let reference = functions::resolve(call.value(0), None, &call.context(api))?;
    provisioned::tell_dispatch(api, &call.region, &reference.name)
}
