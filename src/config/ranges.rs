//! Default and range of every number in the configuration, in the unit of the key's name.
//!
//! `config.toml` repeats them for the reader; a test compares the two. The keys are independent of
//! each other on purpose: a limit above another one is harmless, it only never comes into force,
//! and nobody has to raise two keys in the right order.

/// What a whole number may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) key: &'static str,
    pub(super) default: u64,
    pub(super) min: u64,
    pub(super) max: u64,
}

impl Range {
    pub(super) fn allowed(&self) -> String {
        format!("a whole number from {} to {}", self.min, self.max)
    }
}

macro_rules! ranges {
    ($($(#[$doc:meta])* $name:ident = $key:literal: $default:literal, $min:literal..=$max:literal;)+) => {
        $(
            $(#[$doc])*
            pub(super) const $name: Range =
                Range { key: $key, default: $default, min: $min, max: $max };
        )+

        /// All of them, for the comparison with `config.toml`.
        #[cfg(test)]
        pub(super) const ALL: &[Range] = &[$($name),+];
    };
}

ranges! {
    /// Port 0 (any free one) is refused: containers have to be told where to call.
    PORT = "server.port": 8080, 1..=65535;
    /// 0 means one for each CPU, at least 2 and at most `MAX_DEFAULT_WORKERS`.
    WORKERS = "server.workers": 0, 0..=64;
    BLOCKING_THREADS = "server.blocking_threads": 8, 1..=256;
    MAX_WAITING_CALLS = "server.max_waiting_calls": 256, 1..=65536;

    MAX_CONNECTIONS = "http.max_connections": 12000, 16..=1000000;
    MAX_CONNECTIONS_PER_ADDRESS = "http.max_connections_per_address": 4096, 1..=1000000;
    MAX_HEAD_BYTES = "http.max_head_bytes": 65536, 1024..=1048576;
    /// Runtimes put stack traces into headers of error posts: 300 KB were seen.
    MAX_SANDBOX_HEAD_BYTES = "http.max_sandbox_head_bytes": 1048576, 8192..=16777216;
    MAX_HEADER_COUNT = "http.max_header_count": 100, 16..=128;
    MAX_URI_BYTES = "http.max_uri_bytes": 16384, 256..=65536;
    /// The least holds two payloads of the largest size, one coming in and one going out.
    MAX_BUFFERED_MB = "http.max_buffered_mb": 512, 16..=65536;
    HEAD_TIMEOUT_MS = "http.head_timeout_ms": 10000, 100..=600000;
    BODY_TIMEOUT_MS = "http.body_timeout_ms": 60000, 100..=600000;
    WRITE_TIMEOUT_MS = "http.write_timeout_ms": 60000, 100..=600000;
    KEEP_ALIVE_TIMEOUT_MS = "http.keep_alive_timeout_ms": 75000, 100..=3600000;

    /// 0 means none: each start makes its own network.
    NETWORK_SLOTS = "docker.network_slots": 4, 0..=64;
    CALL_TIMEOUT_MS = "docker.call_timeout_ms": 30000, 1000..=600000;

    MAX_CONCURRENT_EXECUTIONS = "execution.max_concurrent_executions": 10, 1..=10000;
    /// Lambda's own bounds of a function's memory.
    MAX_MEMORY_MB = "execution.max_memory_mb": 256, 128..=10240;
    INIT_TIMEOUT_MS = "execution.init_timeout_ms": 10000, 100..=900000;
    IDLE_TIMEOUT_MS = "execution.idle_timeout_ms": 600000, 1000..=86400000;
    MAX_PARALLEL_STARTS = "execution.max_parallel_starts": 4, 1..=64;
    /// 0 means `MEMORY_SHARE_PERCENT` of the host's.
    MAX_TOTAL_MEMORY_MB = "execution.max_total_memory_mb": 0, 0..=16777216;
    /// 0 looks at nothing.
    MIN_AVAILABLE_MEMORY_MB = "execution.min_available_memory_mb": 256, 0..=16777216;
    MAX_QUEUE_WAIT_MS = "execution.max_queue_wait_ms": 0, 0..=900000;
    FREEZE_AFTER_MS = "execution.freeze_after_ms": 0, 0..=86400000;
    /// Lambda's longest timeout is 900 s, so a longer grace serves nobody.
    SHUTDOWN_GRACE_MS = "execution.shutdown_grace_ms": 10000, 0..=900000;

    MAX_LOG_MB_PER_GROUP = "logs.max_mb_per_group": 64, 1..=1024;
    MAX_LOG_TOTAL_MB = "logs.max_total_mb": 2048, 16..=1048576;
    /// 0 means that age alone removes nothing. The most is CloudWatch's own: ten years.
    LOG_RETENTION_DAYS = "logs.retention_days": 30, 0..=3653;

    /// Each takes about 150 bytes of memory while it waits.
    MAX_QUEUED_EVENTS = "asynchronous.max_queued_events": 100000, 1..=1000000;
    MAX_QUEUE_MB = "asynchronous.max_queue_mb": 1024, 16..=1048576;
    /// 0 means half of `max_concurrent_executions`.
    MAX_DELIVERIES = "asynchronous.max_deliveries": 0, 0..=10000;
    /// AWS's is a minute.
    RETRY_DELAY_MS = "asynchronous.retry_delay_ms": 60000, 100..=3600000;
    MAX_DEAD_LETTERS_MB = "asynchronous.max_dead_letters_mb": 256, 1..=1048576;

    /// Each takes about 1.5 KB of memory.
    MAX_SCHEDULES = "schedules.max_schedules": 10000, 1..=1000000;
    /// Of one schedule, where all are caught up. A day has 1,440 minutes.
    MAX_MISSED_RUNS = "schedules.max_missed_runs": 60, 1..=1440;

    /// No payload is larger.
    MAX_HASHED_KB = "audit.max_hashed_kb": 6144, 0..=6144;
}

/// More event loops than this only take turns: one carries tens of thousands of requests a second.
pub(super) const MAX_DEFAULT_WORKERS: usize = 8;

/// What sandboxes may have of the host's memory where the configuration names no figure.
pub(super) const MEMORY_SHARE_PERCENT: u64 = 80;

/// CPUs of one sandbox. The Engine's scheduler period is 100 ms and its least quota 1 ms.
pub(super) const CPU_KEY: &str = "execution.max_cpu_shares";
pub(super) const CPU_DEFAULT: f64 = 1.0;
pub(super) const CPU_MIN: f64 = 0.01;
pub(super) const CPU_MAX: f64 = 256.0;
