//! Many connections at a time.

use super::crowd::{Crowd, Mode};
use super::{Connections, Scraper, Target, descriptors};
use crate::support::{Scrape, get, wait_for};

/// So many tenants make a page that is larger than what the system takes for a client that does not read.
const LARGE: usize = 40;

#[test]
fn scrapes_go_on_under_ten_thousand_idle_connections() {
    let target = Target::start(1, &[]);
    let scrapers = [Connections::New, Connections::Kept].map(|connections| target.scraper(connections));
    let crowds = Crowd::of_ten_thousand(Mode::Idle, target.address);
    scrapers.into_iter().for_each(Scraper::end);
    drop(crowds);
    target.end();
}

#[test]
fn scrapes_go_on_under_ten_thousand_half_requests() {
    let target = Target::start(1, &[]);
    let scrapers = [Connections::New, Connections::Kept].map(|connections| target.scraper(connections));
    let crowds = Crowd::of_ten_thousand(Mode::Half, target.address);
    scrapers.into_iter().for_each(Scraper::end);
    drop(crowds);
    target.end();
}

/// As behind a proxy: everybody has one address.
#[test]
fn scrapes_from_the_crowds_own_address_go_on() {
    let target = Target::start(1, &[]);
    let scraper = target.scraper(Connections::New);
    let crowds = [(); 2].map(|()| Crowd::start(Mode::Half, target.address, "127.0.0.1", 1000));
    let crowds = crowds.map(Crowd::ready);
    scraper.end();
    drop(crowds);
    target.end();
}

#[test]
fn few_descriptors_are_enough() {
    const FEW: usize = 96;
    let target = Target::start_limited(1, &[], &format!("ulimit -n {FEW}"));
    let scrapers = [Connections::New, Connections::Kept].map(|connections| target.scraper(connections));
    let crowd = Crowd::start(Mode::Idle, target.address, "127.0.1.1", 1000).ready();
    scrapers.into_iter().for_each(Scraper::end);
    let open = descriptors(&target.exporter);
    assert!((FEW / 2..FEW - 10).contains(&open), "half of them are for others: {open}");
    drop(crowd);
    target.end();
}

#[test]
fn the_soft_limit_of_descriptors_is_raised() {
    let target = Target::start_limited(1, &[], "ulimit -S -n 64");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", target.exporter.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(numbers[0] > 64 && numbers[0] == numbers[1].min(65_536), "{line}");
    target.end();
}

#[test]
fn requests_that_drip_are_cut_and_scrapes_go_on() {
    let target = Target::start(1, &[]);
    let scrapers = [Connections::New, Connections::Kept].map(|connections| target.scraper(connections));
    let mut crowd = Crowd::start(Mode::Drip, target.address, "127.0.1.1", 300).ready();
    crowd.says("cut");
    scrapers.into_iter().for_each(Scraper::end);
    drop(crowd);
    target.end();
}

#[test]
fn scrapes_go_on_under_hundreds_that_do_not_read_their_answers() {
    let target = Target::start(LARGE, &["--web.max-requests=0"]);
    let scrapers = [Connections::New, Connections::Kept].map(|connections| target.scraper(connections));
    let crowds = [1, 2].map(|last| Crowd::start(Mode::Unread, target.address, &format!("127.0.1.{last}"), 100).ready());
    wait_for("answers that wait for their readers", || (in_flight(&target) >= 200.0).then_some(()));
    scrapers.into_iter().for_each(Scraper::end);
    drop(crowds);
    target.end();
}

#[test]
fn scrapes_beyond_the_limit_are_refused_until_others_are_read() {
    let target = Target::start(LARGE, &["--web.max-requests=3"]);
    let status = |path| get(target.address, path).unwrap().status;
    // One after the other: each scrape that asks may take a place that one of them would have had.
    let mut crowds = Vec::new();
    wait_for("a scrape to be refused", || {
        crowds.push(Crowd::start(Mode::Unread, target.address, "127.0.1.1", 1).ready());
        (status("/metrics") == 503).then_some(())
    });
    assert_eq!(status("/-/healthy"), 200);
    drop(crowds);
    wait_for("a scrape to be answered", || (status("/metrics") == 200).then_some(()));
    target.end();
}

#[test]
fn connections_that_are_reset_leave_nothing() {
    let target = Target::start(1, &["--web.max-requests=0"]);
    let scrapers = [Connections::New, Connections::Kept].map(|connections| target.scraper(connections));
    let crowds = [1, 2].map(|last| Crowd::start(Mode::Reset, target.address, &format!("127.0.1.{last}"), 1000));
    drop(crowds.map(Crowd::ready));
    scrapers.into_iter().for_each(Scraper::end);
    wait_for("no request to be left", || (in_flight(&target) == 1.0).then_some(()));
    target.end();
}

/// The scrape itself is one of them.
fn in_flight(target: &Target) -> f64 {
    let answer = get(target.address, "/metrics").unwrap();
    Scrape::parse(&answer.text()).value("exporter_http_requests_in_flight")
}
