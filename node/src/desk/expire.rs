//! What has reached its end is erased, here as at every node that holds it: no message is needed. Erasing can't be undone,
//! so a clock that leapt is not believed at once.

use std::time::Duration;

use super::DeskError;
use crate::audit::{Event, Operation};
use crate::exchange;
use crate::holding::{erase_copy, forget_own};
use crate::id::{AlertId, Timestamp};
use crate::node::{Node, SharedNode};
use crate::store::{
    Change, Committed, Copies, Erased, Expiries, Feed, Meta, Own, StoreError, Tombstone,
    Tombstones, Tx,
};

/// Alerts erased in one commit: keeps the writer free for others.
const PAGE: usize = 256;

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
    let leapt = noted(node)?.is_some_and(|noted| node.clock.now().since(noted) > LEAP_S);
    Ok(!leapt || node.streams.clock_agreed() || node.began.elapsed() > BELIEVED_AFTER)
}

fn noted(node: &Node) -> Result<Option<Timestamp>, StoreError> {
    let noted = node.store.get::<Meta>(&CLOCK_KEY.to_owned())?;
    let seconds = noted.and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes);
    Ok(seconds.map(Timestamp::from_seconds))
}

/// Notes the time, now and then.
async fn note_clock(node: &SharedNode) -> Result<(), DeskError> {
    let now = node.clock.now();
    if noted(node)?.is_some_and(|noted| now.since(noted).abs() < NOTED_EVERY_S) {
        return Ok(());
    }
    let committed = node.store.commit(move |tx| {
        tx.put::<Meta>(&CLOCK_KEY.to_owned(), &now.seconds().to_be_bytes().to_vec());
        Ok::<_, DeskError>(Committed::new((), Event::new(Operation::Key, "clock.noted", "node")))
    });
    Ok(committed.await?)
}

/// Erases what has ended; returns how many. At most 256: more may be left.
///
/// # Errors
/// When the clock is not believed, or the store failed.
pub async fn expire(node: &SharedNode) -> Result<usize, DeskError> {
    if !clock_believed(node)? {
        return Err(DeskError::ClockLeapt);
    }
    note_clock(node).await?;
    let now = node.clock.now();
    let ended = node.store.scan::<Expiries>(&[], None, PAGE)?;
    let ended: Vec<_> =
        ended.into_iter().map(|(key, ())| key).take_while(|key| key.0 <= now).collect();
    let count = ended.len();
    if count == 0 {
        return Ok(0);
    }
    let committed = node.store.commit(move |tx| {
        let mut events = Vec::with_capacity(ended.len());
        for (end, id) in ended {
            tx.delete::<Expiries>(&(end, id.clone()));
            if let Some(own) = tx.get::<Own>(&id)?.filter(|own| own.expires_at == end) {
                forget_own(tx, &id, &own);
                tx.delete::<Own>(&id);
                if exchange::outlived(tx, &id, own.version)? {
                    exchange::feed(tx, &id, true, Some(own.feed));
                } else {
                    tx.delete::<Feed>(&own.feed);
                }
                bury(tx, &id, own.version, own.jwt_digest);
            } else if let Some(copy) = tx.get::<Copies>(&id)?.filter(|copy| copy.expires_at == end)
            {
                erase_copy(tx, &id, Erased::Expired, copy.version, None)?;
            }
            events.push(Event::new(Operation::Erase, "alert.expired", "node").alert(&id));
        }
        let swept = Event::new(Operation::Erase, "alert.expiry", "node").with("count", count);
        Ok::<_, DeskError>(events.into_iter().fold(Committed::new((), swept), Committed::and))
    });
    committed.await?;
    Ok(count)
}

fn bury(tx: &mut Tx<'_>, id: &AlertId, version: u32, jwt_digest: crate::id::Digest) {
    let (erased, jwt_digest, at) = (Erased::Expired, Some(jwt_digest), tx.now());
    tx.put::<Tombstones>(id, &Tombstone { erased, version, jwt_digest, at, statement: None });
    tx.announce(Change::Alert { kind: Erased::Expired.as_str(), id: id.clone(), version });
}
