//! Prometheus's text format, version 0.0.4, written by hand: a few rules need no library.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>
//!
//! Names are the program's own constants, so a wrong one is a mistake in the program: it is caught
//! by `debug_assert` in every test. Label values and help come from anywhere and are escaped.
//! It does not collect: whoever has figures writes them, family after family.

use std::fmt::Write as _;
use std::time::Duration;

use super::histogram::Snapshot;

/// The `Content-Type` of the whole.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A sample's value. Counts stay whole: as a float they would lose digits beyond 2^53.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value::Whole(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Value {
        Value::Whole(value as u64)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Real(value)
    }
}

/// A duration is in seconds, Prometheus's base unit.
impl From<Duration> for Value {
    fn from(value: Duration) -> Value {
        Value::Real(value.as_secs_f64())
    }
}

/// Name and value; the order is kept.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// The text in the making.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    pub fn new() -> Exposition {
        Exposition::default()
    }

    /// Begins a metric: `HELP` and `TYPE` stand once, before its samples, which stay together
    /// because the family borrows the whole.
    pub fn family<'a>(&'a mut self, name: &'a str, kind: Kind, help: &str) -> Family<'a> {
        debug_assert!(is_metric_name(name), "metric name {name:?}");
        debug_assert!(
            !self.text.contains(&format!("# TYPE {name} ")),
            "metric {name} is written twice"
        );
        let kind_name = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.text.push_str("# HELP ");
        self.text.push_str(name);
        self.text.push(' ');
        escape(&mut self.text, help, false);
        self.text.push_str("\n# TYPE ");
        self.text.push_str(name);
        self.text.push(' ');
        self.text.push_str(kind_name);
        self.text.push('\n');
        Family { text: &mut self.text, name, kind }
    }

    /// A metric with one sample and no labels.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Into<Value>) {
        self.family(name, kind, help).sample(&[], value);
    }

    pub fn finish(self) -> String {
        self.text
    }
}

/// One metric, to which samples are added.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    name: &'a str,
    kind: Kind,
}

impl Family<'_> {
    /// One sample of a counter or gauge. Each set of label values occurs once.
    pub fn sample(&mut self, labels: Labels<'_>, value: impl Into<Value>) -> &mut Self {
        debug_assert!(self.kind != Kind::Histogram, "{} is a histogram", self.name);
        self.line("", labels, None, value.into());
        self
    }

    /// All samples of one histogram: cumulative buckets, `+Inf` among them, then sum and count.
    /// The bounds have to rise.
    pub fn histogram(
        &mut self,
        labels: Labels<'_>,
        snapshot: &Snapshot,
        bounds: &[Duration],
    ) -> &mut Self {
        debug_assert!(self.kind == Kind::Histogram, "{} is no histogram", self.name);
        debug_assert!(bounds.is_sorted_by(|a, b| a < b), "bounds of {} do not rise", self.name);
        debug_assert!(labels.iter().all(|(name, _)| *name != "le"), "le is the histogram's own");
        for (bound, count) in bounds.iter().zip(snapshot.cumulative(bounds)) {
            let le = bound.as_secs_f64().to_string();
            self.line("_bucket", labels, Some(("le", &le)), Value::Whole(count));
        }
        let count = Value::Whole(snapshot.count());
        self.line("_bucket", labels, Some(("le", "+Inf")), count);
        self.line("_sum", labels, None, snapshot.sum().into());
        self.line("_count", labels, None, count);
        self
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, last: Option<(&str, &str)>, value: Value) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let mut open = '{';
        for (name, label) in labels.iter().copied().chain(last) {
            debug_assert!(is_label_name(name), "label name {name:?} of {}", self.name);
            self.text.push(open);
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(self.text, label, true);
            self.text.push('"');
            open = ',';
        }
        if open == ',' {
            self.text.push('}');
        }
        self.text.push(' ');
        number(self.text, value);
        self.text.push('\n');
    }
}

/// Help escapes backslash and line feed, label values the double quote as well; nothing else may be.
fn escape(text: &mut String, foreign: &str, quoted: bool) {
    for c in foreign.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if quoted => text.push_str("\\\""),
            c => text.push(c),
        }
    }
}

