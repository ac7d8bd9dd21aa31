//! The service as a whole: the parts, wired; started and stopped in order.
//!
//! Starting: state, Engine, network, leftovers, base image, then the listener, so that the first
//! request finds everything ready. Stopping: no new connections and invocations, what runs gets its
//! grace, then the sandboxes go, then the connections.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::access::keys::Keys;
use crate::api::{Api, Parts, Settings};
use crate::asynchronous::{Queue, QueueError};
use crate::audit::{Audit, AuditError};
use crate::config::{Config, PullPolicy, TotalMemory};
use crate::dispatch::{Dispatcher, Limits};
use crate::docker::{self, Engine, EngineError, Ipv4Net};
use crate::function::error::FunctionError;
use crate::function::model::Architecture;
use crate::function::name::Place;
use crate::function::registry::Registry;
use crate::function::store::Store;
use crate::function::store_error::StoreError;
use crate::http::{self, Counters, Server};
use crate::listening;
use crate::logs::collect::Collector;
use crate::logs::{LogError, LogLimits, LogStore};
use crate::observe::host::Memory;
use crate::observe::metrics::Metrics;
use crate::package::s3::S3;
use crate::package::{Builder, Directories, Files, PackageError, Packages};
use crate::sandbox::adoption::Adoption;
use crate::sandbox::hot_reload::HotReload;
use crate::sandbox::launcher::{Common, Launcher, Threads};
use crate::sandbox::network::{Home, NetworkError, SandboxNetwork, Wanted};
use crate::sandbox::site::{NONE_OUT, Site, Sites};
use crate::sandbox::slots::Slots;
use crate::sandbox::{base_image, pressure, watcher};
use crate::schedule::Schedules;

/// How long the removal of all sandboxes may take at the end, and the making of a slot before.
const REMOVAL: Duration = Duration::from_secs(20);
/// How long the last lines of functions may take to be stored.
const LAST_LINES: Duration = Duration::from_secs(2);
/// How often the end looks whether it has come.
const LOOK: Duration = Duration::from_millis(10);

/// Why the service could not start: one line that names what to do.
#[derive(Debug)]
pub enum StartError {
    Store(StoreError),
    Registry(FunctionError),
    Engine(EngineError),
    Network(NetworkError),
    Packages(PackageError),
    Logs(LogError),
    Queue(QueueError),
    Schedules(StoreError),
    Audit(AuditError, PathBuf),
    /// The kernel watches no files for hot reload.
    HotReload(io::Error),
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    /// A socket that does not say where it listens.
    Socket(io::Error),
    /// The network's gateway is no address of this service.
    NotOnTheHostsNetwork(Ipv4Addr),
    Http(http::StartError),
    Thread(io::Error),
    /// The host does not say how much memory it has.
    Memory(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Store(error) => write!(f, "{error}"),
            StartError::Registry(error) => write!(f, "{error}"),
            StartError::Engine(error) => write!(f, "{error}"),
            StartError::Network(error) => write!(f, "{error}"),
            StartError::Packages(error) => {
                write!(f, "cannot use the stored packages: {error} {}", error.cause())
            }
            StartError::Logs(error) => write!(f, "cannot open the {error}"),
            StartError::Queue(error) => write!(f, "{error}"),
            StartError::Schedules(error) => write!(f, "{error}"),
            StartError::Audit(error, path) => {
                write!(f, "the audit log in {} {error}", path.display())
            }
            StartError::HotReload(error) => write!(
                f,
                "cannot watch files for hot reload: {error}; raise fs.inotify.max_user_instances, \
                 or leave development.hot_reload_paths empty"
            ),
            StartError::Http(error) => write!(f, "{error}"),
            StartError::Socket(error) => write!(f, "cannot use a listening socket: {error}"),
            StartError::NotOnTheHostsNetwork(gateway) => write!(
                f,
                "sandboxes could not reach this service: their network's gateway {gateway} is not \
                 an address of it; in a container, run it with --network host"
            ),
            StartError::Thread(error) => write!(f, "cannot start a thread: {error}"),
            StartError::Memory(error) => write!(
                f,
                "cannot read how much memory this host has: {error}; set \
                 execution.max_total_memory_mb"
            ),
            StartError::Listen { address, source } => {
                write!(f, "cannot listen on {address}: ")?;
                match source.kind() {
                    io::ErrorKind::AddrInUse => write!(
                        f,
                        "the port is in use; stop what uses it, or set server.port or \
                         LAMBDA_RUNTIME_API_PORT to another one"
                    ),
                    io::ErrorKind::AddrNotAvailable => write!(
                        f,
                        "this host does not have that address; set server.address or \
                         LAMBDA_RUNTIME_API_HOST to one that it has, or to 0.0.0.0"
                    ),
                    io::ErrorKind::PermissionDenied => write!(
                        f,
                        "no permission; ports below 1024 need CAP_NET_BIND_SERVICE, or set \
                         server.port to a higher one"
                    ),
                    _ => write!(f, "{source}"),
                }
            }
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Store(error) => Some(error),
            StartError::Registry(error) => Some(error),
            StartError::Engine(error) => Some(error),
            StartError::Network(error) => Some(error),
            StartError::Packages(error) => Some(error),
            StartError::Logs(error) => Some(error),
            StartError::Queue(error) => Some(error),
            StartError::Schedules(error) => Some(error),
            StartError::Http(error) => Some(error),
            StartError::Audit(error, _) => Some(error),
            StartError::Listen { source, .. }
            | StartError::Socket(source)
            | StartError::HotReload(source)
            | StartError::Thread(source)
            | StartError::Memory(source) => Some(source),
            StartError::NotOnTheHostsNetwork(_) => None,
        }
    }
}

