//! `/metrics`: the same for Prometheus.
//!
//! No label takes a caller's text: functions are not a label, for anybody can name a function.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Api;
use super::observe::containers_by_state;
use crate::access::Surface;
use crate::http::{Responder, Response};
use crate::observe::exposition::{CONTENT_TYPE, Exposition, Kind};
use crate::observe::process::Process;

/// Upper bounds of the histograms' buckets, in microseconds.
const BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 3_000_000, 10_000_000, 60_000_000,
];

impl Api {
    pub(super) fn metrics(self: &Arc<Self>, responder: Responder) {
        let api = self.clone();
        self.block(Surface::Metrics, responder, move |responder| {
            let text = api.metrics_text();
            let response = Response::new(200).header("Content-Type", CONTENT_TYPE);
            responder.send(response.body(text.into_bytes()));
        });
    }

    fn metrics_text(&self) -> String {
        let mut out = Exposition::new();
        self.invocation_metrics(&mut out);
        self.sandbox_metrics(&mut out);
        self.log_metrics(&mut out);
        self.queue_metrics(&mut out);
        self.schedule_metrics(&mut out);
        self.http_metrics(&mut out);
        self.audit_metrics(&mut out);
        process_metrics(&mut out);
        out.finish()
    }

    fn invocation_metrics(&self, out: &mut Exposition) {
        let bounds = BOUNDS_US.map(Duration::from_micros);
        let help = "Invocations by how they ended.";
        let mut family = out.family("lambda_invocations_total", Kind::Counter, help);
        for (outcome, count) in self.metrics.outcomes() {
            family.sample(&[("outcome", outcome)], count);
        }
        let help = "From the hand-over of an event to a runtime to its answer.";
        let durations = self.metrics.duration.snapshot();
        out.family("lambda_invocation_duration_seconds", Kind::Histogram, help).histogram(
            &[],
            &durations,
            &bounds,
        );
        let help = "From asking the Engine to start a container to its runtime's first request for an event.";
        let inits = self.metrics.init.snapshot();
        out.family("lambda_init_duration_seconds", Kind::Histogram, help).histogram(
            &[],
            &inits,
            &bounds,
        );
        let help = "Invocations that were the first of their sandbox.";
        out.single("lambda_cold_starts_total", Kind::Counter, help, self.metrics.cold_starts());
        let throttles = self.metrics.outcomes().find(|(name, _)| *name == "throttled");
        let help = "Invocations refused with TooManyRequestsException.";
        let throttles = throttles.map_or(0, |(_, count)| count);
        out.single("lambda_throttles_total", Kind::Counter, help, throttles);
    }

    fn audit_metrics(&self, out: &mut Exposition) {
        let Some((lines, failing)) = self.audit.figures() else { return };
        let help = "Lines of the audit log.";
        out.single("lambda_audit_lines_total", Kind::Counter, help, lines);
        let help = "1 while the audit log cannot be written.";
        out.single("lambda_audit_failing", Kind::Gauge, help, u64::from(failing));
    }

    fn sandbox_metrics(&self, out: &mut Exposition) {
        let snapshot = self.dispatcher.snapshot();
        let help = "Invocations without an outcome.";
        out.single("lambda_invocations_active", Kind::Gauge, help, snapshot.active);
        let help = "Invocations that wait for a sandbox.";
        out.single("lambda_invocations_queued", Kind::Gauge, help, snapshot.waiting);
        let help = "Sandboxes by state.";
        let mut family = out.family("lambda_sandboxes", Kind::Gauge, help);
        for (state, count) in containers_by_state(&snapshot) {
            family.sample(&[("state", &state)], count.as_u64().unwrap_or_default());
        }
        let help = "Networks that are ready for sandboxes to join, and what becomes of them.";
        let mut family = out.family("lambda_network_slots", Kind::Gauge, help);
        for (state, count) in self.slots_by_state() {
            family.sample(&[("state", state)], count);
        }
        let help = "Containers started.";
        out.single("lambda_sandbox_starts_total", Kind::Counter, help, self.metrics.starts());
        let mut family = out.family(
            "lambda_sandbox_ends_total",
            Kind::Counter,
            "Sandboxes that ended, by reason.",
        );
        for (reason, count) in self.metrics.ends() {
            family.sample(&[("reason", reason)], count);
        }
        let stats = self.container_stats(&snapshot);
        let memory: u64 = stats.values().map(|stats| stats.memory_used_bytes).sum();
        let cpu: Duration = stats.values().map(|stats| stats.cpu_total).sum();
        let help = "Memory of all running sandboxes.";
        out.single("lambda_sandboxes_memory_bytes", Kind::Gauge, help, memory);
        // A gauge, for it falls when a sandbox goes.
        let help = "CPU time that the sandboxes running now have used.";
        out.single("lambda_sandboxes_cpu_seconds", Kind::Gauge, help, cpu);
        let reachable = usize::from(self.health.trouble().is_none());
        out.single("lambda_engine_up", Kind::Gauge, "Whether the Engine answers.", reachable);
    }

