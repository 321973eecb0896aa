//! Export jobs and their files.

use std::io::{Cursor, Read};

use chrono::TimeDelta;
use serde_json::{Value, json};
use zip::ZipArchive;

use super::super::*;
use super::client::*;

const JOBS: &str = "/v1.0/deviceManagement/reports/exportJobs";

/// What is asked of one simulator, and of the blob storage beside it.
struct Exports {
    clock: TestClock,
    simulator: Simulator,
    tenant: Tenant,
    client: Client,
    blob: Client,
    token: String,
}

impl Exports {
    async fn of(sessions: usize) -> Self {
        let (clock, simulator, tenant, client, token) = scripted(sessions).await;
        let port = simulator.blob_url().rsplit(':').next().unwrap().parse().unwrap();
        let blob = Client::trusting(simulator.ca_pem(), (Ipv4Addr::LOCALHOST, port).into());
        Self { clock, simulator, tenant, client, blob, token }
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("authorization", &*bearer), ("content-type", "application/json")];
        self.client.send("POST", path, &headers, &body.to_string()).await
    }

    async fn submit(&self, more: Value) -> Value {
        let mut body = json!({"reportName": "RemoteAssistanceSessions", "format": "csv"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply = self.post(JOBS, body).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.json()
    }

    async fn look(&self, job: &Value) -> Value {
        self.client.get(&self.token, &format!("{JOBS}('{}')", job["id"].as_str().unwrap())).await.json()
    }

    /// A job's address once it is completed, without the origin.
    async fn completed(&self, more: Value) -> String {
        let job = self.submit(more).await;
        self.look(&job).await;
        let url = self.look(&job).await["url"].as_str().unwrap().to_owned();
        url.strip_prefix(&self.simulator.blob_url()).unwrap_or_else(|| panic!("{url}")).to_owned()
    }

    async fn download(&self, path: &str) -> Reply {
        self.blob.send("GET", path, &[], "").await
    }

    /// The lines of the only file of an export.
    async fn lines(&self, more: Value) -> Vec<String> {
        let reply = self.download(&self.completed(more).await).await;
        assert_eq!((reply.status.as_u16(), reply.whole), (200, true));
        let mut archive = ZipArchive::new(Cursor::new(reply.body)).unwrap();
        assert_eq!(archive.len(), 1);
        let mut file = archive.by_index(0).unwrap();
        let name = file.name().unwrap().into_owned();
        assert!(name.starts_with("RemoteAssistanceSessions_") && name.ends_with(".csv"), "{name}");
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let text = text.strip_prefix('\u{feff}').expect("a byte-order mark");
        text.split_terminator("\r\n").map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn a_job_is_submitted_in_progress_and_completed() {
    let exports = Exports::of(1).await;
    let more = json!({"select": ["SessionId"], "localizationType": "localizedValuesAsAdditionalColumn"});
    let submitted = exports.submit(more).await;
    let id = submitted["id"].as_str().unwrap();
    assert!(uuid::Uuid::parse_str(id.strip_prefix("RemoteAssistanceSessions_").unwrap()).is_ok());
    let context = format!("{}/v1.0/$metadata#deviceManagement/reports/exportJobs/$entity", exports.simulator.url());
    let mut expected = json!({
        "@odata.context": context, "id": id, "reportName": "RemoteAssistanceSessions", "filter": null,
        "select": ["SessionId"], "format": "csv", "snapshotId": null,
        "localizationType": "localizedValuesAsAdditionalColumn", "requestDateTime": "2026-03-18T12:00:00Z",
        "status": "notStarted", "url": null, "expirationDateTime": "0001-01-01T00:00:00Z",
    });
    assert_eq!(submitted, expected);
    expected["status"] = "inProgress".into();
    assert_eq!(exports.look(&submitted).await, expected);
    let completed = exports.look(&submitted).await;
    assert_eq!(
        (&completed["status"], &completed["expirationDateTime"]),
        (&json!("completed"), &json!("2026-03-18T18:00:00Z"))
    );
    let url = url::Url::parse(completed["url"].as_str().unwrap()).unwrap();
    assert_eq!(url.origin().ascii_serialization(), exports.simulator.blob_url());
    assert_ne!(exports.simulator.blob_url(), exports.simulator.url());
    assert!(url.query_pairs().any(|(name, value)| name == "sig" && value.len() == 44));
    assert_eq!(exports.look(&submitted).await, completed, "and so it stays");
    assert_eq!(exports.simulator.write_requests(), []);
}

#[tokio::test]
async fn a_job_is_found_in_both_versions_by_both_forms_of_its_key_and_by_its_own_tenant_only() {
    let clock = TestClock::start();
    let tenants = ["contoso", "fabrikam"].map(TenantOptions::manual).to_vec();
    let simulator = Simulator::start(clock.options(tenants)).await.unwrap();
    let client = Client::new(&simulator);
    let [own, other] = ["contoso", "fabrikam"].map(|name| simulator.tenant(name).unwrap());
    let (token, foreign) = (client.token(own.options()).await, client.token(other.options()).await);
    let bearer = format!("Bearer {token}");
    let body =
        r##"{"@odata.type": "#microsoft.graph.deviceManagementExportJob", "reportName": "RemoteAssistanceSessions"}"##;
    for version in ["v1.0", "beta"] {
        let jobs = format!("/{version}/deviceManagement/reports/exportJobs");
        let job = client.send("POST", &jobs, &[("authorization", &bearer)], body).await.json();
        let id = job["id"].as_str().unwrap();
        for path in [format!("{jobs}('{id}')"), format!("{jobs}/{id}"), format!("{jobs}(%27{id}%27)")] {
            assert_eq!(client.get(&token, &path).await.json()["id"], id, "{path}");
            assert_eq!(client.get(&foreign, &path).await.status, 404);
            assert_eq!(client.send("GET", &path, &[], "").await.status, 401);
        }
    }
    for path in [
        "/v2.0/deviceManagement/reports/exportJobs/x",
        "/beta/deviceManagement/reports/exportJobs/x/y",
        "/v1.0/deviceManagement/reports/exportJobs()",
    ] {
        assert_eq!(client.get(&token, path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn the_file_holds_the_sessions_of_the_submission_in_the_selected_columns() {
    let exports = Exports::of(2).await;
    let mut odd = session(&exports.clock, "s-2");
    odd.session_type = None;
    odd.helper = Arc::new(Participant { device_name: Some("Desk \"1\", left".into()), ..Participant::default() });
    exports.tenant.push(odd);
    let select = json!({"select": ["Sessionstart", "SessionId", "HelperDeviceName", "Sessionend"]});
    let submitted = exports.submit(select.clone()).await;
    exports.tenant.push(session(&exports.clock, "s-3"));
    exports.look(&submitted).await;
    let url = exports.look(&submitted).await["url"].as_str().unwrap().to_owned();
    let reply = exports.download(url.strip_prefix(&exports.simulator.blob_url()).unwrap()).await;
    assert_eq!(ZipArchive::new(Cursor::new(reply.body)).unwrap().len(), 1);

    let lines = exports.lines(select).await;
    assert_eq!(lines[0], "HelperDeviceName,Sessionend,SessionId,Sessionstart");
    assert!(lines[1].ends_with("2026-03-18T11:59:00,s-0,2026-03-18T11:50:00"), "{lines:?}");
    assert_eq!(lines[3], r#""Desk ""1"", left",2026-03-18T11:59:00,s-2,2026-03-18T11:50:00"#);
    assert_eq!(lines.len(), 5);
    for absent in [&lines[1], &lines[2], &lines[4]] {
        assert!(absent.starts_with(r#""","#) || absent.starts_with("--,"), "{absent}");
    }
    let all = exports.lines(json!({})).await;
    assert_eq!(all[0].split(',').count(), 18);
    assert!(all[0].starts_with("Attribute,Date,DateDifference,HelperDeviceAadId,"), "{}", all[0]);
    assert!(all[1].starts_with("viewOnly,2026-03-18T00:00:00,9,"), "{}", all[1]);
}

#[tokio::test]
async fn rows_and_columns_are_spoilt_as_in_the_report() {
    let exports = Exports::of(9).await;
    let spoilt = async |scenario| {
        exports.tenant.set_scenario_for(scenario, 1);
        exports.lines(json!({"select": ["SessionId", "Sessionend", "Attribute"]})).await
    };
    assert_eq!(spoilt(Scenario::DuplicateRows).await.len(), 1 + 12);
    let broken = spoilt(Scenario::BrokenRows).await;
    assert_eq!(broken.len(), 1 + 14);
    let mut widths: Vec<_> = broken.iter().map(|line| line.split(',').count()).collect();
    widths.sort_unstable();
    assert_eq!((&widths[..3], widths.last()), (&[1, 2, 3][..], Some(&4)));
    assert!(broken.iter().any(|line| line.contains("yesterday")));
    let unknown = spoilt(Scenario::UnknownColumns).await;
    assert_eq!(unknown[0], "_RiskLevel,_RiskLevel_loc,Attribute,Quality,Sessionend,SessionId,Tags");
    assert!(
        unknown[1].starts_with("3,Elevated,annotation,0.75,") && unknown[1].ends_with(r#","[""a"",{""b"":null}]""#)
    );
    let orders: HashSet<_> = [
        spoilt(Scenario::ShuffledColumns).await,
        spoilt(Scenario::ShuffledColumns).await,
        spoilt(Scenario::ShuffledColumns).await,
        spoilt(Scenario::ShuffledColumns).await,
    ]
    .map(|lines| lines[0].clone())
    .into();
    assert!(orders.len() > 1, "{orders:?}");
}

#[tokio::test]
async fn a_column_that_does_not_exist_fails_the_job() {
    let exports = Exports::of(1).await;
    let job = exports.submit(json!({"select": ["SessionId", "SessionType"]})).await;
    assert_eq!((&job["status"], &exports.look(&job).await["status"]), (&json!("notStarted"), &json!("inProgress")));
    let failed = exports.look(&job).await;
    assert_eq!((&failed["status"], &failed["url"]), (&json!("failed"), &Value::Null));
}

#[tokio::test]
async fn what_no_job_can_be_is_refused() {
    let exports = Exports::of(1).await;
    for body in [
        json!({}),
        json!({"reportName": "Devices"}),
        json!({"reportName": "RemoteAssistanceSessions", "format": "pdf"}),
        json!({"reportName": "RemoteAssistanceSessions", "localizationType": "none"}),
        json!({"reportName": "RemoteAssistanceSessions", "filter": "(Date gt '2026-01-01')"}),
        json!({"reportName": "RemoteAssistanceSessions", "top": 5}),
    ] {
        let reply = exports.post(JOBS, body).await;
        assert_eq!((reply.status.as_u16(), reply.json()["error"]["code"].as_str()), (400, Some("BadRequest")));
    }
    let list = exports.client.get(&exports.token, JOBS).await;
    assert_eq!(list.json()["error"]["message"], "No method match route template");
    let delete = exports.client.send("DELETE", &format!("{JOBS}/x"), &[], "").await;
    assert_eq!(delete.status, 405);
    assert_eq!(exports.simulator.write_requests().len(), 1);
    exports.tenant.set_scenario(Scenario::MissingRole);
    let forbidden = exports.post(JOBS, json!({"reportName": "RemoteAssistanceSessions"})).await;
    assert!(forbidden.json()["error"]["message"].as_str().unwrap().contains("DeviceManagementConfiguration.Read.All"));
}

#[tokio::test]
async fn a_file_is_had_by_its_signature_alone_and_for_some_hours() {
    let exports = Exports::of(1).await;
    let path = exports.completed(json!({})).await;
    let bearer = format!("Bearer {}", exports.token);
    let status = async |path: &str, headers: &[(&str, &str)]| {
        let reply = exports.blob.send("GET", path, headers, "").await;
        assert!(reply.header("x-ms-request-id").is_some() && reply.header("request-id").is_none());
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        let code = text.split("<Code>").nth(1).map(|rest| rest.split('<').next().unwrap().to_owned());
        (reply.status.as_u16(), code.unwrap_or_default())
    };
    assert_eq!(status(&path, &[]).await, (200, String::new()));
    let refused = |status, code: &str| (status, code.to_owned());
    assert_eq!(status(&path, &[("authorization", &bearer)]).await, refused(400, "InvalidAuthenticationInfo"));
    assert_eq!(status(&path, &[("cookie", "a=b")]).await, refused(400, "InvalidAuthenticationInfo"));
    assert_eq!(status(path.split('?').next().unwrap(), &[]).await, refused(403, "AuthenticationFailed"));
    assert_eq!(status(&path.replace("sig=", "sig=x"), &[]).await, refused(403, "AuthenticationFailed"));
    assert_eq!(status("/exports/none.zip?sig=x", &[]).await, refused(404, "BlobNotFound"));
    assert_eq!(status("/", &[]).await, refused(404, "BlobNotFound"));
    exports.clock.pass(TimeDelta::hours(6));
    assert_eq!(status(&path, &[]).await, refused(403, "AuthenticationFailed"));
    let seen: Vec<_> = exports.tenant.downloads().iter().map(|seen| (seen.status, seen.authorization)).collect();
    assert_eq!(seen, [(200, false), (400, true), (400, false), (403, false), (403, false), (403, false)]);
    assert_eq!(exports.simulator.stray_requests().len(), 2);
    assert!(exports.client.get(&exports.token, &path).await.status == 404, "Graph has no files");
}

#[tokio::test]
async fn jobs_go_astray_in_every_way() {
    let exports = Exports::of(1).await;
    let statuses = async |scenario| {
        exports.tenant.set_scenario_for(scenario, 1);
        let job = exports.submit(json!({})).await;
        let mut seen = Vec::new();
        for _ in 0..7 {
            let job = exports.look(&job).await;
            seen.push(job.get("status").map_or("none", |status| status.as_str().unwrap()).to_owned());
            if job["url"].is_string() {
                seen.push(job["url"].as_str().unwrap().split("/exports/").next().unwrap().to_owned());
                break;
            }
        }
        seen.join(" ")
    };
    let blob = exports.simulator.blob_url();
    assert_eq!(statuses(Scenario::JobStranded).await, ["inProgress"; 7].join(" "));
    assert_eq!(statuses(Scenario::JobFailed).await, format!("inProgress {}", ["failed"; 6].join(" ")));
    let strange = format!("inProgress unknown waitingForSnapshot none completed completed {blob}");
    assert_eq!(statuses(Scenario::JobStrange).await, strange);
    assert_eq!(statuses(Scenario::JobPlainUrl).await, "inProgress completed http://exports.foreign.example");
    assert_eq!(statuses(Scenario::None).await, format!("inProgress completed {blob}"));
    let job = exports.submit(json!({})).await;
    exports.tenant.set_scenario_for(Scenario::JobLost, 1);
    assert_eq!(exports.look(&job).await["error"]["code"], "ResourceNotFound");
    assert_eq!(exports.look(&job).await["status"], "inProgress");
}

#[tokio::test]
async fn downloads_go_wrong_in_every_way() {
    let mut exports = Exports::of(1).await;
    exports.blob.patience = 2 << 20;
    let path = exports.completed(json!({})).await;
    let right = exports.download(&path).await;
    for (scenario, status, is) in [
        (Scenario::DownloadExpired, 403, "<Code>AuthenticationFailed</Code>"),
        (Scenario::DownloadGone, 404, "<Code>BlobNotFound</Code>"),
        (Scenario::DownloadUnavailable, 503, "<Code>ServerBusy</Code>"),
        (Scenario::DownloadHtml, 200, "<!DOCTYPE html>"),
        (Scenario::DownloadNoZip, 200, "SessionId,"),
        (Scenario::DownloadHuge, 200, "   "),
        (Scenario::DownloadRedirect, 302, ""),
    ] {
        exports.tenant.set_scenario(scenario);
        let reply = exports.download(&path).await;
        assert_eq!(reply.status, status, "{scenario}");
        assert!(String::from_utf8_lossy(&reply.body).contains(is), "{scenario}");
        let location = format!("https://graph.foreign.example{path}");
        let expected = (scenario == Scenario::DownloadRedirect).then_some(&*location);
        assert_eq!(reply.header("location"), expected);
    }
    exports.tenant.set_scenario(Scenario::DownloadCut);
    let cut = exports.download(&path).await;
    assert!(!cut.whole && cut.header("content-length") == right.header("content-length"));
    for (scenario, files) in [(Scenario::ZipEmpty, 0), (Scenario::ZipTwoFiles, 2), (Scenario::None, 1)] {
        exports.tenant.set_scenario(scenario);
        let reply = exports.download(&path).await;
        assert_eq!(ZipArchive::new(Cursor::new(reply.body)).unwrap().len(), files, "{scenario}");
    }
    exports.tenant.set_scenario(Scenario::ZipBomb);
    let reply = exports.download(&path).await;
    assert!(reply.whole && reply.body.len() < 2 << 20, "{}", reply.body.len());
    let mut archive = ZipArchive::new(Cursor::new(reply.body)).unwrap();
    let file = archive.by_index(0).unwrap();
    assert_eq!(file.size(), (1 << 30) + 35);
    let mut start = vec![0; 4 << 20];
    file.take(4 << 20).read_exact(&mut start).unwrap();
    assert!(start.starts_with(b"SessionId,Sessionstart,Sessionend\r\n    "));
}
