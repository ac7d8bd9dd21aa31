//! A private IPv4 network in CIDR form. It does not know which one is free: that is the Engine's.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// RFC 1918 section 3.
const PRIVATE: [(Ipv4Addr, u8); 3] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
];

/// A wider network would take more of the private space than 10,000 sandboxes need, a narrower one
/// has no room for a handful.
const MIN_PREFIX: u8 = 16;
const MAX_PREFIX: u8 = 28;

/// Invariant: private as a whole, no host bits set, prefix within its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    network: Ipv4Addr,
    prefix: u8,
}

impl Subnet {
    pub(super) const ALLOWED: &'static str = "empty or a private IPv4 network (RFC 1918) without \
         host bits and with a prefix from 16 to 28, such as 172.30.0.0/16";

    pub(super) fn parse(text: &str) -> Option<Subnet> {
        let (network, digits) = text.split_once('/')?;
        let network: Ipv4Addr = network.parse().ok()?;
        // Two digits and nothing else: `parse` alone would also take "+16".
        if digits.len() != 2 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let prefix: u8 = digits.parse().ok()?;
        let subnet = Subnet { network, prefix };
        let private = PRIVATE.iter().any(|(block, length)| {
            *length <= prefix && network.to_bits() & mask(*length) == block.to_bits()
        });
        let whole = network.to_bits() & !mask(prefix) == 0;
        ((MIN_PREFIX..=MAX_PREFIX).contains(&prefix) && private && whole).then_some(subnet)
    }

    /// The network's own address: the first of the subnet.
    pub fn network(&self) -> Ipv4Addr {
        self.network
    }

    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4.to_bits() & mask(self.prefix) == self.network.to_bits(),
            IpAddr::V6(_) => false,
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// Defined for any number: a prefix beyond 32, which `parse` refuses, masks nothing out.
fn mask(prefix: u8) -> u32 {
    !u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_network_is_read() {
        for text in ["172.30.0.0/16", "10.9.8.0/24", "192.168.0.0/16", "172.31.255.240/28"] {
            assert_eq!(Subnet::parse(text).unwrap().to_string(), text);
        }
        let subnet = Subnet::parse("172.30.0.0/16").unwrap();
        assert!(subnet.contains("172.30.255.1".parse().unwrap()));
        assert!(!subnet.contains("172.31.0.1".parse().unwrap()));
        assert!(!subnet.contains("::ffff:172.30.0.1".parse().unwrap()));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "172.30.0.0",
            "172.30.0.0/",
            "172.30.0.0/15",
            "172.30.0.0/29",
            "172.30.0.0/99",
            "172.30.0.0/+16",
            "172.30.0.0/016",
            "172.30.0.1/16",
            "172.32.0.0/16",
            "8.8.0.0/16",
            "100.64.0.0/16",
            "fd00::/16",
            "172.30.0.0/16 ",
            "10.0.0.0/8",
        ] {
            assert_eq!(Subnet::parse(text), None, "{text}");
        }
    }
}
