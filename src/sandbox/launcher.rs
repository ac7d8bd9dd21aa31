//! Makes and removes containers at dispatch's orders, on a fixed number of threads.
//!
//! Starts and removals have threads of their own, so that a burst of one cannot hold up the other.
//! Each start ends in a poll of its runtime, or in `start_failed` or an init failure: an
//! invocation that waits for it is never forgotten.

use std::collections::HashMap;
use std::iter;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender};
use uuid::Uuid;

use super::frost::Ask;
use super::hot_reload::HotReload;
use super::network::{NetworkError, is_address_taken, is_network_missing};
use super::removal::Removal;
use super::site::{Site, Sites};
use super::slot_table::{Left, Place};
use super::slots::Slots;
use super::spec;
pub use super::spec::Common;
use super::state::EndReason;
use crate::access::keys::Keys;
use crate::dispatch::{Dispatcher, FrostOrder, Host, Refusal, StartOrder, StopOrder};
use crate::docker::{Engine, EngineError, Image, NetworkMode};
use crate::function::model::{Code, Function};
use crate::logs::collect::Collector;
use crate::package::{Builder, DirectoryError};

/// How often a start is tried with another address when the Engine says that one is taken.
const ADDRESS_TRIES: usize = 8;
/// Threads that remove containers.
const REMOVERS: usize = 4;
/// Threads that thaw containers.
const THAWERS: usize = 4;
/// What a sandbox has between SIGTERM and SIGKILL when it is not ended for a failure.
const STOP_GRACE_S: u32 = 1;
/// Images that are remembered; a description is small, and this many functions are rare.
const KNOWN_IMAGES: usize = 1024;

/// See the module's text.
#[derive(Debug)]
pub struct Launcher {
    engine: Engine,
    removal: Removal,
    dispatcher: Arc<Dispatcher>,
    builder: Arc<Builder>,
    hot_reload: Arc<HotReload>,
    collector: Collector,
    common: Common,
    keys: Arc<Keys>,
    sites: Arc<Sites>,
    slots: Arc<Slots>,
    images: Mutex<HashMap<String, Arc<Image>>>,
    /// Unbounded by itself: each sandbox has at most one order in each, and sandboxes are bounded.
    starts: Sender<()>,
    stops: Sender<StopOrder>,
    freezes: Sender<FrostOrder>,
    thaws: Sender<FrostOrder>,
}

/// What the launcher starts beside the removers.
#[derive(Debug, Clone, Copy)]
pub struct Threads {
    pub parallel_starts: usize,
    /// Whether there is anything to freeze.
    pub freezer: bool,
}

/// Why a sandbox could not be started; the text is for the log.
enum StartError {
    /// Dispatch does not want it any more.
    Unwanted,
    /// The function's directory cannot be mounted: its deployer's affair, and not the Engine's.
    NoCode(String),
    Failed(String),
    /// The Engine does not answer.
    Unreachable(String),
}

impl From<EngineError> for StartError {
    fn from(error: EngineError) -> Self {
        if error.is_unreachable() {
            return StartError::Unreachable(error.to_string());
        }
        StartError::Failed(error.to_string())
    }
}

impl From<DirectoryError> for StartError {
    fn from(error: DirectoryError) -> Self {
        StartError::NoCode(error.to_string())
    }
}

impl From<NetworkError> for StartError {
    fn from(error: NetworkError) -> Self {
        StartError::Failed(error.to_string())
    }
}

