//! What the audit log is told, and how that reads as fields of a line.
//!
//! Who tells of an invocation only hands over what it has: text and hashes are made by the writer's
//! thread. Everything else is rare enough to come as text.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::chain::{Fields, Hash};
use crate::dispatch::{Change, Event, Failure, Outcome, Refusal, Report, SandboxChange, Target};
use crate::http::Body;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    pub peer: IpAddr,
    /// Where that is: `loopback`, `sandbox`, `stranger`.
    pub kind: &'static str,
    /// The access key that has signed the call, once that is verified.
    pub key: Option<Arc<str>>,
}

impl Who {
    fn fields(&self, fields: Fields) -> Fields {
        let fields = fields.text("kind", self.kind);
        let fields = fields.text("peer", &self.peer.to_string());
        match &self.key {
            Some(key) => fields.text("key", key),
            None => fields,
        }
    }
}

/// Where an invocation comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A caller who waits for the answer.
    Synchronous(Who),
    /// The queue; who has put it there is told in the line `accepted` of the same id.
    Asynchronous,
    /// The queue, for a schedule.
    Schedule,
}

impl Source {
    pub fn name(&self) -> &'static str {
        match self {
            Source::Synchronous(_) => "synchronous",
            Source::Asynchronous => "asynchronous",
            Source::Schedule => "schedule",
        }
    }
}

/// One line that is to be.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) at: SystemTime,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Told(&'static str, Fields),
    /// The same with the hash of a payload.
    Payload(&'static str, Fields, Body),
    Invocation(Box<Invocation>),
}

/// An invocation that has ended.
#[derive(Debug)]
pub(super) struct Invocation {
    event: Arc<Event>,
    /// None where nobody has taken it.
    target: Option<Arc<Target>>,
    container: Option<Arc<str>>,
    duration: Duration,
    /// None of one that is under way.
    outcome: Option<&'static str>,
    answer_bytes: Option<usize>,
}

impl What {
    pub(super) fn invocation(outcome: Option<&Outcome>, report: &Report) -> What {
        What::Invocation(Box::new(Invocation {
            event: report.event.clone(),
            target: report.target.clone(),
            container: report.container.clone(),
            duration: report.duration,
            outcome: outcome.map(name),
            answer_bytes: match outcome {
                Some(Outcome::Response(body) | Outcome::FunctionError(body)) => Some(body.len()),
                Some(Outcome::Failed(_) | Outcome::Refused(_)) | None => None,
            },
        }))
    }

    pub(super) fn sandbox(changed: &SandboxChange) -> What {
        let SandboxChange { change, target, container, name, address } = changed;
        let fields = Fields::default().text(
            "change",
            match change {
                Change::Created => "created",
                Change::Adopted => "adopted",
                Change::Initialized => "initialized",
                Change::Ended(_) => "ended",
                Change::Removed => "removed",
            },
        );
        let mut fields = fields.text("sandbox", name);
        if let Some(container) = container {
            fields = fields.text("container", container);
        }
        if let Some(address) = address {
            fields = fields.text("address", &address.to_string());
        }
        fields = fields.text("function", &target.arn).text("version", &target.version);
        if let Change::Ended(reason) = change {
            fields = fields.text("reason", &reason.to_string());
        }
        What::Told("sandbox", fields)
    }

    /// How many bytes are held until this is written.
    pub(super) fn held(&self) -> usize {
        match self {
            What::Told(..) => 0,
            What::Payload(_, _, payload) => payload.len(),
            What::Invocation(invocation) => invocation.event.payload.len(),
        }
    }

    /// Lets go of a payload by hashing it here and now.
    pub(super) fn released(self, max_hashed: usize) -> What {
        What::Told(self.event(), self.fields(Fields::default(), max_hashed))
    }

    pub(super) fn event(&self) -> &'static str {
        match self {
            What::Told(event, _) | What::Payload(event, ..) => event,
            What::Invocation(one) if one.outcome.is_none() => "under-way",
            What::Invocation(_) => "invocation",
        }
    }

    /// The line's members. A payload has its hash up to this length.
    pub(super) fn fields(&self, line: Fields, max_hashed: usize) -> Fields {
        match self {
            What::Told(_, fields) => line.all(fields),
            What::Payload(_, fields, payload) => hashed(line.all(fields), payload, max_hashed),
            What::Invocation(invocation) => invocation.fields(line, max_hashed),
        }
    }
}

