//! What systemd and the service tell each other, by the protocols of sd_notify(3),
//! sd_watchdog_enabled(3) and sd_listen_fds(3).
//!
//! [`notify`] says how the service is, [`watchdog`] that it is alive, [`activation`] takes the
//! sockets that a socket unit has opened. Without systemd the environment says nothing, and
//! nothing of this happens. It knows no HTTP and nothing of what the service does.

pub mod activation;
pub mod notify;
pub mod watchdog;

use std::fmt;
use std::net::TcpListener;
use std::time::Duration;

use self::activation::Passed;
use self::notify::{Address, Notifier};
use self::watchdog::Watchdog;

/// What an environment variable of systemd says that cannot be.
#[derive(Debug, PartialEq, Eq)]
pub struct SystemdError(String);

impl SystemdError {
    fn new(text: impl Into<String>) -> SystemdError {
        SystemdError(text.into())
    }
}

impl fmt::Display for SystemdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; systemd sets this, so look at the units, or unset it", self.0)
    }
}

impl std::error::Error for SystemdError {}

/// The service's side of systemd.
#[derive(Debug)]
pub struct Systemd {
    notifier: Notifier,
    interval: Option<Duration>,
    sockets: Vec<TcpListener>,
    watchdog: Option<Watchdog>,
}

impl Systemd {
    /// Reads the environment, takes the passed sockets, and removes the variables that speak of
    /// them. To be called before there is another thread: that removal is not safe beside one that
    /// reads the environment.
    pub fn from_environment() -> Result<Systemd, SystemdError> {
        let environment = |name: &str| std::env::var(name).ok();
        let pid = std::process::id();
        let address = environment("NOTIFY_SOCKET").map(|text| Address::parse(&text)).transpose()?;
        let interval = watchdog::interval(&environment, pid)?;
        let sockets = match activation::passed(&environment, pid)? {
            Passed::Nothing => Vec::new(),
            Passed::ToAnother => {
                log::warn!("LISTEN_FDS is meant for another process (LISTEN_PID): not used");
                Vec::new()
            }
            Passed::Sockets(names) => activation::take(&names)?,
        };
        Ok(Systemd { notifier: Notifier::new(address), interval, sockets, watchdog: None })
    }

    /// The sockets of a socket unit, once.
    pub fn take_sockets(&mut self) -> Vec<TcpListener> {
        std::mem::take(&mut self.sockets)
    }

    /// The service serves. From now on `beat` is asked whether it is alive: what it answers as an
    /// error is what hangs.
    pub fn ready(
        &mut self,
        status: &str,
        beat: impl FnMut() -> Result<(), String> + Send + 'static,
    ) {
        self.notifier.ready(status);
        let Some(interval) = self.interval else { return };
        match Watchdog::start(self.notifier.clone(), interval, beat) {
            Ok(watchdog) => self.watchdog = Some(watchdog),
            Err(error) => {
                log::error!("the watchdog cannot start and systemd will miss it: {error}")
            }
        }
    }

    /// For who reloads: see [`Notifier::reloading`].
    pub fn notifier(&self) -> Notifier {
        self.notifier.clone()
    }

    /// The service stops. systemd asks for no life sign of one that does.
    pub fn stopping(&mut self) {
        self.watchdog = None;
        self.notifier.stopping();
    }
}
