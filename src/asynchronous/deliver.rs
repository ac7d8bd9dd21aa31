//! The one thread that delivers: it takes what is due from the core, hands events to dispatch and
//! records to the outbox, and decides by their outcomes what becomes of them.
//!
//! It never waits for a function: outcomes come back as messages. The end of an event and the
//! records that follow from it are one write of the committer; until then the event is in the queue.
//! Which version an alias means is found out anew at each try.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::committer::{Job, Settle};
use super::core::{Core, Index, Work};
use super::counters::{Count, Counters};
use super::destination::{Carrier, Route, Routes};
use super::outbox::Load;
use super::record::{self, End};
use super::source::Source;
use super::state::{self, Condition, Policy, millis};
use super::stored::{Content, Stored, short};
use super::{Clock, Functions, Resolved, lineage, lock};
use crate::audit;
use crate::dispatch::{Dispatcher, Event, Outcome, Refusal, Reply, Report, Target};
use crate::http::Body;
use crate::random;

/// A record that the webhook has not taken for so long becomes a dead letter.
const CARRIED_FOR: Duration = state::MAX_AGE;
/// The most that a function takes as an asynchronous event: larger records are dead letters.
const EVENT_BYTES: usize = super::EVENT_BYTES;
const IDLE: Duration = Duration::from_secs(3600);
/// Of a function's own error so much is looked at for the operator's view.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// What the thread hears.
#[derive(Debug)]
pub(super) enum Message {
    /// There may be something to take.
    Wake,
    Outcome(Index, Outcome, Report),
    Carried(Index, Carried),
    Stop,
}

/// What came of carrying a record.
#[derive(Debug)]
pub(super) enum Carried {
    Done,
    Failed(String),
    /// The disk does not give it back.
    Lost(String),
}

/// Wakes the thread; many calls before it looks are one message.
#[derive(Debug, Clone)]
pub(super) struct Waker {
    pub(super) pending: Arc<AtomicBool>,
    pub(super) inbox: Sender<Message>,
}

impl Waker {
    pub(super) fn wake(&self) {
        if !self.pending.swap(true, Ordering::AcqRel) {
            let _ = self.inbox.send(Message::Wake);
        }
    }
}

/// Carries out an invocation; a test does it in its own way.
pub(super) trait Invoke: Send {
    fn invoke(&self, target: &Arc<Target>, event: Event, reply: Box<dyn Reply>);
}

impl Invoke for Arc<Dispatcher> {
    fn invoke(&self, target: &Arc<Target>, event: Event, reply: Box<dyn Reply>) {
        Dispatcher::invoke(self, target, event, reply);
    }
}

/// An event that dispatch has.
#[derive(Debug)]
struct Flight {
    stored: Stored,
    policy: Policy,
    version: String,
    /// The trace header that the function gets.
    trace_id: String,
}

/// The last answer of a function.
#[derive(Debug)]
struct Answer<'a> {
    version: &'a str,
    failed: bool,
    body: &'a [u8],
}

/// See the module's text.
pub(super) struct Deliverer {
    pub(super) source: Source,
    pub(super) jobs: Sender<Job>,
    pub(super) inbox: Receiver<Message>,
    pub(super) waker: Waker,
    pub(super) outbox: Sender<Load>,
    pub(super) invoke: Box<dyn Invoke>,
    pub(super) functions: Arc<dyn Functions>,
    pub(super) routes: Routes,
    /// From a function's first failure to its second try.
    pub(super) retry_delay: Duration,
    pub(super) counters: Arc<Counters>,
    pub(super) clock: Clock,
    pub(super) flights: Flights,
}

/// The events that dispatch has.
#[derive(Debug, Default)]
pub(super) struct Flights(HashMap<Index, Flight>);

/// Waits for an event's outcome.
struct Waiting {
    index: Index,
    inbox: Sender<Message>,
}

impl Reply for Waiting {
    fn reply(self: Box<Self>, outcome: Outcome, report: Report) {
        // The queue outlives dispatch; after its end nobody is interested.
        let _ = self.inbox.send(Message::Outcome(self.index, outcome, report));
    }
}

