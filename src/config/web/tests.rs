//! Each rule of the web configuration with its message, and what good files come to.

use std::path::Path;

use super::*;

fn read(yaml: &str) -> Result<WebConfig, String> {
    WebConfig::from_yaml(yaml, Path::new("web.yml")).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_asks_for_nothing() {
    for yaml in ["", "# nothing\n", "{}", "tls_server_config: {}", "tls_server_config:", "rate_limit: {interval: 0}"] {
        assert_eq!(read(yaml), Ok(WebConfig::default()), "{yaml:?}");
    }
}
