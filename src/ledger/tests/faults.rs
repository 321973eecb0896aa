//! Storage that fails at the n-th operation, for every n: what is shown is what is stored, nothing
//! is lost, nothing is counted twice.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use redb::StorageBackend;
use redb::backends::{FileBackend, InMemoryBackend};

use super::*;
use crate::ledger::files::{Files, Opener};

/// How many more writing operations succeed; far more than there are when healthy.
#[derive(Debug, Clone)]
pub(super) struct Fuse(pub(super) Arc<AtomicU64>);

pub(super) const HEALTHY: u64 = 1 << 40;

impl Fuse {
    fn burn(&self) -> io::Result<()> {
        let left = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(1)));
        if left == Ok(0) { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
    }

    pub(super) fn set(&self, left: u64) {
        self.0.store(left, Ordering::SeqCst);
    }
}

#[derive(Debug)]
pub(super) struct Fused<B> {
    pub(super) below: B,
    pub(super) fuse: Fuse,
}

impl<B: StorageBackend> StorageBackend for Fused<B> {
    fn len(&self) -> io::Result<u64> {
        self.below.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.below.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.fuse.burn()?;
        self.below.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.fuse.burn()?;
        self.below.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.fuse.burn()?;
        self.below.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.below.close()
    }
}

pub(super) fn fused(directory: &Path, fuse: &Fuse, settings: Settings) -> Ledger {
    let fuse = fuse.clone();
    let opener: Opener = Box::new(move |path| {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path)?;
        redb::Builder::new().create_with_backend(Fused { below: FileBackend::new(file)?, fuse: fuse.clone() })
    });
    Ledger::open_files(Files::lock_with(directory, opener).unwrap(), settings, noon()).unwrap()
}

#[test]
fn a_commit_that_fails_at_any_step_is_as_if_it_had_never_been_tried() {
    let mut failures = 0;
    for step in 0.. {
        let directory = tempfile::tempdir().unwrap();
        let fuse = Fuse(Arc::new(AtomicU64::new(HEALTHY)));
        let mut ledger = fused(directory.path(), &fuse, settings());
        count(&mut ledger, reading(vec![session("1", TimeDelta::hours(1))]));
        let before = ledger.snapshot();
        let second = reading((2..40).map(|n| session(&n.to_string(), TimeDelta::hours(n))).collect());
        fuse.set(step);
        let result = ledger.commit(std::slice::from_ref(&second));
        let failed = result.is_err();
        if let Err(error) = result {
            failures += 1;
            assert!(error.to_string().contains("nothing was counted and the next poll tries again"), "{error}");
            assert!(Arc::ptr_eq(&before, &ledger.snapshot()), "a failed commit shows nothing new");
            // It stays broken: still nothing is shown, and nothing panics.
            ledger.commit(std::slice::from_ref(&second)).unwrap_err();
        }
        fuse.set(HEALTHY);
        count(&mut ledger, second.clone());
        let totals = contoso(&ledger);
        assert_eq!(totals.counted(), 39, "step {step}");
        assert_identity(&totals);
        drop(ledger);
        let mut ledger = open(directory.path());
        assert_eq!(contoso(&ledger), totals, "step {step}: what was shown is what is stored");
        assert_eq!(count(&mut ledger, second).fates[totals::Fate::Duplicate], 38);
        if !failed {
            break;
        }
    }
    assert!(failures > 5, "the fuse burnt in only {failures} commits");
}

/// Keeps the file as it was after every operation.
#[derive(Debug)]
struct Recording {
    below: InMemoryBackend,
    steps: Arc<Mutex<Vec<Vec<u8>>>>,
}
impl Recording {
    fn keep(&self) -> io::Result<()> {
        let mut copy = vec![0; usize::try_from(self.below.len()?).map_err(io::Error::other)?];
        self.below.read(0, &mut copy)?;
        self.steps.lock().unwrap().push(copy);
        Ok(())
    }
}
impl StorageBackend for Recording {
    fn len(&self) -> io::Result<u64> {
        self.below.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.below.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.below.set_len(len)?;
        self.keep()
    }
    fn sync_data(&self) -> io::Result<()> {
        self.below.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.below.write(offset, data)?;
        self.keep()
    }
}

/// A disk that keeps only what was written before the power went: the file as of every operation.
#[test]
fn power_that_goes_at_any_step_leaves_one_of_two_states() {
    let directory = tempfile::tempdir().unwrap();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let recorded = steps.clone();
    let opener: Opener = Box::new(move |_| {
        let below = Recording { below: InMemoryBackend::new(), steps: recorded.clone() };
        let database = redb::Builder::new().create_with_backend(below)?;
        crate::ledger::store::lay(&database).unwrap();
        Ok(database)
    });
    let mut ledger =
        Ledger::open_files(Files::lock_with(directory.path(), opener).unwrap(), settings(), noon()).unwrap();
    count(&mut ledger, reading(vec![session("1", TimeDelta::hours(1))]));
    steps.lock().unwrap().clear();
    let second = reading((2..20).map(|n| session(&n.to_string(), TimeDelta::hours(n))).collect());
    count(&mut ledger, second.clone());
    let images = std::mem::take(&mut *steps.lock().unwrap());
    assert!(images.len() > 5, "only {} writes", images.len());
    let mut seen = [false; 2];
    for (step, image) in images.iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ledger.redb"), image).unwrap();
        let mut ledger = open(directory.path());
        let counted = contoso(&ledger).counted();
        assert!(counted == 1 || counted == 19, "step {step}: {counted}");
        seen[usize::from(counted == 19)] = true;
        count(&mut ledger, second.clone());
        assert_eq!(contoso(&ledger).counted(), 19, "step {step}");
    }
    assert_eq!(seen, [true, true]);
}
