//! A group of transactions on its way to one durable flush: reads see the writes of the group so
//! far.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::cells::{Run, Taken};
use super::database::{Database, Stored, Writes};
use super::log_index::terms_of;
use super::recent::Touched;
use super::schema::{COUNTED, Leaf, SealedToken, SlotId, Term};
use super::seal::Keys;
use super::shared::Shared;
use super::slots::Slot;
use super::table::{decode, decode_record, key_bytes};
use super::{
    Change, CommitError, Committed, Read, RecordOf, Scan, StoreError, Table, VALUE_BYTES_MAX,
};
use crate::audit::{Event, Tree, leaf_hash};
use crate::id::{FeedSeq, Timestamp};

/// One waiting commit: runs against the group, and returns what to do once it is durable, or has
/// failed. It gets no group while the store does not write.
pub(super) type Job = Box<dyn FnOnce(Option<&mut Group>) -> Answer + Send>;

/// Tells the caller the result of the flush.
pub(super) type Answer = Box<dyn FnOnce(&Result<(), StoreError>) + Send>;

/// Answers one commit.
type Outcome<T, E> = oneshot::Receiver<Result<T, CommitError<E>>>;

/// Turns a transaction into a job; its outcome arrives at the receiver.
pub(super) fn job<T, E>(
    f: impl FnOnce(&mut Tx<'_>) -> Result<Committed<T>, E> + Send + 'static,
) -> (Job, Outcome<T, E>)
where
    T: Send + 'static,
    E: Send + 'static,
{
    let (sender, outcome) = oneshot::channel();
    let job: Job = Box::new(move |group| {
        let result = group.map(|group| group.run(f));
        Box::new(move |flushed| {
            // A caller that went away needs no answer.
            let _ = sender.send(match (result, flushed) {
                (Some(result), Ok(())) => result,
                (None, Ok(())) => Err(CommitError::Store(StoreError::Closed)),
                // A refusal may also be based on what did not become durable.
                (_, Err(error)) => Err(CommitError::Store(error.clone())),
            });
        })
    });
    (job, outcome)
}

/// A job that does nothing but report the result of the flush.
pub(super) fn nothing(told: impl FnOnce(&Result<(), StoreError>) + Send + 'static) -> Job {
    Box::new(|_| Box::new(told))
}

/// The writes of a group, newest last.
pub(super) struct Group {
    shared: Arc<Shared>,
    database: Arc<Database>,
    pub(super) writes: Writes,
    pub(super) kept: Vec<Slot>,
    pub(super) cells: Vec<(Taken, Bytes)>,
    pub(super) erased: Vec<SlotId>,
    pub(super) freed: Vec<Run>,
    pub(super) announced: Vec<Change>,
    pub(super) counted: BTreeMap<u8, i64>,
    pub(super) leaves: Vec<Leaf>,
    /// What each of the leaves is found by.
    pub(super) terms: Vec<Vec<Term>>,
    pub(super) log: Tree,
    pub(super) feed: FeedSeq,
    bytes: usize,
}

impl Group {
    pub(super) fn new(
        shared: Arc<Shared>,
        database: Arc<Database>,
        log: Tree,
        feed: FeedSeq,
    ) -> Self {
        Self {
            shared,
            database,
            writes: Writes::new(),
            kept: vec![],
            cells: vec![],
            erased: vec![],
            freed: vec![],
            announced: vec![],
            counted: BTreeMap::new(),
            leaves: vec![],
            terms: vec![],
            log,
            feed,
            bytes: 0,
        }
    }

    fn run<T, E>(
        &mut self,
        f: impl FnOnce(&mut Tx<'_>) -> Result<Committed<T>, E>,
    ) -> Result<T, CommitError<E>> {
        let mut tx = Tx {
            now: self.shared.clock.now(),
            feed: self.feed,
            group: self,
            undo: vec![],
            kept: vec![],
            cells: vec![],
            erased: vec![],
            freed: vec![],
            announced: vec![],
            counted: vec![],
            failed: None,
        };
        let result = f(&mut tx);
        match (result, tx.failed.take()) {
            (Ok(committed), None) => {
                if let Err(error) = tx.index_events(&committed.events) {
                    tx.undo();
                    return Err(CommitError::Store(error));
                }
                tx.keep(committed.events);
                Ok(committed.value)
            }
            (Ok(_), Some(error)) => {
                tx.undo();
                Err(CommitError::Store(error))
            }
            (Err(refusal), _) => {
                tx.undo();
                Err(CommitError::Refused(refusal))
            }
        }
    }

    /// Approximate bytes of its records.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What `f` makes of a record as the group left it.
    fn read<R>(&self, key: &[u8], f: impl FnOnce(Option<&[u8]>) -> R) -> Result<R, StoreError> {
        if let Some(written) = self.writes.get(key) {
            return Ok(f(written.as_deref()));
        }
        Ok(f(self.database.newest(key)?.as_deref()))
    }

    fn holds(&self, key: &[u8]) -> Result<bool, StoreError> {
        self.read(key, |bytes| bytes.is_some())
    }

    fn log(&mut self, event: Event, at: Timestamp) {
        let index = self.log.size();
        let entry = event.entry(index, at, self.shared.entropy.bytes());
        self.terms.push(terms_of(&entry));
        let leaf = entry.leaf();
        self.log.append(leaf_hash(&leaf));
        self.leaves.push(Leaf::from(leaf));
    }
}

impl Read for Tx<'_> {
    fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Value>, StoreError> {
        Self::get::<T>(self, key)
    }

    /// Joins what is stored with what the group wrote, both in the order of their keys.
    fn scan<T: Table>(&self, scan: Scan<T>, limit: usize) -> Result<Vec<RecordOf<T>>, StoreError> {
        let (start, prefix) = (scan.start.as_slice(), scan.prefix.as_slice());
        let mut stored = self.group.database.newest_from(start, prefix).peekable();
        let from = (Bound::Included(start), Bound::Unbounded);
        let written = self.group.writes.range::<[u8], _>(from);
        let mut written = written.take_while(|(key, _)| key.starts_with(prefix)).peekable();
        let mut found = Vec::new();
        while found.len() < limit {
            let next_written = written.peek().map(|(key, _)| key.as_slice());
            // A stored record before the next one that the group wrote stands as it is. One that
            // can't be read ends the scan wherever it stands: behind it anything may be hidden.
            let stands = stored.next_if(|record| match (record, next_written) {
                (Ok((key, _)), Some(next)) => key.as_ref() < next,
                _ => true,
            });
            if let Some(record) = stands {
                let (key, value) = record?;
                found.push(decode_record::<T>(&key, &value)?);
                continue;
            }
            let Some((key, value)) = written.next() else { break };
            // The same record as it was before the group wrote it, or took it out.
            let same = |record: &Result<(Stored, Stored), StoreError>| {
                record.as_ref().is_ok_and(|(stored, _)| stored.as_ref() == key.as_slice())
            };
            stored.next_if(same);
            if let Some(value) = value {
                found.push(decode_record::<T>(key, value)?);
            }
        }
        Ok(found)
    }
}

/// One transaction: reads see its own writes and those of earlier transactions of the group.
pub struct Tx<'a> {
    group: &'a mut Group,
    undo: Vec<(Vec<u8>, Option<Option<Vec<u8>>>)>,
    kept: Vec<Slot>,
    cells: Vec<(Taken, Bytes)>,
    erased: Vec<SlotId>,
    freed: Vec<Run>,
    announced: Vec<Change>,
    counted: Vec<(u8, i64)>,
    feed: FeedSeq,
    now: Timestamp,
    failed: Option<StoreError>,
}

