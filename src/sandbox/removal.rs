//! Removes containers, however long the Engine does not let it.
//!
//! Who has somebody waiting for an answer leaves a container here and goes on; who has time tries a
//! few times itself. What could not be removed is tried again until it is gone: an Engine that was
//! away for a while leaves nothing behind.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::docker::Engine;

/// The pauses before each try of who has time.
const PAUSES: [Duration; 3] =
    [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(500)];
/// When the rest is tried again, and how often that is doubled: up to about a minute.
const AGAIN: Duration = Duration::from_secs(2);
const AGAIN_DOUBLED: u32 = 5;

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
            // That it is gone, or was never made, is fine.
            if self.engine.remove_container(container, true).is_ok() {
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

/// A container that the Engine did not remove.
struct Leftover {
    container: Arc<str>,
    told: bool,
    /// How often [`AGAIN`] is doubled for it next.
    doubled: u32,
    due: Instant,
}

impl Leftover {
    fn new(container: Arc<str>) -> Leftover {
        Leftover { container, told: false, doubled: 0, due: Instant::now() }
    }
}

fn remove_later(engine: &Engine, left: &Receiver<Arc<str>>) {
    let mut again: Vec<Leftover> = Vec::new();
    loop {
        let next = match again.iter().map(|leftover| leftover.due).min() {
            None => left.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => left.recv_deadline(due),
        };
        match next {
            Ok(container) => again.push(Leftover::new(container)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        try_all(engine, &mut again);
    }
}

/// Tries those whose time has come.
fn try_all(engine: &Engine, again: &mut Vec<Leftover>) {
    let now = Instant::now();
    let is_due = |one: &Leftover| one.due <= now;
    let (mut due, later): (VecDeque<_>, _) = std::mem::take(again).into_iter().partition(is_due);
    *again = Vec::from(later);
    while let Some(mut leftover) = due.pop_front() {
        let Err(error) = engine.remove_container(&leftover.container, true) else { continue };
        // One that the Engine cannot remove is told once: it may be so for ever.
        let level = if leftover.told { log::Level::Debug } else { log::Level::Warn };
        log::log!(level, "container {} could not be removed: {error}", leftover.container);
        leftover.told = true;
        let away = error.is_unreachable();
        let doubled = if away { 0 } else { leftover.doubled };
        leftover.due = Instant::now() + AGAIN * (1 << doubled);
        leftover.doubled = (doubled + 1).min(AGAIN_DOUBLED);
        again.push(leftover);
        if away {
            // One question at a time to an Engine that is away: the rest waits for its answer.
            for one in &mut due {
                one.due = Instant::now() + AGAIN;
            }
            again.extend(due.drain(..));
        }
    }
}
