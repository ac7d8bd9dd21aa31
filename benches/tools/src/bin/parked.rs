//! Opens N connections that each send `GET /next` and stay, and says what that costs the service:
//! resident memory and threads before, while they are parked, and after they have gone.
//!
//! The connections come from loopback as local runtimes of made-up functions, so nobody invokes
//! them; an answer or a close is counted as lost. Linux only: it reads `/proc/PID/status`.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use bench_tools::client::Connection;
use bench_tools::options::Options;

const USAGE: &str =
    "usage: parked --pid PID [-n CONNECTIONS] [--functions COUNT] [--hold SECONDS] HOST:PORT";
/// How long the service gets to take in, or let go of, what was opened or closed.
const SETTLE: Duration = Duration::from_secs(1);
const WRITE_MAX: Duration = Duration::from_secs(10);

struct Plan {
    pid: u32,
    connections: usize,
    functions: usize,
    hold: Duration,
    address: String,
}

fn main() -> ExitCode {
    let plan = match plan(Options::from_env()) {
        Ok(plan) => plan,
        Err(message) => {
            eprintln!("parked: {message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match park(&plan) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(lost) => {
            eprintln!("parked: {lost} connections were answered or closed");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("parked: {error}");
            ExitCode::FAILURE
        }
    }
}

fn plan(mut options: Options) -> Result<Plan, String> {
    Ok(Plan {
        pid: options.value("--pid")?.ok_or_else(|| "--pid is needed".to_owned())?,
        connections: options.value("-n")?.unwrap_or(1000_usize).min(100_000),
        functions: options.value("--functions")?.unwrap_or(10_usize).max(1),
        hold: Duration::from_secs(options.value("--hold")?.unwrap_or(0_u64).min(3600)),
        address: options.last("address")?,
    })
}

/// Parks, reports, holds, checks and lets go; gives the number of connections that were lost.
fn park(plan: &Plan) -> io::Result<usize> {
    report("before", 0, plan.pid)?;
    let mut connections = Vec::with_capacity(plan.connections);
    for number in 0..plan.connections {
        let connection = Connection::open(&plan.address, Some(WRITE_MAX))?;
        let head = format!(
            "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: {}\r\n\
             Lambda-Runtime-Function-Name: parked-{}\r\n\r\n",
            plan.address,
            number % plan.functions
        );
        connection.send(head.as_bytes(), b"")?;
        connections.push(connection);
    }
    thread::sleep(SETTLE);
    report("parked", connections.len(), plan.pid)?;
    thread::sleep(plan.hold);
    let lost = connections.iter().filter(|connection| !is_silent(connection)).count();
    drop(connections);
    thread::sleep(SETTLE);
    report("after", 0, plan.pid)?;
    Ok(lost)
}

/// A parked connection has nothing to read and is open.
fn is_silent(connection: &Connection) -> bool {
    let mut stream = connection.stream();
    stream.set_nonblocking(true).is_ok()
        && matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

fn report(moment: &str, connections: usize, pid: u32) -> io::Result<()> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let (rss_kib, threads) = (field(&status, "VmRSS")?, field(&status, "Threads")?);
    println!(
        "{{\"moment\":\"{moment}\",\"connections\":{connections},\"rss_kib\":{rss_kib},\
         \"threads\":{threads}}}"
    );
    Ok(())
}

/// The number behind `NAME:` in a status file.
fn field(status: &str, name: &str) -> io::Result<u64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|value| value.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, format!("no {name} in the status")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_field_is_read_by_its_whole_name() {
        let status = "VmRSSX:\t1 kB\nVmRSS:\t    2048 kB\nThreads:\t5\n";
        assert_eq!(field(status, "VmRSS").unwrap(), 2048);
        assert_eq!(field(status, "Threads").unwrap(), 5);
        assert!(field(status, "VmHWM").is_err());
    }
}
