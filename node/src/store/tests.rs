//! Crashes between the steps of a commit, and places that are given back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

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
    let sealed = store.seal(&slot, b"copy/x", b"of a person");
    let shared = &store.0.shared;
    shared.slots.keep(std::slice::from_ref(&slot), &shared.keys, &shared.entropy).unwrap();
    shared.cells.keep(&[(slot.id(), sealed.clone())]).unwrap();
    let token = SealedToken::Cell(sealed.len() as u32);
    assert_eq!(store.unseal(slot.id(), b"copy/x", &token).unwrap(), b"of a person");
    store.close();
    drop(store);
    let store = open(folder.path()).unwrap();
    assert_eq!(store.unseal(slot.id(), b"copy/x", &token).err(), Some(StoreError::Erased));
    assert_eq!(store.new_slot().id(), slot.id(), "and its place is free");
}

#[test]
fn the_place_of_a_refused_transaction_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let place = |kept: bool| {
        let slot = store.new_slot();
        let id = slot.id();
        let sealed = store.seal(&slot, b"x", b"y");
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
    database.apply([(bytes, Some(value))].into(), vec![]).unwrap();
    assert_eq!(store.get::<Meta>(&key).unwrap(), None);
    assert!(store.scan::<Meta>(&[], None, 100).unwrap().iter().all(|(name, _)| *name != key));
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
    let tree = sled::Config::new().path(folder.path()).open().unwrap();
    let database = database::Database::new(tree, &folder.path().join("db")).unwrap();
    type Model = std::collections::BTreeMap<Vec<u8>, Vec<u8>>;
    let (mut newest, mut waiting) = (Model::new(), std::collections::VecDeque::new());
    let mut durable = Model::new();
    for round in 0..400_u32 {
        let key = || vec![b'k', entropy.below(40) as u8];
        if entropy.below(2) == 0 || waiting.len() > 3 {
            if let Some(next) = waiting.pop_front() {
                durable = next;
                database.settle();
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
            database.apply(writes, vec![(vec![b'l'], value.clone())]).unwrap();
            waiting.push_back(newest.clone());
        }
        let (one, start, limit) = (key(), key(), entropy.below(45) as usize);
        let got = database.get(&one).unwrap().map(|value| value.to_vec());
        assert_eq!(got.as_ref(), durable.get(&one), "round {round}");
        let seen = database.range(&start, b"k", limit).unwrap();
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
    assert!(store.slot(slot.id()).is_ok());
    shared.stop(&StoreError::Io("no space".to_owned()));
    until("it is open again", || store.writable().is_ok());
    assert_eq!(store.slot(slot.id()).err(), Some(StoreError::Erased));
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
