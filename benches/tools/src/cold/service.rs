//! The service: invocations of functions that have no sandbox.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::{START_MAX, at_once, wait_until};
use crate::client::Connection;
use crate::engine::{Engine, text_field};

const EVENT: &str = "{\"cold\":true}";
/// So long nothing may have happened behind the scenes before the next measurement.
const CALM: Duration = Duration::from_millis(500);

/// A running service and what it is to start.
#[derive(Debug)]
pub struct Service {
    socket: String,
    address: String,
    image: String,
    /// Begins every function's name.
    name: String,
    memory_mib: u64,
    round: usize,
}

impl Service {
    pub fn new(socket: &str, address: &str, image: &str, name: &str, memory_mib: u64) -> Self {
        let [socket, address, image, name] = [socket, address, image, name].map(str::to_owned);
        Self { socket, address, image, name, memory_mib, round: 0 }
    }

    /// Invokes so many new functions at the same time; how long until each has answered.
    pub fn start(&mut self, count: usize) -> io::Result<Duration> {
        self.round += 1;
        let functions: Vec<String> = (0..count).map(|index| self.function(index)).collect();
        let made = functions.iter().try_for_each(|name| self.create(name, Duration::ZERO));
        let taken = made.and_then(|()| self.invoke(&functions));
        self.clear(&functions)?;
        taken
    }

    /// Invokes one new function so often at the same time, each for so long that every invocation
    /// needs a sandbox of its own; how much longer than that it takes until all have answered.
    pub fn grow(&mut self, callers: usize, work: Duration) -> io::Result<Duration> {
        self.round += 1;
        let name = self.function(0);
        let made = self.create(&name, work);
        let taken = made.and_then(|()| self.invoke(&vec![name.clone(); callers]));
        self.clear(&[name])?;
        Ok(taken?.saturating_sub(work))
    }

    fn function(&self, index: usize) -> String {
        format!("{}-{}-{index}", self.name, self.round)
    }

    fn create(&self, name: &str, work: Duration) -> io::Result<()> {
        let body = format!(
            "{{\"FunctionName\":\"{name}\",\"PackageType\":\"Image\",\
             \"Code\":{{\"ImageUri\":\"{}\"}},\"MemorySize\":{},\"Timeout\":60,\
             \"Environment\":{{\"Variables\":{{\"BARE_RUNTIME_WORK_MS\":\"{}\"}}}},\
             \"Role\":\"arn:aws:iam::000000000000:role/benchmark\"}}",
            self.image,
            self.memory_mib,
            work.as_millis()
        );
        let mut connection = self.connect()?;
        call(&mut connection, "POST", "/2015-03-31/functions", &body)?;
        wait_until("the function is active", || {
            let function = call(&mut connection, "GET", &path(name), "")?;
            Ok(text_field(&function, "State") == Some("Active"))
        })
    }

    fn invoke(&self, functions: &[String]) -> io::Result<Duration> {
        let connected = functions.iter().map(|_| self.connect().map(std::sync::Mutex::new));
        let connections = connected.collect::<io::Result<Vec<_>>>()?;
        let begun = Instant::now();
        let taken = at_once(functions.len(), |index| {
            let mut connection = connections[index].lock().map_err(|_| io::Error::other("died"))?;
            let path = format!("{}/invocations", path(&functions[index]));
            match call(&mut connection, "POST", &path, EVENT)? {
                answer if answer == EVENT => Ok(begun.elapsed()),
                answer => Err(io::Error::other(format!("answer {answer}"))),
            }
        })?;
        Ok(taken.into_iter().max().unwrap_or_default())
    }

    /// Deletes the functions, and waits until their containers have gone and the service has made
    /// everything ready again.
    fn clear(&self, functions: &[String]) -> io::Result<()> {
        let mut connection = self.connect()?;
        for name in functions {
            call(&mut connection, "DELETE", &path(name), "")?;
        }
        let mut engine = Engine::connect(&self.socket)?;
        let named = format!("{}-{}-", self.name, self.round);
        let filter =
            format!("/containers/json?all=true&filters=%7B%22name%22%3A%5B%22{named}%22%5D%7D");
        wait_until("the containers are gone", || {
            Ok(engine.call("GET", &filter, "")?.trim() == "[]")
        })?;
        self.wait_for_calm()
    }

    /// Waits until no network slot is being made or at rest.
    pub fn wait_for_calm(&self) -> io::Result<()> {
        let mut connection = self.connect()?;
        let mut calm_since = None;
        wait_until("the network slots are ready", || {
            let status = call(&mut connection, "GET", "/status", "")?;
            let calm = ["\"making\":0,", "\"resting\":0,"].iter().all(|text| status.contains(text));
            let since = *calm_since.get_or_insert_with(Instant::now);
            if !calm {
                calm_since = None;
            }
            thread::sleep(CALM / 10);
            Ok(calm && since.elapsed() >= CALM)
        })
    }

    fn connect(&self) -> io::Result<Connection> {
        Connection::open(&self.address, Some(START_MAX))
    }
}

fn path(function: &str) -> String {
    format!("/2015-03-31/functions/{function}")
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
