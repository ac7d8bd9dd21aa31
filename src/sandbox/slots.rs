//! Network slots: networks that are ready before a sandbox needs one.
//!
//! More than half of a container's start is the making of its network namespace. A slot is a small
//! container of ours (a holder) with an address of its own, whose namespace the container of a
//! sandbox joins; what the slot's address sends is then that sandbox's. The table decides
//! (`slot_table`); this file asks the Engine for it, on one thread of its own, so that the making
//! of slots costs the starts as little as it can. Without a free slot, or where the Engine refuses
//! them, a sandbox makes its own network as ever.
//!
//! Invariant: no call to the Engine is made, and no other lock is waited for, under the table's
//! lock; but for the listener's short one, by which is asked who is connected.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub use super::slot_table::SlotCounts;
use super::slot_table::{Left, Next, Place, SlotId, Stage, Table};
use super::{holder, network};
use crate::dispatch::{Dispatcher, SandboxId};
use crate::docker::{Engine, EngineError};

/// How often the making of a slot is tried with another address.
const ADDRESS_TRIES: usize = 8;
/// A network has at least so many addresses for each slot that is kept ready.
const ADDRESSES_PER_SLOT: u32 = 8;

/// Whether nobody is connected to the service from an address.
pub type Quiet = Box<dyn Fn(IpAddr) -> bool + Send>;

/// See the module's text.
pub struct Slots {
    engine: Engine,
    dispatcher: Arc<Dispatcher>,
    home: Arc<network::Home>,
    owner: String,
    container_prefix: String,
    shared: Mutex<Shared>,
    changed: Condvar,
}

struct Shared {
    table: Table,
    /// Whether the thread runs.
    running: bool,
}

/// Why a slot could not be made; the text is for the log.
struct NotMade(String);

impl<E: std::error::Error> From<E> for NotMade {
    fn from(error: E) -> Self {
        NotMade(error.to_string())
    }
}

/// A start under way, during which the Engine is left to it.
pub(super) struct Starting<'a>(&'a Slots);

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.0.tell(|table, now| table.start_ends(now));
    }
}

impl Slots {
    /// `size` slots are to be ready; 0 means none ever. They are made once [`Slots::run`] is called.
    pub fn new(
        engine: Engine,
        dispatcher: Arc<Dispatcher>,
        home: Arc<network::Home>,
        owner: &str,
        container_prefix: &str,
        size: usize,
    ) -> Arc<Slots> {
        let room = home.current().subnet().hosts() / ADDRESSES_PER_SLOT;
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        if size > room {
            log::info!("the network has addresses for {room} network slots, not for {size}");
        }
        let size = size.min(room);
        let table = Table::new(size, Instant::now());
        Arc::new(Slots {
            engine,
            dispatcher,
            home,
            owner: owner.to_owned(),
            container_prefix: container_prefix.to_owned(),
            shared: Mutex::new(Shared { table, running: false }),
            changed: Condvar::new(),
        })
    }

    /// Starts the thread that makes and removes slots, until [`Slots::close`].
    pub fn run(self: &Arc<Self>, quiet: Quiet) -> std::io::Result<()> {
        if self.lock().table.is_off() {
            return Ok(());
        }
        self.lock().running = true;
        let slots = self.clone();
        let keep = move || {
            slots.keep(&quiet);
            slots.lock().running = false;
            slots.changed.notify_all();
        };
        let thread = thread::Builder::new().name("slots".into()).spawn(keep);
        thread.map(drop).inspect_err(|_| self.lock().running = false)
    }

    /// Makes no more slots, and waits until none is being made, but not for ever. The holders stay
    /// for the launcher, which removes everything that is left.
    pub fn close(&self, within: Duration) {
        self.tell(|table, _| table.close());
        let _ = self
            .changed
            .wait_timeout_while(self.lock(), within, |shared| shared.running)
            .unwrap_or_else(PoisonError::into_inner);
    }

    pub fn counts(&self) -> SlotCounts {
        self.lock().table.counts()
    }

    /// An address that neither a sandbox nor a slot has.
    pub(super) fn free_address(&self, network: &network::SandboxNetwork) -> Option<Ipv4Addr> {
        network.next_address(|a| self.dispatcher.is_sandbox(a) || self.lock().table.has(a))
    }

    // For the launcher.

