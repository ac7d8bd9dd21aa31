//! One file per AWS surface: turns HTTP into calls, and outcomes and errors into AWS's shapes.
//!
//! [`route`] says which operation a request is, `access` whether its caller may ask for it;
//! [`runtime`] and [`invoke`] are the two halves of an invocation, `control` the control API,
//! `observe` the operator's view. Handlers that cannot block run on the worker that read the
//! request; the others go to the blocking pool with their responder.

mod aliases;
mod answer;
mod audited;
mod authorize;
mod code_from_s3;
mod configuration;
mod control;
mod create_function;
pub mod error;
pub mod error_body;
mod events;
mod function_errors;
mod function_rules;
pub mod functions;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod invoke;
mod json_text;
mod logs;
mod metrics;
mod new_code;
mod observe;
mod paging;
mod permissions;
mod query;
mod queue;
mod route;
mod rules;
mod runtime;
mod scheduler;
mod shapes;
mod tag_rules;
mod targets;
mod update_function;

use std::any::Any;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Instant, SystemTime};

use self::error::AwsError;
use self::functions::Context;
use self::route::{Route, Routed};
use self::targets::Targets;
use crate::access::keys::Keys;
use crate::access::{Peer, Surface, signature};
use crate::asynchronous::{EVENT_BYTES, Queue};
use crate::audit::Audit;
use crate::config::Runtimes;
use crate::dispatch::Dispatcher;
use crate::docker::Engine;
use crate::function::model::Architecture;
use crate::function::name::Place;
use crate::function::registry::Registry;
use crate::http::blocking::Pool;
use crate::http::{Admission, Counters, Handler, Head, Request, Responder, Response, WatchId};
use crate::logs::LogStore;
use crate::logs::collect::Collector;
use crate::observe::metrics::Metrics;
use crate::observe::time;
use crate::package::s3::S3;
use crate::package::{Directories, Files, Packages};
use crate::sandbox::adoption::Adoption;
use crate::sandbox::site::{Site, Sites};
use crate::sandbox::slots::Slots;
use crate::sandbox::watcher::EngineHealth;
use crate::schedule::Schedules;

/// The largest body of an init error of a container that is not known yet.
const UNKNOWN_INIT_ERROR_BYTES: usize = 256 << 10;

/// What the surfaces know of the service.
#[derive(Debug, Clone)]
pub struct Settings {
    pub region: String,
    pub account_id: String,
    pub max_memory_mb: u32,
    pub architecture: Architecture,
    pub runtimes: Runtimes,
    /// The name of the image that the service makes itself; empty where it makes none.
    pub base_image: String,
    /// Where sandboxes reach the Runtime API.
    pub runtime_api: String,
    pub sites: Arc<Sites>,
    pub max_sandbox_head_bytes: usize,
}

impl Settings {
    /// What keeps a runtime from asking for its event, for who has to find out.
    fn unreachable(&self, function: &str) -> String {
        let Site { home, runtime_api, .. } = self.sites.of(function);
        format!(
            "The function's runtime did not ask for an event at {} on network {}: either it is \
             slow to initialize, or a host firewall keeps containers from that address and port.",
            runtime_api,
            home.current().name
        )
    }
}

/// The parts of the service that the surfaces call.
pub struct Parts {
    pub settings: Settings,
    pub registry: Arc<Registry>,
    pub packages: Packages,
    pub files: Files,
    pub logs: LogStore,
    pub directories: Directories,
    pub keys: Arc<Keys>,
    pub s3: S3,
    pub dispatcher: Arc<Dispatcher>,
    pub queue: Arc<Queue>,
    pub schedules: Arc<Schedules>,
    pub engine: Engine,
    pub adoption: Adoption,
    pub health: EngineHealth,
    pub slots: Arc<Slots>,
    pub metrics: Arc<Metrics>,
    pub counters: Arc<Counters>,
    pub pool: Arc<Pool>,
    pub collector: Collector,
    pub audit: Audit,
}

/// The handler of every request.
pub struct Api {
    settings: Settings,
    registry: Arc<Registry>,
    packages: Packages,
    files: Files,
    logs: LogStore,
    directories: Directories,
    keys: Arc<Keys>,
    s3: S3,
    dispatcher: Arc<Dispatcher>,
    queue: Arc<Queue>,
    schedules: Arc<Schedules>,
    engine: Engine,
    adoption: Adoption,
    health: EngineHealth,
    slots: Arc<Slots>,
    metrics: Arc<Metrics>,
    counters: Arc<Counters>,
    pool: Arc<Pool>,
    collector: Collector,
    audit: Audit,
    targets: Targets,
    started: Instant,
    stats: observe::StatsCache,
    /// Itself, for work that outlives a call.
    this: OnceLock<Weak<Api>>,
}

