//! Whether a caller may have what it asks for: the table of `access`, signatures and policies.
//!
//! It is decided twice. By the head alone, before a byte of the body is read: who is known, and
//! whether there is a signature of a known key. Then, with the body, whether the signature is right
//! and what its policy says. Nothing of a request is carried out before both.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::error::AwsError;
use super::permissions::needed;
use super::route::Route;
use super::{Api, answer};
use crate::access::keys::Found;
use crate::access::policy::Decision;
use crate::access::signature::{self, Claim, Message, Refusal};
use crate::access::{self, Caller, Peer, Surface, Verdict};
use crate::function::name::Place;
use crate::http::{Head, Request, Responder, Response};
use crate::sigv4;

/// Bodies up to here are hashed by the worker that has read them: some 0.1 ms.
const INLINE_BYTES: usize = 64 << 10;

impl Api {
    pub(super) fn peer(&self, address: IpAddr) -> Peer {
        self.keys.peer(address)
    }

    /// Who is calling, as far as the head tells.
    pub(super) fn caller(&self, head: &Head<'_>, surface: Surface) -> Caller {
        match self.peer(head.peer.ip()) {
            Peer::Loopback => Caller::Loopback,
            _ if access::takes_signatures(surface) && signature::is_signed(head) => Caller::Signed,
            Peer::Remote(address) if self.dispatcher.is_sandbox(address) => Caller::Sandbox,
            Peer::Remote(_) | Peer::Proxy => Caller::Stranger,
        }
    }

    /// Whether this caller may ask for this, by the head alone; the refusal if not.
    pub(super) fn check_access(&self, head: &Head<'_>, surface: Surface) -> Result<(), Response> {
        let refusal = match access::verdict(self.caller(head, surface), surface) {
            Verdict::Allowed => return Ok(()),
            Verdict::IfSandbox if self.peer(head.peer.ip()) != Peer::Proxy => return Ok(()),
            Verdict::ByPolicy => match self.claim(&Message::of(head), head, surface) {
                Ok(_) => return Ok(()),
                Err(refusal) => refused(&refusal),
            },
            Verdict::Denied if access::takes_signatures(surface) && self.keys.any() => {
                refused(&Refusal::Missing)
            }
            Verdict::IfSandbox | Verdict::IfLocal | Verdict::Denied => {
                AwsError::new(403, "AccessDeniedException", access::DENIED)
            }
        };
        log::debug!("{} was denied {surface:?}: {}", head.peer.ip(), refusal.error_type);
        Err(error(surface, refusal))
    }

    /// The signature of a request and the key that it names.
    fn claim<'a>(
        &self,
        message: &Message<'a>,
        head: &Head<'_>,
        surface: Surface,
    ) -> Result<(Claim<'a>, Found), Refusal> {
        let claim = Claim::read(message, service(surface), SystemTime::now())?;
        let account = &self.settings.account_id;
        let found = self.keys.find(&claim.key_id, claim.token.as_deref(), head.peer.ip(), account);
        Ok((claim, found.ok_or(Refusal::UnknownKey)?))
    }

    /// Goes on with `route` if the caller may have it. What takes time does not hold up a worker.
    pub(super) fn authorize(
        self: &Arc<Self>,
        surface: Surface,
        request: Request<'_>,
        responder: Responder,
    ) {
        if self.caller(&request.head, surface) != Caller::Signed {
            return self.route(request, responder);
        }
        let quick = surface == Surface::Invoke && request.body.len() <= INLINE_BYTES;
        if quick {
            return self.route_signed(surface, request, responder);
        }
        let (api, request) = (self.clone(), request.detach());
        self.block(surface, responder, move |responder| {
            request.with(|request| api.route_signed(surface, request, responder));
        });
    }

    fn route_signed(
        self: &Arc<Self>,
        surface: Surface,
        request: Request<'_>,
        responder: Responder,
    ) {
        match self.check_signed(surface, &request) {
            Ok(()) => self.route(request, responder),
            Err(refusal) => {
                // The policy has spoken: the signature was right, and its key is who asked.
                let known = refusal.error_type == "AccessDeniedException";
                let head = &request.head;
                let who = if known { self.who(head) } else { self.who_at(head.peer.ip()) };
                let (asked, response) = ((head.method, head.path), error(surface, refusal));
                responder.send(self.refused_to(who, asked, response));
            }
        }
    }

    fn check_signed(&self, surface: Surface, request: &Request<'_>) -> Result<(), AwsError> {
        let Request { head, body } = request;
        let message = Message::of(head);
        let (claim, found) =
            self.claim(&message, head, surface).map_err(|refusal| refused(&refusal))?;
        claim
            .verify(&message, found.secret.reveal(), || sigv4::hash(body))
            .map_err(|refusal| refused(&refusal))?;
        // What the operation will take for its region.
        if self.region(head) != claim.region {
            return Err(refused(&Refusal::Incomplete(
                "The credential's region is encoded.".into(),
            )));
        }
        let place = Place { region: &claim.region, account_id: &self.settings.account_id };
        let Some(route) = Route::found(head) else {
            return Ok(()); // There is nothing to do for it.
        };
        let auth = self.keys.configured();
        let needed = needed(route, head, body, place, &auth).map_err(|error| {
            let message = "Could not parse request body into json.";
            AwsError::new(400, "SerializationException", message).because(error)
        })?;
        for (action, resource) in needed {
            let decision = match found.of_sandbox && surface != Surface::Invoke {
                true => Decision::NotAllowed,
                false => found.policy.decide(&action, &resource),
            };
            let why = match decision {
                Decision::Allowed => continue,
                Decision::NotAllowed => {
                    format!("because no identity-based policy allows the {action} action")
                }
                Decision::Denied => "with an explicit deny in an identity-based policy".to_owned(),
            };
            let message = format!(
                "User: {} is not authorized to perform: {action} on resource: {resource} {why}",
                found.principal
            );
            return Err(AwsError::new(403, "AccessDeniedException", message));
        }
        Ok(())
    }
}

/// The service that a signature has to be for.
fn service(surface: Surface) -> &'static str {
    match surface {
        Surface::Logs => "logs",
        Surface::Scheduler => "scheduler",
        _ => "lambda",
    }
}

fn refused(refusal: &Refusal) -> AwsError {
    AwsError::new(403, refusal.error_type(), refusal.to_string())
}

/// A refusal as its surface has it: AWS's JSON 1.1 answers these with 400.
fn error(surface: Surface, mut refusal: AwsError) -> Response {
    if surface == Surface::Logs && refusal.message != access::DENIED {
        refusal.status = 400;
    }
    answer::error(surface, &refusal)
}
