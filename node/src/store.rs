//! sled, used in the one way that was found safe: one tree, one writer thread that groups waiting
//! commits into one durable flush, sealed records, key slots outside the database, checks at the
//! start.

mod keys;
mod schema;
mod seal;
mod slots;
mod cells;
mod database;
mod disk;
mod reserve;
mod group;
mod writer;
mod flusher;
#[cfg(test)]
mod tests;
mod open;
mod log;
mod recent;
mod fsck;

pub use fsck::{Fsck, Problem, Remedy};
pub use group::Tx;
pub use keys::TableKey;
pub use log::LogError;
pub use recent::Facet;
pub use schema::*;
pub use slots::Slot;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{broadcast, mpsc, oneshot};

use self::database::Database;
use crate::audit::{Event, Tree};
use crate::id::{AlertId, AuthorityId, Clock, Entropy, Secret, Version};

/// Largest value, in bytes: sled moves larger ones to files that the flush does not cover.
pub const VALUE_BYTES_MAX: usize = 256 * 1024;

/// Commits that may wait for the writer: past it callers wait, which bounds memory.
const WAITING_MAX: usize = 1024;

/// Changes a slow listener may lag behind before it is told that it missed some.
const CHANGES_HELD: usize = 4096;

/// The store of one node. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    jobs: Mutex<Option<mpsc::Sender<group::Job>>>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// What readers and the writer share.
struct Shared {
    folder: std::path::PathBuf,
    owner: AuthorityId,
    cache_bytes: u64,
    /// `None` while it is opened again.
    database: ArcSwapOption<Database>,
    slots: slots::SlotFile,
    cells: cells::CellFile,
    keys: seal::Keys,
    counts: HashMap<u8, AtomicU64>,
    log: Mutex<Tree>,
    changes: broadcast::Sender<Change>,
    /// Why it does not write now.
    failed: Mutex<Option<StoreError>>,
    /// Tells the writer that it failed; weak, since the writer ends when no caller is left.
    waker: OnceLock<mpsc::WeakSender<group::Job>>,
    disk: disk::Disk,
    reserve: reserve::Reserve,
    clock: Clock,
    entropy: Entropy,
}

impl Shared {
    /// Whether it writes now: not after a write failed, until it is open again.
    fn writable(&self) -> Result<(), StoreError> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.clone().map_or(Ok(()), Err)
    }

    /// Stops writing after a write failed; what every caller is told until it is open again.
    fn stop(&self, error: &StoreError) -> StoreError {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let told = failed.get_or_insert_with(|| {
            tracing::error!(
                "the store stops writing: {error}; it opens again by itself once the disk takes writes"
            );
            StoreError::Failed(error.to_string())
        });
        // Where the queue is full the writer is awake.
        if let Some(jobs) = self.waker.get().and_then(mpsc::WeakSender::upgrade) {
            let _ = jobs.try_send(group::nothing(|_| {}));
        }
        told.clone()
    }

    /// Keeps back again what was given up, once there is room for more than that.
    fn keep_reserve(&self) {
        let lacking = self.reserve.lacking(self.clock.now());
        if lacking > 0
            && self.disk.has_room_and(lacking)
            && let Err(error) = self.reserve.fill()
        {
            tracing::warn!("no disk could be kept back for when it is full: {error}");
        }
    }

    /// Writes again, to a database that was just opened.
    fn go_on(&self) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = None;
        tracing::info!("the store is open again, and writes");
        // Nobody listens: nobody needs to know.
        let _ = self.changes.send(Change::Reopened);
    }

    /// For readers.
    fn database(&self) -> Result<Arc<Database>, StoreError> {
        let database = self.database.load_full();
        database.ok_or_else(|| self.writable().err().unwrap_or(StoreError::Closed))
    }
}

/// Settings of the store.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// sled's cache, in bytes; it uses up to half more.
    pub cache_bytes: u64,
    /// Below this much free disk, in bytes, nothing that grows the store is taken.
    pub disk_free_bytes_min: u64,
}

/// A table: one key prefix, typed keys and values.
pub trait Table {
    /// First byte of every key; unique.
    const PREFIX: u8;
    /// Its keys.
    type Key: TableKey;
    /// Its values.
    type Value: Serialize + DeserializeOwned + Send;
}

/// Result of a transaction: what to return, and the events that say what was done. There is no way
/// to commit without one.
pub struct Committed<T> {
    value: T,
    events: Vec<Event>,
}

