//! Asynchronous invocations as AWS's API has them: `Event` of Invoke, and InvokeAsync; and what the
//! queue asks about functions.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async.html>. The request is parked until
//! its event is on the disk; whoever brought it there writes the answer.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::Api;
use super::answer;
use super::error::AwsError;
use super::invoke::{Invoked, failed, payload, trace_id};
use crate::access::Surface;
use crate::asynchronous::{
    Acceptance, Address, EVENT_BYTES, Functions, NewEvent, Policy, Refused, Resolved,
};
use crate::audit::Who;
use crate::dispatch::{Event, Failure};
use crate::function::model::Function;
use crate::function::name::{FunctionRef, Place, Qualifier};
use crate::function::settings::qualifier_key;
use crate::http::{Body, Head, Request, Responder, Response};
use crate::random;

/// After the start of the service, the runtimes of functions that only those make known need a while
/// to come back. A schedule cannot tell such a function from one that is not there.
const RUNTIMES_RETURN: Duration = Duration::from_secs(5);

/// A parked caller of an asynchronous invocation.
struct Accepted {
    responder: Responder,
    id: Uuid,
    trace_id: String,
    told: Told,
}

/// What the audit log is told of it.
struct Told {
    api: Arc<Api>,
    arn: String,
    who: Who,
    payload: Body,
}

impl Api {
    /// Puts an event into the queue.
    pub(super) fn accept(
        self: &Arc<Self>,
        invoked: Invoked<'_>,
        head: &Head<'_>,
        payload: Body,
        responder: Responder,
    ) {
        let (id, trace_id) = (random::uuid(), trace_id(head));
        let (arn, who) = (invoked.arn.clone(), self.who(head));
        let told = Told { api: self.clone(), arn, who, payload: payload.clone() };
        let event = NewEvent {
            id,
            function: invoked.address(),
            trace_id: trace_id.clone(),
            payload,
            terms: None,
        };
        self.queue.accept(event, Box::new(Accepted { responder, id, trace_id, told }));
    }

    /// InvokeAsync, which AWS has deprecated: it is Invoke with the type `Event`.
    pub(super) fn invoke_async(
        self: &Arc<Self>,
        name: &str,
        request: Request<'_>,
        responder: Responder,
    ) {
        let Request { head, body } = request;
        let checked = self.invoked(&head, name).and_then(|invoked| Ok((invoked, payload(body)?)));
        match checked {
            Ok((invoked, payload)) => self.accept(invoked, &head, payload, responder),
            Err(error) => {
                responder.send(self.refused(&head, answer::error(Surface::Invoke, &error)));
            }
        }
    }

    fn policy(&self, function: &Function, qualifier: Option<&Qualifier>) -> Option<Policy> {
        let settings = match self.registry.settings(&function.region, &function.name) {
            Ok(settings) => settings,
            Err(error) => {
                log::error!("the settings of {} cannot be read: {error}", function.name);
                return None;
            }
        };
        let mut policy = Policy {
            dead_letter: function.dead_letter_target.clone(),
            stopped: settings.reserved_concurrency == Some(0),
            recursion_allowed: settings.recursion_allowed,
            ..Policy::default()
        };
        if let Some(config) = settings.event_invoke.get(&qualifier_key(qualifier)) {
            policy.max_retries = config.max_retries.unwrap_or(policy.max_retries);
            let max_age = config.max_age_s.map(|seconds| Duration::from_secs(seconds.into()));
            policy.max_age = max_age.unwrap_or(policy.max_age);
            policy.on_success.clone_from(&config.on_success);
            policy.on_failure.clone_from(&config.on_failure);
        }
        Some(policy)
    }

    fn place_of<'a>(&'a self, function: &'a Address) -> Place<'a> {
        Place { region: &function.region, account_id: &self.settings.account_id }
    }
}

impl Functions for Api {
    fn resolve(&self, address: &Address) -> (Resolved, Policy) {
        if !self.audit.accepts() {
            let why = "the audit log cannot be written".to_owned();
            return (Resolved::NotNow(why), Policy::default());
        }
        let qualifier = address.qualifier.as_deref().map(Qualifier::new);
        let reference = FunctionRef { name: address.name.clone(), qualifier };
        let place = self.place_of(address);
        let Some(function) = self.registry.find(place.region, &reference, random::fraction) else {
            let target = self.runtime_target(&address.name);
            let resolved = match target {
                Some(target) => Resolved::Ready { invoked_arn: target.arn.clone(), target },
                None if address.created && self.started.elapsed() > RUNTIMES_RETURN => {
                    Resolved::Gone
                }
                None => Resolved::NotNow("no runtime of the function is there".to_owned()),
            };
            return (resolved, Policy::default());
        };
        let Some(policy) = self.policy(&function, reference.qualifier.as_ref()) else {
            let why = "its settings cannot be read".to_owned();
            return (Resolved::NotNow(why), Policy::default());
        };
        let resolved = match self.targets.of(&function, place) {
            Some(target) => Resolved::Ready {
                invoked_arn: place.arn(&address.name, reference.qualifier.as_ref()),
                target,
            },
            None => Resolved::NotNow(format!("the function is {}", function.state.name())),
        };
        (resolved, policy)
    }

    fn arn(&self, function: &Address) -> String {
        let qualifier = function.qualifier.as_deref().map_or(Qualifier::Latest, Qualifier::new);
        self.place_of(function).arn(&function.name, Some(&qualifier))
    }

    fn failure(&self, failure: &Failure, event: &Event) -> String {
        failed(self, failure, event)
    }
}

impl Acceptance for Accepted {
    fn settled(self: Box<Self>, result: Result<(), Refused>) {
        let Accepted { responder, id, trace_id, told } = *self;
        let Told { api, arn, who, payload } = told;
        responder.send(match result {
            Ok(()) => {
                api.audit.accepted(&id, &arn, &who, payload);
                Response::new(202)
                    .header("x-amzn-RequestId", &id.to_string())
                    .header("X-Amzn-Trace-Id", &trace_id)
            }
            Err(why) => {
                let response = answer::error(Surface::Invoke, &refused(why));
                api.refused_at(who.peer, ("POST", &arn), response)
            }
        });
    }
}

fn refused(why: Refused) -> AwsError {
    match why {
        Refused::Full | Refused::Disk => {
            let mut error = AwsError::new(429, "TooManyRequestsException", "Rate Exceeded.");
            error.reason = Some("CallerRateLimitExceeded");
            error.retry_after_s = Some(1);
            error.because(if why == Refused::Full { "the event queue is full" } else { "the disk" })
        }
        Refused::TooLarge => too_large(None),
        Refused::Stopped => {
            let mut error = AwsError::new(503, "ServiceException", "The service is shutting down.");
            error.retry_after_s = Some(5);
            error
        }
    }
}

/// In AWS's words. A body that comes in chunks has no length to tell.
pub(super) fn too_large(bytes: Option<&str>) -> AwsError {
    let which = bytes.map_or_else(|| "The".to_owned(), |bytes| format!("{bytes} byte"));
    let message = format!(
        "{which} payload is too large for the Event invocation type (limit {EVENT_BYTES} bytes)"
    );
    AwsError::new(413, "RequestTooLargeException", message)
}

/// Whether Invoke is asked for an asynchronous invocation.
pub(super) fn is_event(head: &Head<'_>) -> bool {
    head.header("x-amz-invocation-type") == Some(b"Event")
}
