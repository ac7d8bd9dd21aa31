//! What bounds a client, and what is counted of clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The limits of the listener. Every one has a status or a close that tells of it.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Worker threads.
    pub workers: usize,
    /// Open connections in all; one more is answered 503 and closed.
    pub max_connections: usize,
    /// Open connections of one address; one more is answered 503 and closed. An address that is
    /// not loopback also has no more than its share: [`is_fair`].
    pub max_connections_per_address: usize,
    /// Bytes of a request's head: 431 beyond.
    pub max_head_bytes: usize,
    /// Header fields of a request: 431 beyond. At most [`MAX_HEADER_COUNT`].
    pub max_header_count: usize,
    /// Bytes of a request target: 414 beyond.
    pub max_uri_bytes: usize,
    /// Bytes of all bodies that are being received or held, and of unfinished heads: 503 beyond.
    /// The same share of it.
    pub max_buffered_bytes: usize,
    /// From the first byte of a connection or head to the head's end: 408 and close.
    pub head_timeout: Duration,
    /// From a head to the end of its body: 408 and close.
    pub body_timeout: Duration,
    /// Without progress while an answer is being written: close.
    pub write_timeout: Duration,
    /// Between two requests of a connection: close.
    pub keep_alive_timeout: Duration,
}

/// The most header fields a head can have, whatever the configuration says (they are parsed into
/// an array on the stack).
pub(super) const MAX_HEADER_COUNT: usize = 128;

/// Counts of the listener since its start, and what is open now.
#[derive(Debug, Default)]
pub struct Counters {
    pub connections_open: AtomicUsize,
    pub connections_accepted: AtomicU64,
    pub connections_refused: AtomicU64,
    pub accept_errors: AtomicU64,
    pub requests: AtomicU64,
    /// Requests that were refused by their framing, size or pace.
    pub bad_requests: AtomicU64,
    /// Panics caught in a handler; each was answered 500.
    pub panics: AtomicU64,
    pub buffered_bytes: Arc<AtomicUsize>,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Connections, and bytes, that an address may have in any case: a runtime's few, and its answer.
pub(super) const LEAST_CONNECTIONS: usize = 4;
pub(super) const LEAST_BUFFERED_BYTES: usize = 8 << 20;

/// Whether one address has no more than its share of what all have: a quarter of what is left, or
/// `least`. So however much a hostile one asks for, the next one finds something: ten that take all
/// they get leave a tenth. Loopback has no share but the whole; who calls from there is trusted.
pub(super) fn is_fair(own: usize, total: usize, limit: usize, least: usize) -> bool {
    own <= least || own <= limit.saturating_sub(total) / 4
}

/// A part of [`Limits::max_buffered_bytes`], given back when dropped.
#[derive(Debug)]
pub(super) struct Charge {
    total: Arc<AtomicUsize>,
    /// What its address has, where that has a share only.
    own: Option<Arc<AtomicUsize>>,
    bytes: usize,
}

impl Charge {
    pub(super) fn new(total: &Arc<AtomicUsize>, own: Option<Arc<AtomicUsize>>) -> Charge {
        Charge { total: total.clone(), own, bytes: 0 }
    }

    /// Makes the charge `bytes` large if the total stays within `limit`, and the address within its
    /// share.
    pub(super) fn grow_to(&mut self, bytes: usize, limit: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return true;
        }
        let add = |sum: &AtomicUsize| sum.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        let total = add(&self.total);
        let own = self.own.as_deref().map_or(0, add);
        self.bytes += more;
        if total <= limit && is_fair(own, total, limit, LEAST_BUFFERED_BYTES) {
            return true;
        }
        self.shrink(more);
        false
    }

    fn shrink(&mut self, less: usize) {
        self.bytes -= less;
        self.total.fetch_sub(less, Ordering::Relaxed);
        if let Some(own) = &self.own {
            own.fetch_sub(less, Ordering::Relaxed);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_never_exceeds_the_limit_and_is_given_back() {
        let total = Arc::new(AtomicUsize::new(0));
        let mut first = Charge::new(&total, None);
        assert!(first.grow_to(60, 100));
        let mut second = Charge::new(&total, None);
        assert!(!second.grow_to(41, 100));
        assert!(second.grow_to(40, 100));
        assert!(first.grow_to(10, 100), "a charge does not shrink, so this asks for nothing");
        drop(first);
        assert_eq!(total.load(Ordering::Relaxed), 40);
        drop(second);
        assert_eq!(total.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn whoever_takes_all_it_gets_leaves_something_for_the_next() {
        let limit = 512 << 20;
        let total = Arc::new(AtomicUsize::new(0));
        let mut taken = Vec::new();
        for _ in 0..10 {
            let own = Arc::new(AtomicUsize::new(0));
            loop {
                let mut charge = Charge::new(&total, Some(own.clone()));
                if !charge.grow_to(1 << 20, limit) {
                    break;
                }
                taken.push(charge);
            }
        }
        let own = Arc::new(AtomicUsize::new(0));
        let mut answer = Charge::new(&total, Some(own.clone()));
        assert!(answer.grow_to(6 << 20, limit), "an honest one's answer");
        assert!(Charge::new(&total, None).grow_to(32 << 20, limit), "and of loopback some events");
        drop(answer);
        drop(taken);
        assert_eq!((total.load(Ordering::Relaxed), own.load(Ordering::Relaxed)), (0, 0));
    }
}

#[cfg(test)]
pub(super) mod tests_support {
    use super::*;

    /// Limits for unit tests: the product's sizes.
    pub(crate) fn limits() -> Limits {
        Limits {
            workers: 2,
            max_connections: 100,
            max_connections_per_address: 100,
            max_head_bytes: 64 << 10,
            max_header_count: 100,
            max_uri_bytes: 16 << 10,
            max_buffered_bytes: 64 << 20,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            keep_alive_timeout: Duration::from_secs(75),
        }
    }
}
