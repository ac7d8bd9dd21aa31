//! The part of `api::fuzzing` that needs what is private here.

use super::events::{batch, check_batch};
use super::request::Call;
use super::rules::check;
use super::tokens;
use crate::api::error::AwsError;
use crate::function::violation::Violations;

/// A PutLogEvents, as far as no store is needed.
pub(in crate::api) fn events(body: &[u8]) -> Result<(), AwsError> {
    let call = Call::new("us-east-1".to_owned(), body)?;
    let mut found = Violations::default();
    let group = call.group_or_identifier(&mut found).map(str::to_owned);
    let events = batch(&call, &mut found)?;
    check(found)?;
    check_batch(&events)?;
    assert!((1..=10_000).contains(&events.len()));
    assert!(events.iter().all(|event| event.timestamp_ms >= 0 && !event.message.is_empty()));
    assert!(events.is_sorted_by_key(|event| event.timestamp_ms));
    if let Ok(group) = group {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./#*:".contains(&byte);
        assert!(group.bytes().all(fits), "{group}");
    }
    Ok(())
}

/// A token of a page is read back as it was written, and any other text is refused in peace.
pub(in crate::api) fn token(text: &str) {
    if let Ok((from, place)) = tokens::parse_place(text) {
        let written = tokens::place(from, place);
        assert!(tokens::parse_place(&written).is_ok_and(|again| again == (from, place)));
    }
    if let Some(place) = tokens::parse_id(text) {
        assert_eq!(tokens::parse_id(&tokens::id(place)), Some(place));
    }
    if let Ok(Some(last)) = tokens::parse_text(Some(text)) {
        let again = tokens::parse_text(Some(&tokens::text(&last)));
        assert!(again.is_ok_and(|again| again.as_ref() == Some(&last)));
    }
}
