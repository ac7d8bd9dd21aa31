//! What dispatch looks like at one moment, for `/status` and `/metrics`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::core::{Core, Origin, SandboxId};
use super::invocation::Report;
use crate::sandbox::state::State;

/// Dispatch at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Invocations without an outcome.
    pub active: usize,
    /// Of those, the ones that wait for a sandbox.
    pub waiting: usize,
    pub limit: usize,
    pub pools: Vec<PoolView>,
    pub sandboxes: Vec<SandboxView>,
}

/// One function version.
#[derive(Debug, Clone)]
pub struct PoolView {
    pub key: String,
    pub waiting: usize,
    pub busy: usize,
    pub idle: usize,
    pub initializing: usize,
    pub finishing: usize,
    pub stopping: usize,
}

/// What was promised to a version, and what there is of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProvisionView {
    /// Sandboxes that are asked for or there.
    pub allocated: u32,
    /// Of those, the ones that have initialized.
    pub available: u32,
    /// Why the last one could not be had.
    pub trouble: Option<String>,
}

/// One sandbox.
#[derive(Debug, Clone)]
pub struct SandboxView {
    pub id: SandboxId,
    pub key: String,
    pub name: Arc<str>,
    pub container: Option<Arc<str>>,
    pub address: Option<IpAddr>,
    pub state: State,
    /// Whether the service made its container.
    pub managed: bool,
    /// How long it has been in this state.
    pub for_: Duration,
    pub invocations: u64,
}

impl Core {
    pub(super) fn snapshot(&self, now: Instant) -> Snapshot {
        let mut pools: Vec<PoolView> = self
            .pools
            .values()
            .map(|pool| PoolView {
                key: pool.target.key.clone(),
                waiting: pool.waiting.len(),
                busy: pool.busy,
                idle: pool.idle.len(),
                initializing: pool.initializing,
                finishing: pool.finishing,
                stopping: pool.stopping,
            })
            .collect();
        pools.sort_by(|a, b| a.key.cmp(&b.key));
        let mut sandboxes: Vec<SandboxView> = self
            .sandboxes
            .iter()
            .map(|(&id, sandbox)| SandboxView {
                id,
                key: sandbox.target.key.clone(),
                name: sandbox.name.clone(),
                container: sandbox.container.clone(),
                address: sandbox.address,
                state: sandbox.state,
                managed: sandbox.origin == Origin::Managed,
                for_: now.saturating_duration_since(sandbox.since),
                invocations: sandbox.served,
            })
            .collect();
        sandboxes.sort_by_key(|sandbox| sandbox.id);
        Snapshot {
            active: self.active,
            waiting: self.waiting,
            limit: self.limits.max_concurrent_executions,
            pools,
            sandboxes,
        }
    }

    /// Invocations that were given to a sandbox so long ago and have no outcome; each once.
    pub(super) fn long_running(&mut self, least: Duration, now: Instant) -> Vec<Report> {
        let mut found = Vec::new();
        for (&id, sandbox) in &mut self.sandboxes {
            let Some(running) = &mut sandbox.running else { continue };
            let duration = now.saturating_duration_since(running.given);
            if duration < least || std::mem::replace(&mut running.told, true) {
                continue;
            }
            found.push(Report {
                event: running.event.clone(),
                duration,
                started: Some(running.given_at),
                init: running.init,
                sandbox: Some(id),
                target: Some(sandbox.target.clone()),
                container: Some(sandbox.name.clone()),
            });
        }
        found
    }

    pub(super) fn provisioned(&self, key: &str) -> Option<ProvisionView> {
        let id = *self.pool_of.get(key)?;
        let pool = self.pools.get(&id)?;
        let managed = self.sandboxes.values().filter(|sandbox| {
            sandbox.pool == id
                && sandbox.origin == Origin::Managed
                && !matches!(sandbox.state, State::Stopping(_))
        });
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Some(ProvisionView {
            allocated: count(managed.clone().count()),
            available: count(managed.filter(|sandbox| !sandbox.state.is_initializing()).count()),
            trouble: pool.provision.trouble.clone(),
        })
    }

    pub(super) fn containers(&self) -> Vec<(Arc<str>, bool)> {
        self.sandboxes
            .values()
            .filter_map(|sandbox| {
                let container = sandbox.container.clone()?;
                Some((container, sandbox.origin == Origin::Managed))
            })
            .collect()
    }
}
