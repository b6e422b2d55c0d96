//! Disk space kept in reserve, and given up piece by piece once there is none left, so that
//! retractions, withdrawals and erasures still become durable, and the store still opens.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, fallocate};

use super::StoreError;
use crate::id::Timestamp;

/// Bytes kept in reserve: enough for thousands of withdrawals.
pub(super) const RESERVE_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes given up at a time, so that whatever filled the disk does not get everything at once.
const PIECE_BYTES: u64 = 4 * 1024 * 1024;

/// How often to check whether there is room to restore the reserve, in seconds.
const TRIED_EVERY_S: i64 = 10;

/// The file `folder/reserve`. It holds nothing.
pub(super) struct Reserve {
    /// `None` where the disk was too full for even an empty file.
    file: Option<File>,
    held: AtomicU64,
    /// When the node last tried to restore the reserve, in seconds.
    tried_at: AtomicI64,
}

impl Reserve {
    /// Opens or makes the file, as large as it was.
    pub(super) fn open(path: &Path) -> Self {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = file.open(path).ok();
        let held = file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |file| file.len());
        Self { file, held: AtomicU64::new(held), tried_at: AtomicI64::new(i64::MIN) }
    }

    /// Bytes that the reserve lacks; 0 if restoring was tried a moment ago.
    pub(super) fn lacking(&self, now: Timestamp) -> u64 {
        let lacking = RESERVE_BYTES.saturating_sub(self.held.load(Ordering::Relaxed));
        let waits =
            now.seconds().saturating_sub(self.tried_at.load(Ordering::Relaxed)) < TRIED_EVERY_S;
        if lacking == 0 || waits {
            return 0;
        }
        self.tried_at.store(now.seconds(), Ordering::Relaxed);
        lacking
    }

    /// Restores the reserve.
    pub(super) fn fill(&self) -> Result<(), StoreError> {
        let Some(file) = &self.file else { return Ok(()) };
        let held = self.held.load(Ordering::Relaxed);
        let filled = fallocate(file, FallocateFlags::empty(), 0, RESERVE_BYTES);
        if let Err(error) = filled {
            file.set_len(held)?;
            return Err(StoreError::Io(error.to_string()));
        }
        file.sync_all()?;
        self.held.store(RESERVE_BYTES, Ordering::Relaxed);
        Ok(())
    }

    /// Gives up a piece; returns `false` if nothing is left.
    pub(super) fn give_up(&self) -> bool {
        let held = self.held.load(Ordering::Relaxed);
        let left = held.saturating_sub(PIECE_BYTES);
        // Some file systems free what was cut off only with the sync.
        let cut = |file: &File| file.set_len(left).and_then(|()| file.sync_all()).is_ok();
        if held == 0 || !self.file.as_ref().is_some_and(cut) {
            return false;
        }
        self.held.store(left, Ordering::Relaxed);
        tracing::warn!(
            "the disk is full: {PIECE_BYTES} bytes of the reserve were given up for what withdraws \
             and erases, {left} are left; free some"
        );
        true
    }
}
