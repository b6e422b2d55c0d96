//! Opening: the checks before anything is read or written, and the completion of what an earlier
//! crash interrupted.

use std::collections::HashSet;
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::broadcast;

use super::cells::{CellFile, Run};
use super::contents::Contents;
use super::copy_place::take_place;
use super::database::{Database, Writes};
use super::disk::Disk;
use super::old_cells::OldCellFile;
use super::reserve::Reserve;
use super::schema::{
    At, COUNTED, Copies, Feed, Leaves, Log, Meta, Notices, Own, SealedToken, SlotId,
};
use super::seal::{Keys, seal, unseal};
use super::shared::Shared;
use super::slots::SlotFile;
use super::table::{decode_record, key_bytes};
use super::upgrade::{PROGRAM_KEY, SCHEMA_KEY, SCHEMA_VERSION};
use super::{CHANGES_HELD, Scan, Store, StoreError, StoreOptions, Table};
use crate::audit::Tree;
use crate::id::{AuthorityId, Clock, Entropy, Secret, printable};

/// The content of the check value.
const CHECK: &[u8] = b"this store was made with this node key";

/// Free disk that opening needs, in bytes, most of it for sled's snapshot: the reserve gives up
/// this much for it.
const OPENING_BYTES: u64 = 8 * 1024 * 1024;

/// How often, and with which pause, to try to open a database whose last handle was just dropped.
const LETTING_GO: (u32, Duration) = (100, Duration::from_millis(20));

/// A database that is open, durable and whole, and where it stands.
pub(super) struct Opened {
    pub(super) database: Arc<Database>,
    pub(super) at: At,
}

pub(super) fn open(
    folder: &Path,
    owner: &AuthorityId,
    node_key: &Secret<[u8; 32]>,
    options: &StoreOptions,
    clock: Clock,
    entropy: Entropy,
) -> Result<(Shared, Opened), StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    take_place(folder)?;
    let disk = Disk::new(folder.to_owned(), options.disk_free_bytes_min);
    let reserve = Reserve::open(&folder.join("reserve"));
    disk.make_room(&reserve, OPENING_BYTES);
    let database = open_database(folder, options.cache_bytes)?;
    let slots = SlotFile::open(&folder.join("slots"))?;
    let cells = CellFile::open(&folder.join("cells"))?;
    let old_cells = OldCellFile::open(&folder.join("tokens"))?;
    if database.is_empty() {
        if !slots.kept()?.is_empty() {
            return Err(StoreError::Corrupt("there are keys and no database".to_owned()));
        }
        begin(&database, owner, node_key, &entropy)?;
    }
    check(&database, owner)?;
    check_key(&database, node_key)?;
    let opened = make_durable(folder, database)?;
    let (changes, _) = broadcast::channel(CHANGES_HELD);
    let shared = Shared {
        folder: folder.to_owned(),
        owner: owner.clone(),
        cache_bytes: options.cache_bytes,
        database: ArcSwapOption::new(None),
        slots,
        cells,
        old_cells,
        keys: Keys::derive(node_key),
        counts: COUNTED.into_iter().map(|prefix| (prefix, AtomicU64::new(0))).collect(),
        log: Mutex::default(),
        erasing: RwLock::default(),
        contents: Contents::default(),
        changes,
        failed: Mutex::new(None),
        waker: OnceLock::new(),
        disk,
        reserve,
        clock,
        entropy,
    };
    Ok((shared, opened))
}

/// What needs records in the shape of this version: the rest of the checks, and the erasures that
/// an earlier process left half-done. Only then are places of slots given away again.
pub(super) fn settle(shared: &Shared) -> Result<(), StoreError> {
    let database = shared.database()?;
    let feed = position(&database)?.feed;
    if last::<Feed>(&database)?.is_some_and(|(place, _)| place > feed) {
        return Err(StoreError::Corrupt("the feed goes beyond its counter".to_owned()));
    }
    let named = named(&database, &shared.cells, &shared.old_cells)?;
    finish_erasures(&shared.slots, &shared.slots.kept()?, &named.slots)?;
    shared.slots.release_all_but(&named.slots);
    shared.cells.release_all_but(named.runs);
    Ok(())
}

