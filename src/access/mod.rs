//! Who is calling, and what that caller may do: one table.
//!
//! A sandbox is known by its address (no NAT lies between a Docker bridge and its host, and a
//! sandbox cannot forge its address: it has no capabilities). A process of the host calls from a
//! loopback address. Everybody else is a stranger, who sees `/health` and is told what to do.
//! Deliberately not here: how a route works, and what a caller may do to which function.

pub mod policy;
pub mod signature;

use std::net::IpAddr;

/// Who is calling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A process on the host itself.
    Loopback,
    /// Something with an address of its own: a sandbox, a container started by hand, or a stranger.
    Remote(IpAddr),
}

impl Peer {
    pub fn of(address: IpAddr) -> Peer {
        if address.is_loopback() { Peer::Loopback } else { Peer::Remote(address) }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    Health,
    /// `/status` and `/metrics`.
    Observe,
    /// The Runtime API.
    Runtime,
    /// Lambda's control API.
    Control,
    /// CloudWatch Logs.
    Logs,
    /// EventBridge Scheduler.
    Scheduler,
    /// Files of this host as a function's code, where an operation of `Control` asks for that.
    HostFiles,
    Invoke,
    /// The operator's view of the asynchronous queue, and what it can change.
    Queue,
}

/// What the table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    /// Allowed to a sandbox; who is not known as one is looked up at the Engine first.
    IfSandbox,
    Denied,
}

/// The table.
pub fn verdict(peer: Peer, surface: Surface) -> Verdict {
    match (surface, peer) {
        (Surface::Health, _) => Verdict::Allowed,
        (_, Peer::Loopback) => Verdict::Allowed,
        (Surface::Runtime, Peer::Remote(_)) => Verdict::IfSandbox,
        (
            Surface::Observe
            | Surface::Control
            | Surface::HostFiles
            | Surface::Logs
            | Surface::Scheduler
            | Surface::Invoke
            | Surface::Queue,
            Peer::Remote(_),
        ) => Verdict::Denied,
    }
}

/// What a stranger reads.
pub const DENIED: &str = "Only processes on the service's own host (127.0.0.1 or ::1) may call \
    this. Call it there, or through a tunnel that ends there (ssh -L).";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_cell_by_cell() {
        use Surface::*;
        let remote = Peer::of([172, 30, 0, 2].into());
        let host = Peer::of([127, 0, 0, 1].into());
        let cells = [
            (Health, Verdict::Allowed, Verdict::Allowed),
            (Observe, Verdict::Allowed, Verdict::Denied),
            (Runtime, Verdict::Allowed, Verdict::IfSandbox),
            (Control, Verdict::Allowed, Verdict::Denied),
            (Logs, Verdict::Allowed, Verdict::Denied),
            (Scheduler, Verdict::Allowed, Verdict::Denied),
            (HostFiles, Verdict::Allowed, Verdict::Denied),
            (Invoke, Verdict::Allowed, Verdict::Denied),
            (Queue, Verdict::Allowed, Verdict::Denied),
        ];
        for (surface, of_host, of_remote) in cells {
            assert_eq!(verdict(host, surface), of_host, "{surface:?}");
            assert_eq!(verdict(remote, surface), of_remote, "{surface:?}");
        }
    }

    #[test]
    fn loopback_is_the_whole_of_it_and_nothing_else() {
        for host in ["127.0.0.1", "127.9.9.9", "::1"] {
            assert_eq!(Peer::of(host.parse().unwrap()), Peer::Loopback);
        }
        for remote in ["0.0.0.0", "128.0.0.1", "172.17.0.1", "fe80::1", "::"] {
            let address: IpAddr = remote.parse().unwrap();
            assert_eq!(Peer::of(address), Peer::Remote(address));
        }
    }
}
