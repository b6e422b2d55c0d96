//! Opening: what is checked before anything is read or written, and what an earlier crash left half-done.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, OnceLock};

use tokio::sync::broadcast;

use super::cells::CellFile;
use super::recent::{INDEXED_KEY, WHOLE};
use super::schema::{
    At, COUNTED, Copies, Feed, Leaves, Log, Meta, Own, SCHEMA_VERSION, SealedToken, SlotId,
};
use super::seal::{Keys, seal, unseal};
use super::slots::SlotFile;
use super::{
    CHANGES_HELD, Shared, Store, StoreError, StoreOptions, Table, decode_record, key_bytes,
};
use crate::audit::Tree;
use crate::id::{AuthorityId, Clock, Entropy, Secret};

/// What the check value says once it is unsealed.
const CHECK: &[u8] = b"this store was made with this node key";

/// Records read at a time while tables are walked.
pub(super) const PAGE: usize = 512;

pub(super) fn database_file(folder: &Path) -> PathBuf {
    folder.join("db").join("db")
}

pub(super) fn open(
    folder: &Path,
    owner: &AuthorityId,
    node_key: &Secret<[u8; 32]>,
    options: &StoreOptions,
    clock: Clock,
    entropy: Entropy,
) -> Result<Shared, StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let database = folder.join("db");
    remove_half_snapshots(&database)?;
    let tree = open_database(&database, options.cache_bytes)?;
    let keys = Keys::derive(node_key);
    let slots = SlotFile::open(&folder.join("slots"))?;
    let cells = CellFile::open(&folder.join("tokens"))?;
    let kept = slots.kept()?;
    if tree.is_empty() {
        if !kept.is_empty() {
            return Err(StoreError::Corrupt("there are keys and no database".to_owned()));
        }
        begin(&tree, owner, node_key, &entropy)?;
    }
    check(&tree, owner, node_key)?;
    for made in [folder, database.as_path()] {
        File::open(made).and_then(|folder| folder.sync_all())?;
    }
    // What an earlier process wrote may be no further than in the system's memory: erasing must not overtake it.
    tree.flush()?;
    File::open(database_file(folder))?.sync_data()?;
    let at = position(&tree)?;
    let named = named_slots(&tree, &cells)?;
    finish_erasures(&slots, &kept, &named)?;
    let counts = COUNTED.into_iter().zip(at.counts.map(AtomicU64::new)).collect();
    let log = Mutex::new(at.log);
    let (changes, _) = broadcast::channel(CHANGES_HELD);
    let disk = super::disk::Disk::new(folder.to_owned(), options.disk_free_bytes_min);
    let folder = folder.to_owned();
    let failed = OnceLock::new();
    Ok(Shared {
        folder,
        tree,
        slots,
        cells,
        keys,
        counts,
        log,
        changes,
        failed,
        disk,
        clock,
        entropy,
    })
}

