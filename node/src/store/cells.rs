//! Sealed tokens in a file beside the database, a cell for each key slot. sled holds up to sixteen
//! thousand pages in memory whatever the size of its cache: with tokens in them that was 700 MiB
//! for 100 000 alerts.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::StoreError;
use super::schema::SlotId;

/// Bytes of a cell: a person with documents, an object and a place need nine thousand; larger
/// tokens stay in their records.
pub(super) const CELL_BYTES: usize = 12 * 1024;

/// Bytes by which the file grows: overwriting in place syncs ten times faster than appending.
const PIECE_BYTES: usize = 128 * CELL_BYTES;

pub(super) struct CellFile {
    file: File,
    length: AtomicU64,
    /// A separate handle: the system reports a failed write once to each handle, and the one that
    /// grows the file must not take the report from the one that writes cells.
    growing: Mutex<File>,
    /// End of the last cell that was written since the start.
    used: AtomicU64,
}

impl CellFile {
    /// Opens or makes the file.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        let (file, growing) = (options.open(path)?, Mutex::new(options.open(path)?));
        let length = AtomicU64::new(file.metadata()?.len());
        Ok(Self { file, length, growing, used: AtomicU64::new(0) })
    }

    /// Writes cells; durable when this returns.
    pub(super) fn keep(&self, kept: &[(SlotId, Bytes)]) -> Result<(), StoreError> {
        let Some(last) = kept.iter().map(|(id, _)| *id).max() else { return Ok(()) };
        self.grow(offset(last + 1))?;
        self.used.fetch_max(offset(last + 1), Ordering::Relaxed);
        for (id, sealed) in kept {
            self.file.write_all_at(sealed, offset(*id))?;
        }
        Ok(self.file.sync_data()?)
    }

    /// Makes the file a piece larger than is used, while nobody waits for it.
    pub(super) fn grow_ahead(&self) -> Result<(), StoreError> {
        match self.used.load(Ordering::Relaxed) {
            0 => Ok(()),
            used => self.grow(used + PIECE_BYTES as u64),
        }
    }

    fn grow(&self, needed: u64) -> Result<(), StoreError> {
        if needed <= self.length.load(Ordering::Acquire) {
            return Ok(());
        }
        let growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut length = self.length.load(Ordering::Acquire);
        let nothing = vec![0; PIECE_BYTES];
        while length < needed {
            growing.write_all_at(&nothing, length)?;
            length += PIECE_BYTES as u64;
        }
        growing.sync_all()?;
        self.length.store(length, Ordering::Release);
        Ok(())
    }

    /// Whether the file reaches to the end of this cell.
    pub(super) fn has(&self, id: SlotId) -> bool {
        offset(id + 1) <= self.length.load(Ordering::Acquire)
    }

    /// The first `length` bytes of a cell.
    pub(super) fn read(&self, id: SlotId, length: u32) -> Result<Vec<u8>, StoreError> {
        let mut sealed = vec![0; (length as usize).min(CELL_BYTES)];
        self.file.read_exact_at(&mut sealed, offset(id))?;
        Ok(sealed)
    }
}

fn offset(id: SlotId) -> u64 {
    id * CELL_BYTES as u64
}
