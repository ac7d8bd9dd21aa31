//! What a key or a role may do, in the terms of AWS's policies: `Effect`, `Action`, `Resource`.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>. An explicit
//! Deny wins over every Allow, and what nothing allows is denied. An element that would restrict a
//! statement and is not known here (Condition, NotAction, ...) is an error: to leave it out would
//! allow more than its author meant.

use std::fmt;

use serde_json::Value;

/// AWS's limit of a managed policy is 6,144 characters; this one has room for many statements.
pub const MAX_BYTES: usize = 64 << 10;
const MAX_STATEMENTS: usize = 256;

const VERSIONS: [&str; 2] = ["2012-10-17", "2008-10-17"];

/// A policy document that was read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    statements: Vec<Statement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Statement {
    allow: bool,
    /// In lower case: actions are compared without case.
    actions: Vec<String>,
    resources: Vec<String>,
}

/// What a policy says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Allowed,
    /// No statement allows it.
    NotAllowed,
    /// A statement denies it.
    Denied,
}

/// Why a document is no policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError(String);

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PolicyError {}

fn wrong<T>(message: impl Into<String>) -> Result<T, PolicyError> {
    Err(PolicyError(message.into()))
}

impl Policy {
    /// Reads a document. It has to be one of AWS's, with the elements that are known here.
    pub fn parse(text: &str) -> Result<Policy, PolicyError> {
        let document: Value =
            serde_json::from_str(text).map_err(|error| PolicyError(format!("no JSON: {error}")))?;
        let Value::Object(members) = document else { return wrong("a policy is a JSON object") };
        for (name, value) in &members {
            match name.as_str() {
                "Version" if VERSIONS.iter().any(|version| value == version) => {}
                "Version" => return wrong("Version must be \"2012-10-17\""),
                "Id" if value.is_string() => {}
                "Statement" => {}
                _ => return wrong(format!("{name:?} is no element of a policy here")),
            }
        }
        let statements = match members.get("Statement") {
            Some(Value::Array(statements)) => statements.iter().map(Statement::read).collect(),
            Some(one) => Statement::read(one).map(|statement| vec![statement]),
            None => return wrong("a policy needs Statement"),
        }?;
        match statements.len() {
            0..=MAX_STATEMENTS => Ok(Policy { statements }),
            _ => wrong(format!("a policy has at most {MAX_STATEMENTS} statements")),
        }
    }

    /// Whether this action may be done to this resource.
    pub fn decide(&self, action: &str, resource: &str) -> Decision {
        let action = action.to_ascii_lowercase();
        let mut decision = Decision::NotAllowed;
        for statement in self.statements.iter().filter(|one| one.is_about(&action, resource)) {
            if !statement.allow {
                return Decision::Denied;
            }
            decision = Decision::Allowed;
        }
        decision
    }
}

impl Statement {
    fn read(value: &Value) -> Result<Statement, PolicyError> {
        let Value::Object(members) = value else { return wrong("a statement is a JSON object") };
        for (name, value) in members {
            match name.as_str() {
                "Effect" | "Action" | "Resource" => {}
                "Sid" if value.is_string() => {}
                _ => return wrong(format!("{name:?} is no element of a statement here")),
            }
        }
        let allow = match members.get("Effect").and_then(Value::as_str) {
            Some("Allow") => true,
            Some("Deny") => false,
            _ => return wrong("Effect must be \"Allow\" or \"Deny\""),
        };
        let actions = texts("Action", members.get("Action"))?;
        for action in &actions {
            if action != "*" && !action.contains(':') {
                return wrong(format!("Action {action:?} must be \"SERVICE:NAME\" or \"*\""));
            }
        }
        let actions = actions.iter().map(|action| action.to_ascii_lowercase()).collect();
        let resources = texts("Resource", members.get("Resource"))?;
        for resource in &resources {
            if resource != "*" && !resource.starts_with("arn:") {
                return wrong(format!("Resource {resource:?} must be an ARN or \"*\""));
            }
        }
        Ok(Statement { allow, actions, resources })
    }

    fn is_about(&self, action: &str, resource: &str) -> bool {
        self.actions.iter().any(|pattern| matches(pattern, action))
            && self.resources.iter().any(|pattern| matches(pattern, resource))
    }
}

