//! What all calls share on the wire: request targets, tolerant JSON, error bodies.
//!
//! It holds no resource's own types.

use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Deserializer};

use super::error::EngineError;
use super::system::ApiVersion;

/// What stands unencoded in a path or query (RFC 3986 section 2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The same for the names of images, whose slashes are part of the path.
const IMAGE_NAME: &AsciiSet = &UNRESERVED.remove(b'/').remove(b':').remove(b'@');

/// The longest name that is asked for; the Engine's own limits are lower.
const NAME_LIMIT_BYTES: usize = 512;

/// The longest message that is kept of an error answer.
const MESSAGE_LIMIT_CHARS: usize = 2_000;

/// The path and query of a call, percent-encoded.
#[derive(Debug, Clone)]
pub(super) struct Target {
    path: String,
    query: String,
    versioned: bool,
}

impl Target {
    /// A path without any name in it.
    pub(super) fn fixed(path: &str) -> Self {
        Target { path: path.to_owned(), query: String::new(), versioned: true }
    }

    /// A path of the API that has no version in front: it works with every Engine.
    pub(super) fn unversioned(path: &str) -> Self {
        Target { versioned: false, ..Target::fixed(path) }
    }

    /// `before`, the name of a container or network, `after`.
    pub(super) fn named(before: &str, name: &str, after: &str) -> Result<Self, EngineError> {
        // A slash would make it another path.
        if !is_name(name) || name.contains('/') {
            return Err(EngineError::InvalidName { name: name.to_owned() });
        }
        let name = utf8_percent_encode(name, UNRESERVED);
        Ok(Target::fixed(&format!("{before}/{name}{after}")))
    }

    /// `/images`, the image's name, `after`.
    pub(super) fn image(name: &str, after: &str) -> Result<Self, EngineError> {
        if !name.split('/').all(is_name) || name.len() > NAME_LIMIT_BYTES {
            return Err(EngineError::InvalidName { name: name.to_owned() });
        }
        let name = utf8_percent_encode(name, IMAGE_NAME);
        Ok(Target::fixed(&format!("/images/{name}{after}")))
    }

    /// Adds a parameter to the query.
    pub(super) fn query(mut self, key: &str, value: &str) -> Self {
        let mark = if self.query.is_empty() { '?' } else { '&' };
        let value = utf8_percent_encode(value, UNRESERVED);
        // Writing to a string cannot fail.
        let _ = write!(self.query, "{mark}{key}={value}");
        self
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The path and query for `api`.
    pub(super) fn path_and_query(&self, api: ApiVersion) -> String {
        if self.versioned {
            format!("/v{api}{}{}", self.path, self.query)
        } else {
            format!("{}{}", self.path, self.query)
        }
    }

    /// The URI for `api`. The host is only the key of the connection pool.
    pub(super) fn uri(&self, api: ApiVersion) -> String {
        format!("http://docker{}", self.path_and_query(api))
    }
}

/// Whether `name` can stand in a path: the Engine would clean an empty part or dots away, and the
/// call would be another one.
fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= NAME_LIMIT_BYTES
        && !name.chars().any(char::is_control)
}

/// The Engine writes `null`, or nothing at all since version 29, for what is empty.
pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The Engine's message in the body of an error answer, or what stands there instead.
pub(super) fn error_message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Message {
        message: String,
    }
    let text = match crate::json::from_slice::<Message>(body) {
        Ok(answer) => answer.message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    text.trim().chars().take(MESSAGE_LIMIT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: ApiVersion = ApiVersion { major: 1, minor: 41 };

    #[test]
    fn names_and_values_are_encoded() {
        let target = Target::named("/containers", "a b?c", "/kill").unwrap().query("s", "a&b=c");
        assert_eq!(target.uri(API), "http://docker/v1.41/containers/a%20b%3Fc/kill?s=a%26b%3Dc");
        let image = Target::image("host:5000/team/app:v1", "/json").unwrap();
        assert_eq!(image.uri(API), "http://docker/v1.41/images/host:5000/team/app:v1/json");
        assert_eq!(Target::unversioned("/_ping").uri(API), "http://docker/_ping");
    }

    #[test]
    fn names_that_make_another_path_are_refused() {
        for bad in ["", ".", "..", "a/b", "../containers", "a\nb"] {
            assert!(Target::named("/containers", bad, "/json").is_err(), "{bad:?}");
        }
        for bad in ["", "a//b", "../containers/x", "a/..", &"x".repeat(513)] {
            assert!(Target::image(bad, "/json").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_engines_message_is_kept() {
        assert_eq!(error_message(br#"{"message":"No such container: x"}"#), "No such container: x");
        assert_eq!(error_message(b"page not found\n"), "page not found");
        assert_eq!(error_message(&[b'x'; 9_000]).len(), 2_000);
    }
}
