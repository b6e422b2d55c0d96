//! The writer: takes the waiting commits, runs them as one group, applies the group to the
//! database, and hands it to the flusher.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use super::database::{Database, Record};
use super::flusher::{Applied, Effects, Flusher};
use super::group::{Answer, Group, Job};
use super::log_index::Indexer;
use super::open::Opened;
use super::schema::{At, COUNTED, Leaf, Leaves, Log};
use super::shared::Shared;
use super::table::key_bytes;
use super::{StoreError, open};
use crate::id::Timestamp;

/// Most transactions in one group: bounds its memory and how long its first caller waits.
const GROUP_MAX: usize = 256;

/// Most bytes of records in one group, for the same reasons. At most four groups are in memory: one
/// that runs, one that waits for the flusher, two that it flushes.
pub(super) const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most bytes of leaves in one record.
const LEAVES_BYTES_MAX: usize = 64 * 1024;

/// How long to wait for more commits while several callers commit at once: a flush costs as much
/// for one as for many.
const GATHERING: Duration = Duration::from_micros(50);

/// How often, while the store does not write, to refuse callers and to check whether it can be
/// opened again.
const STEP: Duration = Duration::from_millis(50);

/// How many steps to wait for readers of the old database: a read takes far less.
const READERS_END_STEPS: u32 = 100;

/// Steps before it is opened again: at first, and at most if it keeps failing.
const STEPS: (u32, u32) = (2, 1200);

/// A failure this soon after the last opening counts as the same one, in seconds: the next pause is
/// twice as long.
const SAME_FAILURE_S: i64 = 120;

/// Starts the writer, which ends when nobody can send any more.
pub(super) fn spawn(
    shared: &Arc<Shared>,
    opened: Opened,
    waiting: mpsc::Receiver<Job>,
) -> Result<JoinHandle<()>, StoreError> {
    let mut writer = Writer {
        shared: Arc::clone(shared),
        at: opened.at.clone(),
        indexer: Indexer::default(),
        flow: None,
        runtime: Handle::try_current().ok(),
        opened_at: shared.clock.now(),
        steps: STEPS.0,
    };
    writer.begin(opened)?;
    let run = move || writer.run(waiting);
    Ok(std::thread::Builder::new().name("store-writer".to_owned()).spawn(run)?)
}

fn ended(thread: &str) -> StoreError {
    StoreError::Io(format!("the thread {thread} ended"))
}

struct Writer {
    shared: Arc<Shared>,
    /// The state after the last applied group.
    at: At,
    /// Of the log's last segment.
    indexer: Indexer,
    /// None while the store does not write.
    flow: Option<Flow>,
    runtime: Option<Handle>,
    opened_at: Timestamp,
    /// Before it is opened again.
    steps: u32,
}

/// The open database and the thread that makes it durable.
struct Flow {
    database: Arc<Database>,
    to_flush: SyncSender<Applied>,
    flusher: JoinHandle<()>,
}

impl Flow {
    fn begin(
        shared: &Arc<Shared>,
        database: Arc<Database>,
        runtime: Option<Handle>,
    ) -> Result<Self, StoreError> {
        let (to_flush, applied) = sync_channel(1);
        let flusher = Flusher::new(Arc::clone(shared), Arc::clone(&database), runtime);
        let held = Arc::clone(shared);
        let run = move || {
            if catch_unwind(AssertUnwindSafe(|| flusher.run(&applied))).is_err() {
                held.stop(&ended("store-flusher"));
            }
        };
        let flusher = std::thread::Builder::new().name("store-flusher".to_owned()).spawn(run)?;
        Ok(Self { database, to_flush, flusher })
    }

    /// Once this returns, everything given to it is answered.
    fn end(self) {
        drop(self.to_flush);
        // If it panicked, it has stopped the store.
        let _ = self.flusher.join();
    }
}

