//! A request of EventBridge Scheduler: values of its path and query, and members of a JSON object,
//! each asked for with its type.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::invalid;
use crate::api::error::AwsError;
use crate::api::query;
use crate::api::rules::{length, matching};
use crate::function::violation::{Violation, Violations};

const NAME_PATTERN: &str = "[0-9a-zA-Z-_.]+";
const TOKEN_PATTERN: &str = "[a-zA-Z0-9-_]+";

/// See the module's text.
#[derive(Debug)]
pub(super) struct Call {
    values: Vec<String>,
    query: Option<String>,
    pub(super) region: String,
    body: Members,
}

impl Call {
    pub(super) fn new(
        values: Vec<String>,
        query: Option<String>,
        region: String,
        body: &[u8],
    ) -> Result<Call, AwsError> {
        let body = if body.is_empty() { b"{}" } else { body };
        let members = serde_json::from_slice(body).map_err(|e| serialization(e.to_string()))?;
        Ok(Call { values, query, region, body: Members(members) })
    }

    /// The one value of the path.
    pub(super) fn value(&self) -> &str {
        self.values.first().map_or("", String::as_str)
    }

    /// The name that the path ends with.
    pub(super) fn name(&self, found: &mut Violations) -> &str {
        name(found, "name", Some(self.value()));
        self.value()
    }

    pub(super) fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        query::value(self.query.as_deref(), name)
    }

    pub(super) fn queries(&self, name: &str) -> Vec<String> {
        query::values(self.query.as_deref(), name)
    }

    pub(super) fn body(&self) -> &Members {
        &self.body
    }
}

/// The members of an object.
#[derive(Debug, Default)]
pub(super) struct Members(Map<String, Value>);

impl Members {
    fn member<'a, T>(
        &'a self,
        name: &str,
        kind: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, AwsError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match read(value) {
                Some(value) => Ok(Some(value)),
                None => Err(serialization(format!("{name} is no {kind}"))),
            },
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_null())
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, AwsError> {
        self.member(name, "string", Value::as_str)
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, AwsError> {
        self.member(name, "whole number", Value::as_i64)
    }

    /// Seconds since 1970, within the years that have four digits.
    pub(super) fn date(&self, name: &str) -> Result<Option<f64>, AwsError> {
        let seconds = self.member(name, "timestamp", Value::as_f64)?;
        match seconds.filter(|seconds| !(0.0..253_402_300_800.0).contains(seconds)) {
            Some(_) => Err(invalid(format!("{name} is not between 1970 and 9999."))),
            None => Ok(seconds),
        }
    }

    pub(super) fn object(&self, name: &str) -> Result<Option<Members>, AwsError> {
        let found = self.member(name, "structure", Value::as_object)?;
        Ok(found.map(|members| Members(members.clone())))
    }

    pub(super) fn list(&self, name: &str) -> Result<Option<Vec<Members>>, AwsError> {
        self.member(name, "list of structures", |value| {
            let objects = value.as_array()?.iter().map(Value::as_object);
            objects.map(|members| members.map(|members| Members(members.clone()))).collect()
        })
    }
}

pub(super) fn name(found: &mut Violations, field: &str, text: Option<&str>) {
    length(found, field, text, 1, 64);
    matching(found, field, text, NAME_PATTERN, |text| {
        !text.is_empty() && text.bytes().all(is_name_byte)
    });
}

pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

pub(super) fn token(found: &mut Violations, text: Option<&str>) {
    length(found, "clientToken", text, 1, 64);
    matching(found, "clientToken", text, TOKEN_PATTERN, |text| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    });
}

/// A text that has to be there, for a call that [`check`] lets pass only then.
pub(super) fn required<'a>(found: &mut Violations, field: &str, text: Option<&'a str>) -> &'a str {
    if text.is_none() {
        found.push(Violation::null(field));
    }
    text.unwrap_or_default()
}

/// `MaxResults`, and where the page before ended.
pub(super) fn page(
    call: &Call,
    found: &mut Violations,
) -> Result<(usize, Option<String>), AwsError> {
    const MOST: u32 = 100;
    let max = match call.query("MaxResults").map(|text| text.parse::<i64>()) {
        None => None,
        Some(Ok(max)) => Some(max),
        Some(Err(_)) => return Err(serialization("MaxResults is no whole number".to_owned())),
    };
    let max = crate::api::rules::number(found, "maxResults", max, (1, MOST, MOST));
    let token = call.query("NextToken");
    length(found, "nextToken", token.as_deref(), 1, 2048);
    let after = match token {
        None => None,
        Some(token) => Some(last_of(&token).ok_or_else(|| invalid("Invalid NextToken."))?),
    };
    Ok((max as usize, after))
}

/// The token of a page that ended with this.
pub(super) fn next_token(last: &str) -> String {
    URL_SAFE_NO_PAD.encode(last)
}

fn last_of(token: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}

/// Fails with everything that was found.
pub(super) fn check(found: Violations) -> Result<(), AwsError> {
    found.into_result().map_err(|found| invalid(found.to_string()))
}

fn serialization(message: String) -> AwsError {
    AwsError::new(400, "SerializationException", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_their_types() {
        let body = br#"{"a":"x","n":5,"d":1.5,"o":{"b":"y"},"l":[{"c":"z"}],"none":null}"#;
        let call = Call::new(Vec::new(), None, "r".into(), body).unwrap();
        let body = call.body();
        assert_eq!(body.text("a").unwrap(), Some("x"));
        assert_eq!((body.number("n").unwrap(), body.date("d").unwrap()), (Some(5), Some(1.5)));
        assert_eq!(body.object("o").unwrap().unwrap().text("b").unwrap(), Some("y"));
        assert_eq!(body.list("l").unwrap().unwrap()[0].text("c").unwrap(), Some("z"));
        assert!(body.text("none").unwrap().is_none() && !body.has("none") && body.has("a"));
        for wrong in [body.text("n").err(), body.number("d").err(), body.date("a").err()] {
            assert_eq!(wrong.unwrap().error_type, "SerializationException");
        }
        assert!(body.object("a").is_err() && body.list("o").is_err());
        for bad in [&b"[]"[..], b"{", b"\xff"] {
            assert!(Call::new(Vec::new(), None, "r".into(), bad).is_err());
        }
        let far = Call::new(Vec::new(), None, "r".into(), br#"{"d":1e300,"m":-1}"#).unwrap();
        assert!(far.body().date("d").is_err() && far.body().date("m").is_err());
    }
}
