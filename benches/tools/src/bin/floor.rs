//! The floor: the two HTTP exchanges that an invocation consists of, and nothing else.
//!
//! A thread for each connection; the thread that has the data writes it straight into the other
//! connection. No access control, limits, deadlines, errors or states: what a complete service
//! needs beyond this is its own cost. It speaks the service's paths, so the same load generator
//! and the same runtimes measure both. A runtime or caller that goes away is not noticed.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use bench_tools::client::write_message;
use bench_tools::message::Message;
use bench_tools::options::Options;

const RUNTIME: &[u8] = b"/2018-06-01/runtime/invocation/";
const INVOKE: &[u8] = b"/2015-03-31/functions/";
const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
/// A connection's thread only reads and writes.
const STACK_BYTES: usize = 128 << 10;

#[derive(Default)]
struct Meeting {
    /// Runtimes that wait for an event, the one used last on top.
    idle: Vec<Arc<TcpStream>>,
    /// Events that wait for a runtime.
    events: VecDeque<(u64, Vec<u8>)>,
    /// Callers that wait for their answer, by request id.
    callers: HashMap<u64, Arc<TcpStream>>,
    last_id: u64,
}

fn main() -> ExitCode {
    let listener = Options::from_env()
        .last("address")
        .and_then(|address| TcpListener::bind(address).map_err(|error| error.to_string()));
    let listener = match listener {
        Ok(listener) => listener,
        Err(message) => {
            eprintln!("floor: {message}\nusage: floor HOST:PORT");
            return ExitCode::from(2);
        }
    };
    let meeting = Arc::new(Mutex::new(Meeting::default()));
    for stream in listener.incoming().flatten() {
        let meeting = Arc::clone(&meeting);
        // A connection without a thread is closed by being dropped.
        let _ = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            // An error ends this connection, which is all that there is to do about it.
            let _ = serve(Arc::new(stream), &meeting);
        });
    }
    ExitCode::SUCCESS
}

fn serve(stream: Arc<TcpStream>, meeting: &Mutex<Meeting>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Message::default();
    while request.read(&*stream)? {
        let path = request.start_line().split(|&byte| byte == b' ').nth(1).unwrap_or_default();
        match path.strip_prefix(RUNTIME) {
            Some(b"next") => next(&stream, meeting),
            Some(rest) => respond(rest, request.body(), &stream, meeting)?,
            None if path.starts_with(INVOKE) => invoke(request.body(), &stream, meeting),
            None => (&*stream).write_all(NOT_FOUND)?,
        }
    }
    Ok(())
}

fn next(runtime: &Arc<TcpStream>, meeting: &Mutex<Meeting>) {
    let waiting = {
        let mut meeting = lock(meeting);
        let waiting = meeting.events.pop_front();
        if waiting.is_none() {
            meeting.idle.push(Arc::clone(runtime));
        }
        waiting
    };
    if let Some((id, event)) = waiting {
        give(runtime, id, &event);
    }
}

fn invoke(event: &[u8], caller: &Arc<TcpStream>, meeting: &Mutex<Meeting>) {
    let (id, runtime) = {
        let mut meeting = lock(meeting);
        meeting.last_id += 1;
        let id = meeting.last_id;
        meeting.callers.insert(id, Arc::clone(caller));
        let runtime = meeting.idle.pop();
        if runtime.is_none() {
            meeting.events.push_back((id, event.to_vec()));
        }
        (id, runtime)
    };
    if let Some(runtime) = runtime {
        give(&runtime, id, event);
    }
}

/// Answers the caller first: it waits longer than the runtime.
fn respond(
    rest: &[u8],
    answer: &[u8],
    runtime: &TcpStream,
    meeting: &Mutex<Meeting>,
) -> io::Result<()> {
    let id =
        rest.strip_suffix(b"/response").and_then(|id| std::str::from_utf8(id).ok()?.parse().ok());
    let caller = id.and_then(|id: u64| lock(meeting).callers.remove(&id));
    let Some(caller) = caller else {
        return (&*runtime).write_all(NOT_FOUND);
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         X-Amz-Executed-Version: $LATEST\r\n\r\n",
        answer.len()
    );
    // The caller's own thread notices if its connection is broken.
    let _ = write_message(&*caller, head.as_bytes(), answer);
    (&*runtime).write_all(ACCEPTED)
}

fn give(runtime: &TcpStream, id: u64, event: &[u8]) {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Lambda-Runtime-Aws-Request-Id: {id}\r\nLambda-Runtime-Deadline-Ms: 1999999999999\r\n\
         Lambda-Runtime-Invoked-Function-Arn: \
         arn:aws:lambda:us-east-1:000000000000:function:floor\r\n\r\n",
        event.len()
    );
    // As above: the runtime's own thread notices.
    let _ = write_message(runtime, head.as_bytes(), event);
}

/// No code panics while it holds the lock, so a poisoned one is whole.
fn lock(meeting: &Mutex<Meeting>) -> MutexGuard<'_, Meeting> {
    meeting.lock().unwrap_or_else(PoisonError::into_inner)
}
