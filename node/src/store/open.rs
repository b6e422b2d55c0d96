//! Opening: what is checked before anything is read or written, and what an earlier crash left half-done.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use tokio::sync::broadcast;

use super::schema::{COUNTED, Log, Meta, SCHEMA_VERSION, SlotId};
use super::seal::{Keys, seal, unseal};
use super::slots::SlotFile;
use super::{CHANGES_HELD, Shared, Store, StoreError, StoreOptions, Table, key_bytes, read_error};
use crate::audit::Tree;
use crate::id::{AuthorityId, Clock, Entropy, FeedSeq, Secret};

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
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    let database = folder.join("db");
    remove_half_snapshots(&database)?;
    let tree = open_database(&database, options.cache_bytes)?;
    let keys = Keys::derive(node_key);
    let slots = SlotFile::open(&folder.join("slots"))?;
    if tree.is_empty() {
        begin(&tree, owner, node_key, &entropy)?;
    }
    check(&tree, owner, node_key)?;
    for made in [folder, database.as_path()] {
        File::open(made).and_then(|folder| folder.sync_all()).map_err(io)?;
    }
    finish_erasures(&tree, &slots)?;
    let counts = counts(&tree)?;
    let log = Mutex::new(position(&tree)?.0);
    let (changes, _) = broadcast::channel(CHANGES_HELD);
    let disk = super::disk::Disk::new(folder.to_owned(), options.disk_free_bytes_min);
    let folder = folder.to_owned();
    Ok(Shared { folder, tree, slots, keys, counts, log, changes, disk, clock, entropy })
}

/// A snapshot that was being written when the process died makes sled refuse to open; the log rebuilds it.
fn remove_half_snapshots(database: &Path) -> Result<(), StoreError> {
    let Ok(files) = fs::read_dir(database) else { return Ok(()) };
    for file in files {
        let path = file.map_err(io)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path).map_err(io)?;
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
        other => read_error(other),
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
    let (log, counts) = (&Tree::default(), [0; COUNTED.len()]);
    write_position(&mut batch, &Position { log, feed: 0, counts, erasing: &[] })?;
    tree.apply_batch(batch).map_err(read_error)?;
    tree.flush().map_err(read_error)?;
    Ok(())
}

fn meta(tree: &sled::Db, name: &str) -> Result<Vec<u8>, StoreError> {
    let bytes = tree.get(meta_key(name)).map_err(read_error)?;
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
    let (log, feed) = position(tree)?;
    let last = last_number(tree, Log::PREFIX)?.map_or(0, |index| index + 1);
    if last != log.size() {
        let what = format!("the audit log has {last} entries and should have {}", log.size());
        return Err(StoreError::Corrupt(what));
    }
    let place = last_number(tree, super::schema::Feed::PREFIX)?.unwrap_or_default();
    if place > feed {
        return Err(StoreError::Corrupt("the feed goes beyond its counter".to_owned()));
    }
    Ok(())
}

/// The last key of a table whose keys are numbers.
fn last_number(tree: &sled::Db, prefix: u8) -> Result<Option<u64>, StoreError> {
    let last = tree.scan_prefix([prefix]).next_back().transpose().map_err(read_error)?;
    Ok(last.and_then(|(key, _)| key.get(1..)?.try_into().ok()).map(u64::from_be_bytes))
}

/// Right edge of the log, and the last place given away in the feed.
pub(super) fn position(tree: &sled::Db) -> Result<(Tree, FeedSeq), StoreError> {
    let log = postcard::from_bytes(&meta(tree, "log")?);
    let log = log.map_err(|_| StoreError::Corrupt("the edge of its log cannot be read".to_owned()));
    let feed = meta(tree, "feed")?.try_into().map_or(0, u64::from_be_bytes);
    Ok((log?, feed))
}

/// What is true after a commit, written with it: the log's edge, the feed's place, counts, and the keys that are about
/// to be forgotten.
pub(super) fn write_position(
    batch: &mut sled::Batch,
    position: &Position,
) -> Result<(), StoreError> {
    let mut put = |name: &str, value: Vec<u8>| {
        postcard::to_allocvec(&value).map(|value| batch.insert(meta_key(name), value)).map_err(io)
    };
    put("log", postcard::to_allocvec(position.log).map_err(io)?)?;
    put("feed", position.feed.to_be_bytes().to_vec())?;
    put("counts", postcard::to_allocvec(position.counts.as_slice()).map_err(io)?)?;
    put("erasing", postcard::to_allocvec(position.erasing).map_err(io)?)
}

/// See [`write_position`].
pub(super) struct Position<'a> {
    pub(super) log: &'a Tree,
    pub(super) feed: FeedSeq,
    pub(super) counts: [u64; COUNTED.len()],
    pub(super) erasing: &'a [SlotId],
}

/// Overwrites the keys that the last commit was to forget, in case a crash came in between. A key that was written for a
/// commit which never came stays in its slot: nothing was sealed under it.
fn finish_erasures(tree: &sled::Db, slots: &SlotFile) -> Result<(), StoreError> {
    let erasing = meta(tree, "erasing")?;
    let mut erasing: Vec<SlotId> = postcard::from_bytes(&erasing).map_err(io)?;
    // What was overwritten before the crash is free already.
    let kept = slots.kept()?;
    erasing.retain(|slot| kept.contains(slot));
    slots.erase(&erasing)?;
    slots.release(erasing);
    Ok(())
}

/// Numbers of records of the counted tables, in the order of [`COUNTED`].
fn counts(tree: &sled::Db) -> Result<HashMap<u8, AtomicU64>, StoreError> {
    let counts: Vec<u64> = postcard::from_bytes(&meta(tree, "counts")?).map_err(io)?;
    Ok(COUNTED.into_iter().zip(counts).map(|(prefix, count)| (prefix, count.into())).collect())
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

fn io(error: impl std::fmt::Display) -> StoreError {
    StoreError::Io(error.to_string())
}
