//! Parses the command line, runs the command, and turns its failure into a line and an exit code.

use std::io::Write;
use std::process::ExitCode;

use remote_assistance_exporter::cli::{Cli, Stop};
use remote_assistance_exporter::commands::{self, Failure};

fn main() -> ExitCode {
    let outcome = match Cli::read(std::env::args_os()) {
        Ok(cli) => commands::run(&cli),
        Err(Stop::Usage(problem)) => Err(Failure::Usage(problem)),
        // A reader that went away, such as `head`, is no failure.
        Err(Stop::Answer(text)) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "remote-assistance-exporter: error: {failure}");
            failure.exit_code()
        }
    }
}
