//! Query strings and path segments: percent-encoded in, text out.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The first value of `name` in a query. None when it is absent or not UTF-8.
pub(super) fn value<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    for pair in query?.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decode(key).as_deref() == Some(name) {
            return decode_form(value);
        }
    }
    None
}

/// All values of `name` in a query that are UTF-8.
pub(super) fn values(query: Option<&str>, name: &str) -> Vec<String> {
    let pairs = query.into_iter().flat_map(|query| query.split('&'));
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(key, _)| decode(key).as_deref() == Some(name))
        .filter_map(|(_, value)| decode_form(value).map(Cow::into_owned))
        .collect()
}

/// A path segment. None when it is not UTF-8.
pub(super) fn decode(segment: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(segment).decode_utf8().ok()
}

/// In a query a plus sign is a space.
fn decode_form(value: &str) -> Option<Cow<'_, str>> {
    if value.contains('+') {
        let spaced = value.replace('+', " ");
        return decode(&spaced).map(|text| Cow::Owned(text.into_owned()));
    }
    decode(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_and_decoded() {
        let query = Some("a=1&Qualifier=%24LATEST&b&c=x+y%2B&bad=%ff");
        assert_eq!(value(query, "Qualifier").as_deref(), Some("$LATEST"));
        assert_eq!(value(query, "b").as_deref(), Some(""));
        assert_eq!(value(query, "c").as_deref(), Some("x y+"));
        assert_eq!(value(query, "bad"), None);
        assert_eq!(value(query, "d"), None);
        assert_eq!(value(None, "a"), None);
        assert_eq!(values(Some("k=a&x=1&k=b+c&k=%ff&k"), "k"), ["a", "b c", ""]);
    }
}
