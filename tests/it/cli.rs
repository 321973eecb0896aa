//! The command line: its help, its errors and its exit codes, by the program itself.

use std::path::PathBuf;
use std::process::{Command, Output};

use remote_assistance_exporter::cli::{self, Cli, LogFormat, LogLevel, Stop};

/// Runs the program in an empty environment.
fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_remote-assistance-exporter")).args(arguments).env_clear().output().unwrap()
}

/// The exit code and the line on standard error, where nothing stands on standard output.
fn failure(arguments: &[&str]) -> (i32, String) {
    let output = run(arguments);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    (output.status.code().unwrap(), line)
}

/// What stands on standard output of a run that succeeds.
fn answer(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
    String::from_utf8(output.stdout).unwrap()
}

fn read(arguments: &[&str]) -> Result<Cli, Stop> {
    Cli::read(std::iter::once("exporter").chain(arguments.iter().copied()).map(Into::into))
}

#[test]
fn help_of_each_command() {
    insta::assert_snapshot!("help", answer(&["--help"]));
    for command in ["backfill", "check", "demo", "simulate", "healthcheck", "ledger", "completion", "manual"] {
        insta::assert_snapshot!(format!("help_{command}"), answer(&[command, "--help"]));
    }
    for command in ["export", "import"] {
        insta::assert_snapshot!(format!("help_ledger_{command}"), answer(&["ledger", command, "--help"]));
    }
}

#[test]
fn version_is_printed_as_other_exporters_do() {
    let version = answer(&["--version"]);
    let expected = format!("remote-assistance-exporter, version {}\n  platform: ", env!("CARGO_PKG_VERSION"));
    assert!(version.starts_with(&expected), "{version}");
    assert_eq!(answer(&["serve", "--version"]), version);
}

#[test]
fn wrong_usage_is_one_line_and_exits_64() {
    for (arguments, problem) in [
        (
            &["--log.levle", "info"][..],
            "unexpected argument '--log.levle' found; tip: a similar argument exists: '--log.level'",
        ),
        (
            &["--log.level", "loud"],
            "invalid value 'loud' for '--log.level <LEVEL>'; [possible values: error, warn, info, debug, trace]",
        ),
        (&["launch"], "unrecognized subcommand 'launch'"),
        (&["serve", "--demo.speed", "2"], "unexpected argument '--demo.speed' found"),
        (
            &["demo", "--demo.speed", "0"],
            "invalid value '0' for '--demo.speed <FACTOR>': choose a number above 0, up to 10000",
        ),
        (
            &["demo", "--demo.speed", "NaN"],
            "invalid value 'NaN' for '--demo.speed <FACTOR>': choose a number above 0, up to 10000",
        ),
        (
            &["--web.listen-address", "9090"],
            "invalid value '9090' for '--web.listen-address <ADDRESS>': write it as :port, host:port or [address]:port",
        ),
        (
            &["--web.telemetry-path", "metrics"],
            "invalid value 'metrics' for '--web.telemetry-path <PATH>': it does not begin with a slash; choose another, such as /metrics",
        ),
        (
            &["--web.telemetry-path", "/status"],
            "invalid value '/status' for '--web.telemetry-path <PATH>': it is another page's; choose another, such as /metrics",
        ),
        (&["--web.max-requests", "-1"], "unexpected argument '-1' found"),
        (&["--config.file"], "a value is required for '--config.file <FILE>' but none was supplied"),
    ] {
        let expected = format!("remote-assistance-exporter: error: {problem}; try --help\n");
        assert_eq!(failure(arguments), (64, expected), "{arguments:?}");
    }
}

#[test]
fn a_bad_configuration_exits_64() {
    let file = "tests/fixtures/config/bad/name-empty.yaml";
    let problem = "tenants[0].name: empty; give the tenant a short name";
    for command in ["serve", "check", "once"] {
        let expected = format!("remote-assistance-exporter: error: {file}:3: {problem}\n");
        assert_eq!(failure(&[command, "--config.file", file]), (64, expected));
    }
}

#[test]
fn without_file_and_variables_the_remedy_is_named() {
    let problem = "environment: AZURE_TENANT_ID: not set; set it, or name a configuration with --config.file, or try the command demo";
    assert_eq!(failure(&[]), (64, format!("remote-assistance-exporter: error: {problem}\n")));
}

#[test]
fn flags_stand_before_or_after_the_command() {
    for arguments in [
        &["--log.level=debug", "--log.format", "json", "--storage.path", "/x", "--config.file=c", "once"][..],
        &["once", "--log.level=debug", "--log.format", "json", "--storage.path", "/x", "--config.file=c"],
    ] {
        let cli = read(arguments).unwrap();
        assert!(matches!(cli.command(), cli::Command::Once));
        assert_eq!((cli.log_level(), cli.log_format()), (LogLevel::Debug, LogFormat::Json));
        assert_eq!((cli.storage_path(), cli.config_file()), (PathBuf::from("/x"), Some("c".as_ref())));
    }
    let two = ["--web.listen-address=:1", "--web.listen-address", "[::1]:2"];
    for arguments in [[&two[..], &["serve"]].concat(), [&["serve"], &two[..]].concat(), two.to_vec()] {
        let addresses = read(&arguments).unwrap().listen_addresses();
        assert_eq!(addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), [":1", "[::1]:2"]);
    }
}

#[test]
fn what_is_not_given_has_its_default() {
    let cli = read(&[]).unwrap();
    assert!(matches!(cli.command(), cli::Command::Serve));
    assert_eq!((cli.telemetry_path(), cli.max_requests()), ("/metrics", 40));
    assert_eq!((cli.log_level(), cli.log_format()), (LogLevel::Info, LogFormat::Logfmt));
    assert_eq!((cli.storage_path(), cli.config_file()), (PathBuf::from("data"), None));
    assert_eq!(cli.listen_addresses().iter().map(ToString::to_string).collect::<Vec<_>>(), [":10112"]);
    assert_eq!(read(&["--web.max-requests", "0"]).unwrap().max_requests(), 0);
}

/// The demo shows itself to this machine only, and never mixes its sessions with real ones.
#[test]
fn the_demo_keeps_to_itself() {
    let cli = read(&["demo"]).unwrap();
    assert_eq!(cli.listen_addresses().iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.1:10112"]);
    assert_eq!(cli.storage_path(), PathBuf::from("data/demo"));
    let cli = read(&["demo", "--web.listen-address", ":9", "--storage.path", "x"]).unwrap();
    assert_eq!((cli.listen_addresses()[0].to_string().as_str(), cli.storage_path()), (":9", PathBuf::from("x")));
}

#[test]
fn healthcheck_asks_where_the_exporter_would_listen() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let asked = format!("http://127.0.0.1:{port}/-/healthy is not healthy");
    for arguments in [
        vec!["healthcheck".to_owned(), format!("--web.listen-address=:{port}")],
        vec!["healthcheck".to_owned(), format!("--healthcheck.url=http://127.0.0.1:{port}/-/healthy")],
    ] {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let (code, line) = failure(&arguments);
        assert_eq!(code, 1);
        assert!(line.starts_with(&format!("remote-assistance-exporter: error: {asked}: Connection refused")), "{line}");
    }
    let (code, line) = failure(&["healthcheck", "--healthcheck.url", "ftp://127.0.0.1/"]);
    assert_eq!(code, 64, "{line}");
}
