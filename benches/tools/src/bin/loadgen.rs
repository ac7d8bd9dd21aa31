//! Closed-loop load: each of N keep-alive connections, a thread each, sends its next request when
//! the last one is answered.
//!
//! An answer counts only with the expected status (200) and exactly the bytes that were sent, so a
//! fast wrong answer is an error and not a good figure. Latency is that of the closed loop: it deliberately
//! does not correct for the requests that an open loop would have sent meanwhile.

use std::collections::BTreeMap;
use std::io;
use std::process::ExitCode;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bench_tools::client::{Connection, Endpoint};
use bench_tools::options::Options;
use bench_tools::sample::{Sample, micros};

const USAGE: &str = "usage: loadgen [-c CONNECTIONS] [-n TOTAL | -d SECONDS] [-s BODY_BYTES] \
[-w WARM_UP] [-H 'NAME: VALUE'] [--timeout SECONDS] [--any-answer] [--status CODE] [--json] URL";
/// A connection with so many errors in a row gives up: the service is not there.
const ERRORS_IN_A_ROW_MAX: u32 = 20;

/// Longest run, and longest wait for one answer.
const RUN_MAX: Duration = Duration::from_secs(3600);

/// What every connection does.
struct Plan {
    authority: String,
    head: Vec<u8>,
    body: Vec<u8>,
    connections: usize,
    warm_up: usize,
    /// Requests that are left; bounds the run together with `duration`.
    left: AtomicU64,
    duration: Duration,
    silence_max: Duration,
    any_answer: bool,
    /// What a good answer has.
    status: u16,
}

/// How often each kind of error happened, with the first text of it.
type Errors = BTreeMap<String, (u64, String)>;

