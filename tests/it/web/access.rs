//! What the web configuration asks of requests and answers.

use std::path::Path;
use std::sync::Arc;

use remote_assistance_exporter::config::WebConfig;
use remote_assistance_exporter::web::Access;

use super::Server;

/// A server with this web configuration.
fn with(yaml: &str) -> Server {
    let config = WebConfig::from_yaml(yaml, Path::new("web.yml")).unwrap();
    Server::with(|state| state.access = Arc::new(Access::new(&config).unwrap()))
}

#[tokio::test]
async fn headers_are_set_on_every_answer_in_place_of_its_own() {
    let server = with(
        "http_server_config:\n  headers:\n    Content-Security-Policy: default-src 'none'\n    X-Frame-Options: deny\n    \
         Strict-Transport-Security: max-age=31536000; includeSubDomains\n",
    );
    for (method, path, status) in
        [("GET", "/", 200), ("GET", "/metrics", 200), ("HEAD", "/-/ready", 503), ("GET", "/x", 404), ("PUT", "/", 405)]
    {
        let answer = server.connect().await.request(method, path).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("content-security-policy"), Some("default-src 'none'"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("deny"), "{path}");
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000; includeSubDomains"), "{path}");
        assert_eq!(answer.header("x-xss-protection"), None, "{path}");
    }
}
