//! Reading the audit log back, verifying it, and keeping its signed checkpoints.

use std::sync::PoisonError;

use super::schema::{Checkpoints, Leaves, Log};
use super::table::{decode_record, key_bytes};
use super::{CommitError, Committed, RecordOf, Scan, Store, StoreError, Table};
use crate::audit::{
    Checkpoint, Entry, Event, Operation, Tree, Verifier, VerifyError, leaf_hash, verify_checkpoint,
};
use crate::id::Timestamp;
use crate::jose::PublicKey;

/// Leaves read at a time while the whole log is recomputed.
const PAGE: usize = 1024;

/// Checkpoints read at a time.
const CHECKPOINTS_PAGE: usize = 4096;

/// Why the log does not verify.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It was changed.
    #[error(transparent)]
    Changed(#[from] VerifyError),
    /// It cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Right edge of the audit log after the last durable commit.
    pub fn log(&self) -> Tree {
        self.0.shared.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The log as it was when it had `size` entries; `None` when it has fewer.
    ///
    /// # Errors
    /// When its entries cannot be read.
    pub fn log_at(&self, size: u64) -> Result<Option<Tree>, StoreError> {
        let now = self.log();
        if size >= now.size() {
            return Ok((size == now.size()).then_some(now));
        }
        let mut tree = self.edge_before(size)?;
        while tree.size() < size {
            let left = usize::try_from(size - tree.size()).unwrap_or(PAGE).min(PAGE);
            let page = self.leaves(tree.size(), left)?;
            if page.is_empty() {
                return Err(StoreError::Corrupt("an entry of the log is missing".to_owned()));
            }
            page.iter().for_each(|(_, leaf)| tree.append(leaf_hash(leaf)));
        }
        Ok(Some(tree))
    }

    /// The log after the last commit that was within its first `size` entries.
    fn edge_before(&self, size: u64) -> Result<Tree, StoreError> {
        let mut end = size;
        while let Some(last) = end.checked_sub(1) {
            let Some((first, record)) = self.leaves_at(last)? else { break };
            match record.at {
                Some(at) if at.log.size() <= size => return Ok(at.log),
                _ => end = first,
            }
        }
        Ok(Tree::default())
    }

    /// The record with this entry, or the last one before it, durable or not.
    fn leaves_at(&self, entry: u64) -> Result<Option<RecordOf<Log>>, StoreError> {
        let database = self.0.shared.database()?;
        let found = database.newest_until(&[Log::PREFIX], &key_bytes::<Log>(&entry))?;
        found.map(|(key, value)| decode_record::<Log>(&key, &value)).transpose()
    }

    /// Number of entries that became durable at `time` or before. Times in the log do not go back,
    /// unless the clock did.
    ///
    /// # Errors
    /// When its entries cannot be read.
    pub fn entries_until(&self, time: Timestamp) -> Result<u64, StoreError> {
        let (mut until, mut after) = (0, self.log().size());
        while until < after {
            let middle = until + (after - until) / 2;
            let leaf = self.leaves(middle, 1)?.pop();
            let entry = leaf.and_then(|(_, leaf)| Entry::parse(&leaf).ok());
            let entry = entry.ok_or_else(|| {
                StoreError::Corrupt(format!("entry {middle} of the log cannot be read"))
            })?;
            if entry.at <= time { until = middle + 1 } else { after = middle }
        }
        Ok(until)
    }

    /// Leaves from `from` on with their indexes, at most `limit`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn leaves(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let (durable, mut found) = (self.log().size(), Vec::new());
        let mut record = self.leaves_at(from)?;
        while let Some((first, Leaves { leaves, .. })) = record {
            let next = first + leaves.len() as u64;
            let numbered = (first..durable).zip(leaves).filter(|(index, _)| *index >= from);
            let left = limit - found.len();
            found.extend(numbered.take(left).map(|(index, leaf)| (index, leaf.into_vec())));
            if found.len() == limit || next == first {
                break;
            }
            record = self.get::<Log>(&next)?.map(|leaves| (next, leaves));
        }
        Ok(found)
    }

    /// Keeps a signed checkpoint of this log. Keeping it is itself an event, which stands after it.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the log is not as the checkpoint says; when the store failed.
    pub async fn keep_checkpoint(
        &self,
        checkpoint: Checkpoint,
        jws: String,
    ) -> Result<(), StoreError> {
        let Checkpoint { size, root, .. } = checkpoint;
        let log = self.log_at(size)?;
        if log.is_none_or(|log| log.root() != root) {
            let what = format!("its log at entry {size} is not the one that was signed");
            return Err(StoreError::Corrupt(what));
        }
        let committed = self.commit(move |tx| {
            tx.put::<Checkpoints>(&size, &jws);
            let event = Event::new(Operation::Key, "log.checkpoint", "node");
            let event = event.with("size", size).with("root", root.to_string());
            Ok::<_, StoreError>(Committed::new((), event))
        });
        committed.await.map_err(CommitError::flatten)
    }

    /// Recomputes the whole log, and compares it with its edge and with every checkpoint that `key`
    /// signed.
    ///
    /// # Errors
    /// When it was changed, or cannot be read.
    pub fn verify_log(&self, key: &PublicKey) -> Result<Tree, LogError> {
        self.walk_log(key, |_| {})
    }

    /// As [`Self::verify_log`], telling of each entry on the way.
    pub(super) fn walk_log(
        &self,
        key: &PublicKey,
        mut told: impl FnMut(Entry),
    ) -> Result<Tree, LogError> {
        let edge = self.log();
        let mut checkpoints = self.kept_checkpoints(key)?.into_iter().peekable();
        let mut verifier = Verifier::default();
        while verifier.tree().size() < edge.size() {
            let from = verifier.tree().size();
            let page = self.leaves(from, PAGE)?;
            if page.is_empty() {
                return Err(VerifyError::Gap { expected: from, found: edge.size() }.into());
            }
            for (index, leaf) in page {
                if index >= edge.size() {
                    break;
                }
                told(verifier.push(index, &leaf)?);
                let size = verifier.tree().size();
                if let Some(checkpoint) = checkpoints.next_if(|c| c.size == size) {
                    verifier.check(&checkpoint)?;
                }
            }
        }
        if *verifier.tree() != edge {
            return Err(VerifyError::Root(edge.size()).into());
        }
        Ok(edge)
    }

    fn kept_checkpoints(&self, key: &PublicKey) -> Result<Vec<Checkpoint>, LogError> {
        let mut kept = Vec::new();
        let mut pages = Scan::<Checkpoints>::all().pages(CHECKPOINTS_PAGE);
        while let Some(page) = pages.next(self)? {
            for (size, jws) in page.into_iter().filter(|(size, _)| *size > 0) {
                kept.push(verify_checkpoint(&jws, key).map_err(|_| VerifyError::Root(size))?);
            }
        }
        Ok(kept)
    }
}
