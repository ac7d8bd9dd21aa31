//! The service's own resources as the kernel counts them, read from /proc on request.
//!
//! It keeps nothing: a caller that is asked often keeps the answer. Counting the open files reads
//! one directory entry each, so this belongs on a thread that may block.

use std::fs;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};

/// proc(5) counts CPU time and start in USER_HZ, which Linux keeps at 100 for user space on
/// x86-64 and AArch64, whatever the kernel's own tick is.
const TICKS_PER_SECOND: u64 = 100;

/// One reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pub resident_bytes: u64,
    /// User and system time of all threads.
    pub cpu: Duration,
    pub threads: u64,
    pub open_files: u64,
    /// The soft limit; None when there is none.
    pub max_open_files: Option<u64>,
    /// To the second, and the same in each reading.
    pub started: SystemTime,
}

impl Process {
    pub fn read() -> io::Result<Process> {
        let stat = Stat::parse(&fs::read_to_string("/proc/self/stat")?)
            .ok_or_else(|| unreadable("/proc/self/stat"))?;
        let resident_bytes = resident_bytes(&fs::read_to_string("/proc/self/status")?)
            .ok_or_else(|| unreadable("/proc/self/status"))?;
        let boot = boot_second(&fs::read_to_string("/proc/stat")?)
            .ok_or_else(|| unreadable("/proc/stat"))?;
        let seconds = boot.saturating_add(stat.start_ticks / TICKS_PER_SECOND);
        Ok(Process {
            resident_bytes,
            cpu: ticks(stat.cpu_ticks),
            threads: stat.threads,
            open_files: open_files()?,
            max_open_files: getrlimit(Resource::Nofile).current,
            started: UNIX_EPOCH
                .checked_add(Duration::from_secs(seconds))
                .ok_or_else(|| unreadable("/proc/stat"))?,
        })
    }
}

fn unreadable(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{file} has not the form of proc(5)"))
}

fn ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(1000 / TICKS_PER_SECOND))
}

/// The listing itself holds one file open, which is not counted.
fn open_files() -> io::Result<u64> {
    let entries = fs::read_dir("/proc/self/fd")?.count();
    Ok((entries as u64).saturating_sub(1))
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Stat> {
        // The second field is the program's name in parentheses and may contain anything, so the
        // fields are counted from the last closing one: the first after it is field 3.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Stat {
            cpu_ticks: field(14)?.saturating_add(field(15)?),
            threads: field(20)?,
            start_ticks: field(22)?,
        })
    }
}

/// `VmRSS`; proc(5) calls the figure in `stat` inaccurate.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn boot_second(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn stat_is_read_behind_the_name() {
        let text = "7 (a) (b) R 1) S 1 7 7 0 -1 4194560 9 0 0 0 120 30 0 0 20 0 5 0 4242 1 2\n";
        let expected = Stat { cpu_ticks: 150, threads: 5, start_ticks: 4242 };
        assert_eq!(Stat::parse(text), Some(expected));
        assert_eq!(Stat::parse("7 (a) S 1 7"), None);
        assert_eq!(Stat::parse(""), None);
        assert_eq!(ticks(150), Duration::from_millis(1500));
    }

    #[test]
    fn status_and_boot_time_are_read() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2_097_152));
        assert_eq!(resident_bytes("VmRSS:\t2048 MB\n"), None);
        assert_eq!(resident_bytes("Name:\tx\n"), None);
        assert_eq!(boot_second("cpu 1 2\nbtime 1700000000\nprocesses 4\n"), Some(1_700_000_000));
        assert_eq!(boot_second("cpu 1 2\n"), None);
    }

    #[test]
    fn this_process_has_plausible_figures() {
        let process = Process::read().unwrap();
        assert!((100_000..10_000_000_000).contains(&process.resident_bytes), "{process:?}");
        assert!(process.threads >= 1);
        let age = SystemTime::now().duration_since(process.started).unwrap();
        // The boot time is in whole seconds, which leaves one or two of doubt.
        assert!(age < Duration::from_secs(24 * 3600), "{age:?}");
        assert_eq!(process.started, Process::read().unwrap().started);
        assert!(process.max_open_files.is_none_or(|max| process.open_files <= max));
    }

    #[test]
    fn work_and_files_are_noticed() {
        let before = Process::read().unwrap();
        let files: Vec<_> = (0..64).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
        let busy = Instant::now();
        while Process::read().unwrap().cpu < before.cpu + Duration::from_millis(20) {
            assert!(busy.elapsed() < Duration::from_secs(30), "CPU time does not advance");
        }
        // Other tests open and close files of this process meanwhile.
        assert!(Process::read().unwrap().open_files >= before.open_files + 32);
        drop(files);
    }
}
