//! What is said of tenants that are well, in both forms, with and without sending anything.

use insta::assert_snapshot;
use remote_assistance_exporter::simulator::Scenario;
use serde_json::Value;

use super::{Change, Checked, lab, program, shows_nothing_private, stand_ins, step};
use crate::docs::markdown::blocks;
use crate::support::Lab;

/// One tenant read as the report, and one by a gateway that wants no token.
fn well() -> (Lab, std::path::PathBuf) {
    let lab = lab(&[("contoso", |_| ()), ("northwind", |_| ())], |_| ());
    let gateway = lab.simulator.tenant("northwind").unwrap().gateway_path();
    let gateway = format!("credential: {{kind: none}}, source: {{kind: collection, path: {gateway}}}");
    let configuration = lab.configuration("poll_interval: 1m", &[("contoso", ""), ("northwind", &gateway)]);
    (lab, configuration)
}

#[test]
fn a_table_for_people() {
    let _stand_ins = stand_ins();
    let (lab, configuration) = well();
    let checked = Checked::run(&configuration, &[]);
    assert_eq!(checked.code, 0, "{}", checked.log);
    assert_snapshot!("table", checked.output);
    assert!(!checked.output.contains('\u{1b}'), "no colours where nobody sees them");
    let steps: Vec<_> = checked.log.lines().filter(|line| line.contains("tenant=contoso")).collect();
    let told = |step: &str| steps.iter().any(|line| line.contains(&format!("level=info msg=Working step={step} ")));
    assert!(["name_resolution", "tls", "token", "permission", "read", "columns"].into_iter().all(told), "{steps:#?}");
    assert_eq!(steps.len(), 6, "a line a step: {steps:#?}");
    shows_nothing_private(&lab, &checked);
}

/// The document with stand-ins for what differs from run to run.
fn stable(value: Value) -> Value {
    const DIFFERENT: &[&str] =
        &["exporter_version", "files", "addresses", "expires", "service", "machine", "ahead_seconds"];
    match value {
        Value::Object(object) => object
            .into_iter()
            .map(
                |(key, value)| {
                    if DIFFERENT.contains(&key.as_str()) { (key, "…".into()) } else { (key, stable(value)) }
                },
            )
            .collect(),
        Value::Array(array) => array.into_iter().map(stable).collect(),
        other => other,
    }
}

#[test]
fn a_document_for_machines() {
    let _stand_ins = stand_ins();
    let (lab, configuration) = well();
    // Both spellings of the flag, and no log to speak of.
    for flag in ["--output=json", "--check.output=json"] {
        let checked = Checked::run(&configuration, &[flag, "--log.level=error"]);
        assert_eq!((checked.code, checked.log.as_str()), (0, ""));
        let document = checked.document();
        assert_eq!((&document["status"], &document["error"]), (&"ok".into(), &Value::Null));
        assert_snapshot!("document", serde_json::to_string_pretty(&stable(document)).unwrap());
        shows_nothing_private(&lab, &checked);
    }
}

/// An export is made and read, as a poll does it, and what goes on is told.
#[test]
fn an_export_is_made_and_read() {
    let lab = lab(&[("contoso", |_| ())], |_| ());
    let configuration = lab.configuration("poll_interval: 1m", &[("contoso", "source: {kind: export_job}")]);
    let checked = Checked::run(&configuration, &["--output=json"]);
    assert_eq!(checked.code, 0, "{}", checked.log);
    let document = checked.document();
    let details = |name| step(&document, "contoso", name)["details"].clone();
    assert_eq!(details("permission")["found"], serde_json::json!(["DeviceManagementConfiguration.Read.All"]));
    assert_eq!((&details("read")["rows"], &details("columns")["mapped"]), (&3.into(), &true.into()));
    assert_eq!(details("columns")["properties"][0]["columns"], serde_json::json!(["SessionId"]));
    let told = ["step=read ", "step=\"submitting an export job\"", "step=\"downloading the export\""]
        .map(|step| checked.log.lines().position(|line| line.contains("msg=Working") && line.contains(step)));
    assert!(told.iter().all(Option::is_some) && told.is_sorted(), "{}", checked.log);
    shows_nothing_private(&lab, &checked);
}

#[test]
fn offline_nothing_is_sent() {
    let _stand_ins = stand_ins();
    let (lab, configuration) = well();
    for flag in ["--offline", "--check.offline"] {
        let checked = Checked::run(&configuration, &[flag]);
        assert_eq!(checked.code, 0, "{}", checked.log);
        if flag == "--offline" {
            assert_snapshot!("offline", checked.output);
        }
        let checked = Checked::run(&configuration, &[flag, "--output=json"]);
        let document = checked.document();
        assert_eq!(document["offline"], true);
        for tenant in ["contoso", "northwind"] {
            assert_eq!(step(&document, tenant, "configuration")["status"], "ok");
            assert_eq!(step(&document, tenant, "token")["status"], "not_applicable");
            assert_eq!(step(&document, tenant, "read")["message"], "--check.offline sends nothing");
        }
    }
    assert_eq!(lab.simulator.tenant("contoso").unwrap().requests(), []);
    assert_eq!(lab.simulator.tenant("northwind").unwrap().requests(), []);
}

