//! Opening: what is checked before anything is read or written, and what an earlier crash left
//! half-done.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::broadcast;

use super::cells::CellFile;
use super::database::Database;
use super::disk::Disk;
use super::reserve::Reserve;
use super::schema::{At, COUNTED, Copies, Feed, Leaves, Log, Meta, Own, SealedToken, SlotId};
use super::seal::{Keys, seal, unseal};
use super::shared::Shared;
use super::slots::SlotFile;
use super::table::{decode_record, key_bytes};
use super::upgrade::{PROGRAM_KEY, SCHEMA_KEY, SCHEMA_VERSION};
use super::{CHANGES_HELD, Store, StoreError, StoreOptions, Table};
use crate::audit::Tree;
use crate::id::{AuthorityId, Clock, Entropy, Secret, printable};

/// What the check value says once it is unsealed.
const CHECK: &[u8] = b"this store was made with this node key";

/// Records read at a time while tables are walked.
pub(super) const PAGE: usize = 512;

/// Free disk that opening takes, in bytes, most of it for sled's snapshot: so much of the reserve
/// is given up for it.
const OPENING_BYTES: u64 = 8 * 1024 * 1024;

/// How often, and for how long, a database is opened again whose last handle was just let go.
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
    let disk = Disk::new(folder.to_owned(), options.disk_free_bytes_min);
    let reserve = Reserve::open(&folder.join("reserve"));
    disk.make_room(&reserve, OPENING_BYTES);
    let tree = open_database(folder, options.cache_bytes)?;
    let slots = SlotFile::open(&folder.join("slots"))?;
    let cells = CellFile::open(&folder.join("tokens"))?;
    if tree.is_empty() {
        if !slots.kept()?.is_empty() {
            return Err(StoreError::Corrupt("there are keys and no database".to_owned()));
        }
        begin(&tree, owner, node_key, &entropy)?;
    }
    check(&tree, owner)?;
    check_key(&tree, node_key)?;
    let opened = make_durable(folder, tree)?;
    let (changes, _) = broadcast::channel(CHANGES_HELD);
    let shared = Shared {
        folder: folder.to_owned(),
        owner: owner.clone(),
        cache_bytes: options.cache_bytes,
        database: ArcSwapOption::new(None),
        slots,
        cells,
        keys: Keys::derive(node_key),
        counts: COUNTED.into_iter().map(|prefix| (prefix, AtomicU64::new(0))).collect(),
        log: Mutex::default(),
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
    let tree = database.tree();
    let feed = position(tree)?.feed;
    if last::<Feed>(tree)?.is_some_and(|(place, _)| place > feed) {
        return Err(StoreError::Corrupt("the feed goes beyond its counter".to_owned()));
    }
    let named = named_slots(tree, &shared.cells)?;
    finish_erasures(&shared.slots, &shared.slots.kept()?, &named)?;
    shared.slots.release_all_but(&named);
    Ok(())
}

/// Opens the database again after a write failed: what did not become durable is gone with the old
/// one. Slots and tokens stay open, since callers hold places in them.
pub(super) fn reopen(shared: &Shared) -> Result<Opened, StoreError> {
    shared.disk.make_room(&shared.reserve, OPENING_BYTES);
    let open = || open_database(&shared.folder, shared.cache_bytes);
    let mut tree = open();
    for _ in 0..LETTING_GO.0 {
        if !matches!(tree, Err(StoreError::InUse)) {
            break;
        }
        std::thread::sleep(LETTING_GO.1);
        tree = open();
    }
    let tree = tree?;
    check(&tree, &shared.owner)?;
    let opened = make_durable(&shared.folder, tree)?;
    let named = named_slots(opened.database.tree(), &shared.cells)?;
    let kept: HashSet<_> = shared.slots.kept()?.union(&shared.slots.owed()).copied().collect();
    let unnamed = finish_erasures(&shared.slots, &kept, &named)?;
    shared.slots.release(unnamed);
    Ok(opened)
}

/// What an earlier process wrote may be no further than in the system's memory: erasing must not
/// overtake it. sled does not sync the file that says how it writes.
fn make_durable(folder: &Path, tree: sled::Db) -> Result<Opened, StoreError> {
    let database = folder.join("db");
    let of_sled = ["conf", "blobs"].map(|name| database.join(name));
    let ours = ["slots", "tokens", "reserve"].map(|name| folder.join(name));
    let made = of_sled.into_iter().chain(ours).filter(|made| made.exists());
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
    let folders = [database.as_path(), folder].into_iter().chain(above).map(Path::to_owned);
    for made in made.chain(folders) {
        File::open(made).and_then(|made| made.sync_all())?;
    }
    let at = position(&tree)?;
    let database = Database::new(tree, &database.join("db"))?;
    database.flush()?;
    Ok(Opened { database: Arc::new(database), at })
}

/// A snapshot that was being written when the process died makes sled refuse to open; the log
/// rebuilds it.
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
fn open_database(folder: &Path, cache_bytes: u64) -> Result<sled::Db, StoreError> {
    let path = folder.join("db");
    remove_half_snapshots(&path)?;
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
    put(SCHEMA_KEY, SCHEMA_VERSION.to_be_bytes().to_vec());
    put(PROGRAM_KEY, crate::VERSION.as_bytes().to_vec());
    put("owner", owner.as_str().as_bytes().to_vec());
    put("check", check);
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

/// It has no later schema than this version, belongs to `owner`, and its log ends where it says.
fn check(tree: &sled::Db, owner: &AuthorityId) -> Result<(), StoreError> {
    let found = meta(tree, SCHEMA_KEY)?.try_into().map_or(0, u32::from_be_bytes);
    if found > SCHEMA_VERSION {
        let program = printable(&String::from_utf8_lossy(&meta(tree, PROGRAM_KEY)?));
        return Err(StoreError::Newer { program, found, known: SCHEMA_VERSION });
    }
    let held = meta(tree, "owner")?;
    if held != owner.as_str().as_bytes() {
        return Err(StoreError::OtherOwner(String::from_utf8_lossy(&held).into_owned()));
    }
    let (at, entries) = (position(tree)?, last::<Log>(tree)?);
    let entries = entries.map_or(0, |(first, last)| first + last.leaves.len() as u64);
    if entries != at.log.size() {
        let what = format!("the audit log has {entries} entries and should have {}", at.log.size());
        return Err(StoreError::Corrupt(what));
    }
    Ok(())
}

fn check_key(tree: &sled::Db, node_key: &Secret<[u8; 32]>) -> Result<(), StoreError> {
    let opened = unseal(node_key, b"check", &meta(tree, "check")?);
    if opened.as_deref() == Some(CHECK) { Ok(()) } else { Err(StoreError::WrongKey) }
}

/// The last record of a table.
fn last<T: Table>(tree: &sled::Db) -> Result<Option<(T::Key, T::Value)>, StoreError> {
    let last = tree.scan_prefix([T::PREFIX]).next_back().transpose()?;
    last.map(|(key, value)| decode_record::<T>(&key, &value)).transpose()
}

/// What is true after the last commit.
fn position(tree: &sled::Db) -> Result<At, StoreError> {
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

/// Overwrites the keys that no record names: those that the last commit was to forget, and those
/// that were written for a commit which never came, in case of a crash in between. A record whose
/// key is not there is no such case; one that was damaged stops nobody from withdrawing the others.
/// Returns what it overwrote.
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
