//! Native histograms: a Prometheus that takes them in, beside one that does not.

use remote_assistance_exporter::metrics::catalogue;

use super::lab;
use super::server::Prometheus;
use crate::support::Exporter;

/// A bucket of schema 3 is this much wider than the one before.
const RESOLUTION: f64 = 1.0905077326652577;

/// Both see the same sessions: the one as classic buckets in text, the other as native ones in
/// protobuf.
#[test]
fn native_and_classic_quantiles_agree_within_their_resolution() {
    let lab = lab();
    let report = "source: {kind: sessions_report, page_size: 500}";
    let configuration = lab.configuration("poll_interval: 1s", &[("contoso", report), ("fabrikam", report)]);
    let mut exporter = Exporter::start(lab.arguments(&configuration));
    let native = Prometheus::with(exporter.address(), &["--enable-feature=native-histograms"]);
    let classic = Prometheus::start(exporter.address());
    let now = lab.freeze();
    let sessions = ["contoso", "fabrikam"].map(|name| lab.simulator.tenant(name).unwrap().ended(now));
    let mut seconds: Vec<_> =
        sessions.iter().flatten().filter_map(|session| Some(session.duration_ticks()? as f64 / 1e7)).collect();
    seconds.sort_by(f64::total_cmp);
    let name = catalogue::SESSION_DURATION.name;
    let count = seconds.len() as f64;
    native.wait_for(&format!("histogram_count(sum({name}))"), |all| all.values().eq(&[count]));
    classic.wait_for(&format!("sum({name}_count)"), |all| all.values().eq(&[count]));

    // In its place, not beside it: no classic series of a family that came as a native histogram.
    assert_eq!(native.query(&format!("{name}_bucket")).len(), 0);
    assert_eq!(native.value("count(remote_assistance_report_delay_seconds_count)"), 2.0);
    let (sum, true_sum) = (native.value(&format!("histogram_sum(sum({name}))")), seconds.iter().sum::<f64>());
    assert!((sum - true_sum).abs() <= true_sum * 1e-9, "{sum}, {true_sum} in truth");
    for type_count in native.query(&format!("histogram_count(sum by (session_type) ({name}))")) {
        let by_type = format!("sum({name}_count{{session_type=\"{}\"}})", type_count.0);
        assert_eq!(type_count.1, classic.value(&by_type), "{by_type}");
    }

    let bounds = classic.query(&format!("sum by (le) ({name}_bucket)"));
    let bounds: Vec<f64> = bounds.keys().map(|bound| bound.parse().unwrap()).collect();
    for quantile in [0.05, 0.25, 0.5, 0.75, 0.95] {
        let native = native.value(&format!("histogram_quantile({quantile}, sum({name}))"));
        let true_one = seconds[(quantile * count).ceil() as usize - 1];
        let close = (true_one / RESOLUTION..=true_one * RESOLUTION).contains(&native);
        assert!(close, "{quantile}: {native}, {true_one} in truth");
        // The classic estimate is somewhere in a bucket; the native one is in the same, or at its edge.
        let classic = classic.value(&format!("histogram_quantile({quantile}, sum by (le) ({name}_bucket))"));
        let lower = bounds.iter().copied().filter(|bound| *bound < classic).fold(0.0, f64::max);
        let upper = bounds.iter().copied().filter(|bound| *bound >= classic).fold(f64::INFINITY, f64::min);
        let within = (lower / RESOLUTION..=upper * RESOLUTION).contains(&native);
        assert!(within, "{quantile}: native {native}, classic {classic}");
    }
}
