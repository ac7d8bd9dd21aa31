//! sd_watchdog_enabled(3): a sign of life each half of systemd's interval, while there is life.
//!
//! The thread itself only asks: what it is given as `beat` says whether the parts of the service
//! that everything hangs on have answered since the last time. A part that hangs costs the sign, and
//! systemd ends and starts a service whose signs it misses.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::SystemdError;
use super::notify::Notifier;

/// What systemd wants to hear from us within; None when it does not care.
pub fn interval(
    environment: &dyn Fn(&str) -> Option<String>,
    pid: u32,
) -> Result<Option<Duration>, SystemdError> {
    let Some(text) = environment("WATCHDOG_USEC") else { return Ok(None) };
    if let Some(meant) = environment("WATCHDOG_PID") {
        let meant = meant.parse::<u32>().map_err(|_| {
            SystemdError::new(format!("WATCHDOG_PID {meant:?} is not the number of a process"))
        })?;
        if meant != pid {
            return Ok(None);
        }
    }
    match text.parse::<u64>() {
        Ok(micros) if micros > 0 => Ok(Some(Duration::from_micros(micros))),
        _ => Err(SystemdError::new(format!(
            "WATCHDOG_USEC {text:?} is not a number of microseconds above 0"
        ))),
    }
}

/// The thread; it ends when this is dropped, and no sign comes after that.
#[derive(Debug)]
pub struct Watchdog {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    pub fn start(
        notifier: Notifier,
        interval: Duration,
        mut beat: impl FnMut() -> Result<(), String> + Send + 'static,
    ) -> io::Result<Watchdog> {
        let (end, ended) = mpsc::channel::<()>();
        // Below a millisecond it would do nothing else.
        let pause = (interval / 2).max(Duration::from_millis(1));
        let thread = thread::Builder::new().name("watchdog".into()).spawn(move || {
            let mut missed = false;
            while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                match beat() {
                    Ok(()) => {
                        notifier.alive();
                        if std::mem::take(&mut missed) {
                            log::warn!("everything answers again");
                        }
                    }
                    Err(what) => {
                        log::error!("no sign of life to systemd: {what}");
                        missed = true;
                    }
                }
            }
        })?;
        Ok(Watchdog { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systemd::notify::Address;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    fn read(variables: &[(&str, &str)]) -> Result<Option<Duration>, SystemdError> {
        let environment = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        interval(&environment, 42)
    }

    #[test]
    fn the_interval_is_for_one_process() {
        let thirty = Some(Duration::from_secs(30));
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("WATCHDOG_USEC", "30000000")]), Ok(thirty));
        assert_eq!(read(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "42")]), Ok(thirty));
        assert_eq!(read(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "7")]), Ok(None));
        for wrong in ["", "0", "-1", "soon", "99999999999999999999"] {
            let error = read(&[("WATCHDOG_USEC", wrong)]).unwrap_err().to_string();
            assert!(error.starts_with("WATCHDOG_USEC"), "{error}");
        }
        assert!(read(&[("WATCHDOG_USEC", "1"), ("WATCHDOG_PID", "x")]).is_err());
    }

    #[test]
    fn only_life_gives_a_sign_of_it() {
        let name = format!("lambda-watchdog-{}", uuid::Uuid::new_v4());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let systemd = UnixDatagram::bind_addr(&address).unwrap();
        let notifier = Notifier::new(Some(Address::parse(&format!("@{name}")).unwrap()));
        let (alive, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
        let (alive_seen, asks) = (alive.clone(), asked.clone());
        let beat = move || {
            asks.fetch_add(1, Ordering::SeqCst);
            alive_seen.load(Ordering::SeqCst).then_some(()).ok_or_else(|| "it hangs".to_owned())
        };
        let watchdog = Watchdog::start(notifier, Duration::from_millis(4), beat).unwrap();
        let mut sign = [0u8; 32];
        assert_eq!(systemd.recv(&mut sign).unwrap(), "WATCHDOG=1".len());
        alive.store(false, Ordering::SeqCst);
        // Two more questions later the one during which it was told has had its sign, too.
        let wait_for_asks = |more: u32| {
            let until = asked.load(Ordering::SeqCst) + more;
            while asked.load(Ordering::SeqCst) < until {
                thread::sleep(Duration::from_millis(1));
            }
        };
        wait_for_asks(2);
        systemd.set_nonblocking(true).unwrap();
        while systemd.recv(&mut sign).is_ok() {}
        wait_for_asks(3);
        assert!(systemd.recv(&mut sign).is_err(), "a sign of life without life");
        alive.store(true, Ordering::SeqCst);
        systemd.set_nonblocking(false).unwrap();
        systemd.recv(&mut sign).unwrap();
        drop(watchdog);
    }
}
