//! Schema 3: the index of recent changes, made from the log. Stores before it made the index at
//! their first start, and [`Meta`] said up to which entry it went.

use super::{Batch, Pace, Step, Work};
use crate::alert;
use crate::audit::{Changed, Entry};
use crate::id::AlertId;
use crate::store::recent::Touched;
use crate::store::schema::{Copies, IndexKey, Meta, Own, associated_data};
use crate::store::{Store, StoreError, Tx};

pub(super) const STEP: Step =
    Step { what: "the list of recent changes is made from the log", pace: Pace::Slow, work: index };

/// Key in [`Meta`] of the entry of the log up to which a store of schema 1 had its index; eight
/// big-endian bytes, the largest number once each commit kept it.
const INDEXED_KEY: &str = "recent";

fn index(work: &mut Work<'_>) -> Result<(), StoreError> {
    let key = INDEXED_KEY.to_owned();
    let held = work.store.get::<Meta>(&key)?.unwrap_or_default();
    let indexed = held.try_into().map_or(0, u64::from_be_bytes);
    // What this upgrade adds to the log changes no alert.
    let end = work.store.log().size();
    work.pass(end.saturating_sub(indexed), move |store, after, limit| {
        let from = after.try_into().map_or(indexed, u64::from_be_bytes);
        if from >= end {
            return Ok(None);
        }
        let leaves = store.leaves(from, limit)?;
        let (Some((last, _)), records) = (leaves.last(), leaves.len() as u64) else {
            return Err(StoreError::Corrupt(format!("entry {from} of the log is missing")));
        };
        let after = (last + 1).to_be_bytes().to_vec();
        let entries = leaves.iter().filter_map(|(_, leaf)| Entry::parse(leaf).ok());
        let changes = entries.filter(|entry| Changed::of(&entry.kind).is_some());
        let with_case = |entry: Entry| {
            let case = entry.alert.as_ref().and_then(|alert| case_of(store, alert));
            (entry, case)
        };
        let changes: Vec<_> = changes.map(with_case).collect();
        let write = move |tx: &mut Tx<'_>| {
            let touched = changes.iter().map(|(entry, case)| Touched::by_entry(entry, *case));
            touched.flatten().try_for_each(|touched| tx.index(&touched))
        };
        Ok(Some(Batch { write: Box::new(write), after, records }))
    })?;
    work.once(|tx| {
        tx.delete::<Meta>(&INDEXED_KEY.to_owned());
        Ok(())
    })
}

/// Keyed hash of the case of an alert that is held; none where it can't be read, which a check
/// names.
fn case_of(store: &Store, id: &AlertId) -> Option<IndexKey> {
    let own = store.get::<Own>(id).ok()?.map(|own| (true, own.slot, own.token));
    let copy = || Some(store.get::<Copies>(id).ok()??).map(|copy| (false, copy.slot, copy.token));
    let (own, slot, token) = own.or_else(copy)?;
    let text =
        String::from_utf8(store.0.shared.unseal(slot, &associated_data(own, id), &token).ok()?)
            .ok()?;
    let case_ref = alert::read(&text).ok()?.content.case_ref?;
    Some(store.case_key(&case_ref))
}
