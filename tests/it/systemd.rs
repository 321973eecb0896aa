//! Under systemd: sockets that it passes, and what it is told.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use insta::assert_snapshot;
use remote_assistance_exporter::simulator::TenantOptions;

use super::support::{Exporter, Lab, PATIENCE, exchange, get, wait_for};

const PROGRAM: &str = env!("CARGO_BIN_EXE_remote-assistance-exporter");
const SERVICE: &str = include_str!("../../deploy/systemd/remote-assistance-exporter.service");
const SOCKET: &str = include_str!("../../deploy/systemd/remote-assistance-exporter.socket");

fn lab() -> (Lab, Vec<String>) {
    let lab = Lab::new(vec![TenantOptions::manual("contoso")], |_| {});
    let configuration = lab.configuration("poll_interval: 1s", &[("contoso", "")]);
    let mut arguments = lab.arguments(&configuration);
    arguments.push("--web.systemd-socket".to_owned());
    (lab, arguments)
}

/// The program with these sockets as systemd passes them. The shell puts them where they belong: its
/// children are told by number, and the number of its process stays when it becomes the program.
fn with_sockets(arguments: &[String], sockets: [OwnedFd; 2]) -> Command {
    let [first, second] = sockets.map(Stdio::from);
    let mut shell = Command::new("bash");
    shell.args(["-c", r#"export LISTEN_PID=$$; exec "$@" 3<&0 4<&1 0</dev/null 1>&2"#, "bash", PROGRAM]);
    shell.args(arguments).env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", "first:second");
    shell.stdin(first).stdout(second);
    shell
}

/// The line of a start that fails.
fn refused(command: &mut Command) -> String {
    let output = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), line.lines().count()), (Some(64), 1), "{line}");
    line
}

#[test]
fn it_serves_on_sockets_of_systemds_own_tool() {
    let (lab, arguments) = lab();
    let path = lab.directory.path().join("socket");
    // The tool cannot say which port the system chose.
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let mut command = Command::new("systemd-socket-activate");
    command.arg("--listen").arg(address.to_string()).arg("--listen").arg(&path).arg("--setenv=PATH");
    command.arg(PROGRAM).args(arguments).arg("--web.listen-address=192.0.2.1:1");
    let mut exporter = Exporter::spawn(command);
    exporter.wait_for_log(&["Listening on", "socket"]);
    // The first connection starts it, and waits until it answers.
    assert_eq!(get(address, "/metrics").unwrap().status, 200);
    assert_eq!(exporter.address(), address);
    exporter.wait_for_log(&["msg=Listening", &format!("address={}", path.display())]);
    let request = "GET /metrics HTTP/1.1\r\nHost: exporter\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(UnixStream::connect(&path).unwrap(), request).unwrap().status, 200);
    exporter.stop();
}

#[test]
fn children_are_told_nothing_and_hold_no_socket() {
    let lab = Lab::new(vec![TenantOptions::manual("contoso")], |_| {});
    let configuration = lab.configuration("poll_interval: 1s", &[("contoso", "credential: {kind: azure_cli}")]);
    let mut arguments = lab.arguments(&configuration);
    arguments.push("--web.systemd-socket".to_owned());
    let (az, told) = (lab.directory.path().join("az"), lab.directory.path().join("told"));
    let script = format!("#!/bin/sh\n(env; ls -l /proc/$$/fd) > {0}.part; mv {0}.part {0}; exit 1\n", told.display());
    fs::write(&az, script).unwrap();
    fs::set_permissions(&az, fs::Permissions::from_mode(0o755)).unwrap();
    let sockets = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let mut command = with_sockets(&arguments, sockets.map(OwnedFd::from));
    command.env("PATH", format!("{}:/usr/bin:/bin", lab.directory.path().display())).env("NOTIFY_SOCKET", "/nowhere");
    command.env("WATCHDOG_USEC", "30000000");
    let exporter = Exporter::spawn_as_it_is(command);
    let told = wait_for("the child's word", || fs::read_to_string(&told).ok());
    assert!(told.contains("PATH=") && told.contains(" 0 -> "), "{told}");
    for part in ["LISTEN_", "NOTIFY_SOCKET", "WATCHDOG_", "socket:"] {
        assert!(!told.contains(part), "{part}: {told}");
    }
    exporter.stop();
}