impl Launcher {
    /// Starts the threads, which end with the program. Code comes from the two beside each other.
    pub fn start(
        engine: Engine,
        dispatcher: Arc<Dispatcher>,
        (builder, hot_reload, collector): (Arc<Builder>, Arc<HotReload>, Collector),
        (common, keys): (Common, Arc<Keys>),
        sites: Arc<Sites>,
        slots: Arc<Slots>,
        threads: Threads,
    ) -> std::io::Result<Arc<Launcher>> {
        let (starts, to_start) = crossbeam_channel::unbounded();
        let (stops, to_stop) = crossbeam_channel::unbounded();
        let (freezes, to_freeze) = crossbeam_channel::unbounded();
        let (thaws, to_thaw) = crossbeam_channel::unbounded();
        let launcher = Arc::new(Launcher {
            removal: Removal::start(engine.clone())?,
            engine,
            dispatcher,
            builder,
            hot_reload,
            collector,
            common,
            keys,
            sites,
            slots,
            images: Mutex::new(HashMap::new()),
            starts,
            stops,
            freezes,
            thaws,
        });
        for index in 0..threads.parallel_starts.max(1) {
            let (launcher, orders) = (launcher.clone(), to_start.clone());
            let name = format!("starter-{index}");
            thread::Builder::new().name(name).spawn(move || launcher.start_all(&orders))?;
        }
        for index in 0..REMOVERS {
            let (launcher, orders) = (launcher.clone(), to_stop.clone());
            let name = format!("remover-{index}");
            thread::Builder::new().name(name).spawn(move || launcher.stop_all(&orders))?;
        }
        if threads.freezer {
            // Somebody waits for a thaw, so none waits behind a freeze.
            let thawers = (0..THAWERS).map(|index| (format!("thawer-{index}"), to_thaw.clone()));
            for (name, orders) in iter::once(("freezer".into(), to_freeze)).chain(thawers) {
                let launcher = launcher.clone();
                thread::Builder::new().name(name).spawn(move || launcher.frost_all(&orders))?;
            }
        }
        Ok(launcher)
    }

    fn start_all(&self, orders: &Receiver<()>) {
        for () in orders {
            // Which one is decided now, not when it was asked for; and what could not be started
            // because too many were under way is found by whoever has ended one.
            while let Some(order) = self.dispatcher.next_start() {
                self.start_one(&order);
            }
        }
    }

    fn start_one(&self, order: &StartOrder) {
        let StartOrder { sandbox, target, .. } = order;
        let begun = Instant::now();
        let launched = self.launch(order);
        if launched.is_err() {
            self.keys.revoke(*sandbox);
        }
        match launched {
            Ok(()) => {
                let took = begun.elapsed().as_millis();
                log::info!("started sandbox {sandbox} of {} in {took} ms", target.key);
            }
            Err(StartError::Unwanted) => self.dispatcher.removed(*sandbox),
            Err(StartError::NoCode(why)) => {
                log::warn!("sandbox {sandbox} of {} could not be started: {why}", target.key);
                self.dispatcher.start_failed(*sandbox, Refusal::NoCode(why));
            }
            Err(StartError::Failed(why) | StartError::Unreachable(why)) => {
                log::error!("sandbox {sandbox} of {} could not be started: {why}", target.key);
                self.dispatcher.start_failed(*sandbox, Refusal::NoSandbox(why));
            }
        }
    }

    /// Starts the container in a ready network if there is one, else with a network of its own.
    fn launch(&self, order: &StartOrder) -> Result<(), StartError> {
        let (sandbox, target) = (order.sandbox, &order.target);
        let function = target.function.as_ref().ok_or_else(no_image)?;
        let image = self.image(function)?;
        let _under_way = self.slots.start_begins();
        let site = self.sites.of(&target.name);
        let place = (!site.none_out).then(|| self.slots.take(sandbox, &target.arn)).flatten();
        let Some(place) = place else {
            return self.launch_alone(site, order, function, &image);
        };
        match self.launch_in(&place, order, function, &image) {
            Err(StartError::Failed(why)) => {
                // It is the slot's fault if it goes without.
                let alone = self.launch_alone(site, order, function, &image);
                match &alone {
                    Ok(()) => self.slots.refused(sandbox, &why),
                    Err(_) => self.slots.leave(sandbox, Left::Unused),
                }
                alone
            }
            Err(error @ (StartError::Unwanted | StartError::NoCode(_))) => {
                self.slots.leave(sandbox, Left::Unused);
                Err(error)
            }
            Err(StartError::Unreachable(why)) => {
                self.slots.leave(sandbox, Left::Spoiled);
                Err(StartError::Unreachable(why))
            }
            Ok(()) => Ok(()),
        }
    }

