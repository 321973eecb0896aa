//! The program on a small disk or a read-only one: storage that is mounted for it alone.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Exporter;

/// The program in a mount namespace of its own, where `mount` (shell; `$0` is the storage
/// directory) has run before.
pub fn start(storage: &Path, mount: &str, arguments: Vec<String>) -> Exporter {
    fs::create_dir_all(storage).unwrap();
    let mut command = Command::new("unshare");
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "sh", "-c", &format!("set -e; {mount}; exec \"$@\"")]).arg(storage);
    command.arg(env!("CARGO_BIN_EXE_remote-assistance-exporter"));
    command.args(arguments).arg("--web.listen-address=127.0.0.1:0");
    Exporter::spawn(command)
}

/// A directory of such a program, as it is seen from outside.
pub fn seen_by(exporter: &Exporter, directory: &Path) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{}", exporter.id(), directory.display()))
}

/// Writes zeros until the disk takes no more.
pub fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    let error = loop {
        if let Err(error) = file.write_all(&[0; 4096]) {
            break error;
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}
