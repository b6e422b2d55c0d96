//! Reads: one record or many, of one state, with what was sealed for them.

use std::any::Any;
use std::cell::Cell;
use std::sync::{Arc, PoisonError};

use super::database::{Database, State};
use super::scan::{Read, RecordOf, Scan};
use super::schema::{SealedToken, SlotId};
use super::seal::Keys;
use super::shared::Shared;
use super::table::{decode, decode_record, key_bytes};
use super::{Store, StoreError, Summary, Table};
use crate::audit::Tree;
use crate::worker;

/// How often a read is run again whose content was erased meanwhile, before erasing waits for it.
pub(super) const TRIES_MAX: usize = 3;

/// One state of the store in which everything is durable: however long it is read, it stays the
/// same.
pub struct Snapshot<'a> {
    shared: &'a Shared,
    database: Arc<Database>,
    state: Arc<State>,
    torn: Cell<bool>,
}

impl Snapshot<'_> {
    fn of(shared: &Shared) -> Result<Snapshot<'_>, StoreError> {
        let database = shared.database()?;
        let state = database.shown();
        Ok(Snapshot { shared, database, state, torn: Cell::new(false) })
    }

    /// Right edge of the audit log.
    pub fn log(&self) -> &Tree {
        self.state.log()
    }

    /// Whether content was missing that had been erased since: what `f` ends with is not asked for,
    /// it runs again.
    pub fn is_torn(&self) -> bool {
        self.torn.get()
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.shared.keys
    }

    /// The summary that was sealed with a token; `None` where an earlier version sealed it, without
    /// one.
    ///
    /// # Errors
    /// As [`Snapshot::unseal`].
    pub fn summary(
        &self,
        slot: SlotId,
        associated_data: &[u8],
        sealed: &SealedToken,
    ) -> Result<Option<Summary>, StoreError> {
        self.untorn(self.shared.summary(slot, associated_data, sealed))
    }

    /// Opens a token that was sealed under this slot's key.
    ///
    /// # Errors
    /// [`StoreError::Erased`] when the slot was overwritten, [`StoreError::Corrupt`] when the
    /// record is not the one that was sealed.
    pub fn unseal(
        &self,
        slot: SlotId,
        associated_data: &[u8],
        sealed: &SealedToken,
    ) -> Result<Vec<u8>, StoreError> {
        self.untorn(self.shared.unseal(slot, associated_data, sealed))
    }

    fn untorn<T>(&self, opened: Result<T, StoreError>) -> Result<T, StoreError> {
        // Keys are overwritten in place: of what was replaced or erased since, records are left and
        // no content. No other key takes the place before this snapshot is gone.
        if opened.is_err() && !self.database.shows(&self.state) {
            self.torn.set(true);
        }
        opened
    }

    /// What `make` makes of the content under `slot`, with the bytes that it takes; or what another
    /// reader made of it within the last seconds. Readers of one slot make the same of it. It is
    /// forgotten before the slot is overwritten.
    ///
    /// # Errors
    /// What `make` ends with.
    pub fn opened<T: Any + Send + Sync, E>(
        &self,
        slot: SlotId,
        make: impl FnOnce() -> Result<(T, usize), E>,
    ) -> Result<Arc<T>, E> {
        self.shared.opened(slot, make)
    }
}

impl Read for Snapshot<'_> {
    fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Value>, StoreError> {
        let bytes = self.database.get_in(&self.state, &key_bytes::<T>(key))?;
        bytes.map(|bytes| decode::<T>(&bytes)).transpose()
    }

    fn scan<T: Table>(&self, scan: Scan<T>, limit: usize) -> Result<Vec<RecordOf<T>>, StoreError> {
        scanned(&self.database, &self.state, &scan, limit)
    }
}

impl Read for Store {
    fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Value>, StoreError> {
        Self::get::<T>(self, key)
    }

    fn scan<T: Table>(&self, scan: Scan<T>, limit: usize) -> Result<Vec<RecordOf<T>>, StoreError> {
        let database = self.0.shared.database()?;
        scanned(&database, &database.shown(), &scan, limit)
    }
}

fn scanned<T: Table>(
    database: &Database,
    state: &State,
    scan: &Scan<T>,
    limit: usize,
) -> Result<Vec<RecordOf<T>>, StoreError> {
    let records = database.range_in(state, &scan.start, &scan.prefix, limit)?;
    records.iter().map(|(key, value)| decode_record::<T>(key, value)).collect()
}

impl Store {
    /// Reads one durable record.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Value>, StoreError> {
        let bytes = self.0.shared.database()?.get(&key_bytes::<T>(key))?;
        bytes.map(|bytes| decode::<T>(&bytes)).transpose()
    }

    /// Forgets what [`Snapshot::opened`] holds for longer than some seconds.
    pub fn forget_opened(&self) {
        self.0.shared.contents.end(self.0.shared.clock.elapsed());
    }

    /// How many contents are held, and their bytes.
    #[cfg(test)]
    pub(crate) fn opened_now(&self) -> (usize, usize) {
        self.0.shared.contents.size()
    }

    /// Runs `f` against one state of the store, on a thread that serves nobody else: several
    /// records, and what is sealed for them, as they were at one moment. Where content of that
    /// moment was erased before `f` read it, `f` runs again with a newer one, so it must change
    /// nothing outside of itself.
    ///
    /// # Errors
    /// What `f` ends with, or the store's failure.
    pub async fn read<T, E>(
        &self,
        f: impl Fn(&Snapshot<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let store = self.clone();
        let read = worker::run(&self.0.shared.owner, "read", move || store.read_blocking(f));
        read.await.map_err(StoreError::from)?
    }

    /// As [`Store::read`], on this thread: for callers outside of async code, and for what takes no
    /// longer than a task may keep its thread. `f` must not commit.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn read_blocking<T, E: From<StoreError>>(
        &self,
        f: impl Fn(&Snapshot<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let shared = &self.0.shared;
        for _ in 0..TRIES_MAX {
            let snapshot = Snapshot::of(shared)?;
            let read = f(&snapshot);
            if !snapshot.is_torn() {
                return read;
            }
        }
        // What it reads is replaced again and again: this once, erasing waits until it is done.
        let _standing = shared.erasing.read().unwrap_or_else(PoisonError::into_inner);
        f(&Snapshot::of(shared)?)
    }
}