    fn launch_in(
        &self,
        place: &Place,
        order: &StartOrder,
        function: &Function,
        image: &Image,
    ) -> Result<(), StartError> {
        let network = NetworkMode::Container(place.holder.to_string());
        let id = self.create(order, function, image, network, place.address)?;
        if !self.slots.joined(order.sandbox, &id) {
            self.removal.later(&id);
            return Err(StartError::Failed("the network slot is lost".to_owned()));
        }
        if let Err(error) = self.engine.start_container(&id) {
            // It may run all the same, at the address that the slot's next sandbox would have.
            if error.is_unreachable() || !self.removal.now(&id) {
                self.removal.later(&id);
                return Err(StartError::Unreachable(error.to_string()));
            }
            return Err(error.into());
        }
        self.slots.works();
        // False when it was ended meanwhile; its removal is ordered already.
        self.dispatcher.started(order.sandbox);
        Ok(())
    }

    fn launch_alone(
        &self,
        site: &Site,
        order: &StartOrder,
        function: &Function,
        image: &Image,
    ) -> Result<(), StartError> {
        let mut network_was_made = false;
        for _ in 0..ADDRESS_TRIES {
            let network = site.home.current();
            let address = self.slots.free_address(&network).ok_or_else(|| {
                StartError::Failed(format!("no address is free on network {}", network.name))
            })?;
            let mode = NetworkMode::Named { name: network.name.clone(), address: Some(address) };
            let id = self.create(order, function, image, mode, address)?;
            match self.engine.start_container(&id) {
                Ok(()) => {
                    // False when it was ended meanwhile; its removal is ordered already.
                    self.dispatcher.started(order.sandbox);
                    return Ok(());
                }
                Err(error) => {
                    self.removal.later(&id);
                    if is_address_taken(&error) {
                        log::debug!("address {address} is taken: {error}");
                    } else if is_network_missing(&error) && !network_was_made {
                        network_was_made = true;
                        site.home.remake()?;
                    } else {
                        return Err(error.into());
                    }
                }
            }
        }
        Err(StartError::Failed(format!(
            "{ADDRESS_TRIES} addresses in turn were taken on network {}",
            site.home.current().name
        )))
    }

    /// Creates the container and tells dispatch of it before it can say anything itself.
    fn create(
        &self,
        order: &StartOrder,
        function: &Function,
        image: &Image,
        network: NetworkMode,
        address: Ipv4Addr,
    ) -> Result<Arc<str>, StartError> {
        let StartOrder { sandbox, ref target, .. } = *order;
        let unique = Uuid::new_v4().simple().to_string();
        let name = format!("{}{}-{}", self.common.container_prefix, target.name, &unique[..8]);
        let now = SystemTime::now();
        let (common, site) = (&self.common, self.sites.of(&target.name));
        let api = &site.runtime_api;
        let mut spec = spec::container(common, api, order, function, image, network, now);
        if site.none_out {
            spec::resolve_nothing(&mut spec);
        }
        let address_of = IpAddr::V4(address);
        if let Some(key) = self.keys.issue(sandbox, address_of, &function.role, &target.name) {
            spec::give_key(&mut spec, &key, api);
        }
        if let Code::Directory { path } = &function.code {
            spec::mount_code(&mut spec, self.hot_reload.source(path, &target.key)?);
        }
        let id = self.engine.create_container(&name, &spec).inspect_err(|error| {
            if error.is_not_found() {
                self.forget_image(&spec.image);
            }
            // Whether it was made is not known; by its name it can be removed all the same.
            self.removal.later(&name);
        })?;
        let (id, name): (Arc<str>, _) = (Arc::from(id), Arc::from(name));
        if !self.dispatcher.created(sandbox, id.clone(), name, Some(IpAddr::V4(address))) {
            self.removal.later(&id);
            return Err(StartError::Unwanted);
        }
        self.collector.follow(order, &id, spec::log_stream(&spec));
        Ok(id)
    }

