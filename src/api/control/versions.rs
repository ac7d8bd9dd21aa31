//! PublishVersion and ListVersionsByFunction.

use std::sync::Arc;

use super::common::SETTINGS_BYTES;
use super::{Answer, Call, Operation};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::functions;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "PublishVersion",
        method: "POST",
        path: "/2015-03-31/functions/{}/versions",
        max_body_bytes: SETTINGS_BYTES,
        run: publish,
    },
    Operation {
        name: "ListVersionsByFunction",
        method: "GET",
        path: "/2015-03-31/functions/{}/versions",
        max_body_bytes: 0,
        run: list,
    },
];

fn publish(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    functions::publish_version(&api.registry, call.value(0), &call.body, &call.context(api))
        .map(|json| Answer::json(201, json))
}

fn list(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let (marker, max_items) = (call.query("Marker"), call.query("MaxItems"));
    let page = (marker.as_deref(), max_items.as_deref());
    functions::list_versions(&api.registry, call.value(0), page, &call.context(api))
        .map(|json| Answer::json(200, json))
}
