//! The thread that wakes dispatch when something is due.
//!
//! It sleeps until the earliest moment asked for. A warm invocation asks for a moment later than
//! that, so it costs a comparison and wakes nobody.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Timekeeper {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    base: Instant,
    /// Microseconds after `base` at which the thread wakes; `u64::MAX` for never.
    armed: AtomicU64,
    /// A sign of life was asked for, and the thread has not done anything since.
    asked: AtomicBool,
    lock: Mutex<bool>,
    wake: Condvar,
}

impl Timekeeper {
    pub(super) fn new() -> Timekeeper {
        Timekeeper {
            shared: Arc::new(Shared {
                base: Instant::now(),
                armed: AtomicU64::new(u64::MAX),
                asked: AtomicBool::new(false),
                lock: Mutex::new(false),
                wake: Condvar::new(),
            }),
        }
    }

    /// Starts the thread; `due` runs at each moment asked for, until it returns false.
    pub(super) fn start(&self, due: impl Fn() -> bool + Send + 'static) -> io::Result<()> {
        let shared = self.shared.clone();
        thread::Builder::new().name("timekeeper".into()).spawn(move || {
            while shared.sleep() {
                // Whatever is asked for from here on is asked for anew.
                shared.armed.store(u64::MAX, Ordering::SeqCst);
                if !due() {
                    return;
                }
                shared.asked.store(false, Ordering::SeqCst);
            }
        })?;
        Ok(())
    }

    /// Whether the thread has done what was due since this was last asked; asks it to, for the
    /// next time.
    pub(super) fn beat(&self) -> bool {
        let answered = !self.shared.asked.swap(true, Ordering::SeqCst);
        self.arm(Some(Instant::now()));
        answered
    }

    /// Asks for a wake-up at `at`, if none is asked for that early.
    pub(super) fn arm(&self, at: Option<Instant>) {
        let Some(at) = at else { return };
        let micros = at.saturating_duration_since(self.shared.base).as_micros();
        // Rounded up, so that the thread never wakes just before the moment.
        let micros = u64::try_from(micros).unwrap_or(u64::MAX - 1).saturating_add(1);
        if micros < self.shared.armed.load(Ordering::Relaxed)
            && micros < self.shared.armed.fetch_min(micros, Ordering::SeqCst)
        {
            let _guard = self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.shared.wake.notify_one();
        }
    }
}

impl Drop for Timekeeper {
    fn drop(&mut self) {
        *self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.wake.notify_one();
    }
}

impl Shared {
    /// Sleeps until the armed moment; false at the end.
    fn sleep(&self) -> bool {
        let mut ended = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if *ended {
                return false;
            }
            let armed = self.armed.load(Ordering::SeqCst);
            let now = u64::try_from(self.base.elapsed().as_micros()).unwrap_or(u64::MAX);
            if armed <= now {
                return true;
            }
            ended = if armed == u64::MAX {
                self.wake.wait(ended).unwrap_or_else(PoisonError::into_inner)
            } else {
                let left = Duration::from_micros(armed - now);
                self.wake.wait_timeout(ended, left).unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_thread_that_hangs_has_no_pulse() {
        let (started, running) = mpsc::channel();
        let (release, gate) = mpsc::channel::<()>();
        let keeper = Timekeeper::new();
        keeper.start(move || started.send(()).is_ok() && gate.recv().is_ok()).unwrap();
        assert!(keeper.beat(), "nobody has asked before");
        running.recv().unwrap();
        assert!(!keeper.beat(), "it is still at what was due");
        release.send(()).unwrap();
        running.recv().unwrap();
        // What was due the first time is done, so the question was answered; this one hangs again.
        assert!(keeper.beat());
        assert!(!keeper.beat());
        drop(release);
    }

    #[test]
    fn an_earlier_moment_wins_and_each_is_kept() {
        let (sender, woken) = mpsc::channel();
        let keeper = Timekeeper::new();
        keeper.start(move || sender.send(()).is_ok()).unwrap();
        let start = Instant::now();
        keeper.arm(Some(start + Duration::from_secs(600)));
        keeper.arm(Some(start + Duration::from_millis(20)));
        woken.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(20));
        let again = Instant::now() + Duration::from_millis(20);
        keeper.arm(Some(again));
        woken.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(Instant::now() >= again);
        drop(keeper);
        assert!(woken.recv_timeout(Duration::from_secs(60)).is_err(), "the thread has ended");
    }
}
