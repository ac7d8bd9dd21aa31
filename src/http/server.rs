//! The listener and its workers as one value: started whole, stopped in order.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, eventfd};

use super::connection::{Mail, Mailbox};
use super::limits::{Counters, Limits};
use super::listener::{self, Admittance};
use super::{Handler, worker};

/// A running listener with its workers.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    stop: OwnedFd,
    workers: Vec<Arc<Mailbox>>,
    connections: Connections,
    threads: Mutex<Threads>,
}

/// Tells who is connected, as long as anybody wants to know.
#[derive(Debug, Clone)]
pub struct Connections(Arc<Admittance>);

impl Connections {
    /// How many connections there are from an address.
    pub fn from(&self, address: IpAddr) -> usize {
        self.0.connections_from(address)
    }
}

/// Tells whether the workers are alive.
#[derive(Debug, Clone)]
pub struct Pulse(Vec<Arc<Mailbox>>);

impl Pulse {
    /// Which workers have not answered since this was last asked; asks them all, for the next time.
    pub fn silent(&self) -> Vec<String> {
        let silent = self.0.iter().enumerate().filter(|(_, worker)| !worker.beat());
        silent.map(|(index, _)| worker::name(index)).collect()
    }
}

/// The threads that have not been joined yet.
#[derive(Debug)]
struct Threads {
    listener: Option<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
}

/// Why the server could not start.
#[derive(Debug)]
pub struct StartError(io::Error);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot start the listener: {}", self.0)
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> StartError {
        StartError(error)
    }
}

impl Server {
    /// Serves on sockets that are bound already.
    pub fn start(
        listeners: Vec<TcpListener>,
        limits: Limits,
        counters: Arc<Counters>,
        handler: Arc<dyn Handler>,
    ) -> Result<Server, StartError> {
        let limits = Arc::new(limits);
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(io::Error::from)?;
        let stop_seen = stop.try_clone()?;
        let (mut mailboxes, mut workers) = (Vec::new(), Vec::new());
        for index in 0..limits.workers.max(1) {
            let (mailbox, thread) =
                worker::start(index, limits.clone(), counters.clone(), handler.clone())?;
            mailboxes.push(mailbox);
            workers.push(thread);
        }
        let admittance = Admittance::new(limits, counters);
        let connections = Connections(admittance.clone());
        let listener = listener::start(listeners, stop_seen, mailboxes.clone(), admittance)?;
        let threads = Mutex::new(Threads { listener: Some(listener), workers });
        Ok(Server { addresses, stop, workers: mailboxes, connections, threads })
    }

    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub fn connections(&self) -> Connections {
        self.connections.clone()
    }

    pub fn pulse(&self) -> Pulse {
        Pulse(self.workers.clone())
    }

    /// Closes the listening sockets. Open connections go on.
    pub fn stop_listening(&self) {
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
        let listener = self.threads.lock().unwrap_or_else(PoisonError::into_inner).listener.take();
        if let Some(listener) = listener {
            let _ = listener.join();
        }
    }

    /// Writes what is still to be written, closes every connection and ends the threads.
    pub fn stop(&self) {
        self.stop_listening();
        for worker in &self.workers {
            worker.post(Mail::Stop);
        }
        let threads = std::mem::take(
            &mut self.threads.lock().unwrap_or_else(PoisonError::into_inner).workers,
        );
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