/// Opens the database again after a write failed: what did not become durable is gone with the old
/// one. Slots and tokens stay open, since callers hold places in them.
pub(super) fn reopen(shared: &Shared) -> Result<Opened, StoreError> {
    shared.disk.make_room(&shared.reserve, OPENING_BYTES);
    let database = open_database(&shared.folder, shared.cache_bytes);
    let database = database?;
    check(&database, &shared.owner)?;
    let opened = make_durable(&shared.folder, database)?;
    let named = named(&opened.database, &shared.cells, &shared.old_cells)?;
    let kept: HashSet<_> = shared.slots.kept()?.union(&shared.slots.owed()).copied().collect();
    // An erasure that was durable and not yet followed is finished here.
    shared.contents.clear();
    let unnamed = finish_erasures(&shared.slots, &kept, &named.slots)?;
    shared.slots.release(unnamed);
    shared.cells.release_all_but(named.runs);
    Ok(opened)
}

/// Opens the database. Whoever had it may let go of its lock a moment late: a reader of the old
/// one, a node that was just ended, or a child process that was being started and had its files.
fn open_database(folder: &Path, cache_bytes: u64) -> Result<Database, StoreError> {
    let open = || Database::open(&folder.join("db"), cache_bytes);
    let mut database = open();
    for _ in 0..LETTING_GO.0 {
        if !matches!(database, Err(StoreError::InUse)) {
            break;
        }
        std::thread::sleep(LETTING_GO.1);
        database = open();
    }
    database
}

/// What an earlier process wrote may still be in the system's memory only: erasing must not
/// overtake it.
fn make_durable(folder: &Path, database: Database) -> Result<Opened, StoreError> {
    let ours = ["slots", "cells", "tokens", "reserve"].map(|name| folder.join(name));
    let made = ours.into_iter().filter(|made| made.exists());
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
    let folders = [folder].into_iter().chain(above).map(Path::to_owned);
    for made in made.chain(folders) {
        File::open(made).and_then(|made| made.sync_all())?;
    }
    let at = position(&database)?;
    database.sync()?;
    database.begin(at.log.clone());
    Ok(Opened { database: Arc::new(database), at })
}

fn meta_key(name: &str) -> Vec<u8> {
    key_bytes::<Meta>(&name.to_owned())
}

fn begin(
    database: &Database,
    owner: &AuthorityId,
    node_key: &Secret<[u8; 32]>,
    entropy: &Entropy,
) -> Result<(), StoreError> {
    let mut writes = Writes::new();
    let check = seal(node_key, b"check", CHECK, entropy);
    let mut put = |name, value: Vec<u8>| {
        writes.insert(meta_key(name), Some(postcard::to_allocvec(&value).unwrap_or_default()));
    };
    put(SCHEMA_KEY, SCHEMA_VERSION.to_be_bytes().to_vec());
    put(PROGRAM_KEY, crate::VERSION.as_bytes().to_vec());
    put("owner", owner.as_str().as_bytes().to_vec());
    put("check", check);
    let (log, counts) = (Tree::default(), [0; COUNTED.len()]);
    let at = Some(At { log: log.clone(), feed: 0, counts });
    let nothing = postcard::to_allocvec(&Leaves { leaves: vec![], at })?;
    database.apply(writes, vec![(key_bytes::<Log>(&0), nothing)], log)
}

fn meta(database: &Database, name: &str) -> Result<Vec<u8>, StoreError> {
    let bytes = database.newest(&meta_key(name))?;
    bytes
        .and_then(|bytes| postcard::from_bytes(&bytes).ok())
        .ok_or_else(|| StoreError::Corrupt(format!("its {name} is missing")))
}

/// It has no later schema than this version, belongs to `owner`, and its log ends where it says.
fn check(database: &Database, owner: &AuthorityId) -> Result<(), StoreError> {
    let found = meta(database, SCHEMA_KEY)?.try_into().map_or(0, u32::from_be_bytes);
    if found > SCHEMA_VERSION {
        let program = printable(&String::from_utf8_lossy(&meta(database, PROGRAM_KEY)?));
        return Err(StoreError::Newer { program, found, known: SCHEMA_VERSION });
    }
    let held = meta(database, "owner")?;
    if held != owner.as_str().as_bytes() {
        return Err(StoreError::OtherOwner(String::from_utf8_lossy(&held).into_owned()));
    }
    let (at, entries) = (position(database)?, last::<Log>(database)?);
    let entries = entries.map_or(0, |(first, last)| first + last.leaves.len() as u64);
    if entries != at.log.size() {
        let what = format!("the audit log has {entries} entries and should have {}", at.log.size());
        return Err(StoreError::Corrupt(what));
    }
    Ok(())
}

