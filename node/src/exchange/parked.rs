//! Statements that a peer refused, or can't read yet. They are kept where the operators of both
//! sides see them, and offered again when the reason is gone, or by hand.

use crate::alert::SCHEMA;
use crate::id::{AuthorityId, CLOCK_TOLERANCE_S, Timestamp};
use crate::node::Node;
use crate::reason::Reason;
use crate::store::{Change, PAGE, Parked, ParkedOut, Read, Retries, Scan, StoreError, Subject, Tx};

/// Why an alert waits when the peer can't read its schema yet.
pub(super) const SCHEMA_LACKING: &str = Reason::PeerLacksSchema.as_str();

/// Why a statement waits of a kind that the peer's version of the protocol does not have.
pub(super) const PROTOCOL_LACKING: &str = Reason::PeerLacksProtocol.as_str();

/// Why an alert waits that has expired, or whose rule has ended, according to a clock in doubt
/// since the start.
pub(super) const CLOCK_IN_DOUBT: &str = Reason::ClockInDoubt.as_str();

/// Why a receiver refuses a statement for lack of room.
pub(super) const NO_ROOM: &str = Reason::NoRoom.as_str();

/// Why a receiver refuses a statement that is dated ahead of its clock.
pub const FUTURE_IAT: &str = Reason::FutureIat.as_str();

/// Why a receiver refuses an alert whose time is over, according to its clock.
const EXPIRED: &str = Reason::Expired.as_str();

/// Why a receiver refuses what a key has signed that its descriptor of us does not name.
const UNKNOWN_KEY: &str = Reason::UnknownKey.as_str();

/// Why a receiver refuses a notice that is one too many.
const TOO_MANY_NOTICES: &str = Reason::TooManyNotices.as_str();

/// Wait before a statement is offered again that a peer believes to have expired, to be one too
/// many, or to be signed by an unknown key, in seconds: people must read what waits there, set its
/// clock right, or give it our new descriptor.
const PEOPLE_WAIT_S: i64 = 3600;

/// When a statement refused for this reason is offered again automatically; `None` means only by
/// hand.
pub(super) fn retry_at(reason: &str, now: Timestamp) -> Option<Timestamp> {
    match reason {
        FUTURE_IAT | NO_ROOM | CLOCK_IN_DOUBT => Some(now.plus(CLOCK_TOLERANCE_S)),
        EXPIRED | UNKNOWN_KEY | TOO_MANY_NOTICES => Some(now.plus(PEOPLE_WAIT_S)),
        _ => None,
    }
}

/// Peer and subject.
type Key = (AuthorityId, Subject);

/// Parks a statement, in place of an earlier one about the subject.
pub(super) fn park(tx: &mut Tx<'_>, key: &Key, parked: &Parked) -> Result<(), StoreError> {
    unpark(tx, key)?;
    if let Some(at) = parked.retry_at {
        tx.put::<Retries>(&retry(key, at), &());
    }
    tx.put::<ParkedOut>(key, parked);
    Ok(())
}

/// Ends the parking of a subject: something newer was offered, or nothing is to be offered any
/// more.
pub(super) fn unpark(tx: &mut Tx<'_>, key: &Key) -> Result<(), StoreError> {
    if let Some(parked) = tx.get::<ParkedOut>(key)? {
        if let Some(at) = parked.retry_at {
            tx.delete::<Retries>(&retry(key, at));
        }
        tx.delete::<ParkedOut>(key);
    }
    Ok(())
}

fn retry(key: &Key, at: Timestamp) -> (AuthorityId, (Timestamp, Subject)) {
    (key.0.clone(), (at, key.1.clone()))
}

/// What is parked with `peer` and are to be offered again by now, the longest due first; at most a
/// page.
pub(super) fn due(
    from: &impl Read,
    peer: &AuthorityId,
    now: Timestamp,
) -> Result<Vec<Subject>, StoreError> {
    let waiting = from.scan(Scan::<Retries>::of(peer), PAGE)?;
    // No wait is longer; a later time comes from a clock that was ahead.
    let due = |at: &Timestamp| *at <= now || *at > now.plus(PEOPLE_WAIT_S);
    Ok(waiting
        .into_iter()
        .map(|((_, retry), ())| retry)
        .filter(|(at, _)| due(at))
        .map(|(_, subject)| subject)
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

/// Whether anything is parked with `peer` for this reason.
pub(super) fn waits_for(node: &Node, peer: &AuthorityId, reason: &str) -> Result<bool, StoreError> {
    let mut pages = Scan::<ParkedOut>::of(peer).pages(PAGE);
    while let Some(page) = pages.next(&node.store)? {
        if page.iter().any(|(_, parked)| parked.reason == reason) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The text that operators read while alerts wait for a peer to be updated.
pub(super) fn waits_for_schema(peer: &AuthorityId) -> String {
    format!("{peer} lacks schema {SCHEMA}")
}
