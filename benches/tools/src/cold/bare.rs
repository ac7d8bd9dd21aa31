//! The bare Engine: create, start, first byte from the container.
//!
//! The containers get the hardening, limits and kind of network that the service gives its
//! sandboxes, on a network of their own.

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::{START_MAX, at_once};
use crate::engine::{Engine, text_field};

/// As the service: one whole CPU at most, and this memory size's weight is 1024.
const NANO_CPUS: u64 = 1_000_000_000;
const MIB_PER_CPU: u64 = 1769;

/// An image to start, on a network that lives as long as this.
#[derive(Debug)]
pub struct Bare {
    socket: String,
    image: String,
    /// The network's, and the beginning of every container's.
    name: String,
    memory_mib: u64,
    gateway: String,
}

impl Bare {
    pub fn new(socket: &str, image: &str, name: &str, memory_mib: u64) -> io::Result<Self> {
        let mut engine = Engine::connect(socket)?;
        let network = format!(
            "{{\"Name\":\"{name}\",\"Driver\":\"bridge\",\"CheckDuplicate\":true,\
             \"Options\":{{\"com.docker.network.bridge.enable_icc\":\"false\"}}}}"
        );
        engine.call("POST", "/networks/create", &network)?;
        let mut bare = Self {
            socket: socket.to_owned(),
            image: image.to_owned(),
            name: name.to_owned(),
            memory_mib,
            gateway: String::new(),
        };
        let inspected = engine.call("GET", &format!("/networks/{name}"), "")?;
        let gateway = text_field(&inspected, "Gateway");
        bare.gateway = gateway.ok_or_else(|| io::Error::other("no gateway"))?.to_owned();
        Ok(bare)
    }

    /// Starts so many containers at the same time; how long it takes until each has said its first
    /// byte.
    pub fn start(&self, count: usize) -> io::Result<Duration> {
        let begun = Instant::now();
        let started = at_once(count, |index| self.start_one(index, begun));
        let took = started.map(|taken| taken.into_iter().map(|(taken, _)| taken).max());
        // A connection stays open until here, so that its runtime waits and does not dial again.
        at_once(count, |index| {
            let path = format!("/containers/{}?force=true", self.container_name(index));
            Engine::connect(&self.socket)?.call("DELETE", &path, "").map(drop)
        })?;
        took.map(Option::unwrap_or_default)
    }

    fn container_name(&self, index: usize) -> String {
        format!("{}-{index}", self.name)
    }

    fn start_one(&self, index: usize, begun: Instant) -> io::Result<(Duration, TcpStream)> {
        let mut engine = Engine::connect(&self.socket)?;
        let name = self.container_name(index);
        // A port of its own: a byte of an earlier container cannot be taken for this one's.
        let listener = TcpListener::bind((&*self.gateway, 0))?;
        listener.set_nonblocking(true)?;
        let body = self.container(&listener.local_addr()?.to_string());
        engine.call("POST", &format!("/containers/create?name={name}"), &body)?;
        thread::scope(|scope| {
            // A first byte can come before the Engine has answered the start, so it is awaited
            // beside that call.
            let first_byte = scope.spawn(|| first_byte(&listener, begun));
            let started = engine.call("POST", &format!("/containers/{name}/start"), "");
            let seen = first_byte.join().unwrap_or_else(|_| Err(io::Error::other("listener died")));
            started.and(seen)
        })
    }

    /// The Engine's form of what the service does to a sandbox: no capabilities, no way to new
    /// ones, read-only root, an ordinary user, bounded processes, memory, CPU and logs.
    fn container(&self, runtime_api: &str) -> String {
        let bytes = self.memory_mib << 20;
        let cpu_shares = self.memory_mib * 1024 / MIB_PER_CPU;
        format!(
            "{{\"Image\":\"{}\",\"User\":\"993:990\",\"Env\":[\"AWS_LAMBDA_RUNTIME_API={runtime_api}\"],\
             \"HostConfig\":{{\"NetworkMode\":\"{}\",\"CapDrop\":[\"ALL\"],\
             \"SecurityOpt\":[\"no-new-privileges\"],\"ReadonlyRootfs\":true,\
             \"Tmpfs\":{{\"/tmp\":\"rw,exec,nosuid,nodev,size=512m\"}},\"Init\":true,\
             \"PidsLimit\":1024,\"Ulimits\":[{{\"Name\":\"nofile\",\"Soft\":1024,\"Hard\":1024}}],\
             \"Memory\":{bytes},\"MemorySwap\":{bytes},\"NanoCpus\":{NANO_CPUS},\"CpuShares\":{cpu_shares},\
             \"LogConfig\":{{\"Type\":\"json-file\",\
             \"Config\":{{\"max-size\":\"10m\",\"max-file\":\"2\"}}}}}}}}",
            self.image, self.name
        )
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let removed = Engine::connect(&self.socket)
            .and_then(|mut engine| engine.call("DELETE", &format!("/networks/{}", self.name), ""));
        if let Err(error) = removed {
            eprintln!("network {} is left: {error}", self.name);
        }
    }
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
