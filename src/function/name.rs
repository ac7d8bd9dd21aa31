//! Which function a request means: name, partial ARN, ARN, and the qualifier in or beside it.
//!
//! The one place where these are read. Input is already percent-decoded. It does not know which
//! functions exist. What it lets through has a name of `[a-zA-Z0-9-_.]` only, so a name is safe in
//! a store key and in a path.
//!
//! Patterns and lengths are the API model's (`FunctionName` and `NamespacedFunctionName`); the
//! matchers are written by hand, and the patterns' texts appear only in messages.

use std::fmt;

use super::error::FunctionError;
use super::violation::{Violation, Violations, longest, pattern, shortest};

/// The longest bare name of a new function.
const NAME_MAX: usize = 64;
/// The model's length of `FunctionName`, which CreateFunction takes.
const CREATE_MAX: usize = 140;
/// The model's length of `NamespacedFunctionName`, which every other operation takes.
const NAMESPACED_MAX: usize = 256;
const QUALIFIER_MAX: usize = 128;

const CREATE_PATTERN: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?";
const NAMESPACED_PATTERN: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?";
const QUALIFIER_PATTERN: &str = r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+";

/// Where a request is answered: the region it was signed for and the account of the service.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub region: &'a str,
    pub account_id: &'a str,
}

impl Place<'_> {
    /// The ARN of a function here, with the qualifier when there is one.
    pub fn arn(&self, name: &str, qualifier: Option<&Qualifier>) -> String {
        let Place { region, account_id } = self;
        let partition = partition(region);
        let arn = format!("arn:{partition}:lambda:{region}:{account_id}:function:{name}");
        match qualifier {
            Some(qualifier) => format!("{arn}:{qualifier}"),
            None => arn,
        }
    }
}

/// The partition that a region belongs to.
pub(crate) fn partition(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}

/// A function and, when the request named one, the version or alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionRef {
    pub name: String,
    pub qualifier: Option<Qualifier>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Qualifier {
    Latest,
    LatestPublished,
    /// Digits only, as they were given.
    Version(String),
    Alias(String),
}

impl Qualifier {
    /// What a text means that can be a qualifier.
    pub fn new(text: &str) -> Self {
        match text {
            "$LATEST" => Qualifier::Latest,
            "$LATEST.PUBLISHED" => Qualifier::LatestPublished,
            _ if all(text, |b| b.is_ascii_digit()) => Qualifier::Version(text.to_owned()),
            _ => Qualifier::Alias(text.to_owned()),
        }
    }
}

impl fmt::Display for Qualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Qualifier::Latest => f.write_str("$LATEST"),
            Qualifier::LatestPublished => f.write_str("$LATEST.PUBLISHED"),
            Qualifier::Version(text) | Qualifier::Alias(text) => f.write_str(text),
        }
    }
}

/// What an operation accepts as a function's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Create,
    Namespaced,
}

impl Form {
    fn name_byte(self, byte: u8) -> bool {
        word_byte(byte) || (self == Form::Namespaced && byte == b'.')
    }

    fn qualifier(self, text: &str) -> bool {
        text == "$LATEST"
            || (self == Form::Namespaced && text == "$LATEST.PUBLISHED")
            || all(text, word_byte)
    }

    fn max(self) -> usize {
        if self == Form::Create { CREATE_MAX } else { NAMESPACED_MAX }
    }

    fn pattern(self) -> &'static str {
        if self == Form::Create { CREATE_PATTERN } else { NAMESPACED_PATTERN }
    }
}

/// The name of an existing function, as every operation but CreateFunction takes it.
///
/// `qualifier` is the request's separate `Qualifier`.
pub fn parse(
    raw: &str,
    qualifier: Option<&str>,
    place: Place<'_>,
) -> Result<FunctionRef, FunctionError> {
    let mut violations = Violations::default();
    // AWS names the qualifier before the name.
    if let Some(qualifier) = qualifier {
        check_qualifier(qualifier, &mut violations);
    }
    let parts = check_name(raw, Form::Namespaced, &mut violations);
    violations.into_result().map_err(FunctionError::Invalid)?;
    let Some(parts) = parts else {
        return Err(no_match(raw, Form::Namespaced));
    };
    parts.check_place(place)?;
    let qualifier = match (parts.qualifier, qualifier) {
        (Some(derived), Some(given)) if derived != given => {
            return Err(FunctionError::QualifierMismatch);
        }
        (derived, given) => given.or(derived).map(Qualifier::new),
    };
    Ok(FunctionRef { name: parts.name.to_owned(), qualifier })
}

