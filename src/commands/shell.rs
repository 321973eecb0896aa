//! `completion` and `manual`: what a shell and `man` know of the command line, made from its declaration.

use std::fs;
use std::io::{self, ErrorKind, Write};

use clap_complete::Shell;
use clap_mangen::Man;

use super::Failure;
use crate::cli::{Cli, Completion, Manual};

/// What shells know the program by.
const NAME: &str = env!("CARGO_PKG_NAME");

/// Prints the completion script.
pub(super) fn completion(flags: &Completion) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut Cli::declared(), NAME, &mut script);
    let script = mended(flags.shell, String::from_utf8(script).map_err(Failure::other)?);
    match io::stdout().write_all(script.as_bytes()) {
        // A reader that went away, such as `head`, is no failure.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Other(format!("standard output: the script cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// The script without what clap_complete gets wrong of names like ours.
fn mended(shell: Shell, script: String) -> String {
    match shell {
        // It looks for a command by a name of the program that has another separator than the one it made.
        Shell::Bash => script.replace(&NAME.replace('-', "__subcmd__"), &NAME.replace('-', "__")),
        // argparse refuses names with dots. It is only asked which words are no flags.
        Shell::Fish => {
            let names =
                |line: &str| if line.contains("string join ") { line.replace('.', "-") } else { line.to_owned() };
            let lines: String = script.split_inclusive('\n').map(names).collect();
            lines.replace("(commandline -opc)", "(commandline -opc | string replace --all . -)")
        }
        _ => script,
    }
}

/// Writes a page for the program and one for each command.
pub(super) fn manual(flags: &Manual) -> Result<(), Failure> {
    let directory = &flags.directory;
    let unwritten = |path: &std::path::Path, error: io::Error| {
        Failure::Other(format!("{}: cannot be written: {error}; choose another directory", path.display()))
    };
    fs::create_dir_all(directory).map_err(|error| unwritten(directory, error))?;
    let mut commands = vec![Cli::declared()];
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands().cloned());
        let man = Man::new(command);
        let (path, mut page) = (directory.join(man.get_filename()), Vec::new());
        man.render(&mut page).and_then(|()| fs::write(&path, page)).map_err(|error| unwritten(&path, error))?;
    }
    Ok(())
}
