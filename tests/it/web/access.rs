//! What the web configuration asks of requests and answers.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use remote_assistance_exporter::config::WebConfig;
use remote_assistance_exporter::web::Access;

use super::client::Response;
use super::crowds::connect_from;
use super::{Server, until, within};
use crate::tools;

fn config(yaml: &str) -> WebConfig {
    WebConfig::from_yaml(yaml, Path::new("web.yml")).unwrap()
}

/// A server with this web configuration, and what changes it.
fn with(yaml: &str) -> (Server, Arc<Access>) {
    let access = Arc::new(Access::new(&config(yaml)).unwrap());
    let server = Server::with(|state| state.access = access.clone());
    (server, access)
}

/// Users with their passwords, hashed at a cost.
fn users(users: &[(&str, &str, u32)]) -> String {
    let line = |(name, password, cost): &(&str, &str, u32)| {
        format!("  {name}: {}\n", bcrypt::hash(password, *cost).unwrap().replace("$2b$", "$2y$"))
    };
    format!("basic_auth_users:\n{}", users.iter().map(line).collect::<String>())
}

fn authorization(name: &str, password: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
    format!("Authorization: Basic {encoded}\r\n")
}

async fn get(server: &Server, headers: &str) -> Response {
    server.connect().await.request_with("GET", "/metrics", headers).await
}

#[tokio::test]
async fn headers_are_set_on_every_answer_in_place_of_its_own() {
    let headers = "http_server_config:\n  headers:\n    Content-Security-Policy: default-src 'none'\n    X-Frame-Options: deny\n    \
         Strict-Transport-Security: max-age=31536000; includeSubDomains\n";
    let (server, access) = with(headers);
    let shown = async |method: &str, path: &str, status: u16| {
        let answer = server.connect().await.request(method, path).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("content-security-policy"), Some("default-src 'none'"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("deny"), "{path}");
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000; includeSubDomains"), "{path}");
        assert_eq!(answer.header("x-xss-protection"), None, "{path}");
    };
    for (method, path, status) in
        [("GET", "/", 200), ("GET", "/metrics", 200), ("HEAD", "/-/ready", 503), ("GET", "/x", 404), ("PUT", "/", 405)]
    {
        shown(method, path, status).await;
    }
    access.replace(&config(&format!("{headers}{}", users(&[("a", "b", 4)])))).unwrap();
    shown("GET", "/", 401).await;
    access.replace(&config(&format!("{headers}rate_limit: {{interval: 1h, burst: 1}}\n"))).unwrap();
    shown("GET", "/", 200).await;
    shown("GET", "/", 429).await;
}

