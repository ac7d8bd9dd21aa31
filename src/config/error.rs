//! Why a configuration was refused: one line that names the place, the key, the value and what is
//! allowed. It does not decide anything; the exit code and the printing are `main`'s.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// An excerpt of foreign text in a message is cut here: enough to recognise it.
const MAX_SHOWN_CHARS: usize = 80;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    File { file: String, line: usize },
    Environment,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { file, line } => write!(f, "{}:{line}", shown(file)),
            Place::Environment => f.write_str("environment"),
        }
    }
}

/// Everything that can be wrong with a configuration.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read.
    Read { file: String, source: io::Error },
    /// The file is larger than any configuration.
    TooLarge { file: String, limit_bytes: u64 },
    /// The text is no TOML, or a section is no section.
    Syntax { place: Place, key: Option<String>, message: String },
    /// A key that this version does not know.
    UnknownKey { place: Place, key: String, nearest: Option<String> },
    /// A value of the wrong type or out of its range.
    Value { place: Place, key: String, value: String, allowed: String },
    /// The file of a secret cannot be read, or holds none.
    SecretFile { file: String, source: io::Error },
    /// The file of a policy cannot be read, or holds none.
    PolicyFile { file: PathBuf, source: io::Error },
    /// A secret that cannot be one. Its value is not told.
    Secret { name: &'static str, limit: u64 },
    /// One half of a pair: what is set, and what is not.
    Alone(&'static str, &'static str),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Read { file, source } => {
                write!(f, "{}: cannot read the configuration file: {source}", shown(file))
            }
            ConfigError::TooLarge { file, limit_bytes } => {
                write!(f, "{}: a configuration file has at most {limit_bytes} bytes", shown(file))
            }
            ConfigError::Syntax { place, key: Some(key), message } => {
                write!(f, "{place}: {} is not readable as configuration: {message}", shown(key))
            }
            ConfigError::Syntax { place, key: None, message } => {
                write!(f, "{place}: not readable as configuration: {message}")
            }
            ConfigError::UnknownKey { place, key, nearest } => {
                write!(f, "{place}: unknown key {}", shown(key))?;
                match nearest {
                    Some(nearest) => write!(f, "; the nearest known key is {nearest}"),
                    None => Ok(()),
                }
            }
            ConfigError::Value { place, key, value, allowed } => {
                write!(f, "{place}: {key} = {} is not allowed: must be {allowed}", shown(value))
            }
            ConfigError::SecretFile { file, source } => {
                write!(f, "{}: cannot read the secret: {source}", shown(file))
            }
            ConfigError::PolicyFile { file, source } => {
                write!(
                    f,
                    "{}: cannot read the policy: {source}",
                    shown(&file.display().to_string())
                )
            }
            ConfigError::Secret { name, limit } => write!(
                f,
                "environment: {name} is not allowed: must be 1 to {limit} printable characters \
                 without spaces"
            ),
            ConfigError::Alone(one, other) => {
                write!(f, "{one} is set without {other}: set both or none")
            }
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ConfigError::Read { source, .. }
            | ConfigError::SecretFile { source, .. }
            | ConfigError::PolicyFile { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Foreign text made fit for one line of a message.
pub(super) fn shown(text: &str) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == MAX_SHOWN_CHARS {
            out.push_str("...");
            break;
        }
        match c.is_control() {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out
}

/// The known key whose name takes the fewest edits; among equals one of the same section.
pub(super) fn nearest(path: &[&str], known: &[(&str, &[&str])]) -> Option<String> {
    let (section, name) = match path {
        [name] => (None, *name),
        [section, name, ..] => (Some(*section), *name),
        [] => return None,
    };
    let keys = known.iter().flat_map(|(section, keys)| {
        keys.iter().map(move |key| (Some(*section), *key, format!("{section}.{key}")))
    });
    // At the top of the file the name may also be meant as that of a section.
    let sections = known.iter().map(|(name, _)| (None, *name, (*name).to_owned()));
    keys.chain(sections.filter(|_| section.is_none()))
        .min_by_key(|(of, candidate, _)| (edits(name, candidate), *of != section))
        .map(|(_, _, full)| full)
}

/// Levenshtein's distance, in characters; a name beyond any key's length counts as cut.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().take(MAX_SHOWN_CHARS).enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let replaced = row[j] + usize::from(a != *b);
            next.push(replaced.min(row[j + 1] + 1).min(next[j] + 1));
        }
        row = next;
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_levenshteins() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", ""), 3);
        assert_eq!(edits("port", "port"), 0);
    }

    #[test]
    fn foreign_text_stays_on_one_short_line() {
        assert_eq!(shown("a\nb\u{1b}[0m"), "a\\nb\\u{1b}[0m");
        assert_eq!(shown(&"x".repeat(500)), format!("{}...", "x".repeat(MAX_SHOWN_CHARS)));
    }

    #[test]
    fn the_same_section_wins_among_equals() {
        let known: &[(&str, &[&str])] = &[("a", &["size"]), ("b", &["size"])];
        assert_eq!(nearest(&["b", "sise"], known).as_deref(), Some("b.size"));
    }
}
