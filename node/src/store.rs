//! sled, used in the one way that was found safe: schema, sealed records, key slots, single writer, `commit`, typed reads, start-up checks.

mod keys;
mod schema;
pub use keys::TableKey;
pub use schema::*;

use std::path::Path;
use crate::audit::{Entry, Event, Tree};
use crate::id::{AlertId, Clock, Digest, Entropy, Secret, Timestamp};

/// The store of one node. Cheap to clone.
#[derive(Clone)]
pub struct Store {/* Arc<…> */}

/// Settings of the store.
#[derive(Clone, Debug)]
pub struct StoreOptions { /// sled's cache
    pub cache_bytes: u64, /// below this, [`CommitKind`] creates and searches are refused (512 MiB by default)
    pub disk_free_bytes_min: u64 }

/// A table: one key prefix, typed keys and values (postcard).
pub trait Table {
    /// First byte of every key; unique.
    const PREFIX: u8;
    /// Key
    type Key: TableKey;
    /// Value
    type Value: serde::Serialize + serde::de::DeserializeOwned + Send;
}

/// Result of a transaction: what to return, and the events that say what was done. There is no way to commit without one.
pub struct Committed<T> { value: T, events: Vec<Event> }
impl<T> Committed<T> {
    /// With its first event.
    pub fn new(value: T, event: Event) -> Self { Self { value, events: vec![event] } }
    /// One more event.
    #[must_use] pub fn and(mut self, event: Event) -> Self { self.events.push(event); self }
}

/// Why a commit did not happen.
#[derive(Debug, thiserror::Error)]
pub enum CommitError<E> {
    /// The closure refused; nothing was written.
    #[error(transparent)]
    Refused(E),
    /// The store did.
    #[error(transparent)]
    Store(StoreError),
}

/// What goes wrong with a store (complete as needed: Full, Failed (latched), Corrupt, Schema, Locked, WrongKey …).
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Placeholder
    #[error("…")]
    Placeholder,
}

/// What just became durable, for dispatchers, watchers and caches.
#[derive(Clone, Debug)]
pub enum Change {
    /// the feed grew: dispatchers look
    Feed,
    /// an alert changed here; kind as in desk.proto `Change.kind`
    Alert { /// kind
        kind: &'static str, /// alert
        id: AlertId, /// version
        version: u32 },
    /// peers changed: the directory is rebuilt
    Peers,
    /// the policy in force changed
    Policy,
    /// users changed
    Users,
}

impl Store {
    /// Opens or makes the store in `folder` (sled below `folder/db`, key slots in `folder/slots`), checks schema version, owner and tail of the log, finishes half-done erasures.
    /// `node_key` wraps the slots, and the keys of index and seal are derived from it.
    pub fn open(folder: &Path, node_key: &Secret<[u8; 32]>, options: &StoreOptions, clock: Clock, entropy: Entropy) -> Result<Self, StoreError> { todo!() }
    /// Runs `f` on the writer thread against the newest state, one transaction after the other; writes of a group become durable in one flush (key slots first), then this
    /// returns. `Err` from `f` writes nothing. `f` must be quick: seal and sign before.
    pub async fn commit<T: Send + 'static, E: Send + 'static>(&self, f: impl FnOnce(&mut Tx<'_>) -> Result<Committed<T>, E> + Send + 'static) -> Result<T, CommitError<E>> { todo!() }
    /// As `commit`, refused below `disk_free_bytes_min` with `StoreError::Full`: for what grows the store (create, search). Withdrawal, retraction, erasure use `commit`.
    pub async fn commit_growing<T: Send + 'static, E: Send + 'static>(&self, f: impl FnOnce(&mut Tx<'_>) -> Result<Committed<T>, E> + Send + 'static) -> Result<T, CommitError<E>> { todo!() }
    /// Reads one record.
    pub fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Value>, StoreError> { todo!() }
    /// Reads records in key order from `from` (inclusive) while the encoded key begins with `within` (encoded prefix after the table byte; empty: whole table), at most `limit`.
    pub fn scan<T: Table>(&self, within: &[u8], from: Option<&T::Key>, limit: usize) -> Result<Vec<(T::Key, T::Value)>, StoreError> { todo!() }
    /// How many records a table has (counted at open, kept in memory).
    pub fn count<T: Table>(&self) -> u64 { todo!() }
    /// A fresh key slot, not yet on disk: `Tx::keep_slot` writes it.
    pub fn new_slot(&self) -> Slot { todo!() }
    /// Seals under the slot's key, AES-256-GCM; `about` is the associated data (the record's key).
    pub fn seal(&self, slot: &Slot, about: &[u8], plain: &[u8]) -> Vec<u8> { todo!() }
    /// Opens what `seal` made. `Err(Erased)` when the slot was overwritten.
    pub fn unseal(&self, slot: SlotId, about: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StoreError> { todo!() }
    /// The slot of a stored record, to seal its next version under the same key.
    pub fn slot(&self, slot: SlotId) -> Result<Slot, StoreError> { todo!() }
    /// Keyed hash of a match key: 16 bytes of HMAC-SHA-256 under the index key.
    pub fn index_key(&self, match_key: &[u8]) -> IndexKey { todo!() }
    /// What becomes durable from now on.
    pub fn changes(&self) -> tokio::sync::broadcast::Receiver<Change> { todo!() }
    /// Right edge of the audit log after the last durable commit.
    pub fn log(&self) -> Tree { todo!() }
    /// Leaves of the log from `from`, at most `limit`.
    pub fn leaves(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> { todo!() }
    /// Recomputes the whole log and checks it against the stored edge and every kept checkpoint.
    pub fn verify_log(&self) -> Result<Tree, StoreError> { todo!() }
    /// Ends the writer after what waits was committed.
    pub fn close(&self) -> Result<(), StoreError> { todo!() }
}

/// A key slot and its key; the key is not printable.
#[derive(Clone)]
pub struct Slot { id: SlotId, key: Secret<[u8; 32]> }
impl Slot { /// its place
    pub fn id(&self) -> SlotId { self.id } }

/// One transaction: reads see its own writes and those of earlier transactions of the group.
pub struct Tx<'a> { _p: std::marker::PhantomData<&'a ()> }

impl Tx<'_> {
    /// Reads.
    pub fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Value>, StoreError> { todo!() }
    /// As `Store::scan`, with this group's writes applied.
    pub fn scan<T: Table>(&self, within: &[u8], from: Option<&T::Key>, limit: usize) -> Result<Vec<(T::Key, T::Value)>, StoreError> { todo!() }
    /// Writes; a value over 256 KiB fails the transaction.
    pub fn put<T: Table>(&mut self, key: &T::Key, value: &T::Value) { todo!() }
    /// Deletes.
    pub fn delete<T: Table>(&mut self, key: &T::Key) { todo!() }
    /// Makes a fresh slot durable with this transaction.
    pub fn keep_slot(&mut self, slot: &Slot) { todo!() }
    /// Overwrites a slot: durable before this transaction's records are.
    pub fn erase_slot(&mut self, slot: SlotId) { todo!() }
    /// The next free place in the feed (counts up within the group).
    pub fn next_feed(&mut self) -> u64 { todo!() }
    /// Index the first event of this transaction will get in the log.
    pub fn log_index(&self) -> u64 { todo!() }
    /// The time of this transaction.
    pub fn now(&self) -> Timestamp { todo!() }
    /// Told to `Store::changes` once durable.
    pub fn announce(&mut self, change: Change) { todo!() }
}
