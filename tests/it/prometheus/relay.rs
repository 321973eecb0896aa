//! One address for a program that is started again and gets another port each time: connections
//! are handed on to where it listens now.

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Hands connections on for as long as the tests run.
pub struct Relay {
    address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    compressed: Arc<AtomicUsize>,
}

impl Relay {
    /// A relay to an address.
    pub fn new(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(Mutex::new(target));
        let (now, compressed) = (target.clone(), Arc::new(AtomicUsize::new(0)));
        let seen = compressed.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Nobody there: the client's connection closes, as it would without us.
                if let Ok(server) = TcpStream::connect(*now.lock().unwrap()) {
                    hand_on(&client, &server, &seen).unwrap();
                }
            }
        });
        Self { address, target, compressed }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many answers went by that said they were compressed.
    pub fn compressed(&self) -> usize {
        self.compressed.load(Ordering::SeqCst)
    }

    /// Hands new connections on to another address.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = target;
    }
}

/// Copies both ways until either side closes; then both are closed.
fn hand_on(client: &TcpStream, server: &TcpStream, compressed: &Arc<AtomicUsize>) -> io::Result<()> {
    for (from, to) in [(client, server), (server, client)] {
        let (mut from, mut to) = (Watched(from.try_clone()?, compressed.clone()), to.try_clone()?);
        std::thread::spawn(move || {
            // A reset is one of the ways to close.
            let _ = io::copy(&mut from, &mut to);
            let _ = from.0.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

/// Counts the heads of compressed answers, each of which comes in one piece.
struct Watched(TcpStream, Arc<AtomicUsize>);

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.0.read(buffer)?;
        let head = String::from_utf8_lossy(&buffer[..length.min(1024)]).to_ascii_lowercase();
        if head.starts_with("http/1.1 200 ") && head.contains("\r\ncontent-encoding: gzip\r\n") {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
        Ok(length)
    }
}
