//! `completion` and `manual`: what a shell and `man` know of the command line, made from its declaration.

use std::fs;
use std::io::{self, ErrorKind, Write};

use clap_complete::Generator as _;
use clap_mangen::Man;

use super::Failure;
use crate::cli::{Cli, Completion, Manual};

/// Prints the completion script.
pub(super) fn completion(flags: &Completion) -> Result<(), Failure> {
    let mut script = Vec::new();
    // Writing to memory cannot fail.
    let _ = flags.shell.try_generate(&Cli::declared(), &mut script);
    match io::stdout().write_all(&script) {
        // A reader that went away, such as `head`, is no failure.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Other(format!("standard output: the script cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a page for the program and one for each command.
pub(super) fn manual(flags: &Manual) -> Result<(), Failure> {
    let directory = &flags.directory;
    let unwritten = |path: &std::path::Path, error: io::Error| {
        Failure::Other(format!("{}: cannot be written: {error}; choose another directory", path.display()))
    };
    fs::create_dir_all(directory).map_err(|error| unwritten(directory, error))?;
    let declared = Cli::declared();
    for command in std::iter::once(&declared).chain(declared.get_subcommands()) {
        let man = Man::new(command.clone());
        let (path, mut page) = (directory.join(man.get_filename()), Vec::new());
        man.render(&mut page).and_then(|()| fs::write(&path, page)).map_err(|error| unwritten(&path, error))?;
    }
    Ok(())
}
