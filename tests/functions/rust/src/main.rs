//! The function under test: it does what its event's `op` says.
//!
//! It is AWS's own Rust runtime client with a handler that can succeed, fail, crash, hang and look around.
//! It deliberately checks nothing itself: each test judges what comes back to the caller.
//! `FAIL_INIT` in the environment breaks the start: `exit` ends before the first poll, `hang` never polls; both
//! say so first.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::LazyLock;
use std::time::Duration;

use lambda_runtime::streaming::{Body, Response, channel};
use lambda_runtime::{Error, FunctionResponse, LambdaEvent, run, service_fn};
use serde_json::{Map, Value, json};

type Answer = FunctionResponse<Value, Body>;

/// Where a function may and may not write; the tests expect only /tmp to work.
const PROBED_PATHS: [&str; 4] = ["/probe", "/var/task/probe", "/tmp/probe", "/dev/shm/probe"];

/// Tells somebody outside that this invocation runs, and waits until that is written down.
fn tell(recorder: &str, id: &str) -> std::io::Result<()> {
    let patience = Duration::from_secs(10);
    let mut socket =
        TcpStream::connect_timeout(&recorder.parse().map_err(std::io::Error::other)?, patience)?;
    socket.set_read_timeout(Some(patience))?;
    writeln!(socket, "{id}")?;
    socket.read_exact(&mut [0])
}

async fn handle(event: LambdaEvent<Value>) -> Result<Answer, Error> {
    let LambdaEvent { payload, context } = event;
    if let Some(recorder) = payload["recorder"].as_str() {
        tell(recorder, payload["id"].as_str().unwrap_or_default())?;
    }
    let number = |key: &str| payload[key].as_u64().unwrap_or(0);
    let answer = match payload["op"].as_str().unwrap_or("echo") {
        "raise" => return Err(payload["message"].as_str().unwrap_or("boom é").into()),
        "panic" => panic!("the handler panicked"),
        "exit" => std::process::exit(i32::try_from(number("code"))?),
        "sleep" => {
            tokio::time::sleep(Duration::from_millis(number("ms"))).await;
            json!({"slept_ms": number("ms"), "hostname": hostname(), "sandbox": sandbox()})
        }
        // Two bytes of the answer are the JSON string's quotes.
        "big" => json!("x".repeat(usize::try_from(number("bytes"))?.saturating_sub(2))),
        "length" => json!(payload["data"].as_str().unwrap_or_default().len()),
        "env" => json!(std::env::vars().collect::<BTreeMap<_, _>>()),
        "fs" => look_around()?,
        "log" => {
            for line in 0..number("lines") {
                println!("log line {line}");
            }
            println!("last log line of {}", context.request_id);
            json!(number("lines"))
        }
        "print" => {
            print(&payload)?;
            json!(context.request_id)
        }
        "print and exit" => {
            print(&payload)?;
            std::process::exit(i32::try_from(number("code"))?)
        }
        "print and sleep" => {
            print(&payload)?;
            tokio::time::sleep(Duration::from_millis(number("ms"))).await;
            json!(context.request_id)
        }
        "memory" => {
            let mib = usize::try_from(number("mib"))?;
            // Written, not only reserved: the kernel counts a page when it is touched.
            let blocks: Vec<Vec<u8>> = (0..mib).map(|_| vec![1u8; 1 << 20]).collect();
            json!(blocks.len())
        }
        "binary" => return binary(usize::try_from(number("bytes"))?),
        "answer" => {
            let said = answer_for(payload["id"].as_str().unwrap_or_default())?;
            tokio::time::sleep(Duration::from_millis(number("ms"))).await;
            json!({"said": said, "sandbox": sandbox()})
        }
        "send" => json!(send(&payload)?),
        "where" => json!({"hostname": hostname(), "sandbox": sandbox()}),
        _ => json!({
            "event": payload,
            "request_id": context.request_id,
            "deadline": context.deadline,
            "arn": context.invoked_function_arn,
            "trace_id": context.xray_trace_id,
            "client_context": context.client_context,
            "hostname": hostname(),
            "sandbox": sandbox(),
        }),
    };
    Ok(FunctionResponse::BufferedResponse(answer))
}

/// Sends a text to an address, and gives what comes back until the other side closes.
fn send(payload: &Value) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(payload["address"].as_str().unwrap_or_default())?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.write_all(payload["text"].as_str().unwrap_or_default().as_bytes())?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Writes to both outputs, in turns: as it is said, without a line feed of its own. `repeat` times; `{n}` is the
/// number of the time. `binary` bytes that are no text follow.
fn print(payload: &Value) -> Result<(), Error> {
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    let text = |key: &str, n: u64| {
        payload[key].as_str().unwrap_or_default().replace("{n}", &n.to_string())
    };
    for n in 0..payload["repeat"].as_u64().unwrap_or(1) {
        out.write_all(text("out", n).as_bytes())?;
        out.flush()?;
        err.write_all(text("err", n).as_bytes())?;
    }
    let binary = usize::try_from(payload["binary"].as_u64().unwrap_or(0))?;
    out.write_all(&(0..=u8::MAX).cycle().take(binary).collect::<Vec<u8>>())?;
    Ok(out.flush()?)
}

/// All byte values in turn, through the client's streaming mode: a chunked body that is not JSON.
fn binary(bytes: usize) -> Result<Answer, Error> {
    let data: Vec<u8> = (0..=u8::MAX).cycle().take(bytes).collect();
    let (mut sender, body) = channel();
    tokio::spawn(async move {
        // A caller that has gone is no error of the function's.
        let _ = sender.send_data(data.into()).await;
    });
    Ok(FunctionResponse::StreamingResponse(Response::from(body)))
}

/// Answers an invocation that is not its own, past the client; what the service says to that.
fn answer_for(id: &str) -> Result<String, Error> {
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API")?;
    let mut stream = TcpStream::connect(&api)?;
    write!(
        stream,
        "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: {api}\r\n\
         Connection: close\r\nContent-Length: 2\r\n\r\n{{}}"
    )?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said.lines().next().unwrap_or_default().to_owned())
}

/// Which sandbox answered: no two processes ever give the same.
fn sandbox() -> &'static str {
    static UNIQUE: LazyLock<String> = LazyLock::new(|| {
        std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default()
    });
    UNIQUE.trim()
}

/// The container's name for itself; one that joins another's network has that one's.
fn hostname() -> String {
    std::fs::read_to_string("/etc/hostname").unwrap_or_default().trim().to_owned()
}

/// What the sandbox lets its function do.
fn look_around() -> Result<Value, Error> {
    let mut writes = Map::new();
    for path in PROBED_PATHS {
        let outcome = match std::fs::write(path, "a") {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.kind().to_string(),
        };
        writes.insert(path.to_owned(), json!(outcome));
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let fields: BTreeMap<&str, &str> = status
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| ["Uid", "Gid", "CapEff", "CapBnd", "NoNewPrivs"].contains(key))
        .map(|(key, value)| (key, value.trim()))
        .collect();
    Ok(json!({"writes": writes, "status": fields}))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    match std::env::var("FAIL_INIT").as_deref() {
        Ok("exit") => {
            eprintln!("this start fails");
            std::process::exit(7)
        }
        Ok("hang") => {
            println!("this start hangs");
            std::future::pending::<()>().await
        }
        _ => {}
    }
    println!("the function starts");
    run(service_fn(handle)).await
}
