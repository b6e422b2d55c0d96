//! Free space on the store's disk.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::reserve::Reserve;
use crate::id::Timestamp;

/// With less free disk than this, in bytes, nothing that grows the store is accepted, whatever the
/// configuration says: it would use up what withdrawals need.
const GROWING_BYTES_MIN: u64 = 8 * 1024 * 1024;

/// Asks the file system at most once a second.
pub(super) struct Disk {
    folder: PathBuf,
    free_bytes_min: u64,
    /// When the file system was asked, and its answer.
    asked: Mutex<Option<(Timestamp, u64)>>,
}

impl Disk {
    pub(super) fn new(folder: PathBuf, free_bytes_min: u64) -> Self {
        Self { folder, free_bytes_min, asked: Mutex::new(None) }
    }

    /// Whether there is room for what grows the store.
    pub(super) fn has_room(&self, now: Timestamp) -> bool {
        self.has(now, self.free_bytes_min.max(GROWING_BYTES_MIN))
    }

    /// Whether this much is free, according to an answer at most a second old.
    pub(super) fn has(&self, now: Timestamp, bytes: u64) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let free = match *asked {
            Some((at, free)) if at == now => free,
            _ => self.free_bytes(),
        };
        *asked = Some((now, free));
        free >= bytes
    }

    /// Whether there is room for what grows the store, and this much more.
    pub(super) fn has_room_and(&self, bytes: u64) -> bool {
        self.free_bytes() >= self.free_bytes_min.max(GROWING_BYTES_MIN).saturating_add(bytes)
    }

    /// Gives up pieces of the reserve until this much is free; returns whether it is.
    pub(super) fn make_room(&self, reserve: &Reserve, bytes: u64) -> bool {
        while self.free_bytes() < bytes {
            if !reserve.give_up() {
                return false;
            }
        }
        true
    }

    /// A file system that does not answer counts as full.
    pub(super) fn free_bytes(&self) -> u64 {
        rustix::fs::statvfs(&self.folder)
            .map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Callers of the same second must not see an answer that is still to come.
    #[test]
    fn many_that_ask_at_once_get_the_same_answer() {
        let disk = Disk::new(std::env::temp_dir(), 1);
        for second in 0..200 {
            let now = Timestamp::from_seconds(second);
            std::thread::scope(|scope| {
                let asked: Vec<_> = (0..4).map(|_| scope.spawn(|| disk.has_room(now))).collect();
                assert!(asked.into_iter().all(|asked| asked.join().unwrap()));
            });
        }
    }
}