impl Writer {
    fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        let mut before = 0;
        while let Some(first) = waiting.blocking_recv() {
            if before > 1 {
                std::thread::sleep(GATHERING);
            }
            // A transaction that panics fails its whole group, and the store is opened again.
            let worked = catch_unwind(AssertUnwindSafe(|| self.work(first, &mut waiting)));
            before = worked.unwrap_or_else(|_| {
                self.shared.stop(&ended("store-writer"));
                0
            });
            if self.shared.writable().is_err() && !self.until_open(&mut waiting) {
                return;
            }
        }
        self.end();
    }

    /// Runs the waiting commits as one group; returns how many there were.
    fn work(&mut self, first: Job, waiting: &mut mpsc::Receiver<Job>) -> usize {
        let shared = Arc::clone(&self.shared);
        let Some(flow) = &self.flow else {
            refuse(&shared, first);
            return 0;
        };
        let database = Arc::clone(&flow.database);
        let mut group = Group::new(shared, database, self.at.log.clone(), self.at.feed);
        let mut answers = vec![first(Some(&mut group))];
        while answers.len() < GROUP_MAX && group.bytes() < GROUP_BYTES_MAX {
            let Ok(job) = waiting.try_recv() else { break };
            answers.push(job(Some(&mut group)));
        }
        let jobs = answers.len();
        self.finish(group, answers);
        jobs
    }

    fn finish(&mut self, group: Group, answers: Vec<Answer>) {
        let shared = Arc::clone(&self.shared);
        let applied = shared.writable().and_then(|()| self.apply(group));
        let effects = applied.unwrap_or_else(|error| {
            shared.stop(&error);
            None
        });
        let Some(flow) = &self.flow else { return };
        if flow.to_flush.send(Applied { effects, answers }).is_err() {
            // It answers nobody any more; each caller is told that the store is closed.
            shared.stop(&ended("store-flusher"));
        }
    }

    /// First it makes new keys and the tokens sealed under them durable, then the records in one
    /// batch. After a crash in between, the next start overwrites the keys that no record names.
    fn apply(&mut self, group: Group) -> Result<Option<Effects>, StoreError> {
        let (Some(flow), false) = (&self.flow, group.leaves.is_empty()) else { return Ok(None) };
        let shared = &self.shared;
        shared.disk.make_room(&shared.reserve, GROUP_BYTES_MAX as u64);
        shared.slots.keep(&group.kept, &shared.keys, &shared.entropy)?;
        shared.cells.keep(&group.cells)?;
        let counts = counts_with(self.at.counts, &group.counted);
        let at = At { log: group.log, feed: group.feed, counts };
        let log = log_records(self.at.log.size(), group.leaves, at.clone());
        let mut log = log.iter().map(encoded).collect::<Result<Vec<_>, _>>()?;
        for terms in group.terms {
            log.extend(self.indexer.push(terms)?);
        }
        flow.database.apply(group.writes, log, at.log.clone())?;
        self.at = at.clone();
        let At { log, counts, .. } = at;
        Ok(Some(Effects {
            erased: group.erased,
            freed: group.freed,
            log,
            counts,
            announced: group.announced,
        }))
    }

    /// Refuses callers until the store is open again; `false` when none is left.
    fn until_open(&mut self, waiting: &mut mpsc::Receiver<Job>) -> bool {
        self.end();
        let again = self.shared.clock.now().since(self.opened_at) < SAME_FAILURE_S;
        self.steps = if again { (self.steps * 2).min(STEPS.1) } else { STEPS.0 };
        let mut left = self.steps;
        let mut told = None;
        loop {
            loop {
                match waiting.try_recv() {
                    Ok(job) => refuse(&self.shared, job),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return false,
                }
            }
            std::thread::sleep(STEP);
            left = left.saturating_sub(1);
            if left > 0 {
                continue;
            }
            match self.open_again() {
                Ok(()) => return true,
                Err(error) => {
                    if told.as_ref() != Some(&error) {
                        tracing::error!("the store could not be opened again yet: {error}");
                    }
                    self.steps = (self.steps * 2).min(STEPS.1);
                    left = if error == StoreError::Full { STEPS.0 } else { self.steps };
                    told = Some(error);
                }
            }
        }
    }

    /// Drops the database, opens what is durable of it, and continues from there.
    fn open_again(&mut self) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        if !shared.disk.make_room(&shared.reserve, GROUP_BYTES_MAX as u64) {
            return Err(StoreError::Full);
        }
        if let Some(old) = shared.database.swap(None) {
            for _ in 0..READERS_END_STEPS {
                if Arc::strong_count(&old) == 1 {
                    break;
                }
                std::thread::sleep(STEP);
            }
        }
        self.begin(open::reopen(&shared)?)?;
        shared.go_on();
        Ok(())
    }

    /// Gives readers and the writer this database from now on.
    fn begin(&mut self, Opened { database, at }: Opened) -> Result<(), StoreError> {
        let shared = &self.shared;
        self.flow = Some(Flow::begin(shared, Arc::clone(&database), self.runtime.clone())?);
        for (prefix, count) in COUNTED.iter().zip(at.counts) {
            if let Some(held) = shared.counts.get(prefix) {
                held.store(count, Ordering::Relaxed);
            }
        }
        *shared.log.lock().unwrap_or_else(PoisonError::into_inner) = at.log.clone();
        self.indexer = Indexer::of_log(&database, at.log.size())?;
        self.at = at;
        self.opened_at = shared.clock.now();
        shared.database.store(Some(database));
        Ok(())
    }

    fn end(&mut self) {
        if let Some(flow) = self.flow.take() {
            flow.end();
        }
    }
}

/// Answers a job that is not run.
fn refuse(shared: &Shared, job: Job) {
    let answer = job(None);
    answer(&shared.writable().and(Err(StoreError::Closed)));
}

/// Packs the leaves into few records, because a key costs more than its bytes. The last record has
/// the state after the commit.
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

fn encoded((first, leaves): &(u64, Leaves)) -> Result<Record, StoreError> {
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
