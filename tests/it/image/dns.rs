//! A name server that knows one name.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::support::wait_for;

/// Its end of a query's header: name type and class.
const A: [u8; 4] = [0, 1, 0, 1];

/// Answers until it is dropped.
pub struct Server {
    address: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Tells this address for the name, and that there is no other name. Resolvers ask port 53 only, so it
    /// looks for an address of the loopback network where that port is free.
    pub fn start(name: &str, address: [u8; 4]) -> Self {
        let (socket, own) = wait_for("a free port 53", || {
            let own = format!("127.{}.{}.{}", rand::random::<u8>(), rand::random::<u8>(), rand::random_range(1..255));
            Some((UdpSocket::bind((own.as_str(), 53)).ok()?, own))
        });
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, name) = (stop.clone(), encoded(name));
        let thread = std::thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut query) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let _ = socket.send_to(&answer(&query[..length], &name, address), client);
            }
        });
        Self { address: own, stop, thread: Some(thread) }
    }

    /// Where it answers, on port 53.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes it.
        let _ = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(&[0], (self.address.as_str(), 53)));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A name as it stands in a message: its labels, each after its length.
fn encoded(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    labels.chain([0]).collect()
}

/// The answer to a query of one question: header of twelve bytes, name, type and class.
fn answer(query: &[u8], name: &[u8], address: [u8; 4]) -> Vec<u8> {
    let question_end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let question = &query[12..question_end];
    let known = question.to_ascii_lowercase().starts_with(name);
    let tells = known && question.ends_with(&A);
    // An answer, with recursion; no error, or no such name.
    let flags = [0x81, if known { 0x80 } else { 0x83 }];
    let mut message = [&query[..2], &flags, &[0, 1, 0, u8::from(tells), 0, 0, 0, 0], question].concat();
    if tells {
        // The name of the question, for a minute.
        message.extend([&[0xc0, 12], &A[..], &[0, 0, 0, 60, 0, 4], &address].concat());
    }
    message
}
