//! Which lines a function's `LoggingConfig` lets through. Pure.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>

use serde_json::{Map, Value};

use crate::function::model::Logging;
use crate::observe::time::parse_rfc3339;

/// How important a line is, as AWS's model orders it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl Level {
    fn parse(name: &str) -> Option<Level> {
        const NAMES: [(&str, Level); 7] = [
            ("trace", Level::Trace),
            ("debug", Level::Debug),
            ("info", Level::Info),
            ("warn", Level::Warn),
            ("warning", Level::Warn),
            ("error", Level::Error),
            ("fatal", Level::Fatal),
        ];
        NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, level)| *level)
    }
}

/// How a function's log is written and what of it is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) json: bool,
    /// What the service's own lines need at least; there is no such choice with text.
    pub(super) system: Level,
    application: Level,
}

impl Style {
    pub(super) const TEXT: Style =
        Style { json: false, system: Level::Info, application: Level::Trace };

    pub(super) fn of(logging: &Logging) -> Style {
        if !logging.json {
            return Style::TEXT;
        }
        let level =
            |name: &Option<String>| name.as_deref().and_then(Level::parse).unwrap_or(Level::Info);
        Style {
            json: true,
            system: level(&logging.system_level),
            application: level(&logging.application_level),
        }
    }

    /// Whether a line of the function is wanted. Only JSON has a level: what a runtime or a library
    /// prints as text comes through.
    pub(super) fn wants(&self, line: &str) -> bool {
        if self.application == Level::Trace || !line.starts_with('{') {
            return true;
        }
        match serde_json::from_str::<Map<String, Value>>(line) {
            Ok(object) => level_of(&object) >= self.application,
            Err(_) => true,
        }
    }
}

/// Without a level, or without a time that goes with it, AWS counts an object as INFO.
fn level_of(object: &Map<String, Value>) -> Level {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let timed = ["timestamp", "time"].iter().any(|key| text(key).and_then(parse_rfc3339).is_some());
    text("level").filter(|_| timed).and_then(Level::parse).unwrap_or(Level::Info)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(application: &str) -> Style {
        Style::of(&Logging {
            json: true,
            application_level: Some(application.to_owned()),
            system_level: None,
            group: String::new(),
        })
    }

    #[test]
    fn objects_are_chosen_by_their_level() {
        let line = |level: &str| format!(r#"{{"level":"{level}","time":"2026-01-02T03:04:05Z"}}"#);
        for (name, level) in [("DEBUG", "debug"), ("WARN", "warning"), ("FATAL", "FATAL")] {
            assert!(style(name).wants(&line(level)), "{name}");
        }
        for (name, level) in [("INFO", "debug"), ("WARN", "Info"), ("FATAL", "error")] {
            assert!(!style(name).wants(&line(level)), "{name}");
        }
    }

    #[test]
    fn what_has_no_level_or_time_counts_as_info() {
        for line in [
            r#"{"message":"m"}"#,
            r#"{"level":"debug"}"#,
            r#"{"level":"debug","timestamp":"now"}"#,
            r#"{"level":30,"time":"2026-01-02T03:04:05Z"}"#,
            r#"{"level":"loud","time":"2026-01-02T03:04:05Z"}"#,
        ] {
            assert!(style("INFO").wants(line) && !style("WARN").wants(line), "{line}");
        }
    }

    #[test]
    fn text_comes_through() {
        for line in ["debug: text", "{no json", "[1]", ""] {
            assert!(style("FATAL").wants(line), "{line}");
            assert!(Style::TEXT.wants(line));
        }
        assert!(Style::TEXT.wants(r#"{"level":"trace","time":"2026-01-02T03:04:05Z"}"#));
    }
}
