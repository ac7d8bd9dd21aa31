//! What holds of any text as a function's name or ARN; see the crate's `fuzzing`.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::name::{FunctionRef, Place, Qualifier, check_new, parse};
use super::violation::Violations;
use crate::fuzzing::Seed;

const HERE: Place<'_> = Place { region: "us-east-1", account_id: "123456789012" };

/// What is accepted has a name of harmless bytes, is the same by its ARN, with its qualifier beside
/// it or in it, and a new function's name is one by which it is found again.
pub fn arn(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (raw, beside) = match text.split_once('\n') {
        Some((raw, qualifier)) => (raw, Some(qualifier)),
        None => (text, None),
    };
    match parse(raw, beside, HERE) {
        Ok(found) => check_found(&found, raw, beside),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let mut violations = Violations::default();
    if let Some(name) = check_new(raw, &mut violations)
        && violations.into_result().is_ok()
        && let Ok(new) = name.resolve(HERE)
    {
        assert!((1..=64).contains(&new.name.len()));
        assert_eq!(parse(raw, None, HERE).unwrap(), new);
    }
}

fn check_found(found: &FunctionRef, raw: &str, beside: Option<&str>) {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    assert!(!found.name.is_empty() && found.name.bytes().all(harmless));
    assert!(raw.contains(&found.name));
    let qualifier = found.qualifier.as_ref().map(Qualifier::to_string);
    if let Some(beside) = beside {
        assert_eq!(qualifier.as_deref(), Some(beside));
    }
    let qualifier = qualifier.as_deref();
    assert_eq!(qualifier.map(Qualifier::new), found.qualifier);
    // Inside a name the model bounds a qualifier with all the rest only, beside it by itself.
    if qualifier.is_some_and(|text| text.len() > 128) {
        return;
    }
    // Where it may stand twice it means the same twice.
    assert_eq!(parse(raw, qualifier, HERE).unwrap(), *found);
    let whole = HERE.arn(&found.name, None);
    if whole.len() <= 256 {
        let again = parse(&whole, qualifier, HERE).unwrap();
        assert_eq!(again, *found);
    }
    let fits_inside = qualifier
        .is_none_or(|text| text.starts_with("$LATEST") && text.len() != 8 || !text.contains('$'));
    let whole = HERE.arn(&found.name, found.qualifier.as_ref());
    if whole.len() <= 256
        && fits_inside
        && let Ok(again) = parse(&whole, None, HERE)
    {
        assert_eq!(again, *found);
    }
}

pub const ARN_SEEDS: &[Seed] = &[
    ("name", b"my-fn_2"),
    ("qualified", b"f:$LATEST"),
    ("beside", b"function:f\n$LATEST.PUBLISHED"),
    ("arn", b"arn:aws:lambda:us-east-1:123456789012:function:f:live\nlive"),
    ("gov", b"arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:f.x"),
    ("iso", b"us-isob-east-1:123456789012:function:f:42"),
    ("eusc", b"eusc-de-east-1:123456789012:f"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::{OTHERS, run_in_small};

    #[test]
    fn names_and_arns_mean_the_same_function() {
        run_in_small(ARN_SEEDS, OTHERS, arn);
    }
}
