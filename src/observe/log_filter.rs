//! `RUST_LOG`: which records are written. Grammar: `level` or `target=level`, separated by commas.
//!
//! The longest matching target decides, the last one among equals; without a bare level it is
//! `info`. A bare level is for the service itself: libraries have to be named to say more than
//! warnings. Regular expressions and spans of other implementations are deliberately not there.

use std::fmt;

use log::LevelFilter;

const DEFAULT_LEVEL: LevelFilter = LevelFilter::Info;
/// An environment variable may have 128 KiB; each record would be compared with all of it.
const MAX_DIRECTIVES: usize = 64;
const MAX_SHOWN_CHARS: usize = 80;

/// Our own targets are written and matched without the crate's name in front.
const OWN_CRATE: &str = env!("CARGO_CRATE_NAME");

/// A directive in `RUST_LOG` that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterError {
    Directive(String),
    TooMany,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilterError::Directive(text) => write!(
                f,
                "environment: RUST_LOG contains {text}, which is not allowed: must be a level \
                 (off, error, warn, info, debug or trace) or target=level, separated by commas, \
                 such as info,docker=debug"
            ),
            FilterError::TooMany => {
                write!(f, "environment: RUST_LOG has more than {MAX_DIRECTIVES} directives")
            }
        }
    }
}

impl std::error::Error for FilterError {}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filter {
    default: LevelFilter,
    /// For all targets of ours: less than any of them by name, more than the default.
    own: Option<LevelFilter>,
    /// Longest target first, so that the first match decides.
    targets: Vec<(String, LevelFilter)>,
}

impl Filter {
    /// Empty parts are skipped: `info,` and an empty variable are common and harmless.
    pub(super) fn parse(text: &str) -> Result<Filter, FilterError> {
        let mut filter = Filter { default: DEFAULT_LEVEL, own: None, targets: Vec::new() };
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        for (count, part) in parts.enumerate() {
            if count == MAX_DIRECTIVES {
                return Err(FilterError::TooMany);
            }
            match directive(part).ok_or_else(|| FilterError::Directive(shown(part)))? {
                (None, level) => filter.default = level,
                (Some(OWN_CRATE), level) => filter.own = Some(level),
                (Some(target), level) => {
                    let target = short(target).to_owned();
                    filter.targets.retain(|(earlier, _)| *earlier != target);
                    filter.targets.push((target, level));
                }
            }
        }
        filter.targets.sort_by_key(|(target, _)| std::cmp::Reverse(target.len()));
        Ok(filter)
    }

    pub(super) fn level(&self, target: &str) -> LevelFilter {
        let name = short(target);
        if let Some((_, level)) = self.targets.iter().find(|(prefix, _)| within(name, prefix)) {
            return *level;
        }
        if within(target, OWN_CRATE) {
            return self.own.unwrap_or(self.default);
        }
        // The libraries' inner life (ureq has ten lines a call) is shown to who names them.
        self.default.min(LevelFilter::Warn)
    }

    /// What `log::set_max_level` may cut off before anyone is asked.
    pub(super) fn max_level(&self) -> LevelFilter {
        let named = self.targets.iter().map(|(_, level)| *level);
        named.chain(self.own).fold(self.default, Ord::max)
    }
}

/// `docker::client` for a target of ours; others as they are.
pub(super) fn short(target: &str) -> &str {
    target.strip_prefix(OWN_CRATE).and_then(|rest| rest.strip_prefix("::")).unwrap_or(target)
}

/// Whether the target is this module or inside it: `docker` has `docker::client`, not `dockerfile`.
fn within(target: &str, module: &str) -> bool {
    match target.strip_prefix(module) {
        Some(rest) => rest.is_empty() || rest.starts_with("::"),
        None => false,
    }
}

