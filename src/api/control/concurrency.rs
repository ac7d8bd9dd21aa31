//! PutFunctionConcurrency, GetFunctionConcurrency, DeleteFunctionConcurrency.
//!
//! The reservation is kept durably and told to dispatch, which enforces it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::common::{self, SETTINGS_BYTES, body, json};
use super::{Answer, Call, Operation};
use crate::api::Api;
use crate::api::error::AwsError;
use crate::api::functions::{self, invalid};
use crate::function::error::FunctionError;
use crate::function::name::FunctionRef;
use crate::function::settings::Reserving;
use crate::function::violation::{Violation, least};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "PutFunctionConcurrency",
        method: "PUT",
        path: "/2017-10-31/functions/{}/concurrency",
        max_body_bytes: SETTINGS_BYTES,
        run: put,
    },
    Operation {
        name: "GetFunctionConcurrency",
        method: "GET",
        path: "/2019-09-30/functions/{}/concurrency",
        max_body_bytes: 0,
        run: get,
    },
    Operation {
        name: "DeleteFunctionConcurrency",
        method: "DELETE",
        path: "/2017-10-31/functions/{}/concurrency",
        max_body_bytes: 0,
        run: delete,
    },
];

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct Concurrency {
    #[serde(skip_serializing_if = "Option::is_none")]
    reserved_concurrent_executions: Option<i64>,
}

/// What must stay unreserved, so that a function without a reservation can always run.
///
/// AWS keeps 100 of the 1,000 concurrent executions that an account has by default
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html>). One machine may
/// have 10 in all, of which 100 would leave nothing to reserve: so it is the same tenth here, at
/// least one, and AWS's 100 from 1,000 on.
pub(super) fn unreserved_minimum(limit: u32) -> u32 {
    (limit / 10).clamp(1, 100)
}

fn put(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let request: Concurrency = body(call)?;
    let Some(wanted) = request.reserved_concurrent_executions else {
        return Err(common::null("reservedConcurrentExecutions"));
    };
    if wanted < 0 {
        let found = Violation::new("reservedConcurrentExecutions", wanted, least(0));
        return Err(FunctionError::Invalid(found.into()).into());
    }
    let reference = unqualified(api, call)?;
    // What does not fit is beyond any limit.
    set(api, call, &reference, Some(u32::try_from(wanted).unwrap_or(u32::MAX)))?;
    json(200, &Concurrency { reserved_concurrent_executions: Some(wanted) })
}

fn get(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let context = call.context(api);
    let reference = unqualified(api, call)?;
    common::check_exists(api, &reference, &context)?;
    let settings = api.registry.settings(context.place.region, &reference.name)?;
    let reserved_concurrent_executions = settings.reserved_concurrency.map(i64::from);
    json(200, &Concurrency { reserved_concurrent_executions })
}

fn delete(api: &Arc<Api>, call: &Call) -> Result<Answer, AwsError> {
    let reference = unqualified(api, call)?;
    set(api, call, &reference, None)?;
    Ok(Answer::empty(204))
}

/// Tells dispatch what is reserved now: nothing, where the function is deleted, and the same as
/// before, where only a version is.
pub(super) fn tell_dispatch(api: &Api, region: &str, name: &str) -> Result<(), AwsError> {
    let reserved = api.registry.settings(region, name)?.reserved_concurrency;
    api.dispatcher.set_reserved(&format!("{region}/{name}"), reserved);
    Ok(())
}

/// Reservations are of functions.
fn unqualified(api: &Api, call: &Call) -> Result<FunctionRef, AwsError> {
    let reference = functions::resolve(call.value(0), None, &call.context(api))?;
    if reference.qualifier.is_some() {
        return Err(invalid(
            "This operation is permitted on Lambda functions only. Aliases and versions do not \
             support this operation. Please specify either a function name or an unqualified \
             function ARN.",
        ));
    }
    Ok(reference)
}

fn set(
    api: &Api,
    call: &Call,
    reference: &FunctionRef,
    reserved: Option<u32>,
) -> Result<(), AwsError> {
    let limit = api.dispatcher.limit();
    let minimum = unreserved_minimum(limit);
    let most = limit.saturating_sub(minimum);
    let FunctionRef { name, .. } = reference;
    let function = format!("{}/{name}", call.region);
    let applied = || api.dispatcher.set_reserved(&function, reserved);
    match api.registry.reserve(&call.region, name, reserved, most, applied)? {
        Reserving::Done => {}
        Reserving::TooMuch => {
            return Err(invalid(format!(
                "Specified ReservedConcurrentExecutions for function decreases account's \
                 UnreservedConcurrentExecution below its minimum value of [{minimum}]."
            )));
        }
        Reserving::BelowProvisioned { reserved, provisioned } => {
            return Err(invalid(format!(
                "Specified ReservedConcurrentExecutions [{reserved}] is less than the function's \
                 provisioned concurrency [{provisioned}]."
            )));
        }
    }
    match reserved {
        Some(reserved) => log::info!("function {function}: concurrency {reserved} is reserved"),
        None => log::info!("function {function}: no concurrency is reserved any more"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_stays_unreserved_and_never_nothing() {
        for (limit, minimum) in [(1, 1), (10, 1), (50, 5), (1_000, 100), (5_000, 100)] {
            assert_eq!(unreserved_minimum(limit), minimum, "{limit}");
        }
    }
}
