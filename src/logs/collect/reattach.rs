//! Opens streams again that have broken while their containers went on, as over a restart of the
//! Engine; and asks the Engine what it alone can tell. Calls that block, one at a time, on the
//! pool for such calls.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::Collector;
use super::inbox::Entry;
use crate::dispatch::SandboxId;
use crate::http::blocking::Pool;

/// What is fetched of a log for the time without a stream.
const MISSED_BYTES: usize = 4 << 20;
/// The rests between attempts while the Engine does not answer.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often the Engine is asked for figures, which takes it some milliseconds each time.
const FIGURES_EVERY: Duration = Duration::from_millis(100);

/// See the module's text.
pub(super) struct Engineer {
    collector: Collector,
    pool: Arc<Pool>,
    /// A job is under way; it ends in an entry.
    at_work: bool,
    not_before: Instant,
    pause: Duration,
    last_figures: Instant,
}

impl Engineer {
    pub(super) fn new(collector: Collector, pool: Arc<Pool>) -> Engineer {
        let now = Instant::now();
        Engineer {
            collector,
            pool,
            at_work: false,
            not_before: now,
            pause: FIRST_PAUSE,
            last_figures: now,
        }
    }

    /// Opens the stream of a container again that broke at that time. False when that cannot be
    /// tried now.
    pub(super) fn reattach(
        &mut self,
        sandbox: SandboxId,
        container: Arc<str>,
        broke: SystemTime,
        now: Instant,
    ) -> bool {
        if self.at_work || now < self.not_before {
            return false;
        }
        let collector = self.collector.clone();
        self.at_work = self.offer(move || {
            let entry = reattach(&collector, sandbox, &container, broke);
            collector.0.inbox.push_urgent(entry);
        });
        self.at_work
    }

    /// An attempt has ended.
    pub(super) fn reattached(&mut self, well: bool, now: Instant) {
        self.at_work = false;
        self.not_before = now;
        if well {
            self.pause = FIRST_PAUSE;
        } else {
            self.not_before += self.pause;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Asks the Engine how much memory a container uses, if it was not asked a moment ago.
    pub(super) fn measure(&mut self, sandbox: SandboxId, container: &Arc<str>, now: Instant) {
        if now.saturating_duration_since(self.last_figures) < FIGURES_EVERY {
            return;
        }
        self.last_figures = now;
        let (collector, container) = (self.collector.clone(), container.clone());
        self.offer(move || {
            if let Ok(stats) = collector.0.engine.container_stats(&container) {
                let bytes = stats.memory_peak_bytes.unwrap_or(stats.memory_used_bytes);
                collector.0.inbox.push_urgent(Entry::Memory { sandbox, bytes });
            }
        });
    }

    fn offer(&self, job: impl FnOnce() + Send + 'static) -> bool {
        self.pool.offer(Box::new(job)).is_ok()
    }
}

fn reattach(
    collector: &Collector,
    sandbox: SandboxId,
    container: &str,
    broke: SystemTime,
) -> Entry {
    let engine = &collector.0.engine;
    let failed = |error| {
        log::debug!("the output of sandbox {sandbox} is not read yet: {error}");
        Entry::NotReattached { sandbox, gone: false }
    };
    // One that has ended would be waited for until somebody starts it again.
    match engine.container(container) {
        Ok(Some(found)) if found.running => {}
        Ok(_) => return Entry::NotReattached { sandbox, gone: true },
        Err(error) => return failed(error),
    }
    let until = SystemTime::now();
    let attached = match engine.attach(container) {
        Ok(attached) => attached,
        Err(error) => return failed(error),
    };
    // What came before comes first: the stream waits in its socket meanwhile.
    let missed = engine.container_logs(container, Some(broke), Some(until), MISSED_BYTES);
    let missed = missed.unwrap_or_else(|error| {
        log::warn!("some output of sandbox {sandbox} is lost: {error}");
        Default::default()
    });
    Entry::Reattached { sandbox, attached, missed }
}