/// The running service.
#[derive(Debug)]
pub struct Service {
    server: Server,
    dispatcher: Arc<Dispatcher>,
    queue: Arc<Queue>,
    schedules: Arc<Schedules>,
    launcher: Arc<Launcher>,
    slots: Arc<Slots>,
    collector: Collector,
    audit: Audit,
    shutdown_grace: Duration,
    keys: Arc<Keys>,
}

impl Service {
    /// `passed` are sockets that listen already; where there are any, none of the configuration's
    /// own is opened.
    pub fn start(config: &Config, passed: Vec<TcpListener>) -> Result<Service, StartError> {
        let begun = Instant::now();
        let keys = Arc::new(Keys::new(config.auth.clone()));
        // The port first: a second service on it fails before it touches anything.
        let bound = listening::first(config, passed)?;
        let audit = Audit::open(&config.audit).map_err(|error| {
            StartError::Audit(error, config.audit.path.clone().unwrap_or_default())
        })?;
        let store = Store::open(&config.storage.path).map_err(StartError::Store)?;
        let store = Arc::new(store);
        let registry =
            Registry::new(store.clone(), &config.aws.account_id).map_err(StartError::Registry)?;
        let registry = Arc::new(registry);
        let logs =
            LogStore::open(&config.storage.path, log_limits(config)).map_err(StartError::Logs)?;
        let queue = Queue::open(&config.storage.path, &config.asynchronous, &config.aws.account_id);
        let queue = Arc::new(queue.map_err(StartError::Queue)?);
        let schedules = Schedules::open(store, &config.schedules, &config.aws.account_id);
        let schedules = Arc::new(schedules.map_err(StartError::Schedules)?);
        let engine = connect(config)?;
        let cpus = engine.info().map_err(StartError::Engine)?.cpus;

        let wanted = wanted_network(config, registry.owner());
        let network = SandboxNetwork::ensure(&engine, &wanted).map_err(StartError::Network)?;
        let (mut listeners, runtime_api) = listening::complete(bound, network.gateway)?;
        log::info!("sandboxes reach the Runtime API at {runtime_api} on network {}", network.name);
        let none_out = without_a_way_out(config, &engine, &wanted, runtime_api, &mut listeners)?;
        let runtime_api = runtime_api.to_string();

        let metrics = Arc::new(Metrics::new());
        let limits = Limits {
            max_concurrent_executions: config.execution.max_concurrent_executions,
            max_total_memory_mb: total_memory_mb(config.execution.max_total_memory)?,
            max_parallel_starts: config.execution.max_parallel_starts,
            max_queue_wait: config.execution.max_queue_wait,
            init_timeout: config.execution.init_timeout,
            idle_timeout: config.execution.idle_timeout,
            freeze_after: config.execution.freeze_after,
        };
        let dispatcher = Dispatcher::new(limits, metrics.clone()).map_err(StartError::Thread)?;
        for promise in registry.promises().map_err(StartError::Registry)? {
            dispatcher.set_reserved(&promise.function, promise.reserved);
        }
        let common = Common {
            owner: registry.owner().to_owned(),
            container_prefix: config.docker.container_prefix.clone(),
            max_cpus: config.execution.max_cpu_shares.min(f64::from(cpus)),
            credentials: config.aws.function_credentials.clone(),
        };
        let files = Files::open(&config.storage.path).map_err(StartError::Packages)?;
        let builder = Arc::new(Builder::new(
            engine.clone(),
            files.clone(),
            registry.owner(),
            config.runtimes.clone(),
        ));
        builder.remove_leftovers().map_err(StartError::Packages)?;
        let home = Arc::new(Home::new(engine.clone(), wanted, network));
        let usual = Site { home: home.clone(), runtime_api: runtime_api.clone(), none_out: false };
        let sites = Sites::new(usual, none_out);
        let slots = Slots::new(
            engine.clone(),
            dispatcher.clone(),
            home,
            registry.owner(),
            &config.docker.container_prefix,
            config.docker.network_slots,
        );
        let directories = Directories::new(config.development.hot_reload_paths.clone());
        let hot_reload = HotReload::start(directories.clone(), dispatcher.clone())
            .map_err(StartError::HotReload)?;
        let counters = Arc::new(Counters::default());
        let pool = http::blocking::Pool::start(
            "blocking",
            config.server.blocking_threads,
            config.server.max_waiting_calls,
            &counters,
        );
        let pool = Arc::new(pool.map_err(StartError::Thread)?);
        let collector = Collector::start(engine.clone(), Arc::new(logs.clone()), pool.clone())
            .map_err(StartError::Thread)?;
        dispatcher.set_journal(Arc::new(collector.clone()));
        audit.watch(&dispatcher);
        let launcher = Launcher::start(
            engine.clone(),
            dispatcher.clone(),
            (builder.clone(), hot_reload, collector.clone()),
            (common, keys.clone()),
            sites.clone(),
            slots.clone(),
            Threads {
                parallel_starts: config.execution.max_parallel_starts,
                freezer: config.execution.freeze_after.is_some(),
            },
        )
        .map_err(StartError::Thread)?;
        dispatcher.set_host(launcher.clone());
        let left = launcher.remove_leftovers().map_err(StartError::Engine)?;
        if left > 0 {
            log::warn!("removed {left} containers that an earlier run has left");
        }
        make_base_image(&engine, &config.docker.base_image);
        let health = watcher::start(engine.clone(), dispatcher.clone(), slots.clone())
            .map_err(StartError::Thread)?;
        pressure::start(dispatcher.clone(), config.execution.min_available_memory_mb)
            .map_err(StartError::Thread)?;
        let may_pull = config.docker.pull_policy == PullPolicy::Missing;
        let packages =
            Packages::start(engine.clone(), builder, may_pull).map_err(StartError::Thread)?;
        packages.resume(&registry);
        packages.collect(&registry);

        let place = Place { region: &config.aws.region, account_id: &config.aws.account_id };
        let adoption = Adoption::start(
            engine.clone(),
            dispatcher.clone(),
            collector.clone(),
            place,
            registry.owner(),
        )
        .map_err(StartError::Thread)?;
        let api = Api::new(Parts {
            settings: settings(config, runtime_api, sites),
            registry,
            packages,
            files,
            logs,
            directories,
            keys: keys.clone(),
            s3: S3::new(&config.aws),
            dispatcher: dispatcher.clone(),
            queue: queue.clone(),
            schedules: schedules.clone(),
            engine,
            adoption,
            health,
            slots: slots.clone(),
            metrics,
            counters: counters.clone(),
            pool,
            collector: collector.clone(),
            audit: audit.clone(),
        });
        let server = Server::start(listeners, http_limits(config), counters, api.clone())
            .map_err(StartError::Http)?;
        api.keep_promises();
        // What waits from an earlier run finds everything ready, as requests do.
        queue.start(dispatcher.clone(), api).map_err(StartError::Queue)?;
        schedules.start(queue.clone()).map_err(StartError::Thread)?;
        // From here on and no sooner: what an earlier run has left is removed, and nobody waits.
        let connections = server.connections();
        slots
            .run(Box::new(move |address| connections.from(address) == 0))
            .map_err(StartError::Thread)?;
        let service = Service {
            server,
            dispatcher,
            queue,
            schedules,
            launcher,
            slots,
            collector,
            audit,
            shutdown_grace: config.execution.shutdown_grace,
            keys,
        };
        log::info!("serving on {} after {} ms", service.addresses(), begun.elapsed().as_millis());
        Ok(service)
    }

