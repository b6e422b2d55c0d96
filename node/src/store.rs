//! The store of a node. Everything is written in transactions ([`Store::commit`]) by one thread,
//! which groups them into one durable flush; everything is read from one durable state
//! ([`Store::read`]). Contents are sealed under keys that lie outside the database, so that they
//! can be erased. sled is used in the one way that was found safe, and `database` alone names it.

mod error;
mod keys;
mod table;
mod subject;
mod schema;
mod seal;
mod slots;
mod cells;
mod old_cells;
mod pack;
mod database;
mod disk;
mod reserve;
mod shared;
mod group;
mod writer;
mod flusher;
mod commit;
mod contents;
mod scan;
mod read;
mod token;
#[cfg(test)]
mod tests;
mod open;
mod log;
mod log_index;
mod recent;
mod fsck;
mod upgrade;
mod copy_place;
mod compact;

pub use commit::{Committed, Growth};
pub use compact::Compacting;
pub use error::{CommitError, StoreError};
pub use fsck::{Fsck, Problem, Remedy};
pub use group::Tx;
pub use log::LogError;
pub use log_index::{FoundLeaves, LogFilter};
pub use read::Snapshot;
pub use recent::Facet;
pub use scan::{PAGE, Pages, Read, RecordOf, Scan};
pub use schema::*;
pub use slots::Slot;
pub use subject::Subject;
pub use table::{Table, VALUE_BYTES_MAX};
pub use token::Summary;
pub use upgrade::{Progress, SCHEMA_VERSION, UPGRADE_RECORDS_AT_ONCE, Upgrade};

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{broadcast, mpsc};

use self::shared::Shared;
use crate::id::{AlertId, AuthorityId, Clock, Entropy, Secret, Version};

/// Most commits that wait for the writer; further callers wait, which bounds memory.
const WAITING_MAX: usize = 1024;

/// Most changes that a slow listener may lag behind before it is told that it missed some.
const CHANGES_HELD: usize = 4096;

/// The store of one node. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    jobs: Mutex<Option<mpsc::Sender<group::Job>>>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// Settings of the store.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// sled's cache, in bytes; it uses up to half more.
    pub cache_bytes: u64,
    /// With less free disk than this, in bytes, nothing that grows the store is accepted.
    pub disk_free_bytes_min: u64,
}

/// What just became durable, for dispatchers, watchers and caches.
#[derive(Clone, Debug)]
pub enum Change {
    /// The feed grew, or a stream must decide everything again: dispatchers look.
    Feed,
    /// An alert changed here.
    Alert {
        /// `created`, `updated`, `withdrawn`, `received`, `retracted` or `expired`.
        kind: &'static str,
        /// Which.
        id: AlertId,
        /// Its version.
        version: Version,
    },
    /// A notice came, or was acknowledged.
    Notice,
    /// Peers changed: the directory is rebuilt.
    Peers,
    /// The policy in force changed.
    Policy,
    /// Users changed.
    Users,
    /// The database was opened again after a failed write: whatever memory holds of it is read
    /// again.
    Reopened,
}

impl Store {
    /// Opens or makes the store of `owner` in `folder`: the database below `folder/db`, the key
    /// slots in `folder/slots`, sealed tokens in `folder/cells`, disk kept back in
    /// `folder/reserve`. Checks schema, owner, node key, the tail of the log, and that slots and
    /// tokens are there; makes durable what an earlier process wrote, and finishes half-done
    /// erasures. `node_key` wraps the slots; the other keys are derived from it. A store of an
    /// earlier version is upgraded where that is quick.
    ///
    /// # Errors
    /// When the folder cannot be used, with what to do about it.
    pub fn open(
        folder: &Path,
        owner: &AuthorityId,
        node_key: &Secret<[u8; 32]>,
        options: &StoreOptions,
        clock: Clock,
        entropy: Entropy,
    ) -> Result<Self, StoreError> {
        Self::open_with(folder, owner, node_key, options, (clock, entropy), Upgrade::AtStart)
    }

    /// As [`Store::open`], and says what may be done to a store of an earlier version.
    ///
    /// # Errors
    /// As [`Store::open`]; [`StoreError::Older`] where the upgrade that it needs may not be done.
    pub fn open_with(
        folder: &Path,
        owner: &AuthorityId,
        node_key: &Secret<[u8; 32]>,
        options: &StoreOptions,
        (clock, entropy): (Clock, Entropy),
        upgrade: Upgrade<'_>,
    ) -> Result<Self, StoreError> {
        let (shared, opened) = open::open(folder, owner, node_key, options, clock, entropy)?;
        let shared = Arc::new(shared);
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let _ = shared.waker.set(jobs.downgrade());
        let writer = Mutex::new(Some(writer::spawn(&shared, opened, waiting)?));
        let store = Self(Arc::new(Inner { shared, jobs: Mutex::new(Some(jobs)), writer }));
        upgrade::run(&store, upgrade)?;
        open::settle(&store.0.shared)?;
        store.0.shared.keep_reserve();
        Ok(store)
    }

    /// Whether there is free disk for what grows the store.
    pub fn room(&self) -> bool {
        self.0.shared.disk.has_room(self.0.shared.clock.now())
    }

    /// Free space on the store's disk, in bytes.
    pub fn disk_free_bytes(&self) -> u64 {
        self.0.shared.disk.free_bytes()
    }

    /// How many records a counted table has ([`COUNTED`]); 0 for the others.
    pub fn count<T: Table>(&self) -> u64 {
        self.0.shared.counts.get(&T::PREFIX).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// A fresh key slot, not yet on disk: [`Tx::keep_slot`] writes it.
    pub fn new_slot(&self) -> Slot {
        self.0.shared.slots.reserve(&self.0.shared.entropy)
    }

    /// Keyed hash of a match key, so that the index reveals nothing to a thief of the disk.
    pub fn index_key(&self, match_key: &[u8]) -> IndexKey {
        self.0.shared.keys.index_key(match_key)
    }

    /// Announces whatever becomes durable from now on.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.0.shared.changes.subscribe()
    }

    /// Announces a change of what the node holds in memory, once it is there.
    pub fn announce(&self, change: Change) {
        // Nobody is listening, so nobody needs to know.
        let _ = self.0.shared.changes.send(change);
    }

    /// Checks that the store accepts writes now.
    ///
    /// # Errors
    /// [`StoreError::Failed`] after a write failed, until it is open again.
    pub fn writable(&self) -> Result<(), StoreError> {
        self.0.shared.writable()
    }

    /// Ends the writer after it has committed what waits; later commits are refused.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Inner {
    fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let here = std::thread::current().id();
        // A job on the writer may drop the last handle: the writer then ends by itself.
        if let Some(writer) = writer.filter(|writer| writer.thread().id() != here) {
            // If it panicked, the commits that waited for it have failed.
            let _ = writer.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}