/// The name of a function to be made. Its constraints join those of the request's other fields.
///
/// `None` when the name broke one, which `violations` then holds.
pub fn check_new<'a>(raw: &'a str, violations: &mut Violations) -> Option<NewName<'a>> {
    check_name(raw, Form::Create, violations).map(|parts| NewName { raw, parts })
}

/// A name for a new function that matches the model's pattern.
#[derive(Debug)]
pub struct NewName<'a> {
    raw: &'a str,
    parts: Parts<'a>,
}

impl NewName<'_> {
    /// The bare name, after the checks that AWS makes once every field fits the model.
    pub fn resolve(self, place: Place<'_>) -> Result<FunctionRef, FunctionError> {
        let name = self.parts.name;
        if name.len() > NAME_MAX {
            let violation = Violation::new("functionName", self.raw, longest(NAME_MAX));
            return Err(FunctionError::NameTooLong(violation.into()));
        }
        self.parts.check_place(place)?;
        let qualifier = self.parts.qualifier.map(Qualifier::new);
        Ok(FunctionRef { name: name.to_owned(), qualifier })
    }
}

fn check_name<'a>(raw: &'a str, form: Form, violations: &mut Violations) -> Option<Parts<'a>> {
    // A long one is not matched at all: the work stays bounded whatever arrives.
    if raw.len() > form.max() {
        violations.push(Violation::new("functionName", raw, longest(form.max())));
        return None;
    }
    if raw.is_empty() {
        violations.push(Violation::new("functionName", raw, shortest(1)));
    }
    let parts = split(raw, form);
    if parts.is_none() {
        violations.push(Violation::new("functionName", raw, pattern(form.pattern())));
    }
    parts
}

fn check_qualifier(raw: &str, violations: &mut Violations) {
    if raw.len() > QUALIFIER_MAX {
        violations.push(Violation::new("qualifier", raw, longest(QUALIFIER_MAX)));
    }
    if raw.is_empty() {
        violations.push(Violation::new("qualifier", raw, shortest(1)));
    }
    if raw != "$LATEST.PUBLISHED" && !all(raw, |b| word_byte(b) || b == b'$') {
        violations.push(Violation::new("qualifier", raw, pattern(QUALIFIER_PATTERN)));
    }
}

fn no_match(raw: &str, form: Form) -> FunctionError {
    FunctionError::Invalid(Violation::new("functionName", raw, pattern(form.pattern())).into())
}

/// What the groups of the pattern matched.
#[derive(Debug)]
struct Parts<'a> {
    region: Option<&'a str>,
    account: Option<&'a str>,
    name: &'a str,
    qualifier: Option<&'a str>,
}

