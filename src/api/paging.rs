//! `MaxItems` of the list operations.

use super::error::AwsError;
use super::function_rules::validation;
use crate::function::violation::{Violation, Violations, greatest, least};

/// AWS gives no more entries in one page, whatever MaxItems says.
const PAGE_MAX: i64 = 50;
/// The model's greatest MaxItems.
const MAX_ITEMS_MAX: i64 = 10_000;

/// How many entries the page may have; what else was found wrong is told together with it.
pub(super) fn max_items(given: Option<&str>, mut found: Violations) -> Result<usize, AwsError> {
    let max = match given.map(str::parse::<i64>) {
        None => PAGE_MAX,
        Some(Ok(max)) => max,
        Some(Err(e)) => {
            let message = format!("MaxItems is not a whole number: {e}");
            return Err(AwsError::new(400, "SerializationException", message));
        }
    };
    if max < 1 {
        found.push(Violation::new("maxItems", max, least(1)));
    }
    if max > MAX_ITEMS_MAX {
        found.push(Violation::new("maxItems", max, greatest(MAX_ITEMS_MAX)));
    }
    found.into_result().map_err(|found| validation(&found))?;
    Ok(usize::try_from(max.min(PAGE_MAX)).unwrap_or_default())
}
