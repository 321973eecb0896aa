//! A process that holds connections: each has the usual number of descriptors to spend.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Connections of one process: a system's usual limit is 1024 descriptors.
const OF_A_PROCESS: usize = 1000;

/// What the connections do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mode {
    /// Nothing.
    Idle,
    /// A request of 15 KB without its end.
    Half,
    /// The same by a byte each tenth of a second, for as long as the server bears it.
    Drip,
    /// A request whose answer is not read.
    Unread,
    /// Requests, and a reset in the midst of them.
    Reset,
}

/// Ends, with its connections, when this is dropped.
pub(super) struct Crowd {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Crowd {
    /// Begins to open connections from an address of this machine.
    pub(super) fn start(mode: Mode, to: SocketAddr, from: &str, count: usize) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/hostile/crowd.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(format!("{mode:?}").to_lowercase()).arg(to.port().to_string()).arg(from);
        command.arg(count.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("python3: {error}; tests/run installs it"));
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Ten thousand from ten addresses, all open.
    pub(super) fn of_ten_thousand(mode: Mode, to: SocketAddr) -> Vec<Self> {
        let start = |process| Self::start(mode, to, &format!("127.0.1.{process}"), OF_A_PROCESS);
        let crowds: Vec<_> = (1..=10).map(start).collect();
        crowds.into_iter().map(Self::ready).collect()
    }

    /// Waits until all of its connections are open.
    pub(super) fn ready(mut self) -> Self {
        self.says("ready");
        self
    }

    /// Waits for its next line.
    #[track_caller]
    pub(super) fn says(&mut self, expected: &str) {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), expected);
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
