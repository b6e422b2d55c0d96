//! Crashes between the steps of a commit, and places that are given back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use super::*;
use crate::audit::Operation;

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

#[test]
fn a_store_that_stopped_writing_answers_nothing_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let event = || Event::new(Operation::Key, "test", "test");
    assert!(
        store.commit_blocking(move |_| Ok::<_, StoreError>(Committed::new((), event()))).is_ok()
    );
    store.0.shared.stop(&StoreError::Io("no space".to_owned()));
    let done = store.commit_blocking(move |_| Ok::<_, StoreError>(Committed::new((), event())));
    let refused = store.commit_blocking(|_| Err::<Committed<()>, _>(StoreError::Full));
    for answer in [done, refused] {
        assert!(matches!(answer, Err(CommitError::Store(StoreError::Failed(_)))));
    }
    assert!(store.writable().is_err());
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
