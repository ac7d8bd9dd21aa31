//! From a host's name to its addresses without the C library's resolver.
//!
//! `getaddrinfo` in a static program loads what the host has installed (nsswitch, and so shared
//! libraries of another version), and fails or worse where that differs. So a name is an address,
//! `localhost`, or stands in `/etc/hosts`; there is no DNS. Nothing is cached: the file may change.
//!
//! Beside `docker::transport` this is the only file that names ureq's `unversioned` parts.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{NextTimeout, TcpConnector};
use ureq::{Agent, Error};

const FILE: &str = "/etc/hosts";
/// Lists that block advertisements have some MB; what stands further behind is not found.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// As many as ureq takes.
const MAX_ADDRESSES: usize = 16;

/// An agent for plain TCP that finds hosts by this file's rules.
pub(crate) fn agent(config: Config) -> Agent {
    Agent::with_parts(config, TcpConnector::default(), HostsFile)
}

/// ureq's question, answered from the hosts file.
#[derive(Debug)]
struct HostsFile;

impl Resolver for HostsFile {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut found = self.empty();
        let port = uri.port_u16().unwrap_or(80);
        for address in addresses(uri.host().unwrap_or_default()) {
            found.push(SocketAddr::new(address, port));
        }
        if found.is_empty() { Err(Error::HostNotFound) } else { Ok(found) }
    }
}

fn addresses(host: &str) -> Vec<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse() {
        return vec![address];
    }
    // RFC 6761 section 6.3: this name is the host itself, whatever a file says.
    if host.eq_ignore_ascii_case("localhost") {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    let mut text = Vec::new();
    let read = File::open(FILE).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut text));
    match read {
        Ok(_) => in_file(&String::from_utf8_lossy(&text), host),
        Err(error) => {
            log::warn!("cannot look up {host:?}: {FILE}: {error}");
            Vec::new()
        }
    }
}

/// Each line is an address and its names; `#` begins a comment (hosts(5)).
fn in_file(text: &str, host: &str) -> Vec<IpAddr> {
    let of_line = |line: &str| -> Option<IpAddr> {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
    };
    text.lines().filter_map(of_line).take(MAX_ADDRESSES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_its_own_name() {
        assert_eq!(addresses("127.0.0.1"), [IpAddr::from([127, 0, 0, 1])]);
        assert_eq!(addresses("[::1]"), [IpAddr::from(Ipv6Addr::LOCALHOST)]);
        assert_eq!(addresses("LocalHost").len(), 2);
        assert!(addresses("no-such-host.invalid").is_empty());
    }

    #[test]
    fn a_name_stands_in_the_file() {
        let text = "# 10.0.0.9 store\n10.0.0.1\tstore alias # other\n\nbad store\n::2 STORE\n";
        let found = in_file(text, "Store");
        assert_eq!(found, ["10.0.0.1".parse::<IpAddr>().unwrap(), "::2".parse().unwrap()]);
        assert_eq!(in_file(text, "alias").len(), 1);
        assert!(in_file(text, "other").is_empty());
        assert!(in_file(text, "10.0.0.1").is_empty());
        assert_eq!(in_file(&"10.0.0.1 a\n".repeat(20), "a").len(), MAX_ADDRESSES);
    }
}