fn directive(part: &str) -> Option<(Option<&str>, LevelFilter)> {
    let Some((target, level)) = part.split_once('=') else {
        return Some((None, part.parse().ok()?));
    };
    let target = target.trim();
    let named = target.split("::").all(|segment| {
        !segment.is_empty()
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    });
    if !named {
        return None;
    }
    Some((Some(target), level.trim().parse().ok()?))
}

fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN_CHARS).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use LevelFilter::{Debug, Error, Info, Off, Trace, Warn};

    fn level(text: &str, target: &str) -> LevelFilter {
        Filter::parse(text).unwrap().level(target)
    }

    #[test]
    fn without_a_directive_it_is_info() {
        for text in ["", ",", " , "] {
            assert_eq!(level(text, "lambda_runtime_api_server::http"), Info);
        }
        assert_eq!(level("docker=debug", "lambda_runtime_api_server::http"), Info);
    }

    #[test]
    fn a_target_is_matched_at_module_boundaries_in_both_forms() {
        for text in ["warn,docker=debug", "docker=DEBUG, lambda_runtime_api_server=warn"] {
            assert_eq!(level(text, "lambda_runtime_api_server::docker"), Debug);
            assert_eq!(level(text, "lambda_runtime_api_server::docker::client"), Debug);
            assert_eq!(level(text, "lambda_runtime_api_server::dockerfile"), Warn);
            assert_eq!(level(text, "lambda_runtime_api_server"), Warn);
        }
        let full = "lambda_runtime_api_server::docker=trace";
        assert_eq!(level(full, "lambda_runtime_api_server::docker::client"), Trace);
        assert_eq!(level("lambda_runtime_api_server=trace", "ureq"), Warn);
        assert_eq!(level("lambda_runtime_api_server=trace", "lambda_runtime_api_servers"), Warn);
    }

    #[test]
    fn libraries_say_more_than_warnings_only_by_name() {
        assert_eq!(level("debug", "ureq::pool"), Warn);
        assert_eq!(level("error", "ureq::pool"), Error);
        assert_eq!(level("debug,ureq=trace", "ureq::pool"), Trace);
    }

    #[test]
    fn the_longest_target_decides_and_the_last_among_equals() {
        let text = "docker::client=trace,docker=error,off,docker=warn";
        assert_eq!(level(text, "docker::client::pool"), Trace);
        assert_eq!(level(text, "docker::events"), Warn);
        assert_eq!(level(text, "http"), Off);
        let both = "docker=error,lambda_runtime_api_server::docker=trace";
        assert_eq!(level(both, "docker"), Trace);
    }

    #[test]
    fn the_maximum_is_that_of_all_directives() {
        let max = |text| Filter::parse(text).unwrap().max_level();
        assert_eq!(max("error,docker=trace"), Trace);
        assert_eq!(max("error,lambda_runtime_api_server=debug"), Debug);
        assert_eq!(max("off"), Off);
        assert_eq!(max("docker=error"), Info);
        assert_eq!(max("error,docker=error"), Error);
    }

    #[test]
    fn a_bad_directive_is_named_in_one_line() {
        for bad in ["verbose", "docker", "docker=", "=debug", "a b=info", "docker=loud", "a::=info"]
        {
            let text = Filter::parse(&format!("info,{bad}")).unwrap_err().to_string();
            assert!(text.contains("RUST_LOG"), "{text}");
            assert!(text.contains(&format!("contains {bad}, which")), "{text}");
            assert!(text.contains("trace"), "{text}");
        }
        let text = Filter::parse("x\ny").unwrap_err().to_string();
        assert_eq!(text.lines().count(), 1);
        let text = Filter::parse(&"z".repeat(10_000)).unwrap_err().to_string();
        assert!(text.len() < 400);
    }

    #[test]
    fn the_number_of_directives_is_bounded() {
        let many = |count: usize| vec!["docker=info"; count].join(",");
        assert!(Filter::parse(&many(MAX_DIRECTIVES)).is_ok());
        assert_eq!(Filter::parse(&many(MAX_DIRECTIVES + 1)), Err(FilterError::TooMany));
    }
}