impl Deliverer {
    pub(super) fn run(mut self) {
        loop {
            self.deliver();
            let wake_ms = lock(self.core()).wake_ms();
            let wait = wake_ms.map_or(IDLE, |wake_ms| {
                Duration::from_millis(wake_ms.saturating_sub((self.clock)())).min(IDLE)
            });
            match self.inbox.recv_timeout(wait) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(message) => self.hear(message),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn core(&self) -> &Mutex<Core> {
        &self.source.core
    }

    /// Everything that can be delivered now.
    pub(super) fn deliver(&mut self) {
        self.waker.pending.store(false, Ordering::Release);
        loop {
            let work = lock(self.core()).take((self.clock)());
            match work {
                Some(work) => self.begin(work),
                None => return,
            }
        }
    }

    pub(super) fn hear(&mut self, message: Message) {
        match message {
            Message::Outcome(index, outcome, report) => self.concluded(index, outcome, &report),
            Message::Carried(index, carried) => self.carried(index, carried),
            Message::Wake | Message::Stop => {}
        }
    }

    fn begin(&mut self, work: Work) {
        let Work { index, lane, attempts } = work;
        match lane.content {
            Content::Record(by) => {
                // There is room: the core gives out no more than there are carriers.
                let _ = self.outbox.send(Load { index, by });
            }
            Content::Event => match self.source.read(index) {
                Ok((stored, payload)) => {
                    self.begin_event(index, Stored { attempts, ..stored }, payload);
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    log::error!("the payload of an event of {} is lost: {error}", lane.function);
                    self.payload_lost(index);
                }
                Err(error) => self.put_back(index, &format!("it cannot be read: {error}")),
            },
        }
    }

    /// What is known of the event goes where a failed one goes.
    fn payload_lost(&mut self, index: Index) {
        let core = lock(self.core());
        let known = core.entry(index).and_then(|entry| {
            let function = core.lane_of(entry)?.key.function.clone();
            Some(Stored {
                id: entry.id,
                content: Content::Event,
                function,
                accepted_ms: entry.accepted_ms,
                attempts: entry.attempts,
                until_ms: 0,
                trace_id: String::new(),
                note: String::new(),
                terms: None,
            })
        });
        drop(core);
        let Some(stored) = known else { return };
        let (_, policy) = self.functions.resolve(&stored.function);
        let trace_id = String::new();
        let flight = Flight { stored, policy, version: String::new(), trace_id };
        self.end(index, &flight, None, Condition::PayloadLost, None);
    }

    fn begin_event(&mut self, index: Index, stored: Stored, payload: Vec<u8>) {
        let now_ms = (self.clock)();
        let (resolved, policy) = self.functions.resolve(&stored.function);
        let policy = policy.with(stored.terms.as_ref());
        lock(self.core()).learn(index, &policy);
        let name = (stored.function.region.as_str(), stored.function.name.as_str());
        let looped = lineage::count(&stored.trace_id, name) >= lineage::INVOCATIONS_MAX;
        let over = if policy.has_expired(stored.accepted_ms, now_ms) {
            Some(Condition::EventAgeExceeded)
        } else if matches!(resolved, Resolved::Gone) {
            Some(Condition::FunctionNotFound)
        } else if policy.stopped {
            Some(Condition::ZeroReservedConcurrency)
        } else if looped && !policy.recursion_allowed {
            Some(Condition::RecursiveInvocation)
        } else {
            None
        };
        let trace_id = lineage::extended(&stored.trace_id, name);
        let mut flight = Flight { stored, policy, version: String::new(), trace_id };
        if let Some(condition) = over {
            return self.end(index, &flight, Some(&payload), condition, None);
        }
        match resolved {
            Resolved::Ready { target, invoked_arn } => {
                flight.version.clone_from(&target.version);
                let event = Event {
                    id: flight.stored.id,
                    payload: payload.into(),
                    invoked_arn,
                    trace_id: flight.trace_id.clone(),
                    client_context: None,
                    cognito_identity: None,
                    source: match flight.stored.terms {
                        Some(_) => audit::Source::Schedule,
                        None => audit::Source::Asynchronous,
                    },
                };
                let reply = Waiting { index, inbox: self.waker.inbox.clone() };
                self.flights.0.insert(index, flight);
                self.invoke.invoke(&target, event, Box::new(reply));
            }
            Resolved::NotNow(why) => self.put_back(index, &why),
            // Has ended above.
            Resolved::Gone => {}
        }
    }

    fn put_back(&mut self, index: Index, why: &str) {
        self.counters.count(Count::PutBack);
        lock(self.core()).put_back(index, why, (self.clock)());
    }

    fn concluded(&mut self, index: Index, outcome: Outcome, report: &Report) {
        let Some(flight) = self.flights.0.remove(&index) else { return };
        let body = match outcome {
            Outcome::Response(body) => {
                lock(self.core()).served(index, None);
                let answer = Answer { version: &flight.version, failed: false, body: &body };
                let payload = Some(&*report.event.payload);
                return self.end(index, &flight, payload, Condition::Success, Some(&answer));
            }
            Outcome::FunctionError(body) => body,
            Outcome::Failed(failure) => {
                Body::from(self.functions.failure(&failure, &report.event).into_bytes())
            }
            Outcome::Refused(Refusal::Stopped) => {
                let payload = Some(&*report.event.payload);
                let condition = Condition::ZeroReservedConcurrency;
                return self.end(index, &flight, payload, condition, None);
            }
            Outcome::Refused(refusal) => return self.put_back(index, &refused(&refusal)),
        };
        self.failed(index, &flight, &report.event.payload, &body);
    }

    /// The function failed: it is tried again, or that was all.
    fn failed(&mut self, index: Index, flight: &Flight, payload: &[u8], body: &[u8]) {
        let Stored { id, attempts, accepted_ms, .. } = flight.stored;
        let failures = attempts.saturating_add(1);
        let error = error_of(body);
        lock(self.core()).served(index, Some(&error));
        let now_ms = (self.clock)();
        match flight.policy.after_failure(failures, self.retry_delay, accepted_ms, now_ms) {
            Ok(until_ms) => {
                log::info!(
                    "{id}: {} failed ({failures}): {error}; it is tried again in {} s",
                    flight.stored.function,
                    until_ms.saturating_sub(now_ms) / 1000
                );
                self.counters.count(Count::Retried);
                let attempt = lock(self.core()).retry(index, until_ms);
                if let Some(attempt) = attempt {
                    let _ = self.jobs.send(Job::Note(attempt));
                }
            }
            Err(condition) => {
                let answer = Answer { version: &flight.version, failed: true, body };
                self.end(index, flight, Some(payload), condition, Some(&answer));
            }
        }
    }

    /// An event is over: its records take its place.
    fn end(
        &mut self,
        index: Index,
        flight: &Flight,
        payload: Option<&[u8]>,
        condition: Condition,
        answer: Option<&Answer<'_>>,
    ) {
        if !lock(self.core()).conclude(index) {
            return;
        }
        let Flight { stored, policy, .. } = flight;
        self.counters.ended(condition);
        let routes = self.routes.after(policy, condition);
        if condition != Condition::Success {
            let (id, function, condition) = (stored.id, &stored.function, condition.name());
            if routes.is_empty() {
                self.counters.count(Count::Discarded);
                log::warn!("{id}: an event of {function} is discarded: {condition}");
            } else {
                self.counters.count(Count::DeadLettered);
                log::warn!("{id}: an event of {function} has failed: {condition}");
            }
        }
        let mut settle = Settle::default();
        if !routes.is_empty() {
            let record: Body = record::record(
                &End {
                    request_id: &stored.id.to_string(),
                    function_arn: &self.functions.arn(&stored.function),
                    condition,
                    invoke_count: u32::from(stored.attempts) + u32::from(answer.is_some()),
                    response: answer.map(|answer| record::Response {
                        version: answer.version,
                        failed: answer.failed,
                        body: answer.body,
                    }),
                    now_ms: (self.clock)(),
                },
                payload,
            )
            .into();
            for route in routes {
                let follower = self.follower(flight, route, record.len(), &settle);
                settle.followers.push((follower, record.clone()));
            }
        }
        // A record of the same id takes the event's place.
        if !settle.followers.iter().any(|(follower, _)| follower.id == stored.id) {
            settle.ends.push(stored.id);
        }
        let _ = self.jobs.send(Job::Settle(settle));
    }

    /// What becomes of a record: an event of another function, or something to carry.
    fn follower(&self, flight: &Flight, route: Route, bytes: usize, so_far: &Settle) -> Stored {
        let Flight { stored, trace_id, .. } = flight;
        let (content, function, note) = match route {
            Route::Function(to) if bytes <= EVENT_BYTES => {
                self.counters.count(Count::FunctionRecords);
                (Content::Event, to, String::new())
            }
            Route::Function(to) => {
                let note = format!("{}, for which it is too large", self.functions.arn(&to));
                (Content::Record(Carrier::Letters), stored.function.clone(), note)
            }
            Route::Carried(by, asked) => (Content::Record(by), stored.function.clone(), asked),
        };
        // It goes by the event's own id, but for an invocation that it leads to.
        let taken = |id| so_far.followers.iter().any(|(follower, _)| follower.id == id);
        let id = match content {
            Content::Record(_) if !taken(stored.id) => stored.id,
            _ => random::uuid(),
        };
        let trace_id = match content {
            Content::Event => trace_id.clone(),
            Content::Record(_) => stored.trace_id.clone(),
        };
        let accepted_ms = (self.clock)();
        Stored {
            id,
            content,
            function,
            accepted_ms,
            attempts: 0,
            until_ms: 0,
            trace_id,
            note,
            terms: None,
        }
    }

    fn carried(&mut self, index: Index, carried: Carried) {
        let core = lock(self.core());
        let Some(entry) = core.entry(index) else { return };
        let (id, since_ms) = (entry.id, entry.accepted_ms);
        let Some(lane) = core.lane_of(entry) else { return };
        let key = lane.key.clone();
        drop(core);
        let Content::Record(by) = key.content else { return };
        match carried {
            Carried::Done => {
                self.counters.carried(by);
                self.carried_away(index, Settle { ends: vec![id], ..Settle::default() });
            }
            Carried::Lost(why) => {
                log::error!("{id}: the record of an event of {} is lost: {why}", key.function);
                self.carried_away(index, Settle { ends: vec![id], ..Settle::default() });
            }
            Carried::Failed(why) => {
                self.counters.count(Count::CarryFailures);
                log::warn!("{id}: the record of an event of {}: {why}", key.function);
                let too_long = (self.clock)() >= since_ms.saturating_add(millis(CARRIED_FOR));
                match self.source.read(index) {
                    Ok((stored, record)) if too_long && by == Carrier::Webhook => {
                        let content = Content::Record(Carrier::Letters);
                        let letter = Stored { content, note: why, ..stored };
                        let followers = vec![(letter, record.into())];
                        self.carried_away(index, Settle { followers, ..Settle::default() });
                    }
                    _ => lock(self.core()).put_back(index, &why, (self.clock)()),
                }
            }
        }
    }

    fn carried_away(&self, index: Index, settle: Settle) {
        let mut core = lock(self.core());
        core.served(index, None);
        if core.conclude(index) {
            drop(core);
            let _ = self.jobs.send(Job::Settle(settle));
        }
    }
}

/// A refusal for the operator's view.
fn refused(refusal: &Refusal) -> String {
    match refusal {
        Refusal::ConcurrencyLimit => "throttled: as many invocations are under way as may be",
        Refusal::ReservedLimit => "throttled: the function's reserved concurrency is in use",
        Refusal::Stopped => "the function's reserved concurrency is 0",
        Refusal::MemoryLimit => "throttled: no memory for another sandbox is left",
        Refusal::NoRuntime => "throttled: no runtime of the function came to take it",
        Refusal::NoSandbox(why) => return format!("no sandbox: {why}"),
        Refusal::NoCode(why) => return why.clone(),
        Refusal::FunctionGone => "the function was deleted or changed meanwhile",
        Refusal::ShuttingDown => "the service is shutting down",
    }
    .to_owned()
}

/// A function's error in one line.
fn error_of(body: &[u8]) -> String {
    let parsed: Option<serde_json::Value> =
        (body.len() <= ERROR_BYTES_MAX).then(|| serde_json::from_slice(body).ok()).flatten();
    let text = |name: &str| parsed.as_ref()?.get(name)?.as_str().map(str::to_owned);
    let whole = match (text("errorType"), text("errorMessage")) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => String::from_utf8_lossy(&body[..body.len().min(400)]).into_owned(),
    };
    short(&whole).replace(char::is_control, " ")
}
