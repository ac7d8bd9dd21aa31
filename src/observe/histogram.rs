//! A histogram of durations in fixed memory, recorded without a lock.
//!
//! Log-linear: microseconds below 16 have a bucket each, above that each power of two is divided
//! into 16 buckets, so a bucket is at most 1/16 as wide as its least value and its middle is at
//! most 3.2 % off. It reaches to 2^32 us (71 minutes); longer ones count as that long, only
//! `max` and `sum` keep them whole. 464 counters are 3.7 KiB.
//!
//! It does not forget: rates over time are the scraper's task. A snapshot taken while others
//! record may have some of what is being recorded and not the rest, but agrees with itself:
//! its count is the sum of its buckets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Buckets in a power of two, as a power of two itself.
const SUB_BITS: u32 = 4;
const SUB: usize = 1 << SUB_BITS;
/// Powers of two that are divided: 2^4 to 2^31.
const OCTAVES: usize = 32 - SUB_BITS as usize;
const BUCKETS: usize = SUB + OCTAVES * SUB;

/// Shared between all who record.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    sum_us: AtomicU64,
    max_us: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram::new()
    }
}

impl Histogram {
    pub fn new() -> Histogram {
        Histogram {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            sum_us: AtomicU64::new(0),
            max_us: AtomicU64::new(0),
        }
    }

    /// Two additions, and a third access when the value is the largest so far.
    ///
    /// Relaxed, because no other memory is published by these counters.
    pub fn record(&self, value: Duration) {
        let us = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get(index(us)) {
            bucket.fetch_add(1, Relaxed);
        }
        self.sum_us.fetch_add(us, Relaxed);
        if us > self.max_us.load(Relaxed) {
            self.max_us.fetch_max(us, Relaxed);
        }
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            buckets: self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect(),
            sum_us: self.sum_us.load(Relaxed),
            max_us: self.max_us.load(Relaxed),
        }
    }
}

/// The state at one moment, for any number of questions.
#[derive(Debug, Clone)]
pub struct Snapshot {
    buckets: Vec<u64>,
    sum_us: u64,
    max_us: u64,
}

impl Snapshot {
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }

    pub fn max(&self) -> Duration {
        Duration::from_micros(self.max_us)
    }

    /// The least recorded value that at least this share of all does not exceed; zero when nothing
    /// was recorded. 0.5 is the median; a share outside 0 to 1 counts as the nearer of the two.
    pub fn quantile(&self, share: f64) -> Duration {
        let count = self.count();
        // A cast from float saturates and makes NaN 0; counts beyond 2^53 are out of reach.
        #[expect(clippy::cast_possible_truncation, reason = "a rank is at most the count")]
        let rank = (share.clamp(0.0, 1.0) * count as f64).ceil() as u64;
        let rank = rank.clamp(1, count.max(1));
        let mut seen = 0;
        for (index, in_bucket) in self.buckets.iter().enumerate() {
            seen += in_bucket;
            if seen >= rank {
                // The largest value is known exactly: no quantile goes beyond it.
                return Duration::from_micros(middle(index).min(self.max_us));
            }
        }
        Duration::ZERO
    }

    /// For each bound how many values are not above it: the buckets of Prometheus, whose last,
    /// `+Inf`, is `count`. A bound inside a bucket takes that as a whole or not at all,
    /// whichever side its middle is on, so it acts as a bound at most 3.2 % off.
    pub fn cumulative(&self, bounds: &[Duration]) -> Vec<u64> {
        let below = |bound: &Duration| {
            let us = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
            let buckets = self.buckets.iter().enumerate();
            buckets.take_while(|(index, _)| middle(*index) <= us).map(|(_, count)| count).sum()
        };
        bounds.iter().map(below).collect()
    }
}

/// The bucket of a value.
fn index(us: u64) -> usize {
    let Ok(us) = u32::try_from(us) else { return BUCKETS - 1 };
    let Some(shift) = (31 - SUB_BITS).checked_sub(us.leading_zeros()) else {
        return us as usize;
    };
    // The leading bit and the SUB_BITS after it: from SUB to 2 * SUB - 1.
    shift as usize * SUB + (us >> shift) as usize
}

