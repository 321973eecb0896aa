//! Between the thread that reads files and the poll that counts: pages, and whether the thread moves.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::content::Fault;
use crate::source::Page;

/// Pages that wait between the two.
const WAITING_PAGES: usize = 2;

/// What the thread that reads says, with the file's place in the plan.
pub(super) enum Told {
    Page(usize, Page),
    /// The file's end or fault.
    End(usize, Result<(), Fault>),
    /// It changed while it was read, or before.
    Changed(usize),
}

/// The thread's side.
pub(super) struct Teller {
    told: Sender<Told>,
    moves: Arc<AtomicU64>,
}

/// The poll's side.
pub(super) struct Listener {
    told: Receiver<Told>,
    moves: Arc<AtomicU64>,
}

/// The thread has read nothing for too long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hangs;

/// A file whose every read is noted.
pub(super) struct Watched<'a, R> {
    file: R,
    moves: &'a AtomicU64,
}

pub(super) fn pair() -> (Teller, Listener) {
    let ((teller, told), moves) = (channel(WAITING_PAGES), Arc::<AtomicU64>::default());
    (Teller { told: teller, moves: moves.clone() }, Listener { told, moves })
}

impl Teller {
    /// Says something; whether anybody listens.
    pub fn tell(&self, told: Told) -> bool {
        self.told.blocking_send(told).is_ok()
    }

    /// Reads a file so that the listener sees that it goes on. A page may be long in coming, as an
    /// archive is inflated to its end first.
    pub fn watch<R>(&self, file: R) -> Watched<'_, R> {
        Watched { file, moves: &self.moves }
    }
}

impl Listener {
    /// The next that is said, `None` after the last. Waits as long as anything was read within `patience`.
    pub async fn next(&mut self, patience: Duration) -> Result<Option<Told>, Hangs> {
        loop {
            let before = self.moves.load(Ordering::Relaxed);
            match tokio::time::timeout(patience, self.told.recv()).await {
                Ok(told) => return Ok(told),
                Err(_) if self.moves.load(Ordering::Relaxed) == before => return Err(Hangs),
                Err(_) => {}
            }
        }
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.moves.fetch_add(1, Ordering::Relaxed);
        Ok(read)
    }
}

impl<R: Seek> Seek for Watched<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_slow_file_is_waited_for_and_one_that_gives_nothing_is_not() {
        let (teller, mut listener) = pair();
        let slow = tokio::spawn(async move {
            let mut file = teller.watch(io::repeat(0));
            for _ in 0..20 {
                tokio::time::sleep(PATIENCE / 2).await;
                file.read_exact(&mut [0]).unwrap();
            }
            teller.told.send(Told::Changed(0)).await.unwrap();
            teller
        });
        assert!(matches!(listener.next(PATIENCE).await, Ok(Some(Told::Changed(0)))));
        let teller = slow.await.unwrap();
        assert!(matches!(listener.next(PATIENCE).await, Err(Hangs)));
        drop(teller);
        assert!(matches!(listener.next(PATIENCE).await, Ok(None)));
    }
}