impl Tx<'_> {
    /// Reads one record.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Value>, StoreError> {
        self.group.read(&key_bytes::<T>(key), |bytes| bytes.map(decode::<T>).transpose())?
    }

    /// Writes a record; one over [`VALUE_BYTES_MAX`] fails the transaction.
    pub fn put<T: Table>(&mut self, key: &T::Key, value: &T::Value) {
        match postcard::to_allocvec(value) {
            Ok(bytes) if bytes.len() <= VALUE_BYTES_MAX => {
                self.write::<T>(key_bytes::<T>(key), Some(bytes));
            }
            Ok(bytes) => self.failed = Some(StoreError::TooLarge(bytes.len())),
            Err(error) => self.failed = Some(StoreError::Corrupt(error.to_string())),
        }
    }

    /// Writes a new record, like [`Self::put`]; if there is one already the transaction fails, so
    /// that nothing live is silently overwritten.
    pub fn insert<T: Table>(&mut self, key: &T::Key, value: &T::Value) {
        match self.group.holds(&key_bytes::<T>(key)) {
            Ok(false) => self.put::<T>(key, value),
            Ok(true) => self.failed = Some(StoreError::Occupied),
            Err(error) => self.failed = Some(error),
        }
    }

    /// Deletes a record, if there is one.
    pub fn delete<T: Table>(&mut self, key: &T::Key) {
        self.write::<T>(key_bytes::<T>(key), None);
    }

    fn write<T: Table>(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        if COUNTED.contains(&T::PREFIX) {
            match self.group.holds(&key) {
                Ok(before) => self.count(T::PREFIX, before, value.is_some()),
                Err(error) => self.failed = Some(error),
            }
        }
        self.group.bytes += value.as_ref().map_or(0, Vec::len);
        let before = self.group.writes.insert(key.clone(), value);
        self.undo.push((key, before));
    }

    fn count(&mut self, prefix: u8, before: bool, after: bool) {
        let change = i64::from(after) - i64::from(before);
        self.counted.push((prefix, change));
        *self.group.counted.entry(prefix).or_default() += change;
    }

    /// Corrects how many records a counted table has, while nothing else is written.
    pub(super) fn set_count(&mut self, prefix: u8, count: u64) {
        let held = self.group.shared.counts.get(&prefix).map_or(0, |held| held.load(Relaxed));
        let counted = self.group.counted.entry(prefix).or_default();
        let change = count as i64 - held as i64 - *counted;
        *counted += change;
        self.counted.push((prefix, change));
    }

    /// Makes a fresh slot, and the token sealed under its key, durable with this transaction;
    /// returns where the token lies, for its record.
    pub fn keep_slot(&mut self, slot: &Slot, sealed: &Bytes) -> SealedToken {
        self.kept.push(slot.clone());
        let length = u32::try_from(sealed.len()).unwrap_or_else(|_| {
            self.failed = Some(StoreError::TooLarge(sealed.len()));
            0
        });
        let taken = self.group.shared.cells.take(length);
        let first = taken.first();
        self.cells.push((taken, sealed.clone()));
        SealedToken::Run { first, length }
    }

    /// Overwrites a slot, once this transaction's records are durable and before it is answered;
    /// what was sealed under its key makes room for another.
    pub fn erase_slot(&mut self, slot: SlotId, sealed: &SealedToken) {
        self.erased.push(slot);
        self.freed.extend(sealed.run());
    }

    /// The next free place in the feed.
    pub fn next_feed(&mut self) -> FeedSeq {
        self.feed += 1;
        self.feed
    }

    /// Index that the first event of this transaction will have in the log.
    pub fn log_index(&self) -> u64 {
        self.group.log.size()
    }

    /// The tree of the log before this transaction.
    pub fn log(&self) -> &Tree {
        &self.group.log
    }

    /// The time of this transaction.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.group.shared.keys
    }

    /// Whether there is a record with this encoded key.
    pub(super) fn holds(&self, key: &[u8]) -> Result<bool, StoreError> {
        self.group.holds(key)
    }

    fn index_events(&mut self, events: &[Event]) -> Result<(), StoreError> {
        for (entry, event) in (self.log_index()..).zip(events) {
            if let Some(touched) = Touched::by_event(event, entry, self.now) {
                self.index(&touched)?;
            }
        }
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Announces a change to [`super::Store::changes`], once durable.
    pub fn announce(&mut self, change: Change) {
        self.announced.push(change);
    }

    fn keep(self, events: Vec<Event>) {
        let Self { group, now, feed, kept, cells, erased, freed, announced, .. } = self;
        group.feed = feed;
        group.bytes += cells.iter().map(|(_, sealed)| sealed.len()).sum::<usize>();
        group.kept.extend(kept);
        group.cells.extend(cells);
        group.erased.extend(erased);
        group.freed.extend(freed);
        group.announced.extend(announced);
        events.into_iter().for_each(|event| group.log(event, now));
    }

    fn undo(self) {
        for (key, before) in self.undo.into_iter().rev() {
            match before {
                Some(before) => self.group.writes.insert(key, before),
                None => self.group.writes.remove(&key),
            };
        }
        for (prefix, change) in self.counted {
            *self.group.counted.entry(prefix).or_default() -= change;
        }
    }
}
