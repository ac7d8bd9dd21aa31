//! The operator's view of the asynchronous queue: `/queue`, for loopback callers.
//!
//! | call | query | what it does |
//! |---|---|---|
//! | `GET /queue` | | figures, and each function with what waits of it |
//! | `GET /queue/events` | `function`, `state`, `id`, `after`, `limit`, `whole` | one page of events and dead letters |
//! | `POST /queue/retry` | `function`, `state`, `id` | tries them now, replays dead letters |
//! | `POST /queue/purge` | the same, and `confirm=yes` | throws them away |
//!
//! It is this service's own, so its JSON has this service's names, as `/status` has. It decides
//! nothing: the queue does.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::answer;
use super::error::AwsError;
use super::query;
use super::route::QueueCall;
use super::{Api, invoke};
use crate::access::Surface;
use crate::asynchronous::{
    Done, EntryView, Filter, FunctionView, Object, OperatorError, QueueView,
};
use crate::http::{Head, Responder, Response};
use crate::observe::time;

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1000;

/// What a request asks for.
struct Asked {
    filter: Filter,
    after: Option<String>,
    limit: usize,
    whole: bool,
    confirmed: bool,
}

impl Api {
    pub(super) fn queue_call(
        self: &Arc<Self>,
        call: QueueCall,
        head: &Head<'_>,
        responder: Responder,
    ) {
        let mut ticket = self.ticket(head, "queue", call.name());
        ticket.about(&[], head.query, b"");
        let asked = match asked(head.query) {
            Ok(asked) => asked,
            Err(error) => {
                let response = answer::error(Surface::Queue, &error);
                ticket.end(&response);
                responder.send(response);
                return;
            }
        };
        let api = self.clone();
        self.block(Surface::Queue, responder, move |responder| {
            let result = match call {
                QueueCall::Summary => api.queue_summary(),
                QueueCall::Events => api.queue_events(&asked),
                QueueCall::Retry => done(api.queue.retry(&asked.filter)),
                QueueCall::Purge if asked.confirmed => done(api.queue.purge(&asked.filter)),
                QueueCall::Purge => Err(invalid("A purge needs confirm=yes in its query.")),
            };
            let response = match result {
                Ok(body) => Response::json(200, body),
                Err(error) => answer::error(Surface::Queue, &error),
            };
            ticket.end(&response);
            responder.send(response);
        });
    }

    fn queue_summary(&self) -> Result<Vec<u8>, AwsError> {
        let functions = self.queue.functions().map_err(AwsError::service)?;
        let functions: Vec<Value> =
            functions.iter().map(|(name, view)| function_body(name, view)).collect();
        let mut body = self.queue_body();
        body["functions"] = Value::from(functions);
        Ok(body.to_string().into_bytes())
    }

    /// The figures, also for `/status`.
    pub(super) fn queue_body(&self) -> Value {
        let view = self.queue.view();
        let QueueView { bytes, max_entries, max_bytes, disk_bytes, .. } = view;
        let states = view.by_state.into_iter().collect::<std::collections::BTreeMap<_, _>>();
        let counts = self.queue.counters().all();
        let counts: std::collections::BTreeMap<_, _> =
            counts.map(|(name, _, count)| (name, count)).collect();
        json!({
            "by_state": states,
            "events": view.by_state.iter().map(|(_, count)| count).sum::<usize>(),
            "max_events": max_entries,
            "bytes": bytes,
            "max_bytes": max_bytes,
            "disk_bytes": disk_bytes,
            "oldest": view.oldest_ms.map(text_of),
            "oldest_age_s": self.queue_age_s(&view),
            "dead_letters": {
                "letters": view.letters,
                "bytes": view.letters_bytes,
                "max_bytes": view.max_letters_bytes,
            },
            "counts": counts,
        })
    }

    /// How long the oldest entry has been waiting.
    pub(super) fn queue_age_s(&self, view: &QueueView) -> f64 {
        let oldest = view.oldest_ms.map(|ms| UNIX_EPOCH + Duration::from_millis(ms));
        let age = oldest.and_then(|oldest| oldest.elapsed().ok());
        age.unwrap_or_default().as_secs_f64()
    }