    /// Where it listens, for people.
    pub fn addresses(&self) -> String {
        let addresses = self.server.addresses().iter().map(ToString::to_string);
        addresses.collect::<Vec<_>>().join(" and ")
    }

    /// What says, each time it is asked, what has hung since it was asked before.
    pub fn pulse(&self) -> impl FnMut() -> Result<(), String> + Send + use<> {
        let (workers, dispatcher) = (self.server.pulse(), self.dispatcher.clone());
        move || {
            let mut silent = workers.silent();
            if !dispatcher.beat() {
                silent.push("timekeeper (or who holds the lock of dispatch)".into());
            }
            match silent.is_empty() {
                true => Ok(()),
                false => Err(format!("no answer from {}", silent.join(", "))),
            }
        }
    }

    /// The keys and roles of the configuration, for who reads them again.
    pub fn keys(&self) -> Arc<Keys> {
        self.keys.clone()
    }

    pub fn audit(&self) -> Audit {
        self.audit.clone()
    }

    /// Stops in order. `hurry` says, whenever asked, whether to wait no longer for invocations.
    pub fn stop(&self, hurry: impl Fn() -> bool) {
        self.server.stop_listening();
        self.schedules.stop();
        self.queue.stop_delivering();
        self.dispatcher.drain();
        self.slots.close(Duration::ZERO); // no more of them are made; what is ready is still used
        let active = self.dispatcher.active();
        if active > 0 {
            let grace = self.shutdown_grace.as_millis();
            log::info!("{active} invocations under way have {grace} ms to end");
        }
        let until = Instant::now() + self.shutdown_grace;
        while self.dispatcher.active() > 0 && Instant::now() < until && !hurry() {
            thread::sleep(LOOK);
        }
        self.dispatcher.end_all();
        let until = Instant::now() + REMOVAL;
        while self.dispatcher.has_containers() && Instant::now() < until {
            thread::sleep(LOOK);
        }
        self.slots.close(REMOVAL);
        // The slots, and what was being created when the end came.
        if let Err(error) = self.launcher.remove_leftovers() {
            log::error!("containers may be left until the next start: {error}");
        }
        // It hears the last outcomes, and answers who still waits for a 202.
        self.queue.stop();
        if !self.collector.finish(LAST_LINES) {
            log::warn!("the last lines of some functions may not be kept");
        }
        self.server.stop();
        if !self.audit.stop() {
            log::error!("the last lines of the audit log could not be written");
        }
    }
}

