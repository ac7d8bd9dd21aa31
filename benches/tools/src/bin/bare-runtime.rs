//! The bare runtime: asks for an event, sends it back, and so on; what is measured with it is the
//! service and not a function.
//!
//! One keep-alive connection for each runtime and one write for each request.
//! Environment: `AWS_LAMBDA_RUNTIME_API` (`HOST:PORT`, or `http://HOST:PORT/PREFIX` as cargo-lambda
//! hands it out), `BARE_RUNTIME_FUNCTION` (the function that a runtime outside of any container
//! names to the service), `BARE_RUNTIME_WORK_MS` (how long the function works).
//! `-n N` runs N runtimes in this process. It deliberately has no handler and no error path.

use std::io;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use bench_tools::client::{Connection, Endpoint};
use bench_tools::options::Options;

const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// So many failures in a row end a runtime: its service is gone.
const FAILURES_MAX: u32 = 100;

struct Runtime {
    endpoint: Endpoint,
    next: Vec<u8>,
    work: Duration,
}

fn main() -> ExitCode {
    match settings() {
        Ok((runtime, 1)) => runtime.run(),
        Ok((runtime, count)) => thread::scope(|scope| {
            for _ in 0..count {
                scope.spawn(|| runtime.run());
            }
        }),
        Err(message) => {
            eprintln!("bare-runtime: {message}\nusage: bare-runtime [-n RUNTIMES]");
            return ExitCode::from(2);
        }
    }
    // A runtime never ends by itself, only by losing its service.
    ExitCode::FAILURE
}

fn settings() -> Result<(Runtime, usize), String> {
    let mut options = Options::from_env();
    let count = options.value("-n")?.unwrap_or(1_usize).clamp(1, 10_000);
    options.finish()?;
    let address = std::env::var("AWS_LAMBDA_RUNTIME_API")
        .map_err(|_| "AWS_LAMBDA_RUNTIME_API is not set".to_owned())?;
    let function = match std::env::var("BARE_RUNTIME_FUNCTION") {
        Ok(name) => format!("Lambda-Runtime-Function-Name: {name}\r\n"),
        Err(_) => String::new(),
    };
    let work_ms = match std::env::var("BARE_RUNTIME_WORK_MS") {
        Ok(text) => text.parse().map_err(|_| format!("BARE_RUNTIME_WORK_MS={text:?}"))?,
        Err(_) => 0,
    };
    let endpoint = Endpoint::parse(&address);
    let next = format!(
        "GET {}/2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: {}\r\n{function}\r\n",
        endpoint.path, endpoint.authority
    );
    let work = Duration::from_millis(work_ms);
    Ok((Runtime { endpoint, next: next.into_bytes(), work }, count))
}

impl Runtime {
    fn run(&self) {
        let mut connection = None;
        let mut failures = 0;
        while failures < FAILURES_MAX {
            match self.serve_one(&mut connection) {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    if failures == FAILURES_MAX {
                        eprintln!("bare-runtime: giving up: {error}");
                    }
                    thread::sleep(RETRY_PAUSE);
                }
            }
        }
    }

    fn serve_one(&self, slot: &mut Option<Connection>) -> io::Result<()> {
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => Connection::open(&self.endpoint.authority, None)?,
        };
        connection.send(&self.next, b"")?;
        success(connection.receive()?)?;
        if !self.work.is_zero() {
            thread::sleep(self.work);
        }
        let event = connection.answer();
        let id = event.header("lambda-runtime-aws-request-id").unwrap_or(b"missing");
        let head = format!(
            "POST {}/2018-06-01/runtime/invocation/{}/response HTTP/1.1\r\nHost: {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.endpoint.path,
            String::from_utf8_lossy(id),
            self.endpoint.authority,
            event.body().len()
        );
        connection.send_back(head.as_bytes())?;
        success(connection.receive()?)?;
        if !connection.answer().closes() {
            *slot = Some(connection);
        }
        Ok(())
    }
}

/// Any 2xx: the peers do not agree on which one.
fn success(status: u16) -> io::Result<()> {
    if status / 100 == 2 { Ok(()) } else { Err(io::Error::other(format!("status {status}"))) }
}
