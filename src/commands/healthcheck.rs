//! `healthcheck`: asks the running exporter, for containers without a shell.

mod client;
mod trust;

use std::path::Path;
use std::time::Duration;

use http::{StatusCode, Uri};
use tokio::time;

use super::Failure;
use crate::cli::{Healthcheck, ListenAddress};
use crate::config::{HttpClientConfig, TlsConfig, WebConfig};
use crate::web::tls;
use client::Client;

/// How long the answer may take. The page waits for nothing, so a slower one is not healthy; and
/// container engines mostly give a probe 5 to 30 seconds.
const TIMEOUT: Duration = Duration::from_secs(5);
/// After which a certificate is looked at again that is not the file's: the exporter takes up a new file
/// within seconds.
const CERTIFICATE_PAUSE: Duration = Duration::from_millis(250);
/// The names by which a machine reaches itself.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Asks the address given by flag, or the one that this exporter would listen on, over TLS where its web
/// configuration has that.
///
/// # Errors
/// No answer within five seconds, or another one than 200; or flags and files that cannot be used.
pub fn run(flags: &Healthcheck, listening: &[ListenAddress], web: Option<&Path>) -> Result<(), Failure> {
    let web = web.map(WebConfig::read).transpose()?.unwrap_or_default();
    let scheme = if web.tls.is_some() { "https" } else { "http" };
    let url = match (&flags.url, listening.first()) {
        (Some(url), _) => url.clone(),
        (None, Some(address)) => format!("{scheme}://{}/-/healthy", address.local_authority()),
        (None, None) => return Err(Failure::Usage("there is no address to ask; give --healthcheck.url".to_owned())),
    };
    let http = flags.http_config_file.as_deref().map(HttpClientConfig::read).transpose()?.unwrap_or_default();
    let uri = parse(&url)?;
    let own = web.tls.as_ref().filter(|_| is_own(&uri, listening));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Other(format!("cannot start: {error}")))?;
    runtime.block_on(ask(&Question { url: &url, uri, http: &http, own }, TIMEOUT))
}

/// What is asked, and how.
struct Question<'a> {
    url: &'a str,
    uri: Uri,
    http: &'a HttpClientConfig,
    /// The web configuration of the exporter that is asked, where that is known.
    own: Option<&'a TlsConfig>,
}

fn parse(url: &str) -> Result<Uri, Failure> {
    let usage = || {
        Failure::Usage(
            "--healthcheck.url: write http:// or https://, a host, a port and a path, and no user".to_owned(),
        )
    };
    let uri: Uri = url.parse().map_err(|_| usage())?;
    let user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if !matches!(uri.scheme_str(), Some("http" | "https")) || user {
        return Err(usage());
    }
    Ok(uri)
}

/// Whether it is this exporter, as far as flags can tell.
fn is_own(uri: &Uri, listening: &[ListenAddress]) -> bool {
    let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16());
    listening.iter().any(|address| {
        let own = address.local_authority();
        let own_host = own.rsplit_once(':').map_or(own.as_str(), |(host, _)| host);
        port == Some(address.port) && (host == own_host || [host, own_host].iter().all(|host| LOOPBACK.contains(host)))
    })
}

async fn ask(question: &Question<'_>, timeout: Duration) -> Result<(), Failure> {
    let unhealthy = |problem: String| Failure::Other(format!("{} is not healthy: {problem}", question.url));
    let deadline = time::Instant::now() + timeout;
    loop {
        // Anew each time: it may just be exchanged.
        let own = question.own.map(tls::server_certificate).transpose().map_err(Failure::other)?;
        let client = Client::new(question.http, own)?;
        match time::timeout_at(deadline, client.get(&question.uri)).await {
            Ok(Ok(StatusCode::OK)) => return Ok(()),
            Ok(Ok(status)) => return Err(unhealthy(format!("it answered {status}{}", remedy(status, &question.uri)))),
            Ok(Err(problem)) if problem.other_certificate && time::Instant::now() + CERTIFICATE_PAUSE < deadline => {
                time::sleep(CERTIFICATE_PAUSE).await;
            }
            Ok(Err(problem)) => return Err(unhealthy(problem.text)),
            Err(_) => return Err(unhealthy(format!("no answer within {} s", timeout.as_secs_f64()))),
        }
    }
}

