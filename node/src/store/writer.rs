//! The writer: takes what waits, runs it as one group, makes it durable, then answers.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::group::{Answer, Group, Job};
use super::schema::{At, COUNTED, Leaf, Leaves, Log};
use super::{Shared, StoreError, key_bytes, open};
use crate::audit::Tree;
use crate::id::FeedSeq;

/// Transactions in one flush: bounds the memory of a group and how long its first caller waits.
const GROUP_MAX: usize = 256;

/// Bytes of records in one flush, for the same reasons.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of leaves in one record.
const LEAVES_BYTES_MAX: usize = 64 * 1024;

/// While several callers commit at once, so long is waited for more of them: a flush costs as much for one as for many.
const GATHERING: Duration = Duration::from_micros(50);

/// Starts the writer thread; it ends when nobody can send any more.
pub(super) fn spawn(
    shared: Arc<Shared>,
    waiting: mpsc::Receiver<Job>,
) -> Result<std::thread::JoinHandle<()>, StoreError> {
    let database = File::open(open::database_file(&shared.folder)).map_err(failed)?;
    let At { log, feed, .. } = open::position(&shared.tree)?;
    let runtime = Handle::try_current().ok();
    let writer = Writer { shared, database, log, feed, failed: None, runtime };
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
    runtime: Option<Handle>,
}

impl Writer {
    fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        let mut before = 0;
        while let Some(first) = waiting.blocking_recv() {
            if before > 1 {
                std::thread::sleep(GATHERING);
            }
            let mut group = Group::new(Arc::clone(&self.shared), self.log.clone(), self.feed);
            let mut answers = vec![first(&mut group)];
            while answers.len() < GROUP_MAX && group.bytes() < GROUP_BYTES_MAX {
                let Ok(job) = waiting.try_recv() else { break };
                answers.push(job(&mut group));
            }
            before = answers.len();
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
        let answering = move || answers.into_iter().for_each(|answer| answer(&flushed));
        match &self.runtime {
            // Callers wake where they run: one hand-over instead of one for each.
            Some(runtime) => drop(runtime.spawn(async move { answering() })),
            None => answering(),
        }
    }

    /// New keys and what is sealed under them, then the records in one batch, then keys that are to be forgotten. The flush
    /// that is safe is sled's own and `sync_data` on its file. After a crash in between the next start overwrites the
    /// keys that no record names.
    fn flush(&mut self, group: Group) -> Result<(), StoreError> {
        if group.leaves.is_empty() {
            return Ok(());
        }
        let shared = &self.shared;
        shared.slots.keep(&group.kept, &shared.keys, &shared.entropy)?;
        shared.cells.keep(&group.cells)?;
        let counts = self.counts_with(&group.counted);
        let (log, feed) = (group.log.clone(), group.feed);
        let mut logged = log_records(self.log.size(), group.leaves, At { log, feed, counts });
        let last = logged.pop().ok_or_else(|| failed("nothing to log"))?;
        let (last_key, last_value) = encoded(&last)?;
        if group.writes.is_empty() && logged.is_empty() {
            shared.tree.insert(last_key, last_value).map_err(failed)?;
        } else {
            let mut batch = sled::Batch::default();
            for (key, value) in group.writes {
                match value {
                    Some(value) => batch.insert(key, value),
                    None => batch.remove(key),
                }
            }
            for record in &logged {
                let (key, value) = encoded(record)?;
                batch.insert(key, value);
            }
            batch.insert(last_key, last_value);
            shared.tree.apply_batch(batch).map_err(failed)?;
        }
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

/// The leaves in few records: a key costs more than its bytes. The last says what is true after the commit.
fn log_records(mut first: u64, leaves: Vec<Leaf>, at: At) -> Vec<(u64, Leaves)> {
    let mut records: Vec<(u64, Leaves)> = Vec::new();
    let mut bytes = usize::MAX;
    for leaf in leaves {
        bytes = bytes.saturating_add(leaf.len());
        match records.last_mut().filter(|_| bytes <= LEAVES_BYTES_MAX) {
            Some((_, record)) => record.leaves.push(leaf),
            None => {
                bytes = leaf.len();
                records.push((first, Leaves { leaves: vec![leaf], at: None }));
            }
        }
        first += 1;
    }
    if let Some((_, last)) = records.last_mut() {
        last.at = Some(at);
    }
    records
}

fn encoded((first, leaves): &(u64, Leaves)) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
    Ok((key_bytes::<Log>(first), postcard::to_allocvec(leaves).map_err(failed)?))
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
