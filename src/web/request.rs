//! What RFC 9112 demands of a request and hyper lets pass: a Host that is one, and a target of the form
//! that belongs to the method. What is not clear to all on the way is how proxies are fooled.

use std::sync::OnceLock;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Version};

/// Why a request cannot be answered, whatever it asks for. `known` keeps a host that is one for the connection's
/// next requests.
pub(super) fn problem<B>(request: &Request<B>, known: &OnceLock<HeaderValue>) -> Option<&'static str> {
    if !has_one_host(request, known) {
        Some("One Host header with a host in it is needed.\n")
    } else if !has_fitting_target(request) {
        Some("The target should be a path, such as /metrics.\n")
    } else {
        None
    }
}

/// §3.2: exactly one, and a valid one. HTTP/1.0 had none, and HTTP/2 has a field of its own for it
/// (RFC 9113, §8.3.1).
fn has_one_host<B>(request: &Request<B>, known: &OnceLock<HeaderValue>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version() == Version::HTTP_2 => request.uri().authority().is_some(),
        (None, _) => request.version() < Version::HTTP_11,
        (Some(host), None) if known.get() == Some(host) => true,
        (Some(host), None) => {
            is_host(host.as_bytes()) && {
                // Copied: the request's own holds all of its bytes.
                if let Ok(host) = HeaderValue::from_bytes(host.as_bytes()) {
                    let _ = known.set(host);
                }
                true
            }
        }
        (Some(_), Some(_)) => false,
    }
}

/// Empty where the target has no authority.
fn is_host(host: &[u8]) -> bool {
    host.is_empty() || (!host.contains(&b'@') && Authority::try_from(host).is_ok())
}

/// §3.2.3 and §3.2.4: an authority alone is CONNECT's, and an asterisk OPTIONS'.
fn has_fitting_target<B>(request: &Request<B>) -> bool {
    match *request.method() {
        Method::CONNECT => true,
        Method::OPTIONS => request.uri().path().starts_with('/') || request.uri().path() == "*",
        _ => request.uri().path().starts_with('/'),
    }
}

/// Whether a request is for no page at all but for the server or a way through it.
pub(super) fn is_for_no_page<B>(request: &Request<B>) -> bool {
    !request.uri().path().starts_with('/') || request.method() == Method::CONNECT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(method: &str, target: &str, version: Version, hosts: &[&str]) -> bool {
        told_after(&OnceLock::new(), method, target, version, hosts)
    }

    fn told_after(known: &OnceLock<HeaderValue>, method: &str, target: &str, version: Version, hosts: &[&str]) -> bool {
        let mut request = Request::builder().method(method).uri(target).version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        problem(&request.body(()).unwrap(), known).is_some()
    }

    #[test]
    fn a_host_is_one() {
        for host in ["a", "a:80", "[::1]:80", "192.0.2.1", ""] {
            assert!(!told("GET", "/", Version::HTTP_11, &[host]), "{host}");
        }
        for host in ["a b", "a/b", "u@a", "http://a", "[::1", "a,b c"] {
            assert!(told("GET", "/", Version::HTTP_11, &[host]), "{host}");
        }
        assert!(told("GET", "/", Version::HTTP_11, &["a", "a"]));
        assert!(told("GET", "/", Version::HTTP_10, &["a", "b"]));
        assert!(told("GET", "/", Version::HTTP_11, &[]));
        assert!(!told("GET", "/", Version::HTTP_10, &[]));
        assert!(!told("GET", "https://a/", Version::HTTP_2, &[]));
        assert!(told("GET", "/", Version::HTTP_2, &[]));
    }

    #[test]
    fn what_is_known_of_a_connection_admits_nothing_else() {
        let known = OnceLock::new();
        for (hosts, refused) in [
            (&["a b"][..], true),
            (&["a"], false),
            (&["a"], false),
            (&["b"], false),
            (&["a b"], true),
            (&["a"; 2], true),
        ] {
            assert_eq!(told_after(&known, "GET", "/", Version::HTTP_11, hosts), refused, "{hosts:?}");
        }
        assert!(told_after(&known, "GET", "a:80", Version::HTTP_11, &["a"]));
    }

    #[test]
    fn the_target_fits_the_method() {
        for (method, target) in [("GET", "/"), ("GET", "http://a"), ("OPTIONS", "*"), ("CONNECT", "a:80")] {
            assert!(!told(method, target, Version::HTTP_11, &["a"]), "{method} {target}");
        }
        for (method, target) in [("GET", "*"), ("GET", "a:80"), ("POST", "metrics"), ("OPTIONS", "a:80")] {
            assert!(told(method, target, Version::HTTP_11, &["a"]), "{method} {target}");
        }
    }
}
