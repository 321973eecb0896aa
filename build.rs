//! Tells the program which compiler and which revision made it, for `exporter_build_info`.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = output(&rustc, &["--version"]).unwrap_or_default();
    let version = version.split(' ').nth(1).unwrap_or("unknown");
    println!("cargo::rustc-env=EXPORTER_RUST_VERSION={version}");
    // Where images are built there is no repository, and whoever builds them tells. A source archive has no
    // revision; then the version must do.
    let told = env::var("EXPORTER_REVISION").ok().filter(|told| !told.is_empty());
    let revision = told.or_else(|| output("git", &["rev-parse", "--short=12", "HEAD"])).unwrap_or_default();
    println!("cargo::rustc-env=EXPORTER_REVISION={revision}");
    println!("cargo::rerun-if-env-changed=EXPORTER_REVISION");
    println!("cargo::rerun-if-changed=build.rs");
    // `logs/HEAD` changes with every commit and checkout.
    if Path::new(".git/logs/HEAD").exists() {
        println!("cargo::rerun-if-changed=.git/logs/HEAD");
    }
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
