//! Schema 4: the log is indexed by operation, actor and alert.

use super::{Batch, Pace, Step, Work};
use crate::audit::Entry;
use crate::store::log_index::{Indexer, SEGMENT, terms_of};
use crate::store::schema::LogIndex;
use crate::store::table::decode_record;
use crate::store::{Store, StoreError, Tx};

pub(super) const STEP: Step = Step {
    what: "the log is indexed by operation, actor and alert",
    pace: Pace::Slow,
    work: index,
};

/// Segments that were whole when the store was opened, or that this upgrade completed: the latter
/// are indexed already, and are so once more.
fn index(work: &mut Work<'_>) -> Result<(), StoreError> {
    let segments = work.store.log().size() / SEGMENT;
    work.pass(segments, move |store, after, _| {
        let segment = after.try_into().map_or(0, u64::from_be_bytes);
        if segment >= segments {
            return Ok(None);
        }
        let records = records(store, segment)?;
        let write = move |tx: &mut Tx<'_>| {
            for (key, postings) in &records {
                tx.put::<LogIndex>(key, postings);
            }
            Ok(())
        };
        let after = (segment + 1).to_be_bytes().to_vec();
        Ok(Some(Batch { write: Box::new(write), after, records: 1 }))
    })
}

type Record = <LogIndex as crate::store::Table>::Key;

fn records(
    store: &Store,
    segment: u64,
) -> Result<Vec<(Record, Vec<crate::store::Posting>)>, StoreError> {
    let mut indexer = Indexer::of_segment_with(segment * SEGMENT);
    loop {
        let from = indexer.next();
        let leaves = store.leaves(from, 1024)?;
        if leaves.is_empty() {
            return Err(StoreError::Corrupt(format!("entry {from} of the log is missing")));
        }
        for (_, leaf) in leaves {
            let terms = Entry::parse(&leaf).map(|entry| terms_of(&entry)).unwrap_or_default();
            let records = indexer.push(terms)?;
            if !records.is_empty() {
                let decoded = records.iter().map(|(k, v)| decode_record::<LogIndex>(k, v));
                return decoded.collect();
            }
        }
    }
}