#[test]
fn a_check_reads_one_page_and_changes_nothing() {
    let (lab, configuration) = well();
    Checked::run(&configuration, &[]);
    let requests = lab.simulator.tenant("contoso").unwrap().requests();
    let asked: Vec<_> = requests.iter().map(|request| request.path.rsplit('/').next().unwrap()).collect();
    assert_eq!(asked, ["token", "getRemoteAssistanceSessionsReport"]);
    assert_eq!(lab.simulator.write_requests(), []);
    assert_eq!(lab.simulator.stray_requests(), []);
    let files: Vec<_> =
        std::fs::read_dir(lab.directory.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files.len(), 2, "no ledger is touched: {files:?}");
}

#[test]
fn a_bad_configuration_is_refused_in_both_forms() {
    let file = std::path::Path::new("tests/fixtures/config/bad/name-empty.yaml");
    let problem = format!("{}:3: tenants[0].name: empty; give the tenant a short name", file.display());
    for flags in [&[][..], &["--offline"]] {
        let checked = Checked::run(file, flags);
        assert_eq!((checked.code, checked.output.as_str()), (64, ""));
        assert_eq!(checked.log, format!("remote-assistance-exporter: error: {problem}\n"));
    }
    let checked = Checked::run(file, &["--output=json"]);
    let document = checked.document();
    assert_eq!((checked.code, &document["status"], &document["error"]), (64, &"failed".into(), &problem.into()));
}

/// What the README shows is what the program says of a simulated Graph on its usual port.
#[test]
fn the_readme_shows_what_it_looks_like() {
    let expired: Change = |options| {
        options.expired_secret = Some(std::mem::replace(&mut options.client_secret, "renewed-secret".to_owned()));
    };
    let lab = lab(&[("contoso", |_| ()), ("fabrikam", expired)], |_| ());
    let configuration = lab.configuration("poll_interval: 1m", &[("contoso", ""), ("fabrikam", "")]);
    let text = std::fs::read_to_string(&configuration).unwrap().replace("renewed-secret", "fabrikam-secret");
    std::fs::write(&configuration, text).unwrap();
    let checked = Checked::run(&configuration, &[]);
    assert_eq!(
        (checked.code, checked.last_line()),
        (1, "remote-assistance-exporter: error: 1 of 2 tenants failed: fabrikam")
    );
    let port = lab.simulator.address().port().to_string();
    let mut text = checked
        .output
        .replace(&format!(":{port}"), ":10443")
        .replace(&lab.directory.path().display().to_string(), "/etc/remote-assistance-exporter");
    for (pattern, stand_in) in [
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "2026-03-19 13:08:16 UTC"),
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "66666666-7777-8888-9999-000000000000"),
        (r"(::1, )?127\.0\.0\.1(, ::1)?", "127.0.0.1"),
    ] {
        text = regex::Regex::new(pattern).unwrap().replace_all(&text, stand_in).into_owned();
    }
    let shown = blocks().remove("text").unwrap();
    assert_eq!(shown, [text.as_str()], "{text}");
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let (_lab, configuration) = well();
    let forced =
        Checked::of(&program(&configuration).args(["check", "--offline"]).env("CLICOLOR_FORCE", "1").output().unwrap());
    assert!(forced.output.starts_with("\u{1b}[1mcontoso\u{1b}[0m: \u{1b}[32mok\u{1b}[0m\n"), "{:?}", forced.output);
    let mut both = program(&configuration);
    both.args(["check", "--offline"]).env("NO_COLOR", "1");
    assert!(!Checked::of(&both.output().unwrap()).output.contains('\u{1b}'));
}

/// Warnings alone are no failure, and a step that doubts does not keep the next from being made.
#[test]
fn a_warning_is_told_and_ends_with_0() {
    let _stand_ins = stand_ins();
    let lab = lab(&[("contoso", |_| ())], |_| ());
    lab.simulator.tenant("contoso").unwrap().set_scenario(Scenario::BrokenRows);
    let columns = "source: {kind: sessions_report, columns: {helperOs: Desk}}";
    let checked = Checked::run(&lab.configuration("poll_interval: 1m", &[("contoso", columns)]), &["--output=json"]);
    let document = checked.document();
    assert_eq!((checked.code, &document["status"]), (0, &"warning".into()));
    let message = |name| step(&document, "contoso", name)["message"].as_str().unwrap().to_owned();
    assert_snapshot!(message("read"), @"5 of 8 rows cannot be read, the first for this reason: broken_row: the row has 17 cells where the schema has 18 columns; they are counted in reports_rejected_total, and as sessions once they are repaired");
    assert_snapshot!(message("columns"), @"the report has no column Desk for helperOs; check source.columns");
}
