//! The writer: takes what waits, runs it as one group, applies that to the database, and hands it to the flusher.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;

use super::flusher::{Applied, Effects, Flusher};
use super::group::{Answer, Group, Job};
use super::schema::{At, COUNTED, Leaf, Leaves, Log};
use super::{Shared, StoreError, key_bytes, open};
use crate::audit::Tree;
use crate::id::FeedSeq;

/// Transactions in one group: bounds its memory and how long its first caller waits.
const GROUP_MAX: usize = 256;

/// Bytes of records in one group, for the same reasons. Four groups are in memory at most: one that runs, one that waits
/// for the flusher, two that it flushes.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of leaves in one record.
const LEAVES_BYTES_MAX: usize = 64 * 1024;

/// While several callers commit at once, so long is waited for more of them: a flush costs as much for one as for many.
const GATHERING: Duration = Duration::from_micros(50);

/// Starts the writer and the flusher; they end when nobody can send any more.
pub(super) fn spawn(
    shared: &Arc<Shared>,
    waiting: mpsc::Receiver<Job>,
) -> Result<[JoinHandle<()>; 2], StoreError> {
    let At { log, feed, counts } = open::position(&shared.tree)?;
    let (to_flush, applied) = sync_channel(1);
    let flusher = Flusher::new(Arc::clone(shared))?;
    let writer = Writer { shared: Arc::clone(shared), log, feed, counts, to_flush };
    Ok([
        thread(shared, "store-writer", move || writer.run(waiting))?,
        thread(shared, "store-flusher", move || flusher.run(&applied))?,
    ])
}

/// Where it panics the store stops writing.
fn thread(
    shared: &Arc<Shared>,
    name: &'static str,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StoreError> {
    let shared = Arc::clone(shared);
    let run = move || {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            shared.stop(&ended(name));
            resume_unwind(panic);
        }
    };
    Ok(std::thread::Builder::new().name(name.to_owned()).spawn(run)?)
}

fn ended(thread: &str) -> StoreError {
    StoreError::Io(format!("the thread {thread} ended"))
}

struct Writer {
    shared: Arc<Shared>,
    log: Tree,
    feed: FeedSeq,
    counts: [u64; COUNTED.len()],
    to_flush: SyncSender<Applied>,
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
        let shared = Arc::clone(&self.shared);
        let applied = shared.writable().and_then(|()| self.apply(group));
        let effects = applied.unwrap_or_else(|error| {
            shared.stop(&error);
            None
        });
        if self.to_flush.send(Applied { effects, answers }).is_err() {
            // It answers nobody any more: each caller is told that the store is closed.
            shared.stop(&ended("store-flusher"));
        }
    }

    /// New keys and what is sealed under them first, durable, then the records in one batch. After a crash in between the
    /// next start overwrites the keys that no record names.
    fn apply(&mut self, group: Group) -> Result<Option<Effects>, StoreError> {
        if group.leaves.is_empty() {
            return Ok(None);
        }
        let shared = &self.shared;
        shared.slots.keep(&group.kept, &shared.keys, &shared.entropy)?;
        shared.cells.keep(&group.cells)?;
        let counts = counts_with(self.counts, &group.counted);
        let at = At { log: group.log.clone(), feed: group.feed, counts };
        let mut logged = log_records(self.log.size(), group.leaves, at);
        let last = logged.pop().ok_or_else(|| StoreError::Io("nothing to log".to_owned()))?;
        let (last_key, last_value) = encoded(&last)?;
        if group.writes.is_empty() && logged.is_empty() {
            shared.tree.insert(last_key, last_value)?;
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
            shared.tree.apply_batch(batch)?;
        }
        (self.log, self.feed, self.counts) = (group.log.clone(), group.feed, counts);
        let Group { log, erased, announced, .. } = group;
        Ok(Some(Effects { erased, log, counts, announced }))
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
    Ok((key_bytes::<Log>(first), postcard::to_allocvec(leaves)?))
}

fn counts_with(held: [u64; COUNTED.len()], changes: &BTreeMap<u8, i64>) -> [u64; COUNTED.len()] {
    let change = |prefix| changes.get(&prefix).copied().unwrap_or_default();
    let mut counts = held;
    for (count, prefix) in counts.iter_mut().zip(COUNTED) {
        *count = count.saturating_add_signed(change(prefix));
    }
    counts
}
