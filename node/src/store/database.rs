//! The open database, and the only file that names sled: one tree, opened, read, written in groups,
//! flushed. The writer's transactions see the newest state; readers see one that is durable, and
//! the same one for as long as they hold it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use arc_swap::ArcSwap;
use sled::IVec;

use super::StoreError;
use crate::audit::Tree;

/// Extra records to read, since some of them may be hidden.
const READ_AHEAD: usize = 64;

/// Bytes as the database holds them: cheap to clone.
pub(super) type Stored = IVec;

/// Encoded key and value, to be written.
pub(super) type Record = (Vec<u8>, Vec<u8>);

/// Records of a group by their keys: what to write, or to take out.
pub(super) type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A state that the database was in, between two groups. It knows what the groups after it wrote
/// over, so that it can be read as long as somebody holds it.
#[derive(Default)]
pub(super) struct State {
    log: Tree,
    next: OnceLock<Applied>,
}

/// A group that was applied.
struct Applied {
    /// What its records were before, in the order of their keys.
    before: Vec<(Stored, Option<Stored>)>,
    after: Arc<State>,
}

impl State {
    fn of(log: Tree) -> Arc<Self> {
        Arc::new(Self { log, next: OnceLock::new() })
    }

    /// Right edge of the audit log in this state.
    pub(super) fn log(&self) -> &Tree {
        &self.log
    }

    /// The groups after this state, the first one first.
    fn groups(&self) -> impl Iterator<Item = &Applied> {
        std::iter::successors(self.next.get(), |group| group.after.next.get())
    }

    /// What a record was in this state, where a group after it wrote over that.
    fn before(&self, key: &[u8]) -> Option<&Option<Stored>> {
        self.groups().find_map(|group| {
            let found = group.before.binary_search_by(|(written, _)| written.as_ref().cmp(key));
            found.ok().and_then(|place| group.before.get(place)).map(|(_, before)| before)
        })
    }

    /// What the records of a range were in this state, up to `last`, where groups after it wrote
    /// over them.
    fn hidden(
        &self,
        start: &[u8],
        prefix: &[u8],
        last: Option<&[u8]>,
    ) -> BTreeMap<&Stored, &Option<Stored>> {
        let mut hidden = BTreeMap::new();
        for Applied { before, .. } in self.groups() {
            let first = before.partition_point(|(key, _)| key.as_ref() < start);
            let range = before.iter().skip(first).take_while(|(key, _)| {
                key.starts_with(prefix) && last.is_none_or(|last| key.as_ref() <= last)
            });
            for (key, before) in range {
                hidden.entry(key).or_insert(before);
            }
        }
        hidden
    }
}

/// Drops the states after this one in a loop: after a state that was held for long there are many,
/// and dropping each from within the one before would overflow the stack.
impl Drop for State {
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(Applied { after, .. }) = next {
            next = Arc::into_inner(after).and_then(|mut state| state.next.take());
        }
    }
}

/// The states before the last group that was shown.
pub(super) struct Earlier(Weak<State>);

impl Earlier {
    /// Whether nobody reads them any more.
    pub(super) fn are_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

pub(super) struct Database {
    folder: PathBuf,
    tree: sled::Db,
    file: File,
    /// What readers see: the groups up to it are durable.
    shown: ArcSwap<State>,
    /// Behind the last group that was applied.
    newest: Mutex<Arc<State>>,
}

impl Database {
    /// Opens or makes the database in `folder`. What an earlier process wrote may be no further
    /// than in the system's memory before [`Self::sync`].
    pub(super) fn open(folder: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        remove_half_snapshots(folder)?;
        let config = sled::Config::new().path(folder).cache_capacity(cache_bytes);
        // A flipped bit can make sled panic while it opens.
        let opened = catch_unwind(AssertUnwindSafe(|| config.flush_every_ms(None).open()));
        let damaged = || StoreError::Corrupt("the database does not open".to_owned());
        let tree = opened.map_err(|_| damaged())?.map_err(|error| match error {
            sled::Error::Io(error) if error.to_string().contains("lock") => StoreError::InUse,
            other => other.into(),
        })?;
        let file = File::open(folder.join("db"))?;
        let state = State::of(Tree::default());
        let (shown, newest) = (ArcSwap::new(Arc::clone(&state)), Mutex::new(state));
        Ok(Self { folder: folder.to_owned(), tree, file, shown, newest })
    }

    /// What is in it is durable, and its log ends so: where readers begin.
    pub(super) fn begin(&self, log: Tree) {
        let state = State::of(log);
        self.shown.store(Arc::clone(&state));
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Makes durable whatever was written before. sled does not sync the file that says how it
    /// writes.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let made = ["conf", "blobs"].map(|name| self.folder.join(name));
        for path in made.iter().filter(|path| path.exists()).chain([&self.folder]) {
            File::open(path)?.sync_all()?;
        }
        self.flush()
    }

