//! The Engine's event stream: which containers died, ran out of memory, lost a network, or were
//! removed.
//!
//! A stream stays open for as long as it is read, so it has an agent, and with it a connection, of
//! its own. It does not connect again by itself: the watcher does, with [`EventStream::last`] as
//! `since`, and then also compares with the list of containers, because the Engine keeps only its
//! last 256 events and none over a restart.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use ureq::http::{Method, Request};
use ureq::{Agent, BodyReader};

use super::engine::{Engine, Wait, accepted, agent, named};
use super::error::EngineError;
use super::lines::{Line, Lines};
use super::wire::{Target, null_as_default};

/// The longest event that is read. An event holds all labels of its container.
const LINE_LIMIT_BYTES: usize = 1024 * 1024;

/// How errors name the call.
const CALL: &str = "GET /events";

/// When an event happened, by the Engine's clock: nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventTime(pub i64);

impl EventTime {
    /// The present, by this machine's clock.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        EventTime(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for EventTime {
    /// As the Engine takes it for `since`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECOND: i64 = 1_000_000_000;
        write!(f, "{}.{:09}", self.0.div_euclid(SECOND), self.0.rem_euclid(SECOND))
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A container's main process has ended.
    Died { container_id: String, exit_code: Option<i32>, time: EventTime },
    /// The kernel killed a process of a container, not always its main one, for want of memory.
    OutOfMemory { container_id: String, time: EventTime },
    /// A container was removed.
    Destroyed { container_id: String, time: EventTime },
    /// A container is on a network no more, because it has ended or by somebody's command.
    Disconnected { container_id: String, time: EventTime },
    /// Nothing, for one tick: time to see whether the Engine still answers.
    Tick,
}

#[derive(Deserialize)]
struct WireEvent {
    #[serde(rename = "Type", default)]
    kind: String,
    #[serde(rename = "Action", default)]
    action: String,
    #[serde(rename = "Actor", default, deserialize_with = "null_as_default")]
    actor: WireActor,
    #[serde(rename = "timeNano", default)]
    time_nano: i64,
}

#[derive(Deserialize, Default)]
struct WireActor {
    #[serde(rename = "ID", default)]
    id: String,
    #[serde(rename = "Attributes", default, deserialize_with = "null_as_default")]
    attributes: BTreeMap<String, String>,
}

impl WireEvent {
    /// `None` for an event of no interest.
    fn event(self) -> Option<Event> {
        let time = EventTime(self.time_nano);
        if self.kind == "network" && self.action == "disconnect" {
            let mut attributes = self.actor.attributes;
            let container_id = attributes.remove("container")?;
            return Some(Event::Disconnected { container_id, time });
        }
        if self.kind != "container" {
            return None;
        }
        let container_id = self.actor.id;
        match self.action.as_str() {
            // Podman tells of a death as Docker does, but finds it by its own name only.
            "die" | "died" => {
                let exit_code = self.actor.attributes.get("exitCode");
                let exit_code = exit_code.and_then(|code| code.parse().ok());
                Some(Event::Died { container_id, exit_code, time })
            }
            "oom" => Some(Event::OutOfMemory { container_id, time }),
            "destroy" | "remove" => Some(Event::Destroyed { container_id, time }),
            _ => None,
        }
    }
}

/// When a line's event happened, and what it was; `None` where that is of no interest.
pub(super) fn parse(line: &[u8]) -> Result<(EventTime, Option<Event>), serde_json::Error> {
    let wire: WireEvent = crate::json::from_slice(line)?;
    Ok((EventTime(wire.time_nano), wire.event()))
}

/// An open event stream.
pub struct EventStream {
    lines: Lines<BodyReader<'static>>,
    stopper: EventStopper,
    tick: Duration,
    socket: PathBuf,
    last: Option<EventTime>,
}

/// Ends an [`EventStream`] from another thread, also while it blocks.
#[derive(Clone)]
pub struct EventStopper {
    agent: Agent,
    stopped: Arc<AtomicBool>,
}

