//! What a peer refused, or can't read yet: kept where the operators of both sides see it, and
//! offered again when the reason goes or by hand.

use crate::alert::SCHEMA;
use crate::id::{AlertId, AuthorityId, CLOCK_TOLERANCE_S, Timestamp};
use crate::node::Node;
use crate::store::{Change, PAGE, Parked, ParkedOut, Read, Retries, Scan, StoreError, Tx};

/// Why an alert waits when the peer can't read its schema yet.
pub(super) const SCHEMA_LACKING: &str = "peer_lacks_schema";

/// Why an alert waits that has ended, or whose rule has, by a clock that is in doubt since the
/// start.
pub(super) const CLOCK_IN_DOUBT: &str = "clock_in_doubt";

/// Why a receiver refuses what it has no room for.
pub(super) const NO_ROOM: &str = "no_room";

/// Why a receiver refuses what is dated ahead of its clock.
pub const FUTURE_IAT: &str = "future_iat";

/// Wait before what a peer takes for ended, or for signed by a key it does not know, is offered
/// again, in seconds: its clock, or the descriptor it holds of us, is to be looked after by people.
const PEOPLE_WAIT_S: i64 = 3600;

/// When something refused for this reason is offered again by itself; `None`: by hand only.
pub(super) fn retry_at(reason: &str, now: Timestamp) -> Option<Timestamp> {
    match reason {
        FUTURE_IAT | NO_ROOM | CLOCK_IN_DOUBT => Some(now.plus(CLOCK_TOLERANCE_S)),
        "expired" | "unknown_key" => Some(now.plus(PEOPLE_WAIT_S)),
        _ => None,
    }
}

/// Peer and alert.
type Key = (AuthorityId, AlertId);

/// Parks, in place of what was parked of the alert.
pub(super) fn park(tx: &mut Tx<'_>, key: &Key, parked: &Parked) -> Result<(), StoreError> {
    unpark(tx, key)?;
    if let Some(at) = parked.retry_at {
        tx.put::<Retries>(&retry(key, at), &());
    }
    tx.put::<ParkedOut>(key, parked);
    Ok(())
}

/// Something newer was offered of the alert, or nothing is to be offered of it any more.
pub(super) fn unpark(tx: &mut Tx<'_>, key: &Key) -> Result<(), StoreError> {
    if let Some(parked) = tx.get::<ParkedOut>(key)? {
        if let Some(at) = parked.retry_at {
            tx.delete::<Retries>(&retry(key, at));
        }
        tx.delete::<ParkedOut>(key);
    }
    Ok(())
}

fn retry(key: &Key, at: Timestamp) -> (AuthorityId, (Timestamp, AlertId)) {
    (key.0.clone(), (at, key.1.clone()))
}

/// Alerts parked with `peer` that are to be offered again by now, the longest due first; at most a
/// page.
pub(super) fn due(
    from: &impl Read,
    peer: &AuthorityId,
    now: Timestamp,
) -> Result<Vec<AlertId>, StoreError> {
    let waiting = from.scan(Scan::<Retries>::of(peer), PAGE)?;
    // No wait is longer: what waits for later was parked by a clock that was ahead.
    let due = |at: &Timestamp| *at <= now || *at > now.plus(PEOPLE_WAIT_S);
    Ok(waiting
        .into_iter()
        .map(|((_, retry), ())| retry)
        .filter(|(at, _)| due(at))
        .map(|(_, alert)| alert)
        .collect())
}

/// Offers again what `peer` refused and `which` chooses, in the same transaction; returns how many.
///
/// # Errors
/// When the store cannot be read.
pub fn retry_parked(
    tx: &mut Tx<'_>,
    peer: &AuthorityId,
    which: impl Fn(&Parked) -> bool,
) -> Result<u64, StoreError> {
    let now = tx.now();
    let mut retried = 0;
    let mut pages = Scan::<ParkedOut>::of(peer).pages(PAGE);
    while let Some(page) = pages.next(tx)? {
        for (key, parked) in page.into_iter().filter(|(_, parked)| which(parked)) {
            park(tx, &key, &Parked { retry_at: Some(now), ..parked })?;
            retried += 1;
        }
    }
    tx.announce(Change::Feed);
    Ok(retried)
}

/// Whether anything is parked with `peer` because it can't read its schema.
pub(super) fn lacks_schema(node: &Node, peer: &AuthorityId) -> Result<bool, StoreError> {
    let mut pages = Scan::<ParkedOut>::of(peer).pages(PAGE);
    while let Some(page) = pages.next(&node.store)? {
        if page.iter().any(|(_, parked)| parked.reason == SCHEMA_LACKING) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What operators read while alerts wait for a peer to be updated.
pub(super) fn waits_for_schema(peer: &AuthorityId) -> String {
    format!("{peer} lacks schema {SCHEMA}")
}
