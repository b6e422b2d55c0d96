//! Erases expired alerts. Every node that holds a copy does the same, so no message is needed.

use super::DeskError;
use crate::audit::{Event, Operation};
use crate::exchange;
use crate::holding::{erase_copy, erase_notice, erase_own};
use crate::id::{AlertId, AuthorityId, NoticeId, Timestamp};
use crate::node::{SharedNode, clock_doubt};
use crate::store::{
    CommitError, Committed, Copies, Erased, Expiries, Feed, NoticeEnds, Notices, Own, Read, Scan,
    StoreError, Subject, Tx,
};

/// Most alerts, or notices, erased in one commit: keeps the writer free for others.
const PAGE: usize = 256;

/// Erases expired alerts and notices; returns how many. At most 256 of each, so more may be left.
///
/// # Errors
/// When the clock is not believed, or the store failed.
pub async fn expire(node: &SharedNode) -> Result<usize, DeskError> {
    // Uses the time before the doubt, so that a leap in between changes nothing.
    let now = node.clock.now();
    if let Some(doubt) = clock_doubt(node) {
        return Err(DeskError::ClockInDoubt(Box::new(doubt)));
    }
    let ended = node.store.scan(Scan::<Expiries>::all(), PAGE)?;
    let ended: Vec<_> =
        ended.into_iter().map(|(key, ())| key).take_while(|key| key.0 <= now).collect();
    let notices = end_notices(node, now).await?;
    let count = ended.len();
    if count == 0 {
        return Ok(notices);
    }
    let committed = node.store.commit(move |tx| {
        let mut events = Vec::with_capacity(ended.len());
        for (end, id) in ended {
            if end_one(tx, end, &id)? {
                events.push(Event::new(Operation::Erase, "alert.expired", "node").alert(&id));
            }
        }
        let swept = Event::new(Operation::Erase, "alert.expiry", "node");
        let swept = swept.with("count", events.len());
        Ok::<_, DeskError>(events.into_iter().fold(Committed::new((), swept), Committed::and))
    });
    committed.await.map_err(CommitError::flatten)?;
    Ok(count + notices)
}

/// Erases notices that are a year old, and what of them still waited to be sent; returns how many.
async fn end_notices(node: &SharedNode, now: Timestamp) -> Result<usize, DeskError> {
    let ended = node.store.scan(Scan::<NoticeEnds>::all(), PAGE)?;
    let ended: Vec<_> =
        ended.into_iter().map(|(key, ())| key).take_while(|key| key.0 <= now).collect();
    let count = ended.len();
    if count == 0 {
        return Ok(0);
    }
    let committed = node.store.commit(move |tx| {
        let swept = Event::new(Operation::Erase, "notice.expiry", "node").with("count", count);
        let mut events = Vec::with_capacity(ended.len());
        for (end, key) in ended {
            tx.delete::<NoticeEnds>(&(end, key.clone()));
            if end_notice(tx, &key)? {
                let event = Event::new(Operation::Erase, "notice.expired", "node").peer(&key.0);
                events.push(event.with("notice", key.1.to_string()));
            }
        }
        Ok::<_, StoreError>(events.into_iter().fold(Committed::new((), swept), Committed::and))
    });
    committed.await.map_err(CommitError::flatten)?;
    Ok(count)
}

fn end_notice(tx: &mut Tx<'_>, key: &(AuthorityId, NoticeId)) -> Result<bool, StoreError> {
    let Some(held) = tx.get::<Notices>(key)? else { return Ok(false) };
    let (peer, id) = key;
    let said = held.acknowledged.as_ref().and_then(|said| said.feed);
    exchange::forget_addressed(tx, peer, Subject::Notice(id.clone()), held.feed)?;
    exchange::forget_addressed(tx, peer, Subject::Acknowledgement(id.clone()), said)?;
    erase_notice(tx, key, &held)?;
    Ok(true)
}

/// Erases an alert that expires at this time; `false` when it has been erased, or given another
/// end, since it was looked up.
fn end_one(tx: &mut Tx<'_>, end: Timestamp, id: &AlertId) -> Result<bool, StoreError> {
    tx.delete::<Expiries>(&(end, id.clone()));
    if let Some(own) = tx.get::<Own>(id)?.filter(|own| own.expires_at == end) {
        if exchange::outlived(tx, id, own.version)? {
            exchange::feed(tx, id, true, Some(own.feed));
        } else {
            tx.delete::<Feed>(&own.feed);
        }
        erase_own(tx, id, &own, Erased::Expired, None);
        return Ok(true);
    }
    match tx.get::<Copies>(id)?.filter(|copy| copy.expires_at == end) {
        Some(copy) => erase_copy(tx, id, Erased::Expired, copy.version, None),
        None => Ok(false),
    }
}