impl EventStopper {
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.agent.clone().shutdown();
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

impl fmt::Debug for EventStopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStopper").field("stopped", &self.stopped).finish_non_exhaustive()
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens a stream of what happens to the containers that have every one of `labels`; with
    /// labels it tells nothing of networks, which have others.
    ///
    /// With `since` it begins with what happened from that time on, that moment included: the
    /// event that the time was taken from comes again. `tick` is the longest that
    /// [`EventStream::next_event`] blocks, and bounds the wait for the stream's beginning too.
    pub fn events(
        &self,
        since: Option<EventTime>,
        labels: &[&str],
        tick: Duration,
    ) -> Result<EventStream, EngineError> {
        let settings = self.settings();
        let mut filters = serde_json::json!({
            "type": ["container", "network"],
            "event": ["die", "died", "oom", "destroy", "remove", "disconnect"],
        });
        if !labels.is_empty() {
            filters["label"] = serde_json::json!(labels);
        }
        let mut target = Target::fixed("/events").query("filters", &filters.to_string());
        if let Some(since) = since {
            target = target.query("since", &since.to_string());
        }
        let agent = agent(settings, settings.call_timeout);
        let stopper = EventStopper { agent, stopped: Arc::default() };
        let wait = Wait::Silence(tick);
        let failed = |e: ureq::Error| named(CALL, wait, &settings.socket, e);
        let request = Request::builder()
            .method(Method::GET)
            .uri(target.uri(self.api_version()))
            .body(())
            .map_err(|e| failed(e.into()))?;
        let request = stopper.agent.configure_request(request).timeout_per_read(Some(tick)).build();
        let response = stopper.agent.run(request).map_err(failed)?;
        let streamed = accepted(CALL.to_owned(), wait, &settings.socket, response)?;
        Ok(EventStream {
            lines: Lines::new(streamed.body.into_reader(), LINE_LIMIT_BYTES),
            stopper,
            tick,
            socket: settings.socket.clone(),
            last: None,
        })
    }
}

impl EventStream {
    /// The next event, or [`Event::Tick`] when there was none for so long. `None` after
    /// [`EventStopper::stop`]. After an error the stream is at its end.
    pub fn next_event(&mut self) -> Result<Option<Event>, EngineError> {
        loop {
            if self.stopper.is_stopped() {
                return Ok(None);
            }
            let line = match self.lines.next_line() {
                Ok(Line::Whole(line)) => line,
                // A stop cuts the stream too.
                _ if self.stopper.is_stopped() => return Ok(None),
                Ok(Line::End | Line::CutShort) => {
                    let source = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Err(EngineError::Interrupted { call: CALL.to_owned(), source });
                }
                Ok(Line::TooLong) => {
                    let limit_bytes = LINE_LIMIT_BYTES as u64;
                    return Err(EngineError::TooLarge { call: CALL.to_owned(), limit_bytes });
                }
                Err(e) => match ureq::Error::from(e) {
                    ureq::Error::Timeout(_) => return Ok(Some(Event::Tick)),
                    e => return Err(named(CALL, Wait::Silence(self.tick), &self.socket, e)),
                },
            };
            if line.is_empty() {
                continue;
            }
            let (time, event) = parse(&line).map_err(|e| EngineError::Malformed {
                call: CALL.to_owned(),
                reason: e.to_string(),
            })?;
            self.last = self.last.max(Some(time));
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// The time of the newest event so far: the `since` of the stream that follows this one.
    pub fn last(&self) -> Option<EventTime> {
        self.last
    }

    /// A handle that ends this stream from another thread.
    pub fn stopper(&self) -> EventStopper {
        self.stopper.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(json: &str) -> Option<Event> {
        serde_json::from_str::<WireEvent>(json).unwrap().event()
    }

    #[test]
    fn deaths_carry_exit_code_and_time() {
        let json = r#"{"status":"die","id":"c","Type":"container","Action":"die",
            "Actor":{"ID":"c","Attributes":{"exitCode":"137","name":"n"}},
            "time":1700000000,"timeNano":1700000000000000042}"#;
        let time = EventTime(1_700_000_000_000_000_042);
        let died = Event::Died { container_id: "c".to_owned(), exit_code: Some(137), time };
        assert_eq!(event(json), Some(died));
        assert_eq!(time.to_string(), "1700000000.000000042");
    }

    #[test]
    fn a_disconnection_names_the_container() {
        let json = r#"{"Type":"network","Action":"disconnect","timeNano":7,
            "Actor":{"ID":"n","Attributes":{"container":"c","name":"net","type":"bridge"}}}"#;
        let lost = Event::Disconnected { container_id: "c".to_owned(), time: EventTime(7) };
        assert_eq!(event(json), Some(lost));
        assert_eq!(event(r#"{"Type":"network","Action":"disconnect","Actor":{"ID":"n"}}"#), None);
    }

    #[test]
    fn other_events_are_ignored() {
        assert_eq!(event(r#"{"Type":"network","Action":"destroy","Actor":{"ID":"n"}}"#), None);
        assert_eq!(event(r#"{"Type":"container","Action":"exec_die","Actor":{"ID":"c"}}"#), None);
        assert_eq!(event("{}"), None);
    }

    #[test]
    fn podmans_names_mean_the_same() {
        let of = |action: &str| {
            event(&format!(r#"{{"Type":"container","Action":"{action}","Actor":{{"ID":"c"}}}}"#))
        };
        assert!(of("died").is_some() && of("died") == of("die"));
        assert!(of("remove").is_some() && of("remove") == of("destroy"));
    }

    #[test]
    fn an_exit_code_that_is_no_number_is_none() {
        let json = r#"{"Type":"container","Action":"die","Actor":{"ID":"c","Attributes":null}}"#;
        assert!(matches!(event(json), Some(Event::Died { exit_code: None, .. })));
    }
}
