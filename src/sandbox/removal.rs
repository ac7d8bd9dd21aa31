//! Removes containers, however long the Engine does not let it.
//!
//! Who has somebody waiting for an answer leaves a container here and goes on; who has time tries a
//! few times itself. What could not be removed is tried again until it is gone: an Engine that was
//! away for a while leaves nothing behind.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::docker::Engine;

/// The pauses before each try of who has time.
const PAUSES: [Duration; 3] =
    [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(500)];
/// How often the rest is tried.
const AGAIN: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Removal {
    engine: Engine,
    /// Unbounded: it holds a name for each container that was made, and those are bounded.
    later: Sender<Arc<str>>,
}

impl Removal {
    /// Starts the thread, which ends with the program.
    pub(super) fn start(engine: Engine) -> std::io::Result<Removal> {
        let (later, left) = crossbeam_channel::unbounded();
        let of_thread = engine.clone();
        let thread = thread::Builder::new().name("leftovers".into());
        thread.spawn(move || remove_later(&of_thread, &left))?;
        Ok(Removal { engine, later })
    }

    /// Kills and removes a container. False when it may still be there; it is tried again then.
    pub(super) fn now(&self, container: &str) -> bool {
        for pause in PAUSES {
            thread::sleep(pause);
            if remove(&self.engine, container) {
                return true;
            }
        }
        self.later(container);
        false
    }

    /// Kills and removes a container, by its id or its name, without waiting for that.
    pub(super) fn later(&self, container: &str) {
        // The receiver lives as long as the program.
        let _ = self.later.send(Arc::from(container));
    }
}

/// That it is gone, or was never made, is fine.
fn remove(engine: &Engine, container: &str) -> bool {
    match engine.remove_container(container, true) {
        Ok(()) => true,
        Err(error) => {
            log::warn!("container {container} could not be removed: {error}");
            false
        }
    }
}

fn remove_later(engine: &Engine, left: &Receiver<Arc<str>>) {
    let mut again: Vec<Arc<str>> = Vec::new();
    loop {
        let next = match again.is_empty() {
            true => left.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => left.recv_timeout(AGAIN),
        };
        match next {
            Ok(container) => {
                if !remove(engine, &container) {
                    again.push(container);
                }
            }
            // One question at a time to an Engine that may be away: the rest waits for its answer.
            Err(RecvTimeoutError::Timeout) => {
                while let Some(container) = again.pop() {
                    if !remove(engine, &container) {
                        again.push(container);
                        break;
                    }
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