impl<T> Committed<T> {
    /// With its first event.
    pub fn new(value: T, event: Event) -> Self {
        Self { value, events: vec![event] }
    }

    /// One more event.
    #[must_use]
    pub fn and(mut self, event: Event) -> Self {
        self.events.push(event);
        self
    }
}

/// Why a commit did not happen.
#[derive(Debug, thiserror::Error)]
pub enum CommitError<E> {
    /// The transaction refused; nothing was written.
    #[error("{0}")]
    Refused(E),
    /// The store did.
    #[error(transparent)]
    Store(StoreError),
}

impl CommitError<StoreError> {
    /// The one error, for transactions that fail only with the store.
    pub fn flatten(self) -> StoreError {
        match self {
            Self::Refused(error) | Self::Store(error) => error,
        }
    }
}

/// What goes wrong with a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Too little free disk for what grows the store.
    #[error("too little free disk: free some, or lower store.disk_free_bytes_min")]
    Full,
    /// A write failed: nothing is written until the store is open again, which it does by itself.
    #[error(
        "a write to the store failed ({0}): free disk space, or repair the disk; the node goes on by itself once it takes writes"
    )]
    Failed(String),
    /// A file of it could not be read or written.
    #[error(
        "the disk failed ({0}): look at its free space and health, then run `entente-node check`"
    )]
    Io(String),
    /// It does not hold what it must.
    #[error("the store is damaged ({0}): set the folder aside and restore a backup")]
    Corrupt(String),
    /// Another process has it open.
    #[error("the store is in use: another node runs on this home")]
    InUse,
    /// Made by another version.
    #[error(
        "the store has schema {found}, this version reads {known}: run the version that made it"
    )]
    Schema {
        /// As stored.
        found: u32,
        /// As this version writes.
        known: u32,
    },
    /// Of another authority.
    #[error("the store belongs to {0}: check the home folder")]
    OtherOwner(String),
    /// The node key is not the one it was made with.
    #[error("the node key does not open this store: restore keys/node.key that belongs to it")]
    WrongKey,
    /// The content was erased.
    #[error("the content was erased")]
    Erased,
    /// A transaction would have written over a record that it had not taken out: a fault of this
    /// program.
    #[error(
        "a record is there already, so nothing was written: report this as a fault of the node"
    )]
    Occupied,
    /// A value is larger than [`VALUE_BYTES_MAX`].
    #[error("a record of {0} bytes is larger than the store takes")]
    TooLarge(usize),
    /// The store was closed.
    #[error("the node is ending; try again later")]
    Closed,
}

/// What just became durable, for dispatchers, watchers and caches.
#[derive(Clone, Debug)]
pub enum Change {
    /// The feed grew, or a stream must decide anew: dispatchers look.
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
    /// Peers changed: the directory is rebuilt.
    Peers,
    /// The policy in force changed.
    Policy,
    /// Users changed.
    Users,
    /// The database was opened again after a write failed: what is held of it in memory is read
    /// anew.
    Reopened,
}