#[test]
fn sockets_that_cannot_be_listened_on_are_refused_by_name() {
    let (_lab, arguments) = lab();
    let listener = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let told = |second: OwnedFd| refused(&mut with_sockets(&arguments, [listener(), second]));
    assert_snapshot!(told(UdpSocket::bind("127.0.0.1:0").unwrap().into()), @"remote-assistance-exporter: error: --web.systemd-socket: socket 2 of 2 (second) is no stream socket: write ListenStream= for it in the .socket unit");
    assert_snapshot!(told(UnixDatagram::unbound().unwrap().into()), @"remote-assistance-exporter: error: --web.systemd-socket: socket 2 of 2 (second) is no stream socket: write ListenStream= for it in the .socket unit");
    assert_snapshot!(told(fs::File::open("/dev/null").unwrap().into()), @"remote-assistance-exporter: error: --web.systemd-socket: socket 2 of 2 (second) is no stream socket: write ListenStream= for it in the .socket unit");
    let accepting = TcpListener::bind("127.0.0.1:0").unwrap();
    let _client = TcpStream::connect(accepting.local_addr().unwrap()).unwrap();
    assert_snapshot!(told(accepting.accept().unwrap().0.into()), @"remote-assistance-exporter: error: --web.systemd-socket: socket 2 of 2 (second) does not listen: write Accept=no in the .socket unit");
    assert_snapshot!(told(UnixStream::pair().unwrap().0.into()), @"remote-assistance-exporter: error: --web.systemd-socket: socket 2 of 2 (second) does not listen: write Accept=no in the .socket unit");
}

#[test]
fn what_was_not_passed_to_it_is_refused() {
    let (_lab, arguments) = lab();
    let mut alone = Command::new(PROGRAM);
    assert_snapshot!(refused(alone.args(&arguments)), @"remote-assistance-exporter: error: --web.systemd-socket: systemd passed no sockets (LISTEN_FDS is not set): start the program by a .socket unit, or leave the flag out");
    let mut others = Command::new(PROGRAM);
    let line = refused(others.args(&arguments).envs([("LISTEN_FDS", "1"), ("LISTEN_PID", "1")]));
    let own = line.split("this one is ").nth(1).unwrap().split(')').next().unwrap();
    assert_snapshot!(line.replace(own, "PID"), @"remote-assistance-exporter: error: --web.systemd-socket: the sockets are for another process (LISTEN_PID is 1, this one is PID): have the unit start the program itself, or its script do so by exec");
}

#[test]
fn a_port_that_systemd_holds_for_it_is_told_with_the_flag_that_is_missing() {
    let (_lab, mut arguments) = lab();
    arguments.pop();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    arguments.push(format!("--web.listen-address={}", held.local_addr().unwrap()));
    let socket = held.try_clone().unwrap();
    let output = with_sockets(&arguments, [held.into(), socket.into()]).stderr(Stdio::piped()).spawn().unwrap();
    let line = String::from_utf8(output.wait_with_output().unwrap().stderr).unwrap();
    assert!(line.ends_with("systemd listens there for this program: add --web.systemd-socket\n"), "{line}");
}

/// What systemd is told next, who listens there.
fn notified(path: &Path) -> impl Fn() -> String {
    let systemd = UnixDatagram::bind(path).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    move || {
        let mut datagram = [0; 512];
        let length = systemd.recv(&mut datagram).unwrap();
        String::from_utf8_lossy(&datagram[..length]).into_owned()
    }
}

