//! Durations that were measured, and what is said about them.

use std::time::Duration;

/// Durations in ascending order.
#[derive(Debug)]
pub struct Sample(Vec<Duration>);

impl Sample {
    pub fn new(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self(durations)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The duration that `per_mille` thousandths of the sample do not exceed (nearest rank);
    /// zero for an empty sample.
    pub fn quantile(&self, per_mille: usize) -> Duration {
        let rank = (self.0.len() * per_mille).div_ceil(1000).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }
}

/// Microseconds, for people and for JSON.
pub fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Milliseconds, for people and for JSON.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let sample = Sample::new((1..=100).rev().map(Duration::from_millis).collect());
        let quantile = |per_mille| sample.quantile(per_mille).as_millis();
        assert_eq!((quantile(0), quantile(500), quantile(990), quantile(1000)), (1, 50, 99, 100));
        assert_eq!(Sample::new(Vec::new()).quantile(500), Duration::ZERO);
    }
}
