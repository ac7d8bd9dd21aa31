//! The keys that may sign: those of the configuration, which can be read again while the service
//! runs, and those of sandboxes, which live as long as their sandbox.
//!
//! Secrets leave this file towards the signature's check and into a new sandbox's environment, and
//! nowhere else. A sandbox's key belongs to its address; what it may do, its function's role says
//! at each call.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::Peer;
use super::policy::Policy;
use crate::config::{Auth, Secret};
use crate::{random, sigv4};

/// Sandboxes are numbered by dispatch.
type SandboxId = u64;

/// See the module's text.
#[derive(Debug)]
pub struct Keys {
    configured: RwLock<Arc<Auth>>,
    sandboxes: Mutex<HashMap<SandboxId, SandboxKey>>,
}

/// A key that was found: with what to check a signature, and what it is good for.
#[derive(Debug, Clone)]
pub struct Found {
    pub secret: Secret,
    pub policy: Arc<Policy>,
    /// Who signs with it, as AWS would name it.
    pub principal: String,
    /// Whether it is a sandbox's, which may invoke and nothing else.
    pub of_sandbox: bool,
}

/// What a sandbox finds in its environment.
#[derive(Debug, Clone)]
pub struct Issued {
    pub key_id: String,
    pub secret: Secret,
    pub token: Secret,
}

#[derive(Debug)]
struct SandboxKey {
    issued: Issued,
    address: IpAddr,
    role: String,
    function: String,
}

impl Keys {
    pub fn new(auth: Auth) -> Keys {
        Keys { configured: RwLock::new(Arc::new(auth)), sandboxes: Mutex::default() }
    }

    /// What is configured now.
    pub fn configured(&self) -> Arc<Auth> {
        self.configured.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces what is configured; requests that are under way keep what they have found.
    pub fn replace(&self, auth: Auth) {
        *self.configured.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(auth);
    }

    /// Where a request from this address comes from.
    pub fn peer(&self, address: IpAddr) -> Peer {
        let auth = self.configured.read().unwrap_or_else(PoisonError::into_inner);
        if auth.trusted_proxies.contains(&address) {
            Peer::Proxy
        } else if address.is_loopback() && !auth.always {
            Peer::Loopback
        } else {
            Peer::Remote(address)
        }
    }

    /// Whether anybody could sign: else a stranger is told what to configure.
    pub fn any(&self) -> bool {
        let auth = self.configured();
        !auth.keys.is_empty() || !auth.roles.is_empty()
    }

    /// The key that this caller may use, with the token that belongs to it.
    pub fn find(
        &self,
        key_id: &str,
        token: Option<&str>,
        address: IpAddr,
        account_id: &str,
    ) -> Option<Found> {
        let auth = self.configured();
        if let Some(key) = auth.keys.get(key_id) {
            return token.is_none().then(|| Found {
                secret: key.secret.clone(),
                policy: key.policy.clone(),
                principal: format!("arn:aws:iam::{account_id}:user/{key_id}"),
                of_sandbox: false,
            });
        }
        let sandboxes = self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner);
        let key = sandboxes.values().find(|key| key.issued.key_id == key_id)?;
        if key.address != address || !sigv4::is_same(token?, key.issued.token.reveal()) {
            return None;
        }
        let name = key.role.rsplit('/').next().unwrap_or_default();
        Some(Found {
            secret: key.issued.secret.clone(),
            policy: auth.roles.get(&key.role)?.clone(),
            principal: format!("arn:aws:sts::{account_id}:assumed-role/{name}/{}", key.function),
            of_sandbox: true,
        })
    }

    /// A key for a sandbox that is about to start, if its function's role allows anything.
    pub fn issue(
        &self,
        sandbox: SandboxId,
        address: IpAddr,
        role: &str,
        function: &str,
    ) -> Option<Issued> {
        if !self.configured().roles.contains_key(role) {
            return None;
        }
        let random = |length: usize| {
            let bytes: Vec<u8> = (0..length.div_ceil(16)).flat_map(|_| random::bytes()).collect();
            STANDARD_NO_PAD.encode(bytes)
        };
        // Temporary keys begin so on AWS, and have 20 characters and 40 in the secret.
        let id: String = random(32).bytes().map(letter).take(16).collect();
        let issued = Issued {
            key_id: format!("ASIA{id}"),
            secret: Secret::of_random(random(32).chars().take(40).collect()),
            token: Secret::of_random(random(48)),
        };
        let (role, function) = (role.to_owned(), function.to_owned());
        let key = SandboxKey { issued: issued.clone(), address, role, function };
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner).insert(sandbox, key);
        Some(issued)
    }

    /// The sandbox's life is over, and so is its key's.
    pub fn revoke(&self, sandbox: SandboxId) {
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner).remove(&sandbox);
    }
}

