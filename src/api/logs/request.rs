//! A request of CloudWatch Logs: members of a JSON object, each asked for with its type.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::rules;
use crate::api::error::AwsError;
use crate::function::name::partition;
use crate::function::violation::Violations;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) region: String,
    members: Map<String, Value>,
    /// [`LARGE`] as it was sent.
    large: Option<Box<RawValue>>,
}

/// The one member that may be large: as a tree of values it would take ten times its size.
pub(super) const LARGE: &str = "logEvents";

impl Call {
    pub(super) fn new(region: String, body: &[u8]) -> Result<Call, AwsError> {
        let body = if body.is_empty() { b"{}" } else { body };
        let mut raw: BTreeMap<String, Box<RawValue>> =
            serde_json::from_slice(body).map_err(not_json)?;
        let large = raw.remove(LARGE);
        let members = raw
            .into_iter()
            .map(|(name, value)| Ok((name, serde_json::from_str(value.get())?)))
            .collect::<Result<_, serde_json::Error>>()
            .map_err(not_json)?;
        Ok(Call { region, members, large })
    }

    /// [`LARGE`], if it is there.
    pub(super) fn large<T: DeserializeOwned>(&self) -> Result<Option<T>, AwsError> {
        match &self.large {
            Some(raw) => serde_json::from_str(raw.get()).map_err(not_json),
            None => Ok(None),
        }
    }

    fn member<'a, T>(
        &'a self,
        name: &str,
        kind: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, AwsError> {
        match self.members.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match read(value) {
                Some(value) => Ok(Some(value)),
                None => Err(serialization(&format!("{name} is no {kind}"))),
            },
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, AwsError> {
        self.member(name, "string", Value::as_str)
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, AwsError> {
        self.member(name, "whole number", Value::as_i64)
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, AwsError> {
        Ok(self.member(name, "truth value", Value::as_bool)?.unwrap_or(false))
    }

    pub(super) fn texts(&self, name: &str) -> Result<Option<Vec<&str>>, AwsError> {
        self.member(name, "list of strings", |value| {
            value.as_array()?.iter().map(Value::as_str).collect()
        })
    }

    pub(super) fn map(&self, name: &str) -> Result<Option<&Map<String, Value>>, AwsError> {
        self.member(name, "map", Value::as_object)
    }

    /// The group that `logGroupName` names, which has to be there.
    pub(super) fn group(&self, found: &mut Violations) -> Result<&str, AwsError> {
        let name = self.text("logGroupName")?;
        rules::group_name(found, "logGroupName", name);
        Ok(rules::required(found, "logGroupName", name))
    }

    /// The group that `logGroupName` names, or `logGroupIdentifier` by its name or ARN.
    pub(super) fn group_or_identifier(&self, found: &mut Violations) -> Result<&str, AwsError> {
        match (self.text("logGroupName")?, self.text("logGroupIdentifier")?) {
            (Some(_), None) => self.group(found),
            (None, Some(identifier)) => {
                rules::identifier(found, "logGroupIdentifier", identifier);
                Ok(group_of(identifier).unwrap_or(identifier))
            }
            _ => Err(super::invalid(
                "Exactly one of logGroupName and logGroupIdentifier has to be given.",
            )),
        }
    }
}

fn not_json(error: serde_json::Error) -> AwsError {
    serialization(&error.to_string())
}

pub(super) fn serialization(message: &str) -> AwsError {
    AwsError::new(400, "SerializationException", message)
}

/// `arn:aws:logs:us-east-1:123456789012:log-group:NAME`.
pub(super) fn group_arn(region: &str, account_id: &str, name: &str) -> String {
    format!("arn:{}:logs:{region}:{account_id}:log-group:{name}", partition(region))
}

/// The name in an ARN of a group, with or without `:*` at its end.
pub(super) fn group_of(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(6, ':');
    if parts.next() != Some("arn") || parts.nth(1) != Some("logs") {
        return None;
    }
    let name = parts.nth(2)?.strip_prefix("log-group:")?;
    Some(name.strip_suffix(":*").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_their_types() {
        let body = br#"{"a":"x","n":5,"f":true,"l":["x"],"none":null,"m":{}}"#;
        let call = Call::new("r".into(), body).unwrap();
        assert_eq!(call.text("a").unwrap(), Some("x"));
        assert_eq!(call.text("none").unwrap(), None);
        assert_eq!(call.number("n").unwrap(), Some(5));
        assert!(call.flag("f").unwrap() && !call.flag("none").unwrap());
        assert_eq!(call.texts("l").unwrap(), Some(vec!["x"]));
        for wrong in [call.text("n").err(), call.number("a").err(), call.flag("a").err()] {
            assert_eq!(wrong.unwrap().error_type, "SerializationException");
        }
        assert!(call.texts("m").is_err() && call.map("l").is_err() && call.texts("a").is_err());
        for body in ["[]", "{", "7", "{\"a\":\u{7f}}"] {
            assert!(Call::new("r".into(), body.as_bytes()).is_err(), "{body}");
        }
        assert!(Call::new("r".into(), b"").is_ok());
    }

    #[test]
    fn an_arn_names_its_group() {
        let arn = group_arn("cn-north-1", "000000000000", "/aws/lambda/f");
        assert_eq!(arn, "arn:aws-cn:logs:cn-north-1:000000000000:log-group:/aws/lambda/f");
        assert_eq!(group_of(&arn), Some("/aws/lambda/f"));
        assert_eq!(group_of(&format!("{arn}:*")), Some("/aws/lambda/f"));
        for other in ["/aws/lambda/f", "arn:aws:lambda:r:0:function:f", "arn:aws:logs:r:0:x", ""] {
            assert_eq!(group_of(other), None, "{other}");
        }
    }
}
