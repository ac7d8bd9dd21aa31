//! The function proper: from an event to its answer, or to the text of an error.

/// Greets the `name` of the event, or the world if the event names nobody.
pub(crate) fn handle(
    event: &[u8],
    greeting: &str,
    function: &str,
    request_id: &str,
) -> Result<String, String> {
    let event = std::str::from_utf8(event).map_err(|_| "the event is not UTF-8")?;
    let name = name_field(event)?.unwrap_or("World");
    Ok(format!(
        "{{\"message\":\"{greeting}, {name}!\",\"function\":\"{function}\",\
         \"requestId\":\"{request_id}\"}}"
    ))
}

/// The text of the event's `name` as it stands in the document: still escaped, so it can go
/// into the answer as it is. Nested objects and arrays are passed over.
fn name_field(event: &str) -> Result<Option<&str>, String> {
    let event = event.trim();
    if event.is_empty() || event == "null" {
        return Ok(None);
    }
    let Some(mut rest) = event.strip_prefix('{') else {
        return Err("the event is not a JSON object".to_owned());
    };
    let mut depth = 1;
    while let Some(at) = rest.find(['"', '{', '[', '}', ']']) {
        match rest.as_bytes()[at] {
            b'"' => {
                let (text, after) = string(&rest[at + 1..])?;
                rest = after;
                let Some(value) = after.trim_start().strip_prefix(':') else { continue };
                if depth == 1 && text == "name" {
                    return match value.trim_start().strip_prefix('"') {
                        Some(value) => string(value).map(|(name, _)| Some(name)),
                        None => Err("the event's name is not a string".to_owned()),
                    };
                }
            }
            b'{' | b'[' => (depth, rest) = (depth + 1, &rest[at + 1..]),
            _ => (depth, rest) = (depth - 1, &rest[at + 1..]),
        }
    }
    if depth == 0 { Ok(None) } else { Err("the event is not a whole JSON object".to_owned()) }
}

/// Splits behind an opening quote: the text up to the closing one, and what follows it.
fn string(text: &str) -> Result<(&str, &str), String> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' if !escaped => return Ok((&text[..at], &text[at + 1..])),
            _ => escaped = byte == b'\\' && !escaped,
        }
    }
    Err("the event has a string without an end".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greets_by_name_or_the_world() {
        let greet = |event: &str| handle(event.as_bytes(), "Hello", "f", "r").unwrap();
        let answer = r#"{"message":"Hello, Ada!","function":"f","requestId":"r"}"#;
        assert_eq!(greet(r#"{"name": "Ada"}"#), answer);
        assert!(greet("{}").contains("Hello, World!"));
        assert!(greet("").contains("Hello, World!"));
    }

    #[test]
    fn only_the_outer_name_counts_and_escapes_stay() {
        assert_eq!(
            name_field(r#"{"a":{"name":"x"},"b":["name"],"name":"A\"b"}"#),
            Ok(Some(r#"A\"b"#))
        );
        assert_eq!(name_field(r#"{"a":"name","b":"}"}"#), Ok(None));
    }

    #[test]
    fn what_is_no_greeting_is_an_error() {
        for event in ["[1]", r#"{"name":1}"#, r#"{"name":"x"#, r#"{"a":{}"#] {
            assert!(name_field(event).is_err(), "{event}");
        }
        assert!(handle(b"\xff", "Hello", "f", "r").is_err());
    }
}
