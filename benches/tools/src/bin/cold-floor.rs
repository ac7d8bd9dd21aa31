//! Cold starts, side by side and in turn: what the bare Engine calls take for an image (create,
//! start, first byte from the container), and what an invocation takes through the service when
//! its function has no sandbox.
//!
//! The Engine's container gets the hardening, limits and kind of network that the service gives
//! its sandboxes, on a network of its own. Without `--service` only the Engine is measured. What
//! it creates it removes, also after an error; removal and creating the function are not timed.

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use bench_tools::client::Connection;
use bench_tools::engine::{Engine, text_field};
use bench_tools::options::Options;
use bench_tools::sample::{Sample, millis};

const USAGE: &str = "usage: cold-floor --image IMAGE [--name NETWORK_AND_PREFIX] [-n ROUNDS] \
[--memory-mib MIB] [--socket PATH] [--service HOST:PORT]";
/// A cold start that takes longer has failed.
const START_MAX: Duration = Duration::from_secs(30);
/// Between two measurements: the Engine and the service clear away and prepare behind the scenes.
const SETTLE: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(20);
/// Lambda gives one whole CPU at this memory size, and less in proportion.
const MIB_PER_CPU: u64 = 1769;

struct Plan {
    image: String,
    name: String,
    rounds: usize,
    memory_mib: u64,
    service: Option<String>,
}

