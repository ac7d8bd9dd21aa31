//! Constraints that a request's fields break, in the sentences that AWS answers.
//!
//! It only words the findings; which constraint a field has is said where the field is read.
//! Clients and their tests compare these texts, so they are AWS's own, byte for byte.

use std::fmt;

/// One field that breaks one constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    field: String,
    value: Shown,
    constraint: String,
}

/// What AWS prints of the value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shown {
    Value(String),
    /// The field is required and absent.
    Null,
    /// Values that may hold secrets (the environment) are never repeated.
    Hidden,
}

impl Violation {
    pub fn new(field: &str, value: impl fmt::Display, constraint: impl Into<String>) -> Self {
        let value = Shown::Value(value.to_string());
        Violation { field: field.to_owned(), value, constraint: constraint.into() }
    }

    pub fn null(field: &str) -> Self {
        let constraint = "Member must not be null".to_owned();
        Violation { field: field.to_owned(), value: Shown::Null, constraint }
    }

    pub fn hidden(field: &str, constraint: impl Into<String>) -> Self {
        Violation { field: field.to_owned(), value: Shown::Hidden, constraint: constraint.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Shown::Value(value) => write!(f, "Value '{value}'")?,
            Shown::Null => f.write_str("Value null")?,
            Shown::Hidden => f.write_str("Value")?,
        }
        write!(f, " at '{}' failed to satisfy constraint: {}", self.field, self.constraint)
    }
}

/// All violations of one request; AWS reports them together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Violations(Vec<Violation>);

impl Violations {
    pub fn push(&mut self, violation: Violation) {
        self.0.push(violation);
    }

    /// `Err` with everything that was found, or nothing.
    pub fn into_result(self) -> Result<(), Violations> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl From<Violation> for Violations {
    fn from(violation: Violation) -> Self {
        Violations(vec![violation])
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "{} validation error{plural} detected: ", self.0.len())?;
        for (index, violation) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{violation}")?;
        }
        Ok(())
    }
}

/// `Member must have length less than or equal to N`.
pub fn longest(max: usize) -> String {
    format!("Member must have length less than or equal to {max}")
}

/// `Member must have length greater than or equal to N`.
pub fn shortest(min: usize) -> String {
    format!("Member must have length greater than or equal to {min}")
}

/// `Member must have value less than or equal to N`.
pub fn greatest(max: i64) -> String {
    format!("Member must have value less than or equal to {max}")
}

/// `Member must have value greater than or equal to N`.
pub fn least(min: i64) -> String {
    format!("Member must have value greater than or equal to {min}")
}

/// `Member must satisfy regular expression pattern: P`.
pub fn pattern(pattern: &str) -> String {
    format!("Member must satisfy regular expression pattern: {pattern}")
}

/// `Member must satisfy enum value set: [A, B]`.
pub fn one_of(values: &[&str]) -> String {
    format!("Member must satisfy enum value set: [{}]", values.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_many_are_worded_as_aws_words_them() {
        let mut found = Violations::from(Violation::null("role"));
        assert_eq!(
            found.to_string(),
            "1 validation error detected: Value null at 'role' failed to satisfy constraint: \
             Member must not be null"
        );
        found.push(Violation::new("timeout", 901, greatest(900)));
        assert_eq!(
            found.to_string(),
            "2 validation errors detected: Value null at 'role' failed to satisfy constraint: \
             Member must not be null; Value '901' at 'timeout' failed to satisfy constraint: \
             Member must have value less than or equal to 900"
        );
    }

    #[test]
    fn a_hidden_value_is_not_repeated() {
        assert_eq!(
            Violation::hidden("environment.variables", "Map keys ...").to_string(),
            "Value at 'environment.variables' failed to satisfy constraint: Map keys ..."
        );
    }

    #[test]
    fn nothing_found_is_ok() {
        assert_eq!(Violations::default().into_result(), Ok(()));
        assert!(Violations::from(Violation::null("code")).into_result().is_err());
    }
}