impl Invocation {
    fn fields(&self, line: Fields, max_hashed: usize) -> Fields {
        let event = &self.event;
        let mut fields = ids(line, &event.id, &event.invoked_arn);
        if let Some(target) = &self.target {
            fields = fields.text("version", &target.version);
        }
        fields = fields.text("source", event.source.name());
        if let Source::Synchronous(who) = &event.source {
            fields = fields.object("who", |fields| who.fields(fields));
        }
        match &self.container {
            Some(name) if !name.is_empty() => fields = fields.text("sandbox", name),
            // A process of this host that serves one invocation.
            Some(_) => fields = fields.text("sandbox", "(local)"),
            None => {}
        }
        let (ms, us) = (self.duration.as_millis(), self.duration.subsec_micros() % 1000);
        if let Some(outcome) = self.outcome {
            fields = fields.text("outcome", outcome);
        }
        fields = fields.number("ms", format_args!("{ms}.{us:03}"));
        if let Some(bytes) = self.answer_bytes {
            fields = fields.number("answer_bytes", bytes);
        }
        hashed(fields, &event.payload, max_hashed)
    }
}

fn ids(line: Fields, id: &Uuid, arn: &str) -> Fields {
    let mut buffer = Uuid::encode_buffer();
    let id: &str = id.hyphenated().encode_lower(&mut buffer);
    line.text("id", id).text("function", arn)
}

fn hashed(fields: Fields, payload: &[u8], max_hashed: usize) -> Fields {
    let fields = fields.number("payload_bytes", payload.len());
    if payload.len() > max_hashed {
        return fields;
    }
    fields.hash("payload_sha256", Hash::of(payload))
}

/// An event that is in the queue.
pub(super) fn accepted(id: &Uuid, arn: &str, who: &Who, payload: Body) -> What {
    let fields = ids(Fields::default(), id, arn);
    What::Payload("accepted", fields.object("who", |fields| who.fields(fields)), payload)
}

/// A call that was carried out, or tried.
pub(super) fn call(
    action: &str,
    region: &str,
    resource: &str,
    who: &Who,
    status: u16,
    error: Option<&str>,
) -> What {
    let fields = Fields::default().text("action", action).text("region", region);
    let fields = fields.text("resource", resource);
    let fields = fields.object("who", |fields| who.fields(fields)).number("status", status);
    What::Told("call", error.into_iter().fold(fields, |fields, error| fields.text("error", error)))
}

/// A call that was not taken.
pub(super) fn refused(
    method: &str,
    path: &str,
    who: &Who,
    status: u16,
    error: Option<&str>,
) -> What {
    let fields = Fields::default().text("method", method).text("path", path);
    let fields = fields.object("who", |fields| who.fields(fields)).number("status", status);
    let fields = error.into_iter().fold(fields, |fields, error| fields.text("error", error));
    What::Told("refused", fields)
}

/// How an invocation ended, in one word.
fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Response(_) => "success",
        Outcome::FunctionError(_) => "function-error",
        Outcome::Failed(Failure::TimedOut { .. }) => "timed-out",
        Outcome::Failed(Failure::Exited(exit)) if exit.out_of_memory => "out-of-memory",
        Outcome::Failed(Failure::Exited(_)) => "sandbox-died",
        Outcome::Failed(Failure::InitTimedOut { .. }) => "init-timed-out",
        Outcome::Failed(Failure::ResponseTooLarge { .. }) => "response-too-large",
        Outcome::Failed(Failure::NoAnswer) => "no-answer",
        Outcome::Refused(refusal) => match refusal {
            Refusal::ConcurrencyLimit
            | Refusal::ReservedLimit
            | Refusal::Stopped
            | Refusal::MemoryLimit => "throttled",
            Refusal::NoRuntime => "no-runtime",
            Refusal::NoSandbox(_) => "no-sandbox",
            Refusal::NoCode(_) => "no-code",
            Refusal::FunctionGone => "function-gone",
            Refusal::ShuttingDown => "shutting-down",
        },
    }
}
