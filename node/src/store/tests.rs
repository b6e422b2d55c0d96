//! Crashes between the steps of a commit, and places that are given back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use super::database::Database;
use super::table::key_bytes;
use super::*;
use crate::audit::{Event, Operation, Tree};

fn open(folder: &Path) -> Result<Store, StoreError> {
    let owner: AuthorityId = "dk.politi".parse().unwrap();
    let options = StoreOptions { cache_bytes: 1 << 20, disk_free_bytes_min: 0 };
    let key = Secret::new([7; 32]);
    Store::open(folder, &owner, &key, &options, Clock::system(), Entropy::os())
}

/// The first two steps of a flush are durable, and the process dies before the third.
#[test]
fn a_key_that_no_record_names_is_overwritten_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let slot = store.new_slot();
    let sealed = store.seal(&slot, b"copy/x", Summary::default(), b"of a person");
    let shared = &store.0.shared;
    shared.slots.keep(std::slice::from_ref(&slot), &shared.keys, &shared.entropy).unwrap();
    let length = sealed.len() as u32;
    let taken = shared.cells.take(length);
    let token = SealedToken::Run { first: taken.first(), length };
    shared.cells.keep(&[(taken, sealed)]).unwrap();
    assert_eq!(store.0.shared.unseal(slot.id(), b"copy/x", &token).unwrap(), b"of a person");
    store.close();
    drop(store);
    let store = open(folder.path()).unwrap();
    assert_eq!(store.0.shared.unseal(slot.id(), b"copy/x", &token).err(), Some(StoreError::Erased));
    assert_eq!(store.new_slot().id(), slot.id(), "and its place is free");
}

#[test]
fn the_place_of_a_refused_transaction_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let place = |kept: bool| {
        let slot = store.new_slot();
        let id = slot.id();
        let sealed = store.seal(&slot, b"x", Summary::default(), b"y");
        let done = store.commit_blocking(move |tx| {
            tx.keep_slot(&slot, &sealed);
            let event = Event::new(Operation::Key, "test", "test");
            if kept { Ok(Committed::new((), event)) } else { Err(StoreError::Full) }
        });
        assert_eq!(done.is_ok(), kept);
        id
    };
    let first = place(false);
    assert_eq!(place(false), first);
    assert_eq!(place(true), first);
    assert_ne!(place(true), first);
}

fn event() -> Event {
    Event::new(Operation::Key, "test", "test")
}

fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{what}");
}

/// Places that callers hold stay theirs, and what was durable is there.
#[test]
fn a_store_whose_write_failed_refuses_and_opens_again_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let key = "kept".to_owned();
    let put = |value: u8| {
        let key = key.clone();
        store.commit_blocking(move |tx| {
            tx.put::<Meta>(&key, &vec![value]);
            Ok::<_, StoreError>(Committed::new((), event()))
        })
    };
    put(1).unwrap();
    let (log, held) = (store.log(), store.new_slot());
    store.0.shared.stop(&StoreError::Io("no space".to_owned()));
    let refused = store.commit_blocking(|_| Err::<Committed<()>, _>(StoreError::Full));
    for answer in [put(2), refused] {
        assert!(matches!(answer, Err(CommitError::Store(StoreError::Failed(_)))));
    }
    assert!(store.writable().is_err());
    until("it is open again", || store.writable().is_ok());
    assert_eq!(store.log(), log);
    assert_eq!(store.get::<Meta>(&key).unwrap(), Some(vec![1]));
    assert_ne!(store.new_slot().id(), held.id());
    put(3).unwrap();
    assert_eq!(store.get::<Meta>(&key).unwrap(), Some(vec![3]));
}

/// A group that was applied and did not become durable is seen by nobody, neither before the store
/// is open again nor after.
#[test]
fn what_did_not_become_durable_is_never_seen() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let key = "kept".to_owned();
    let database = store.0.shared.database().unwrap();
    let bytes = key_bytes::<Meta>(&key);
    let value = postcard::to_allocvec(&vec![9u8]).unwrap();
    database.apply([(bytes, Some(value))].into(), vec![], Tree::default()).unwrap();
    assert_eq!(store.get::<Meta>(&key).unwrap(), None);
    assert!(store.scan(Scan::<Meta>::all(), 100).unwrap().iter().all(|(name, _)| *name != key));
    let read = store.commit_blocking({
        let key = key.clone();
        move |tx| Ok::<_, StoreError>(Committed::new(tx.get::<Meta>(&key)?, event()))
    });
    assert_eq!(read.unwrap(), Some(vec![9]), "transactions see the newest");
}

