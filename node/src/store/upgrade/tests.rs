//! Steps that are cut off after any write go on from there, and convert each record once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::*;
use crate::id::{Clock, Entropy, Secret};
use crate::store::{ParkedIn, StoreOptions};

/// As it was.
enum Old {}

/// As it is now, under the same keys.
enum New {}

/// The same with keys of another kind, in a table of its own.
enum Moved {}

impl Table for Old {
    const PREFIX: u8 = 0xF0;
    type Key = u64;
    type Value = u8;
}

impl Table for New {
    const PREFIX: u8 = 0xF0;
    type Key = u64;
    type Value = (String, u64);
}

impl Table for Moved {
    const PREFIX: u8 = 0xF1;
    type Key = String;
    type Value = u64;
}

const IN_PLACE: Step = Step {
    what: "records get a name",
    pace: Pace::Slow,
    work: |work| {
        work.each::<Old>(|tx, key, old| {
            tx.put::<New>(&key, &(old.to_string(), u64::from(old) + 1));
            Ok(())
        })
    },
};

const MOVE: Step = Step {
    what: "records are found by their name",
    pace: Pace::Slow,
    work: |work| {
        work.each::<New>(|tx, key, (name, number)| {
            tx.delete::<New>(&key);
            tx.insert::<Moved>(&name, &(number + 1));
            Ok(())
        })?;
        work.each::<Moved>(|tx, key, number| {
            tx.put::<Moved>(&key, &(number + 10));
            Ok(())
        })?;
        work.once(|tx| {
            tx.insert::<Moved>(&"last".to_owned(), &0);
            Ok(())
        })
    },
};

const QUICK: Step = Step {
    what: "one record is written",
    pace: Pace::Quick,
    work: |work| {
        work.once(|tx| {
            tx.insert::<Moved>(&"quick".to_owned(), &0);
            Ok(())
        })
    },
};

/// Behind what led here.
fn then(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    STEPS.into_iter().chain(steps).collect()
}

fn open(folder: &Path, disk_free_bytes_min: u64) -> Result<Store, StoreError> {
    let options = StoreOptions { cache_bytes: 1 << 20, disk_free_bytes_min };
    let (owner, key) = ("dk.politi".parse().unwrap(), Secret::new([7; 32]));
    Store::open(folder, &owner, &key, &options, Clock::system(), Entropy::os())
}

const RECORDS: u64 = 7;

fn filled(store: &Store) {
    let put = |tx: &mut Tx<'_>| {
        (0..RECORDS).for_each(|n| tx.put::<Old>(&n, &(n as u8)));
        Ok(Event::new(Operation::Key, "test", "test"))
    };
    commit(store, put).unwrap();
}

fn whole(store: &Store, steps: &[Step], told: &mut dyn FnMut(&Progress)) -> Result<(), StoreError> {
    run_steps(store, Upgrade::Whole { records_at_once: 2, told }, steps)
}

#[test]
fn a_step_that_is_cut_off_after_any_write_converts_each_record_once() {
    let steps = then([IN_PLACE, MOVE]);
    let mut cut = 0;
    for cut_at in 1.. {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), 0).unwrap();
        filled(&store);
        let mut told = 0;
        let cut_off = catch_unwind(AssertUnwindSafe(|| {
            whole(&store, &steps, &mut |_| {
                told += 1;
                assert!(told < cut_at, "cut off here");
            })
        }));
        let ended = cut_off.is_ok();
        cut += u32::from(!ended);
        whole(&store, &steps, &mut |_| {}).unwrap();
        let moved = store.scan(Scan::<Moved>::all(), 100).unwrap();
        let named = |n: u64| (n.to_string(), n + 12);
        let wanted: Vec<_> = (0..RECORDS).map(named).chain([("last".to_owned(), 0)]).collect();
        assert_eq!(moved, wanted, "cut off at {cut_at}");
        assert_eq!(store.records_in::<New>().unwrap(), 0);
        assert_eq!(meta(&store, SCHEMA_KEY).unwrap(), (SCHEMA_VERSION + 2).to_be_bytes());
        assert!(meta(&store, PLACE_KEY).unwrap().is_empty());
        if ended {
            break;
        }
    }
    assert!(cut > 10, "it was cut off {cut} times");
}

#[test]
fn a_start_does_quick_steps_and_refuses_before_a_slow_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 0).unwrap();
    let entries = store.log().size();
    let (quick, slow) = (then([QUICK]), then([QUICK, IN_PLACE]));
    let start = |steps: &[Step]| run_steps(&store, Upgrade::AtStart, steps);
    assert_eq!(start(&slow), Err(StoreError::Older { slow: true }));
    assert_eq!(run_steps(&store, Upgrade::No, &quick), Err(StoreError::Older { slow: false }));
    assert_eq!(store.log().size(), entries, "nothing was written");
    start(&quick).unwrap();
    assert_eq!(store.get::<Moved>(&"quick".to_owned()).unwrap(), Some(0));
    start(&quick).unwrap();
}

#[test]
fn a_later_store_is_refused_with_the_version_that_upgraded_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 0).unwrap();
    whole(&store, &then([QUICK]), &mut |_| {}).unwrap();
    commit(&store, |tx| {
        put_meta(tx, PROGRAM_KEY, b"9.1.0 (commit 0123)".to_vec());
        Ok(Event::new(Operation::Key, "test", "test"))
    })
    .unwrap();
    drop(store);
    let error = open(folder.path(), 0).err().expect("it is refused");
    let said = error.to_string();
    assert!(said.contains("upgraded by Entente 9.1.0 (commit 0123) to schema"), "{said}");
    assert!(said.contains(&format!("this is Entente {}", crate::VERSION)), "{said}");
}

#[test]
fn the_version_that_opens_a_store_is_written_down_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 0).unwrap();
    commit(&store, |tx| {
        put_meta(tx, PROGRAM_KEY, b"0.0.9".to_vec());
        Ok(Event::new(Operation::Key, "test", "test"))
    })
    .unwrap();
    drop(store);
    let size = |store: &Store| store.log().size();
    let store = open(folder.path(), 0).unwrap();
    let after = size(&store);
    let (_, leaf) = store.leaves(after - 1, 1).unwrap().remove(0);
    let leaf = String::from_utf8_lossy(&leaf).into_owned();
    assert!(leaf.contains("store.program") && leaf.contains("0.0.9"), "{leaf}");
    drop(store);
    assert_eq!(size(&open(folder.path(), 0).unwrap()), after);
}

#[test]
fn a_slow_step_waits_for_room_and_counts_what_it_moved() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 0).unwrap();
    let steps = then([Step { work: |work| work.once(|_| Ok(())), ..IN_PLACE }]);
    // As a step leaves it that moved what is counted.
    commit(&store, |tx| {
        tx.set_count(ParkedIn::PREFIX, 5);
        Ok(Event::new(Operation::Key, "test", "test"))
    })
    .unwrap();
    assert_eq!(store.count::<ParkedIn>(), 5);
    drop(store);
    let full = open(folder.path(), u64::MAX / 2).unwrap();
    assert_eq!(whole(&full, &steps, &mut |_| {}), Err(StoreError::Full));
    drop(full);
    let store = open(folder.path(), 0).unwrap();
    whole(&store, &steps, &mut |_| {}).unwrap();
    assert_eq!(store.count::<ParkedIn>(), 0);
}
