use chrono::*;
use remote_assistance_exporter::{config::*, ledger::*, session::*};
use std::time::Instant;
fn report(i: usize, now: DateTime<Utc>) -> SessionReport {
    let p = |side: &str, n: usize| Participant {
        email: Some(format!("{side}-{n}@contoso.example").into()),
        tenant_id: Some("11111111-2222-3333-4444-555555555555".into()),
        first_name: Some("Helper".into()),
        last_name: Some(format!("{n}").into()),
        os: Some("Windows 11 10.0.26100".into()),
        device_aad_id: Some(format!("{:032x}-dev", n * 7919).into()),
        device_name: Some(format!("PC-{n}").into()),
        user_id: None,
        enrollment_state: EnrollmentState::Enrolled,
    };
    SessionReport {
        id: format!("{:08x}-1111-2222-3333-{:012x}", (i as u64).wrapping_mul(2654435761) as u32, i).into(),
        start: Some(now - TimeDelta::seconds(1000 + (i % 100) as i64)),
        end: Some(now - TimeDelta::days(29) + TimeDelta::seconds((i * 2) as i64)),
        session_type: SessionType::FullControl,
        helper: p("helper", i % 300),
        sharer: p("sharer", i % 20000),
        created: Some(now),
        ..Default::default()
    }
}
fn main() {
    let n: usize = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(100_000);
    let per: usize = std::env::args().nth(2).and_then(|a| a.parse().ok()).unwrap_or(5000);
    let dir = tempfile::tempdir_in("/work").unwrap();
    let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
    let settings = || Settings {
        tenants: vec![Policy { name: "contoso".into(), lookback: TimeDelta::days(30), first_run: FirstRun::Count }],
        duration_bounds: totals::DURATION_BOUNDS.to_vec(),
        helper_label: HelperLabel::Off,
    };
    let mut l = Ledger::open(dir.path(), settings(), now).unwrap();
    let batches: Vec<Batch> = (0..n / per)
        .map(|b| Batch {
            tenant: "contoso".into(),
            clock: Clock { now, cautious: now },
            first: b == 0,
            reports: (0..per).map(|i| report(b * per + i, now)).collect(),
            rejects: vec![],
            end: None,
        })
        .collect();
    for pass in ["new", "known", "known"] {
        let t = Instant::now();
        for b in &batches {
            l.commit(std::slice::from_ref(b)).unwrap();
        }
        let e = t.elapsed();
        println!("{pass}: {:.2} us/report, {:.0}/s", e.as_secs_f64() * 1e6 / n as f64, n as f64 / e.as_secs_f64());
    }
    println!("{} sessions {} MB", l.snapshot().sessions, l.snapshot().size_bytes >> 20);
    std::mem::forget(l);
    // simulate kill: copy
    let d2 = tempfile::tempdir_in("/work").unwrap();
    std::fs::copy(dir.path().join("ledger.redb"), d2.path().join("ledger.redb")).unwrap();
    let t = Instant::now();
    let l = Ledger::open(d2.path(), settings(), now).unwrap();
    println!("open after kill {:?} {}", t.elapsed(), l.snapshot().sessions);
    drop(l);
    let t = Instant::now();
    let l = Ledger::open(d2.path(), settings(), now).unwrap();
    println!("open clean {:?} {}", t.elapsed(), l.snapshot().sessions);
    println!(
        "{}",
        std::fs::read_to_string("/proc/self/status").unwrap().lines().find(|l| l.starts_with("VmRSS")).unwrap()
    );
}
