//! GetAccountSettings: the limits of this service and what is used of them.

use std::sync::Arc;

use serde::Serialize;

use super::common::json;
use super::{Answer, Call, Operation};
use crate::api::Api;
use crate::api::error::AwsError;

pub(super) const OPERATIONS: &[Operation] = &[Operation {
    name: "GetAccountSettings",
    method: "GET",
    path: "/2016-08-19/account-settings",
    max_body_bytes: 0,
    run: get,
}];

/// AWS's quotas (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>).
/// The total is not enforced here: the disk's size is what bounds it.
const TOTAL_CODE_BYTES: u64 = 80_530_636_800;
const UNZIPPED_BYTES: u64 = 262_144_000;
const ZIPPED_BYTES: u64 = 52_428_800;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AccountSettings {
    account_limit: Limit,
    account_usage: Usage,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Limit {
    total_code_size: u64,
    code_size_unzipped: u64,
    code_size_zipped: u64,
    concurrent_executions: u32,
    unreserved_concurrent_executions: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Usage {
    total_code_size: u64,
    function_count: usize,
}

/// Concurrency is that of the machine, so reservations of all regions count; code and functions are
/// those of the region that is asked.
fn get(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let limit = api.dispatcher.limit();
    let promises = api.registry.promises()?;
    let reservations = promises.iter().filter_map(|promise| promise.reserved);
    let reserved = reservations.fold(0u32, u32::saturating_add);
    let functions = api.registry.all();
    let functions: Vec<_> = functions.iter().filter(|f| f.region == call.region).collect();
    let layers = api.registry.layers(&call.region)?;
    let sizes = functions.iter().map(|function| function.code_size);
    let total: u64 = sizes.chain(layers.iter().map(|layer| layer.details.code.size)).sum();
    let mut names: Vec<&str> = functions.iter().map(|function| function.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    json(
        200,
        &AccountSettings {
            account_limit: Limit {
                total_code_size: TOTAL_CODE_BYTES,
                code_size_unzipped: UNZIPPED_BYTES,
                code_size_zipped: ZIPPED_BYTES,
                concurrent_executions: limit,
                unreserved_concurrent_executions: limit.saturating_sub(reserved),
            },
            account_usage: Usage { total_code_size: total, function_count: names.len() },
        },
    )
}