/// Records as readers see them, against a model: through groups that are applied, and become
/// durable one by one.
#[test]
fn readers_see_what_is_durable_through_any_order_of_groups() {
    let entropy = Entropy::seeded(7);
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path(), 1 << 20).unwrap();
    type Model = std::collections::BTreeMap<Vec<u8>, Vec<u8>>;
    let (mut newest, mut waiting) = (Model::new(), std::collections::VecDeque::new());
    let mut durable = Model::new();
    for round in 0..400_u32 {
        let key = || vec![b'k', entropy.below(40) as u8];
        if entropy.below(2) == 0 || waiting.len() > 3 {
            if let Some(next) = waiting.pop_front() {
                durable = next;
                database.show_next();
            }
        } else {
            let value = round.to_be_bytes().to_vec();
            let some = |()| (entropy.below(3) > 0).then(|| value.clone());
            let writes: std::collections::BTreeMap<_, _> =
                (0..entropy.below(12)).map(|_| (key(), some(()))).collect();
            for (key, value) in &writes {
                match value {
                    Some(value) => newest.insert(key.clone(), value.clone()),
                    None => newest.remove(key),
                };
            }
            let log = vec![(vec![b'l'], value.clone())];
            database.apply(writes, log, Tree::default()).unwrap();
            waiting.push_back(newest.clone());
        }
        let (one, start, limit) = (key(), key(), entropy.below(45) as usize);
        let got = database.get(&one).unwrap().map(|value| value.to_vec());
        assert_eq!(got.as_ref(), durable.get(&one), "round {round}");
        let seen = database.range_in(&database.shown(), &start, b"k", limit).unwrap();
        let seen: Vec<_> = seen.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        let expected = durable.range(start..).take(limit);
        let expected: Vec<_> = expected.map(|(key, value)| (key.clone(), value.clone())).collect();
        assert_eq!(seen, expected, "round {round}");
    }
}

/// What was to be overwritten when the disk failed is overwritten once the store is open again.
#[test]
fn an_erasure_that_failed_is_finished_when_the_store_is_open_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let slot = store.new_slot();
    let shared = &store.0.shared;
    shared.slots.keep(std::slice::from_ref(&slot), &shared.keys, &shared.entropy).unwrap();
    assert!(shared.slots.read(slot.id(), &shared.keys).is_ok());
    shared.stop(&StoreError::Io("no space".to_owned()));
    until("it is open again", || store.writable().is_ok());
    assert_eq!(shared.slots.read(slot.id(), &shared.keys).err(), Some(StoreError::Erased));
    assert_eq!(store.new_slot().id(), slot.id(), "and its place is free");
}

#[test]
fn a_transaction_that_panics_stops_the_writing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let answer =
        store.commit_blocking(|_| -> Result<Committed<()>, StoreError> { panic!("on purpose") });
    assert!(matches!(answer, Err(CommitError::Store(StoreError::Closed))));
    store.close();
    assert!(matches!(store.writable(), Err(StoreError::Failed(_))));
}

/// A database that was lost is not begun anew over the keys of what it held.
#[test]
fn keys_without_a_database_are_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let slot = store.new_slot();
    let shared = &store.0.shared;
    shared.slots.keep(&[slot], &shared.keys, &shared.entropy).unwrap();
    store.close();
    drop(store);
    let slots = std::fs::read(folder.path().join("slots")).unwrap();
    std::fs::remove_dir_all(folder.path().join("db")).unwrap();
    assert!(matches!(open(folder.path()).err(), Some(StoreError::Corrupt(_))));
    assert_eq!(std::fs::read(folder.path().join("slots")).unwrap(), slots);
}

