//! Listens to the Engine's events: who has died is known at once, not at a timeout.
//!
//! The stream has its own connection. When it breaks, the Engine counts as unreachable until it is
//! back; then what was missed is looked up. A quiet stream is checked with a ping.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::slots::Slots;
use crate::dispatch::Dispatcher;
use crate::docker::{Engine, EngineError, Event, EventTime};

/// How long the stream may be silent before the Engine is asked whether it is still there.
const TICK: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Exit code of a process that somebody else has killed, where the Engine tells none.
const KILLED: i32 = 137;

/// Whether the Engine answers, as last seen.
#[derive(Debug, Clone)]
pub struct EngineHealth(Arc<Mutex<Option<String>>>);

impl EngineHealth {
    /// What is wrong with the Engine, if anything is.
    pub fn trouble(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, trouble: Option<String>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*known, &trouble) {
            (None, Some(why)) => log::error!("lost the Engine: {why}"),
            (Some(_), None) => log::info!("the Engine is back"),
            _ => {}
        }
        *known = trouble;
    }
}

/// Starts the watcher's thread, which ends with the program.
pub fn start(
    engine: Engine,
    dispatcher: Arc<Dispatcher>,
    slots: Arc<Slots>,
) -> std::io::Result<EngineHealth> {
    let health = EngineHealth(Arc::new(Mutex::new(None)));
    let watcher = Watcher { engine, dispatcher, slots, health: health.clone() };
    thread::Builder::new().name("watcher".into()).spawn(move || watcher.run())?;
    Ok(health)
}

struct Watcher {
    engine: Engine,
    dispatcher: Arc<Dispatcher>,
    slots: Arc<Slots>,
    health: EngineHealth,
}

impl Watcher {
    fn run(&self) {
        let mut since = Some(EventTime::now());
        let mut pause = FIRST_PAUSE;
        loop {
            match self.watch(&mut since, &mut pause) {
                Ok(()) => return,
                Err(error) => self.health.set(Some(error.to_string())),
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
            // A restarted Engine may be another version.
            if let Err(error) = self.engine.renegotiate() {
                log::debug!("the Engine is not back yet: {error}");
            }
        }
    }

    /// Follows one stream to its end.
    fn watch(
        &self,
        since: &mut Option<EventTime>,
        pause: &mut Duration,
    ) -> Result<(), EngineError> {
        // All containers: those that an operator has started have no label of ours.
        let mut stream = self.engine.events(*since, &[], TICK)?;
        self.engine.ping()?;
        self.reconcile()?;
        self.health.set(None);
        *pause = FIRST_PAUSE;
        loop {
            match stream.next_event()? {
                None => return Ok(()),
                Some(Event::Died { container_id, exit_code, .. }) => {
                    self.slot_lost(&container_id);
                    self.dispatcher.died(&container_id, exit_code.unwrap_or(KILLED));
                }
                Some(Event::Disconnected { container_id, .. }) => self.slot_lost(&container_id),
                Some(Event::OutOfMemory { container_id, .. }) => {
                    self.dispatcher.out_of_memory(&container_id);
                }
                Some(Event::Destroyed { container_id, .. }) => {
                    self.slot_lost(&container_id);
                    self.dispatcher.died(&container_id, KILLED);
                }
                Some(Event::Tick) => {
                    self.engine.ping()?;
                    self.health.set(None);
                }
            }
            *since = stream.last().or(*since);
        }
    }

    /// If this container has kept a network, the sandbox in there will not be heard of any more.
    fn slot_lost(&self, container: &str) {
        if let Some(sandbox) = self.slots.lost(container) {
            log::warn!("container {sandbox} has lost its network with {container}");
            self.dispatcher.died(&sandbox, KILLED);
        }
    }

    /// Finds out who has died while nobody listened.
    fn reconcile(&self) -> Result<(), EngineError> {
        self.slots.try_now();
        let (known, holders) = (self.dispatcher.containers(), self.slots.holders());
        if known.is_empty() && holders.is_empty() {
            return Ok(());
        }
        let present: HashMap<String, String> =
            self.engine.containers(&[], true)?.into_iter().map(|c| (c.id, c.state)).collect();
        for holder in holders {
            if present.get(&*holder).map(String::as_str) != Some("running") {
                self.slot_lost(&holder);
            }
        }
        for (id, _) in known {
            let gone = match present.get(&*id).map(String::as_str) {
                // One that is created is about to be started.
                Some("created" | "running" | "paused" | "restarting") => None,
                Some(_) => Some(self.engine.container(&id)?),
                None => Some(None),
            };
            if let Some(container) = gone {
                let code = container
                    .as_ref()
                    .map_or(KILLED, |c| i32::try_from(c.exit_code).unwrap_or(KILLED));
                if container.is_some_and(|c| c.oom_killed) {
                    self.dispatcher.out_of_memory(&id);
                }
                self.dispatcher.died(&id, code);
            }
        }
        Ok(())
    }
}
