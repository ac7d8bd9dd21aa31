//! The listener and its workers as one value: started whole, stopped in order.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
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
    /// The listener's thread first, then the workers'.
    threads: Mutex<(Option<JoinHandle<()>>, Vec<JoinHandle<()>>)>,
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
        let (mut workers, mut threads) = (Vec::new(), Vec::new());
        for index in 0..limits.workers.max(1) {
            let (mailbox, thread) =
                worker::start(index, limits.clone(), counters.clone(), handler.clone())?;
            workers.push(mailbox);
            threads.push(thread);
        }
        let admittance = Admittance::new(limits, counters);
        let listener = listener::start(listeners, stop_seen, workers.clone(), admittance)?;
        Ok(Server { addresses, stop, workers, threads: Mutex::new((Some(listener), threads)) })
    }

    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Closes the listening sockets. Open connections go on.
    pub fn stop_listening(&self) {
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
        let listener = self.threads.lock().unwrap_or_else(PoisonError::into_inner).0.take();
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
        let threads =
            std::mem::take(&mut self.threads.lock().unwrap_or_else(PoisonError::into_inner).1);
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
