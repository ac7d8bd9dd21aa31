//! The log: one line for each record, in one write to stderr. Files and rotation are not its task,
//! they are journald's or Docker's.
//!
//! Not simplelog, which knows neither `RUST_LOG` nor journald's priorities, writes a record in many
//! pieces, and lets a function's name with a line break forge a line; this file is shorter than
//! what would have to go around it, and saves six crates.
//!
//! Invariant: whatever a message contains, it stays within its line.

use std::env;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::time::SystemTime;

use log::{Level, Log, Metadata, Record, SetLoggerError};

use super::log_filter::{Filter, FilterError, short};
use super::time::rfc3339_millis;

/// A longer message is cut: an error from outside may quote a whole payload.
const MAX_MESSAGE_BYTES: usize = 8 * 1024;

/// Why logging could not begin.
#[derive(Debug)]
pub enum LogError {
    Filter(FilterError),
    /// Somebody in this process has installed a logger already.
    Installed(SetLoggerError),
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::Filter(error) => error.fmt(f),
            LogError::Installed(_) => f.write_str("a logger is installed already"),
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Its text is the whole message; as a source it would be told twice.
            LogError::Filter(_) => None,
            LogError::Installed(error) => Some(error),
        }
    }
}

/// Whether [`init`] would take this value of `RUST_LOG`.
pub fn check(rust_log: Option<&str>) -> Result<(), LogError> {
    Filter::parse(rust_log.unwrap_or_default()).map(|_| ()).map_err(LogError::Filter)
}

/// Starts logging with the value of `RUST_LOG`; None and the empty text mean `info`.
pub fn init(rust_log: Option<&str>) -> Result<(), LogError> {
    let filter = Filter::parse(rust_log.unwrap_or_default()).map_err(LogError::Filter)?;
    let max_level = filter.max_level();
    let style = if stderr_is_journal() { Style::Journal } else { Style::Plain };
    log::set_boxed_logger(Box::new(Logger { filter, style })).map_err(LogError::Installed)?;
    log::set_max_level(max_level);
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// With the time.
    Plain,
    /// With the priority that sd-daemon(3) describes; journald notes the time itself.
    Journal,
}

/// `JOURNAL_STREAM` is inherited by children whose stderr is something else, so systemd.exec(5)
/// asks to compare: it holds the device and inode of the stream to the journal.
fn stderr_is_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    match rustix::fs::fstat(std::io::stderr()) {
        Ok(stat) => stream == format!("{}:{}", stat.st_dev, stat.st_ino),
        Err(_) => false,
    }
}

struct Logger {
    filter: Filter,
    style: Style,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.filter.level(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = line(self.style, SystemTime::now(), record);
            // Where even stderr fails there is nobody left to tell.
            let _ = std::io::stderr().lock().write_all(line.as_bytes());
        }
    }

    /// Nothing is held back.
    fn flush(&self) {}
}

fn line(style: Style, now: SystemTime, record: &Record<'_>) -> String {
    let mut line = match style {
        Style::Plain => format!("{} {:<5} ", rfc3339_millis(now), record.level()),
        Style::Journal => format!("<{}>", priority(record.level())),
    };
    line.push_str(short(record.target()));
    line.push_str(": ");
    let mut message = Escaped { line: &mut line, left: MAX_MESSAGE_BYTES, omitted: 0 };
    // Only a Display that fails by itself ends up here; what it has written so far is kept.
    let _ = message.write_fmt(*record.args());
    if message.omitted > 0 {
        let omitted = message.omitted;
        line.push_str(&format!("... ({omitted} bytes more)"));
    }
    line.push('\n');
    line
}

/// syslog(3): err, warning, info, debug.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Writes text with everything escaped that could end the line or steer a terminal.
struct Escaped<'a> {
    line: &'a mut String,
    left: usize,
    omitted: usize,
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (at, c) in text.char_indices() {
            // Once one character did not fit, nothing after it is written either.
            if self.omitted > 0 || self.left < c.len_utf8() {
                self.left = 0;
                self.omitted += text.len() - at;
                break;
            }
            self.left -= c.len_utf8();
            match steers(c) {
                true => self.line.extend(c.escape_default()),
                false => self.line.push(c),
            }
        }
        Ok(())
    }
}

/// Control characters, Unicode's line ends, and the marks that make text run backwards.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn written(style: Style, level: Level, message: &str) -> String {
        let now = UNIX_EPOCH + Duration::from_millis(1_795_424_571_123);
        let target = "lambda_runtime_api_server::dispatch";
        line(
            style,
            now,
            &Record::builder().level(level).target(target).args(format_args!("{message}")).build(),
        )
    }

    #[test]
    fn a_line_has_time_level_target_and_text() {
        assert_eq!(
            written(Style::Plain, Level::Info, "text"),
            "2026-11-23T09:02:51.123Z INFO  dispatch: text\n"
        );
        assert_eq!(
            written(Style::Plain, Level::Error, "text"),
            "2026-11-23T09:02:51.123Z ERROR dispatch: text\n"
        );
    }

    #[test]
    fn journald_gets_a_priority_and_no_time() {
        assert_eq!(written(Style::Journal, Level::Error, "text"), "<3>dispatch: text\n");
        assert_eq!(written(Style::Journal, Level::Warn, "text"), "<4>dispatch: text\n");
        assert_eq!(written(Style::Journal, Level::Info, "text"), "<6>dispatch: text\n");
        assert_eq!(written(Style::Journal, Level::Trace, "text"), "<7>dispatch: text\n");
    }

    #[test]
    fn a_message_cannot_forge_a_line() {
        let forged = "a\nb\r\t\u{1b}[31m\0\u{7f}\u{85}\u{2028}\u{202e}é\\";
        assert_eq!(
            written(Style::Journal, Level::Info, forged),
            "<6>dispatch: a\\nb\\r\\t\\u{1b}[31m\\u{0}\\u{7f}\\u{85}\\u{2028}\\u{202e}é\\\n"
        );
    }

    #[test]
    fn a_long_message_is_cut() {
        let whole = written(Style::Journal, Level::Info, &"x".repeat(MAX_MESSAGE_BYTES));
        assert!(whole.ends_with("xx\n"));
        let cut = written(Style::Journal, Level::Info, &"x".repeat(MAX_MESSAGE_BYTES + 7));
        assert!(cut.ends_with("xx... (7 bytes more)\n"));
        assert_eq!(cut.len(), whole.len() + "... (7 bytes more)".len());
        // The cut falls into a character of two bytes, which goes as a whole.
        let odd = format!("{}éz", "x".repeat(MAX_MESSAGE_BYTES - 1));
        assert!(written(Style::Journal, Level::Info, &odd).ends_with("x... (3 bytes more)\n"));
    }

    #[test]
    fn the_filter_decides_by_target() {
        let filter = Filter::parse("warn,docker=debug").unwrap();
        let logger = Logger { filter, style: Style::Plain };
        let enabled = |level, target| {
            logger.enabled(&Metadata::builder().level(level).target(target).build())
        };
        assert!(enabled(Level::Debug, "lambda_runtime_api_server::docker::events"));
        assert!(!enabled(Level::Trace, "lambda_runtime_api_server::docker::events"));
        assert!(!enabled(Level::Info, "ureq"));
        assert!(enabled(Level::Warn, "ureq"));
    }

    #[test]
    fn a_bad_filter_is_refused_before_anything_is_installed() {
        let error = init(Some("loud")).unwrap_err();
        assert!(matches!(&error, LogError::Filter(_)), "{error}");
        assert!(error.to_string().starts_with("environment: RUST_LOG contains loud"), "{error}");
    }
}
