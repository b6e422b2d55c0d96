//! Schema 4: the log is indexed by operation, actor and alert.

use super::{Batch, Pace, Step, Work};
use crate::store::log_index::SEGMENT;
use crate::store::schema::LogIndex;
use crate::store::{StoreError, Tx};

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
        let records = store.segment_index(segment)?;
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
