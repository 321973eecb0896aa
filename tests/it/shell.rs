//! Completion scripts and manual pages, by the shells and the formatter that read them.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

const PROGRAM: &str = "remote-assistance-exporter";

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_remote-assistance-exporter")).args(arguments).env_clear().output().unwrap()
}

#[track_caller]
pub fn completion(shell: &str) -> String {
    let output = program(&["completion", shell]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a command prints that reads `input`; it must succeed without a complaint.
#[track_caller]
fn feed(program: &str, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(program);
    let mut child = command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs it"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{program}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What bash offers for the last of these words.
#[track_caller]
fn offered(words: &[&str]) -> Vec<String> {
    let script = format!(
        "{}\nCOMP_WORDS=({})\nCOMP_CWORD={}\n\
         $(complete -p {PROGRAM} | sed 's/.* -F \\([^ ]*\\) .*/\\1/') {PROGRAM} \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        completion("bash"),
        words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
        words.len() - 1,
    );
    feed("bash", &["--norc", "--noprofile"], &script).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_flags_and_values() {
    assert_eq!(offered(&[PROGRAM, "back"]), ["backfill"]);
    assert_eq!(offered(&[PROGRAM, "demo", "--demo."]), ["--demo.speed", "--demo.seed"]);
    assert_eq!(offered(&[PROGRAM, "--log.level", ""]), ["error", "warn", "info", "debug", "trace"]);
    assert_eq!(offered(&[PROGRAM, "check", "--check.output", "j"]), ["json"]);
}

#[test]
fn zsh_and_fish_read_their_scripts() {
    feed("zsh", &["--no-rcs", "-n"], &completion("zsh"));
    let asked = format!("{}\ncomplete -C '{PROGRAM} back'\n", completion("fish"));
    let offered = feed("fish", &["--no-config"], &asked);
    assert!(offered.contains("backfill\t"), "{offered}");
    let after_flags = format!("{}\ncomplete -C '{PROGRAM} --config.file=a.yaml demo --demo.sp'\n", completion("fish"));
    let offered = feed("fish", &["--no-config"], &after_flags);
    assert!(offered.starts_with("--demo.speed\t"), "{offered}");
}

#[test]
fn an_unknown_shell_is_refused_with_the_known_ones() {
    let output = program(&["completion", "csh"]);
    assert_eq!(output.status.code(), Some(64));
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        line,
        "remote-assistance-exporter: error: invalid value 'csh' for '<SHELL>'; [possible values: bash, elvish, fish, \
         powershell, zsh]; tip: a similar value exists: 'zsh'; try --help\n"
    );
}

#[test]
fn a_script_whose_reader_goes_away_is_no_failure() {
    let script =
        format!("set -o pipefail; {} completion bash | head -c 1", env!("CARGO_BIN_EXE_remote-assistance-exporter"));
    assert_eq!(feed("bash", &["--norc", "--noprofile"], &script).len(), 1);
}

#[test]
fn manual_pages_are_one_for_the_program_and_one_for_each_command() {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("new");
    let output = program(&["manual", to.to_str().unwrap()]);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    let mut pages: Vec<_> =
        fs::read_dir(&to).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    pages.sort();
    let commands = [
        "backfill",
        "check",
        "completion",
        "demo",
        "healthcheck",
        "ledger-export",
        "ledger-import",
        "ledger",
        "manual",
        "once",
        "serve",
        "simulate",
    ];
    let of_commands = commands.iter().map(|command| format!("{PROGRAM}-{command}.1"));
    assert_eq!(pages, of_commands.chain([format!("{PROGRAM}.1")]).collect::<Vec<_>>());
    for page in &pages {
        let source = fs::read_to_string(to.join(page)).unwrap();
        // groff complains on standard error, with all its warnings on.
        let shown = feed("groff", &["-man", "-ww", "-Tutf8", "-P-cbou"], &source);
        assert!(shown.contains("--config.file"), "{page}: {shown}");
    }
    let again = directory.path().join("again");
    assert!(program(&["manual", again.to_str().unwrap()]).status.success());
    let program_page = format!("{PROGRAM}.1");
    assert_eq!(fs::read(to.join(&program_page)).unwrap(), fs::read(again.join(program_page)).unwrap());
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let output = program(&["manual", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let line = String::from_utf8(output.stderr).unwrap();
    let start = format!("remote-assistance-exporter: error: {}: cannot be written: ", file.display());
    assert!(line.starts_with(&start) && line.ends_with("; choose another directory\n"), "{line}");
}
