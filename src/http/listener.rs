//! Accepts connections, within the limits of all and of one address, and deals them to the workers.
//!
//! Running out of descriptors is met with patience: the listener backs off and what is open goes on.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SocketFlags;

use super::connection::{Mail, Mailbox};
use super::limits::{Counters, LEAST_CONNECTIONS, Limits, is_fair};

/// How long the listener waits after an accept that failed for want of something.
const BACK_OFF: Duration = Duration::from_millis(100);
/// How many are accepted before the other sockets, and the end, are looked at again.
const TURN: usize = 256;
/// Connections that may wait to be accepted; the kernel allows no more than net.core.somaxconn.
const BACKLOG: i32 = 4096;
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 61\r\n\r\n{\"message\":\"This service has as many connections as it may.\"}";

/// Who holds how many connections.
#[derive(Debug)]
pub(super) struct Admittance {
    limits: Arc<Limits>,
    counters: Arc<Counters>,
    by_address: Mutex<HashMap<IpAddr, Holdings>>,
}

/// What one address has, while it has a connection.
#[derive(Debug, Default)]
struct Holdings {
    connections: usize,
    buffered_bytes: Arc<AtomicUsize>,
}

/// The right to be connected, given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    admittance: Arc<Admittance>,
    address: IpAddr,
    /// Bytes that are held of this address; none where it may have all that there are.
    pub(super) buffered_bytes: Option<Arc<AtomicUsize>>,
}

impl Admittance {
    pub(super) fn new(limits: Arc<Limits>, counters: Arc<Counters>) -> Arc<Admittance> {
        Arc::new(Admittance { limits, counters, by_address: Mutex::new(HashMap::new()) })
    }

    /// How many connections there are from an address.
    pub(super) fn connections_from(&self, address: IpAddr) -> usize {
        let by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        by_address.get(&address).map_or(0, |holdings| holdings.connections)
    }

    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Permit> {
        let Limits { max_connections, max_connections_per_address, .. } = *self.limits;
        let total = self.counters.connections_open.load(Ordering::Relaxed) + 1;
        if total > max_connections {
            return None;
        }
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let holdings = by_address.entry(address).or_default();
        let own = holdings.connections + 1;
        let fair = address.is_loopback() || is_fair(own, total, max_connections, LEAST_CONNECTIONS);
        if own > max_connections_per_address || !fair {
            return None;
        }
        holdings.connections = own;
        self.counters.connections_open.fetch_add(1, Ordering::Relaxed);
        let buffered_bytes = (!address.is_loopback()).then(|| holdings.buffered_bytes.clone());
        Some(Permit { admittance: self.clone(), address, buffered_bytes })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let admittance = &self.admittance;
        admittance.counters.connections_open.fetch_sub(1, Ordering::Relaxed);
        let mut by_address = admittance.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(holdings) = by_address.get_mut(&self.address) {
            holdings.connections -= 1;
            if holdings.connections == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

/// Starts the listener's thread. It ends when `stop` becomes readable.
pub(super) fn start(
    listeners: Vec<TcpListener>,
    stop: OwnedFd,
    workers: Vec<Arc<Mailbox>>,
    admittance: Arc<Admittance>,
) -> io::Result<JoinHandle<()>> {
    for listener in &listeners {
        listener.set_nonblocking(true)?;
        // The standard library's 128 overflow in a burst, and a client then tries again after 1 s.
        rustix::net::listen(listener, BACKLOG)?;
        // Accepted sockets inherit this on Linux: an answer must not wait for an acknowledgement.
        rustix::net::sockopt::set_tcp_nodelay(listener, true)?;
    }
    let mut deal = Deal { workers, next: 0, admittance, failing: false };
    thread::Builder::new().name("listener".into()).spawn(move || {
        loop {
            let mut fds: Vec<PollFd<'_>> = vec![PollFd::new(&stop, PollFlags::IN)];
            // While accepting fails, only the end is waited for: a full table stays readable.
            if !deal.failing {
                fds.extend(listeners.iter().map(|l| PollFd::new(l, PollFlags::IN)));
            }
            let back_off = Timespec { tv_sec: 0, tv_nsec: i64::from(BACK_OFF.subsec_nanos()) };
            let _ = poll(&mut fds, deal.failing.then_some(&back_off));
            if !fds[0].revents().is_empty() {
                return;
            }
            deal.failing = !listeners.iter().all(|listener| deal.accept_all(listener));
        }
    })
}

struct Deal {
    workers: Vec<Arc<Mailbox>>,
    next: usize,
    admittance: Arc<Admittance>,
    failing: bool,
}

impl Deal {
    /// Accepts what waits, a turn's worth; false when it failed for want of something.
    fn accept_all(&mut self, listener: &TcpListener) -> bool {
        for _ in 0..TURN {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match rustix::net::acceptfrom_with(listener, flags) {
                Ok((socket, peer)) => {
                    let peer = peer.and_then(|any| SocketAddr::try_from(any).ok());
                    if let Some(peer) = peer {
                        self.hand_on(TcpStream::from(socket), peer);
                    }
                }
                Err(rustix::io::Errno::AGAIN) => return true,
                // The client left before it was accepted (accept(2), "Error handling").
                Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => {}
                Err(error) => {
                    Counters::add(&self.admittance.counters.accept_errors);
                    if !self.failing {
                        log::error!("accepting connections fails and is tried again: {error}");
                    }
                    return false;
                }
            }
        }
        true
    }

    fn hand_on(&mut self, socket: TcpStream, peer: SocketAddr) {
        // An IPv4 client on an IPv6 socket is the same client.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let Some(permit) = self.admittance.admit(peer.ip()) else {
            Counters::add(&self.admittance.counters.connections_refused);
            let _ = rustix::io::write(&socket, FULL); // a new socket's buffer has room for this
            // Closing over unread input would reset the connection, and may take the answer along.
            let _ = socket.shutdown(Shutdown::Write);
            let _ = rustix::io::read(&socket, &mut [0u8; 16 << 10]);
            return;
        };
        Counters::add(&self.admittance.counters.connections_accepted);
        self.workers[self.next].post(Mail::Accepted(socket, peer, permit));
        self.next = (self.next + 1) % self.workers.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::limits::tests_support::limits;

    #[test]
    fn addresses_have_shares_and_loopback_what_is_left() {
        let limits = Limits { max_connections: 100, max_connections_per_address: 30, ..limits() };
        let admittance = Admittance::new(Arc::new(limits), Arc::new(Counters::default()));
        let mut permits = Vec::new();
        let mut take_all = |address: IpAddr| {
            let before = permits.len();
            permits.extend(std::iter::from_fn(|| admittance.admit(address)));
            permits.len() - before
        };
        let taken: Vec<usize> = (1..=6).map(|n| take_all([172, 30, 0, n].into())).collect();
        assert_eq!(taken, [20, 16, 12, 10, 8, 6]);
        assert_eq!(take_all([127, 0, 0, 1].into()), 28);
        assert_eq!(take_all([172, 30, 0, 7].into()), 0, "there is none at all");
        assert!(
            permits
                .iter()
                .all(|permit| { permit.buffered_bytes.is_none() == permit.address.is_loopback() })
        );
        permits.clear();
        assert!(admittance.by_address.lock().unwrap().is_empty());
        assert_eq!(admittance.counters.connections_open.load(Ordering::Relaxed), 0);
    }
}
