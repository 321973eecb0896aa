//! `healthcheck`: asks the running exporter, for containers without a shell.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Failure;
use crate::cli::{Healthcheck, ListenAddress};

/// How long the answer may take. The page waits for nothing, so a slower one is not healthy; and
/// container engines mostly give a probe 5 to 30 seconds.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks the address given by flag, or the one that this exporter would listen on.
///
/// # Errors
/// No answer within five seconds, or another one than 200.
pub fn run(flags: &Healthcheck, listening: &[ListenAddress]) -> Result<(), Failure> {
    let url = match (&flags.url, listening.first()) {
        (Some(url), _) => url.clone(),
        (None, Some(address)) => format!("http://{}/-/healthy", address.local_authority()),
        (None, None) => return Err(Failure::Usage("there is no address to ask; give --healthcheck.url".to_owned())),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Other(format!("cannot start: {error}")))?;
    runtime.block_on(ask(&url, TIMEOUT))
}

async fn ask(url: &str, timeout: Duration) -> Result<(), Failure> {
    let usage =
        || Failure::Usage("--healthcheck.url: write http://, a host, a port and a path, and no user".to_owned());
    let uri: Uri = url.parse().map_err(|_| usage())?;
    let user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if uri.scheme_str() != Some("http") || user {
        return Err(usage());
    }
    let unhealthy = |problem: String| Failure::Other(format!("{url} is not healthy: {problem}"));
    match tokio::time::timeout(timeout, get(&uri)).await {
        Ok(Ok(StatusCode::OK)) => Ok(()),
        Ok(Ok(status)) => Err(unhealthy(format!("it answered {status}"))),
        Ok(Err(problem)) => Err(unhealthy(problem)),
        Err(_) => Err(unhealthy(format!("no answer within {} s", timeout.as_secs_f64()))),
    }
}

/// The status of one GET.
async fn get(uri: &Uri) -> Result<StatusCode, String> {
    /// HTTP's own.
    const DEFAULT_PORT: u16 = 80;
    let host = uri.host().unwrap_or_default();
    let address = (host.trim_start_matches('[').trim_end_matches(']'), uri.port_u16().unwrap_or(DEFAULT_PORT));
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, uri.authority().map_or(host, |authority| authority.as_str()))
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request);
    tokio::pin!(connection, answer);
    // The connection does the work, and may end together with the answer.
    tokio::select! {
        biased;
        answer = &mut answer => answer.map(|answer| answer.status()).map_err(|error| error.to_string()),
        _ = &mut connection => answer.await.map(|answer| answer.status()).map_err(|error| error.to_string()),
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

    #[tokio::test]
    async fn only_plain_http_is_asked() {
        for url in ["https://127.0.0.1:1/", "127.0.0.1:1", "/-/healthy", "http://user:s3cr3t@127.0.0.1:1/", "http://"] {
            let failure = ask(url, TIMEOUT).await.unwrap_err();
            assert!(matches!(failure, Failure::Usage(_)), "{url}: {failure}");
            assert!(!failure.to_string().contains("s3cr3t"));
        }
    }
}
