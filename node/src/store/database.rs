//! The open database, and what of it is not durable yet. Readers see what is durable; the writer's
//! transactions see the newest.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use sled::IVec;

use super::StoreError;

/// Records read beyond those wanted, where some of them are hidden.
const READ_AHEAD: usize = 64;

/// What the records that a group wrote were before.
type Before = BTreeMap<Vec<u8>, Option<IVec>>;

/// Encoded key and value.
pub(super) type Record = (Vec<u8>, Vec<u8>);

pub(super) struct Database {
    tree: sled::Db,
    file: File,
    /// Of each group that is applied and not durable, the oldest first.
    undurable: ArcSwap<Vec<Arc<Before>>>,
}

impl Database {
    /// Of a tree whose every record is durable; `file` is where it lies.
    pub(super) fn new(tree: sled::Db, file: &Path) -> Result<Self, StoreError> {
        let (file, undurable) = (File::open(file)?, ArcSwap::from_pointee(vec![]));
        Ok(Self { tree, file, undurable })
    }

    /// The newest state, for the writer.
    pub(super) fn tree(&self) -> &sled::Db {
        &self.tree
    }

    /// Applies a group: its records, and its part of the log. Until [`Self::settle`] readers see
    /// the records as they were.
    pub(super) fn apply(
        &self,
        writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
        log: Vec<Record>,
    ) -> Result<(), StoreError> {
        let before = writes.keys().map(|key| Ok((key.clone(), self.tree.get(key)?)));
        let before = Arc::new(before.collect::<Result<Before, StoreError>>()?);
        // Hidden first, then applied.
        self.undurable.rcu(|groups| {
            let mut groups = Vec::clone(groups);
            groups.push(Arc::clone(&before));
            groups
        });
        if let (true, [(key, value)]) = (writes.is_empty(), log.as_slice()) {
            self.tree.insert(key, value.as_slice())?;
            return Ok(());
        }
        let mut batch = sled::Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        log.into_iter().for_each(|(key, value)| batch.insert(key, value));
        Ok(self.tree.apply_batch(batch)?)
    }

    /// Makes durable what is applied: sled's own flush, and `sync_data` on its file.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.tree.flush()?;
        Ok(self.file.sync_data()?)
    }

    /// The oldest group that was not durable is.
    pub(super) fn settle(&self) {
        self.undurable.rcu(|groups| groups.iter().skip(1).cloned().collect::<Vec<_>>());
    }

    /// A record as it is durable. It is read before it is asked what is hidden: a group that
    /// becomes durable in between may be seen, one that does not may not.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        let stored = self.tree.get(key)?;
        let undurable = self.undurable.load();
        let before = undurable.iter().find_map(|group| group.get(key));
        Ok(before.cloned().unwrap_or(stored))
    }

    /// Durable records in the order of their keys, from `start` on, while they begin with `prefix`,
    /// at most `limit`.
    pub(super) fn range(
        &self,
        start: &[u8],
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<(IVec, IVec)>, StoreError> {
        let mut wanted = limit;
        loop {
            let stored = self.stored(start, prefix, wanted)?;
            // What is hidden is asked once, after all was read: a group is seen with those before
            // it, or not at all.
            let undurable = self.undurable.load();
            let last = stored.last().filter(|_| stored.len() == wanted).map(|(key, _)| key.clone());
            let hidden = hidden(&undurable, start, prefix, last.as_deref());
            if hidden.is_empty() {
                return Ok(stored.into_iter().take(limit).collect());
            }
            let more = hidden.len().saturating_add(READ_AHEAD);
            let mut records: BTreeMap<IVec, IVec> = stored.into_iter().collect();
            for (key, before) in hidden {
                match before {
                    Some(value) => records.insert(key.into(), value.clone()),
                    None => records.remove(key),
                };
            }
            if last.is_none() || records.len() >= limit {
                return Ok(records.into_iter().take(limit).collect());
            }
            wanted = wanted.saturating_add(more);
        }
    }

    fn stored(
        &self,
        start: &[u8],
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<(IVec, IVec)>, StoreError> {
        let mut stored = Vec::new();
        for record in self.tree.range(start..).take(limit) {
            let (key, value) = record?;
            if !key.starts_with(prefix) {
                break;
            }
            stored.push((key, value));
        }
        Ok(stored)
    }
}

/// What records of a range, up to `last`, were before the groups that are not durable.
fn hidden<'a>(
    undurable: &'a [Arc<Before>],
    start: &[u8],
    prefix: &[u8],
    last: Option<&[u8]>,
) -> BTreeMap<&'a [u8], &'a Option<IVec>> {
    let mut hidden = BTreeMap::new();
    for group in undurable {
        let range = group.range::<[u8], _>((Bound::Included(start), Bound::Unbounded));
        let within = range.take_while(|(key, _)| {
            key.starts_with(prefix) && last.is_none_or(|last| key.as_slice() <= last)
        });
        for (key, before) in within {
            hidden.entry(key.as_slice()).or_insert(before);
        }
    }
    hidden
}
