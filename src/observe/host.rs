//! The host's memory as the kernel counts it, read from /proc/meminfo on request.

use std::fs;
use std::io;

/// One reading, in MB of 1,048,576 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    pub total_mb: u64,
    /// What new programs can have without anybody being swapped out (proc(5), `MemAvailable`).
    pub available_mb: u64,
}

impl Memory {
    pub fn read() -> io::Result<Memory> {
        let text = fs::read_to_string("/proc/meminfo")?;
        let unreadable = || {
            let message = "/proc/meminfo has not the form of proc(5)";
            io::Error::new(io::ErrorKind::InvalidData, message)
        };
        Memory::parse(&text).ok_or_else(unreadable)
    }

    fn parse(text: &str) -> Option<Memory> {
        let mb = |name: &str| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? / 1024)
        };
        Some(Memory { total_mb: mb("MemTotal")?, available_mb: mb("MemAvailable")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_lines_are_found() {
        let text = "MemTotal:       24576000 kB\nMemFree:  1 kB\nMemAvailable:   2048000 kB\n";
        let memory = Memory { total_mb: 24_000, available_mb: 2_000 };
        assert_eq!(Memory::parse(text), Some(memory));
        assert_eq!(Memory::parse("MemTotal: many\n"), None);
    }

    #[test]
    fn this_host_has_some() {
        let memory = Memory::read().unwrap();
        assert!(memory.total_mb > 0 && memory.available_mb <= memory.total_mb, "{memory:?}");
    }
}
