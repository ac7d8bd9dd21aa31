//! What the audit log is told of calls: who called, what, and how it was answered.
//!
//! The one place where a caller becomes a [`Who`]. A [`Ticket`] is opened for each control call before
//! it is carried out, and has its line when it is answered or dropped, so none can be forgotten. The
//! log's own rules (how much, how long, what a full disk means) are `audit`'s.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::error::AwsError;
use super::{Api, answer, query};
use crate::access::{Peer, Surface, signature};
use crate::audit::{Audit, Who};
use crate::http::{Head, Response};

/// Members of bodies that say what a call is about, where its path does not.
const NAMES: [&str; 7] = [
    "FunctionName",
    "GroupName",
    "logGroupName",
    "logGroupIdentifier",
    "logStreamName",
    "resourceArn",
    "ResourceArn",
];

impl Api {
    pub(super) fn who(&self, head: &Head<'_>) -> Who {
        let who = self.who_at(head.peer.ip());
        if who.kind == "loopback" {
            return who;
        }
        // Whoever is asked about has been authorized: the key that it claims is its own.
        let key = signature::key_id(head).map(Arc::from);
        let kind = if key.is_some() { "signed" } else { who.kind };
        Who { kind, key, ..who }
    }

    pub(super) fn who_at(&self, peer: IpAddr) -> Who {
        let kind = match self.peer(peer) {
            Peer::Loopback => "loopback",
            Peer::Remote(address) if self.dispatcher.is_sandbox(address) => "sandbox",
            Peer::Remote(_) => "stranger",
            Peer::Proxy => "proxy",
        };
        Who { peer, kind, key: None }
    }

    /// What is answered while a call could not be accounted for.
    pub(super) fn unaccountable(&self, surface: Surface) -> Option<Response> {
        let audited = !matches!(
            surface,
            Surface::Health | Surface::Status | Surface::Metrics | Surface::Runtime
        );
        if !audited || self.audit.accepts() {
            return None;
        }
        let message = "The service cannot write its audit log, and takes no calls until it can.";
        let mut error = AwsError::new(503, "ServiceUnavailableException", message);
        error.retry_after_s = Some(5);
        Some(answer::error(surface, &error))
    }

    /// A call was refused with this response, which is given back.
    pub(super) fn refused(&self, head: &Head<'_>, response: Response) -> Response {
        self.refused_at(head.peer.ip(), (head.method, head.path), response)
    }

    pub(super) fn refused_at(
        &self,
        peer: IpAddr,
        (method, path): (&str, &str),
        response: Response,
    ) -> Response {
        match self.audit.is_on() {
            true => self.refused_to(self.who_at(peer), (method, path), response),
            false => response,
        }
    }

    /// The same of somebody who is known.
    pub(super) fn refused_to(
        &self,
        who: Who,
        (method, path): (&str, &str),
        response: Response,
    ) -> Response {
        if response.status() >= 400 {
            let (status, error) = (response.status(), response.error());
            self.audit.refused(method, path, &who, status, error);
        }
        response
    }

    /// A control call is about to be carried out.
    pub(super) fn ticket(&self, head: &Head<'_>, service: &str, operation: &str) -> Ticket {
        Ticket(self.audit.is_on().then(|| {
            Box::new(Open {
                audit: self.audit.clone(),
                action: format!("{service}:{operation}"),
                region: self.region(head).to_owned(),
                resource: String::new(),
                who: self.who(head),
            })
        }))
    }
}

/// A control call without an answer.
#[derive(Debug)]
pub(super) struct Ticket(Option<Box<Open>>);

#[derive(Debug)]
struct Open {
    audit: Audit,
    action: String,
    region: String,
    resource: String,
    who: Who,
}

impl Ticket {
    /// Says what the call is about: values of its path, and what query and body name.
    pub(super) fn about(&mut self, values: &[String], query: Option<&str>, body: &[u8]) {
        let Some(open) = &mut self.0 else { return };
        let mut parts: Vec<String> = values.to_vec();
        for name in ["groupName", "function", "id"] {
            parts.extend(query::value(query, name).map(|value| value.into_owned()));
        }
        parts.extend(named(body));
        open.resource = parts.join("/");
        if let Some(qualifier) = query::value(query, "Qualifier") {
            open.resource = format!("{}:{qualifier}", open.resource);
        }
    }

    pub(super) fn end(mut self, response: &Response) {
        if let Some(open) = self.0.take() {
            open.close(response.status(), response.error());
        }
    }
}

impl Open {
    fn close(&self, status: u16, error: Option<&str>) {
        let Open { audit, action, region, resource, who } = self;
        audit.call(action, region, resource, who, status, error);
    }
}

impl Drop for Ticket {
    /// The call was given up: there was no thread for it, or it has panicked.
    fn drop(&mut self) {
        if let Some(open) = self.0.take() {
            open.close(if std::thread::panicking() { 500 } else { 503 }, None);
        }
    }
}

/// What a body names. It is looked through, and nothing else of it is kept.
fn named(body: &[u8]) -> Vec<String> {
    let members: HashMap<&str, &RawValue> = serde_json::from_slice(body).unwrap_or_default();
    let name = |name: &&str| serde_json::from_str(members.get(name)?.get()).ok();
    NAMES.iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_tells_its_names_and_nothing_else() {
        let body = br#"{"FunctionName":"f","Code":{"ZipFile":"AAAA"},"logStreamName":3}"#;
        assert_eq!(named(body), ["f"]);
        assert_eq!(named(br#"{"logStreamName":"s","logGroupName":"/g\n"}"#), ["/g\n", "s"]);
        for none in [&b""[..], b"[]", b"{", b"\xff", b"{\"Environment\":{\"FunctionName\":\"x\"}}"]
        {
            assert_eq!(named(none), [""; 0]);
        }
    }
}
