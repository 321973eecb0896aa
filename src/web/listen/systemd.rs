//! Sockets that systemd listens on and passes to the program it starts for them (`sd_listen_fds(3)`).

use std::num::NonZeroUsize;
use std::{env, io, process};

use listenfd::ListenFd;
use socket2::SockRef;

use super::Listener;

const COUNT: &str = "LISTEN_FDS";
const PROCESS: &str = "LISTEN_PID";
const NAMES: &str = "LISTEN_FDNAMES";
/// More than any unit has addresses.
const MAX_SOCKETS: usize = 64;

/// Why the sockets that were asked for cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("--web.systemd-socket: {0}")]
pub struct SocketError(String);

/// The sockets that systemd passed.
#[derive(Debug)]
pub struct Passed(Vec<Socket>);

#[derive(Debug)]
enum Socket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Passed {
    /// Takes the sockets, and the environment variables by which programs that this one starts would take
    /// them for their own. To be called before there is another thread.
    ///
    /// # Errors
    /// Where none were passed to this process, or one of them is nothing that connections come from.
    pub fn take() -> Result<Self, SocketError> {
        let count = announced(variable, process::id())?;
        let names = variable(NAMES).unwrap_or_default();
        let mut passed = ListenFd::from_env();
        let sockets = (0..count.get()).map(|index| {
            let name = names.split(':').nth(index).filter(|name| !name.is_empty()).unwrap_or("unnamed");
            socket(&mut passed, index)
                .map_err(|why| SocketError(format!("socket {} of {count} ({name}) {why}", index + 1)))
        });
        sockets.collect::<Result<_, _>>().map(Self)
    }

    /// Listens on them. To be called within a runtime.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn listen(self) -> io::Result<Vec<Listener>> {
        self.0.into_iter().map(Socket::listen).collect()
    }
}

/// Whether systemd listens for this process.
pub(super) fn listens() -> bool {
    announced(variable, process::id()).is_ok()
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// How many sockets the environment tells of, if they are for this process.
fn announced(variable: impl Fn(&str) -> Option<String>, own: u32) -> Result<NonZeroUsize, SocketError> {
    let Some(count) = variable(COUNT) else {
        return Err(SocketError(format!(
            "systemd passed no sockets ({COUNT} is not set): start the program by a .socket unit, or leave the flag out"
        )));
    };
    let Some(number) = count.parse().ok().filter(|count| *count <= MAX_SOCKETS).and_then(NonZeroUsize::new) else {
        return Err(SocketError(format!(
            "{COUNT} is {count:?} and should be 1 to {MAX_SOCKETS}: write ListenStream= in the .socket unit, once for each address"
        )));
    };
    let process = variable(PROCESS);
    if process.as_ref().is_some_and(|process| process.parse() == Ok(own)) {
        return Ok(number);
    }
    let process = process.as_deref().unwrap_or("none");
    Err(SocketError(format!(
        "the sockets are for another process ({PROCESS} is {process}, this one is {own}): have the unit start the program itself, or its script do so by exec"
    )))
}

/// One of the sockets, or what is wrong with it.
fn socket(passed: &mut ListenFd, index: usize) -> Result<Socket, String> {
    let taken = match passed.take_tcp_listener(index) {
        Ok(socket) => socket.map(Socket::Tcp),
        Err(_) => passed.take_unix_listener(index).ok().flatten().map(Socket::Unix),
    };
    let Some(socket) = taken else {
        return Err("is no stream socket: write ListenStream= for it in the .socket unit".to_owned());
    };
    let listens = match &socket {
        Socket::Tcp(socket) => SockRef::from(socket).is_listener(),
        Socket::Unix(socket) => SockRef::from(socket).is_listener(),
    };
    match listens {
        Ok(true) => Ok(socket),
        Ok(false) => Err("does not listen: write Accept=no in the .socket unit".to_owned()),
        Err(error) => Err(format!("cannot be used: {error}: look at the .socket unit")),
    }
}

impl Socket {
    fn listen(self) -> io::Result<Listener> {
        Ok(match self {
            Self::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                Listener::Tcp(tokio::net::TcpListener::from_std(socket)?)
            }
            Self::Unix(socket) => {
                socket.set_nonblocking(true)?;
                Listener::Unix(tokio::net::UnixListener::from_std(socket)?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(fds: &str, pid: &str) -> String {
        let variable = |name: &str| {
            let value = if name == COUNT { fds } else { pid };
            Some(value.to_owned()).filter(|value| !value.is_empty())
        };
        match announced(variable, 100) {
            Ok(count) => count.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_environment_tells_how_many_and_for_whom() {
        assert_eq!(told("2", "100"), "2");
        assert_eq!(told("64", "100"), "64");
        for (fds, pid, part) in [
            ("", "100", "LISTEN_FDS is not set"),
            ("0", "100", "should be 1 to 64"),
            ("65", "100", "should be 1 to 64"),
            ("-1", "100", "should be 1 to 64"),
            ("two", "100", "LISTEN_FDS is \"two\""),
            ("1", "", "LISTEN_PID is none, this one is 100"),
            ("1", "99", "LISTEN_PID is 99, this one is 100"),
            ("1", "self", "LISTEN_PID is self"),
        ] {
            assert!(told(fds, pid).contains(part), "{fds} {pid}: {}", told(fds, pid));
        }
    }
}
