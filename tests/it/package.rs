//! The Debian package of a release: judged by lintian, installed into a system of its own, purged.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::image::engine::program;

const NAME: &str = "remote-assistance-exporter";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a tool prints on both ways; it must succeed.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run installs it"));
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    said
}

/// The package that `deploy/release/build` made.
fn package() -> PathBuf {
    let files = super::supply::release_files();
    files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb")).unwrap()
}

/// A system with a shell, as far as the package's scripts need one. `dpkg` is told by flag where it is.
fn system(directory: &Path) -> PathBuf {
    let system = directory.join("system");
    for inner in ["bin", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/private/remote-assistance-exporter"] {
        fs::create_dir_all(system.join(inner)).unwrap();
    }
    fs::write(system.join("var/lib/dpkg/status"), "").unwrap();
    fs::copy("/bin/busybox", system.join("bin/busybox")).expect("tests/run installs busybox-static");
    ["sh", "mkdir", "rm"].iter().for_each(|name| symlink("busybox", system.join("bin").join(name)).unwrap());
    system
}

/// A command as root, if need be of a user namespace.
fn as_root(program: &str) -> Command {
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", program]);
    command
}

#[test]
fn it_is_judged_installed_and_purged() {
    let directory = tempfile::tempdir().unwrap();
    let package = package();
    let field = |name: &str| run(Command::new("dpkg-deb").arg("--field").arg(&package).arg(name)).trim().to_owned();
    let version = super::supply::package_version();
    assert_eq!((field("Package").as_str(), field("Version")), (NAME, version.clone()));
    assert_eq!(field("Depends"), "", "a static program needs no other package");
    assert_eq!(field("Breaks"), "systemd (<< 251)", "LoadCredential= of a directory");
    let changelog = include_str!("../../deploy/debian/changelog");
    assert!(changelog.starts_with(&format!("{NAME} ({version}) ")), "{changelog}");

    // Whatever it finds, it says; what stays is in deploy/debian/lintian-overrides with its reason.
    assert_eq!(run(Command::new("lintian").arg("--allow-root").arg(&package)), "");

    let system = system(directory.path());
    let dpkg = |arguments: &[&str]| {
        let mut command = as_root("dpkg");
        // Of the host's programs, dpkg wants more than this one has.
        command.arg(format!("--root={}", system.display())).arg("--force-bad-path").args(arguments);
        run(&mut command)
    };
    dpkg(&["--install", &package.display().to_string()]);
    let version = run(as_root("chroot").arg(&system).arg("/usr/bin/remote-assistance-exporter").arg("--version"));
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    let installed =
        |path: &str| fs::read_to_string(system.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    for unit in ["service", "socket"] {
        let name = format!("{NAME}.{unit}");
        assert_eq!(installed(&format!("usr/lib/systemd/system/{name}")), read(&format!("deploy/systemd/{name}")));
    }
    assert_eq!(dpkg(&["--status", NAME]).matches("/etc/default/remote-assistance-exporter ").count(), 1, "a conffile");
    // What `man` and the shells look for, in their places.
    let section = system.join("usr/share/man/man1");
    assert!(section.join(format!("{NAME}.1.gz")).exists() && section.join(format!("{NAME}-check.1.gz")).exists());
    for (shell, script) in [
        ("bash", format!("bash-completion/completions/{NAME}")),
        ("fish", format!("fish/vendor_completions.d/{NAME}.fish")),
        ("zsh", format!("zsh/vendor-completions/_{NAME}")),
    ] {
        assert!(installed(&format!("usr/share/{script}")) == super::shell::completion(shell), "{shell}");
    }
    let secrets = system.join("etc/remote-assistance-exporter/secrets");
    assert_eq!(fs::metadata(&secrets).unwrap().permissions().mode() & 0o777, 0o700);

    // The example says what the program takes.
    let example = system.join("usr/share/doc/remote-assistance-exporter/examples/config.yaml");
    let credential = directory.path().join("secret");
    fs::write(&credential, "secret").unwrap();
    let text = fs::read_to_string(&example).unwrap();
    let in_unit = format!("/run/credentials/{NAME}.service/secrets_contoso");
    assert!(
        text.contains(&in_unit)
            && read("deploy/systemd/remote-assistance-exporter.service").contains("LoadCredential=secrets:")
    );
    let configuration = directory.path().join("config.yaml");
    fs::write(&configuration, text.replace(&in_unit, &credential.display().to_string())).unwrap();
    let mut check = Command::new(program());
    run(check.arg(format!("--config.file={}", configuration.display())).args(["check", "--offline"]));

    // What the administrator wrote goes with a purge, and the ledger stays.
    fs::write(secrets.join("contoso"), "secret").unwrap();
    dpkg(&["--remove", NAME]);
    assert!(secrets.join("contoso").exists() && !system.join("usr/bin/remote-assistance-exporter").exists());
    dpkg(&["--purge", NAME]);
    assert!(!system.join("etc/remote-assistance-exporter").exists());
    assert!(system.join("var/lib/private/remote-assistance-exporter").exists());
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}