/// What a peer has seen of the log is compared with the log as it was then, inside a commit as
/// between two.
#[test]
fn the_log_is_known_as_it_was_at_every_size() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    for events in 1..6 {
        let event = || Event::new(Operation::Key, "test", "test");
        let many = move |first| (1..events).fold(first, |all: Committed<()>, _| all.and(event()));
        let committed =
            store.commit_blocking(move |_| Ok::<_, StoreError>(many(Committed::new((), event()))));
        committed.unwrap();
    }
    let now = store.log();
    assert!(now.size() >= 15);
    let mut tree = Tree::default();
    for (index, leaf) in store.leaves(0, 1000).unwrap() {
        assert_eq!(store.log_at(index).unwrap().as_ref(), Some(&tree), "{index}");
        tree.append(crate::audit::leaf_hash(&leaf));
    }
    assert_eq!(store.log_at(now.size()).unwrap(), Some(now.clone()));
    assert_eq!(store.log_at(now.size() + 1).unwrap(), None);
    let time = store.0.shared.clock.now();
    assert_eq!(store.entries_until(time.plus(1)).unwrap(), now.size());
    assert_eq!(store.entries_until(time.plus(-1000)).unwrap(), 0);
}

/// Writes two records together, again and again, and with them what is sealed anew each time.
fn write_pairs(store: &Store, until_done: &std::sync::atomic::AtomicBool) {
    let (keys, mut before) = (["one".to_owned(), "other".to_owned()], None);
    for round in 0_u64.. {
        let slot = store.new_slot();
        let sealed = store.seal(&slot, b"pair", Summary::default(), &round.to_be_bytes());
        let (keys, erased, kept) = (keys.clone(), before.take(), slot.id());
        let written = store.commit_blocking(move |tx| {
            let held = (kept, tx.keep_slot(&slot, &sealed));
            let token = postcard::to_allocvec(&held)?;
            tx.put::<Meta>(&keys[0], &round.to_be_bytes().to_vec());
            tx.put::<Meta>(&keys[1], &round.to_be_bytes().to_vec());
            tx.put::<Meta>(&"token".to_owned(), &token);
            let erased: Option<(SlotId, SealedToken)> = erased;
            erased.iter().for_each(|(slot, token)| tx.erase_slot(*slot, token));
            Ok::<_, StoreError>(Committed::new(held, event()))
        });
        before = Some(written.unwrap());
        if until_done.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// What two gets and a scan see, and what was sealed: the same round, or it is told.
fn read_pair(store: &Store, tries: &std::sync::atomic::AtomicUsize) -> Option<u64> {
    let read = store.read_blocking(|now| {
        tries.fetch_add(1, Ordering::Relaxed);
        let one = now.get::<Meta>(&"one".to_owned())?;
        std::thread::yield_now();
        let scanned = now.scan(Scan::<Meta>::all(), 100)?;
        let scanned = scanned.into_iter().find(|(name, _)| name == "other").map(|(_, value)| value);
        assert_eq!(scanned, one, "a scan and a get of one state");
        std::thread::yield_now();
        let Some(token) = now.get::<Meta>(&"token".to_owned())? else { return Ok(None) };
        let (slot, token): (SlotId, SealedToken) = postcard::from_bytes(&token)?;
        let opened = now.unseal(slot, b"pair", &token)?;
        assert_eq!(Some(&opened), one.as_ref(), "what is sealed belongs to its record");
        Ok::<_, StoreError>(opened.try_into().ok().map(u64::from_be_bytes))
    });
    read.expect("what is there can be read")
}

/// A reader never sees one of two records that were written together without the other, and finds
/// what was sealed for them, however fast they are written.
#[test]
fn a_read_sees_one_state() {
    const ROUNDS: u64 = 300;
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let (done, tries) = Default::default();
    std::thread::scope(|threads| {
        threads.spawn(|| write_pairs(&store, &done));
        let reader = || {
            let mut last = None;
            while last < Some(ROUNDS) {
                let seen = read_pair(&store, &tries);
                assert!(seen >= last, "and never goes back");
                last = seen;
            }
        };
        let readers = [threads.spawn(reader), threads.spawn(reader)];
        let ended = readers.map(|reader| reader.join().is_ok());
        done.store(true, Ordering::Relaxed);
        assert_eq!(ended, [true, true]);
    });
}

/// Another key in the place of one that a snapshot names would open for it what is not its own.
#[test]
fn the_place_of_an_erased_key_is_given_back_once_nobody_reads_what_named_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let committed = |kept: Option<&Slot>, erased: Option<SlotId>| {
        let kept =
            kept.map(|slot| (slot.clone(), store.seal(slot, b"x", Summary::default(), b"y")));
        let committed = store.commit_blocking(move |tx| {
            kept.iter().for_each(|(slot, sealed)| drop(tx.keep_slot(slot, sealed)));
            erased.iter().for_each(|slot| tx.erase_slot(*slot, &SealedToken::Inline(vec![])));
            Ok::<_, StoreError>(Committed::new((), event()))
        });
        committed.unwrap();
    };
    let (first, second) = (store.new_slot(), store.new_slot());
    committed(Some(&first), None);
    committed(Some(&second), None);
    let read = store.read_blocking(|_| {
        committed(None, Some(first.id()));
        assert_ne!(store.new_slot().id(), first.id(), "while it is read");
        Ok::<_, StoreError>(())
    });
    read.unwrap();
    committed(None, Some(second.id()));
    let free = [store.new_slot(), store.new_slot()];
    let free: Vec<_> = free.iter().map(Slot::id).collect();
    assert!(free.contains(&first.id()) && free.contains(&second.id()), "{free:?}");
}

/// A state that somebody reads stays as it was through any number of groups.
#[test]
fn a_snapshot_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let put = |round: u8, keys: std::ops::Range<u8>| {
        let written = store.commit_blocking(move |tx| {
            tx.delete::<Meta>(&format!("gone {round}"));
            keys.for_each(|key| tx.put::<Meta>(&format!("kept {key}"), &vec![round]));
            tx.put::<Meta>(&format!("gone {}", round + 1), &vec![]);
            Ok::<_, StoreError>(Committed::new((), event()))
        });
        written.unwrap();
    };
    put(0, 0..9);
    let (before, log) = (store.scan(Scan::<Meta>::all(), 100).unwrap(), store.log());
    let read = store.read_blocking(|now| {
        for round in 1..200 {
            put(round, round % 7..round % 9);
            for limit in [1, 7, 100] {
                let seen = now.scan(Scan::<Meta>::all(), limit)?;
                assert_eq!(seen, before[..limit.min(before.len())], "round {round}");
            }
            assert_eq!(now.get::<Meta>(&"gone 1".to_owned())?, Some(vec![]));
            assert_eq!(*now.log(), log);
        }
        Ok::<_, StoreError>(())
    });
    read.unwrap();
    assert_eq!(store.get::<Meta>(&"gone 1".to_owned()).unwrap(), None);
}