fn check_key(database: &Database, node_key: &Secret<[u8; 32]>) -> Result<(), StoreError> {
    let opened = unseal(node_key, b"check", &meta(database, "check")?);
    if opened.as_deref() == Some(CHECK) { Ok(()) } else { Err(StoreError::WrongKey) }
}

/// The last record of a table.
fn last<T: Table>(database: &Database) -> Result<Option<(T::Key, T::Value)>, StoreError> {
    let last = database.newest_last(&[T::PREFIX])?;
    last.map(|(key, value)| decode_record::<T>(&key, &value)).transpose()
}

/// What is true after the last commit.
fn position(database: &Database) -> Result<At, StoreError> {
    let last = last::<Log>(database)?.and_then(|(_, last)| last.at);
    last.ok_or_else(|| StoreError::Corrupt("its last commit is not whole".to_owned()))
}

/// What records name outside of the database.
#[derive(Default)]
pub(super) struct Named {
    pub(super) slots: HashSet<SlotId>,
    pub(super) runs: Vec<Run>,
}

/// The slots and runs of cells that records name; the cells are there.
pub(super) fn named(
    database: &Database,
    cells: &CellFile,
    old_cells: &OldCellFile,
) -> Result<Named, StoreError> {
    let mut named = Named::default();
    let mut last_old = None;
    let mut name = |slot, token: &SealedToken| {
        named.slots.insert(slot);
        named.runs.extend(token.run());
        if matches!(token, SealedToken::Cell(_)) {
            last_old = last_old.max(Some(slot));
        }
    };
    each::<Own>(database, |own| name(own.slot, &own.token))?;
    each::<Copies>(database, |copy| name(copy.slot, &copy.token))?;
    each::<Notices>(database, |notice| {
        name(notice.slot, &notice.token);
        if let Some(said) = &notice.acknowledged {
            name(said.slot, &said.token);
        }
    })?;
    if last_old.is_some_and(|last| !old_cells.has(last)) {
        return Err(StoreError::Corrupt("its file of tokens is missing or cut off".to_owned()));
    }
    if named.runs.iter().max().is_some_and(|last| !cells.has(*last)) {
        return Err(StoreError::Corrupt("its file of cells is missing or cut off".to_owned()));
    }
    Ok(named)
}

/// Overwrites the keys that no record names, and returns them: after a crash these are the keys
/// that the last commit was to forget, and those written for a commit that never came. A record
/// whose key is missing is reported and stops nothing else: the other alerts must stay
/// withdrawable.
fn finish_erasures(
    slots: &SlotFile,
    kept: &HashSet<SlotId>,
    named: &HashSet<SlotId>,
) -> Result<Vec<SlotId>, StoreError> {
    if named.iter().max().is_some_and(|last| !slots.has(*last)) {
        return Err(StoreError::Corrupt("its file of keys is missing or cut off".to_owned()));
    }
    let missing = named.difference(kept).count();
    if missing > 0 {
        tracing::error!(
            "the keys of {missing} alerts are gone, so they can't be read: end the node and run \
             `entente-node check`"
        );
    }
    let unnamed: Vec<_> = kept.difference(named).copied().collect();
    slots.erase(&unnamed)?;
    Ok(unnamed)
}

fn each<T: Table>(database: &Database, mut f: impl FnMut(T::Value)) -> Result<(), StoreError> {
    for record in database.newest_from(&[T::PREFIX], &[T::PREFIX]) {
        let (key, value) = record?;
        f(decode_record::<T>(&key, &value)?.1);
    }
    Ok(())
}

/// Calls `f` with every record of a table.
pub(super) fn for_each<T: Table>(
    store: &Store,
    f: impl FnMut(T::Key, T::Value),
) -> Result<(), StoreError> {
    Scan::<T>::all().for_each(store, f)
}