    fn queue_events(&self, asked: &Asked) -> Result<Vec<u8>, AwsError> {
        let Asked { filter, after, limit, whole, .. } = asked;
        let found = self.queue.entries(filter, after.as_deref(), *limit, *whole);
        let found = found.map_err(AwsError::service)?;
        let mut events = b"[".to_vec();
        for (index, view) in found.iter().enumerate() {
            if index > 0 {
                events.push(b',');
            }
            events.extend_from_slice(&event_body(view));
        }
        events.push(b']');
        let mut body = Object::default();
        body.raw("events", &events);
        // The page after this one; an empty page is the end.
        body.member("next", &Value::from(found.last().map(|view| view.after.as_str())));
        Ok(body.finish())
    }
}

fn function_body(name: &str, view: &FunctionView) -> Value {
    json!({
        "function": name,
        "by_state": view.by_state,
        "oldest": view.oldest_ms.map(text_of),
        "next_try": view.next_try_ms.map(text_of),
        "last_error": view.last_error,
    })
}

fn event_body(view: &EntryView) -> Vec<u8> {
    let mut body = Object::default();
    let text = |text: &Option<String>| Value::from(text.as_deref());
    body.member("id", &Value::from(view.id.to_string()));
    body.member("region", &Value::from(view.function.region.as_str()));
    body.member("function", &Value::from(view.function.name.as_str()));
    body.member("qualifier", &text(&view.function.qualifier));
    body.member("state", &Value::from(view.state));
    body.member("attempts", &Value::from(view.attempts));
    body.member("since", &Value::from(text_of(view.since_ms)));
    body.member("next_try", &Value::from(view.next_try_ms.map(text_of)));
    body.member("last_error", &text(&view.last_error));
    body.member("bytes", &Value::from(view.bytes));
    body.member("destination", &text(&view.destination));
    if let Some(payload) = &view.payload {
        body.payload("payload", payload);
    }
    if let Some(record) = &view.record {
        body.raw("record", record.as_bytes());
    }
    body.finish()
}

fn done(result: Result<Done, OperatorError>) -> Result<Vec<u8>, AwsError> {
    let Done { events, letters, skipped, more } = result.map_err(|error| {
        let status = match &error {
            OperatorError::Refused(..) => 429,
            OperatorError::Letters(_) | OperatorError::Unwritten => 500,
        };
        AwsError::new(status, "QueueException", error.to_string())
    })?;
    let body = json!({
        "events": events,
        "dead_letters": letters,
        "skipped": skipped,
        "more": more,
    });
    Ok(body.to_string().into_bytes())
}

fn asked(query: Option<&str>) -> Result<Asked, AwsError> {
    let value = |name| query::value(query, name);
    let state = match value("state") {
        None => None,
        Some(name) => Some(Filter::state_named(&name).ok_or_else(|| {
            invalid("state is one of queued, retrying, delivering, ending and dead.")
        })?),
    };
    let id = match value("id") {
        None => None,
        Some(id) => Some(id.parse().map_err(|_| invalid("id is not a request id."))?),
    };
    let limit = match value("limit") {
        None => LIMIT_DEFAULT,
        Some(limit) => limit
            .parse()
            .ok()
            .filter(|limit| (1..=LIMIT_MAX).contains(limit))
            .ok_or_else(|| invalid("limit is a number from 1 to 1000."))?,
    };
    let function = value("function").map(|name| name.into_owned());
    if function.as_ref().is_some_and(|name| name.is_empty() || name.len() > invoke::NAME_BYTES) {
        return Err(invalid("function is a name, or a name, a colon and a version or alias."));
    }
    Ok(Asked {
        filter: Filter { function, state, id },
        after: value("after").map(|after| after.into_owned()),
        limit,
        whole: value("whole").as_deref() == Some("yes"),
        confirmed: value("confirm").as_deref() == Some("yes"),
    })
}

fn invalid(message: &str) -> AwsError {
    AwsError::new(400, "InvalidParameterValueException", message)
}

fn text_of(ms: u64) -> String {
    time::rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_checked() {
        let all = asked(None).unwrap();
        assert_eq!((all.limit, all.whole, all.confirmed), (LIMIT_DEFAULT, false, false));
        let id = "7e1c3a52-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
        let some = format!("function=f%3Alive&state=dead&id={id}&limit=7&whole=yes&after=9");
        let some = asked(Some(&some)).unwrap();
        assert_eq!(some.filter.function.as_deref(), Some("f:live"));
        assert_eq!((some.filter.state, some.limit, some.whole), (Some("dead"), 7, true));
        assert_eq!(some.filter.id.unwrap().to_string(), id);
        for bad in ["state=gone", "id=x", "limit=0", "limit=1001", "limit=x", "function="] {
            assert_eq!(asked(Some(bad)).err().unwrap().status, 400, "{bad}");
        }
    }
}
