//! What is known about a peer's log: stored by itself, committed with its statements, or seen
//! since.

use super::statement::{HEAD_TYP, Head};
use crate::id::{AuthorityId, Timestamp};
use crate::jose;
use crate::node::Node;
use crate::store::{OtherLog, PeerLog, PeerLogs, StoreError, StreamIn, StreamsIn, Tx};

/// The newest known state of a peer's log: stored, or seen since.
pub(super) fn known(node: &Node, peer: &AuthorityId) -> Result<Option<PeerLog>, StoreError> {
    let (kept, stream) =
        (node.store.get::<PeerLogs>(peer)?, node.store.get::<StreamsIn>(peer)?.unwrap_or_default());
    let seen = node.streams.live(peer).log_seen().map(|word| PeerLog {
        size: word.size,
        root: word.root,
        signed_at: word.signed_at,
        word: word.jws,
        other: None,
    });
    Ok(newest(newest(kept, committed(stream)), seen))
}

pub(super) fn stored(tx: &Tx<'_>, peer: &AuthorityId) -> Result<Option<PeerLog>, StoreError> {
    let stream = tx.get::<StreamsIn>(peer)?.unwrap_or_default();
    Ok(newest(tx.get::<PeerLogs>(peer)?, committed(stream)))
}

/// What the newest committed head says.
fn committed(stream: StreamIn) -> Option<PeerLog> {
    let (size, root) = stream.log?;
    let signed_at = jose::peek::<Head>(HEAD_TYP, &stream.head).map_or(0, |head| head.iat);
    let signed_at = Timestamp::from_seconds(signed_at);
    Some(PeerLog { size, root, signed_at, word: stream.head, other: None })
}

/// The larger of two; it keeps what contradicts it.
pub(super) fn newest(kept: Option<PeerLog>, seen: Option<PeerLog>) -> Option<PeerLog> {
    match (kept, seen) {
        (Some(kept), Some(seen)) if seen.size > kept.size || later(&kept, &seen) => {
            Some(PeerLog { other: kept.other, ..seen })
        }
        (kept, seen) => kept.or(seen),
    }
}

/// The same log, signed later.
fn later(kept: &PeerLog, seen: &PeerLog) -> bool {
    (kept.size, kept.root) == (seen.size, seen.root) && seen.signed_at > kept.signed_at
}

/// What is wrong with a peer's log, in a sentence for people.
///
/// # Errors
/// When the store cannot be read.
pub fn log_alarm(node: &Node, peer: &AuthorityId) -> Result<Option<String>, StoreError> {
    Ok(known(node, peer)?.and_then(|log| alarm_of(peer, &log)))
}

pub(super) fn alarm_of(peer: &AuthorityId, log: &PeerLog) -> Option<String> {
    let OtherLog { size, at, both, .. } = log.other.as_ref()?;
    let before = log.size;
    Some(match both {
        Some(again) => format!(
            "two nodes run with the keys of {peer}: a log of {size} entries was shown on {at}, and \
             the other one, of {before} entries now, again on {again}; speak with its contact \
             desk"
        ),
        None if *size < before => format!(
            "the log of {peer} went back from {before} to {size} entries on {at}: it was restored \
             from a backup, and its people have not confirmed yet how it goes on"
        ),
        None => format!(
            "the log that {peer} showed on {at} is not the one of {before} entries that it signed \
             before: it was restored from a backup, and its people have not confirmed yet how it \
             goes on"
        ),
    })
}

/// Accepts the log that a peer showed last, after people looked into it.
pub(super) fn settle_log(tx: &mut Tx<'_>, peer: &AuthorityId) -> Result<(), StoreError> {
    let Some(log) = tx.get::<PeerLogs>(peer)? else { return Ok(()) };
    let Some(other) = log.other else { return Ok(()) };
    if other.both.is_some() {
        tx.put::<PeerLogs>(peer, &PeerLog { other: None, ..log });
        return Ok(());
    }
    let signed_at = other.at;
    let log =
        PeerLog { size: other.size, root: other.root, signed_at, word: other.word, other: None };
    tx.put::<PeerLogs>(peer, &log);
    if let Some(stream) = tx.get::<StreamsIn>(peer)? {
        tx.put::<StreamsIn>(peer, &StreamIn { log: None, ..stream });
    }
    Ok(())
}
