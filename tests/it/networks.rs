//! The way to Graph: proxies, addresses, connections, versions of HTTP, and limits of requests.
//!
//! - `proxies`: by key and by environment; what each refusal of a proxy says.
//! - `connections`: how many there are, HTTP/2, and what becomes of those that break.
//! - `addresses`: IPv6, and files with several authorities.
//! - `limits`: requests are held back before the service has to refuse them.

mod addresses;
mod connections;
mod h2_server;
mod limits;
mod proxies;
mod proxy;
