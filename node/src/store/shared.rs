//! What readers, the writer and the flusher share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use arc_swap::ArcSwapOption;
use tokio::sync::{broadcast, mpsc};

use super::cells::CellFile;
use super::contents::Contents;
use super::database::Database;
use super::disk::Disk;
use super::group::{self, Job};
use super::old_cells::OldCellFile;
use super::reserve::Reserve;
use super::seal::Keys;
use super::slots::SlotFile;
use super::{Change, StoreError};
use crate::audit::Tree;
use crate::id::{AuthorityId, Clock, Entropy};

pub(super) struct Shared {
    pub(super) folder: PathBuf,
    pub(super) owner: AuthorityId,
    pub(super) cache_bytes: u64,
    /// `None` while it is opened again.
    pub(super) database: ArcSwapOption<Database>,
    pub(super) slots: SlotFile,
    pub(super) cells: CellFile,
    pub(super) old_cells: OldCellFile,
    pub(super) keys: Keys,
    pub(super) counts: HashMap<u8, AtomicU64>,
    pub(super) log: Mutex<Tree>,
    /// Locked for writing while keys are overwritten, and for reading by a read that was overtaken
    /// by that too often.
    pub(super) erasing: RwLock<()>,
    /// Content that several streams are at.
    pub(super) contents: Contents,
    pub(super) changes: broadcast::Sender<Change>,
    /// Why the store does not write now.
    pub(super) failed: Mutex<Option<StoreError>>,
    /// Tells the writer that it failed; weak, since the writer ends when no caller is left.
    pub(super) waker: OnceLock<mpsc::WeakSender<Job>>,
    pub(super) disk: Disk,
    pub(super) reserve: Reserve,
    pub(super) clock: Clock,
    pub(super) entropy: Entropy,
}

impl Shared {
    /// Whether it accepts writes now: not from a failed write until it is open again.
    pub(super) fn writable(&self) -> Result<(), StoreError> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.clone().map_or(Ok(()), Err)
    }

    /// Stops writing after a failed write; returns what every caller is told until it is open
    /// again.
    pub(super) fn stop(&self, error: &StoreError) -> StoreError {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let told = failed.get_or_insert_with(|| {
            tracing::error!(
                "the store stops writing: {error}; it opens again by itself once the disk takes \
                 writes"
            );
            StoreError::Failed(error.to_string())
        });
        // If the queue is full the writer is awake.
        if let Some(jobs) = self.waker.get().and_then(mpsc::WeakSender::upgrade) {
            let _ = jobs.try_send(group::nothing(|_| {}));
        }
        told.clone()
    }

    /// Restores the reserve, once there is room for more than that.
    pub(super) fn keep_reserve(&self) {
        let lacking = self.reserve.lacking(self.clock.now());
        if lacking > 0
            && self.disk.has_room_and(lacking)
            && let Err(error) = self.reserve.fill()
        {
            tracing::warn!("no disk could be kept back for when it is full: {error}");
        }
    }

    /// Accepts writes again, to a database that was just opened.
    pub(super) fn go_on(&self) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = None;
        tracing::info!("the store is open again, and writes");
        // Nobody is listening, so nobody needs to know.
        let _ = self.changes.send(Change::Reopened);
    }

    /// For readers.
    pub(super) fn database(&self) -> Result<Arc<Database>, StoreError> {
        let database = self.database.load_full();
        database.ok_or_else(|| self.writable().err().unwrap_or(StoreError::Closed))
    }
}