/// The format wants `NaN`, `+Inf` and `-Inf` spelled so; Rust spells infinity otherwise.
fn number(text: &mut String, value: Value) {
    // Writing to a String cannot fail.
    let _ = match value {
        Value::Whole(value) => write!(text, "{value}"),
        Value::Real(value) if value == f64::INFINITY => text.write_str("+Inf"),
        Value::Real(value) if value == f64::NEG_INFINITY => text.write_str("-Inf"),
        Value::Real(value) => write!(text, "{value}"),
    };
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`, without the colon, which is for recording rules.
fn is_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The same; two underscores in front are Prometheus's own.
fn is_label_name(name: &str) -> bool {
    is_metric_name(name) && !name.starts_with("__")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::histogram::Histogram;

    #[test]
    fn counters_and_gauges_are_written() {
        let mut out = Exposition::new();
        out.family("lambda_errors_total", Kind::Counter, "Errors by type.")
            .sample(&[("type", "timeout"), ("function", "f")], 3_u64)
            .sample(&[("type", "exit"), ("function", "f")], u64::MAX);
        out.single("lambda_load", Kind::Gauge, "Load.", 0.25);
        assert_eq!(
            out.finish(),
            "# HELP lambda_errors_total Errors by type.\n\
             # TYPE lambda_errors_total counter\n\
             lambda_errors_total{type=\"timeout\",function=\"f\"} 3\n\
             lambda_errors_total{type=\"exit\",function=\"f\"} 18446744073709551615\n\
             # HELP lambda_load Load.\n\
             # TYPE lambda_load gauge\n\
             lambda_load 0.25\n"
        );
    }

    #[test]
    fn a_histogram_has_cumulative_buckets_sum_and_count() {
        let histogram = Histogram::new();
        for ms in [1, 20, 20, 3000] {
            histogram.record(Duration::from_millis(ms));
        }
        let bounds = [Duration::from_micros(2500), Duration::from_secs(1)];
        let mut out = Exposition::new();
        out.family("lambda_duration_seconds", Kind::Histogram, "Time.").histogram(
            &[("function", "f")],
            &histogram.snapshot(),
            &bounds,
        );
        assert_eq!(
            out.finish(),
            "# HELP lambda_duration_seconds Time.\n\
             # TYPE lambda_duration_seconds histogram\n\
             lambda_duration_seconds_bucket{function=\"f\",le=\"0.0025\"} 1\n\
             lambda_duration_seconds_bucket{function=\"f\",le=\"1\"} 3\n\
             lambda_duration_seconds_bucket{function=\"f\",le=\"+Inf\"} 4\n\
             lambda_duration_seconds_sum{function=\"f\"} 3.041\n\
             lambda_duration_seconds_count{function=\"f\"} 4\n"
        );
    }

    #[test]
    fn foreign_text_is_escaped() {
        let mut out = Exposition::new();
        out.family("m", Kind::Gauge, "a\\b\n\"c\"").sample(&[("l", "a\\b\n\"c\"é")], 1_u64);
        assert_eq!(
            out.finish(),
            "# HELP m a\\\\b\\n\"c\"\n# TYPE m gauge\nm{l=\"a\\\\b\\n\\\"c\\\"é\"} 1\n"
        );
    }

    #[test]
    fn numbers_are_spelled_as_the_format_wants() {
        for (value, spelled) in [
            (Value::Real(f64::NAN), "NaN"),
            (Value::Real(f64::INFINITY), "+Inf"),
            (Value::Real(f64::NEG_INFINITY), "-Inf"),
            (Value::Real(-1.5), "-1.5"),
            (Value::from(Duration::from_millis(1500)), "1.5"),
            (Value::from(7_usize), "7"),
        ] {
            let mut text = String::new();
            number(&mut text, value);
            assert_eq!(text, spelled);
        }
    }

    #[test]
    fn names_follow_the_rules() {
        for good in ["a", "_a", "a1_b", "A"] {
            assert!(is_metric_name(good), "{good}");
        }
        for bad in ["", "1a", "a-b", "a b", "ä", "a.b", "a:b"] {
            assert!(!is_metric_name(bad), "{bad}");
        }
        assert!(is_label_name("function"));
        assert!(!is_label_name("__name__"));
    }

    #[cfg(debug_assertions)]
    mod mistakes {
        use super::*;

        #[test]
        #[should_panic(expected = "metric name")]
        fn a_bad_name() {
            Exposition::new().single("a-b", Kind::Gauge, "", 1_u64);
        }

        #[test]
        #[should_panic(expected = "written twice")]
        fn a_family_twice() {
            let mut out = Exposition::new();
            out.single("a", Kind::Gauge, "", 1_u64);
            out.single("a", Kind::Gauge, "", 1_u64);
        }

        #[test]
        #[should_panic(expected = "le is the histogram's own")]
        fn a_label_le() {
            let snapshot = Histogram::new().snapshot();
            Exposition::new().family("a", Kind::Histogram, "").histogram(
                &[("le", "1")],
                &snapshot,
                &[],
            );
        }
    }
}
