//! The service's own lines in a function's log, as AWS writes them: text, or JSON records. Pure.
//!
//! `None` is a line that is not written: by the function's system level, or because there is none
//! of that kind in that format. Text has no level.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html>

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::levels::Level;
use super::subject::Subject;
use crate::dispatch::Kind;
use crate::observe::time::rfc3339_millis;

/// How an invocation or a start ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Status {
    /// Also when the handler has failed: that is the function's own affair.
    Success,
    Timeout,
    /// With AWS's name for it.
    Error(String),
}

/// What a `REPORT` says.
#[derive(Debug, Clone)]
pub(super) struct Figures {
    pub(super) duration: Duration,
    /// Of the sandbox, when this was its first invocation.
    pub(super) init: Option<Duration>,
    /// None where it was never read.
    pub(super) max_memory_mb: Option<u64>,
    pub(super) status: Status,
    /// The trace header of an invocation that X-Ray samples.
    pub(super) trace: Option<Box<str>>,
}

impl Subject {
    /// A sandbox begins. Only a runtime of AWS's has versions; an image has none there either.
    pub(super) fn init_start(&self, at: SystemTime) -> Option<String> {
        if !self.style.json {
            let (runtime, arn) = self.runtime.as_ref()?;
            return Some(format!(
                "INIT_START Runtime Version: {runtime}\tRuntime Version ARN: {arn}"
            ));
        }
        let level = if self.runtime.is_some() { Level::Info } else { Level::Debug };
        self.record("initStart", level, at, |out| {
            self.init_phase(out);
            if let Some((runtime, arn)) = &self.runtime {
                text(out, "runtimeVersion", runtime);
                text(out, "runtimeVersionArn", arn);
            }
            text(out, "functionName", &self.function);
            text(out, "functionVersion", &self.version);
            let named = format!("{}[", self.function);
            text(out, "instanceId", &self.place.stream.replacen('[', &named, 1));
            let _ = write!(out, ",\"instanceMaxMemory\":{}", u64::from(self.memory_mb) << 20);
        })
    }

    /// A runtime has initialized, or not: JSON only.
    pub(super) fn init_done(&self, at: SystemTime, status: &Status) -> Option<String> {
        if !self.style.json {
            return None;
        }
        self.record("initRuntimeDone", level_of(status, Level::Debug), at, |out| {
            self.init_phase(out);
            json_status(out, status);
        })
    }

    /// A sandbox has initialized, or not. Text tells of failures only.
    pub(super) fn init_report(
        &self,
        at: SystemTime,
        duration: Duration,
        status: &Status,
    ) -> Option<String> {
        if !self.style.json {
            if *status == Status::Success {
                return None;
            }
            let mut out = "INIT_REPORT Init Duration: ".to_owned();
            hundredths(&mut out, duration);
            out.push_str(" ms\tPhase: init");
            plain_status(&mut out, status);
            return Some(out);
        }
        let usual = match self.kind {
            Kind::OnDemand => Level::Debug,
            Kind::Provisioned => Level::Info,
        };
        self.record("initReport", level_of(status, usual), at, |out| {
            self.init_phase(out);
            json_status(out, status);
            out.push_str(",\"metrics\":{\"durationMs\":");
            thousandths(out, duration);
            out.push('}');
        })
    }

    pub(super) fn start(&self, at: SystemTime, id: Uuid, trace: Option<&str>) -> Option<String> {
        if !self.style.json {
            let mut out = String::with_capacity(80);
            out.push_str("START RequestId: ");
            push_id(&mut out, id);
            out.push_str(" Version: ");
            out.push_str(&self.version);
            return Some(out);
        }
        self.record("start", Level::Info, at, |out| {
            request_id(out, id);
            text(out, "functionArn", &self.arn);
            text(out, "version", &self.version);
            tracing(out, trace);
        })
    }

    /// The text before `END` of an invocation that was ended for its function; JSON has records.
    pub(super) fn failure(&self, at: SystemTime, id: Uuid, words: &str) -> Option<String> {
        if self.style.json {
            return None;
        }
        Some(match words.strip_prefix("Task timed out") {
            Some(_) => format!("{} {id} {words}\n", rfc3339_millis(at)),
            None => format!("RequestId: {id} Error: {words}"),
        })
    }

    pub(super) fn end(&self, id: Uuid) -> Option<String> {
        if self.style.json {
            return None;
        }
        let mut out = String::with_capacity(56);
        out.push_str("END RequestId: ");
        push_id(&mut out, id);
        Some(out)
    }

    /// The runtime is done with an invocation: JSON only.
    pub(super) fn runtime_done(
        &self,
        at: SystemTime,
        id: Uuid,
        figures: &Figures,
    ) -> Option<String> {
        if !self.style.json {
            return None;
        }
        self.record("runtimeDone", level_of(&figures.status, Level::Debug), at, |out| {
            request_id(out, id);
            json_status(out, &figures.status);
            out.push_str(",\"metrics\":{\"durationMs\":");
            thousandths(out, figures.duration);
            out.push('}');
            tracing(out, figures.trace.as_deref());
        })
    }