impl Api {
    /// Has the sandboxes started that provisioned concurrency promises.
    pub fn keep_promises(&self) {
        if let Err(error) = control::keep_promises(self) {
            log::error!("provisioned concurrency is not kept ready: {error:?}");
        }
    }

    pub fn new(parts: Parts) -> Arc<Api> {
        let api = Arc::new(Api {
            settings: parts.settings,
            registry: parts.registry,
            packages: parts.packages,
            files: parts.files,
            logs: parts.logs,
            directories: parts.directories,
            keys: parts.keys,
            s3: parts.s3,
            dispatcher: parts.dispatcher,
            queue: parts.queue,
            schedules: parts.schedules,
            engine: parts.engine,
            adoption: parts.adoption,
            health: parts.health,
            slots: parts.slots,
            metrics: parts.metrics,
            counters: parts.counters,
            pool: parts.pool,
            collector: parts.collector,
            audit: parts.audit,
            targets: Targets::default(),
            started: Instant::now(),
            stats: observe::StatsCache::default(),
            this: OnceLock::new(),
        });
        // Set once, here.
        let _ = api.this.set(Arc::downgrade(&api));
        api
    }

    /// Runs `work` on the blocking pool, or says 503 when too much waits there.
    fn block(
        &self,
        surface: Surface,
        responder: Responder,
        work: impl FnOnce(Responder) + Send + 'static,
    ) {
        let (slot, taken) = Slot::pair(responder);
        let job = Box::new(move || {
            if let Some(responder) = taken.take() {
                work(responder);
            }
        });
        if self.pool.offer(job).is_err()
            && let Some(responder) = slot.take()
        {
            let message = "The service has as many calls waiting as it may; try again.";
            let error_type = match surface {
                Surface::Logs => "ServiceUnavailableException",
                Surface::Scheduler => "InternalServerException",
                _ => "ServiceException",
            };
            let mut busy = AwsError::new(503, error_type, message);
            busy.retry_after_s = Some(1);
            responder.send(answer::error(surface, &busy));
        }
    }

    /// The region of a request: that of its signature's scope, else the configured one.
    fn region<'a>(&'a self, head: &Head<'a>) -> &'a str {
        signature::region(head).unwrap_or(&self.settings.region)
    }

    fn context<'a>(&'a self, region: &'a str) -> Context<'a> {
        Context {
            place: Place { region, account_id: &self.settings.account_id },
            architecture: self.settings.architecture,
            max_memory_mb: self.settings.max_memory_mb,
            now: SystemTime::now(),
            host: None,
            format_time: time::last_modified,
        }
    }

    fn admit_route(&self, route: Route<'_>, head: &Head<'_>) -> Admission {
        let peer = head.peer.ip();
        if let Err(denied) = self.check_access(head, route.surface()) {
            return Admission::Refuse(denied);
        }
        if let Some(refusal) = self.unaccountable(route.surface()) {
            return Admission::Refuse(refusal);
        }
        let max_body_bytes = match route {
            Route::Next | Route::Package(_) | Route::Queue(_) => 0,
            Route::Health | Route::Status | Route::Metrics => 0,
            Route::InitError if self.is_unknown(peer) => UNKNOWN_INIT_ERROR_BYTES,
            Route::InitError => match self.may_fail_init(peer) {
                Ok(()) => runtime::RESPONSE_BYTES,
                Err(refusal) => return Admission::Refuse(refusal),
            },
            // What is no answer to an invocation of its own is not read.
            Route::Response(id) | Route::Error(id) => match self.may_answer(head, id) {
                Ok(()) => runtime::RESPONSE_BYTES,
                Err(refusal) => return Admission::Refuse(refusal),
            },
            Route::InvokeAsync(_) => EVENT_BYTES,
            Route::Invoke(_) if events::is_event(head) => EVENT_BYTES,
            Route::Invoke(_) => invoke::REQUEST_BYTES,
            Route::Control(operation) => operation.max_body_bytes,
            Route::Logs => logs::REQUEST_BYTES,
            Route::Scheduler(_) => scheduler::REQUEST_BYTES,
            Route::NewPackage(_) => control::PACKAGE_BYTES,
        };
        Admission::Accept { max_body_bytes }
    }