/// A snapshot that was being written when the process died makes sled refuse to open; the log rebuilds it.
fn remove_half_snapshots(database: &Path) -> Result<(), StoreError> {
    let Ok(files) = fs::read_dir(database) else { return Ok(()) };
    for file in files {
        let path = file?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// A flipped bit can make sled panic while it opens.
fn open_database(path: &Path, cache_bytes: u64) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new().path(path).cache_capacity(cache_bytes).flush_every_ms(None);
    let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
    let damaged = || StoreError::Corrupt("the database does not open".to_owned());
    opened.map_err(|_| damaged())?.map_err(|error| match error {
        sled::Error::Io(error) if error.to_string().contains("lock") => StoreError::InUse,
        other => other.into(),
    })
}

fn meta_key(name: &str) -> Vec<u8> {
    key_bytes::<Meta>(&name.to_owned())
}

fn begin(
    tree: &sled::Db,
    owner: &AuthorityId,
    node_key: &Secret<[u8; 32]>,
    entropy: &Entropy,
) -> Result<(), StoreError> {
    let mut batch = sled::Batch::default();
    let check = seal(node_key, b"check", CHECK, entropy);
    let mut put = |name, value: Vec<u8>| {
        batch.insert(meta_key(name), postcard::to_allocvec(&value).unwrap_or_default());
    };
    put("schema", SCHEMA_VERSION.to_be_bytes().to_vec());
    put("owner", owner.as_str().as_bytes().to_vec());
    put("check", check);
    put(INDEXED_KEY, WHOLE.to_be_bytes().to_vec());
    let (log, counts) = (Tree::default(), [0; COUNTED.len()]);
    let at = Some(At { log, feed: 0, counts });
    let nothing = postcard::to_allocvec(&Leaves { leaves: vec![], at })?;
    batch.insert(key_bytes::<Log>(&0), nothing);
    Ok(tree.apply_batch(batch)?)
}

fn meta(tree: &sled::Db, name: &str) -> Result<Vec<u8>, StoreError> {
    let bytes = tree.get(meta_key(name))?;
    bytes
        .and_then(|bytes| postcard::from_bytes(&bytes).ok())
        .ok_or_else(|| StoreError::Corrupt(format!("its {name} is missing")))
}

fn check(
    tree: &sled::Db,
    owner: &AuthorityId,
    node_key: &Secret<[u8; 32]>,
) -> Result<(), StoreError> {
    let found = meta(tree, "schema")?.try_into().map_or(0, u32::from_be_bytes);
    if found != SCHEMA_VERSION {
        return Err(StoreError::Schema { found, known: SCHEMA_VERSION });
    }
    let held = meta(tree, "owner")?;
    if held != owner.as_str().as_bytes() {
        return Err(StoreError::OtherOwner(String::from_utf8_lossy(&held).into_owned()));
    }
    let opened = unseal(node_key, b"check", &meta(tree, "check")?);
    if opened.as_deref() != Some(CHECK) {
        return Err(StoreError::WrongKey);
    }
    check_tail(tree)
}

/// The log ends where its tree says, and the feed has no place beyond its counter.
fn check_tail(tree: &sled::Db) -> Result<(), StoreError> {
    let at = position(tree)?;
    let entries = last::<Log>(tree)?.map_or(0, |(first, last)| first + last.leaves.len() as u64);
    if entries != at.log.size() {
        let what = format!("the audit log has {entries} entries and should have {}", at.log.size());
        return Err(StoreError::Corrupt(what));
    }
    if last::<Feed>(tree)?.is_some_and(|(place, _)| place > at.feed) {
        return Err(StoreError::Corrupt("the feed goes beyond its counter".to_owned()));
    }
    Ok(())
}

/// The last record of a table.
fn last<T: Table>(tree: &sled::Db) -> Result<Option<(T::Key, T::Value)>, StoreError> {
    let last = tree.scan_prefix([T::PREFIX]).next_back().transpose()?;
    last.map(|(key, value)| decode_record::<T>(&key, &value)).transpose()
}

/// What is true after the last commit.
pub(super) fn position(tree: &sled::Db) -> Result<At, StoreError> {
    let last = last::<Log>(tree)?.and_then(|(_, last)| last.at);
    last.ok_or_else(|| StoreError::Corrupt("its last commit is not whole".to_owned()))
}

/// The slots that records name; their cells are there.
fn named_slots(tree: &sled::Db, cells: &CellFile) -> Result<HashSet<SlotId>, StoreError> {
    let mut named = HashSet::new();
    let mut last_cell = None;
    let mut name = |slot, token: &SealedToken| {
        named.insert(slot);
        if matches!(token, SealedToken::Cell(_)) {
            last_cell = last_cell.max(Some(slot));
        }
    };
    each::<Own>(tree, |own| name(own.slot, &own.token))?;
    each::<Copies>(tree, |copy| name(copy.slot, &copy.token))?;
    if last_cell.is_some_and(|last| !cells.has(last)) {
        return Err(StoreError::Corrupt("its file of tokens is missing or cut off".to_owned()));
    }
    Ok(named)
}

/// Overwrites the keys that no record names: those that the last commit was to forget, and those that were written for a
/// commit which never came, in case of a crash in between. A record whose key is not there is no such case; one that was damaged stops nobody from
/// withdrawing the others.
fn finish_erasures(
    slots: &SlotFile,
    kept: &HashSet<SlotId>,
    named: &HashSet<SlotId>,
) -> Result<(), StoreError> {
    if named.iter().max().is_some_and(|last| !slots.has(*last)) {
        return Err(StoreError::Corrupt("its file of keys is missing or cut off".to_owned()));
    }
    let missing = named.difference(kept).count();
    if missing > 0 {
        tracing::error!(
            "the keys of {missing} alerts are gone, so they can't be read: end the node and run `entente-node check`"
        );
    }
    let unnamed: Vec<_> = kept.difference(named).copied().collect();
    slots.erase(&unnamed)?;
    slots.release_all_but(named);
    Ok(())
}

fn each<T: Table>(tree: &sled::Db, mut f: impl FnMut(T::Value)) -> Result<(), StoreError> {
    for record in tree.scan_prefix([T::PREFIX]) {
        let (key, value) = record?;
        f(decode_record::<T>(&key, &value)?.1);
    }
    Ok(())
}

/// Calls `f` with every record of a table.
pub(super) fn for_each<T: Table>(
    store: &Store,
    mut f: impl FnMut(T::Key, T::Value),
) -> Result<(), StoreError>
where
    T::Key: Clone + PartialEq,
{
    let mut after: Option<T::Key> = None;
    loop {
        let page = store.scan::<T>(&[], after.as_ref(), PAGE)?;
        let ended = page.len() < PAGE;
        let before = after.clone();
        after = page.last().map(|(key, _)| key.clone());
        for (key, value) in page {
            if before.as_ref() != Some(&key) {
                f(key, value);
            }
        }
        if ended {
            return Ok(());
        }
    }
}