/// One text, or a list that is not empty.
fn texts(name: &str, value: Option<&Value>) -> Result<Vec<String>, PolicyError> {
    let one = |value: &Value| value.as_str().map(str::to_owned);
    let found = match value {
        Some(Value::Array(list)) if !list.is_empty() => list.iter().map(one).collect(),
        Some(value) => one(value).map(|text| vec![text]),
        None => None,
    };
    found.map_or_else(|| wrong(format!("{name} must be a text or a list of texts")), Ok)
}

/// `*` stands for any characters, also none and also colons; `?` for any single one.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html>
///
/// Linear in both for every star but one: what a star has taken is only ever extended.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, from));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[from] => {
                at += 1;
                from += 1;
            }
            _ => {
                // The last star takes one more.
                let Some((after, taken)) = star else { return false };
                star = Some((after, taken + 1));
                at = after;
                from = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const F: &str = "arn:aws:lambda:us-east-1:000000000000:function:orders-new:live";

    fn decide(statements: &str, action: &str, resource: &str) -> Decision {
        let text = format!("{{\"Version\": \"2012-10-17\", \"Statement\": {statements}}}");
        Policy::parse(&text).unwrap().decide(action, resource)
    }

    #[test]
    fn an_explicit_deny_wins_and_nothing_is_allowed_by_itself() {
        let both = r#"[
            {"Effect": "Allow", "Action": "lambda:*", "Resource": "*"},
            {"Effect": "Deny", "Action": ["lambda:Delete*"], "Resource": ["arn:aws:lambda:*:*:function:orders-*"]}
        ]"#;
        assert_eq!(decide(both, "lambda:InvokeFunction", F), Decision::Allowed);
        assert_eq!(decide(both, "lambda:DeleteFunction", F), Decision::Denied);
        assert_eq!(decide(both, "lambda:DeleteFunction", "arn:aws:lambda:x"), Decision::Allowed);
        assert_eq!(decide(both, "logs:GetLogEvents", F), Decision::NotAllowed);
        assert_eq!(decide("[]", "lambda:InvokeFunction", F), Decision::NotAllowed);
    }

    #[test]
    fn actions_have_no_case_and_resources_have() {
        let one = r#"{"Sid": "a", "Effect": "Allow", "Action": "Lambda:invokefunction",
            "Resource": "arn:aws:lambda:*:*:function:Orders"}"#;
        let of = |name: &str| format!("arn:aws:lambda:r:a:function:{name}");
        assert_eq!(decide(one, "lambda:InvokeFunction", &of("Orders")), Decision::Allowed);
        assert_eq!(decide(one, "lambda:InvokeFunction", &of("orders")), Decision::NotAllowed);
        assert_eq!(decide(one, "lambda:InvokeFunction", &of("Orders:1")), Decision::NotAllowed);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let statement = |more: &str| {
            format!(
                r#"{{"Statement": {{"Effect": "Allow", "Action": "a:b", "Resource": "*"{more}}}}}"#
            )
        };
        assert!(Policy::parse(&statement("")).is_ok());
        for bad in [
            statement(r#", "Condition": {}"#),
            statement(r#", "NotAction": "a:c""#),
            statement(r#", "Principal": "*""#),
            statement(r#", "Effect": "allow""#),
            statement(r#", "Action": []"#),
            statement(r#", "Action": "InvokeFunction""#),
            statement(r#", "Action": [1]"#),
            statement(r#", "Resource": "my-function""#),
            r#"{"Statement": [], "Version": "2020-01-01"}"#.to_owned(),
            r#"{"Statement": [], "Statements": []}"#.to_owned(),
            r#"{"Version": "2012-10-17"}"#.to_owned(),
            r#"{"Statement": [1]}"#.to_owned(),
            "[]".to_owned(),
            "{".to_owned(),
            format!(
                "{{\"Statement\": [{}]}}",
                vec![r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#; 257].join(",")
            ),
        ] {
            assert!(Policy::parse(&bad).is_err(), "{bad:.90}");
        }
    }

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a", "a", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*c", "ac", true),
            ("a*c", "abcbc", true),
            ("a*c", "abcb", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("**", "x", true),
            ("a**", "a", true),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        let text = "a".repeat(2000);
        assert!(!matches(&format!("{}b", "*a".repeat(200)), &text));
    }
}
