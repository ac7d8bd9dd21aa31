//! The second fixed pool: for work that blocks (store commits, Engine calls).
//!
//! A worker offers a job and goes on. When as many jobs wait as may wait, the offer is refused and
//! the job comes back, so that its responder can say 503.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TrySendError};

use super::limits::Counters;

/// A piece of blocking work.
pub type Job = Box<dyn FnOnce() + Send>;

/// See the module's text. Field order matters: the sender goes first, so that the threads see the
/// end of the queue before they are joined.
#[derive(Debug)]
pub struct Pool {
    jobs: Option<Sender<Job>>,
    waiting: Receiver<Job>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Panics of jobs are counted in `counters`.
    pub fn start(
        name: &str,
        threads: usize,
        max_waiting: usize,
        counters: &Arc<Counters>,
    ) -> std::io::Result<Pool> {
        let (jobs, waiting) = crossbeam_channel::bounded::<Job>(max_waiting);
        let mut handles = Vec::new();
        for index in 0..threads.max(1) {
            let (jobs, counters) = (waiting.clone(), counters.clone());
            handles.push(thread::Builder::new().name(format!("{name}-{index}")).spawn(
                move || {
                    for job in jobs {
                        if catch_unwind(AssertUnwindSafe(job)).is_err() {
                            Counters::add(&counters.panics);
                            log::error!("a blocking job panicked; its request was answered 500");
                        }
                    }
                },
            )?);
        }
        Ok(Pool { jobs: Some(jobs), waiting, threads: handles })
    }

    /// Gives a job to the pool, or back when too many wait.
    pub fn offer(&self, job: Job) -> Result<(), Job> {
        match &self.jobs {
            Some(jobs) => jobs.try_send(job).map_err(|error| match error {
                TrySendError::Full(job) | TrySendError::Disconnected(job) => job,
            }),
            None => Err(job),
        }
    }

    /// Jobs that wait for a thread now.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_full_pool_gives_the_job_back_and_a_panic_costs_no_thread() {
        let counters = Arc::new(Counters::default());
        let pool = Pool::start("test", 1, 1, &counters).unwrap();
        let (release, gate) = mpsc::channel::<()>();
        let (started, running) = mpsc::channel::<()>();
        assert!(pool.offer(Box::new(|| panic!("expected by this test"))).is_ok());
        let offer = |job: Job| {
            let mut job = Some(job);
            while let Some(back) = job.take() {
                job = pool.offer(back).err();
            }
        };
        offer(Box::new(move || {
            started.send(()).unwrap();
            gate.recv().unwrap();
        }));
        // The same thread has gone on: there is no other.
        running.recv().unwrap();
        assert_eq!(counters.panics.load(std::sync::atomic::Ordering::Relaxed), 1);
        assert!(pool.offer(Box::new(|| ())).is_ok());
        assert!(pool.offer(Box::new(|| ())).is_err());
        assert_eq!(pool.waiting(), 1);
        release.send(()).unwrap();
    }
}
