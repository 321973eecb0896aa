//! A proxy that makes tunnels, or refuses to.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What it does with a tunnel that is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// Makes one to here, whatever host was named.
    Tunnel(SocketAddr),
    /// Says this status line.
    Status(&'static str),
    /// Closes the connection.
    Silence,
}

/// A running proxy. Its threads end with the test's process.
pub struct Proxy {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let record = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let record = record.clone();
                std::thread::spawn(move || serve(stream, answer, &record));
            }
        });
        Self { address, asked }
    }

    /// What it was asked, one line each: the request's first line, and the credentials with it.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(mut client: TcpStream, answer: Answer, record: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if client.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    let credentials =
        fields.filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authorization")).map(|(_, value)| value);
    let asked = head.lines().take(1).chain(credentials).collect::<Vec<_>>().join(" | ");
    record.lock().unwrap().push(asked);
    match answer {
        Answer::Silence => {}
        Answer::Status(status) => {
            let _ = client.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes());
        }
        Answer::Tunnel(to) => {
            let server = TcpStream::connect(to).unwrap();
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
            let (up, down) = ((client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client));
            std::thread::spawn(move || copy(up.0, up.1));
            copy(down.0, down.1);
        }
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    // A connection that breaks is its owner's business.
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
