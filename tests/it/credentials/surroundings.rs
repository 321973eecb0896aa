//! Identities that the surroundings give: a managed identity, and the Azure CLI's login.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use insta::assert_snapshot;

use super::lab::*;
use crate::support::{Lab, stand_ins};

/// A stand-in of a metadata service: answers each request with the next of these, the last one for ever,
/// and keeps what it was asked. Its thread ends with the test's process.
struct Metadata {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Metadata {
    fn start(listener: TcpListener, answers: Vec<(u16, String)>) -> Self {
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = asked.clone();
        std::thread::spawn(move || {
            let mut answers = answers.into_iter().peekable();
            let mut answer = answers.next().unwrap();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
                kept.lock().unwrap().push(head.join("\n"));
                let (status, body) = &answer;
                let length = body.len();
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
                answer = answers.next().unwrap_or(answer);
            }
        });
        Self { address, asked }
    }

    fn on_loopback(answers: Vec<(u16, String)>) -> Self {
        Self::start(TcpListener::bind(("127.0.0.1", 0)).unwrap(), answers)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// What the metadata services answer: numbers as text.
fn issued(lab: &Lab) -> (u16, String) {
    let (token, resource) = (tenant(lab).issue_token(), lab.simulator.url());
    let expires = lab.now().timestamp() + 86_400;
    let body = serde_json::json!({
        "access_token": token, "expires_on": expires.to_string(), "resource": resource, "token_type": "Bearer",
    });
    (200, body.to_string())
}

fn on_app_service(lab: &Lab, service: &Metadata, credential: &str) -> Command {
    let mut command = command(lab, credential);
    command.env("IDENTITY_ENDPOINT", format!("http://{}/msi/token", service.address));
    command.env("IDENTITY_HEADER", "s3cr3t-of-the-platform");
    // Whatever the environment says of proxies: nothing goes there by one.
    command.env("HTTP_PROXY", "http://127.0.0.1:1").env("HTTPS_PROXY", "http://127.0.0.1:1");
    command
}

#[test]
fn app_service_gives_a_managed_identity() {
    let lab = lab();
    let service = Metadata::on_loopback(vec![issued(&lab)]);
    let mut command = on_app_service(&lab, &service, "{kind: managed_identity, client_id: user-assigned}");
    let scrape = counted(&run(&lab, &mut command, &["s3cr3t-of-the-platform"]));
    let expiry = scrape.value(r#"token_expiry_timestamp_seconds{tenant="contoso"}"#);
    assert!((expiry - lab.now().timestamp() as f64 - 86_400.0).abs() < 60.0, "{expiry}");
    assert!(scrape.sum("graph_requests_total", &["endpoint=\"token\"", "code=\"200\""]) == 1.0);
    let [asked] = &service.asked()[..] else { panic!("{:?}", service.asked()) };
    let resource = lab.simulator.url().replace(':', "%3A").replace('/', "%2F");
    let query = format!("GET /msi/token?api-version=2019-08-01&resource={resource}&client_id=user-assigned HTTP/1.1");
    assert!(asked.starts_with(&query), "{asked}");
    assert!(asked.to_lowercase().contains("x-identity-header: s3cr3t-of-the-platform"), "{asked}");
}

#[test]
fn refusals_of_a_metadata_service_are_told_with_the_remedy() {
    let _stand_ins = stand_ins();
    let lab = lab();
    let told = |answers: Vec<(u16, &str)>, credential: &str| {
        let service =
            Metadata::on_loopback(answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect());
        let mut command = on_app_service(&lab, &service, credential);
        let line = refused(&run(&lab, &mut command, &["s3cr3t-of-the-platform"]));
        (line[line.find("credential.kind").unwrap_or_default()..].to_owned(), service.asked().len())
    };
    let unknown = r#"{"error":"invalid_request","error_description":"Identity not found"}"#;
    let (line, asked) = told(vec![(400, unknown)], "{kind: managed_identity, client_id: user-assigned}");
    assert_snapshot!(line, @r#"credential.kind managed_identity: the metadata service answered 400: invalid_request: Identity not found; assign the identity with this client_id to the resource that the exporter runs on" tenant=contoso"#);
    assert_eq!(asked, 1, "not tried again");
    let (line, _) =
        told(vec![(400, r#"{"statusCode":400,"message":"No managed identity."}"#)], "{kind: managed_identity}");
    assert_snapshot!(line, @r#"credential.kind managed_identity: the metadata service answered 400: No managed identity; switch the system-assigned identity of the resource on, or name a user-assigned one by client_id" tenant=contoso"#);
    let (line, _) = told(vec![(403, "<html>")], "{kind: managed_identity}");
    assert_snapshot!(line, @r#"credential.kind managed_identity: the metadata service answered 403: the answer is HTML (a proxy or gateway page?)" tenant=contoso"#);
    let (line, _) = told(vec![(200, "{}")], "{kind: managed_identity}");
    assert_snapshot!(line, @r#"credential.kind managed_identity: the metadata service answered 200, but with no token that can be used" tenant=contoso"#);
}

#[test]
fn a_metadata_service_that_is_being_updated_is_asked_again() {
    let lab = lab();
    let service =
        Metadata::on_loopback(vec![(404, String::new()), (410, String::new()), (500, String::new()), issued(&lab)]);
    let mut command = on_app_service(&lab, &service, "{kind: managed_identity}");
    counted(&run(&lab, &mut command, &[]));
    assert_eq!(service.asked().len(), 4);
}

#[test]
fn surroundings_without_a_metadata_service_are_told() {
    let _stand_ins = stand_ins();
    let lab = lab();
    let told = |variables: &[(&str, &str)]| {
        let mut command = command(&lab, "{kind: managed_identity}");
        command.envs(variables.iter().copied());
        let line = refused(&run(&lab, &mut command, &[]));
        line[line.find("credential.kind").unwrap_or_default()..].to_owned()
    };
    assert_snapshot!(told(&[("IDENTITY_ENDPOINT", "http://a.example"), ("IDENTITY_HEADER", "x")]), @r#"credential.kind managed_identity: GET http://a.example/: plain http to another machine; check IDENTITY_ENDPOINT; virtual machines, App Service, Functions and Container Apps have a metadata service; choose another kind elsewhere" tenant=contoso"#);
    assert_snapshot!(told(&[("IDENTITY_ENDPOINT", "http://127.0.0.1:1"), ("IMDS_ENDPOINT", "http://127.0.0.1:1")]), @r#"credential.kind managed_identity: Azure Arc managed identity isn't supported; virtual machines, App Service, Functions and Container Apps have a metadata service; choose another kind elsewhere" tenant=contoso"#);
}

/// Set where the test below runs in a network of its own.
const INSIDE: &str = "IN_A_NETWORK_OF_ITS_OWN";

/// The address of the metadata service of virtual machines is fixed, so the test starts itself once more
/// in a network of its own, where this machine has that address.
#[test]
fn a_virtual_machine_gives_a_managed_identity() {
    if std::env::var_os(INSIDE).is_some() {
        return on_a_virtual_machine();
    }
    let root = rustix::process::geteuid().is_root();
    let mut command = Command::new("unshare");
    command.args(if root { &["--net"][..] } else { &["--net", "--user", "--map-root-user"] }).env(INSIDE, "1");
    let network = "ip link set lo up; ip addr add 169.254.169.254/32 dev lo";
    command.args(["sh", "-c", &format!("set -e; {network}; exec \"$0\" \"$@\"")]).arg(std::env::current_exe().unwrap());
    let name = "credentials::surroundings::a_virtual_machine_gives_a_managed_identity";
    let output = command.args(["--exact", name, "--nocapture"]).output().expect("the package util-linux is needed");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&output.stderr));
}

fn on_a_virtual_machine() {
    let lab = lab();
    let listener = TcpListener::bind("169.254.169.254:80").unwrap();
    let service = Metadata::start(listener, vec![(410, String::new()), issued(&lab)]);
    let mut command = command(&lab, "{kind: managed_identity}");
    command.env("HTTP_PROXY", "http://127.0.0.1:1");
    counted(&run(&lab, &mut command, &[]));
    let asked = service.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked[0].starts_with("GET /metadata/identity/oauth2/token?api-version="), "{asked:?}");
    assert!(asked[0].to_lowercase().contains("\nmetadata: true"), "{asked:?}");
    assert!(!asked[0].contains("client_id"), "the system's own identity: {asked:?}");
}

/// A stand-in of `az` that runs this shell script, and the PATH that leads to it.
fn az(lab: &Lab, script: &str) -> String {
    let directory: PathBuf = lab.directory.path().join("bin");
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join("az");
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:/usr/bin:/bin", directory.display())
}

#[test]
fn the_azure_cli_gives_its_logins_token() {
    let lab = lab();
    let (token, expires) = (tenant(&lab).issue_token(), lab.now().timestamp() + 3600);
    let arguments = lab.directory.path().join("arguments");
    let answer = format!(r#"{{"accessToken":"{token}","expires_on":{expires},"tokenType":"Bearer"}}"#);
    let path = az(&lab, &format!("echo \"$@\" >> {}; echo '{answer}'", arguments.display()));
    let mut command = command(&lab, "{kind: azure_cli}");
    let scrape = counted(&run(&lab, command.env("PATH", path), &[]));
    assert!((scrape.value(r#"token_expiry_timestamp_seconds{tenant="contoso"}"#) - expires as f64).abs() < 5.0);
    let (url, id) = (lab.simulator.url(), tenant(&lab).options().tenant_id.clone());
    assert_eq!(
        fs::read_to_string(arguments).unwrap(),
        format!("account get-access-token -o json --scope {url}/.default --tenant {id}\n"),
        "asked once"
    );
}

#[test]
fn troubles_with_the_azure_cli_are_told_with_the_remedy() {
    let _stand_ins = stand_ins();
    let lab = lab();
    let told = |script: Option<&str>| {
        let path = script.map_or("/nowhere".to_owned(), |script| az(&lab, script));
        let mut command = command(&lab, "{kind: azure_cli}");
        let line = refused(&run(&lab, command.env("PATH", path), &[]));
        line[line.find("credential.kind").unwrap_or_default()..].to_owned()
    };
    assert_snapshot!(told(None), @r#"credential.kind azure_cli: az was not found on the exporter's PATH: this kind needs the Azure CLI beside the exporter; choose another kind for containers and services" tenant=contoso"#);
    assert_snapshot!(told(Some("echo \"ERROR: Please run 'az login' to setup account.\" >&2; exit 1")), @r#"credential.kind azure_cli: az refused: Please run 'az login' to setup account; log in as the user that the exporter runs as" tenant=contoso"#);
    assert_snapshot!(told(Some("echo 'ERROR: AADSTS50076: Due to a change you must use MFA. Trace ID: x' >&2; exit 1")), @r#"credential.kind azure_cli: az refused: AADSTS50076: Due to a change you must use MFA. Trace ID: x; the account has to prove itself again: log in anew" tenant=contoso"#);
    assert_snapshot!(told(Some("echo 'ERROR: The subscription is odd.' >&2; exit 1")), @r#"credential.kind azure_cli: az refused: The subscription is odd; try az account get-access-token as the user that the exporter runs as" tenant=contoso"#);
    assert_snapshot!(told(Some("echo 'not JSON'")), @r#"credential.kind azure_cli: az answered without a token and its expiry: Azure CLI 2.54 or newer is needed" tenant=contoso"#);
}
