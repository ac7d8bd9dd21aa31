//! Where the service listens, and at which address sandboxes reach it.
//!
//! Two kinds of callers have to get through: the host's own processes, who are known by calling
//! from a loopback address, and sandboxes, who cannot reach a loopback address of the host. So to
//! what is configured, or was passed by systemd, the service adds what is missing for one of them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use rustix::net::sockopt;

use crate::config::Config;
use crate::service::StartError;

/// A socket that listens.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    address: SocketAddr,
    /// An IPv6 socket that takes no IPv4.
    only_ipv6: bool,
}

/// The sockets to begin with: those that were passed, else the configured one.
pub fn first(config: &Config, passed: Vec<TcpListener>) -> Result<Vec<Bound>, StartError> {
    let configured = SocketAddr::new(config.server.address, config.server.port);
    if passed.is_empty() {
        return Ok(vec![Bound::new(listen(configured)?)?]);
    }
    let passed: Vec<Bound> = passed.into_iter().map(Bound::new).collect::<Result<_, _>>()?;
    for bound in &passed {
        log::info!("systemd has passed a socket that listens on {}", bound.place.address);
    }
    log::info!("server.address and server.port are not used");
    if !passed.iter().any(|bound| bound.place.address.port() == configured.port()) {
        log::warn!(
            "server.port is {}, and no passed socket has that port: the sub-command queue will not \
             find the service without --endpoint",
            configured.port()
        );
    }
    Ok(passed)
}

/// Adds what sandboxes or the host's processes need beside `bound`. Returns all sockets, and the
/// address of the Runtime API as sandboxes are told it.
pub fn complete(
    bound: Vec<Bound>,
    gateway: Ipv4Addr,
) -> Result<(Vec<TcpListener>, SocketAddr), StartError> {
    let places: Vec<Place> = bound.iter().map(|bound| bound.place).collect();
    let plan = plan(&places, gateway);
    if plan.by_wildcard {
        on_the_hosts_network(gateway)?;
    }
    let mut listeners: Vec<TcpListener> = bound.into_iter().map(|bound| bound.listener).collect();
    if let Some(address) = plan.add {
        listeners.push(listen(address)?);
    }
    Ok((listeners, plan.runtime_api))
}

/// Has the service heard at another network's gateway too: adds a socket where none of these
/// listens there. Returns the address of the Runtime API on that network.
pub fn at(
    listeners: &mut Vec<TcpListener>,
    gateway: Ipv4Addr,
    port: u16,
) -> Result<SocketAddr, StartError> {
    let places = listeners
        .iter()
        .map(|listener| Ok(Bound::new(listener.try_clone().map_err(StartError::Socket)?)?.place));
    let places = places.collect::<Result<Vec<Place>, StartError>>()?;
    let wanted = SocketAddr::new(IpAddr::V4(gateway), port);
    let serves = |place: &Place| {
        let ip = place.address.ip().to_canonical();
        let everywhere = ip.is_unspecified() && !place.only_ipv6;
        place.address.port() == port && (everywhere || ip == wanted.ip())
    };
    if !places.iter().any(serves) {
        listeners.push(listen(wanted)?);
    }
    Ok(wanted)
}