impl Store {
    /// Opens or makes the store of `owner` in `folder`: the database below `folder/db`, the key
    /// slots in `folder/slots`, sealed tokens in `folder/tokens`, disk kept back in
    /// `folder/reserve`. Checks schema, owner, node key, the tail of the log, and that slots and
    /// tokens are there; makes durable what an earlier process wrote, and finishes half-done
    /// erasures. `node_key` wraps the slots; the other keys are derived from it.
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
        let (shared, opened) = open::open(folder, owner, node_key, options, clock, entropy)?;
        let shared = Arc::new(shared);
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let _ = shared.waker.set(jobs.downgrade());
        let writer = Mutex::new(Some(writer::spawn(&shared, opened, waiting)?));
        shared.keep_reserve();
        Ok(Self(Arc::new(Inner { shared, jobs: Mutex::new(Some(jobs)), writer })))
    }

    /// Waits until everything that the writer was given before is durable.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn settled(&self) -> Result<(), StoreError> {
        let (sender, outcome) = oneshot::channel();
        let job = group::nothing(move |flushed| {
            // A caller that went away does not want to know.
            let _ = sender.send(flushed.clone());
        });
        let jobs = self.jobs().map_err(CommitError::<StoreError>::flatten)?;
        jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        outcome.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Runs `f` on the writer thread against the newest state, one transaction after the other. The
    /// writes of a group become durable in one flush, key slots first; then this returns. `Err`
    /// from `f` writes nothing. `f` must be quick: seal and sign before.
    ///
    /// # Errors
    /// What `f` refused with, or the store's failure.
    pub async fn commit<T, E>(
        &self,
        f: impl FnOnce(&mut Tx<'_>) -> Result<Committed<T>, E> + Send + 'static,
    ) -> Result<T, CommitError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (job, outcome) = group::job(f);
        let closed = || CommitError::Store(StoreError::Closed);
        self.jobs()?.send(job).await.map_err(|_| closed())?;
        outcome.await.unwrap_or_else(|_| Err(closed()))
    }

    /// As [`Store::commit`], for callers outside of async code. It waits on a thread of its own, so
    /// that it may also be called where a runtime drives the present one.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn commit_blocking<T, E>(
        &self,
        f: impl FnOnce(&mut Tx<'_>) -> Result<Committed<T>, E> + Send + 'static,
    ) -> Result<T, CommitError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (job, outcome) = group::job(f);
        let jobs = self.jobs()?;
        let waiting = std::thread::spawn(move || {
            jobs.blocking_send(job).ok()?;
            outcome.blocking_recv().ok()
        });
        let closed = || Err(CommitError::Store(StoreError::Closed));
        waiting.join().ok().flatten().unwrap_or_else(closed)
    }

    /// As [`Store::commit`], refused when there is no [`Store::room`]: for what grows the store.
    /// Withdrawal, retraction and erasure use `commit`.
    ///
    /// # Errors
    /// [`StoreError::Full`], and as [`Store::commit`].
    pub async fn commit_growing<T, E>(
        &self,
        f: impl FnOnce(&mut Tx<'_>) -> Result<Committed<T>, E> + Send + 'static,
    ) -> Result<T, CommitError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        if !self.room() {
            return Err(CommitError::Store(StoreError::Full));
        }
        self.commit(f).await
    }

    /// As [`Store::commit`], for what is only looked at: refused when the disk is full, so that the
    /// reserve is left to what withdraws and erases.
    ///
    /// # Errors
    /// [`StoreError::Full`], and as [`Store::commit`].
    pub async fn commit_look<T, E>(
        &self,
        f: impl FnOnce(&mut Tx<'_>) -> Result<Committed<T>, E> + Send + 'static,
    ) -> Result<T, CommitError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let shared = &self.0.shared;
        if !shared.disk.has(shared.clock.now(), writer::GROUP_BYTES_MAX as u64) {
            return Err(CommitError::Store(StoreError::Full));
        }
        self.commit(f).await
    }

    fn jobs<E>(&self) -> Result<mpsc::Sender<group::Job>, CommitError<E>> {
        let jobs = self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.clone().ok_or(CommitError::Store(StoreError::Closed))
    }

    /// Whether there is free disk for what grows the store.
    pub fn room(&self) -> bool {
        self.0.shared.disk.has_room(self.0.shared.clock.now())
    }

    /// Free disk where the store lies, in bytes.
    pub fn disk_free_bytes(&self) -> u64 {
        self.0.shared.disk.free_bytes()
    }

    /// Reads one record, as it is durable.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Value>, StoreError> {
        let bytes = self.0.shared.database()?.get(&key_bytes::<T>(key))?;
        bytes.map(|bytes| decode::<T>(&bytes)).transpose()
    }

    /// Reads durable records in the order of their keys, from `from` on, while the encoded key
    /// begins with `within` (empty: the whole table), at most `limit`.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn scan<T: Table>(
        &self,
        within: &[u8],
        from: Option<&T::Key>,
        limit: usize,
    ) -> Result<Vec<(T::Key, T::Value)>, StoreError> {
        let (start, prefix) = scan_bounds::<T>(within, from);
        let records = self.0.shared.database()?.range(&start, &prefix, limit)?;
        records.iter().map(|(key, value)| decode_record::<T>(key, value)).collect()
    }

    /// The record with this key, or with the last key before it, durable or not.
    fn at_or_before<T: Table>(
        &self,
        key: &T::Key,
    ) -> Result<Option<(T::Key, T::Value)>, StoreError> {
        let range = vec![T::PREFIX]..=key_bytes::<T>(key);
        let database = self.0.shared.database()?;
        let record = database.tree().range(range).next_back().transpose()?;
        record.map(|(key, value)| decode_record::<T>(&key, &value)).transpose()
    }

    /// How many records a counted table has ([`COUNTED`]); 0 for the others.
    pub fn count<T: Table>(&self) -> u64 {
        self.0.shared.counts.get(&T::PREFIX).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// A fresh key slot, not yet on disk: [`Tx::keep_slot`] writes it.
    pub fn new_slot(&self) -> Slot {
        self.0.shared.slots.reserve(&self.0.shared.entropy)
    }

    /// The slot of a stored record.
    ///
    /// # Errors
    /// [`StoreError::Erased`] when it was overwritten.
    pub fn slot(&self, id: SlotId) -> Result<Slot, StoreError> {
        self.0.shared.slots.read(id, &self.0.shared.keys)
    }

    /// Seals under the slot's key, AES-256-GCM; `about` is authenticated with it ([`about()`]).
    pub fn seal(&self, slot: &Slot, about: &[u8], plain: &[u8]) -> Bytes {
        seal::seal(slot.key(), about, plain, &self.0.shared.entropy).into()
    }

    /// Opens a token that was sealed under this slot's key.
    ///
    /// # Errors
    /// [`StoreError::Erased`] when the slot was overwritten, [`StoreError::Corrupt`] when the
    /// record is not the one that was sealed.
    pub fn unseal(
        &self,
        id: SlotId,
        about: &[u8],
        sealed: &SealedToken,
    ) -> Result<Vec<u8>, StoreError> {
        let slot = self.slot(id)?;
        let opened = match sealed {
            SealedToken::Inline(sealed) => seal::unseal(slot.key(), about, sealed),
            SealedToken::Cell(length) => {
                let sealed = self.0.shared.cells.read(id, *length)?;
                seal::unseal(slot.key(), about, &sealed)
            }
        };
        opened.ok_or_else(|| StoreError::Corrupt("a sealed token does not open".to_owned()))
    }

    /// Keyed hash of a match key: the index tells a thief of the disk nothing.
    pub fn index_key(&self, match_key: &[u8]) -> IndexKey {
        self.0.shared.keys.index_key(match_key)
    }

    /// What becomes durable from now on.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.0.shared.changes.subscribe()
    }

    /// Tells listeners of a change of what the node holds in memory, once it is there.
    pub fn announce(&self, change: Change) {
        // Nobody listens: nobody needs to know.
        let _ = self.0.shared.changes.send(change);
    }

    /// Whether it writes now.
    ///
    /// # Errors
    /// [`StoreError::Failed`] after a write failed, until it is open again.
    pub fn writable(&self) -> Result<(), StoreError> {
        self.0.shared.writable()
    }

    /// Ends the writer after what waits was committed; later commits are refused.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Inner {
    fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let here = std::thread::current().id();
        // The last handle may go in a job, on the writer: then it ends by itself.
        if let Some(writer) = writer.filter(|writer| writer.thread().id() != here) {
            // One that panicked has failed the commits that waited for it.
            let _ = writer.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// Answers one commit.
type Outcome<T, E> = oneshot::Receiver<Result<T, CommitError<E>>>;

fn key_bytes<T: Table>(key: &T::Key) -> Vec<u8> {
    let mut bytes = vec![T::PREFIX];
    key.encode(&mut bytes);
    bytes
}

fn scan_bounds<T: Table>(within: &[u8], from: Option<&T::Key>) -> (Vec<u8>, Vec<u8>) {
    let prefix: Vec<u8> = std::iter::once(T::PREFIX).chain(within.iter().copied()).collect();
    let start = from.map_or_else(|| prefix.clone(), key_bytes::<T>);
    (start.max(prefix.clone()), prefix)
}

fn decode<T: Table>(bytes: &[u8]) -> Result<T::Value, StoreError> {
    postcard::from_bytes(bytes).map_err(|_| unreadable::<T>())
}

fn decode_record<T: Table>(key: &[u8], value: &[u8]) -> Result<(T::Key, T::Value), StoreError> {
    let mut rest = key.get(1..).unwrap_or_default();
    let key = T::Key::take(&mut rest).filter(|_| rest.is_empty()).ok_or_else(unreadable::<T>)?;
    Ok((key, decode::<T>(value)?))
}

fn unreadable<T: Table>() -> StoreError {
    StoreError::Corrupt(format!("a record of table {:#04x} cannot be read", T::PREFIX))
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Corruption { .. } => Self::Corrupt("a page does not verify".to_owned()),
            other => Self::Io(other.to_string()),
        }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

impl From<postcard::Error> for StoreError {
    fn from(error: postcard::Error) -> Self {
        Self::Corrupt(error.to_string())
    }
}