/// Content that is replaced faster than it is read: the read ends all the same.
#[test]
fn a_read_that_is_overtaken_again_and_again_ends() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let replace = |erased: Option<SlotId>| {
        let slot = store.new_slot();
        let (id, sealed) = (slot.id(), store.seal(&slot, b"x", Summary::default(), b"content"));
        let committed = store.commit_blocking(move |tx| {
            let token = postcard::to_allocvec(&(id, tx.keep_slot(&slot, &sealed)))?;
            tx.put::<Meta>(&"token".to_owned(), &token);
            erased.iter().for_each(|slot| tx.erase_slot(*slot, &SealedToken::Inline(vec![])));
            Ok::<_, StoreError>(Committed::new(id, event()))
        });
        committed.unwrap()
    };
    let held = std::cell::Cell::new(replace(None));
    let tries = std::cell::Cell::new(0);
    std::thread::scope(|threads| {
        let later = std::cell::Cell::new(None);
        let read = store.read_blocking(|now| {
            tries.set(tries.get() + 1);
            let token = now.get::<Meta>(&"token".to_owned())?.unwrap_or_default();
            let (slot, token): (SlotId, SealedToken) = postcard::from_bytes(&token)?;
            if tries.get() <= read::TRIES_MAX {
                held.set(replace(Some(held.get())));
            } else {
                // Erasing waits for this one, which must not wait for it.
                let (erased, replace) = (held.get(), &replace);
                later.set(Some(threads.spawn(move || replace(Some(erased)))));
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            now.unseal(slot, b"x", &token)
        });
        assert_eq!(read.unwrap(), b"content");
        assert!(later.take().is_some_and(|replaced| replaced.join().is_ok()));
    });
    assert_eq!(tries.get(), read::TRIES_MAX + 1);
}
