//! Cold starts, side by side and in turn: what the bare Engine calls take for an image (create,
//! start, first byte from the container), and what an invocation takes through the service when
//! its function has no sandbox: by a service that keeps networks ready, and by one that does not.
//!
//! One at a time, several functions at once, and one function that grows. Without a service only
//! the Engine is measured. The first of each warms caches and is not counted.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use bench_tools::cold::bare::Bare;
use bench_tools::cold::service::Service;
use bench_tools::options::Options;
use bench_tools::sample::{Sample, millis};

const USAGE: &str = "usage: cold-floor --image IMAGE [--name NETWORK_AND_PREFIX] [-n ROUNDS] \
[--at-once STARTS] [--grow CALLERS] [--memory-mib MIB] [--socket PATH] [--alone HOST:PORT] \
[--slots HOST:PORT]";
/// How long a growing function works: longer than it takes to start all its sandboxes.
const WORK: Duration = Duration::from_secs(8);

struct Plan {
    image: String,
    name: String,
    socket: String,
    memory_mib: u64,
    rounds: usize,
    at_once: usize,
    grow: usize,
    alone: Option<String>,
    slots: Option<String>,
}

fn main() -> ExitCode {
    let plan = match plan(Options::from_env()) {
        Ok(plan) => plan,
        Err(message) => {
            eprintln!("cold-floor: {message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match compare(&plan) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cold-floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn plan(mut options: Options) -> Result<Plan, String> {
    let plan = Plan {
        image: options.value("--image")?.ok_or_else(|| "--image is needed".to_owned())?,
        name: options.value("--name")?.unwrap_or_else(|| "cold-floor".to_owned()),
        socket: options.value("--socket")?.unwrap_or_else(|| "/var/run/docker.sock".to_owned()),
        memory_mib: options.value("--memory-mib")?.unwrap_or(256_u64).clamp(128, 10_240),
        rounds: options.value("-n")?.unwrap_or(10_usize).clamp(1, 1000),
        at_once: options.value("--at-once")?.unwrap_or(8_usize).clamp(1, 100),
        grow: options.value("--grow")?.unwrap_or(10_usize).clamp(1, 100),
        alone: options.value("--alone")?,
        slots: options.value("--slots")?,
    };
    options.finish()?;
    Ok(plan)
}

fn compare(plan: &Plan) -> io::Result<()> {
    let bare = Bare::new(&plan.socket, &plan.image, &plan.name, plan.memory_mib)?;
    let service = |address: &String, kind: &str| {
        let name = format!("{}-{kind}", plan.name);
        Service::new(&plan.socket, address, &plan.image, &name, plan.memory_mib)
    };
    let mut services = Vec::new();
    services.extend(plan.alone.as_ref().map(|address| ("alone", service(address, "alone"))));
    services.extend(plan.slots.as_ref().map(|address| ("slots", service(address, "slots"))));
    for (_, service) in &services {
        service.wait_for_calm()?;
    }
    measure("one", plan.rounds, || bare.start(1), &mut services, |service| service.start(1))?;
    // A burst takes long: fewer rounds of them.
    let rounds = plan.rounds.div_ceil(3);
    let at_once = plan.at_once;
    measure("at_once", rounds, || bare.start(at_once), &mut services, |s| s.start(at_once))?;
    let grow = plan.grow;
    measure("grow", rounds, || bare.start(grow), &mut services, |s| s.grow(grow, WORK))
}

/// Measures all subjects in turn, round after round, and prints a line for each.
fn measure(
    what: &str,
    rounds: usize,
    mut bare: impl FnMut() -> io::Result<Duration>,
    services: &mut [(&str, Service)],
    start: impl Fn(&mut Service) -> io::Result<Duration>,
) -> io::Result<()> {
    let mut taken = vec![Vec::new(); services.len() + 1];
    for round in 0..=rounds {
        let mut all = vec![bare()?];
        for (_, service) in &mut *services {
            all.push(start(service)?);
        }
        if round > 0 {
            taken.iter_mut().zip(all).for_each(|(taken, one)| taken.push(one));
        }
    }
    let names = std::iter::once("engine").chain(services.iter().map(|(name, _)| *name));
    let samples: Vec<Sample> = taken.into_iter().map(Sample::new).collect();
    let floor = millis(samples[0].quantile(500));
    for (subject, sample) in names.zip(&samples) {
        let [p50, min, max] = [500, 0, 1000].map(|per_mille| millis(sample.quantile(per_mille)));
        println!(
            "{{\"what\":\"{what}\",\"subject\":\"{subject}\",\"rounds\":{},\"p50_ms\":{p50:.1},\
             \"min_ms\":{min:.1},\"max_ms\":{max:.1},\"ratio\":{:.3}}}",
            sample.len(),
            p50 / floor
        );
    }
    Ok(())
}
