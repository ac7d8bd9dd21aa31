//! The `[audit]` section: where the audit log is, with which key, and what a full disk means.

use std::path::PathBuf;

use super::aws::{self, Secret};
use super::error::ConfigError;
use super::ranges;
use super::raw::RawAudit;
use super::text;
use super::validate::Check;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The directory; none: there is no audit log.
    pub path: Option<PathBuf>,
    /// The key that its lines are hashed with.
    pub key: Option<Secret>,
    pub on_failure: OnFailure,
    /// Larger payloads have no hash in their lines.
    pub max_hashed_bytes: usize,
}

/// What becomes of calls while the audit log cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    Refuse,
    Continue,
}

const PATH: &str = "\"\", or an absolute path of at most 4095 bytes without control characters";
const ON_FAILURE: &str = "\"refuse\" or \"continue\"";

pub(super) fn audit(check: &Check<'_>, raw: &RawAudit<'_>) -> Result<Audit, ConfigError> {
    // An empty path is the written form of "none": the shipped file shows the key that way.
    let path = |text: &str| match text {
        "" => Some(None),
        text => text::path(text).map(Some),
    };
    let on_failure = |text: &str| match text {
        "refuse" => Some(OnFailure::Refuse),
        "continue" => Some(OnFailure::Continue),
        _ => None,
    };
    Ok(Audit {
        path: check.text("audit.path", &raw.path, PATH, path)?.flatten(),
        key: aws::secret_file(check, "audit.key_file", &raw.key_file)?,
        on_failure: check
            .text("audit.on_failure", &raw.on_failure, ON_FAILURE, on_failure)?
            .unwrap_or(OnFailure::Refuse),
        max_hashed_bytes: check.count(&raw.max_hashed_kb, &ranges::MAX_HASHED_KB)? * 1024,
    })
}

#[cfg(test)]
mod tests {
    use super::super::raw::Source;
    use super::super::{Config, validate};
    use super::*;

    fn read(section: &str) -> Result<Config, ConfigError> {
        let text = format!("[audit]\n{section}");
        validate::config(Source { file: "config.toml", text: &text }, &|_| None)
    }

    #[test]
    fn it_is_off_until_it_has_a_path() {
        let off = read("").unwrap().audit;
        assert_eq!((&off.path, &off.key, off.on_failure), (&None, &None, OnFailure::Refuse));
        assert_eq!(off.max_hashed_bytes, 6 << 20);
        assert_eq!(read("path = \"\"\nkey_file = \"\"").unwrap().audit, off);
        let on = read("path = \"/var/log/a\"\non_failure = \"continue\"").unwrap().audit;
        assert_eq!(on.path, Some(PathBuf::from("/var/log/a")));
        assert_eq!(on.on_failure, OnFailure::Continue);
        assert_eq!(read("max_hashed_kb = 0").unwrap().audit.max_hashed_bytes, 0);
    }

    #[test]
    fn what_is_no_path_or_word_or_file_is_refused() {
        for bad in [
            "path = \"audit\"",
            "path = 1",
            "on_failure = \"stop\"",
            "lines = 1",
            "max_hashed_kb = -1",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let refused = read("key_file = \"/nonexistent/key\"").unwrap_err().to_string();
        assert!(refused.contains("/nonexistent/key"), "{refused}");
    }
}
