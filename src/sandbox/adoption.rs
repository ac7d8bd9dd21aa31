//! Containers that an operator has started by hand: the first time one asks for an event, the
//! Engine is asked who has that address, and the container's environment says which function it is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::dispatch::{Dispatcher, SandboxId, Target};
use crossbeam_channel::{Receiver, Sender};

use crate::docker::{Container, ContainerSummary, Engine, EngineError};
use crate::function::model::{LATEST, key};
use crate::function::name::Place;
use crate::logs::collect::Collector;

/// The name of a function whose runtime tells none, as in AWS's Runtime Interface Emulator.
pub const DEFAULT_FUNCTION: &str = "function";
/// The timeout of a function that nobody configured, as in AWS's Runtime Interface Emulator.
const DEFAULT_TIMEOUT_S: u64 = 300;
const MAX_TIMEOUT_S: u64 = 900;
/// How long an address that belongs to no function's container is not looked up again.
const STRANGER_FOR: Duration = Duration::from_secs(1);
/// Addresses remembered as strangers.
const MAX_STRANGERS: usize = 1024;

/// A container's first request can be quicker than the Engine's own knowledge of its address, so
/// an address counts as nobody's only after this long.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the Engine is asked while somebody waits.
const PAUSE: Duration = Duration::from_millis(50);
/// Requests that may wait for the Engine to say who they are from.
const MAX_WAITING: usize = 64;

/// What the Engine says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    Sandbox,
    Stranger,
    /// The Engine does not answer.
    EngineLost,
}

/// What is done once an address is known.
pub type Then = Box<dyn FnOnce(Known) + Send>;

struct Waiting {
    address: IpAddr,
    since: Instant,
    then: Then,
}

/// Knows the containers that the service has not made.
#[derive(Debug)]
pub struct Adoption {
    finder: Arc<Finder>,
    waiting: Sender<Waiting>,
}

#[derive(Debug)]
struct Finder {
    engine: Engine,
    dispatcher: Arc<Dispatcher>,
    collector: Collector,
    region: String,
    account_id: String,
    owner: String,
    strangers: Mutex<HashMap<IpAddr, Instant>>,
}

impl Adoption {
    /// Starts the thread that asks the Engine, which ends with the program.
    pub fn start(
        engine: Engine,
        dispatcher: Arc<Dispatcher>,
        collector: Collector,
        place: Place<'_>,
        owner: &str,
    ) -> std::io::Result<Adoption> {
        let finder = Arc::new(Finder {
            engine,
            dispatcher,
            collector,
            region: place.region.to_owned(),
            account_id: place.account_id.to_owned(),
            owner: owner.to_owned(),
            strangers: Mutex::new(HashMap::new()),
        });
        let (waiting, asked) = crossbeam_channel::bounded(MAX_WAITING);
        let thread = std::thread::Builder::new().name("adoption".into());
        let of_thread = finder.clone();
        thread.spawn(move || of_thread.run(&asked))?;
        Ok(Adoption { finder, waiting })
    }

    /// Whose address is this? `then` is called with the answer, on another thread; at once, and
    /// with [`Known::Stranger`], when it was looked up a moment ago. It comes back when too many
    /// wait already.
    pub fn look_up(&self, address: IpAddr, then: Then) -> Result<(), Then> {
        if self.finder.is_stranger(address) {
            then(Known::Stranger);
            return Ok(());
        }
        let waiting = Waiting { address, since: Instant::now(), then };
        self.waiting.try_send(waiting).map_err(|refused| refused.into_inner().then)
    }

    /// The target of a function that only its runtimes know. None for what cannot be a name.
    pub fn runtime_only(&self, name: &str) -> Option<Arc<Target>> {
        self.finder.runtime_only(name, None, None)
    }
}

impl Finder {
    /// One question to the Engine answers everybody who waits.
    fn run(&self, asked: &Receiver<Waiting>) {
        while let Ok(first) = asked.recv() {
            let mut waiting = vec![first];
            while !waiting.is_empty() {
                waiting.extend(asked.try_iter().take(MAX_WAITING - waiting.len().min(MAX_WAITING)));
                waiting = self.settle(waiting);
                if !waiting.is_empty() {
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }

    /// Answers those that can be answered; gives back those that go on waiting.
    fn settle(&self, waiting: Vec<Waiting>) -> Vec<Waiting> {
        let running = match self.engine.containers(&[], true) {
            Ok(containers) => containers,
            Err(error) => {
                log::error!("cannot find out whose address {} is: {error}", waiting[0].address);
                waiting.into_iter().for_each(|w| (w.then)(Known::EngineLost));
                return Vec::new();
            }
        };
        let mut left = Vec::new();
        for one in waiting {
            match self.identify(one.address, &running) {
                Ok(true) => (one.then)(Known::Sandbox),
                Ok(false) if one.since.elapsed() < PATIENCE => left.push(one),
                Ok(false) => {
                    self.remember_stranger(one.address);
                    (one.then)(Known::Stranger);
                }
                Err(error) => {
                    log::error!("cannot find out whose address {} is: {error}", one.address);
                    (one.then)(Known::EngineLost);
                }
            }
        }
        left
    }

    /// Whether this address was looked up a moment ago and belongs to nobody.
    fn is_stranger(&self, address: IpAddr) -> bool {
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

    /// Finds the container that has this address, and makes it a sandbox if it is a function's.
    /// True when the address belongs to a sandbox now.
    fn identify(
        &self,
        address: IpAddr,
        containers: &[ContainerSummary],
    ) -> Result<bool, EngineError> {
        if self.dispatcher.is_sandbox(address) {
            return Ok(true);
        }
        let found = containers.iter().find(|c| c.addresses.iter().any(|(_, a)| *a == address));
        let Some(summary) = found else { return Ok(false) };
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
                let id: Arc<str> = Arc::from(container.id);
                let name = Arc::from(container.name);
                if let Some(sandbox) = self.dispatcher.adopt(&target, id.clone(), name, address) {
                    self.collector.adopt(sandbox, &target, &id);
                }
                Ok(true)
            }
            None => Ok(false),
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
    fn runtime_only(
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
