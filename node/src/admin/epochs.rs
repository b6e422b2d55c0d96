//! After a loss of state: one person proposes a new epoch to all peers, another approves it, and the stop ends.

use super::policy::propose;
use super::{AdminError, reason};
use crate::audit::{Event, Operation};
use crate::exchange;
use crate::node::SharedNode;
use crate::roles::Actor;
use crate::store::{Change, Committed, Proposals, Proposed};

/// Proposes new epochs; returns the number to approve.
///
/// # Errors
/// When the node did not lose state, or the reason is missing.
pub async fn propose_epoch(node: &SharedNode, why: &str, actor: &Actor) -> Result<u64, AdminError> {
    let why = reason(why)?.to_owned();
    let by = actor.name.clone();
    let committed = node.store.commit(move |tx| {
        if !exchange::is_stopped(tx)? {
            return Err(AdminError::NotStopped);
        }
        let number = propose(tx, Proposed::StartEpoch { reason: why.clone() }, &by)?;
        let event = Event::new(Operation::Key, "epoch.proposed", &by);
        Ok(Committed::new(number, event.with("proposal", number).with("reason", why)))
    });
    Ok(committed.await?)
}

/// Starts the proposed epochs, by a second person.
///
/// # Errors
/// When none waits, or it is the same person.
pub async fn approve_epoch(
    node: &SharedNode,
    number: u64,
    actor: &Actor,
) -> Result<(), AdminError> {
    let (by, me) = (actor.name.clone(), node.authority.clone());
    let committed = node.store.commit(move |tx| {
        let proposal = tx.get::<Proposals>(&number)?.ok_or(AdminError::UnknownProposal(number))?;
        if !matches!(proposal.what, Proposed::StartEpoch { .. }) {
            return Err(AdminError::UnknownProposal(number));
        }
        if proposal.by == by {
            return Err(AdminError::SamePerson);
        }
        exchange::start_epochs(tx, &me)?;
        tx.delete::<Proposals>(&number);
        let event = Event::new(Operation::Key, "epoch.started", &by).with("proposal", number);
        Ok(Committed::new((), event.with("proposed_by", proposal.by)))
    });
    committed.await?;
    // Streams that waited for people try again at once.
    node.store.announce(Change::Peers);
    Ok(())
}
