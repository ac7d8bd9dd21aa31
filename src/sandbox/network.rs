//! The sandboxes' network: a bridge with inter-container traffic off and a subnet that is known,
//! so that a sandbox's address can be chosen before it starts and says who is calling.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::docker::{Engine, EngineError, Ipv4Net, Network, NetworkSpec};

/// Subnets to choose from, one after the other: 172.30/16 down to 172.18/16, then 10.213-10.220/16.
fn candidates() -> impl Iterator<Item = Ipv4Net> {
    let upper = (18..=30).rev().map(|n| Ipv4Addr::new(172, n, 0, 0));
    let lower = (213..=220).map(|n| Ipv4Addr::new(10, n, 0, 0));
    upper.chain(lower).filter_map(|address| Ipv4Net::new(address, 16))
}

/// How a network is to be when it has to be made.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub name: String,
    pub subnet: Option<Ipv4Net>,
    /// Without a way to anything but the host.
    pub internal: bool,
    pub owner: String,
}

/// The network as it is.
#[derive(Debug)]
pub struct SandboxNetwork {
    pub name: String,
    pub gateway: Ipv4Addr,
    subnet: Ipv4Net,
    next: AtomicU32,
}

/// Why there is no network.
#[derive(Debug)]
pub enum NetworkError {
    Engine(EngineError),
    /// A network of this name exists and cannot serve.
    Unusable {
        name: String,
        why: String,
    },
    NoFreeSubnet,
}

impl std::fmt::Display for NetworkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NetworkError::Engine(error) => write!(f, "{error}"),
            NetworkError::Unusable { name, why } => write!(
                f,
                "network {name} cannot be used: {why}; remove it (docker network rm {name}) or \
                 name another one in docker.network_name"
            ),
            NetworkError::NoFreeSubnet => {
                write!(f, "no private subnet is free; name one in docker.subnet")
            }
        }
    }
}

impl std::error::Error for NetworkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            NetworkError::Engine(error) => Some(error),
            _ => None,
        }
    }
}

impl From<EngineError> for NetworkError {
    fn from(error: EngineError) -> Self {
        NetworkError::Engine(error)
    }
}

impl SandboxNetwork {
    /// Finds the network, or makes it.
    pub fn ensure(engine: &Engine, wanted: &Wanted) -> Result<SandboxNetwork, NetworkError> {
        if let Some(network) = engine.network(&wanted.name)? {
            return SandboxNetwork::of(&network, wanted.internal);
        }
        let created = create(engine, wanted);
        // Another thread may have been quicker: then the Engine says that the subnet overlaps.
        if let Some(network) = engine.network(&wanted.name)? {
            return SandboxNetwork::of(&network, wanted.internal);
        }
        created?;
        Err(NetworkError::Unusable {
            name: wanted.name.clone(),
            why: "it was removed as soon as it was made".into(),
        })
    }

    fn of(network: &Network, internal: bool) -> Result<SandboxNetwork, NetworkError> {
        let unusable =
            |why: &str| NetworkError::Unusable { name: network.name.clone(), why: why.into() };
        if network.driver != "bridge" {
            return Err(unusable("its driver is not bridge"));
        }
        if internal && !network.internal {
            return Err(unusable("it has a way out, and functions without one are to be on it"));
        }
        if internal && network.inter_container() {
            return Err(unusable("its containers can reach each other"));
        }
        let subnet = *network.subnets.first().ok_or_else(|| unusable("it has no IPv4 subnet"))?;
        let gateway = network.gateway.or_else(|| subnet.host(1));
        let gateway = gateway.ok_or_else(|| unusable("it has no gateway"))?;
        if network.inter_container() {
            log::warn!(
                "containers on network {} can reach each other: it was not made by this service",
                network.name
            );
        }
        // A random start: addresses that an earlier run has used are not used again at once.
        let bytes = uuid::Uuid::new_v4().into_bytes();
        let start = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let next = AtomicU32::new(start % subnet.hosts().max(1));
        Ok(SandboxNetwork { name: network.name.clone(), gateway, subnet, next })
    }

    pub fn subnet(&self) -> Ipv4Net {
        self.subnet
    }

    /// An address for a new sandbox: the next one in turn that is not taken, so that a freed
    /// address rests for as long as the subnet is large.
    pub fn next_address(&self, taken: impl Fn(IpAddr) -> bool) -> Option<Ipv4Addr> {
        let hosts = self.subnet.hosts();
        for _ in 0..hosts {
            let turn = self.next.fetch_add(1, Ordering::Relaxed) % hosts;
            match self.subnet.host(turn + 1) {
                Some(address) if address != self.gateway && !taken(IpAddr::V4(address)) => {
                    return Some(address);
                }
                _ => {}
            }
        }
        None
    }
}

