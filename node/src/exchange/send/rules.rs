//! Rules that end while nothing else changes: the stream then decides everything again.

use super::error::SendError;
use crate::audit::{Event, Operation};
use crate::exchange::stream::begin_sweep;
use crate::id::{AuthorityId, CLOCK_TOLERANCE_S, Timestamp};
use crate::node::{Node, SharedNode};
use crate::store::{CommitError, Committed, StoreError, StreamsOut};
use crate::trust::Part;

/// Whether peers take what this node signs.
///
/// # Errors
/// [`SendError::KeyEnded`] when they would refuse it.
pub fn key_in_force(node: &Node) -> Result<(), SendError> {
    let ended = node.ends.load().ended(Part::StatementKey, node.clock.now());
    ended.map_or(Ok(()), |at| Err(SendError::KeyEnded(at)))
}

/// When the next rule ends, counted from when this peer's stream last decided everything: a time in
/// the past if a rule ended while nothing was sent, and the present if the clock was set back
/// since, because rules that had ended may apply again.
///
/// # Errors
/// When the store cannot be read.
pub fn next_rule_end(node: &Node, peer: &AuthorityId) -> Result<Option<Timestamp>, StoreError> {
    let Some(stream) = node.store.get::<StreamsOut>(peer)? else { return Ok(None) };
    let now = node.clock.now();
    if stream.swept_at > now.plus(CLOCK_TOLERANCE_S) {
        return Ok(Some(now));
    }
    Ok(node.policy.load().1.next_change(stream.swept_at))
}

/// If a rule has ended, has the stream decide everything again.
pub(super) async fn sweep_after_rule_end(
    node: &SharedNode,
    peer: &AuthorityId,
) -> Result<(), SendError> {
    if next_rule_end(node, peer)?.is_none_or(|end| end > node.clock.now()) {
        return Ok(());
    }
    let held = peer.clone();
    let committed = node.store.commit(move |tx| {
        if let Some(stream) = tx.get::<StreamsOut>(&held)? {
            tx.put::<StreamsOut>(&held, &begin_sweep(stream, tx.now()));
        }
        let event = Event::new(Operation::Policy, "policy.rule_ended", "node").peer(&held);
        Ok(Committed::new((), event))
    });
    committed.await.map_err(CommitError::flatten)
}
