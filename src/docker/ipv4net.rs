//! An IPv4 network in CIDR form, as Docker's address management takes and gives it.
//!
//! Deliberately small: no IPv6, no sets, no iteration.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 network. The address is always the network's first: bits beyond the prefix are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ipv4Net {
    network: u32,
    prefix: u8,
}

impl Ipv4Net {
    /// The network of `prefix` bits that holds `address`; `None` when `prefix` is above 32.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        let network = u32::from(address) & mask(prefix)?;
        Some(Ipv4Net { network, prefix })
    }

    /// The first address, which names the network.
    pub fn network(self) -> Ipv4Addr {
        Ipv4Addr::from(self.network)
    }

    /// The length of the prefix in bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        Ipv4Net::new(address, self.prefix) == Some(self)
    }

    /// Whether the two have an address in common: then the shorter prefix holds the longer.
    pub fn overlaps(self, other: Self) -> bool {
        if self.prefix <= other.prefix {
            self.contains(other.network())
        } else {
            other.contains(self.network())
        }
    }

    /// How many addresses hosts can have: all but the network's own and the broadcast address.
    pub fn hosts(self) -> u32 {
        u32::MAX.checked_shr(u32::from(self.prefix)).map_or(0, |last| last.saturating_sub(1))
    }

    /// The `n`th host address, counted from 1 (which Docker takes for the gateway).
    pub fn host(self, n: u32) -> Option<Ipv4Addr> {
        (1..=self.hosts()).contains(&n).then(|| Ipv4Addr::from(self.network | n))
    }
}

/// The network mask of `prefix` bits.
fn mask(prefix: u8) -> Option<u32> {
    match prefix {
        0 => Some(0),
        1..=32 => Some(u32::MAX << (32 - u32::from(prefix))),
        _ => None,
    }
}

impl fmt::Display for Ipv4Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network(), self.prefix)
    }
}

/// The text is not an IPv4 network in CIDR form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseNetError;

impl fmt::Display for ParseNetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an IPv4 network such as 172.30.0.0/16")
    }
}

impl std::error::Error for ParseNetError {}

impl FromStr for Ipv4Net {
    type Err = ParseNetError;

    /// Takes an address within the network too (`172.30.0.1/16`), as Docker's own answers may.
    fn from_str(text: &str) -> Result<Self, ParseNetError> {
        let (address, prefix) = text.split_once('/').ok_or(ParseNetError)?;
        let address = address.parse().map_err(|_| ParseNetError)?;
        if !prefix.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ParseNetError); // `u8::from_str` would take "+16"
        }
        let prefix = prefix.parse().map_err(|_| ParseNetError)?;
        Ipv4Net::new(address, prefix).ok_or(ParseNetError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn parses_and_prints() {
        assert_eq!(net("172.30.0.0/16").to_string(), "172.30.0.0/16");
        assert_eq!(net("172.30.4.5/16").to_string(), "172.30.0.0/16");
        assert_eq!(net("0.0.0.0/0").prefix(), 0);
        assert_eq!(net("10.1.2.3/32").network(), Ipv4Addr::new(10, 1, 2, 3));
        for bad in ["", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0/8", "::/8"] {
            assert_eq!(bad.parse::<Ipv4Net>(), Err(ParseNetError), "{bad}");
        }
    }

    #[test]
    fn contains_its_own_addresses_only() {
        let net = net("192.168.4.0/22");
        assert!(net.contains(Ipv4Addr::new(192, 168, 7, 255)));
        assert!(!net.contains(Ipv4Addr::new(192, 168, 8, 0)));
        assert!(!net.contains(Ipv4Addr::new(192, 168, 3, 255)));
    }

    #[test]
    fn overlap_is_symmetric() {
        for (a, b, overlap) in [
            ("10.0.0.0/8", "10.20.0.0/16", true),
            ("10.0.0.0/16", "10.1.0.0/16", false),
            ("0.0.0.0/0", "192.168.0.0/24", true),
            ("172.17.0.0/16", "172.17.0.0/16", true),
        ] {
            assert_eq!(net(a).overlaps(net(b)), overlap, "{a} {b}");
            assert_eq!(net(b).overlaps(net(a)), overlap, "{b} {a}");
        }
    }

    #[test]
    fn hosts_leave_out_network_and_broadcast() {
        let small = net("10.9.8.0/30");
        assert_eq!(small.hosts(), 2);
        assert_eq!(small.host(0), None);
        assert_eq!(small.host(1), Some(Ipv4Addr::new(10, 9, 8, 1)));
        assert_eq!(small.host(2), Some(Ipv4Addr::new(10, 9, 8, 2)));
        assert_eq!(small.host(3), None);
        assert_eq!(net("10.0.0.0/16").host(256), Some(Ipv4Addr::new(10, 0, 1, 0)));
        assert_eq!(net("10.0.0.0/31").hosts(), 0);
        assert_eq!(net("10.0.0.0/32").hosts(), 0);
        assert_eq!(net("0.0.0.0/0").hosts(), u32::MAX - 1);
    }
}
