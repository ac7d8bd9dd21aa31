//! HTTP/1.1 over a Unix-domain socket for ureq 3.5.
//!
//! ureq separates what to say from where to say it: a [`Connector`] opens connections, a
//! [`Transport`] moves bytes, a [`Resolver`] turns a host into addresses. All three live in
//! `ureq::unversioned`, which is exempt from semver. So the dependency is pinned to a minor release
//! and this is the only file that may name those traits, but for a resolver in `package::hosts`.
//!
//! It does not retry, and it knows nothing of Docker. Every wait (connect, write, read) is bounded
//! by the timeout that ureq hands in.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, ShutdownHandle, Transport,
};
use ureq::{Agent, Error};

/// Builds an agent whose every request goes to the Unix socket at `path`.
///
/// The scheme and host of a request's URI only choose the connection pool and the `Host` header.
pub(super) fn agent(path: &Path, config: Config) -> Agent {
    Agent::with_parts(config, UnixConnector { path: path.to_owned() }, NoResolver)
}

/// Opening the socket failed, as opposed to a connection that broke later.
///
/// ureq has one error for both; this type travels inside it to keep them apart.
#[derive(Debug)]
pub(super) struct ConnectError(pub(super) io::Error);

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot connect: {}", self.0)
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Answers every look-up with no address, so that `getaddrinfo` is never called (nor linked).
///
/// ureq resolves the host on every request, pooled or not, and with a timeout set its default
/// resolver starts a thread for each.
#[derive(Debug)]
struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

/// Opens connections to one Unix socket.
#[derive(Debug)]
struct UnixConnector {
    path: PathBuf,
}

impl Connector<()> for UnixConnector {
    type Out = UnixTransport;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _chained: Option<()>,
    ) -> Result<Option<UnixTransport>, Error> {
        let timeout = socket_timeout(details.timeout)?;
        let stream = connect(&self.path, timeout).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                Error::Timeout(details.timeout.reason)
            }
            _ => Error::Other(Box::new(ConnectError(e))),
        })?;
        let transport = UnixTransport {
            socket: Arc::new(Socket(stream)),
            buffers: LazyBuffers::new(
                details.config.input_buffer_size(),
                details.config.output_buffer_size(),
            ),
            read_timeout: None,
            write_timeout: timeout,
        };
        // Without this, `Agent::shutdown` cannot interrupt a read blocked on this connection.
        let socket: Arc<dyn ShutdownHandle> = transport.socket.clone();
        (details.register_shutdown)(Arc::downgrade(&socket))?;
        Ok(Some(transport))
    }
}

/// Connects within `timeout`.
///
/// std's `UnixStream::connect` waits for ever when the listener's backlog is full, as it is when
/// dockerd hangs; on Linux the send timeout of a Unix socket bounds that wait too (unix(7)).
pub(super) fn connect(path: &Path, timeout: Option<Duration>) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, timeout)?;
    // With a send timeout set, Linux does not restart it after a signal (signal(7)).
    rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address))?;
    Ok(UnixStream::from(socket))
}

/// Connects without waiting for anything, and gives a socket that never waits either.
pub(super) fn connect_at_once(path: &Path) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &address)?;
    Ok(UnixStream::from(socket))
}

/// The socket, shared weakly with the agent's shutdown registry.
struct Socket(UnixStream);

impl ShutdownHandle for Socket {
    fn shutdown(&self) {
        // It fails only on a socket that is closed already, which is what is wanted.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// One connection: a socket, its buffers, and the socket timeouts now in force.
struct UnixTransport {
    socket: Arc<Socket>,
    buffers: LazyBuffers,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

impl fmt::Debug for UnixTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixTransport").finish_non_exhaustive()
    }
}

/// The socket timeout for `next`: `None` waits for ever.
fn socket_timeout(next: NextTimeout) -> Result<Option<Duration>, Error> {
    if next.after.is_not_happening() {
        return Ok(None);
    }
    if next.after.is_zero() {
        // A zero SO_RCVTIMEO would mean "for ever".
        return Err(Error::Timeout(next.reason));
    }
    // The kernel counts microseconds and would round less than one down to zero, "for ever".
    Ok(Some((*next.after).max(Duration::from_micros(1))))
}

/// Maps the errors that a timed-out blocking read or write can give to ureq's timeout.
fn io_error(e: io::Error, next: NextTimeout) -> Error {
    match e.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(next.reason),
        _ => Error::Io(e),
    }
}

impl Transport for UnixTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let next = timeout.for_write();
        let want = socket_timeout(next)?;
        if want != self.write_timeout {
            self.socket.0.set_write_timeout(want)?;
            self.write_timeout = want;
        }
        let output = &self.buffers.output()[..amount];
        (&self.socket.0).write_all(output).map_err(|e| io_error(e, next))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let next = timeout.for_read();
        let started = Instant::now();
        let mut want = socket_timeout(next)?;
        let input = self.buffers.input_append_buf();
        let amount = loop {
            if want != self.read_timeout {
                self.socket.0.set_read_timeout(want)?;
                self.read_timeout = want;
            }
            match (&self.socket.0).read(input) {
                Ok(amount) => break amount,
                // Linux never restarts a read with SO_RCVTIMEO after a signal (signal(7)).
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {
                    if let Some(all) = socket_timeout(next)? {
                        let left = all.saturating_sub(started.elapsed());
                        if left.is_zero() {
                            return Err(Error::Timeout(next.reason));
                        }
                        want = Some(left);
                    }
                }
                Err(e) => return Err(io_error(e, next)),
            }
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// True when the peer has neither closed nor sent bytes that nobody asked for.
    fn is_open(&mut self) -> bool {
        let probe = || -> io::Result<bool> {
            self.socket.0.set_nonblocking(true)?;
            let read = (&self.socket.0).read(&mut [0u8]);
            self.socket.0.set_nonblocking(false)?;
            Ok(matches!(read, Err(e) if e.kind() == io::ErrorKind::WouldBlock))
        };
        probe().unwrap_or(false)
    }
}
