//! What a container uses: memory, CPU, processes; one reading, not a stream.
//!
//! Cgroup v1 and v2 report differently; [`Stats`] says the same for both, as far as they can.

use std::time::Duration;

use serde::Deserialize;

use super::engine::{Call, Engine};
use super::error::EngineError;
use super::wire::{Target, null_as_default};

/// One reading. All is zero for a container that does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Without the page cache that could be given back, as `docker stats` shows it.
    pub memory_used_bytes: u64,
    /// The greatest use so far, page cache included; the Engine tells it with cgroup v1 only.
    pub memory_peak_bytes: Option<u64>,
    /// CPU time since the start, over all CPUs.
    pub cpu_total: Duration,
    /// Processes and threads.
    pub pids: u64,
}

#[derive(Deserialize)]
struct WireStats {
    #[serde(default, deserialize_with = "null_as_default")]
    memory_stats: WireMemory,
    #[serde(default, deserialize_with = "null_as_default")]
    cpu_stats: WireCpu,
    #[serde(default, deserialize_with = "null_as_default")]
    pids_stats: WirePids,
}

#[derive(Deserialize, Default)]
struct WireMemory {
    #[serde(default)]
    usage: u64,
    max_usage: Option<u64>,
    #[serde(default, deserialize_with = "null_as_default")]
    stats: WireMemoryDetail,
}

#[derive(Deserialize, Default)]
struct WireMemoryDetail {
    /// Cgroup v1.
    total_inactive_file: Option<u64>,
    /// Cgroup v2; v1 has one too, which leaves out the group's children.
    inactive_file: Option<u64>,
}

#[derive(Deserialize, Default)]
struct WireCpu {
    #[serde(default, deserialize_with = "null_as_default")]
    cpu_usage: WireCpuUsage,
}

#[derive(Deserialize, Default)]
struct WireCpuUsage {
    /// Nanoseconds.
    #[serde(default)]
    total_usage: u64,
}

#[derive(Deserialize, Default)]
struct WirePids {
    #[serde(default)]
    current: u64,
}

impl From<WireStats> for Stats {
    fn from(wire: WireStats) -> Self {
        let memory = wire.memory_stats;
        let cache = memory.stats.total_inactive_file.or(memory.stats.inactive_file).unwrap_or(0);
        Stats {
            memory_used_bytes: memory.usage.saturating_sub(cache),
            memory_peak_bytes: memory.max_usage,
            cpu_total: Duration::from_nanos(wire.cpu_stats.cpu_usage.total_usage),
            pids: wire.pids_stats.current,
        }
    }
}

impl Engine {
    /// Reads a container's figures once. An Engine below API 1.41 takes a second for it, because
    /// it knows no `one-shot` and waits for a second reading.
    pub fn container_stats(&self, id: &str) -> Result<Stats, EngineError> {
        let target = Target::named("/containers", id, "/stats")?
            .query("stream", "false")
            .query("one-shot", "true");
        Ok(self.call(Call::get(target))?.json::<WireStats>()?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(json: &str) -> Stats {
        serde_json::from_str::<WireStats>(json).unwrap().into()
    }

    #[test]
    fn cgroup_v1_counts_the_children() {
        let stats = stats(
            r#"{"memory_stats":{"usage":1000,"max_usage":2000,
                "stats":{"total_inactive_file":300,"inactive_file":1}},
                "cpu_stats":{"cpu_usage":{"total_usage":1500000000}},"pids_stats":{"current":3}}"#,
        );
        assert_eq!(stats.memory_used_bytes, 700);
        assert_eq!(stats.memory_peak_bytes, Some(2000));
        assert_eq!(stats.cpu_total, Duration::from_millis(1500));
        assert_eq!(stats.pids, 3);
    }

    #[test]
    fn cgroup_v2_has_no_peak() {
        let stats = stats(r#"{"memory_stats":{"usage":1000,"stats":{"inactive_file":400}}}"#);
        assert_eq!((stats.memory_used_bytes, stats.memory_peak_bytes), (600, None));
    }

    #[test]
    fn a_stopped_container_uses_nothing() {
        let stats = stats(r#"{"memory_stats":{},"cpu_stats":{"cpu_usage":null},"pids_stats":{}}"#);
        assert_eq!(stats, Stats::default());
    }
}
