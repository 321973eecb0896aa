//! What is served over time is what the truth says, and it repeats.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{TimeDelta, Timelike};
use serde_json::Value;

use super::super::*;
use super::client::*;

/// A reader that counts each session once when it first sees its end.
#[derive(Default)]
struct Reader {
    ended: BTreeMap<String, Value>,
    running: BTreeSet<String>,
    twice: usize,
}

impl Reader {
    async fn read(&mut self, client: &Client, token: &str) {
        let mut now = BTreeSet::new();
        for row in client.read_report(token, 1000).await {
            let id = row["SessionId"].as_str().unwrap().to_owned();
            self.twice += usize::from(!now.insert(id.clone()));
            let end = row["Sessionend"].as_str().unwrap_or_default();
            if end.starts_with("20") {
                self.ended.entry(id).or_insert_with(|| row["Attribute"].clone());
            } else {
                self.running.insert(id);
            }
        }
    }
}

#[tokio::test]
async fn a_reader_that_reads_often_enough_sees_exactly_the_truth() {
    let clock = TestClock::start();
    let tenant = TenantOptions { live_per_second: 0.5, sessions_per_day: 10.0, ..TenantOptions::new("contoso") };
    let options = Options {
        seed: 11,
        live_retention: TimeDelta::minutes(10),
        late_share: 0.3,
        in_progress_share: 0.5,
        duplicate_share: 0.1,
        amended_share: 0.2,
        missing_start_share: 0.05,
        ..clock.options(vec![tenant.clone()])
    };
    let simulator = Simulator::start(options).await.unwrap();
    let (client, tenant) = (Client::new(&simulator), simulator.tenant("contoso").unwrap());
    let token = client.token(tenant.options()).await;
    let mut reader = Reader::default();
    for _ in 0..12 {
        reader.read(&client, &token).await;
        clock.pass(TimeDelta::minutes(4));
    }
    reader.read(&client, &token).await;

    let ended = tenant.ended(clock.now());
    assert!(ended.len() > 1_200, "{}", ended.len());
    let ids: BTreeSet<_> = ended.iter().map(|session| session.id.clone()).collect();
    assert_eq!(ids.len(), ended.len(), "an id occurs once in the truth");
    assert_eq!(reader.ended.keys().cloned().collect::<BTreeSet<_>>(), ids);
    assert!(reader.running.len() > 100 && reader.running.iter().any(|id| ids.contains(id)));
    assert!(reader.twice > 20, "{}", reader.twice);
    let gone = client.read_report(&token, 1000).await;
    assert!(gone.len() < ids.len() - 500, "old rows leave the report: {}", gone.len());

    let mut twin = Truth::default();
    ended.iter().for_each(|session| twin.add(session));
    let truth = tenant.truth(clock.now());
    assert_eq!(truth, twin);
    let unreported = reader.ended.values().filter(|name| name.as_str().is_none_or(str::is_empty)).count();
    assert_eq!(truth.by_type["unreported"].sessions, unreported as u64);
    let starts = ended.iter().filter(|session| session.start.is_some()).count() as u64;
    assert_eq!(truth.by_type.values().map(|of_type| of_type.durations).sum::<u64>(), starts);
    assert!(starts < truth.ended);
}

#[tokio::test]
async fn late_rows_come_after_their_end() {
    let clock = TestClock::start();
    let tenant = TenantOptions { live_per_second: 1.0, sessions_per_day: 0.0, ..TenantOptions::new("contoso") };
    let options = Options {
        late_share: 1.0,
        late_max: TimeDelta::minutes(2),
        in_progress_share: 0.0,
        ..clock.options(vec![tenant])
    };
    let tenant = Simulator::start(options).await.unwrap().tenant("contoso").unwrap();
    clock.pass(TimeDelta::minutes(1));
    let early = tenant.ended(clock.now()).len();
    clock.pass(TimeDelta::minutes(10));
    let later = tenant.ended(clock.now());
    let ended_early =
        later.iter().filter(|session| session.end.unwrap() < clock.now() - TimeDelta::minutes(10)).count();
    assert!((40..80).contains(&ended_early), "{ended_early}");
    assert!(early > 0 && early < ended_early - 10, "{early} of {ended_early}");
}

