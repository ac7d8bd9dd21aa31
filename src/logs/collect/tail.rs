//! The end of an invocation's log, for the caller who has asked for it. Pure.

use std::time::{Duration, Instant};

use uuid::Uuid;

/// What AWS returns at most.
const TAIL_BYTES: usize = 4096;
/// How long a complete tail waits for its caller, who asks in the next moment.
const WAITS: Duration = Duration::from_secs(5);

/// Who waits for a tail.
pub type Waiter = Box<dyn FnOnce(Vec<u8>) + Send>;

/// The last lines that were written.
#[derive(Debug, Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    pub(super) fn push(&mut self, line: &str) {
        let line = &line.as_bytes()[line.len().saturating_sub(TAIL_BYTES)..];
        // Dropping the oldest bytes moves the others: only once in a while.
        if self.0.len() + line.len() > 2 * TAIL_BYTES {
            let surplus = (self.0.len() + line.len() + 1).saturating_sub(TAIL_BYTES);
            self.0.drain(..surplus.min(self.0.len()));
        }
        self.0.extend_from_slice(line);
        self.0.push(b'\n');
    }

    fn finish(mut self) -> Vec<u8> {
        let surplus = self.0.len().saturating_sub(TAIL_BYTES);
        self.0.drain(..surplus);
        self.0
    }
}

/// Tails and those who wait for them: either may come first.
#[derive(Default)]
pub(super) struct Tails {
    complete: Vec<(Uuid, Tail, Instant)>,
    waiting: Vec<(Uuid, Waiter)>,
}

impl Tails {
    pub(super) fn ask(&mut self, id: Uuid, waiter: Waiter) {
        match self.complete.iter().position(|(complete, ..)| *complete == id) {
            Some(at) => waiter(self.complete.swap_remove(at).1.finish()),
            None => self.waiting.push((id, waiter)),
        }
    }

    pub(super) fn complete(&mut self, id: Uuid, tail: Tail, at: Instant) {
        match self.waiting.iter().position(|(waiting, _)| *waiting == id) {
            Some(place) => (self.waiting.swap_remove(place).1)(tail.finish()),
            None => self.complete.push((id, tail, at)),
        }
    }

    pub(super) fn forget_old(&mut self, now: Instant) {
        if !self.complete.is_empty() {
            self.complete.retain(|(.., at)| now.saturating_duration_since(*at) < WAITS);
        }
    }

    pub(super) fn any(&self) -> bool {
        !self.complete.is_empty() || !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn the_last_bytes_are_kept() {
        let mut tail = Tail::default();
        let mut whole = Vec::new();
        for number in 0..2000 {
            let line = format!("line {number}");
            tail.push(&line);
            whole.extend_from_slice(line.as_bytes());
            whole.push(b'\n');
            assert!(tail.0.len() <= 2 * TAIL_BYTES + 1);
        }
        assert_eq!(tail.finish(), whole[whole.len() - TAIL_BYTES..]);
        let mut tail = Tail::default();
        tail.push(&"x".repeat(100_000));
        tail.push("end");
        let text = tail.finish();
        assert_eq!((text.len(), &text[text.len() - 6..]), (TAIL_BYTES, &b"x\nend\n"[..]));
    }

    #[test]
    fn caller_and_tail_meet_whoever_comes_first() {
        let (sender, told) = mpsc::channel();
        let waiter = |name: &'static str| -> Waiter {
            let sender = sender.clone();
            Box::new(move |text| sender.send((name, text)).unwrap())
        };
        let (mut tails, now) = (Tails::default(), Instant::now());
        let [early, late, never] = [1, 2, 3].map(Uuid::from_u128);
        let text = |line: &str| {
            let mut tail = Tail::default();
            tail.push(line);
            tail
        };
        tails.ask(early, waiter("early"));
        tails.complete(late, text("b"), now);
        tails.complete(never, text("c"), now);
        tails.complete(early, text("a"), now);
        tails.ask(late, waiter("late"));
        assert_eq!(told.try_recv().unwrap(), ("early", b"a\n".to_vec()));
        assert_eq!(told.try_recv().unwrap(), ("late", b"b\n".to_vec()));
        assert!(tails.any());
        tails.forget_old(now + WAITS);
        assert!(!tails.any());
    }
}