/// The network that is used now, which is made again when somebody has removed it.
#[derive(Debug)]
pub struct Home {
    engine: Engine,
    wanted: Wanted,
    current: RwLock<Arc<SandboxNetwork>>,
}

impl Home {
    pub fn new(engine: Engine, wanted: Wanted, network: SandboxNetwork) -> Home {
        Home { engine, wanted, current: RwLock::new(Arc::new(network)) }
    }

    pub fn current(&self) -> Arc<SandboxNetwork> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes the network again, with the gateway that the running sandboxes and the configuration
    /// know if that is still free.
    pub fn remake(&self) -> Result<(), NetworkError> {
        let mut wanted = self.wanted.clone();
        wanted.subnet = wanted.subnet.or_else(|| Some(self.current().subnet()));
        log::warn!("network {} is gone; it is made again", wanted.name);
        let network = SandboxNetwork::ensure(&self.engine, &wanted)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(network);
        Ok(())
    }
}

/// The Engine has no code of its own for these two; its words have stayed the same since 1.9.
pub(super) fn is_address_taken(error: &EngineError) -> bool {
    matches!(error, EngineError::Status { message, .. }
        if message.contains("Address already in use"))
}

pub(super) fn is_network_missing(error: &EngineError) -> bool {
    matches!(error, EngineError::Status { message, .. }
        if message.contains("network") && message.contains("not found"))
}

fn create(engine: &Engine, wanted: &Wanted) -> Result<(), NetworkError> {
    let mut used: Vec<Ipv4Net> = engine.networks()?.into_iter().flat_map(|n| n.subnets).collect();
    // The Engine does not look at what others on this host use (Podman, virtual machines, a VPN)
    // when it is told a subnet.
    used.extend(routes(&std::fs::read_to_string("/proc/net/route").unwrap_or_default()));
    let choices: Vec<Ipv4Net> = match wanted.subnet {
        Some(subnet) => vec![subnet],
        None => candidates().filter(|c| !used.iter().any(|u| u.overlaps(*c))).collect(),
    };
    let mut refused = None;
    for subnet in choices {
        let spec = NetworkSpec {
            name: wanted.name.clone(),
            subnet: Some(subnet),
            gateway: subnet.host(1),
            inter_container: false,
            internal: wanted.internal,
            labels: [(super::OWNER_LABEL.to_owned(), wanted.owner.clone())].into(),
        };
        match engine.create_network(&spec) {
            Ok(_) => {
                log::info!("made network {} with subnet {subnet}", wanted.name);
                return Ok(());
            }
            // Somebody else was quicker: it is there, which is what was wanted.
            Err(error) if error.is_conflict() => return Ok(()),
            // A subnet can be in use outside the Engine too; then the next one is tried.
            Err(error @ EngineError::Status { .. }) => refused = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(refused.map_or(NetworkError::NoFreeSubnet, NetworkError::Engine))
}

/// The networks that this host has a way to, but for the way to all others.
/// <https://man7.org/linux/man-pages/man5/proc_net.5.html>: addresses as hexadecimal numbers whose
/// bytes are in the network's order.
fn routes(table: &str) -> Vec<Ipv4Net> {
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok().map(u32::from_be);
        let (destination, mask) = (number(1)?, number(7)?);
        let prefix = u8::try_from(mask.leading_ones()).ok()?;
        Ipv4Net::new(Ipv4Addr::from(destination), prefix).filter(|_| prefix > 0)
    };
    table.lines().skip(1).filter_map(route).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn routes_are_networks_in_use() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n\
            eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            cni0\t00001DAC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
            eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\nnonsense\n";
        let found: Vec<String> = routes(table).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["172.29.0.0/16", "10.0.2.0/24"]);
    }

    #[test]
    fn addresses_go_round_and_spare_the_gateway_and_the_taken() {
        let subnet: Ipv4Net = "10.9.0.0/29".parse().unwrap();
        let network = SandboxNetwork {
            name: "n".into(),
            gateway: subnet.host(1).unwrap(),
            subnet,
            next: AtomicU32::new(4),
        };
        let taken: IpAddr = "10.9.0.3".parse().unwrap();
        let given: Vec<String> =
            (0..5).map(|_| network.next_address(|a| a == taken).unwrap().to_string()).collect();
        assert_eq!(given, ["10.9.0.5", "10.9.0.6", "10.9.0.2", "10.9.0.4", "10.9.0.5"]);
        assert_eq!(network.next_address(|_| true), None);
    }

    #[test]
    fn candidates_are_private_and_apart() {
        let all: Vec<Ipv4Net> = candidates().collect();
        for (i, one) in all.iter().enumerate() {
            assert!(one.network().is_private());
            assert!(!all[..i].iter().any(|other| other.overlaps(*one)));
        }
    }
}
