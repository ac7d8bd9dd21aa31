//! Cold starts: what the bare Engine calls take, and what the service takes for the same image.
//!
//! Removal, and the making of functions, are not timed. What is created is removed, also after an
//! error.

pub mod bare;
pub mod service;

use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// A cold start that takes longer has failed.
const START_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

fn wait_until(what: &str, mut done: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let begun = Instant::now();
    while !done()? {
        if begun.elapsed() > START_MAX {
            return Err(io::Error::other(format!("waited in vain until {what}")));
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Runs `one` for each of `0..count` on a thread of its own; all results, or the first error.
fn at_once<T: Send>(
    count: usize,
    one: impl Fn(usize) -> io::Result<T> + Sync,
) -> io::Result<Vec<T>> {
    let one = &one;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|index| scope.spawn(move || one(index))).collect();
        // All are joined before the first error is looked at: nothing runs on.
        let ended: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        let died = |_| io::Error::other("a thread died");
        ended.into_iter().map(|result| result.map_err(died)?).collect()
    })
}