fn history(seed: u64, hours_later: i64) -> (Tenant, Vec<Arc<Session>>) {
    let clock = TestClock::start();
    clock.pass(TimeDelta::hours(hours_later));
    let options = Options { seed, ..clock.options(vec![TenantOptions::new("contoso")]) };
    let state = Shared::new(options, [0, 0], clock.now());
    let state = Arc::new(state);
    let tenant = Tenant { state: state.tenant("contoso").unwrap(), shared: state };
    let ended = tenant.ended(clock.now());
    (tenant, ended)
}

#[test]
fn two_runs_agree_about_the_past_and_nothing_else() {
    let (_, early) = history(5, 0);
    let (_, again) = history(5, 0);
    let (_, later) = history(5, 50);
    let (_, other) = history(6, 0);
    assert_eq!(early, again);
    let ids = |sessions: &[Arc<Session>]| -> BTreeSet<String> { sessions.iter().map(|s| s.id.clone()).collect() };
    assert!(ids(&early).is_disjoint(&ids(&other)));
    let begin = later.iter().map(|session| session.end).min().unwrap();
    let until = TestClock::start().now() - TimeDelta::minutes(3);
    let common = |sessions: &[Arc<Session>]| -> Vec<Arc<Session>> {
        sessions.iter().filter(|s| s.end >= begin && s.end < Some(until)).cloned().collect()
    };
    assert!(common(&early).len() > 1_400);
    assert_eq!(common(&early), common(&later));
}

#[test]
fn live_sessions_belong_to_their_run() {
    let live = |started: i64| -> BTreeSet<String> {
        let clock = TestClock::start();
        let tenant = TenantOptions { sessions_per_day: 0.0, live_per_second: 2.0, ..TenantOptions::new("contoso") };
        clock.pass(TimeDelta::seconds(started));
        let shared = Shared::new(clock.options(vec![tenant]), [0, 0], clock.now());
        clock.pass(TimeDelta::minutes(5));
        let tenant = shared.tenant("contoso").unwrap();
        tenant.stream().ended(clock.now()).iter().map(|session| session.id.clone()).collect()
    };
    assert_eq!(live(0), live(0));
    assert!(live(0).len() > 400 && live(0).is_disjoint(&live(1)));
}

#[test]
fn the_stream_is_believable() {
    let (_, sessions) = history(9, 0);
    let total = sessions.len() as f64;
    assert!((1_500.0..2_000.0).contains(&total), "{total}");
    let share =
        |test: &dyn Fn(&Session) -> bool| sessions.iter().filter(|session| test(session)).count() as f64 / total;
    let of_type = |name: &'static str| share(&|session| session.session_type.as_deref() == Some(name));
    assert!((0.33..0.44).contains(&of_type("viewOnly")), "{}", of_type("viewOnly"));
    assert!((0.32..0.42).contains(&of_type("fullControl")), "{}", of_type("fullControl"));
    assert!((0.09..0.17).contains(&of_type("elevation")), "{}", of_type("elevation"));
    assert!((0.06..0.12).contains(&of_type("unattended")), "{}", of_type("unattended"));
    let office = share(&|session| (8..18).contains(&session.end.unwrap().hour()));
    assert!((0.75..0.95).contains(&office), "{office}");
    let foreign = share(&|session| session.helper.tenant_id != session.sharer.tenant_id);
    assert!((0.01..0.25).contains(&foreign), "{foreign}");

    let mut lengths: Vec<_> = sessions.iter().filter_map(|session| session.duration_ticks()).collect();
    lengths.sort_unstable();
    let minutes = |at: usize| lengths[at] as f64 / 600_000_000.0;
    assert!((6.0..14.0).contains(&minutes(lengths.len() / 2)), "{}", minutes(lengths.len() / 2));
    assert!(minutes(lengths.len() - 1) <= 480.0 + 1.0);
    assert_eq!(lengths.len(), sessions.len());
}

#[test]
fn office_hours_follow_the_tenants_zone() {
    let busiest = |offset: TimeDelta| {
        let clock = TestClock::start();
        let tenant = TenantOptions { utc_offset: offset, sessions_per_day: 500.0, ..TenantOptions::new("contoso") };
        let shared = Shared::new(clock.options(vec![tenant]), [0, 0], clock.now());
        let mut hours = [0; 24];
        for session in shared.tenant("contoso").unwrap().stream().ended(clock.now()) {
            hours[session.end.unwrap().hour() as usize] += 1;
        }
        (0..24).max_by_key(|hour| hours[*hour]).unwrap()
    };
    assert!((8..12).contains(&busiest(TimeDelta::zero())));
    assert!((18..22).contains(&busiest(TimeDelta::hours(-10))));
}
