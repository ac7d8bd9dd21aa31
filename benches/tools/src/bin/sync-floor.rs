//! The floor of durable accepting: callers that each append to one file and wait for the disk alone,
//! one after the other, as a queue without group commit would do it.
//!
//! It deliberately has no socket and no record format: what it measures is the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bench_tools::options::Options;
use bench_tools::sample::{Sample, micros};

const USAGE: &str = "usage: sync-floor [-c CALLERS] [-d SECONDS] [-s BYTES] FILE";

fn main() -> ExitCode {
    match run() {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("sync-floor: {message}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, String> {
    let mut options = Options::from_env();
    let callers = options.value("-c")?.unwrap_or(1_usize).clamp(1, 1000);
    let seconds = options.value("-d")?.unwrap_or(3_u64).clamp(1, 3600);
    let bytes = options.value("-s")?.unwrap_or(100_usize).min(16 << 20);
    let path = options.last("FILE")?;
    let failed = |error: io::Error| format!("{path}: {error}");
    let file = OpenOptions::new().append(true).create_new(true).open(&path).map_err(failed)?;
    let file = Mutex::new(file);
    let until = Instant::now() + Duration::from_secs(seconds);
    let body = vec![b'x'; bytes];
    let measured: io::Result<Vec<Vec<Duration>>> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..callers).map(|_| scope.spawn(|| caller(&file, &body, until))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Ok(Vec::new()))).collect()
    });
    fs::remove_file(&path).map_err(failed)?;
    let sample = Sample::new(measured.map_err(failed)?.into_iter().flatten().collect());
    let rate = sample.len() as f64 / seconds as f64;
    let [p50, p99] = [500, 990].map(|per_mille| micros(sample.quantile(per_mille)));
    Ok(format!("{{\"rps\":{rate:.1},\"p50_us\":{p50:.1},\"p99_us\":{p99:.1}}}"))
}

fn caller(file: &Mutex<File>, body: &[u8], until: Instant) -> io::Result<Vec<Duration>> {
    let mut durations = Vec::new();
    while Instant::now() < until {
        let begun = Instant::now();
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(body)?;
        file.sync_data()?;
        drop(file);
        durations.push(begun.elapsed());
    }
    Ok(durations)
}
