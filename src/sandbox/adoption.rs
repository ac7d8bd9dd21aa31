//! Containers that an operator has started by hand: the first time one asks for an event, the
//! Engine is asked who has that address, and the container's environment says which function it is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::dispatch::{Dispatcher, SandboxId, Target};
use crate::docker::{Container, Engine, EngineError};
use crate::function::model::{LATEST, key};
use crate::function::name::Place;

/// The name of a function whose runtime tells none, as in AWS's Runtime Interface Emulator.
pub const DEFAULT_FUNCTION: &str = "function";
/// The timeout of a function that nobody configured, as in AWS's Runtime Interface Emulator.
const DEFAULT_TIMEOUT_S: u64 = 300;
const MAX_TIMEOUT_S: u64 = 900;
/// How long an address that belongs to no function's container is not looked up again.
const STRANGER_FOR: Duration = Duration::from_secs(1);
/// Addresses remembered as strangers.
const MAX_STRANGERS: usize = 1024;

/// Knows the containers that the service has not made.
#[derive(Debug)]
pub struct Adoption {
    engine: Engine,
    dispatcher: Arc<Dispatcher>,
    region: String,
    account_id: String,
    owner: String,
    strangers: Mutex<HashMap<IpAddr, Instant>>,
}

impl Adoption {
    pub fn new(
        engine: Engine,
        dispatcher: Arc<Dispatcher>,
        place: Place<'_>,
        owner: &str,
    ) -> Adoption {
        Adoption {
            engine,
            dispatcher,
            region: place.region.to_owned(),
            account_id: place.account_id.to_owned(),
            owner: owner.to_owned(),
            strangers: Mutex::new(HashMap::new()),
        }
    }

    /// Whether this address was looked up a moment ago and belongs to nobody.
    pub fn is_stranger(&self, address: IpAddr) -> bool {
        let strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        strangers.get(&address).is_some_and(|seen| seen.elapsed() < STRANGER_FOR)
    }

    fn remember_stranger(&self, address: IpAddr) {
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if strangers.len() >= MAX_STRANGERS {
            strangers.retain(|_, seen| seen.elapsed() < STRANGER_FOR);
        }
        if strangers.len() < MAX_STRANGERS {
            strangers.insert(address, Instant::now());
        }
    }

    /// Asks the Engine who has this address, and makes it a sandbox if it is a function's
    /// container. Blocks. True when the address belongs to a sandbox now.
    pub fn look_up(&self, address: IpAddr) -> Result<bool, EngineError> {
        let running = self.engine.containers(&[], false)?;
        let found = running.iter().find(|c| c.addresses.iter().any(|(_, a)| *a == address));
        let Some(summary) = found else {
            self.remember_stranger(address);
            return Ok(false);
        };
        let ours = summary.labels.get(super::OWNER_LABEL) == Some(&self.owner);
        if ours && let Some(sandbox) = sandbox_of(summary.labels.get(super::SANDBOX_LABEL)) {
            self.dispatcher.locate(sandbox, address);
            return Ok(self.dispatcher.is_sandbox(address));
        }
        let Some(container) = self.engine.container(&summary.id)? else { return Ok(false) };
        // A sandbox of another service on this Engine has that service to ask.
        let foreign = container.labels.contains_key(super::OWNER_LABEL);
        match self.target(&container).filter(|_| !foreign) {
            Some(target) => {
                log::info!(
                    "container {} is a runtime of {} from now on",
                    container.name,
                    target.name
                );
                let id = Arc::from(container.id);
                self.dispatcher.adopt(&target, id, Arc::from(container.name), address);
                Ok(true)
            }
            None => {
                self.remember_stranger(address);
                Ok(false)
            }
        }
    }

    /// The function that a container's environment names.
    fn target(&self, container: &Container) -> Option<Arc<Target>> {
        let value = |name: &str| {
            container.env.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        };
        value("AWS_LAMBDA_RUNTIME_API")?;
        let name = value("AWS_LAMBDA_FUNCTION_NAME").unwrap_or(DEFAULT_FUNCTION);
        let timeout = value("AWS_LAMBDA_FUNCTION_TIMEOUT").and_then(|text| text.parse().ok());
        let memory = value("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").and_then(|text| text.parse().ok());
        self.runtime_only(name, timeout, memory)
    }

    /// The target of a function that only its runtimes know. None for what cannot be a name.
    pub fn runtime_only(
        &self,
        name: &str,
        timeout_s: Option<u64>,
        memory_mb: Option<u32>,
    ) -> Option<Arc<Target>> {
        let place = Place { region: &self.region, account_id: &self.account_id };
        let name = crate::function::name::parse(name, None, place).ok()?.name;
        let timeout_s = timeout_s.unwrap_or(DEFAULT_TIMEOUT_S).clamp(1, MAX_TIMEOUT_S);
        Some(Arc::new(Target {
            key: key(&self.region, &name, LATEST),
            arn: place.arn(&name, None),
            version: LATEST.to_owned(),
            timeout: Duration::from_secs(timeout_s),
            memory_mb: memory_mb.unwrap_or(128),
            function: None,
            name,
        }))
    }
}

fn sandbox_of(label: Option<&String>) -> Option<SandboxId> {
    label.and_then(|text| text.parse().ok())
}
