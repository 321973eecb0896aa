//! Which addresses are believed: the configured origin, https or loopback, and nothing else.

use url::Url;

use crate::config::proxy::is_loopback;
use crate::source::SourceError;
use crate::status::FailureReason;

/// The longest link that is followed. The service's own, with their skip tokens, stay below 4 KiB.
const MAX_LINK_BYTES: usize = 16 * 1024;

/// Whether requests to this address may be sent: https, or http to the machine itself.
pub(super) fn is_protected(url: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => is_loopback(url),
        _ => false,
    }
}

/// Whether an address has the scheme, host and port of another and carries no user.
pub(super) fn is_same_origin(url: &Url, origin: &Url) -> bool {
    url.origin().is_tuple() && url.origin() == origin.origin() && url.username().is_empty() && url.password().is_none()
}

/// A configured path, with its query if it has one, below the service's origin.
pub fn below(origin: &Url, path: &str) -> Url {
    let mut url = origin.clone();
    // Set, not joined: a path such as `//host/x` would otherwise lead to another host.
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    url.set_path(path);
    url.set_query(query);
    url
}

/// The address of the next page, as the service names it on the page at `current`.
pub fn follow(link: &str, current: &Url) -> Result<Url, SourceError> {
    let refuse =
        |why: String| SourceError::new(FailureReason::Paging, format!("the answer's nextLink is refused: {why}"));
    if link.len() > MAX_LINK_BYTES {
        return Err(refuse(format!("it has {} bytes, at most {MAX_LINK_BYTES} are followed", link.len())));
    }
    let next = current.join(link).map_err(|error| refuse(format!("it is no address ({error})")))?;
    if is_same_origin(&next, current) {
        return Ok(next);
    }
    let (found, own) = (next.origin().ascii_serialization(), current.origin().ascii_serialization());
    Err(refuse(format!(
        "it leads to {found}, and the token is for {own} only; if that is a gateway, name it in graph_url"
    )))
}

/// The address of a download, as the service names it: on whatever host, but https or the machine itself,
/// and without a user, so that nobody on the way reads what it opens.
pub fn download(link: &str) -> Result<Url, SourceError> {
    let refuse = |why: String| {
        let message = format!("the address of the download is refused: {why}");
        SourceError::new(FailureReason::InvalidResponse, message)
    };
    if link.len() > MAX_LINK_BYTES {
        return Err(refuse(format!("it has {} bytes, at most {MAX_LINK_BYTES} are followed", link.len())));
    }
    let url = Url::parse(link).map_err(|error| refuse(format!("it is no address ({error})")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it holds a user or password".to_owned()));
    }
    if is_protected(&url) {
        return Ok(url);
    }
    Err(refuse(format!(
        "it leads to {}, and only https keeps its signature secret",
        url.origin().ascii_serialization()
    )))
}

/// An address for messages and logs: without its query, which may hold tokens and filters.
pub fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn plain_http_is_for_the_machine_itself() {
        for text in [
            "https://graph.microsoft.com",
            "http://127.0.0.1:80",
            "http://127.9.9.9",
            "http://[::1]:1",
            "http://localhost",
        ] {
            assert!(is_protected(&url(text)), "{text}");
        }
        for text in [
            "http://graph.microsoft.com",
            "http://localhost.example",
            "http://10.0.0.1",
            "ftp://localhost",
            "file:///x",
        ] {
            assert!(!is_protected(&url(text)), "{text}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin = url("https://graph.microsoft.com");
        for text in ["https://graph.microsoft.com:443/x?y", "https://GRAPH.microsoft.com/"] {
            assert!(is_same_origin(&url(text), &origin), "{text}");
        }
        for text in [
            "http://graph.microsoft.com:443/",
            "https://graph.microsoft.com:8443/",
            "https://graph.microsoft.com.evil.example/",
            "https://graph.microsoft.com@evil.example/",
            "https://user:word@graph.microsoft.com/",
            "https://user@graph.microsoft.com/",
            "data:text/plain,x",
        ] {
            assert!(!is_same_origin(&url(text), &origin), "{text}");
        }
    }

    #[test]
    fn configured_paths_stay_below_the_origin() {
        let origin = url("https://gateway.example:8443");
        for (path, expected) in [
            ("/archive/sessions", "https://gateway.example:8443/archive/sessions"),
            (
                "archive/sessions?$filter=a eq 'b'",
                "https://gateway.example:8443/archive/sessions?$filter=a%20eq%20%27b%27",
            ),
            ("//evil.example/x", "https://gateway.example:8443//evil.example/x"),
            ("https://evil.example/x", "https://gateway.example:8443/https://evil.example/x"),
        ] {
            assert_eq!(below(&origin, path).as_str(), expected);
        }
    }

    #[test]
    fn links_are_followed_on_the_same_origin_only() {
        let current = url("https://graph.example/v1/sessions?$top=5");
        let next = |link: &str| follow(link, &current).map(String::from).map_err(|error| error.message);
        assert_eq!(
            next("https://graph.example/v1/sessions?$skiptoken=a%2Bb").unwrap(),
            "https://graph.example/v1/sessions?$skiptoken=a%2Bb"
        );
        assert_eq!(next("sessions?$skip=5").unwrap(), "https://graph.example/v1/sessions?$skip=5");
        for foreign in
            ["https://evil.example/v1", "//evil.example/v1", "http://graph.example/v1", "https://graph.example:444/"]
        {
            let message = next(foreign).unwrap_err();
            assert!(message.contains("the token is for https://graph.example only"), "{message}");
        }
        assert!(next(&"x".repeat(20_000)).unwrap_err().contains("20000 bytes"));
        assert!(next("https://[").unwrap_err().contains("no address"));
        assert!(!next("https://evil.example/?secret=1").unwrap_err().contains("secret"));
    }

    #[test]
    fn downloads_come_from_any_host_that_nobody_can_listen_to() {
        for link in ["https://blob.example/a/b.zip?sig=x%2By", "http://127.0.0.1:8080/b.zip?sig=x"] {
            assert_eq!(download(link).unwrap().as_str(), link);
        }
        let refusal = |link: &str| download(link).unwrap_err().message;
        insta::assert_snapshot!(
            ["http://blob.example/b.zip?sig=s3cr3t", "https://user:s3cr3t@blob.example/", "file:///s3cr3t", "s3cr3t", &"x".repeat(20_000)]
                .map(refusal)
                .join("\n"),
            @r"
        the address of the download is refused: it leads to http://blob.example, and only https keeps its signature secret
        the address of the download is refused: it holds a user or password
        the address of the download is refused: it leads to null, and only https keeps its signature secret
        the address of the download is refused: it is no address (relative URL without a base)
        the address of the download is refused: it has 20000 bytes, at most 16384 are followed
        "
        );
    }
}