    pub(super) fn report(&self, at: SystemTime, id: Uuid, figures: &Figures) -> Option<String> {
        let billed = (figures.duration + figures.init.unwrap_or_default()).as_micros();
        let billed = billed.div_ceil(1000);
        if !self.style.json {
            let mut out = String::with_capacity(200);
            out.push_str("REPORT RequestId: ");
            push_id(&mut out, id);
            out.push_str("\tDuration: ");
            hundredths(&mut out, figures.duration);
            let _ = write!(out, " ms\tBilled Duration: {billed} ms\t");
            let _ = write!(out, "Memory Size: {} MB", self.memory_mb);
            if let Some(max) = figures.max_memory_mb {
                let _ = write!(out, "\tMax Memory Used: {max} MB");
            }
            if let Some(init) = figures.init {
                out.push_str("\tInit Duration: ");
                hundredths(&mut out, init);
                out.push_str(" ms");
            }
            plain_status(&mut out, &figures.status);
            if let Some((root, segment)) = figures.trace.as_deref().and_then(segment) {
                let _ =
                    write!(out, "\nXRAY TraceId: {root}\tSegmentId: {segment}\tSampled: true\t");
            }
            return Some(out);
        }
        self.record("report", level_of(&figures.status, Level::Info), at, |out| {
            request_id(out, id);
            out.push_str(",\"metrics\":{\"durationMs\":");
            thousandths(out, figures.duration);
            let _ = write!(out, ",\"billedDurationMs\":{billed}");
            let _ = write!(out, ",\"memorySizeMB\":{}", self.memory_mb);
            if let Some(max) = figures.max_memory_mb {
                let _ = write!(out, ",\"maxMemoryUsedMB\":{max}");
            }
            if let Some(init) = figures.init {
                out.push_str(",\"initDurationMs\":");
                thousandths(out, init);
            }
            out.push('}');
            tracing(out, figures.trace.as_deref());
            json_status(out, &figures.status);
        })
    }

    /// Lines were left out; nobody may take the log for complete.
    pub(super) fn dropped(
        &self,
        at: SystemTime,
        reason: &str,
        lines: u64,
        bytes: u64,
    ) -> Option<String> {
        if !self.style.json {
            return Some(format!(
                "LOGS_DROPPED Reason: {reason}\tDropped Records: {lines}\tDropped Bytes: {bytes}"
            ));
        }
        self.record("logsDropped", Level::Warn, at, |out| {
            let _ = write!(out, "\"droppedBytes\":{bytes},\"droppedRecords\":{lines}");
            text(out, "reason", reason);
        })
    }

    /// The first members of a record of the init phase.
    fn init_phase(&self, out: &mut String) {
        let kind = self.kind.name();
        let _ = write!(out, "\"initializationType\":\"{kind}\",\"phase\":\"init\"");
    }

    /// A record of AWS's telemetry schema, if the function's level lets it through.
    fn record(
        &self,
        kind: &str,
        level: Level,
        at: SystemTime,
        fill: impl FnOnce(&mut String),
    ) -> Option<String> {
        if level < self.style.system {
            return None;
        }
        let mut out = String::with_capacity(256);
        out.push_str("{\"time\":\"");
        out.push_str(&rfc3339_millis(at));
        out.push_str("\",\"type\":\"platform.");
        out.push_str(kind);
        out.push_str("\",\"record\":{");
        fill(&mut out);
        out.push_str("}}");
        Some(out)
    }
}

/// What did not succeed is a warning.
fn level_of(status: &Status, success: Level) -> Level {
    if *status == Status::Success { success } else { Level::Warn }
}

fn push_id(out: &mut String, id: Uuid) {
    out.push_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
}

fn request_id(out: &mut String, id: Uuid) {
    out.push_str("\"requestId\":\"");
    push_id(out, id);
    out.push('"');
}

/// A further member whose value is text.
fn text(out: &mut String, name: &str, value: &str) {
    // Strings always serialize.
    let value = serde_json::to_string(value).unwrap_or_default();
    let _ = write!(out, ",\"{name}\":{value}");
}

fn plain_status(out: &mut String, status: &Status) {
    match status {
        // AWS ends its line like this.
        Status::Success => out.push('\t'),
        Status::Timeout => out.push_str("\tStatus: timeout"),
        Status::Error(kind) => {
            let _ = write!(out, "\tStatus: error\tError Type: {kind}");
        }
    }
}

fn json_status(out: &mut String, status: &Status) {
    match status {
        Status::Success => text(out, "status", "success"),
        Status::Timeout => text(out, "status", "timeout"),
        Status::Error(kind) => {
            text(out, "status", "error");
            text(out, "errorType", kind);
        }
    }
}

fn tracing(out: &mut String, trace: Option<&str>) {
    if let Some(trace) = trace
        && let Some((_, segment)) = segment(trace)
    {
        out.push_str(",\"tracing\":{\"type\":\"X-Amzn-Trace-Id\"");
        text(out, "spanId", segment);
        text(out, "value", trace);
        out.push('}');
    }
}

/// The trace and the segment that a trace header names.
fn segment(trace: &str) -> Option<(&str, &str)> {
    let part = |name: &str| trace.split(';').find_map(|part| part.strip_prefix(name));
    Some((part("Root=")?, part("Parent=")?))
}

/// Milliseconds with two digits after the point, rounded.
fn hundredths(out: &mut String, duration: Duration) {
    let hundredths = (duration.as_micros() + 5) / 10;
    let _ = write!(out, "{}.{:02}", hundredths / 100, hundredths % 100);
}

/// Milliseconds as a JSON number with up to three digits after the point, as AWS has them.
fn thousandths(out: &mut String, duration: Duration) {
    let micros = duration.as_micros();
    let _ = write!(out, "{}.{:03}", micros / 1000, micros % 1000);
    while out.ends_with('0') && !out.ends_with(".0") {
        out.pop();
    }
}

#[cfg(test)]
#[path = "format_tests.rs"]
pub(super) mod tests;