impl Parts<'_> {
    fn check_place(&self, place: Place<'_>) -> Result<(), FunctionError> {
        match (self.region, self.account) {
            (Some(asked), _) if asked != place.region => Err(FunctionError::OtherRegion {
                asked: asked.to_owned(),
                here: place.region.to_owned(),
            }),
            (_, Some(asked)) if asked != place.account_id => Err(FunctionError::OtherAccount {
                asked: asked.to_owned(),
                here: place.account_id.to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

/// The pattern's match, greedy with backtracking as a regular expression does it.
///
/// The four optional groups in front of the name are ambiguous with the name itself: `function:a`
/// is the function `a`, but `function:$LATEST` is a function called `function`. So every choice of
/// groups is tried, most greedy first; there are sixteen.
fn split(raw: &str, form: Form) -> Option<Parts<'_>> {
    (0..16u8).rev().find_map(|taken| {
        let mut rest = raw;
        let (mut region, mut account) = (None, None);
        if taken & 8 != 0 {
            let (partition, tail) = rest.strip_prefix("arn:")?.split_once(':')?;
            is_partition(partition).then_some(())?;
            rest = tail.strip_prefix("lambda:")?;
        }
        if taken & 4 != 0 {
            let (head, tail) = rest.split_once(':')?;
            is_region(head).then_some(())?;
            (region, rest) = (Some(head), tail);
        }
        if taken & 2 != 0 {
            let (head, tail) = rest.split_once(':')?;
            (head.len() == 12 && all(head, |b| b.is_ascii_digit())).then_some(())?;
            (account, rest) = (Some(head), tail);
        }
        if taken & 1 != 0 {
            rest = rest.strip_prefix("function:")?;
        }
        let (name, qualifier) = match rest.split_once(':') {
            Some((name, qualifier)) => (name, Some(qualifier)),
            None => (rest, None),
        };
        let fits = all(name, |b| form.name_byte(b)) && qualifier.is_none_or(|q| form.qualifier(q));
        fits.then_some(Parts { region, account, name, qualifier })
    })
}

/// `(aws[a-zA-Z-]*)?`
pub(crate) fn is_partition(text: &str) -> bool {
    text.is_empty()
        || text
            .strip_prefix("aws")
            .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-'))
}

/// `(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}`
pub(crate) fn is_region(text: &str) -> bool {
    let mut words: Vec<&str> = text.split('-').collect();
    if words.len() > 3 && words[0] == "eusc" {
        words.remove(0);
    }
    let is_special = |word: &str| {
        word == "gov"
            || word
                .strip_prefix("iso")
                .is_some_and(|rest| rest.len() <= 1 && rest.bytes().all(|b| b.is_ascii_lowercase()))
    };
    if words.len() == 4 && is_special(words[1]) {
        words.remove(1);
    }
    matches!(words[..], [land, place, number]
        if land.len() == 2
            && all(land, |b| b.is_ascii_lowercase())
            && all(place, |b| b.is_ascii_lowercase())
            && number.len() == 1
            && all(number, |b| b.is_ascii_digit()))
}

/// `[a-zA-Z0-9-_]`
fn word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// One byte at least, and all of them as `accept` wants them.
fn all(text: &str, accept: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(accept)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place<'_> = Place { region: "us-east-1", account_id: "123456789012" };

    fn reference(raw: &str, qualifier: Option<&str>) -> Result<FunctionRef, FunctionError> {
        parse(raw, qualifier, HERE)
    }

    #[test]
    fn every_form_of_a_name_is_read() {
        let arn = "arn:aws:lambda:us-east-1:123456789012:function";
        let cases = [
            ("f".to_owned(), "f", None),
            ("my-fn_2".to_owned(), "my-fn_2", None),
            ("f:live".to_owned(), "f", Some("live")),
            ("f:$LATEST".to_owned(), "f", Some("$LATEST")),
            ("f:$LATEST.PUBLISHED".to_owned(), "f", Some("$LATEST.PUBLISHED")),
            ("f:42".to_owned(), "f", Some("42")),
            ("function:f".to_owned(), "f", None),
            ("function:f:1".to_owned(), "f", Some("1")),
            ("123456789012:f".to_owned(), "f", None),
            ("123456789012:function:f".to_owned(), "f", None),
            ("123456789012:function:f:live".to_owned(), "f", Some("live")),
            ("us-east-1:123456789012:function:f".to_owned(), "f", None),
            (format!("{arn}:f"), "f", None),
            (format!("{arn}:f:7"), "f", Some("7")),
            ("arn::lambda:us-east-1:123456789012:function:f".to_owned(), "f", None),
            // The groups are optional, so these are names although they look like groups.
            ("function".to_owned(), "function", None),
            ("function:$LATEST".to_owned(), "function", Some("$LATEST")),
            (format!("{arn}:function"), "function", None),
            ("123456789012".to_owned(), "123456789012", None),
            ("us-east-1".to_owned(), "us-east-1", None),
            ("us-east-1:$LATEST".to_owned(), "us-east-1", Some("$LATEST")),
            ("arn:f".to_owned(), "arn", Some("f")),
        ];
        for (raw, name, qualifier) in cases {
            let found = reference(&raw, None).unwrap();
            assert_eq!(found.name, name, "{raw}");
            assert_eq!(found.qualifier.map(|q| q.to_string()).as_deref(), qualifier, "{raw}");
        }
    }

    #[test]
    fn what_does_not_match_is_refused_with_the_pattern() {
        let bad = [
            "invalid:function:name",
            "a b",
            "a/b",
            "../etc",
            "f:",
            ":f",
            "f:a:b",
            "f:$LATESTX",
            "f:live.1",
            "arn:aws:s3:us-east-1:123456789012:function:f",
            "arn:aws:lambda:invalid-region:000000000000:function:f",
            "arn:aws:lambda:us-east-12:123456789012:function:f",
            "arn:aws:lambda:us-east-1:12345678901:function:f",
            "arn:aws:lambda:us-east-1:123456789012:layer:f:1",
            "f\u{e9}",
            "f\n",
        ];
        for raw in bad {
            let text = reference(raw, None).unwrap_err().to_string();
            assert_eq!(
                text,
                format!(
                    "1 validation error detected: Value '{raw}' at 'functionName' failed to \
                     satisfy constraint: Member must satisfy regular expression pattern: \
                     {NAMESPACED_PATTERN}"
                )
            );
        }
    }

    #[test]
    fn qualifier_and_name_are_reported_together() {
        let raw =
            format!("arn:aws:lambda:invalid-region:000000000000:function:f-{}", "a".repeat(170));
        let qualifier = "a".repeat(129);
        assert_eq!(
            reference(&raw, Some(&qualifier)).unwrap_err().to_string(),
            format!(
                "2 validation errors detected: Value '{qualifier}' at 'qualifier' failed to \
                 satisfy constraint: Member must have length less than or equal to 128; \
                 Value '{raw}' at 'functionName' failed to satisfy constraint: Member must \
                 satisfy regular expression pattern: {NAMESPACED_PATTERN}"
            )
        );
    }

    #[test]
    fn lengths_are_the_models() {
        let text = |raw: &str| reference(raw, None).unwrap_err().to_string();
        assert!(reference(&"a".repeat(256), None).is_ok());
        assert!(text(&"a".repeat(257)).ends_with("length less than or equal to 256"));
        assert!(text("").starts_with("2 validation errors detected: Value '' at 'functionName'"));
        let empty = reference("f", Some("")).unwrap_err().to_string();
        assert!(empty.starts_with("2 validation errors detected: Value '' at 'qualifier'"));
        assert!(reference("f", Some(&"q".repeat(128))).is_ok());
    }

    #[test]
    fn a_bad_qualifier_is_refused_with_its_pattern() {
        assert_eq!(
            reference("f", Some("invalid-qualifier-with-?-char")).unwrap_err().to_string(),
            "1 validation error detected: Value 'invalid-qualifier-with-?-char' at 'qualifier' \
             failed to satisfy constraint: Member must satisfy regular expression pattern: \
             \\$(LATEST(\\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"
        );
    }

    #[test]
    fn the_qualifier_may_stand_twice_but_not_differ() {
        let twice = reference("f:live", Some("live")).unwrap();
        assert_eq!(twice.qualifier, Some(Qualifier::Alias("live".to_owned())));
        assert!(matches!(reference("f:live", Some("1")), Err(FunctionError::QualifierMismatch)));
        let apart = reference("f", Some("12")).unwrap();
        assert_eq!(apart.qualifier, Some(Qualifier::Version("12".to_owned())));
    }

    #[test]
    fn another_region_or_account_is_not_this_one() {
        let other = reference("arn:aws:lambda:eu-west-1:123456789012:function:f", None);
        assert!(matches!(other, Err(FunctionError::OtherRegion { asked, here })
                if asked == "eu-west-1" && here == "us-east-1"));
        let other = reference("000000000000:f", None);
        assert!(matches!(other, Err(FunctionError::OtherAccount { .. })));
    }

    #[test]
    fn regions_of_every_partition_are_known() {
        for good in
            ["us-east-1", "us-gov-west-1", "us-iso-east-1", "us-isob-east-1", "eusc-de-east-1"]
        {
            assert!(is_region(good), "{good}");
        }
        for bad in
            ["us-east", "US-east-1", "us-isobb-east-1", "use-east-1", "us-east-1-", "us--1", ""]
        {
            assert!(!is_region(bad), "{bad}");
        }
    }

    fn created(raw: &str) -> Result<FunctionRef, FunctionError> {
        let mut violations = Violations::default();
        let name = check_new(raw, &mut violations);
        violations.into_result().map_err(FunctionError::Invalid)?;
        name.unwrap().resolve(HERE)
    }

    #[test]
    fn a_new_name_has_its_own_limits() {
        assert_eq!(created(&"a".repeat(64)).unwrap().name.len(), 64);
        let long = "a".repeat(65);
        let error = created(&long).unwrap_err();
        assert!(matches!(error, FunctionError::NameTooLong(_)));
        assert_eq!(
            error.to_string(),
            format!(
                "1 validation error detected: Value '{long}' at 'functionName' failed to satisfy \
                 constraint: Member must have length less than or equal to 64"
            )
        );
        let arn = format!("arn:aws:lambda:us-east-1:123456789012:function:{}", "a".repeat(100));
        assert!(created(&arn).unwrap_err().to_string().ends_with("less than or equal to 140"));
        let dotted = created("a.b").unwrap_err().to_string();
        assert!(dotted.ends_with(CREATE_PATTERN), "{dotted}");
    }

    #[test]
    fn arns_carry_the_partition_of_their_region() {
        assert_eq!(
            HERE.arn("f", Some(&Qualifier::Latest)),
            "arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST"
        );
        let china = Place { region: "cn-north-1", account_id: "1" };
        assert_eq!(china.arn("f", None), "arn:aws-cn:lambda:cn-north-1:1:function:f");
    }
}
