//! Free disk where the store lies.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::id::Timestamp;

/// Asks the file system at most once a second.
pub(super) struct Disk {
    folder: PathBuf,
    free_bytes_min: u64,
    asked_at: AtomicI64,
    free: AtomicU64,
}

impl Disk {
    pub(super) fn new(folder: PathBuf, free_bytes_min: u64) -> Self {
        Self { folder, free_bytes_min, asked_at: AtomicI64::new(-1), free: AtomicU64::new(0) }
    }

    pub(super) fn has_room(&self, now: Timestamp) -> bool {
        if self.asked_at.swap(now.seconds(), Ordering::Relaxed) != now.seconds() {
            self.free.store(self.free_bytes(), Ordering::Relaxed);
        }
        self.free.load(Ordering::Relaxed) >= self.free_bytes_min
    }

    /// A file system that does not answer counts as full.
    pub(super) fn free_bytes(&self) -> u64 {
        rustix::fs::statvfs(&self.folder)
            .map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}
