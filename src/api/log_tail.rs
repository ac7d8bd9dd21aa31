//! `X-Amz-Log-Type: Tail`: the last 4 KB of what an invocation has logged, in base64.
//!
//! The lines are read from the Engine when somebody asks for them, on the blocking pool; an
//! invocation that nobody asks for pays nothing.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Api;
use crate::access::Surface;
use crate::dispatch::{Report, Target};
use crate::docker::LogQuery;
use crate::http::{Responder, Response};

/// What AWS returns at most.
const TAIL_BYTES: usize = 4096;
/// What is read of the Engine at most: more than the tail, for the lines are cut at their start.
const READ_BYTES: usize = 64 << 10;
/// The Engine takes a moment to write down what a container has just said.
const SETTLE: Duration = Duration::from_millis(20);

/// An invocation whose caller wants its log.
pub(super) struct LogTail {
    pub(super) target: Arc<Target>,
    pub(super) report: Report,
}

impl LogTail {
    /// Sends the response with the log in its header.
    pub(super) fn send(self, api: &Arc<Api>, responder: Responder, response: Response) {
        let of = api.clone();
        api.block(Surface::Invoke, responder, move |responder| {
            let lines = self.lines(&of);
            let log = self.render(&lines);
            let tail = &log[log.len().saturating_sub(TAIL_BYTES)..];
            responder.send(response.header("X-Amz-Log-Result", &STANDARD.encode(tail)));
        });
    }

    /// What the container has said during the invocation.
    fn lines(&self, api: &Api) -> Vec<u8> {
        let (Some(container), Some(started)) = (&self.report.container, self.report.started) else {
            return Vec::new();
        };
        std::thread::sleep(SETTLE);
        let query = LogQuery { since: Some(started), until: None, tail_lines: None };
        api.engine.container_logs(container, query, READ_BYTES).unwrap_or_else(|error| {
            log::warn!("the log of {} could not be read: {error}", self.report.event.id);
            Vec::new()
        })
    }

    /// The lines between AWS's own.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-view.html>
    fn render(&self, lines: &[u8]) -> Vec<u8> {
        let Report { event, duration, init, .. } = &self.report;
        let id = event.id;
        let mut log =
            format!("START RequestId: {id} Version: {}\n", self.target.version).into_bytes();
        log.extend_from_slice(lines);
        if !log.ends_with(b"\n") {
            log.push(b'\n');
        }
        let milliseconds = duration.as_secs_f64() * 1000.0;
        let mut report = format!(
            "END RequestId: {id}\nREPORT RequestId: {id}\tDuration: {milliseconds:.2} ms\t\
             Billed Duration: {:.0} ms\tMemory Size: {} MB\t",
            milliseconds.ceil(),
            self.target.memory_mb
        );
        if let Some(init) = init {
            report.push_str(&format!("Init Duration: {:.2} ms\t", init.as_secs_f64() * 1000.0));
        }
        report.push('\n');
        log.extend_from_slice(report.as_bytes());
        log
    }
}