fn main() -> ExitCode {
    let (plan, socket) = match plan(Options::from_env()) {
        Ok(parsed) => parsed,
        Err(message) => {
            eprintln!("cold-floor: {message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match Engine::connect(&socket).and_then(|mut engine| compare(&plan, &mut engine)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cold-floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn plan(mut options: Options) -> Result<(Plan, String), String> {
    let socket = options.value("--socket")?.unwrap_or_else(|| "/var/run/docker.sock".to_owned());
    let plan = Plan {
        image: options.value("--image")?.ok_or_else(|| "--image is needed".to_owned())?,
        name: options.value("--name")?.unwrap_or_else(|| "cold-floor".to_owned()),
        rounds: options.value("-n")?.unwrap_or(10_usize).clamp(1, 1000),
        memory_mib: options.value("--memory-mib")?.unwrap_or(256_u64).clamp(128, 10_240),
        service: options.value("--service")?,
    };
    options.finish()?;
    Ok((plan, socket))
}

/// Makes the network, measures in turn, and removes the network whatever happened.
fn compare(plan: &Plan, engine: &mut Engine) -> io::Result<()> {
    let network = format!(
        "{{\"Name\":\"{}\",\"Driver\":\"bridge\",\"CheckDuplicate\":true,\
         \"Options\":{{\"com.docker.network.bridge.enable_icc\":\"false\"}}}}",
        plan.name
    );
    engine.call("POST", "/networks/create", &network)?;
    let measured = measure(plan, engine);
    let removed = engine.call("DELETE", &format!("/networks/{}", plan.name), "");
    let (floor, service) = measured?;
    removed?;
    print_sample("engine", &floor);
    if plan.service.is_some() {
        print_sample("service", &service);
        let ratio = millis(service.quantile(500)) / millis(floor.quantile(500));
        println!("{{\"subject\":\"ratio\",\"p50\":{ratio:.3}}}");
    }
    Ok(())
}

fn measure(plan: &Plan, engine: &mut Engine) -> io::Result<(Sample, Sample)> {
    let inspected = engine.call("GET", &format!("/networks/{}", plan.name), "")?;
    let gateway = text_field(&inspected, "Gateway")
        .ok_or_else(|| io::Error::other(format!("network {} has no gateway", plan.name)))?;
    let (mut floor, mut service) = (Vec::new(), Vec::new());
    // The first of each warms caches (image layers, the Engine's own) and is not counted.
    for round in 0..=plan.rounds {
        let taken = engine_start(plan, engine, gateway, round)?;
        thread::sleep(SETTLE);
        if round > 0 {
            floor.push(taken);
        }
        if let Some(address) = &plan.service {
            let taken = service_start(plan, engine, address, round)?;
            thread::sleep(SETTLE);
            if round > 0 {
                service.push(taken);
            }
        }
    }
    Ok((Sample::new(floor), Sample::new(service)))
}

/// Create, start, first byte.
fn engine_start(
    plan: &Plan,
    engine: &mut Engine,
    gateway: &str,
    round: usize,
) -> io::Result<Duration> {
    let name = format!("{}-floor-{round}", plan.name);
    // A port of its own: a byte of an earlier round's container cannot be taken for this one's.
    let listener = TcpListener::bind((gateway, 0))?;
    listener.set_nonblocking(true)?;
    let body = container(plan, &listener.local_addr()?.to_string());
    let begun = Instant::now();
    engine.call("POST", &format!("/containers/create?name={name}"), &body)?;
    let started = thread::scope(|scope| {
        // A first byte can come before the Engine has answered the start, so it is awaited
        // beside that call.
        let first_byte = scope.spawn(|| first_byte(&listener, begun));
        let started = engine.call("POST", &format!("/containers/{name}/start"), "");
        let seen = first_byte.join().unwrap_or_else(|_| Err(io::Error::other("listener died")));
        started.and(seen)
    });
    engine.call("DELETE", &format!("/containers/{name}?force=true"), "")?;
    // Its connection stays open until here, so that the runtime waits and does not dial again.
    started.map(|(taken, _connection)| taken)
}

/// The Engine's form of what the service does to a sandbox: no capabilities, no way to new ones,
/// read-only root, an ordinary user, bounded processes, memory, CPU and logs.
fn container(plan: &Plan, runtime_api: &str) -> String {
    let bytes = plan.memory_mib << 20;
    let nano_cpus = (plan.memory_mib * 1_000_000_000 / MIB_PER_CPU).min(1_000_000_000);
    format!(
        "{{\"Image\":\"{}\",\"User\":\"993:990\",\"Env\":[\"AWS_LAMBDA_RUNTIME_API={runtime_api}\"],\
         \"HostConfig\":{{\"NetworkMode\":\"{}\",\"CapDrop\":[\"ALL\"],\
         \"SecurityOpt\":[\"no-new-privileges\"],\"ReadonlyRootfs\":true,\
         \"Tmpfs\":{{\"/tmp\":\"rw,exec,nosuid,nodev,size=512m\"}},\"Init\":true,\
         \"PidsLimit\":1024,\"Ulimits\":[{{\"Name\":\"nofile\",\"Soft\":1024,\"Hard\":1024}}],\
         \"Memory\":{bytes},\"MemorySwap\":{bytes},\"NanoCpus\":{nano_cpus},\
         \"LogConfig\":{{\"Type\":\"json-file\",\
         \"Config\":{{\"max-size\":\"10m\",\"max-file\":\"2\"}}}}}}}}",
        plan.image, plan.name
    )
}

/// Waits for the container's connection and the first byte on it.
fn first_byte(listener: &TcpListener, begun: Instant) -> io::Result<(Duration, TcpStream)> {
    // Short beside what is measured, and cheap enough not to disturb it.
    let step = Duration::from_micros(500);
    while begun.elapsed() < START_MAX {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(START_MAX))?;
                stream.read_exact(&mut [0])?;
                return Ok((begun.elapsed(), stream));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(step),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("the container did not connect"))
}

/// Creates a function, times its first invocation, deletes it and waits for its container to go.
fn service_start(
    plan: &Plan,
    engine: &mut Engine,
    address: &str,
    round: usize,
) -> io::Result<Duration> {
    let name = format!("{}-{round}", plan.name);
    let path = format!("/2015-03-31/functions/{name}");
    let body = format!(
        "{{\"FunctionName\":\"{name}\",\"PackageType\":\"Image\",\
         \"Code\":{{\"ImageUri\":\"{}\"}},\"MemorySize\":{},\
         \"Timeout\":30,\"Role\":\"arn:aws:iam::000000000000:role/benchmark\"}}",
        plan.image, plan.memory_mib
    );
    let mut connection = Connection::open(address, Some(START_MAX))?;
    call(&mut connection, "POST", "/2015-03-31/functions", &body)?;
    let result = invoke_when_active(&mut connection, &path);
    call(&mut connection, "DELETE", &path, "")?;
    let filter =
        format!("/containers/json?all=true&filters=%7B%22name%22%3A%5B%22{name}-%22%5D%7D");
    wait_until("the container is gone", || Ok(engine.call("GET", &filter, "")?.trim() == "[]"))?;
    result
}

fn invoke_when_active(connection: &mut Connection, path: &str) -> io::Result<Duration> {
    wait_until("the function is active", || {
        let function = call(connection, "GET", path, "")?;
        Ok(text_field(&function, "State") == Some("Active"))
    })?;
    let event = "{\"cold\":true}";
    let begun = Instant::now();
    let answer = call(connection, "POST", &format!("{path}/invocations"), event)?;
    let taken = begun.elapsed();
    if answer == event { Ok(taken) } else { Err(io::Error::other(format!("answer {answer}"))) }
}

/// One call to the service that must succeed.
fn call(connection: &mut Connection, method: &str, path: &str, body: &str) -> io::Result<String> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    connection.send(head.as_bytes(), body.as_bytes())?;
    let status = connection.receive()?;
    let text = String::from_utf8_lossy(connection.answer().body()).into_owned();
    if status / 100 == 2 {
        return Ok(text);
    }
    Err(io::Error::other(format!("{method} {path}: {status} {text}")))
}

fn wait_until(what: &str, mut done: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let begun = Instant::now();
    while !done()? {
        if begun.elapsed() > START_MAX {
            return Err(io::Error::other(format!("waited in vain until {what}")));
        }
        thread::sleep(POLL);
    }
    Ok(())
}

fn print_sample(subject: &str, sample: &Sample) {
    let [p50, min, max] = [500, 0, 1000].map(|per_mille| millis(sample.quantile(per_mille)));
    println!(
        "{{\"subject\":\"{subject}\",\"starts\":{},\"p50_ms\":{p50:.1},\"min_ms\":{min:.1},\
         \"max_ms\":{max:.1}}}",
        sample.len()
    );
}
