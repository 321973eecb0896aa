//! Rows that are double, disordered, unknown or broken.

use std::collections::BTreeMap;

use remote_assistance_exporter::session::{EnrollmentState, RejectReason, SessionType};
use remote_assistance_exporter::simulator::Scenario;

use super::bench::{Bench, KINDS, Kind, PAGE, SESSIONS, ids, quick, read};

#[tokio::test]
async fn rows_that_occur_twice_are_given_twice() {
    for kind in KINDS {
        let bench = Bench::start().await;
        let outcome = bench.read(kind, Scenario::DuplicateRows).await;
        assert!(outcome.error.is_none());
        // Every third one again, at the end: telling them apart is for whoever counts.
        assert_eq!(outcome.ids(), [ids(0..SESSIONS), ids((0..SESSIONS).step_by(3))].concat());
        assert_eq!((outcome.rejects.len(), outcome.rows_missing, outcome.is_complete), (0, 0, true));
        bench.check_requests();
    }
}

#[tokio::test]
async fn the_order_of_columns_does_not_matter() {
    for kind in KINDS {
        let bench = Bench::with(|options| options.extended_columns = true).await;
        let mut sessions: Vec<_> = (0..SESSIONS).map(super::bench::session).collect();
        for (number, session) in sessions.iter_mut().enumerate() {
            session.helper = full(&format!("h{number}"), "enrolled").into();
            session.sharer = full(&format!("s{number}"), "blocked").into();
            session.diagnostic_code = Some(format!("{number}").into());
        }
        bench.tenant.set_sessions(sessions);
        let plain = bench.read(kind, Scenario::None).await;
        plain.check_whole();
        assert_eq!(plain.reports[7].helper.email.as_deref(), Some("h7@contoso.example"));
        assert_eq!(plain.reports[7].sharer.enrollment_state, EnrollmentState::Blocked);
        let shuffled = bench.read(kind, Scenario::ShuffledColumns).await;
        shuffled.check_whole();
        assert_eq!(shuffled.reports, plain.reports);
    }
}

/// A participant of whom everything is reported.
fn full(name: &str, state: &'static str) -> remote_assistance_exporter::simulator::Participant {
    remote_assistance_exporter::simulator::Participant {
        user_id: Some(format!("{name}-user")),
        email: Some(format!("{name}@contoso.example")),
        device_name: Some(format!("{name}-pc")),
        os: Some("Windows".into()),
        enrollment_state: Some(state.into()),
        ..Default::default()
    }
}

#[tokio::test]
async fn unknown_properties_are_passed_over_and_unknown_members_are_other() {
    let bench = Bench::start().await;
    let types = |outcome: &super::bench::Outcome| -> Vec<_> {
        outcome.reports.iter().map(|report| report.session_type).collect()
    };
    // The first row of each page has a session type that nobody knows.
    let expected = |unknown| {
        let of = |number: usize| if number.is_multiple_of(PAGE) { unknown } else { SessionType::ViewOnly };
        (0..SESSIONS).map(of).collect::<Vec<_>>()
    };
    let collection = bench.read(Kind::Collection, Scenario::UnknownColumns).await;
    collection.check_whole();
    assert_eq!(types(&collection), expected(SessionType::Other));

    // That the report's `Attribute` holds the type is a guess, which a value that names none disproves.
    let report = bench.read(Kind::Report, Scenario::UnknownColumns).await;
    report.check_whole();
    assert_eq!(types(&report), expected(SessionType::Unreported));
    let sure =
        format!("{{kind: sessions_report, page_size: {PAGE}, columns: {{remoteAssistanceSessionType: Attribute}}}}");
    let report = read(bench.source_of(&sure, quick())).await;
    report.check_whole();
    assert_eq!(types(&report), expected(SessionType::Other));
    bench.check_requests();
}

#[tokio::test]
async fn broken_rows_are_rejected_one_by_one() {
    for kind in KINDS {
        let bench = Bench::start().await;
        let outcome = bench.read(kind, Scenario::BrokenRows).await;
        assert!(outcome.error.is_none());
        assert_eq!(outcome.ids(), ids(0..SESSIONS), "nothing else is lost");
        assert_eq!((outcome.rows_missing, outcome.is_complete), (0, true));
        let mut reasons = BTreeMap::new();
        outcome.rejects.iter().for_each(|reject| *reasons.entry(reject.reason).or_insert(0) += 1);
        let expected = [(RejectReason::BrokenRow, 3), (RejectReason::MissingId, 1), (RejectReason::UnreadableDate, 1)];
        assert_eq!(reasons, BTreeMap::from(expected), "{kind:?}");
        let named: Vec<_> = outcome.rejects.iter().filter_map(|reject| reject.id.as_deref()).collect();
        assert_eq!(named, ["broken-UnreadableDate"]);
        bench.check_requests();
    }
}
