//! Secrets, certificates and tokens that are exchanged while the program runs: no poll fails.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use super::lab::*;
use crate::support::{Exporter, Lab, Scrape};

/// The program, polling every second.
fn start_in(lab: Lab, credential: impl Fn(&Lab) -> String) -> (Lab, Exporter) {
    let configuration = configuration(&lab, &credential(&lab));
    let mut exporter =
        Exporter::start(lab.arguments(&configuration).into_iter().chain(["--log.level=debug".to_owned()]));
    exporter.wait_for_scrape("a first poll", |scrape| scrape.sum("up", &[]) == 1.0);
    (lab, exporter)
}

/// Waits until so many more tokens were had, and polls done.
#[track_caller]
fn more(exporter: &mut Exporter, tokens: f64) -> Scrape {
    let had = |scrape: &Scrape| scrape.sum("graph_requests_total", &["endpoint=\"token\"", "code=\"200\""]);
    let before = exporter.scrape();
    exporter.wait_for_scrape("more tokens and polls", |scrape| {
        had(scrape) >= had(&before) + tokens && scrape.sum("polls_total", &[]) > before.sum("polls_total", &[]) + 1.0
    })
}

#[track_caller]
fn check_polls(scrape: &Scrape, exporter: &Exporter) {
    assert_eq!(scrape.sum("poll_failures_total", &[]), 0.0, "{:#?}", exporter.log());
    assert_eq!(scrape.sum("up", &[]), 1.0);
}

/// As a careful tool writes: whole, beside, then in place.
fn replace(file: &Path, text: &str) {
    let beside = file.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, file).unwrap();
}

#[test]
fn a_secret_is_exchanged_without_a_failed_poll() {
    // A token has to outlive the moments in which the file is wrong, on a slow machine too.
    let lab = lab_with(|options| options.token_lifetime = Duration::from_secs(20));
    let (lab, mut exporter) = start_in(lab, |lab| {
        fs::write(lab.directory.path().join("secret"), &tenant(lab).options().client_secret).unwrap();
        format!("{{kind: client_secret, client_id: {}, client_secret_file: secret}}", client_id(lab))
    });
    let file = lab.directory.path().join("secret");
    // A new secret is added; the old one still is good.
    tenant(&lab).change_application(|application| application.secrets.push("the-new-password".to_owned()));
    check_polls(&more(&mut exporter, 1.0), &exporter);
    // The file changes, at first to half of it.
    fs::write(&file, "the-new").unwrap();
    exporter.wait_for_log(&["no new token yet", "AADSTS7000215"]);
    fs::write(&file, "").unwrap();
    exporter.wait_for_log(&["no new token yet", "the file is empty"]);
    replace(&file, "the-new-password\n");
    check_polls(&more(&mut exporter, 1.0), &exporter);
    // The old one is removed.
    tenant(&lab).change_application(|application| application.secrets.retain(|secret| secret == "the-new-password"));
    check_polls(&more(&mut exporter, 1.0), &exporter);
    let log = exporter.stop().join("\n");
    check_secrets(&lab, &log, &["the-new-password", &tenant(&lab).options().client_secret]);
}

#[test]
fn a_certificate_is_exchanged_without_a_failed_poll() {
    let lab = lab_with(|options| options.token_lifetime = Duration::from_secs(4));
    let [(first, first_key), (second, second_key)] = ["first", "second"].map(|name| new_key(&lab, name));
    let file = lab.directory.path().join("app.pem");
    fs::write(&file, format!("{first}{first_key}")).unwrap();
    tenant(&lab).change_application(|application| application.certificates.push(first.clone()));
    let (lab, mut exporter) = start_in(lab, |lab| {
        format!("{{kind: client_certificate, client_id: {}, certificate_file: app.pem}}", client_id(lab))
    });
    tenant(&lab).change_application(|application| application.certificates.push(second.clone()));
    replace(&file, &format!("{second_key}{second}"));
    check_polls(&more(&mut exporter, 1.0), &exporter);
    tenant(&lab).change_application(|application| application.certificates.retain(|pem| *pem == second));
    check_polls(&more(&mut exporter, 2.0), &exporter);
    check_secrets(&lab, &exporter.stop().join("\n"), &[]);
}

/// Kubernetes mounts a secret as links into a directory that is itself a link, and exchanges that one.
#[test]
fn a_mounted_token_is_exchanged_by_its_directory() {
    let lab = lab_with(|options| options.token_lifetime = Duration::from_secs(4));
    let issuer = Issuer::trusted(&lab);
    let mount = lab.directory.path().join("mount");
    let publish = |version: &str, token: &str| {
        let directory = mount.join(version);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("token"), token).unwrap();
        symlink(version, mount.join("..data.new")).unwrap();
        fs::rename(mount.join("..data.new"), mount.join("..data")).unwrap();
    };
    let first = issuer.token(&lab, &[]);
    publish("..1", &first);
    symlink("..data/token", mount.join("token")).unwrap();
    let (lab, mut exporter) = start_in(lab, |lab| {
        format!("{{kind: workload_identity, client_id: {}, token_file: mount/token}}", client_id(lab))
    });
    // From now on only a token for another subject is taken: the new one has to be read.
    tenant(&lab).change_application(|application| application.federated[0].subject = "renamed".to_owned());
    let second = issuer.token(&lab, &[("sub", serde_json::json!("renamed"))]);
    publish("..2", &second);
    fs::remove_dir_all(mount.join("..1")).unwrap();
    check_polls(&more(&mut exporter, 2.0), &exporter);
    check_secrets(&lab, &exporter.stop().join("\n"), &[&first, &second]);
}

#[test]
fn a_token_from_a_file_is_exchanged_and_outlives_a_moment_without_the_file() {
    let lab = lab();
    let file = lab.directory.path().join("token");
    fs::write(&file, tenant(&lab).issue_token()).unwrap();
    let (lab, mut exporter) = start_in(lab, |_| "{kind: bearer_token_file, token_file: token}".to_owned());
    fs::remove_file(&file).unwrap();
    exporter.wait_for_log(&["no new token yet", "No such file"]);
    let polls = exporter.scrape().sum("polls_total", &[]);
    let scrape = exporter.wait_for_scrape("two polls more", |s| s.sum("polls_total", &[]) >= polls + 2.0);
    check_polls(&scrape, &exporter);
    // The tokens so far are withdrawn; the file comes back with a new one.
    replace(&file, &tenant(&lab).issue_token());
    let polls = scrape.sum("polls_total", &[]);
    let scrape = exporter.wait_for_scrape("two polls more", |s| s.sum("polls_total", &[]) >= polls + 2.0);
    check_polls(&scrape, &exporter);
    check_secrets(&lab, &exporter.stop().join("\n"), &[]);
}

/// The token endpoint is away while a token is due: the old one goes on until it comes back.
#[test]
fn an_early_renewal_that_fails_costs_no_poll() {
    let (lab, mut exporter) = start_in(lab_with(|options| options.token_lifetime = Duration::from_secs(30)), |lab| {
        let options = tenant(lab).options().clone();
        format!("{{kind: client_secret, client_id: {}, client_secret: {}}}", options.client_id, options.client_secret)
    });
    tenant(&lab).set_scenario(remote_assistance_exporter::simulator::Scenario::TokenTransient);
    exporter.wait_for_log(&["no new token yet", "AADSTS90033", "the one at hand goes on"]);
    let scrape = exporter.scrape();
    check_polls(&scrape, &exporter);
    assert_eq!(scrape.sum("graph_requests_total", &["endpoint=\"token\"", "code=\"400\""]), 1.0, "asked once");
    exporter.stop();
}
