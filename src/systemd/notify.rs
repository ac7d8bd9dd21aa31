//! sd_notify(3): datagrams of `NAME=VALUE` lines to the socket that `NOTIFY_SOCKET` names.
//!
//! What cannot be sent is logged once and keeps nobody from anything: systemd sees what is missing.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::SystemdError;

/// How long systemd may be too busy to take a datagram.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a status line may have; systemd takes 4 KiB of a datagram.
const MAX_STATUS: usize = 1024;

/// Where systemd hears.
#[derive(Debug, Clone)]
pub struct Address(SocketAddr);

impl Address {
    /// A path, or a name in the abstract namespace with `@` for its first byte.
    pub fn parse(text: &str) -> Result<Address, SystemdError> {
        let address = match text.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None if text.starts_with('/') => SocketAddr::from_pathname(text),
            None => {
                return Err(SystemdError::new(format!(
                    "NOTIFY_SOCKET {text:?} is neither an absolute path nor begins with @"
                )));
            }
        };
        address.map(Address).map_err(|error| {
            SystemdError::new(format!("NOTIFY_SOCKET {text:?} is no address: {error}"))
        })
    }
}

/// Tells systemd, if there is one.
#[derive(Debug, Clone)]
pub struct Notifier(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    address: Address,
    /// That it fails has been logged.
    failing: AtomicBool,
}

impl Notifier {
    pub fn new(address: Option<Address>) -> Notifier {
        let shared = |address| Arc::new(Shared { address, failing: AtomicBool::new(false) });
        Notifier(address.map(shared))
    }

    /// The service serves, or serves again after [`reloading`](Self::reloading).
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\n{}", status_line(status)));
    }

    /// What `systemctl status` shows.
    pub fn status(&self, status: &str) {
        self.send(&status_line(status));
    }

    /// The configuration is about to be read again; [`ready`](Self::ready) says that it has been.
    /// The time lets systemd (`Type=notify-reload`) tell this reload from one before its signal.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let micros = u64::try_from(now.tv_nsec / 1000).unwrap_or(0);
        let micros = seconds.saturating_mul(1_000_000).saturating_add(micros);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=Stopping");
    }

    /// The sign of life that the watchdog waits for.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, text: &str) {
        let Some(shared) = &self.0 else { return };
        // A socket for each datagram: who hears may have been made anew, and they are few.
        let sent = UnixDatagram::unbound().and_then(|socket| {
            socket.set_write_timeout(Some(PATIENCE))?;
            socket.send_to_addr(text.as_bytes(), &shared.address.0)
        });
        match sent {
            Ok(_) => shared.failing.store(false, Ordering::Relaxed),
            Err(error) => {
                if !shared.failing.swap(true, Ordering::Relaxed) {
                    log::warn!("cannot tell systemd {text:?}: {error}");
                }
            }
        }
    }
}

/// One line, whatever is in it.
fn status_line(status: &str) -> String {
    let line = status.chars().map(|c| if c.is_control() { ' ' } else { c });
    format!("STATUS={}", line.take(MAX_STATUS).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0u8; 4096];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn addresses_are_paths_or_abstract_names() {
        assert!(Address::parse("/run/systemd/notify").is_ok());
        assert!(Address::parse("@name").is_ok());
        for wrong in ["", "relative", "vsock:2:9"] {
            let error = Address::parse(wrong).unwrap_err().to_string();
            assert!(error.starts_with("NOTIFY_SOCKET"), "{error}");
        }
        let long = format!("/{}", "x".repeat(200));
        assert!(Address::parse(&long).unwrap_err().to_string().contains("is no address"));
    }

    #[test]
    fn each_state_is_one_datagram() {
        let name = format!("lambda-notify-{}", uuid::Uuid::new_v4());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let systemd = UnixDatagram::bind_addr(&address).unwrap();
        let notifier = Notifier::new(Some(Address::parse(&format!("@{name}")).unwrap()));
        notifier.ready("Serving\nREADY=0");
        assert_eq!(heard(&systemd), "READY=1\nSTATUS=Serving READY=0");
        notifier.reloading();
        let reloading = heard(&systemd);
        let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(micros.parse::<u64>().unwrap() > 0);
        notifier.alive();
        assert_eq!(heard(&systemd), "WATCHDOG=1");
        notifier.stopping();
        assert_eq!(heard(&systemd), "STOPPING=1\nSTATUS=Stopping");
        drop(systemd);
        notifier.alive(); // nobody hears: nothing follows from it
        Notifier::new(None).alive();
    }
}
