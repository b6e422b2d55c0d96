//! Sealed tokens in a file beside the database, a cell for each key slot. sled holds up to sixteen thousand pages in
//! memory whatever the size of its cache: with tokens in them that was 700 MiB for 100 000 alerts.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use bytes::Bytes;

use super::StoreError;
use super::schema::SlotId;

/// Bytes of a cell: a person with documents, an object and a place make nine thousand; larger tokens stay in their
/// records.
pub(super) const CELL_BYTES: usize = 12 * 1024;

/// Bytes by which the file grows: overwriting in place syncs ten times faster than appending.
const PIECE_BYTES: usize = 128 * CELL_BYTES;

pub(super) struct CellFile(File);

impl CellFile {
    /// Opens or makes the file.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).mode(0o600).open(path);
        Ok(Self(file.map_err(io)?))
    }

    /// Writes cells; durable when this returns.
    pub(super) fn keep(&self, kept: &[(SlotId, Bytes)]) -> Result<(), StoreError> {
        let Some(last) = kept.iter().map(|(id, _)| *id).max() else { return Ok(()) };
        self.grow(offset(last + 1))?;
        for (id, sealed) in kept {
            self.0.write_all_at(sealed, offset(*id)).map_err(io)?;
        }
        self.0.sync_data().map_err(io)
    }

    fn grow(&self, needed: u64) -> Result<(), StoreError> {
        let mut length = self.0.metadata().map_err(io)?.len();
        if needed <= length {
            return Ok(());
        }
        let nothing = vec![0; PIECE_BYTES];
        while length < needed {
            self.0.write_all_at(&nothing, length).map_err(io)?;
            length += PIECE_BYTES as u64;
        }
        self.0.sync_all().map_err(io)
    }

    /// The first `length` bytes of a cell.
    pub(super) fn read(&self, id: SlotId, length: u32) -> Result<Vec<u8>, StoreError> {
        let mut sealed = vec![0; (length as usize).min(CELL_BYTES)];
        self.0.read_exact_at(&mut sealed, offset(id)).map_err(io)?;
        Ok(sealed)
    }
}

fn offset(id: SlotId) -> u64 {
    id * CELL_BYTES as u64
}

fn io(error: std::io::Error) -> StoreError {
    StoreError::Io(error.to_string())
}
