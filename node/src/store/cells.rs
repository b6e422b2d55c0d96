//! Sealed tokens in a file beside the database, each in as many units as it needs. sled holds up to
//! sixteen thousand pages in memory whatever the size of its cache: with tokens in them that was
//! 700 MiB for 100 000 alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::StoreError;

/// Bytes of a unit: half of one is lost with each token, and a length tells that much less.
const UNIT_BYTES: u64 = 256;

/// Bytes by which the file grows: overwriting in place syncs ten times faster than appending.
const PIECE_BYTES: u64 = 2 * 1024 * 1024;

/// Where a cell lies: its first unit, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) units: u64,
}

impl Run {
    /// What `length` bytes take, from unit `first` on.
    pub(super) fn of(first: u64, length: u32) -> Self {
        Self { first, units: u64::from(length).div_ceil(UNIT_BYTES).max(1) }
    }

    fn end(self) -> u64 {
        self.first.saturating_add(self.units)
    }
}

/// A run that is taken; given back when it goes without having been written.
pub(super) struct Taken {
    run: Run,
    free: Arc<Mutex<Free>>,
    kept: AtomicBool,
}

impl Taken {
    pub(super) fn first(&self) -> u64 {
        self.run.first
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.kept.load(Ordering::Relaxed) {
            self.free.lock().unwrap_or_else(PoisonError::into_inner).give(self.run);
        }
    }
}

/// The units that no record names, by place and by length.
#[derive(Default)]
struct Free {
    by_place: BTreeMap<u64, u64>,
    by_length: BTreeSet<(u64, u64)>,
    /// From here on all are free.
    end: u64,
}

impl Free {
    /// All but those that are named.
    fn all_but(mut named: Vec<Run>) -> Self {
        named.sort_unstable();
        let mut free = Self::default();
        for run in named {
            if let Some(units) = run.first.checked_sub(free.end).filter(|units| *units > 0) {
                free.add(Run { first: free.end, units });
            }
            free.end = free.end.max(run.end());
        }
        free
    }

    /// The shortest run that is long enough, else one at the end.
    fn take(&mut self, units: u64) -> Run {
        let Some(&(length, first)) = self.by_length.range((units, 0)..).next() else {
            let first = self.end;
            self.end += units;
            return Run { first, units };
        };
        self.remove(Run { first, units: length });
        if length > units {
            self.add(Run { first: first + units, units: length - units });
        }
        Run { first, units }
    }

    /// Joins it with what is free beside it.
    fn give(&mut self, mut run: Run) {
        let before = self.by_place.range(..run.first).next_back();
        let before = before.map(|(first, units)| Run { first: *first, units: *units });
        if let Some(before) = before.filter(|before| before.end() == run.first) {
            self.remove(before);
            run = Run { first: before.first, units: before.units + run.units };
        }
        if let Some(units) = self.by_place.get(&run.end()).copied() {
            self.remove(Run { first: run.end(), units });
            run.units += units;
        }
        if run.end() >= self.end { self.end = run.first } else { self.add(run) }
    }

    fn add(&mut self, run: Run) {
        self.by_place.insert(run.first, run.units);
        self.by_length.insert((run.units, run.first));
    }

    fn remove(&mut self, run: Run) {
        self.by_place.remove(&run.first);
        self.by_length.remove(&(run.units, run.first));
    }
}

pub(super) struct CellFile {
    file: File,
    length: AtomicU64,
    free: Arc<Mutex<Free>>,
    /// Opened for itself: the system tells each opening once that what it wrote did not reach the
    /// disk, and the one that grows must not take the news from the one that keeps.
    growing: Mutex<File>,
    /// End of the last cell that was written since the start.
    used: AtomicU64,
}

