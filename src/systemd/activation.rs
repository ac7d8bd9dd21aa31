//! sd_listen_fds(3): listening sockets that are open before the service is.
//!
//! The descriptors from 3 on are sockets if `LISTEN_PID` is this process; `LISTEN_FDS` says how
//! many. To own a descriptor by its number is unsafe, which is forbidden here: the crate `listenfd`
//! does that, and all that it takes on trust is checked before or after.

use std::net::TcpListener;

use listenfd::ListenFd;
use rustix::net::{ipproto, sockopt};

use super::SystemdError;

/// The first of the descriptors, as the protocol fixes it.
const FIRST: usize = 3;
/// More sockets than anybody has addresses for.
const MAX_SOCKETS: usize = 64;

/// What the environment says.
#[derive(Debug, PartialEq, Eq)]
pub enum Passed {
    Nothing,
    /// They are for a process before or beside this one.
    ToAnother,
    /// The sockets' names, as far as they have any.
    Sockets(Vec<Option<String>>),
}

/// Reads the environment; touches no descriptor.
pub fn passed(
    environment: &dyn Fn(&str) -> Option<String>,
    pid: u32,
) -> Result<Passed, SystemdError> {
    let Some(count) = environment("LISTEN_FDS") else { return Ok(Passed::Nothing) };
    if let Some(meant) = environment("LISTEN_PID") {
        let meant = meant.parse::<u32>().map_err(|_| {
            SystemdError::new(format!("LISTEN_PID {meant:?} is not the number of a process"))
        })?;
        if meant != pid {
            return Ok(Passed::ToAnother);
        }
    } else {
        return Ok(Passed::ToAnother);
    }
    let count =
        count.parse::<usize>().ok().filter(|count| *count <= MAX_SOCKETS).ok_or_else(|| {
            SystemdError::new(format!("LISTEN_FDS {count:?} is not a number of 0 to {MAX_SOCKETS}"))
        })?;
    if environment("LISTEN_FDS_FIRST_FD").is_some() {
        // An extension of listenfd's, which would take other descriptors for sockets.
        return Err(SystemdError::new("LISTEN_FDS_FIRST_FD is not known here"));
    }
    let names: Vec<Option<String>> = match environment("LISTEN_FDNAMES") {
        None => vec![None; count],
        Some(names) => names.split(':').take(count + 1).map(|name| Some(name.into())).collect(),
    };
    if count == 0 {
        return Ok(Passed::Nothing);
    }
    if names.len() != count {
        return Err(SystemdError::new(format!(
            "LISTEN_FDNAMES does not have a name for each of LISTEN_FDS = {count} sockets"
        )));
    }
    Ok(Passed::Sockets(names))
}

/// Takes the sockets and removes `LISTEN_FDS` and `LISTEN_PID` from the environment.
pub fn take(names: &[Option<String>]) -> Result<Vec<TcpListener>, SystemdError> {
    let mut sockets = ListenFd::from_env();
    let mut listeners = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let named = name.as_ref().map(|name| format!(" ({name:?})")).unwrap_or_default();
        let refused = |why: &str| {
            SystemdError::new(format!(
                "the passed descriptor {}{named} cannot be used: {why}",
                index + FIRST
            ))
        };
        // "fd 3 is not a socket", "fd 3 is not a valid tcp socket".
        let taken =
            sockets.take_tcp_listener(index).map_err(|error| refused(&error.to_string()))?;
        let listener = taken.ok_or_else(|| refused("it is not there"))?;
        check(&listener).map_err(|why| refused(&why))?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn check(listener: &TcpListener) -> Result<(), String> {
    let protocol = sockopt::socket_protocol(listener).map_err(|error| error.to_string())?;
    if protocol != Some(ipproto::TCP) {
        return Err("it is not TCP (ListenStream= with an address and a port)".into());
    }
    match sockopt::socket_acceptconn(listener) {
        Ok(true) => Ok(()),
        Ok(false) => Err("it does not listen (the socket unit needs Accept=no)".into()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Passed, SystemdError> {
        let environment = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        passed(&environment, 42)
    }

    #[test]
    fn only_the_process_that_is_meant_takes_sockets() {
        assert_eq!(read(&[]), Ok(Passed::Nothing));
        assert_eq!(read(&[("LISTEN_PID", "42")]), Ok(Passed::Nothing));
        assert_eq!(read(&[("LISTEN_FDS", "1")]), Ok(Passed::ToAnother));
        assert_eq!(read(&[("LISTEN_FDS", "1"), ("LISTEN_PID", "41")]), Ok(Passed::ToAnother));
        assert_eq!(read(&[("LISTEN_FDS", "0"), ("LISTEN_PID", "42")]), Ok(Passed::Nothing));
        let two = Passed::Sockets(vec![None, None]);
        assert_eq!(read(&[("LISTEN_FDS", "2"), ("LISTEN_PID", "42")]), Ok(two));
    }

    #[test]
    fn names_belong_to_sockets() {
        let named = |fds, names| {
            read(&[("LISTEN_FDS", fds), ("LISTEN_PID", "42"), ("LISTEN_FDNAMES", names)])
        };
        let both = Passed::Sockets(vec![Some("http".into()), Some("gateway".into())]);
        assert_eq!(named("2", "http:gateway"), Ok(both));
        for (fds, names) in [("2", "http"), ("1", "http:gateway"), ("1", "a:b:c")] {
            assert!(named(fds, names).unwrap_err().to_string().contains("LISTEN_FDNAMES"));
        }
    }

    #[test]
    fn what_cannot_be_is_told() {
        for fds in ["", "x", "-1", "65", "1.0", "99999999999999999999"] {
            let error = read(&[("LISTEN_FDS", fds), ("LISTEN_PID", "42")]).unwrap_err();
            assert!(error.to_string().starts_with("LISTEN_FDS"), "{error}");
        }
        let error = read(&[("LISTEN_FDS", "1"), ("LISTEN_PID", "me")]).unwrap_err();
        assert!(error.to_string().starts_with("LISTEN_PID"), "{error}");
        let first = [("LISTEN_FDS", "1"), ("LISTEN_PID", "42"), ("LISTEN_FDS_FIRST_FD", "7")];
        assert!(read(&first).unwrap_err().to_string().starts_with("LISTEN_FDS_FIRST_FD"));
    }

    #[test]
    fn a_socket_has_to_listen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(check(&listener), Ok(()));
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let not_listening = TcpListener::from(std::os::fd::OwnedFd::from(client));
        assert!(check(&not_listening).unwrap_err().contains("does not listen"));
    }
}
