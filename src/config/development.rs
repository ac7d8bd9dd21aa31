//! What is for development only: the directories of this host whose files functions may run (hot
//! reload).
//!
//! They are looked up here, with their symbolic links followed, so that a name that is wrong is told
//! at the start and not when somebody deploys; whether a function's directory lies below one is
//! `package`'s affair.

use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::raw::RawDevelopment;
use super::text;
use super::validate::Check;

const MAX_PATHS: usize = 16;

const PATHS: &str =
    "a list of at most 16 absolute paths of directories that are there, other than /";

/// Settings that a production system leaves alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Development {
    /// Without symbolic links on their way. Empty: hot reload is off.
    pub hot_reload_paths: Vec<PathBuf>,
}

pub(super) fn development(
    check: &Check<'_>,
    raw: &RawDevelopment,
) -> Result<Development, ConfigError> {
    let key = "development.hot_reload_paths";
    let hot_reload_paths = check.texts(key, &raw.hot_reload_paths, PATHS, MAX_PATHS, directory)?;
    Ok(Development { hot_reload_paths })
}

fn directory(text: &str) -> Option<PathBuf> {
    let path = text::path(text)?.canonicalize().ok()?;
    (path.is_dir() && path != Path::new("/")).then_some(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::raw::Source;
    use super::super::validate;
    use super::*;

    fn read(value: &str) -> Result<Vec<PathBuf>, String> {
        let text = format!("[development]\nhot_reload_paths = {value}\n");
        let source = Source { file: "config.toml", text: &text };
        let config = validate::config(source, &|_| None).map_err(|error| error.to_string());
        config.map(|config| config.development.hot_reload_paths)
    }

    #[test]
    fn directories_are_taken_without_their_links() {
        let place = std::env::temp_dir().join(format!("lambda-hot-paths-{}", std::process::id()));
        let (real, link) = (place.join("real"), place.join("link"));
        std::fs::create_dir_all(&real).unwrap();
        symlink(&real, &link).unwrap();
        let read = |path: &Path| read(&format!("[{path:?}]"));
        let found =
            (read(&real), read(&link), read(&link.join("../real")), read(&place.join("no")));
        std::fs::remove_dir_all(&place).unwrap();
        let canonical = place.parent().unwrap().canonicalize().unwrap();
        let expected = vec![canonical.join(place.file_name().unwrap()).join("real")];
        assert_eq!((found.0.unwrap(), found.1.unwrap()), (expected.clone(), expected.clone()));
        assert_eq!(found.2.unwrap(), expected);
        assert!(found.3.unwrap_err().ends_with(PATHS));
    }

    #[test]
    fn none_is_the_default_and_what_can_be_none_is_named() {
        assert!(read("[]").unwrap().is_empty());
        for (value, named) in [
            ("[\"/\"]", "\"/\""),
            ("[\"/../\"]", "\"/../\""),
            ("[\"relative\"]", "\"relative\""),
            ("[\"/usr\", \"/etc/passwd\"]", "\"/etc/passwd\""),
            ("[\"/nonexistent/x\"]", "\"/nonexistent/x\""),
            ("[5]", "5"),
            ("\"/usr\"", "\"/usr\""),
        ] {
            assert_eq!(
                read(value).unwrap_err(),
                format!(
                    "config.toml:2: development.hot_reload_paths = {named} is not allowed: \
                     must be {PATHS}"
                )
            );
        }
        let many = |count| format!("[{}]", vec!["\"/usr\""; count].join(", "));
        assert!(read(&many(MAX_PATHS)).is_ok() && read(&many(MAX_PATHS + 1)).is_err());
    }
}