    pub(super) fn start_begins(&self) -> Starting<'_> {
        self.change(|table, _| table.start_begins());
        Starting(self)
    }

    pub(super) fn take(&self, sandbox: SandboxId, function: &str) -> Option<Place> {
        self.change(|table, now| table.take(sandbox, function, now))
    }

    /// The sandbox's container is created in its slot. False when the slot is lost.
    pub(super) fn joined(&self, sandbox: SandboxId, container: &Arc<str>) -> bool {
        self.change(|table, _| table.joined(sandbox, container))
    }

    /// The sandbox's container runs in its slot.
    pub(super) fn works(&self) {
        if self.change(|table, _| table.works()) {
            log::info!("network slots work again");
        }
    }

    /// The sandbox has no use for its slot any more, if it has one.
    pub(super) fn leave(&self, sandbox: SandboxId, how: Left) {
        self.tell(|table, now| table.leave(sandbox, how, now));
    }

    /// The sandbox's container could not join its slot, but could be started without.
    pub(super) fn refused(&self, sandbox: SandboxId, why: &str) {
        // A slot that is known to be lost is no reason to doubt the others.
        if self.change(|table, now| table.leave(sandbox, Left::Spoiled, now)) {
            self.failed(Stage::Join, why);
        }
    }

    // For the watcher.

    /// The containers that keep the slots' networks.
    pub(super) fn holders(&self) -> Vec<Arc<str>> {
        self.lock().table.holders()
    }

    /// This container has ended, or has lost its network. Gives the container of the sandbox that
    /// has lost its network with it.
    pub(super) fn lost(&self, holder: &str) -> Option<Arc<str>> {
        let (occupant, restless) = self.tell(|table, now| table.lost(holder, now));
        if restless {
            self.failed(Stage::Make, "the containers that keep them do not stay up");
        }
        occupant
    }

    /// The Engine is back: what failed before is tried now.
    pub(super) fn try_now(&self) {
        self.tell(|table, now| table.try_now(now));
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the table decide.
    fn change<T>(&self, change: impl FnOnce(&mut Table, Instant) -> T) -> T {
        change(&mut self.lock().table, Instant::now())
    }

    /// The same, where that may be something to do for the thread.
    fn tell<T>(&self, change: impl FnOnce(&mut Table, Instant) -> T) -> T {
        let result = self.change(change);
        self.changed.notify_all();
        result
    }

    /// One line when slots cease to work, however often that is seen.
    fn failed(&self, stage: Stage, why: &str) {
        if self.tell(|table, now| table.failed(stage, now)) {
            log::warn!("network slots do not work, so each start makes its network: {why}");
        } else {
            log::debug!("network slots still do not work: {why}");
        }
    }

    // The thread.

    fn keep(&self, quiet: &Quiet) {
        let mut image = None;
        loop {
            match self.wait(quiet) {
                Next::Make => {
                    if let Err(NotMade(why)) = self.make(&mut image) {
                        self.failed(Stage::Make, &why);
                    }
                }
                Next::Rejoice => log::info!("network slots work again"),
                Next::Remove(slot, holder) => {
                    let removed = self.engine.remove_container(&holder, true);
                    self.change(|table, now| match &removed {
                        Ok(()) => table.forget(slot, now),
                        Err(_) => table.still_there(slot, now),
                    });
                    if let Err(error) = removed {
                        log::debug!("network slot {slot} could not be removed: {error}");
                    }
                }
                Next::Wait(_) | Next::Stop => return,
            }
        }
    }

    /// Waits until there is something to do.
    fn wait(&self, quiet: &Quiet) -> Next {
        let mut shared = self.lock();
        loop {
            let pause = match shared.table.next(Instant::now(), &|a| quiet(IpAddr::V4(a))) {
                Next::Wait(pause) => pause,
                next => return next,
            };
            shared = match pause {
                Some(pause) => {
                    let waited = self.changed.wait_timeout(shared, pause);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(shared).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Makes one slot.
    fn make(&self, image: &mut Option<String>) -> Result<(), NotMade> {
        let mut name = match image.take() {
            Some(name) => name,
            None => holder::ensure_image(&self.engine)?,
        };
        let (mut network_was_made, mut image_was_made) = (false, false);
        for _ in 0..ADDRESS_TRIES {
            let network = self.home.current();
            let none = || NotMade(format!("no address is free on network {}", network.name));
            let address = self.free_address(&network).ok_or_else(none)?;
            let slot = self.change(|table, now| table.begin(address, now));
            let held = self.hold(slot, &name, &network.name, address);
            let Err(error) = held else {
                *image = Some(name);
                self.change(|table, now| table.made(slot, now));
                return Ok(());
            };
            self.change(|table, now| table.forget(slot, now));
            if network::is_address_taken(&error) {
                log::debug!("address {address} is taken: {error}");
            } else if network::is_network_missing(&error) && !network_was_made {
                network_was_made = true;
                self.home.remake()?;
            } else if error.is_not_found() && !image_was_made {
                image_was_made = true;
                name = holder::ensure_image(&self.engine)?;
            } else {
                return Err(error.into());
            }
        }
        Err(NotMade(format!("{ADDRESS_TRIES} addresses in turn were taken")))
    }

    /// Creates and starts a holder; nothing of it is left after a failure.
    fn hold(
        &self,
        slot: SlotId,
        image: &str,
        network: &str,
        address: Ipv4Addr,
    ) -> Result<(), EngineError> {
        let unique = crate::random::uuid().simple().to_string();
        // No function's container has a name like that: functions have no dot in theirs.
        let name = format!("{}slot.{}", self.container_prefix, &unique[..8]);
        let spec = holder::container(image, &self.owner, network, address);
        let started = self.engine.create_container(&name, &spec).and_then(|id| {
            let id: Arc<str> = Arc::from(id);
            self.change(|table, _| table.created(slot, id.clone()));
            self.engine.start_container(&id)
        });
        started.inspect_err(|_| {
            // By its name, for whether it was made may not be known.
            if let Err(error) = self.engine.remove_container(&name, true) {
                log::warn!("container {name} could not be removed: {error}");
            }
        })
    }
}

impl std::fmt::Debug for Slots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slots").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
