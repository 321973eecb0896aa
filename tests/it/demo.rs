//! `demo`: the simulator and the exporter together, as somebody sees them who tries it out.

use std::path::Path;

use super::support::{Exporter, Scrape, get, wait_for};

const TENANTS: [&str; 3] = ["contoso", "fabrikam", "northwind"];
const TYPES: [&str; 4] = ["viewOnly", "fullControl", "elevation", "unattended"];

fn demo(storage: &Path) -> Exporter {
    // Faster than life, so that the rarest type comes up within the first polls.
    Exporter::start(["demo", "--demo.speed=20", &format!("--storage.path={}", storage.display())])
}

fn of_type(scrape: &Scrape, session_type: &str) -> f64 {
    scrape.sum("sessions_total", &[&format!("session_type=\"{session_type}\"")])
}

/// Waits until, after this scrape, sessions of every type were counted.
#[track_caller]
fn wait_for_rise(demo: &mut Exporter, before: &Scrape) -> Scrape {
    demo.wait_for_scrape("sessions of every type to rise", |scrape| {
        TYPES.iter().all(|session_type| of_type(scrape, session_type) > of_type(before, session_type))
    })
}

/// Ends it as Ctrl-C does, and looks at all that it said.
#[track_caller]
fn ctrl_c(demo: Exporter) {
    demo.signal("INT");
    let (status, log) = demo.wait();
    assert_eq!(status.code(), Some(0), "{log:#?}");
    assert_eq!(log.iter().find(|line| !line.contains("level=info")), None, "{log:#?}");
    assert!(log.iter().any(|line| line.contains("msg=Stopping signal=SIGINT")), "{log:#?}");
    assert!(log.last().unwrap().contains("msg=Stopped"), "{log:#?}");
}

#[test]
fn sessions_of_every_type_rise_and_a_second_run_goes_on_from_the_first() {
    let storage = tempfile::tempdir().unwrap();
    let mut first = demo(storage.path());
    let history = first.wait_for_scrape("the history of every tenant", |scrape| {
        let counted = |tenant: &&str| scrape.sum("sessions_total", &[&format!("tenant=\"{tenant}\"")]) > 0.0;
        TENANTS.iter().all(counted) && scrape.sum("up", &[]) == TENANTS.len() as f64
    });
    let risen = wait_for_rise(&mut first, &history);
    assert_eq!(risen.sum("up", &[]), TENANTS.len() as f64);
    ctrl_c(first);

    let mut second = demo(storage.path());
    let restored = second.scrape();
    for (series, before) in risen.durable_counters() {
        assert!(restored.value(series) >= before, "{series} went down from {before}");
    }
    wait_for_rise(&mut second, &restored);
    ctrl_c(second);
}

#[test]
fn the_landing_page_shows_every_tenants_state_and_the_log_says_where_it_is() {
    let storage = tempfile::tempdir().unwrap();
    let mut demo = demo(storage.path());
    let address = demo.address();
    demo.wait_for_log(&[&format!("Open http://{address}/ in a browser; Ctrl-C ends the demo")]);
    wait_for("every tenant's success on the page", || {
        let page = get(address, "/").unwrap();
        assert_eq!(page.status, 200);
        let page = page.text();
        let succeeded = |tenant: &&str| {
            let row = page.split("<tr>").find(|row| row.contains(&format!(">{tenant}<small>")));
            let row = row.unwrap_or_else(|| panic!("no row of {tenant}: {page}"));
            assert!(row.contains("every 5\u{a0}s"), "{row}");
            row.contains(">OK</span>")
        };
        TENANTS.iter().all(succeeded).then_some(())
    });
    assert_eq!(get(address, "/-/ready").unwrap().status, 200);
    ctrl_c(demo);
}