    /// The image that the function had when it was made ready.
    fn image(&self, function: &Function) -> Result<Arc<Image>, StartError> {
        let uri = function.image_reference().ok_or_else(no_image)?;
        let known = || self.images.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = known().get(&uri) {
            return Ok(image.clone());
        }
        let image = match (self.engine.image(&uri)?, &function.code) {
            (Some(image), _) => image,
            // The Engine has lost it; what it is made of is still there.
            (None, Code::Zip { .. } | Code::Directory { .. }) => self
                .builder
                .ensure(function, &|far| log::info!("function {}: {far}", function.name))
                .map_err(|error| StartError::Failed(format!("{error} {}", error.cause())))?,
            (None, Code::Image { .. }) => {
                return Err(StartError::Failed(format!(
                    "image {uri} is not on the Engine any more"
                )));
            }
        };
        let image = Arc::new(image);
        let mut images = known();
        if images.len() >= KNOWN_IMAGES {
            images.clear();
        }
        images.insert(uri, image.clone());
        Ok(image)
    }

    /// What was remembered of an image is not true any more.
    fn forget_image(&self, id: &str) {
        self.images.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn stop_all(&self, orders: &Receiver<StopOrder>) {
        for StopOrder { sandbox, container, reason } in orders {
            log::info!("removing sandbox {sandbox}: {reason}");
            self.keys.revoke(sandbox);
            if is_peaceful(reason)
                && let Err(error) = self.engine.stop_container(&container, STOP_GRACE_S)
                && !error.is_not_found()
            {
                log::warn!("sandbox {sandbox} could not be stopped, it is killed: {error}");
            }
            let left = if self.removal.now(&container) { Left::Gone } else { Left::Spoiled };
            self.dispatcher.removed(sandbox);
            self.slots.leave(sandbox, left);
        }
    }

    /// Pauses or unpauses. Dispatch asks for one at a time of each container: the Engine mistakes
    /// quick pairs.
    fn frost_all(&self, orders: &Receiver<FrostOrder>) {
        for FrostOrder { sandbox, container, ask } in orders {
            let done = match ask {
                Ask::Freeze => self.engine.pause_container(&container),
                Ask::Thaw => self.engine.unpause_container(&container),
            };
            // One that has ended meanwhile is no news.
            if let Err(error) = &done
                && !error.is_not_found()
                && !error.is_conflict()
            {
                log::warn!("sandbox {sandbox}: {ask:?} failed: {error}");
            }
            self.dispatcher.frost_done(sandbox, ask, done.is_ok());
        }
    }

    /// Removes every container that an earlier run of this service has left; how many.
    pub fn remove_leftovers(&self) -> Result<usize, EngineError> {
        let label = format!("{}={}", super::OWNER_LABEL, self.common.owner);
        let left = self.engine.containers(&[&label], true)?;
        let count = left.len();
        let ids = Mutex::new(left.into_iter());
        thread::scope(|scope| {
            for _ in 0..REMOVERS {
                scope.spawn(|| {
                    loop {
                        let next = ids.lock().unwrap_or_else(PoisonError::into_inner).next();
                        match next {
                            Some(container) => drop(self.removal.now(&container.id)),
                            None => return,
                        }
                    }
                });
            }
        });
        Ok(count)
    }
}

impl Host for Launcher {
    fn start(&self) {
        // The receivers live as long as the launcher itself.
        let _ = self.starts.send(());
    }

    fn stop(&self, order: StopOrder) {
        let _ = self.stops.send(order);
    }

    fn frost(&self, order: FrostOrder) {
        let orders = match order.ask {
            Ask::Freeze => &self.freezes,
            Ask::Thaw => &self.thaws,
        };
        let _ = orders.send(order);
    }
}

fn no_image() -> StartError {
    StartError::Failed("the function's code is no image".to_owned())
}

/// Whether a sandbox that ends for this reason gets SIGTERM first.
fn is_peaceful(reason: EndReason) -> bool {
    match reason {
        EndReason::Idle | EndReason::FunctionChanged | EndReason::Evicted | EndReason::Shutdown => {
            true
        }
        EndReason::InitFailed
        | EndReason::TimedOut
        | EndReason::Exited
        | EndReason::OutOfMemory
        | EndReason::ProtocolViolation
        | EndReason::EngineFailed => false,
    }
}