#[test]
fn systemd_is_told_when_it_serves_and_when_it_stops() {
    let (lab, mut arguments) = lab();
    arguments.pop();
    let path = lab.directory.path().join("notify");
    let told = notified(&path);
    let mut command = Command::new(PROGRAM);
    command.args(&arguments).arg("--web.listen-address=127.0.0.1:0").env("NOTIFY_SOCKET", &path);
    let mut exporter = Exporter::spawn(command);
    assert_eq!(told(), "READY=1\n");
    assert_eq!(get(exporter.address(), "/-/healthy").unwrap().status, 200);
    exporter.signal("TERM");
    assert_eq!(told(), "STOPPING=1\n");
    let (status, log) = exporter.wait();
    assert!(status.success() && log.iter().all(|line| line.contains("level=info")), "{status}: {log:#?}");
}

#[test]
fn a_systemd_that_cannot_be_told_is_no_reason_to_end() {
    let (lab, mut arguments) = lab();
    arguments.pop();
    let nowhere = lab.directory.path().join("nowhere");
    let mut command = Command::new(PROGRAM);
    command.args(&arguments).arg("--web.listen-address=127.0.0.1:0").env("NOTIFY_SOCKET", nowhere);
    let mut exporter = Exporter::spawn(command);
    exporter.wait_for_log(&["level=warn", "Cannot tell systemd", "NOTIFY_SOCKET"]);
    assert_eq!(get(exporter.address(), "/-/healthy").unwrap().status, 200);
    exporter.stop();
}

/// The word that systemd's watchdog waits for goes on as long as the exporter is healthy.
#[test]
fn systemd_is_told_again_and_again_that_it_is_alive() {
    let (lab, mut arguments) = lab();
    arguments.pop();
    let path = lab.directory.path().join("notify");
    let told = notified(&path);
    let mut command = Command::new(PROGRAM);
    command.args(&arguments).arg("--web.listen-address=127.0.0.1:0");
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let exporter = Exporter::spawn(command);
    assert_eq!(told(), "READY=1\n");
    for _ in 0..3 {
        assert_eq!(told(), "WATCHDOG=1\n");
    }
    exporter.stop();
}

/// Most exposure by systemd's count: a service without any limits has nearly a hundred.
const EXPOSURE: u32 = 12;

#[test]
fn the_units_are_right_and_leave_the_program_little() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = directory.path().join(format!("remote-assistance-exporter.{name}"));
        fs::write(&path, text).unwrap();
        path
    };
    // The checker looks for the program.
    let installed = "/usr/bin/remote-assistance-exporter";
    assert!(SERVICE.contains(&format!("ExecStart={installed} ")));
    let service = write("service", SERVICE.replace(installed, PROGRAM));
    let socket = write("socket", SOCKET.to_owned());
    assert_eq!(analyze(&["verify"], &[&service, &socket]), (true, String::new()));
    let threshold = format!("--threshold={EXPOSURE}");
    let security = ["security", "--offline=true", "--no-pager", &threshold];
    let (safe, findings) = analyze(&security, &[&service]);
    assert!(safe, "{findings}");
    // They would tell.
    let loose = SERVICE.replace(installed, PROGRAM).replace("CapabilityBoundingSet=\n", "");
    let loose = write("service", loose);
    assert!(!analyze(&security, &[&loose]).0);
    let typo = write("service", SERVICE.replace(installed, PROGRAM).replace("StateDirectory=", "StateDirektory="));
    assert!(analyze(&["verify"], &[&typo]).1.contains("StateDirektory"));
}

/// Each flag of the unit is one that the program has, and it asks for its configuration.
#[test]
fn the_units_command_line_is_the_programs() {
    let lines = SERVICE.split("ExecStart=").nth(1).unwrap().replace("\\\n", " ");
    let words: Vec<_> =
        lines.lines().next().unwrap().split_whitespace().skip(1).filter(|word| *word != "$ARGS").collect();
    let mut command = Command::new(PROGRAM);
    let line = refused(command.args(words));
    assert!(
        line.contains("/etc/remote-assistance-exporter/config.yaml") || line.contains("systemd passed no sockets"),
        "{line}"
    );
}

fn analyze(arguments: &[&str], units: &[&Path]) -> (bool, String) {
    let output = Command::new("systemd-analyze").args(arguments).args(units).output();
    let output = output.unwrap_or_else(|error| panic!("systemd-analyze: {error}; tests/run installs systemd"));
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}