fn total_memory_mb(configured: TotalMemory) -> Result<u64, StartError> {
    match configured {
        TotalMemory::Mb(mb) => Ok(mb),
        TotalMemory::Percent(percent) => {
            let host = Memory::read().map_err(StartError::Memory)?;
            Ok(host.total_mb * percent / 100)
        }
    }
}

fn connect(config: &Config) -> Result<Engine, StartError> {
    let settings = docker::Settings {
        socket: config.docker.socket.clone(),
        call_timeout: config.docker.call_timeout,
        // One for each thread that calls: starts, removals, pulls, slots, the blocking pool.
        max_idle_connections: config.execution.max_parallel_starts
            + config.server.blocking_threads
            + 9,
    };
    let engine = Engine::connect(&settings).map_err(StartError::Engine)?;
    let version = engine.version().map_err(StartError::Engine)?;
    log::info!("Docker Engine {} at {}", version.version, config.docker.socket.display());
    Ok(engine)
}

fn wanted_network(config: &Config, owner: &str) -> Wanted {
    Wanted {
        name: config.docker.network_name.clone(),
        subnet: config.docker.subnet.and_then(|s| Ipv4Net::new(s.network(), s.prefix())),
        internal: false,
        owner: owner.to_owned(),
    }
}

/// The network of the functions that are to reach nothing but the Runtime API, if there are any.
fn without_a_way_out(
    config: &Config,
    engine: &Engine,
    usual: &Wanted,
    runtime_api: SocketAddr,
    listeners: &mut Vec<TcpListener>,
) -> Result<Option<(Vec<String>, Site)>, StartError> {
    let patterns = config.docker.none_out_functions.clone();
    if patterns.is_empty() {
        return Ok(None);
    }
    let name = format!("{}{NONE_OUT}", usual.name);
    let wanted = Wanted { name, subnet: None, internal: true, owner: usual.owner.clone() };
    let network = SandboxNetwork::ensure(engine, &wanted).map_err(StartError::Network)?;
    let runtime_api = listening::at(listeners, network.gateway, runtime_api.port())?.to_string();
    log::info!("functions without a way out reach it at {runtime_api} on {}", network.name);
    let home = Arc::new(Home::new(engine.clone(), wanted, network));
    Ok(Some((patterns, Site { home, runtime_api, none_out: true })))
}

