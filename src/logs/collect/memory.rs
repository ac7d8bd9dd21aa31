//! How much memory a sandbox has used at the most, from its cgroup on this host.
//!
//! The kernel keeps that figure (cgroup v1, and v2 since Linux 5.19); with an older v2 it is the
//! highest of the readings. It counts what the kernel charges to the container: its processes,
//! its `/tmp`, and the files it has read that are still in memory. It is never estimated.

use std::fs::File;
use std::io::Read;

/// Where an Engine with its default cgroup parent puts containers: with its own cgroup driver and
/// with systemd's; version 1 and 2.
const PLACES: [(&str, &str); 6] = [
    ("/sys/fs/cgroup/memory/docker/", "/memory.max_usage_in_bytes"),
    ("/sys/fs/cgroup/memory/system.slice/docker-", ".scope/memory.max_usage_in_bytes"),
    ("/sys/fs/cgroup/docker/", "/memory.peak"),
    ("/sys/fs/cgroup/system.slice/docker-", ".scope/memory.peak"),
    ("/sys/fs/cgroup/docker/", "/memory.current"),
    ("/sys/fs/cgroup/system.slice/docker-", ".scope/memory.current"),
];

#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Which of the places it is here.
    place: Option<usize>,
    path: String,
}

impl Memory {
    /// The highest use so far, in bytes; `None` where this host does not show it, as to a service
    /// in a container, or when the container has gone.
    pub(super) fn peak(&mut self, container: &str) -> Option<u64> {
        // A name from the Engine becomes a part of a path.
        if container.is_empty() || !container.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        match self.place {
            Some(place) => self.read(place, container),
            None => {
                let found = (0..PLACES.len())
                    .find_map(|place| self.read(place, container).map(|peak| (place, peak)));
                let (place, peak) = found?;
                self.place = Some(place);
                Some(peak)
            }
        }
    }

    /// Whether any container's cgroup was found.
    pub(super) fn is_visible(&self) -> bool {
        self.place.is_some()
    }

    fn read(&mut self, place: usize, container: &str) -> Option<u64> {
        let (before, after) = PLACES[place];
        self.path.clear();
        self.path.extend([before, container, after]);
        let mut text = [0; 24];
        let length = File::open(&self.path).ok()?.read(&mut text).ok()?;
        std::str::from_utf8(&text[..length]).ok()?.trim_end().parse().ok()
    }
}

/// As AWS tells it, and never less than was used.
pub(super) fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_hierarchy() {
        let mut memory = Memory::default();
        for name in ["..", "../../../../proc/self", "a/b", "a b", ""] {
            assert_eq!(memory.peak(name), None, "{name:?}");
        }
        assert!(!memory.is_visible());
    }

    #[test]
    fn megabytes_are_rounded_up() {
        assert_eq!([0, 1, 1 << 20, (60 << 20) + 1].map(megabytes), [0, 1, 1, 61]);
    }
}
