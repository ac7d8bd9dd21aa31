//! `/health`, and `/status` for people: what the service, its sandboxes and its Engine do now.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde_json::{Value, json};

use super::Api;
use crate::access::Surface;
use crate::dispatch::Snapshot;
use crate::docker::Stats;
use crate::http::{Responder, Response};
use crate::observe::process::Process;
use crate::observe::time::rfc3339_millis;
use crate::sandbox::slots::SlotCounts;
use crate::sandbox::state::State;

/// How old the containers' figures may be.
const FRESH: Duration = Duration::from_secs(2);
/// How long collecting them may take; those that are left have no figures this time.
const BUDGET: Duration = Duration::from_secs(2);

/// The containers' figures as last asked for, and the service's CPU time then.
#[derive(Debug, Default)]
pub(super) struct StatsCache {
    collected: Mutex<Collected>,
    cpu: Mutex<Option<(Instant, Duration)>>,
}

#[derive(Debug, Default)]
struct Collected {
    at: Option<Instant>,
    by_container: Arc<HashMap<Arc<str>, Stats>>,
}

impl Api {
    /// 200 while the service can take work; 503 with the reason otherwise.
    pub(super) fn health(&self, responder: Responder) {
        responder.send(match self.health.trouble() {
            None => Response::json(200, json!({ "status": "ok" }).to_string()),
            Some(reason) => {
                let body = json!({ "status": "unavailable", "reason": reason });
                Response::json(503, body.to_string()).header("Retry-After", "2")
            }
        });
    }

    pub(super) fn status(self: &Arc<Self>, responder: Responder) {
        let api = self.clone();
        self.block(Surface::Status, responder, move |responder| {
            responder.send(Response::json(200, api.status_body().to_string()));
        });
    }

