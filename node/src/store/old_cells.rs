//! The file of tokens of earlier versions, a cell of 12 KiB for each key slot. It is only read; a
//! compacted store has none.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::StoreError;
use super::schema::SlotId;

/// Bytes of a cell.
const CELL_BYTES: usize = 12 * 1024;

pub(super) struct OldCellFile(Option<File>);

impl OldCellFile {
    /// Opens the file, where there is one.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        match File::open(path) {
            Ok(file) => Ok(Self(Some(file))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self(None)),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the file reaches to the end of this cell.
    pub(super) fn has(&self, id: SlotId) -> bool {
        let length = self.0.as_ref().and_then(|file| file.metadata().ok());
        length.is_some_and(|file| offset(id + 1) <= file.len())
    }

    /// The first `length` bytes of a cell.
    pub(super) fn read(&self, id: SlotId, length: u32) -> Result<Vec<u8>, StoreError> {
        let missing = || StoreError::Corrupt("its file of tokens is missing".to_owned());
        let file = self.0.as_ref().ok_or_else(missing)?;
        let mut sealed = vec![0; (length as usize).min(CELL_BYTES)];
        file.read_exact_at(&mut sealed, offset(id))?;
        Ok(sealed)
    }
}

fn offset(id: SlotId) -> u64 {
    id * CELL_BYTES as u64
}
