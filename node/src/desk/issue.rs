//! What every version of an own alert goes through, whichever use case issues it: whether one may
//! be issued now, signing and sealing it, and entering it into store and feed.

use super::DeskError;
use crate::alert::{self, Draft, View};
use crate::exchange;
use crate::holding::Sealed;
use crate::id::{AlertId, Digest, Version};
use crate::matching::MATCH_KEYS_MAX;
use crate::node::{ClockDoubt, Node, clock_doubt};
use crate::store::{Change, Tx};
use crate::trust::Part;

/// Refuses to sign anything new with an expired key, since peers would refuse it. Withdrawals are
/// signed nevertheless, since they erase the alert here.
pub(super) fn key_in_force(node: &Node) -> Result<(), DeskError> {
    let ended = node.ends.load().ended(Part::StatementKey, node.clock.now());
    ended.map_or(Ok(()), |at| Err(DeskError::KeyEnded(at)))
}

/// Refuses to issue while the node knows that it has lost state.
pub(super) fn may_issue(tx: &Tx<'_>) -> Result<(), DeskError> {
    if exchange::is_stopped(tx)? { Err(DeskError::LostState) } else { Ok(()) }
}

/// Refuses to sign while the node believes a time in the past.
pub(super) fn may_date(node: &Node) -> Result<(), DeskError> {
    match clock_doubt(node).filter(ClockDoubt::forbids_issuing) {
        Some(doubt) => Err(DeskError::ClockInDoubt(Box::new(doubt))),
        None => Ok(()),
    }
}

/// Enters the newest version of an own alert, in place of the one at `freed`.
pub(super) fn enter(tx: &mut Tx<'_>, sealed: &Sealed, freed: Option<u64>, kind: &'static str) {
    let head = &sealed.view.head;
    let feed = exchange::feed(tx, &head.id, false, freed);
    sealed.enter_own(tx, feed, false);
    tx.announce(Change::Alert { kind, id: head.id.clone(), version: head.version });
}

/// Version `version` of an own alert after the one with the digest `previous`, signed and sealed.
pub(super) fn next_version(
    node: &Node,
    draft: &Draft,
    id: &AlertId,
    (version, previous): (Version, Digest),
) -> Result<Sealed, DeskError> {
    let (id, now, key) = (id.clone(), node.clock.now(), &node.statement_key);
    let view = alert::issue(draft, id, version, Some(previous), now, key, &node.entropy)?;
    sealed(node, view)
}

/// The view, sealed, with no more match keys than are indexed.
pub(super) fn sealed(node: &Node, view: View) -> Result<Sealed, DeskError> {
    let sealed = Sealed::own(node, view);
    let few = sealed.match_keys().len() <= MATCH_KEYS_MAX;
    if few { Ok(sealed) } else { Err(DeskError::TooManyMatchKeys) }
}
