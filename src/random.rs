//! Random bytes of the kernel, fetched many at a time: an invocation needs 32, and one system call
//! for each would be a sixth of all that a warm invocation makes.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::rand::{GetRandomFlags, getrandom};
use uuid::Uuid;

/// Bytes fetched at once, by each thread.
const BATCH: usize = 1024;

struct Batch {
    bytes: [u8; BATCH],
    used: usize,
}

/// 16 bytes that were never given out before.
pub(crate) fn bytes() -> [u8; 16] {
    thread_local! {
        static BATCH_OF_THREAD: RefCell<Batch> =
            const { RefCell::new(Batch { bytes: [0; BATCH], used: BATCH }) };
    }
    BATCH_OF_THREAD.with_borrow_mut(|batch| {
        if batch.used + 16 > BATCH {
            fill(&mut batch.bytes);
            batch.used = 0;
        }
        let mut given = [0; 16];
        let taken = &mut batch.bytes[batch.used..batch.used + 16];
        given.copy_from_slice(taken);
        // What was given out is not left in memory.
        taken.fill(0);
        batch.used += 16;
        given
    })
}

/// A version 4 UUID (RFC 9562 section 5.4).
pub(crate) fn uuid() -> Uuid {
    uuid::Builder::from_random_bytes(bytes()).into_uuid()
}

/// A trace header that is not sampled.
/// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>
pub(crate) fn trace_id() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let root = u128::from_be_bytes(bytes()) >> 32;
    let parent = u128::from_be_bytes(bytes()) >> 64;
    format!("Root=1-{seconds:08x}-{root:024x};Parent={parent:016x};Sampled=0")
}

/// A number from 0 to below 1, evenly.
pub(crate) fn fraction() -> f64 {
    let [a, b, c, d, ..] = bytes();
    f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0)
}

fn fill(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            // Only a signal can interrupt it: every kernel that runs containers has the call.
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => {
                for chunk in bytes[filled..].chunks_mut(16) {
                    let random = Uuid::new_v4().into_bytes();
                    chunk.copy_from_slice(&random[..chunk.len()]);
                }
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn fractions_are_even() {
        let drawn: Vec<f64> = (0..10_000).map(|_| fraction()).collect();
        assert!(drawn.iter().all(|one| (0.0..1.0).contains(one)));
        // The mean's standard deviation is below 0.003.
        assert!((drawn.iter().sum::<f64>() / 10_000.0 - 0.5).abs() < 0.02);
    }

    #[test]
    fn nothing_is_given_out_twice() {
        let of_thread = || (0..1000).map(|_| uuid()).collect::<Vec<_>>();
        let other = std::thread::spawn(of_thread);
        let mut seen: HashSet<Uuid> = of_thread().into_iter().collect();
        seen.extend(other.join().unwrap());
        assert_eq!(seen.len(), 2000);
        assert!(seen.iter().all(|id| id.get_version_num() == 4));
    }
}