/// A missing base image keeps nobody from using other images, so it does not stop the start.
fn make_base_image(engine: &Engine, name: &str) {
    if name.is_empty() {
        return;
    }
    match base_image::ensure(engine, name) {
        Ok(true) => log::info!("made base image {name}"),
        Ok(false) => {}
        Err(error) => log::error!("base image {name} could not be made: {error}"),
    }
}

fn settings(config: &Config, runtime_api: String, sites: Arc<Sites>) -> Settings {
    Settings {
        region: config.aws.region.clone(),
        account_id: config.aws.account_id.clone(),
        max_memory_mb: u32::try_from(config.execution.max_memory_mb).unwrap_or(u32::MAX),
        architecture: if cfg!(target_arch = "aarch64") {
            Architecture::Arm64
        } else {
            Architecture::X86_64
        },
        runtimes: config.runtimes.clone(),
        base_image: config.docker.base_image.clone(),
        runtime_api,
        sites,
        max_sandbox_head_bytes: config.http.max_sandbox_head_bytes,
    }
}

fn log_limits(config: &Config) -> LogLimits {
    LogLimits {
        max_bytes_per_group: config.logs.max_bytes_per_group,
        max_total_bytes: config.logs.max_total_bytes,
        retention_days: config.logs.retention_days,
    }
}

fn http_limits(config: &Config) -> http::Limits {
    let http = &config.http;
    http::Limits {
        workers: config.server.workers,
        max_connections: http.max_connections,
        max_connections_per_address: http.max_connections_per_address,
        max_head_bytes: http.max_head_bytes,
        max_header_count: http.max_header_count,
        max_uri_bytes: http.max_uri_bytes,
        max_buffered_bytes: http.max_buffered_bytes,
        head_timeout: http.head_timeout,
        body_timeout: http.body_timeout,
        write_timeout: http.write_timeout,
        keep_alive_timeout: http.keep_alive_timeout,
    }
}