    /// Carries out a request whose caller may ask for it.
    fn route(self: &Arc<Self>, request: Request<'_>, responder: Responder) {
        let head = request.head;
        let Some(route) = Route::found(&head) else { return };
        match route {
            Route::Next => self.next(&head, responder),
            Route::Response(id) => self.response(id, request, responder),
            Route::Error(id) => self.invocation_error(id, request, responder),
            Route::InitError => self.init_error(request, responder),
            Route::Invoke(name) => self.invoke(name, request, responder),
            Route::InvokeAsync(name) => self.invoke_async(name, request, responder),
            Route::Queue(call) => self.queue_call(call, &head, responder),
            Route::Control(operation) => self.control(operation, request, responder),
            Route::Logs => self.logs(request, responder),
            Route::Scheduler(operation) => self.scheduler(operation, request, responder),
            Route::Package(digest) => {
                let ticket = self.ticket(&head, "packages", "Get");
                self.package(digest, ticket, responder);
            }
            Route::NewPackage(digest) => {
                let ticket = self.ticket(&head, "packages", "Put");
                self.new_package(digest, request.body, ticket, responder);
            }
            Route::Health => self.health(responder),
            Route::Status => self.status(responder),
            Route::Metrics => self.metrics(responder),
        }
    }

    fn admit_any(&self, head: &Head<'_>) -> Admission {
        match Route::of(head.method, head.path) {
            Routed::Found(route) => self.admit_route(route, head),
            // Who may not call a surface is not told what is there.
            Routed::WrongMethod(surface, allowed) => Admission::Refuse(
                self.check_access(head, surface)
                    .err()
                    .unwrap_or_else(|| answer::method_not_allowed(surface, &allowed)),
            ),
            Routed::NotFound(surface) => Admission::Refuse(
                self.check_access(head, surface)
                    .err()
                    .unwrap_or_else(|| answer::not_found(surface)),
            ),
        }
    }

    fn too_large(&self, head: &Head<'_>) -> Response {
        match Route::of(head.method, head.path) {
            Routed::Found(Route::Response(id)) => self.response_too_large(head, id),
            Routed::Found(Route::Error(id)) => self.response_too_large(head, id),
            Routed::Found(route)
                if matches!(route, Route::InvokeAsync(_))
                    || matches!(route, Route::Invoke(_)) && events::is_event(head) =>
            {
                let length = head.header_str("content-length");
                answer::error(Surface::Invoke, &events::too_large(length))
            }
            Routed::Found(Route::Invoke(_)) => {
                let message = format!(
                    "Request must be smaller than {} bytes for the InvokeFunction operation",
                    invoke::REQUEST_BYTES
                );
                too_large(Surface::Invoke, "RequestTooLargeException", &message)
            }
            Routed::Found(Route::Control(operation)) => {
                let message = format!(
                    "Request must be smaller than {} bytes for the {} operation",
                    operation.max_body_bytes, operation.name
                );
                too_large(Surface::Control, "RequestEntityTooLargeException", &message)
            }
            Routed::Found(route) => {
                let message = "This operation takes no body of that size.";
                too_large(route.surface(), "RequestEntityTooLarge", message)
            }
            _ => answer::not_found(Surface::Control),
        }
    }

    /// Whether nothing is known of this remote address.
    fn is_unknown(&self, peer: IpAddr) -> bool {
        self.peer(peer) != Peer::Loopback && !self.dispatcher.is_sandbox(peer)
    }
}

impl Handler for Api {
    fn admit(&self, head: &Head<'_>) -> Admission {
        match self.admit_any(head) {
            Admission::Refuse(response) => Admission::Refuse(self.refused(head, response)),
            accepted => accepted,
        }
    }

    fn handle(&self, request: Request<'_>, responder: Responder) {
        let Some(this) = self.this.get().and_then(Weak::upgrade) else { return };
        let Some(route) = Route::found(&request.head) else { return };
        this.authorize(route.surface(), request, responder);
    }

    fn body_too_large(&self, head: &Head<'_>) -> Response {
        self.refused(head, self.too_large(head))
    }

    fn body_pending(&self, head: &Head<'_>) -> Option<Box<dyn Any + Send>> {
        match Route::of(head.method, head.path) {
            Routed::Found(Route::Response(id) | Route::Error(id)) => self.answer_pending(head, id),
            _ => None,
        }
    }

    fn max_head_bytes(&self, peer: SocketAddr) -> usize {
        let trusted =
            self.peer(peer.ip()) == Peer::Loopback || self.dispatcher.is_sandbox(peer.ip());
        if trusted { self.settings.max_sandbox_head_bytes } else { 0 }
    }

    fn peer_gone(&self, watch: WatchId) {
        self.dispatcher.poll_gone(watch);
    }

    fn answer_unread(&self, watch: WatchId) {
        self.dispatcher.event_unread(watch);
    }
}

/// A responder that a job takes along, kept so that a job which is refused gives it back.
struct Slot(Arc<Mutex<Option<Responder>>>);

impl Slot {
    fn pair(responder: Responder) -> (Slot, Slot) {
        let shared = Arc::new(Mutex::new(Some(responder)));
        (Slot(shared.clone()), Slot(shared))
    }

    fn take(&self) -> Option<Responder> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn too_large(surface: Surface, error_type: &'static str, message: &str) -> Response {
    answer::error(surface, &AwsError::new(413, error_type, message))
}
