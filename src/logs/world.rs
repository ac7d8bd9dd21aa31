//! What groups share: limits, counts, and the clock and the disk, so that a test can hold both.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::{SystemTime, UNIX_EPOCH};

use super::store::LogLimits;

/// So many segments make a full group: the oldest of them go, not all at once.
const SEGMENTS: u64 = 32;
const SEGMENT_BYTES_MAX: u64 = 16 << 20;

/// The clock and the disk's part that can fail while lines are written.
pub(super) trait Host: fmt::Debug + Send + Sync {
    fn now_ms(&self) -> i64;

    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<()>;
}

/// The host itself.
#[derive(Debug)]
pub(super) struct ThisHost;

impl Host for ThisHost {
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct World {
    pub(super) host: Box<dyn Host>,
    pub(super) limits: LogLimits,
    /// A segment that has so many is closed.
    pub(super) segment_bytes: u64,
    /// Segments of one group. By size there are half as many; short-lived streams fill them sooner.
    pub(super) max_segments: usize,
    /// Of all segments of all groups.
    pub(super) total_bytes: AtomicU64,
    /// In the tables of growing segments.
    pub(super) open_streams: AtomicUsize,
}

impl World {
    pub(super) fn new(host: Box<dyn Host>, limits: LogLimits) -> World {
        let segment_bytes = (limits.max_bytes_per_group / SEGMENTS).clamp(1, SEGMENT_BYTES_MAX);
        let by_size = limits.max_bytes_per_group / segment_bytes;
        World {
            host,
            limits,
            segment_bytes,
            max_segments: usize::try_from(by_size.saturating_mul(2)).unwrap_or(usize::MAX),
            total_bytes: AtomicU64::new(0),
            open_streams: AtomicUsize::new(0),
        }
    }
}