    fn status_body(&self) -> Value {
        let snapshot = self.dispatcher.snapshot();
        let stats = self.container_stats(&snapshot);
        let durations = self.metrics.duration.snapshot();
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let sandboxes: Vec<Value> = snapshot
            .sandboxes
            .iter()
            .map(|sandbox| {
                let stats = sandbox.container.as_ref().and_then(|id| stats.get(id));
                json!({
                    "function": sandbox.key,
                    "name": &*sandbox.name,
                    "container": sandbox.container.as_deref(),
                    "address": sandbox.address,
                    "managed": sandbox.managed,
                    "state": sandbox.state.name(),
                    "state_s": sandbox.for_.as_secs_f64(),
                    "invocations": sandbox.invocations,
                    "memory_bytes": stats.map(|stats| stats.memory_used_bytes),
                    "memory_peak_bytes": stats.and_then(|stats| stats.memory_peak_bytes),
                    "cpu_s": stats.map(|stats| stats.cpu_total.as_secs_f64()),
                    "processes": stats.map(|stats| stats.pids),
                })
            })
            .collect();
        let functions: Vec<Value> = snapshot
            .pools
            .iter()
            .map(|pool| {
                json!({
                    "function": pool.key,
                    "queued": pool.waiting,
                    "busy": pool.busy,
                    "idle": pool.idle,
                    "initializing": pool.initializing,
                    "finishing": pool.finishing,
                    "stopping": pool.stopping,
                })
            })
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            // The value of the owner label of everything that this service makes on the Engine.
            "owner": self.registry.owner(),
            "configuration": self.configuration_body(),
            "uptime_s": self.started.elapsed().as_secs_f64(),
            "engine": self.engine_body(),
            "containers": containers_by_state(&snapshot),
            "slots": self.slots_by_state().into_iter().collect::<HashMap<_, _>>(),
            "invocations": {
                "active": snapshot.active,
                "queued": snapshot.waiting,
                "limit": snapshot.limit,
                "by_outcome": self.metrics.outcomes().collect::<HashMap<_, _>>(),
            },
            "asynchronous": self.queue_body(),
            "schedules": self.schedules_body(),
            "functions": functions,
            "registered_functions": self.registry.all().len(),
            "sandboxes": sandboxes,
            "response_times_ms": {
                "count": durations.count(),
                "p50": ms(durations.quantile(0.5)),
                "p90": ms(durations.quantile(0.9)),
                "p99": ms(durations.quantile(0.99)),
                "max": ms(durations.max()),
            },
            "service": self.service_body(),
        })
    }

    /// How many network slots there are in each state.
    pub(super) fn slots_by_state(&self) -> [(&'static str, usize); 4] {
        let SlotCounts { making, ready, taken, resting } = self.slots.counts();
        [("making", making), ("ready", ready), ("taken", taken), ("resting", resting)]
    }

    fn schedules_body(&self) -> Value {
        let view = self.schedules.view();
        let next = view.next_ms.map(|ms| rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms)));
        let counts = self.schedules.counters().all();
        json!({
            "schedules": view.schedules,
            "enabled": view.enabled,
            "groups": view.groups,
            "next_run": next,
            "counts": counts.map(|(name, _, count)| (name, count)).collect::<HashMap<_, _>>(),
        })
    }

    /// What has to be known before something is deployed here.
    fn configuration_body(&self) -> Value {
        let settings = &self.settings;
        json!({
            "region": settings.region,
            "account_id": settings.account_id,
            "architecture": settings.architecture.as_str(),
            "max_memory_mb": settings.max_memory_mb,
            "base_image": settings.base_image,
            "webhook": self.queue.has_webhook(),
            "runtimes": settings.runtimes.iter().collect::<HashMap<_, _>>(),
        })
    }

    fn engine_body(&self) -> Value {
        let version = self.engine.version();
        json!({
            "reachable": version.is_ok(),
            "version": version.as_ref().map(|v| v.version.clone()).ok(),
            "api_version": version.as_ref().map(|v| v.api_version.to_string()).ok(),
            "trouble": self.health.trouble().or_else(|| version.err().map(|e| e.to_string())),
        })
    }

    fn service_body(&self) -> Value {
        let Ok(process) = Process::read() else { return Value::Null };
        json!({
            "memory_bytes": process.resident_bytes,
            "cpu_s": process.cpu.as_secs_f64(),
            "cpu_percent": self.cpu_percent(process.cpu),
            "threads": process.threads,
            "open_files": process.open_files,
        })
    }

    /// CPU use since this was last asked, or since the start.
    fn cpu_percent(&self, cpu: Duration) -> f64 {
        let now = Instant::now();
        let mut last = self.stats.cpu.lock().unwrap_or_else(PoisonError::into_inner);
        let (then, before) = last.replace((now, cpu)).unwrap_or((self.started, Duration::ZERO));
        let elapsed = now.saturating_duration_since(then).as_secs_f64().max(0.001);
        cpu.saturating_sub(before).as_secs_f64() / elapsed * 100.0
    }

    /// Memory and CPU of the running containers, at most so old.
    pub(super) fn container_stats(&self, snapshot: &Snapshot) -> Arc<HashMap<Arc<str>, Stats>> {
        let mut collected = self.stats.collected.lock().unwrap_or_else(PoisonError::into_inner);
        if collected.at.is_some_and(|at| at.elapsed() < FRESH) {
            return collected.by_container.clone();
        }
        let begun = Instant::now();
        let mut by_container = HashMap::new();
        for sandbox in &snapshot.sandboxes {
            let running =
                !matches!(sandbox.state, State::Creating | State::Starting | State::Stopping(_));
            if let Some(container) = sandbox.container.as_ref().filter(|_| running) {
                if begun.elapsed() > BUDGET {
                    break;
                }
                match self.engine.container_stats(container) {
                    Ok(stats) => {
                        by_container.insert(container.clone(), stats);
                    }
                    Err(error) => log::debug!("no figures of container {container}: {error}"),
                }
            }
        }
        collected.at = Some(Instant::now());
        collected.by_container = Arc::new(by_container);
        collected.by_container.clone()
    }
}

/// How many sandboxes with a container there are in each state.
pub(super) fn containers_by_state(snapshot: &Snapshot) -> serde_json::Map<String, Value> {
    State::NAMES
        .iter()
        .map(|name| {
            let count = snapshot.sandboxes.iter().filter(|s| s.state.name() == *name).count();
            ((*name).to_owned(), Value::from(count))
        })
        .collect()
}
