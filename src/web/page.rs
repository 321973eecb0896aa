//! What all pages for people share: head, style, icon, and what they may load. Server-rendered, without
//! scripts; whatever comes from the configuration or from an error is escaped by the template.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use http::HeaderValue;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("page.css");
/// In the page itself: a browser asks for `/favicon.ico` otherwise.
const ICON: &str = include_str!("icon.svg");
const NAME: &str = "Remote assistance exporter";

/// The pages' `Content-Security-Policy`: this one style sheet, by its hash, icons that are part of the
/// page, and nothing else at all.
pub(super) fn policy() -> HeaderValue {
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// A page with this title and these contents.
pub(super) fn page(title: &str, header: &Markup, main: &Markup) -> Bytes {
    let icon = format!("data:image/svg+xml;base64,{}", BASE64_STANDARD.encode(ICON));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) @if !title.is_empty() { " · " } (NAME) }
                link rel="icon" href=(icon);
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { h1 { (NAME) } (header) }
                main { (main) }
            }
        }
    };
    page.into_string().into()
}

/// A point of time for people and machines.
pub(super) fn time(time: DateTime<Utc>) -> Markup {
    let machine = time.to_rfc3339_opts(SecondsFormat::Secs, true);
    html! { time datetime=(machine) { (time.format("%Y-%m-%d %H:%M:%S UTC")) } }
}

/// A length of time in its largest unit, rounded down. Clocks disagree: less than nothing is nothing.
/// Number and unit stay on one line.
pub(super) fn length(length: TimeDelta) -> String {
    let seconds = length.num_seconds().max(0);
    let (number, unit) = match seconds {
        0..120 => (seconds, "s"),
        120..7200 => (seconds / 60, "min"),
        7200..172_800 => (seconds / 3600, "h"),
        _ => (seconds / 86_400, "d"),
    };
    format!("{number}\u{a0}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        for (seconds, words) in [
            (-5, "0 s"),
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7199, "119 min"),
            (7200, "2 h"),
            (172_800, "2 d"),
        ] {
            assert_eq!(length(TimeDelta::seconds(seconds)), words.replace(' ', "\u{a0}"));
        }
    }

    #[test]
    fn the_policy_allows_the_style_that_is_sent_and_nothing_unsafe() {
        let page = page("a & b", &html! { "c" }, &html! { "d" });
        let page = std::str::from_utf8(&page).unwrap();
        let style = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let hash = BASE64_STANDARD.encode(Sha256::digest(style));
        let policy = policy();
        let policy = policy.to_str().unwrap();
        assert!(policy.contains(&format!("style-src 'sha256-{hash}';")), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(!page.contains("style=") && !page.contains("<script"), "{page}");
        assert!(page.contains("<title>a &amp; b · Remote assistance exporter</title>"), "{page}");
    }
}