#[tokio::test]
async fn only_a_user_with_the_right_password_is_answered() {
    let (server, _) = with(&users(&[("prometheus", "pass:wörd", 5), ("other", "x", 4)]));
    for (headers, status) in [
        (authorization("prometheus", "pass:wörd"), 200),
        (authorization("prometheus", "pass:wörd").replace("Basic", "bAsIc"), 200),
        (authorization("other", "x"), 200),
        (String::new(), 401),
        (authorization("prometheus", "x"), 401),
        (authorization("prometheus", ""), 401),
        (authorization("nobody", "x"), 401),
        (authorization("Prometheus", "pass:wörd"), 401),
        (authorization("prometheus", "pass:wörd").repeat(2), 401),
        (authorization("prometheus", "pass:wörd").replace("Basic", "Bearer"), 401),
        ("Authorization: Basic !\r\n".to_owned(), 401),
        ("Authorization: Basic\r\n".to_owned(), 401),
        ("Authorization: Basic YQ==\r\n".to_owned(), 401),
    ] {
        // The second time it is remembered.
        for _ in 0..2 {
            let answer = get(&server, &headers).await;
            assert_eq!(answer.status, status, "{headers}");
            let asked = (status == 401).then_some(r#"Basic realm="remote-assistance-exporter", charset="UTF-8""#);
            assert_eq!(answer.header("www-authenticate"), asked, "{headers}");
        }
    }
    for path in ["/", "/-/healthy", "/-/ready", "/status", "/-/reload", "/x"] {
        assert_eq!(server.get(path).await.status, 401, "{path}");
    }
    let unauthorized = r#"http_requests_total{code="401",path="/metrics"}"#;
    until(|| server.sample(unauthorized) == Some(20.0)).await;
}

/// Series of refusals begin at zero.
#[tokio::test]
async fn refusals_are_counted_from_zero_where_there_can_be_any() {
    let series = |code| format!(r#"http_requests_total{{code="{code}",path="/metrics"}}"#);
    let (server, _) = with(&format!("{}rate_limit: {{interval: 1s, burst: 9}}\n", users(&[("a", "b", 4)])));
    assert_eq!(get(&server, "").await.status, 401);
    assert_eq!((server.sample(&series(401)).is_some(), server.sample(&series(429))), (true, Some(0.0)));
    let (server, access) = with("");
    assert_eq!(get(&server, "").await.status, 200);
    assert_eq!((server.sample(&series(401)), server.sample(&series(429))), (None, None));
    // By a change they can come later.
    access.replace(&config(&users(&[("a", "b", 4)]))).unwrap();
    until(|| server.sample(&series(401)) == Some(0.0)).await;
    assert_eq!(server.sample(&series(429)), None);
    access.replace(&config("rate_limit: {interval: 1s, burst: 9}")).unwrap();
    until(|| server.sample(&series(429)) == Some(0.0)).await;
}

/// Hashes as administrators have them: `htpasswd` writes `$2y$`, Python `$2b$` and, for old readers, `$2a$`.
#[tokio::test]
async fn hashes_of_other_programs_are_taken() {
    const PASSWORD: &str = "corréct hörse:battery";
    const PYTHON: &str = "import sys, bcrypt\n\
        password = sys.stdin.buffer.read()\n\
        for prefix in [b'2a', b'2b', b'2y']:\n    \
            salt = bcrypt.gensalt(4, b'2b').replace(b'$2b$', b'$' + prefix + b'$')\n    \
            print(bcrypt.hashpw(password, salt).decode())\n";
    let htpasswd = std::process::Command::new("htpasswd").args(["-nbB", "-C", "5", "name", PASSWORD]).output();
    let htpasswd = String::from_utf8(htpasswd.expect("tests/run installs it").stdout).unwrap();
    let (name, hash) = htpasswd.trim().split_once(':').unwrap();
    assert_eq!(name, "name");
    let python = tools::python(PYTHON, PASSWORD.as_bytes());
    let hashes: Vec<_> = std::iter::once(hash).chain(python.lines()).collect();
    let prefixes: Vec<_> = hashes.iter().map(|hash| &hash[..7]).collect();
    assert_eq!(prefixes, ["$2y$05$", "$2a$04$", "$2b$04$", "$2y$04$"]);
    let lines = hashes.iter().enumerate().map(|(number, hash)| format!("  user{number}: {hash}\n"));
    let (server, _) = with(&format!("basic_auth_users:\n{}", lines.collect::<String>()));
    for (number, hash) in hashes.iter().enumerate() {
        let status =
            async |password: &str| get(&server, &authorization(&format!("user{number}"), password)).await.status;
        assert_eq!((status(PASSWORD).await, status("correct").await), (200, 401), "{hash}");
    }
}

#[tokio::test]
async fn another_password_is_in_force_at_once_and_what_stays_is_not_asked_again() {
    let one = users(&[("a", "old", 4)]);
    let (server, access) = with(&one);
    let (old, new) = (authorization("a", "old"), authorization("a", "new"));
    assert_eq!((get(&server, &old).await.status, get(&server, &new).await.status), (200, 401));
    access.replace(&config(&users(&[("a", "new", 4)]))).unwrap();
    assert_eq!((get(&server, &old).await.status, get(&server, &new).await.status), (401, 200));
    access.replace(&config("")).unwrap();
    assert_eq!(get(&server, "").await.status, 200);
}

#[tokio::test]
async fn the_rate_limit_counts_every_request_and_comes_before_passwords() {
    let limit = "rate_limit: {interval: 1h, burst: 3}\n";
    let (server, access) = with(&format!("{limit}{}", users(&[("a", "b", 4)])));
    for status in [401, 401, 401, 429, 429] {
        assert_eq!(get(&server, "").await.status, status);
    }
    let answer = get(&server, &authorization("a", "b")).await;
    assert_eq!(answer.status, 429);
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3601).contains(&wait), "{wait}");
    access.replace(&config(limit)).unwrap();
    assert_eq!(get(&server, "").await.status, 429, "another file with the same limit gives no new tokens");
    access.replace(&config("rate_limit: {interval: 1h, burst: 1}")).unwrap();
    assert_eq!(get(&server, "").await.status, 200);
}

/// Each wrong password takes a while to be found wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_wrong_passwords_stops_no_scrape_whose_password_is_known() {
    const COST: u32 = 9;
    let (server, _) = with(&users(&[("a", "right", COST)]));
    let right = authorization("a", "right");
    assert_eq!(get(&server, &right).await.status, 200);
    let mut flood = tokio::task::JoinSet::new();
    for number in 0..40 {
        // As many as may wait, from five addresses.
        let mut client = connect_from([127, 0, 1, 1 + number % 5], &server).await;
        flood.spawn(async move {
            let wrong = authorization(if number % 2 == 0 { "a" } else { "b" }, &number.to_string());
            client.request_with("GET", "/metrics", &wrong).await.status
        });
    }
    let mut scrapes = 0;
    while flood.len() > 20 {
        assert_eq!(get(&server, &right).await.status, 200);
        scrapes += 1;
        while flood.try_join_next().is_some_and(|status| [401, 503].contains(&status.unwrap())) {}
    }
    assert!(scrapes > 3, "{scrapes} scrapes while half of the flood was answered");
    let statuses = within(flood.join_all()).await;
    assert!(statuses.iter().all(|status| [401, 503].contains(status)), "{statuses:?}");
    assert_eq!(get(&server, &right).await.status, 200);
}

/// As after a restart, when no password is known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_wrong_passwords_from_one_address_stops_no_scrape_whose_password_is_new() {
    let (server, _) = with(&users(&[("a", "right", 9)]));
    let mut flood = tokio::task::JoinSet::new();
    for number in 0..100 {
        let mut client = connect_from([127, 0, 1, 1], &server).await;
        let wrong = authorization("a", &number.to_string());
        flood.spawn(async move { client.request_with("GET", "/metrics", &wrong).await.status });
    }
    // There are no seats left to whoever floods.
    while within(flood.join_next()).await.unwrap().unwrap() != 503 {}
    assert_eq!(get(&server, &authorization("a", "right")).await.status, 200);
}