fn remedy(status: StatusCode, uri: &Uri) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "; give a user and password as basic_auth in --healthcheck.config.file",
        StatusCode::BAD_REQUEST if uri.scheme_str() == Some("http") => {
            "; where it speaks TLS, ask with https:// or give --web.config.file"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one connection with `answer`, or never, and gives what was asked.
    async fn fake(answer: Option<&'static str>) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/-/healthy?x=1", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(stream.read_u8().await.unwrap());
            }
            match answer {
                Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                None => std::future::pending().await,
            }
            String::from_utf8(asked).unwrap()
        });
        (url, server)
    }

    async fn ask(url: &str, timeout: Duration) -> Result<(), Failure> {
        let http = HttpClientConfig::default();
        super::ask(&Question { url, uri: parse(url)?, http: &http, own: None }, timeout).await
    }

    #[tokio::test]
    async fn healthy_is_200() {
        let (url, server) = fake(Some("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")).await;
        ask(&url, TIMEOUT).await.unwrap();
        let asked = server.await.unwrap();
        let host = url.trim_start_matches("http://").split('/').next().unwrap();
        assert!(asked.starts_with("GET /-/healthy?x=1 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains(&format!("host: {host}\r\n")), "{asked}");
    }

    #[tokio::test]
    async fn anything_else_is_one_line() {
        let (url, _server) = fake(Some("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")).await;
        let failure = ask(&url, TIMEOUT).await.unwrap_err();
        assert!(matches!(failure, Failure::Other(_)));
        assert_eq!(failure.to_string(), format!("{url} is not healthy: it answered 503 Service Unavailable"));

        let (url, _server) = fake(Some("SSH-2.0-OpenSSH_9.9\r\n")).await;
        let failure = ask(&url, TIMEOUT).await.unwrap_err().to_string();
        assert!(failure.starts_with(&format!("{url} is not healthy: invalid HTTP")), "{failure}");

        let (url, _server) = fake(Some("")).await;
        let failure = ask(&url, TIMEOUT).await.unwrap_err().to_string();
        assert!(failure.starts_with(&format!("{url} is not healthy: ")), "{failure}");

        let (url, _server) = fake(None).await;
        let failure = ask(&url, Duration::from_millis(50)).await.unwrap_err().to_string();
        assert_eq!(failure, format!("{url} is not healthy: no answer within 0.05 s"));
    }

    #[tokio::test]
    async fn nobody_there_is_unhealthy() {
        let listener = TcpListener::bind("[::1]:0").await.unwrap();
        let url = format!("http://[::1]:{}/-/healthy", listener.local_addr().unwrap().port());
        drop(listener);
        let failure = ask(&url, TIMEOUT).await.unwrap_err().to_string();
        assert!(failure.starts_with(&format!("{url} is not healthy: Connection refused")), "{failure}");
    }

    #[test]
    fn only_http_is_asked_and_no_user_is_sent() {
        for url in ["ftp://127.0.0.1:1/", "127.0.0.1:1", "/-/healthy", "https://user:s3cr3t@127.0.0.1:1/", "http://"] {
            let failure = parse(url).unwrap_err();
            assert!(matches!(failure, Failure::Usage(_)), "{url}: {failure}");
            assert!(!failure.to_string().contains("s3cr3t"));
        }
    }

    #[test]
    fn its_own_address_has_several_names() {
        let listening = |text: &str| vec![text.parse::<ListenAddress>().unwrap()];
        let own = |url: &str, address: &str| is_own(&url.parse().unwrap(), &listening(address));
        assert!(own("https://127.0.0.1:10112/-/ready", ":10112"));
        assert!(own("https://localhost:10112/", "0.0.0.0:10112"));
        assert!(own("https://[::1]:10112/", "localhost:10112"));
        assert!(own("https://exporter.example:10112/", "exporter.example:10112"));
        assert!(!own("https://exporter.example:10112/", ":10112"));
        assert!(!own("https://localhost:10113/", ":10112"));
        assert!(!own("https://localhost/", ":10112"));
        assert!(!own("https://localhost:10112/", "192.0.2.1:10112"));
    }
}
