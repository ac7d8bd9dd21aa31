//! Refused calls, counted for each address: whoever calls a thousand times a second gets a few lines
//! and a count. Pure; time comes in as an argument.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Lines that an address gets in [`WINDOW`].
pub(super) const LINES: u32 = 20;
pub(super) const WINDOW: Duration = Duration::from_secs(1);
/// Addresses that are told apart at one time; the others share one count.
const ADDRESSES: usize = 1024;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Floods(HashMap<Option<IpAddr>, Window>);

#[derive(Debug)]
struct Window {
    since: Instant,
    calls: u32,
    uncounted: u64,
}

impl Floods {
    /// Whether this call has a line of its own.
    pub(super) fn may_be_told(&mut self, address: IpAddr, now: Instant) -> bool {
        let known = self.0.contains_key(&Some(address)) || self.0.len() < ADDRESSES;
        let key = known.then_some(address);
        let window = self.0.entry(key).or_insert(Window { since: now, calls: 0, uncounted: 0 });
        if now.saturating_duration_since(window.since) >= WINDOW {
            (window.since, window.calls) = (now, 0);
        }
        window.calls = window.calls.saturating_add(1);
        let told = window.calls <= LINES;
        window.uncounted += u64::from(!told);
        told
    }

    /// What has had no line since the last time, and whose it is; `None` for one of too many
    /// addresses. Forgets who is quiet.
    pub(super) fn take(&mut self, now: Instant) -> Vec<(Option<IpAddr>, u64)> {
        let counted = |(address, window): (&Option<IpAddr>, &mut Window)| {
            let count = std::mem::take(&mut window.uncounted);
            (count > 0).then_some((*address, count))
        };
        let counts = self.0.iter_mut().filter_map(counted).collect();
        self.0.retain(|_, window| now.saturating_duration_since(window.since) < WINDOW);
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_becomes_a_count_and_nothing_is_lost() {
        let mut floods = Floods::default();
        let (now, one, other) = (Instant::now(), [10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let told = (0..1000).filter(|_| floods.may_be_told(one, now)).count();
        assert_eq!(told, 20);
        assert!(floods.may_be_told(other, now), "another address is not concerned");
        assert_eq!(floods.take(now), [(Some(one), 980)]);
        assert_eq!(floods.take(now), []);
        assert!(!floods.may_be_told(one, now + WINDOW / 2));
        let later = now + WINDOW;
        assert!(floods.may_be_told(one, later), "a new window");
        assert_eq!(floods.take(later), [(Some(one), 1)]);
        assert_eq!(floods.take(later + WINDOW), []);
        assert!(floods.0.is_empty(), "who is quiet is forgotten");
    }

    #[test]
    fn addresses_without_end_share_one_count() {
        let mut floods = Floods::default();
        let now = Instant::now();
        let told = (0..100_000_u32)
            .filter(|index| floods.may_be_told(IpAddr::from(index.to_be_bytes()), now))
            .count();
        assert_eq!(told, 1024 + 20);
        assert_eq!(floods.0.len(), ADDRESSES + 1);
        assert_eq!(floods.take(now), [(None, 100_000 - 1024 - 20)]);
    }
}
