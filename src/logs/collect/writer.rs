//! Hands events to the store, on a thread of its own.
//!
//! The store may wait for the disk, and the reader of the containers' output must not: a container
//! whose output nobody reads stands still. So what the disk is too slow for is left out, within a
//! bound and counted, and never holds up a function.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::subject::Place;
use crate::logs::{LogError, LogEvent, LogStore};

/// What may wait for the disk before functions' lines are left out; at twice as much, everything is.
const MAX_WAITING_BYTES: usize = 16 << 20;
/// What an event takes beside its text.
const EVENT_BYTES: usize = 64;

/// Where events go to.
pub trait Sink: Send + Sync {
    fn append(&self, place: &Place, events: &[LogEvent]) -> Result<(), LogError>;
}

impl Sink for LogStore {
    fn append(&self, place: &Place, events: &[LogEvent]) -> Result<(), LogError> {
        LogStore::append(self, &place.region, &place.group, &place.stream, events)
    }
}

enum Order {
    Append(Arc<Place>, Vec<LogEvent>, usize),
    /// Everything before this is stored.
    Sync(Sender<()>),
}

#[derive(Debug)]
pub(super) struct Writer {
    /// Unbounded by itself: `waiting` bounds it.
    orders: Sender<Order>,
    waiting: Arc<AtomicUsize>,
}

impl Writer {
    /// Starts the thread, which ends when this is dropped.
    pub(super) fn start(sink: Arc<dyn Sink>) -> io::Result<Writer> {
        let (orders, ordered) = crossbeam_channel::unbounded();
        let waiting = Arc::new(AtomicUsize::new(0));
        let of_thread = waiting.clone();
        thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || write(&*sink, &ordered, &of_thread))?;
        Ok(Writer { orders, waiting })
    }

    /// Whether no more of the functions' lines should come for now.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= MAX_WAITING_BYTES
    }

    /// False when there is no room even for the service's own lines.
    pub(super) fn push(
        &self,
        place: &Arc<Place>,
        events: Vec<LogEvent>,
        text_bytes: usize,
    ) -> bool {
        let bytes = text_bytes + events.len() * EVENT_BYTES;
        if self.waiting.fetch_add(bytes, Ordering::Relaxed) >= 2 * MAX_WAITING_BYTES {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        // The thread lives as long as this.
        self.orders.send(Order::Append(place.clone(), events, bytes)).is_ok()
    }

    /// Waits until everything so far is stored; false when that takes too long.
    pub(super) fn sync(&self, within: Duration) -> bool {
        let (done, stored) = crossbeam_channel::bounded(1);
        let _ = self.orders.send(Order::Sync(done));
        stored.recv_timeout(within).is_ok()
    }
}

fn write(sink: &dyn Sink, ordered: &Receiver<Order>, waiting: &AtomicUsize) {
    for order in ordered {
        match order {
            Order::Append(place, events, bytes) => {
                // The store counts what it cannot keep, and says so.
                let _ = sink.append(&place, &events);
                waiting.fetch_sub(bytes, Ordering::Relaxed);
            }
            Order::Sync(done) => {
                let _ = done.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Kept {
        gate: Mutex<()>,
        events: Mutex<Vec<String>>,
    }

    impl Sink for Kept {
        fn append(&self, _: &Place, events: &[LogEvent]) -> Result<(), LogError> {
            let _open = self.gate.lock().unwrap();
            let mut kept = self.events.lock().unwrap();
            kept.extend(events.iter().map(|event| event.message.clone()));
            Ok(())
        }
    }

    fn event(message: String) -> LogEvent {
        LogEvent { timestamp_ms: 0, message }
    }

    #[test]
    fn a_disk_that_stands_still_holds_up_nobody() {
        let kept = Arc::new(Kept::default());
        let writer = Writer::start(kept.clone()).unwrap();
        let text = || String::new();
        let place = Arc::new(Place { region: text(), group: text(), stream: text() });
        let closed = kept.gate.lock().unwrap();
        let mut pushed = 0;
        while !writer.is_full() {
            assert!(writer.push(&place, vec![event(format!("{pushed}"))], 1 << 20));
            pushed += 1;
        }
        assert_eq!(pushed, 16);
        assert!(writer.push(&place, vec![event("16".to_owned())], 16 << 20));
        assert!(!writer.push(&place, vec![event("too much".to_owned())], 0));
        assert!(!writer.sync(Duration::from_millis(10)));
        drop(closed);
        assert!(writer.sync(Duration::from_secs(60)));
        assert!(!writer.is_full());
        let expected: Vec<String> = (0..=16).map(|number| number.to_string()).collect();
        assert_eq!(*kept.events.lock().unwrap(), expected);
    }
}
