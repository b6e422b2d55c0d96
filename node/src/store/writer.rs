//! The writer: takes what waits, runs it as one group, makes it durable, then answers.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use tokio::sync::mpsc;

use super::group::{Answer, Group, Job};
use super::schema::{COUNTED, Log};
use super::{Shared, StoreError, key_bytes, open};
use crate::audit::Tree;
use crate::id::FeedSeq;

/// Transactions in one flush: bounds the memory of a group and how long its first caller waits.
const GROUP_MAX: usize = 256;

/// Bytes of records in one flush, for the same reasons.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Starts the writer thread; it ends when nobody can send any more.
pub(super) fn spawn(
    shared: Arc<Shared>,
    waiting: mpsc::Receiver<Job>,
) -> Result<std::thread::JoinHandle<()>, StoreError> {
    let database = File::open(open::database_file(&shared.folder)).map_err(failed)?;
    let (log, feed) = open::position(&shared.tree)?;
    let writer = Writer { shared, database, log, feed, failed: None };
    std::thread::Builder::new()
        .name("store-writer".to_owned())
        .spawn(move || writer.run(waiting))
        .map_err(failed)
}

struct Writer {
    shared: Arc<Shared>,
    database: File,
    log: Tree,
    feed: FeedSeq,
    failed: Option<StoreError>,
}

impl Writer {
    fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        while let Some(first) = waiting.blocking_recv() {
            let mut group = Group::new(Arc::clone(&self.shared), self.log.clone(), self.feed);
            let mut answers = vec![first(&mut group)];
            while answers.len() < GROUP_MAX && group.bytes() < GROUP_BYTES_MAX {
                let Ok(job) = waiting.try_recv() else { break };
                answers.push(job(&mut group));
            }
            self.finish(group, answers);
        }
    }

    fn finish(&mut self, group: Group, answers: Vec<Answer>) {
        let flushed = match &self.failed {
            Some(error) => Err(error.clone()),
            None => self.flush(group),
        };
        if let Err(error) = &flushed
            && self.failed.is_none()
        {
            tracing::error!("the store stops writing: {error}");
            self.failed = Some(StoreError::Failed(error.to_string()));
        }
        answers.into_iter().for_each(|answer| answer(&flushed));
    }

    /// New keys, then the records in one batch, then keys that are to be forgotten. The flush that is safe is sled's
    /// own and `sync_data` on its file. The last to be forgotten are named in the batch: after a crash in between the
    /// next start overwrites them.
    fn flush(&mut self, group: Group) -> Result<(), StoreError> {
        if group.leaves.is_empty() {
            return Ok(());
        }
        let shared = &self.shared;
        shared.slots.keep(&group.kept, &shared.keys, &shared.entropy)?;
        let mut batch = sled::Batch::default();
        for (key, value) in group.writes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        for (index, leaf) in group.leaves {
            let leaf = postcard::to_allocvec(&leaf).map_err(failed)?;
            batch.insert(key_bytes::<Log>(&index), leaf);
        }
        let counts = self.counts_with(&group.counted);
        let (log, feed, erasing) = (&group.log, group.feed, group.erased.as_slice());
        open::write_position(&mut batch, &open::Position { log, feed, counts, erasing })?;
        shared.tree.apply_batch(batch).map_err(failed)?;
        shared.tree.flush().map_err(failed)?;
        self.database.sync_data().map_err(failed)?;
        shared.slots.erase(&group.erased)?;
        self.log = group.log;
        self.feed = group.feed;
        shared.slots.release(group.erased);
        for (prefix, count) in COUNTED.iter().zip(counts) {
            if let Some(held) = shared.counts.get(prefix) {
                held.store(count, Ordering::Relaxed);
            }
        }
        *shared.log.lock().unwrap_or_else(PoisonError::into_inner) = self.log.clone();
        for change in group.announced {
            // Nobody may be listening.
            let _ = shared.changes.send(change);
        }
        Ok(())
    }
}

impl Writer {
    fn counts_with(&self, changes: &BTreeMap<u8, i64>) -> [u64; COUNTED.len()] {
        COUNTED.map(|prefix| {
            let held = self.shared.counts.get(&prefix).map_or(0, |n| n.load(Ordering::Relaxed));
            held.saturating_add_signed(changes.get(&prefix).copied().unwrap_or_default())
        })
    }
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Io(error.to_string())
}