    /// Whether there is no record in it.
    pub(super) fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// Applies a group: its records, and its part of the log, which then ends at `edge`. Until
    /// [`Self::show_next`] readers see the records as they were. The log is not hidden: readers go
    /// by the edge of their state.
    pub(super) fn apply(
        &self,
        writes: Writes,
        log: Vec<Record>,
        edge: Tree,
    ) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        let mut before = Vec::with_capacity(writes.len());
        for (key, value) in writes {
            let key = Stored::from(key);
            before.push((key.clone(), self.tree.get(&key)?));
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        // A commit that does nothing but log is a single insert: it costs half of a batch.
        let only = if before.is_empty() && log.len() == 1 { log.first() } else { None };
        // Hidden first, then applied.
        let after = State::of(edge);
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = newest.next.set(Applied { before, after: Arc::clone(&after) });
        *newest = after;
        drop(newest);
        if let Some((key, value)) = only {
            self.tree.insert(key, value.as_slice())?;
            return Ok(());
        }
        log.into_iter().for_each(|(key, value)| batch.insert(key, value));
        Ok(self.tree.apply_batch(batch)?)
    }

    /// Makes everything applied durable: sled's own flush, and `sync_data` on its file.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.tree.flush()?;
        Ok(self.file.sync_data()?)
    }

    /// From now on readers see the next group, which is durable.
    pub(super) fn show_next(&self) -> Earlier {
        let shown = self.shown.load_full();
        if let Some(group) = shown.next.get() {
            self.shown.store(Arc::clone(&group.after));
        }
        Earlier(Arc::downgrade(&shown))
    }

    /// What readers see now.
    pub(super) fn shown(&self) -> Arc<State> {
        self.shown.load_full()
    }

    /// Whether readers that come now see this state.
    pub(super) fn shows(&self, state: &Arc<State>) -> bool {
        Arc::ptr_eq(&self.shown.load(), state)
    }

    /// A record as readers see it now.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        self.get_in(&self.shown.load(), key)
    }

    /// A record as it was in `state`: read first, and then it is asked what was written over it, so
    /// that no group that is applied meanwhile goes unnoticed.
    pub(super) fn get_in(&self, state: &State, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        let stored = self.tree.get(key)?;
        Ok(state.before(key).cloned().unwrap_or(stored))
    }

    /// Records as they were in `state`, in the order of their keys, from `start` on, while they
    /// begin with `prefix`, at most `limit`.
    pub(super) fn range_in(
        &self,
        state: &State,
        start: &[u8],
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<(Stored, Stored)>, StoreError> {
        let mut wanted = limit;
        loop {
            let stored = self.stored(start, prefix, wanted)?;
            let last = stored.last().filter(|_| stored.len() == wanted).map(|(key, _)| key.clone());
            let hidden = state.hidden(start, prefix, last.as_deref());
            if hidden.is_empty() {
                return Ok(stored.into_iter().take(limit).collect());
            }
            let more = hidden.len().saturating_add(READ_AHEAD);
            let mut records: BTreeMap<Stored, Stored> = stored.into_iter().collect();
            for (key, before) in hidden {
                match before {
                    Some(value) => records.insert(key.clone(), value.clone()),
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
    ) -> Result<Vec<(Stored, Stored)>, StoreError> {
        let records = self.newest_from(start, prefix).take(limit);
        records.collect()
    }

    /// A record as the last group that was applied left it.
    pub(super) fn newest(&self, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        Ok(self.tree.get(key)?)
    }

    /// As [`Self::newest`], the records from `start` on, while they begin with `prefix`.
    pub(super) fn newest_from<'a>(
        &self,
        start: &[u8],
        prefix: &'a [u8],
    ) -> impl Iterator<Item = Result<(Stored, Stored), StoreError>> + use<'a> {
        let begins = move |record: &sled::Result<(Stored, Stored)>| {
            record.as_ref().map_or(true, |(key, _)| key.starts_with(prefix))
        };
        self.tree.range(start..).take_while(begins).map(|record| Ok(record?))
    }

    /// As [`Self::newest`], the record with this key, or the last one before it, down to `from`.
    pub(super) fn newest_until(
        &self,
        from: &[u8],
        key: &[u8],
    ) -> Result<Option<(Stored, Stored)>, StoreError> {
        Ok(self.tree.range(from..=key).next_back().transpose()?)
    }

    /// As [`Self::newest`], the last record whose key begins with `prefix`.
    pub(super) fn newest_last(
        &self,
        prefix: &[u8],
    ) -> Result<Option<(Stored, Stored)>, StoreError> {
        Ok(self.tree.scan_prefix(prefix).next_back().transpose()?)
    }
}

/// A snapshot that was being written when the process died makes sled refuse to open; the log
/// rebuilds it.
fn remove_half_snapshots(folder: &Path) -> Result<(), StoreError> {
    let Ok(files) = fs::read_dir(folder) else { return Ok(()) };
    for file in files {
        let path = file?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Corruption { .. } => Self::Corrupt("a page does not verify".to_owned()),
            other => Self::Io(other.to_string()),
        }
    }
}
