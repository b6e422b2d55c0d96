//! What readers, the writer and the flusher share.

use std::any::Any;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use arc_swap::ArcSwapOption;
use tokio::sync::{broadcast, mpsc};

use super::cells::CellFile;
use super::contents::{Content, Contents};
use super::database::Database;
use super::disk::Disk;
use super::group::{self, Job};
use super::old_cells::OldCellFile;
use super::reserve::Reserve;
use super::schema::SlotId;
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

    /// What `make` makes of the content under this slot's key, with the bytes that it takes; or
    /// what somebody else made of it just now.
    pub(super) fn opened<T: Any + Send + Sync, E>(
        &self,
        slot: SlotId,
        make: impl FnOnce() -> Result<(T, usize), E>,
    ) -> Result<Arc<T>, E> {
        let entry = self.contents.entry(slot, self.clock.elapsed());
        let mut content = entry.content();
        if let Some(Ok(made)) = content.clone().map(Arc::downcast) {
            return Ok(made);
        }
        let (made, bytes) = make()?;
        let made = Arc::new(made);
        // While keys are being overwritten nothing is taken in; of what was overwritten nothing is.
        if let Ok(_standing) = self.erasing.try_read()
            && self.slots.holds(slot)
            && self.contents.keep(slot, &entry, bytes)
        {
            *content = Some(Arc::clone(&made) as Content);
        }
        Ok(made)
    }
}