impl CellFile {
    /// Opens or makes the file; what is taken before [`Self::release_all_but`] lies at its end.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let (file, growing) = (options.open(path)?, Mutex::new(options.open(path)?));
        let length = file.metadata()?.len();
        let free = Free { end: length.div_ceil(UNIT_BYTES), ..Free::default() };
        let (length, used) = (AtomicU64::new(length), AtomicU64::new(0));
        Ok(Self { file, length, free: Arc::new(Mutex::new(free)), growing, used })
    }

    /// Gives away again whatever no record names.
    pub(super) fn release_all_but(&self, named: Vec<Run>) {
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) = Free::all_but(named);
    }

    /// Takes a run for so many bytes.
    pub(super) fn take(&self, length: u32) -> Taken {
        let units = Run::of(0, length).units;
        let run = self.free.lock().unwrap_or_else(PoisonError::into_inner).take(units);
        Taken { run, free: Arc::clone(&self.free), kept: AtomicBool::new(false) }
    }

    /// Gives away what erased records named, once they are gone for good.
    pub(super) fn release(&self, erased: Vec<Run>) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        erased.into_iter().for_each(|run| free.give(run));
    }

    /// Writes cells; durable when this returns.
    pub(super) fn keep(&self, kept: &[(Taken, Bytes)]) -> Result<(), StoreError> {
        let Some(end) = kept.iter().map(|(taken, _)| taken.run.end()).max() else {
            return Ok(());
        };
        for (taken, _) in kept {
            taken.kept.store(true, Ordering::Relaxed);
        }
        self.grow(offset(end))?;
        self.used.fetch_max(offset(end), Ordering::Relaxed);
        for (taken, sealed) in kept {
            self.file.write_all_at(sealed, offset(taken.run.first))?;
        }
        Ok(self.file.sync_data()?)
    }

    /// Makes room for a piece more than was used, while nobody waits for it.
    pub(super) fn grow_ahead(&self) -> Result<(), StoreError> {
        match self.used.load(Ordering::Relaxed) {
            0 => Ok(()),
            used => self.grow(used + PIECE_BYTES),
        }
    }

    /// Cuts off what no cell takes, for a file that is not written any more.
    pub(super) fn trim(&self) -> Result<(), StoreError> {
        let end = self.free.lock().unwrap_or_else(PoisonError::into_inner).end;
        self.file.set_len(offset(end))?;
        self.length.store(offset(end), Ordering::Release);
        Ok(self.file.sync_all()?)
    }

    fn grow(&self, needed: u64) -> Result<(), StoreError> {
        if needed <= self.length.load(Ordering::Acquire) {
            return Ok(());
        }
        let growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut length = self.length.load(Ordering::Acquire);
        let nothing = vec![0; PIECE_BYTES as usize];
        while length < needed {
            growing.write_all_at(&nothing, length)?;
            length += PIECE_BYTES;
        }
        growing.sync_all()?;
        self.length.store(length, Ordering::Release);
        Ok(())
    }

    /// Whether the file reaches to the end of this cell.
    pub(super) fn has(&self, run: Run) -> bool {
        offset(run.end()) <= self.length.load(Ordering::Acquire)
    }

    /// `length` bytes from `skipped` on, of the cell that begins at unit `first`.
    pub(super) fn read(
        &self,
        first: u64,
        skipped: usize,
        length: usize,
    ) -> Result<Vec<u8>, StoreError> {
        let at = offset(first).saturating_add(skipped as u64);
        let end = at.saturating_add(length as u64);
        if end > self.length.load(Ordering::Acquire) {
            return Err(StoreError::Corrupt("its file of cells is cut off".to_owned()));
        }
        let mut sealed = vec![0; length];
        self.file.read_exact_at(&mut sealed, at)?;
        Ok(sealed)
    }
}

fn offset(unit: u64) -> u64 {
    unit.saturating_mul(UNIT_BYTES)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::id::Entropy;

    /// Thousands of cells of all lengths come and go: no two ever overlap, and what is free in the
    /// end is one piece.
    #[test]
    fn no_two_cells_overlap_and_what_goes_can_be_taken_again() {
        let entropy = Entropy::seeded(1);
        let mut free = Free::default();
        let mut taken: Vec<Run> = Vec::new();
        for step in 0..4000 {
            if taken.len() > 50 || step % 3 == 2 && !taken.is_empty() {
                free.give(taken.swap_remove(entropy.below(taken.len() as u64) as usize));
                continue;
            }
            let run = free.take(1 + entropy.below(40));
            let apart = |other: &Run| run.end() <= other.first || other.end() <= run.first;
            assert!(taken.iter().all(apart), "{run:?}");
            taken.push(run);
        }
        let again = Free::all_but(taken.clone());
        assert_eq!((&again.by_place, again.end), (&free.by_place, free.end));
        taken.into_iter().for_each(|run| free.give(run));
        assert_eq!((free.by_place.len(), free.by_length.len(), free.end), (0, 0, 0));
    }

    #[test]
    fn a_cell_that_was_not_written_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let cells = CellFile::open(&folder.path().join("cells")).unwrap();
        assert_eq!(cells.take(5000).first(), 0);
        let (one, other) = (cells.take(5000), cells.take(300));
        assert_eq!((one.first(), other.first()), (0, 20));
        let kept = [(other, Bytes::from(vec![7; 300]))];
        cells.keep(&kept).unwrap();
        drop(kept);
        drop(one);
        assert_eq!(cells.read(20, 100, 200).unwrap(), vec![7; 200]);
        assert_eq!(cells.take(300).first(), 0, "the place of the one, not that of the other");
        cells.release(vec![Run::of(20, 300)]);
        assert_eq!(cells.take(10_000).first(), 0, "one piece again");
    }
}