impl Bound {
    fn new(listener: TcpListener) -> Result<Bound, StartError> {
        let address = listener.local_addr().map_err(StartError::Socket)?;
        let only_ipv6 = address.is_ipv6()
            && sockopt::ipv6_v6only(&listener).map_err(|e| StartError::Socket(e.into()))?;
        Ok(Bound { listener, place: Place { address, only_ipv6 } })
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Plan {
    runtime_api: SocketAddr,
    /// Sandboxes come by a socket that listens on all addresses.
    by_wildcard: bool,
    add: Option<SocketAddr>,
}

fn plan(places: &[Place], gateway: Ipv4Addr) -> Plan {
    let address = |place: &Place| {
        let ip = place.address.ip().to_canonical();
        SocketAddr::new(ip, place.address.port())
    };
    let gateway = IpAddr::V4(gateway);
    let find = |wanted: &dyn Fn(&Place) -> bool| places.iter().find(|p| wanted(p)).map(address);
    let everywhere = |place: &Place| address(place).ip().is_unspecified() && !place.only_ipv6;
    let local = |place: &Place| address(place).ip().is_loopback();

    if let Some(wildcard) = find(&everywhere) {
        // One on the gateway itself can be beside it, with another port.
        let own = find(&|place| address(place).ip() == gateway);
        let runtime_api = own.unwrap_or_else(|| SocketAddr::new(gateway, wildcard.port()));
        return Plan { runtime_api, by_wildcard: own.is_none(), add: None };
    }
    let on_gateway = find(&|place| address(place).ip() == gateway);
    let on_host = find(&|place| !local(place) && !address(place).ip().is_unspecified());
    match on_gateway.or(on_host) {
        Some(runtime_api) => {
            let served = |place: &Place| local(place) || address(place).ip().is_unspecified();
            let loopback = match runtime_api.ip() {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            };
            let add = find(&served).is_none();
            let add = add.then(|| SocketAddr::new(loopback, runtime_api.port()));
            Plan { runtime_api, by_wildcard: false, add }
        }
        // Only loopback, or all of IPv6: the bridge's is added.
        None => {
            let port = places.first().map_or(0, |place| place.address.port());
            let runtime_api = SocketAddr::new(gateway, port);
            Plan { runtime_api, by_wildcard: false, add: Some(runtime_api) }
        }
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|source| StartError::Listen { address, source })
}

/// Whether the sandboxes' gateway is an address of this host as the service sees it. It is not in
/// a container without the host's network, where no sandbox would ever be heard of.
fn on_the_hosts_network(gateway: Ipv4Addr) -> Result<(), StartError> {
    match UdpSocket::bind((gateway, 0)) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            Err(StartError::NotOnTheHostsNetwork(gateway))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);

    fn planned(places: &[&str]) -> (String, bool, Option<String>) {
        let place = |text: &&str| {
            let only_ipv6 = text.ends_with('!');
            Place { address: text.trim_end_matches('!').parse().unwrap(), only_ipv6 }
        };
        let plan = plan(&places.iter().map(place).collect::<Vec<_>>(), GATEWAY);
        (plan.runtime_api.to_string(), plan.by_wildcard, plan.add.map(|a| a.to_string()))
    }

    fn expect(places: &[&str], runtime_api: &str, by_wildcard: bool, add: Option<&str>) {
        let expected = (runtime_api.to_owned(), by_wildcard, add.map(str::to_owned));
        assert_eq!(planned(places), expected, "{places:?}");
    }

    #[test]
    fn one_socket_is_completed() {
        expect(&["0.0.0.0:80"], "172.30.0.1:80", true, None);
        expect(&["[::]:80"], "172.30.0.1:80", true, None);
        expect(&["127.0.0.1:80"], "172.30.0.1:80", false, Some("172.30.0.1:80"));
        expect(&["[::1]:80"], "172.30.0.1:80", false, Some("172.30.0.1:80"));
        expect(&["[::]:80!"], "172.30.0.1:80", false, Some("172.30.0.1:80"));
        expect(&["10.0.0.7:80"], "10.0.0.7:80", false, Some("127.0.0.1:80"));
        expect(&["[fd00::7]:80!"], "[fd00::7]:80", false, Some("[::1]:80"));
        expect(&["172.30.0.1:80"], "172.30.0.1:80", false, Some("127.0.0.1:80"));
    }

    #[test]
    fn several_sockets_complete_each_other() {
        expect(&["127.0.0.1:80", "172.30.0.1:80"], "172.30.0.1:80", false, None);
        expect(&["127.0.0.1:81", "172.30.0.1:80"], "172.30.0.1:80", false, None);
        expect(&["127.0.0.1:80", "[::1]:80!"], "172.30.0.1:80", false, Some("172.30.0.1:80"));
        expect(&["[::]:80!", "0.0.0.0:81"], "172.30.0.1:81", true, None);
        expect(&["10.0.0.7:80", "127.0.0.1:81"], "10.0.0.7:80", false, None);
        expect(&["10.0.0.7:80", "172.30.0.1:81"], "172.30.0.1:81", false, Some("127.0.0.1:81"));
        expect(&["0.0.0.0:80", "172.30.0.1:81"], "172.30.0.1:81", false, None);
        expect(&["[::ffff:127.0.0.1]:80"], "172.30.0.1:80", false, Some("172.30.0.1:80"));
    }
}
