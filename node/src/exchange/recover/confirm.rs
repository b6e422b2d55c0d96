//! How a node that lost state resumes: records what two people approved, then decides and sends
//! everything again.

use crate::audit::{Event, Operation, RESTORED, Restore, STATEMENT, Tree};
use crate::exchange::restores::keep_restore;
use crate::exchange::stop::{PEERS_MAX, end_stop};
use crate::exchange::stream::{drop_offers, fresh, next_epoch, streams};
use crate::id::{AuthorityId, Timestamp};
use crate::node::SharedNode;
use crate::store::{
    Change, CommitError, Committed, LostHeads, PAGE, Read, Scan, StoreError, StreamsOut, TakenBack,
    Tx, Unasked,
};

/// Notes that a peer has handed back everything that it holds of ours.
///
/// # Errors
/// When the store failed.
pub async fn asked(node: &SharedNode, peer: &AuthorityId, count: u64) -> Result<(), StoreError> {
    let from = peer.clone();
    let committed = node.store.commit(move |tx| {
        tx.delete::<Unasked>(&from);
        let event = Event::new(Operation::Collect, "recovery.asked", "node").peer(&from);
        Ok::<_, StoreError>(Committed::new((), event.with("statements", count)))
    });
    committed.await.map_err(CommitError::flatten)
}

/// Who approved that a node resumes, and why.
pub struct Approval {
    /// The first person.
    pub proposed_by: String,
    /// The second.
    pub approved_by: String,
    /// The reason that the first person gave.
    pub reason: String,
    /// The name of the review that both were shown.
    pub review: String,
}

/// The restore that is to be recorded, of a log that ends so; `None` when no head of the log that
/// is gone is known.
///
/// # Errors
/// When the store cannot be read.
pub fn restore_due(
    from: &impl Read,
    log: &Tree,
    me: &AuthorityId,
    approved_at: Timestamp,
) -> Result<Option<Restore>, StoreError> {
    let heads = from.scan(Scan::<LostHeads>::all(), PEERS_MAX)?;
    let Some((_, newest)) = heads.iter().max_by_key(|(_, head)| head.size) else { return Ok(None) };
    // A clock that is not believed yet, or is slow, does not date it before what was lost.
    let approved_at =
        heads.iter().map(|(_, head)| head.signed_at).fold(approved_at, Timestamp::max);
    Ok(Some(Restore {
        iss: me.clone(),
        iat: approved_at.seconds(),
        kept: heads.iter().map(|(_, head)| head.kept).min().unwrap_or_default(),
        old_size: newest.size,
        old_root: newest.root,
        new_size: log.size(),
        new_root: log.root(),
    }))
}

/// Records a restore that is due, as it was signed with the log key: in the log, for auditors, and
/// for peers.
///
/// # Errors
/// When the store cannot be read.
pub fn record_restore(
    tx: &mut Tx<'_>,
    restore: &Restore,
    jws: String,
    approval: &Approval,
) -> Result<Event, StoreError> {
    keep_restore(tx, &restore.iss, restore, &jws)?;
    for (peer, _) in tx.scan(Scan::<LostHeads>::all(), PEERS_MAX)? {
        tx.delete::<LostHeads>(&peer);
    }
    Ok(Event::new(Operation::Key, RESTORED, &approval.approved_by)
        .with("kept", restore.kept)
        .with("old_size", restore.old_size)
        .with("old_root", restore.old_root.to_string())
        .with("new_size", restore.new_size)
        .with("new_root", restore.new_root.to_string())
        .with("proposed_by", approval.proposed_by.as_str())
        .with("reason", approval.reason.as_str())
        .with("review", approval.review.as_str())
        .with(STATEMENT, jws))
}

/// Applies the review of two people: alerts that had been taken back from these peers, and fetched
/// back since, go to them again if the policy says so.
///
/// # Errors
/// When the store cannot be read.
pub fn confirm_taken_back(tx: &mut Tx<'_>, peers: &[AuthorityId]) -> Result<u64, StoreError> {
    let mut confirmed = 0;
    for peer in peers {
        let mut pages = Scan::<TakenBack>::of(peer).pages(PAGE);
        while let Some(page) = pages.next(tx)? {
            page.iter().for_each(|(key, _)| tx.delete::<TakenBack>(key));
            confirmed += page.len() as u64;
        }
    }
    Ok(confirmed)
}

/// Whether any alert is kept back because a peer handed back its retraction.
///
/// # Errors
/// When the store cannot be read.
pub fn any_taken_back(from: &impl Read) -> Result<bool, StoreError> {
    Ok(!from.scan(Scan::<TakenBack>::all(), 1)?.is_empty())
}

/// Starts a new epoch with every peer and ends the stop, after a loss of state was repaired. Runs
/// in the transaction of the second person's approval.
///
/// # Errors
/// When the store cannot be read.
pub fn start_epochs(tx: &mut Tx<'_>, from: &AuthorityId) -> Result<(), StoreError> {
    end_stop(tx);
    for (peer, stream) in streams(tx)? {
        let next = next_epoch(tx, &stream);
        drop_offers(tx, &peer)?;
        tx.put::<StreamsOut>(&peer, &fresh(from, &peer, next, stream.policy, tx.now()));
    }
    tx.announce(Change::Feed);
    Ok(())
}
