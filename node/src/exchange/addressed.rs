//! Statements that are for one peer and not under policy: entering the feed, and leaving it.

use super::parked;
use crate::holding::{is_sent, note_stopped};
use crate::id::{AuthorityId, FeedSeq};
use crate::store::{
    Acknowledged, Change, Feed, FeedEntry, HeldNotice, Ledger, Notices, PAGE, Scan, StoreError,
    Subject, To, Tx,
};

/// Gives a statement for `peer` its place in the feed, and wakes its dispatcher.
pub(crate) fn feed_to(tx: &mut Tx<'_>, subject: Subject, peer: &AuthorityId) -> FeedSeq {
    let place = tx.next_feed();
    let to = To::Peer(peer.clone());
    tx.put::<Feed>(&place, &FeedEntry { subject, to, withdrawn: false });
    tx.announce(Change::Feed);
    place
}

/// Nothing of the subject is sent to `peer` any more, and what the ledger says of it is forgotten.
pub(crate) fn forget_addressed(
    tx: &mut Tx<'_>,
    peer: &AuthorityId,
    subject: Subject,
    place: Option<FeedSeq>,
) -> Result<(), StoreError> {
    if let Some(place) = place {
        tx.delete::<Feed>(&place);
    }
    let key = (peer.clone(), subject);
    parked::unpark(tx, &key)?;
    tx.delete::<Ledger>(&key);
    Ok(())
}

/// A peer is removed: what waits for it is not sent to whoever comes back under its name. What it
/// took stays in the feed no longer either.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn stop_addressed(tx: &mut Tx<'_>, peer: &AuthorityId) -> Result<u64, StoreError> {
    let mut stopped = 0;
    let mut pages = Scan::<Notices>::of(peer).pages(PAGE);
    while let Some(page) = pages.next(tx)? {
        for (key, held) in page {
            stopped += u64::from(stop_one(tx, &key, held)?);
        }
    }
    Ok(stopped)
}

/// Whether it waited still.
fn stop_one(
    tx: &mut Tx<'_>,
    key: &(AuthorityId, crate::id::NoticeId),
    held: HeldNotice,
) -> Result<bool, StoreError> {
    let (peer, id) = key;
    if is_sent(key) {
        let waits = held.feed.is_some() && held.taken_at.is_none();
        forget_addressed(tx, peer, Subject::Notice(id.clone()), held.feed)?;
        note_stopped(tx, key, held)?;
        return Ok(waits);
    }
    let Some(said) = held.acknowledged.clone().filter(|said| said.feed.is_some()) else {
        return Ok(false);
    };
    forget_addressed(tx, peer, Subject::Acknowledgement(id.clone()), said.feed)?;
    let acknowledged = Some(Acknowledged { feed: None, ..said });
    tx.put::<Notices>(key, &HeldNotice { acknowledged, ..held });
    Ok(false)
}