    fn log_metrics(&self, out: &mut Exposition) {
        let stats = self.logs.stats();
        let help = "Log events of functions and of PutLogEvents.";
        out.single("lambda_log_events_total", Kind::Counter, help, stats.taken);
        let help = "Log events that could not be kept.";
        out.single("lambda_log_events_dropped_total", Kind::Counter, help, stats.dropped);
        out.single("lambda_log_groups", Kind::Gauge, "Log groups.", stats.groups);
        out.single("lambda_log_bytes", Kind::Gauge, "Bytes of all log groups.", stats.bytes);
        let counters = self.collector.counters();
        let streams = counters.streams.load(Ordering::Relaxed);
        let help = "Sandboxes whose output is read.";
        out.single("lambda_output_streams", Kind::Gauge, help, streams);
        let totals = [
            ("lines", "Lines that functions have printed.", &counters.lines),
            ("bytes", "Bytes that functions have printed.", &counters.bytes),
            ("dropped_lines", "Lines that could not be stored.", &counters.dropped_lines),
            ("streams_reopened", "Streams that broke and were opened again.", &counters.reopened),
        ];
        for (name, help, counter) in totals {
            let name = format!("lambda_output_{name}_total");
            out.single(&name, Kind::Counter, help, counter.load(Ordering::Relaxed));
        }
    }

    fn queue_metrics(&self, out: &mut Exposition) {
        let view = self.queue.view();
        let help = "Asynchronous events and their records by state.";
        let mut family = out.family("lambda_async_events", Kind::Gauge, help);
        for (state, count) in view.by_state {
            family.sample(&[("state", state)], count);
        }
        let help = "Age of the oldest of them.";
        out.single("lambda_async_oldest_seconds", Kind::Gauge, help, self.queue_age_s(&view));
        let help = "Bytes of them, as max_queue_mb bounds them.";
        out.single("lambda_async_bytes", Kind::Gauge, help, view.bytes);
        let help = "Bytes that the queue's files take.";
        out.single("lambda_async_disk_bytes", Kind::Gauge, help, view.disk_bytes);
        out.single("lambda_async_dead_letters", Kind::Gauge, "Dead letters.", view.letters);
        let help = "Bytes of them.";
        out.single("lambda_async_dead_letters_bytes", Kind::Gauge, help, view.letters_bytes);
        for (name, help, count) in self.queue.counters().all() {
            out.single(&format!("lambda_async_{name}_total"), Kind::Counter, help, count);
        }
    }

    fn schedule_metrics(&self, out: &mut Exposition) {
        let view = self.schedules.view();
        out.single("lambda_schedules", Kind::Gauge, "Schedules.", view.schedules);
        let help = "Schedules that are enabled.";
        out.single("lambda_schedules_enabled", Kind::Gauge, help, view.enabled);
        if let Some(next_ms) = view.next_ms {
            let help = "When the next run of any schedule is due, in seconds since 1970.";
            let next = Duration::from_millis(next_ms);
            out.single("lambda_schedule_next_run_timestamp_seconds", Kind::Gauge, help, next);
        }
        for (name, help, count) in self.schedules.counters().all() {
            out.single(&format!("lambda_schedule_{name}_total"), Kind::Counter, help, count);
        }
    }

    fn http_metrics(&self, out: &mut Exposition) {
        let counters = &self.counters;
        let open = counters.connections_open.load(Ordering::Relaxed);
        out.single("lambda_http_connections", Kind::Gauge, "Open connections.", open);
        let buffered = counters.buffered_bytes.load(Ordering::Relaxed);
        let help = "Bytes of request bodies received or held.";
        out.single("lambda_http_buffered_bytes", Kind::Gauge, help, buffered);
        let help = "Calls that wait for a thread of the blocking pool.";
        out.single("lambda_http_calls_waiting", Kind::Gauge, help, self.pool.waiting());
        let totals = [
            ("connections_accepted", "Connections accepted.", &counters.connections_accepted),
            ("connections_refused", "Connections over a limit.", &counters.connections_refused),
            ("accept_errors", "Failed accepts.", &counters.accept_errors),
            ("requests", "Requests with a valid head.", &counters.requests),
            ("bad_requests", "Requests refused for their form.", &counters.bad_requests),
            ("panics", "Panics caught in handlers.", &counters.panics),
        ];
        for (name, help, counter) in totals {
            let name = format!("lambda_http_{name}_total");
            out.single(&name, Kind::Counter, help, counter.load(Ordering::Relaxed));
        }
    }
}

/// The names that Prometheus' own client libraries use for a process.
fn process_metrics(out: &mut Exposition) {
    let Ok(process) = Process::read() else { return };
    let help = "Resident memory of the service.";
    out.single("process_resident_memory_bytes", Kind::Gauge, help, process.resident_bytes);
    let help = "CPU time of the service.";
    out.single("process_cpu_seconds_total", Kind::Counter, help, process.cpu);
    let help = "Threads of the service.";
    out.single("process_threads", Kind::Gauge, help, process.threads);
    let help = "Open file descriptors of the service.";
    out.single("process_open_fds", Kind::Gauge, help, process.open_files);
}