/// The value in the middle of a bucket.
fn middle(index: usize) -> u64 {
    let Some(shift) = (index / SUB).checked_sub(1) else { return index as u64 };
    let least = ((SUB + index % SUB) as u64) << shift;
    // The width is 1 << shift; a bucket of one value is its own middle.
    least + ((1_u64 << shift) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        let mut last = 0;
        for value in 0..(1 << 20) {
            let index = index(value);
            assert!(index == last || index == last + 1, "{value}");
            last = index;
        }
        assert_eq!(index(u64::from(u32::MAX)), BUCKETS - 1);
        assert_eq!(index(u64::MAX), BUCKETS - 1);
        assert_eq!(index(1 << 31), BUCKETS - SUB);
        for bucket in 0..BUCKETS {
            assert_eq!(index(middle(bucket)), bucket);
        }
    }

    #[test]
    fn a_value_comes_back_within_the_promised_error() {
        let mut value = 1_u64;
        while value < 3_600_000_000 {
            for near in [value - 1, value, value + 1] {
                let histogram = Histogram::new();
                histogram.record(us(near));
                // A larger one, so that the exact maximum does not help.
                histogram.record(us(4_000_000_000));
                let found = histogram.snapshot().quantile(0.5).as_micros() as f64;
                let error = (found - near as f64).abs();
                assert!(error <= near as f64 * 0.032, "{near} came back as {found}");
            }
            value += value / 7 + 1;
        }
    }

    #[test]
    fn quantiles_of_a_known_distribution() {
        let histogram = Histogram::new();
        for value in 1..=10_000 {
            histogram.record(us(value));
        }
        let snapshot = histogram.snapshot();
        for (share, exact) in [(0.5, 5000.0), (0.9, 9000.0), (0.99, 9900.0), (0.001, 10.0)] {
            let found = snapshot.quantile(share).as_micros() as f64;
            assert!((found / exact - 1.0).abs() <= 0.06, "{share}: {found}");
        }
        assert_eq!(snapshot.count(), 10_000);
        assert_eq!(snapshot.sum(), us(50_005_000));
        assert_eq!(snapshot.max(), us(10_000));
        assert!(snapshot.quantile(1.0) <= snapshot.max());
        assert_eq!(snapshot.quantile(0.0), us(1));
        assert_eq!(snapshot.quantile(-1.0), us(1));
        assert_eq!(snapshot.quantile(f64::NAN), us(1));
        assert_eq!(snapshot.quantile(7.0), snapshot.quantile(1.0));
    }

    #[test]
    fn nothing_recorded_is_all_zero() {
        let snapshot = Histogram::new().snapshot();
        assert_eq!(snapshot.quantile(0.99), Duration::ZERO);
        assert_eq!(snapshot.count(), 0);
        assert_eq!(snapshot.cumulative(&[us(1), us(1000)]), [0, 0]);
    }

    #[test]
    fn what_is_longer_than_the_range_is_counted_and_remembered() {
        let histogram = Histogram::new();
        histogram.record(Duration::from_secs(86_400));
        histogram.record(Duration::ZERO);
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.count(), 2);
        assert_eq!(snapshot.max(), Duration::from_secs(86_400));
        assert_eq!(snapshot.quantile(0.5), Duration::ZERO);
        assert_eq!(snapshot.cumulative(&[Duration::from_secs(3600)]), [1]);
    }

    #[test]
    fn cumulative_counts_rise_with_the_bounds() {
        let histogram = Histogram::new();
        for value in [3, 8, 15, 900, 1100, 50_000] {
            histogram.record(us(value));
        }
        let bounds = [us(2), us(3), us(15), us(1000), us(10_000), us(60_000)];
        assert_eq!(histogram.snapshot().cumulative(&bounds), [0, 1, 3, 4, 5, 6]);
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let histogram = Arc::new(Histogram::new());
        let threads: Vec<_> = (0..4_u64)
            .map(|thread| {
                let histogram = Arc::clone(&histogram);
                thread::spawn(move || {
                    for value in 0..20_000 {
                        histogram.record(us(value % 100 * (thread + 1)));
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.count(), 80_000);
        // 200 rounds of 0 + 1 + ... + 99, times 1 + 2 + 3 + 4.
        assert_eq!(snapshot.sum(), us(200 * 4950 * 10));
        assert_eq!(snapshot.max(), us(99 * 4));
    }
}
