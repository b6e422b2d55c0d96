//! What has ended is erased, and erasing can't be undone: a clock that leapt is not believed at once.

use std::time::Duration;

use crate::audit::{Event, Operation};
use crate::id::Timestamp;
use crate::node::{Node, SharedNode};
use crate::store::{CommitError, Committed, Meta, StoreError};

/// A clock this far beyond the last time that was noted is not believed, in seconds: a node is seldom off for longer.
const LEAP_S: i64 = 30 * 86_400;

/// … until it ran for this long, with the alarm in sight, and nobody set it right.
const BELIEVED_AFTER: Duration = Duration::from_secs(3 * 86_400);

/// How often the time is noted, in seconds.
const NOTED_EVERY_S: i64 = 3600;

/// Key in [`Meta`] of the time last noted, seconds as eight big-endian bytes.
const CLOCK_KEY: &str = "clock";

/// Whether something speaks for the time that the clock shows: it is near the last one noted, a peer's clock agrees, or it
/// has run for days.
///
/// # Errors
/// When the store cannot be read.
pub fn clock_believed(node: &Node) -> Result<bool, StoreError> {
    let Some(noted) = noted(node)? else { return Ok(true) };
    let leapt = node.clock.now().since(noted) > LEAP_S;
    let believed =
        |seen: Duration| node.streams.clock_agreed(noted.plus(LEAP_S)) || seen > BELIEVED_AFTER;
    Ok(node.streams.leapt_for(leapt).is_none_or(believed))
}

fn noted(node: &Node) -> Result<Option<Timestamp>, StoreError> {
    let noted = node.store.get::<Meta>(&CLOCK_KEY.to_owned())?;
    let seconds = noted.and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes);
    Ok(seconds.map(Timestamp::from_seconds))
}

/// Notes the time, now and then.
pub(crate) async fn note_clock(node: &SharedNode) -> Result<(), StoreError> {
    let now = node.clock.now();
    if noted(node)?.is_some_and(|noted| now.since(noted).abs() < NOTED_EVERY_S) {
        return Ok(());
    }
    let committed = node.store.commit(move |tx| {
        tx.put::<Meta>(&CLOCK_KEY.to_owned(), &now.seconds().to_be_bytes().to_vec());
        Ok::<_, StoreError>(Committed::new((), Event::new(Operation::Key, "clock.noted", "node")))
    });
    committed.await.map_err(|error| match error {
        CommitError::Refused(error) | CommitError::Store(error) => error,
    })
}
