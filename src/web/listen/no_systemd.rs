//! Where there is no systemd, no sockets are passed.

use std::convert::Infallible;
use std::io;

use super::Listener;

/// Why the sockets that were asked for cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "--web.systemd-socket: there is systemd on Linux only: leave the flag out, and name addresses by --web.listen-address"
)]
pub struct SocketError;

/// The sockets that systemd passed: there are none.
#[derive(Debug)]
pub struct Passed(Infallible);

impl Passed {
    /// Takes the sockets.
    ///
    /// # Errors
    /// Always.
    pub fn take() -> Result<Self, SocketError> {
        Err(SocketError)
    }

    /// Listens on them.
    ///
    /// # Errors
    /// Never: there are none.
    pub fn listen(self) -> io::Result<Vec<Listener>> {
        match self.0 {}
    }
}

/// Whether systemd listens for this process.
pub(super) fn listens() -> bool {
    false
}
