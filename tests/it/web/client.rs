//! A client that sends exactly the bytes it is told to.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::within;

pub(super) struct Client {
    stream: BufReader<TcpStream>,
}

#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self::of(within(TcpStream::connect(address)).await.unwrap())
    }

    pub(super) fn of(stream: TcpStream) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// One request without a body and its answer. The connection stays open.
    pub(super) async fn request(&mut self, method: &str, target: &str) -> Response {
        self.request_with(method, target, "").await
    }

    /// The same with more header lines, each with its line end.
    pub(super) async fn request_with(&mut self, method: &str, target: &str, headers: &str) -> Response {
        self.send(&format!("{method} {target} HTTP/1.1\r\nHost: exporter\r\n{headers}\r\n")).await;
        self.response_to(method).await
    }

    pub(super) async fn send(&mut self, bytes: &str) {
        within(self.stream.get_mut().write_all(bytes.as_bytes())).await.unwrap();
    }

    /// Sends nothing more, but still reads.
    pub(super) async fn close_writing(&mut self) {
        within(self.stream.get_mut().shutdown()).await.unwrap();
    }

    /// The next answer, whose body ends where Content-Length says.
    pub(super) async fn response_to(&mut self, method: &str) -> Response {
        let status_line = self.line().await;
        let status = status_line.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {status_line:?}"));
        let mut response = Response { status: status.parse().unwrap(), headers: Vec::new(), body: Vec::new() };
        loop {
            let line = self.line().await;
            match line.split_once(": ") {
                Some((name, value)) => response.headers.push((name.to_ascii_lowercase(), value.to_owned())),
                None => break,
            }
        }
        if method != "HEAD" {
            let length = response.header("content-length").unwrap().parse().unwrap();
            response.body = vec![0; length];
            within(self.stream.read_exact(&mut response.body)).await.unwrap();
        }
        response
    }

    /// The first line of an answer; the rest stays to be read.
    pub(super) async fn begins(&mut self) -> String {
        self.line().await
    }

    /// The body of an answer whose first line was read.
    pub(super) async fn rest_of_answer(&mut self) -> Vec<u8> {
        let mut length = 0;
        loop {
            let line = self.line().await.to_ascii_lowercase();
            match line.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().unwrap(),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        within(self.stream.read_exact(&mut body)).await.unwrap();
        body
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        within(self.stream.read_line(&mut line)).await.unwrap();
        line.trim_end().to_owned()
    }

    /// What comes until the server closes the connection, in whichever way.
    pub(super) async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        // A reset loses nothing that was read before it.
        let _ = within(self.stream.read_to_end(&mut bytes)).await;
        String::from_utf8(bytes).unwrap()
    }
}

impl Response {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// All headers but the date, which moves.
    pub(super) fn lasting_headers(&self) -> Vec<&(String, String)> {
        self.headers.iter().filter(|(name, _)| name != "date").collect()
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}
