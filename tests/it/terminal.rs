//! A terminal for the program, by `script` of util-linux.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::support::wait_for;

/// The program on a terminal of its own.
pub struct Terminal {
    child: Child,
    screen: Arc<Mutex<Vec<u8>>>,
    reader: std::thread::JoinHandle<()>,
}

impl Terminal {
    /// Starts the command, with more environment variables.
    pub fn start(command: &Command, environment: &[(&str, &str)]) -> Self {
        let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().unwrap());
        let line: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
        let line = format!("stty cols 120; exec {}", line.join(" "));
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env_clear().env("PATH", "/usr/bin:/bin");
        script.env("TERM", "xterm").envs(environment.iter().copied());
        let script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
        let mut child = script.expect("script of util-linux runs; tests/run installs it");
        let screen = Arc::new(Mutex::new(Vec::new()));
        let (sink, mut output) = (screen.clone(), child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut chunk) {
                sink.lock().unwrap().extend_from_slice(&chunk[..read]);
            }
        });
        Self { child, screen, reader }
    }

    /// Everything that was sent so far.
    pub fn raw(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    /// Presses Ctrl-C on its keyboard.
    pub fn press_ctrl_c(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    }

    /// Waits for the end; the exit code, everything that was sent, and what a person sees at the end.
    pub fn end(mut self) -> (Option<i32>, String, String) {
        let status = wait_for("the end", || self.child.try_wait().unwrap());
        while !self.reader.is_finished() {
            std::thread::yield_now();
        }
        let raw = self.raw();
        let mut terminal = vt100::Parser::new(2000, 120, 0);
        terminal.process(raw.as_bytes());
        (status.code(), raw, terminal.screen().contents())
    }
}