/// Capital letters and digits, as key ids have.
fn letter(byte: u8) -> char {
    char::from(match byte.to_ascii_uppercase() {
        other @ (b'A'..=b'Z' | b'2'..=b'7') => other,
        other => b'A' + other % 26,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AccessKey;

    const ROLE: &str = "arn:aws:iam::000000000000:role/path/caller";

    fn auth() -> Auth {
        let policy = r#"{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}"#;
        let policy = Arc::new(Policy::parse(policy).unwrap());
        let key = AccessKey { secret: Secret::for_tests("s"), policy: policy.clone() };
        Auth {
            always: false,
            trusted_proxies: vec![[127, 0, 0, 9].into()],
            keys: [("AK".to_owned(), key)].into(),
            roles: [(ROLE.to_owned(), policy)].into(),
        }
    }

    fn address(last: u8) -> IpAddr {
        [172, 30, 0, last].into()
    }

    #[test]
    fn loopback_is_open_until_it_is_closed_or_a_proxys() {
        let keys = Keys::new(auth());
        for host in ["127.0.0.1", "127.9.9.9", "::1"] {
            assert_eq!(keys.peer(host.parse().unwrap()), Peer::Loopback);
        }
        assert_eq!(keys.peer([127, 0, 0, 9].into()), Peer::Proxy);
        for remote in ["0.0.0.0", "128.0.0.1", "172.17.0.1", "fe80::1", "::"] {
            let address: IpAddr = remote.parse().unwrap();
            assert_eq!(keys.peer(address), Peer::Remote(address));
        }
        keys.replace(Auth { always: true, ..auth() });
        let host: IpAddr = [127, 0, 0, 1].into();
        assert_eq!(keys.peer(host), Peer::Remote(host));
    }

    #[test]
    fn a_sandboxs_key_is_good_at_its_address_with_its_token_for_its_life() {
        let keys = Keys::new(auth());
        assert!(keys.issue(7, address(2), "arn:aws:iam::000000000000:role/x", "f").is_none());
        let issued = keys.issue(7, address(2), ROLE, "f").unwrap();
        assert!(issued.key_id.len() == 20 && issued.secret.reveal().len() == 40, "{issued:?}");
        let token = Some(issued.token.reveal());
        let find = |token, address| keys.find(&issued.key_id, token, address, "0");
        let found = find(token, address(2)).unwrap();
        assert_eq!(found.principal, "arn:aws:sts::0:assumed-role/caller/f");
        assert!(found.of_sandbox);
        assert!(find(token, address(3)).is_none(), "another sandbox has it");
        assert!(find(None, address(2)).is_none() && find(Some("x"), address(2)).is_none());
        keys.replace(Auth { roles: HashMap::new(), ..auth() });
        assert!(find(token, address(2)).is_none(), "its role allows nothing any more");
        keys.replace(auth());
        assert!(find(token, address(2)).is_some());
        let other = keys.issue(7, address(2), ROLE, "f").unwrap();
        assert!(find(token, address(2)).is_none(), "a second try has another");
        assert_ne!(other.secret, issued.secret);
        keys.revoke(7);
        let token = Some(other.token.reveal());
        assert!(keys.find(&other.key_id, token, address(2), "0").is_none());
    }

    #[test]
    fn a_configured_key_has_no_token_and_may_go() {
        let keys = Keys::new(auth());
        let found = keys.find("AK", None, address(9), "0").unwrap();
        assert_eq!((found.principal.as_str(), found.of_sandbox), ("arn:aws:iam::0:user/AK", false));
        assert!(keys.find("AK", Some("t"), address(9), "0").is_none());
        assert!(keys.find("BK", None, address(9), "0").is_none());
        assert!(keys.any());
        keys.replace(Auth { keys: HashMap::new(), roles: HashMap::new(), ..auth() });
        assert!(keys.find("AK", None, address(9), "0").is_none() && !keys.any());
    }
}