fn main() -> ExitCode {
    let mut options = Options::from_env();
    let json = options.flag("--json");
    let plan = match plan(options) {
        Ok(plan) => plan,
        Err(message) => {
            eprintln!("loadgen: {message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let (sample, errors, elapsed) = run(&plan);
    println!("{}", report(&plan, &sample, &errors, elapsed, json));
    if sample.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn plan(mut options: Options) -> Result<Plan, String> {
    let connections = options.value("-c")?.unwrap_or(1_usize).clamp(1, 10_000);
    let total: Option<u64> = options.value("-n")?;
    let duration = options.value("-d")?.map(seconds).transpose()?;
    let size = options.value("-s")?.unwrap_or(100_usize).min(16 << 20);
    let warm_up = options.value("-w")?.unwrap_or(50);
    let header: Option<String> = options.value("-H")?;
    let silence_max = seconds(options.value("--timeout")?.unwrap_or(30.0))?;
    let any_answer = options.flag("--any-answer");
    let status = options.value("--status")?.unwrap_or(200);
    let url = Endpoint::parse(&options.last("URL")?);
    let body = payload(size);
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n{}\r\n",
        url.path,
        url.authority,
        body.len(),
        header.map(|line| line + "\r\n").unwrap_or_default()
    );
    let unbounded = if duration.is_some() { u64::MAX } else { 1000 };
    Ok(Plan {
        authority: url.authority,
        head: head.into_bytes(),
        body,
        connections,
        warm_up,
        left: AtomicU64::new(total.unwrap_or(unbounded)),
        duration: duration.unwrap_or(RUN_MAX),
        silence_max,
        any_answer,
        status,
    })
}

fn seconds(value: f64) -> Result<Duration, String> {
    match Duration::try_from_secs_f64(value) {
        Ok(duration) if !duration.is_zero() && duration <= RUN_MAX => Ok(duration),
        _ => Err(format!("{value} seconds is not above 0 and up to {}", RUN_MAX.as_secs())),
    }
}

/// A JSON document of exactly `size` bytes, or of the nine that it needs.
fn payload(size: usize) -> Vec<u8> {
    let mut body = b"{\"p\":\"".to_vec();
    body.resize(size.max(9) - 2, b'x');
    body.extend_from_slice(b"\"}");
    body
}

/// All connections warm up, then start together.
fn run(plan: &Plan) -> (Sample, Errors, Duration) {
    let barrier = Barrier::new(plan.connections + 1);
    let mut durations = Vec::new();
    let mut errors = Errors::new();
    let elapsed = thread::scope(|scope| {
        let callers: Vec<_> =
            (0..plan.connections).map(|_| scope.spawn(|| caller(plan, &barrier))).collect();
        barrier.wait();
        let start = Instant::now();
        for caller in callers {
            let Ok((own_durations, own_errors)) = caller.join() else { continue };
            durations.extend(own_durations);
            for (kind, (count, text)) in own_errors {
                errors.entry(kind).or_insert((0, text)).0 += count;
            }
        }
        start.elapsed()
    });
    (Sample::new(durations), errors, elapsed)
}

/// One connection from its warm-up to the end of the run.
fn caller(plan: &Plan, barrier: &Barrier) -> (Vec<Duration>, Errors) {
    let mut connection = None;
    let mut durations = Vec::with_capacity(1 << 16);
    let mut errors = Errors::new();
    for _ in 0..plan.warm_up {
        // What fails for good fails again, and is counted, in the measured part.
        if exchange(plan, &mut connection).is_err() {
            break;
        }
    }
    barrier.wait();
    let start = Instant::now();
    let mut errors_in_a_row = 0;
    while start.elapsed() < plan.duration && take_one(&plan.left) {
        let sent = Instant::now();
        match exchange(plan, &mut connection) {
            Ok(()) => {
                durations.push(sent.elapsed());
                errors_in_a_row = 0;
            }
            Err((kind, text)) => {
                errors.entry(kind).or_insert((0, text)).0 += 1;
                errors_in_a_row += 1;
                if errors_in_a_row == ERRORS_IN_A_ROW_MAX {
                    break;
                }
            }
        }
    }
    (durations, errors)
}

fn take_one(left: &AtomicU64) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

/// One request and its checked answer; the error is its kind and its text.
fn exchange(plan: &Plan, slot: &mut Option<Connection>) -> Result<(), (String, String)> {
    let mut connection = match slot.take() {
        Some(connection) => connection,
        None => Connection::open(&plan.authority, Some(plan.silence_max))
            .map_err(|error| ("connect".to_owned(), error.to_string()))?,
    };
    let mut attempt = || -> io::Result<u16> {
        connection.send(&plan.head, &plan.body)?;
        connection.receive()
    };
    let status = attempt().map_err(|error| ("io".to_owned(), error.to_string()))?;
    let answer = connection.answer();
    let excerpt = || String::from_utf8_lossy(&answer.body()[..answer.body().len().min(200)]).into();
    let checked = if status != plan.status {
        Err((status.to_string(), excerpt()))
    } else if !plan.any_answer && answer.body() != plan.body {
        Err(("wrong answer".to_owned(), excerpt()))
    } else {
        Ok(())
    };
    if !answer.closes() {
        *slot = Some(connection);
    }
    checked
}

fn report(plan: &Plan, sample: &Sample, errors: &Errors, elapsed: Duration, json: bool) -> String {
    let (callers, bytes, ok) = (plan.connections, plan.body.len(), sample.len());
    let failed: u64 = errors.values().map(|(count, _)| count).sum();
    let rate = ok as f64 / elapsed.as_secs_f64();
    let [p50, p90, p99, p999, max] =
        [500, 900, 990, 999, 1000].map(|per_mille| micros(sample.quantile(per_mille)));
    // The texts of errors are for people; a script needs their number.
    if json {
        return format!(
            "{{\"callers\":{callers},\"bytes\":{bytes},\"ok\":{ok},\"errors\":{failed},\
             \"rps\":{rate:.1},\"p50_us\":{p50:.1},\"p90_us\":{p90:.1},\"p99_us\":{p99:.1},\
             \"p999_us\":{p999:.1},\"max_us\":{max:.1}}}"
        );
    }
    let mut text = format!(
        "{callers} callers, {bytes} bytes: {ok} ok, {failed} errors, {rate:.0}/s; us: \
         p50 {p50:.1}, p90 {p90:.1}, p99 {p99:.1}, p99.9 {p999:.1}, max {max:.1}"
    );
    for (kind, (count, example)) in errors {
        text += &format!("\n  {count} x {kind}: {example}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_the_size_that_was_asked_for() {
        assert_eq!(payload(100).len(), 100);
        assert_eq!(payload(0), b"{\"p\":\"x\"}");
    }

    #[test]
    fn a_total_is_taken_exactly_once() {
        let left = AtomicU64::new(2);
        assert_eq!([take_one(&left), take_one(&left), take_one(&left)], [true, true, false]);
    }
}
