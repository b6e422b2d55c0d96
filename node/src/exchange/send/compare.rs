//! This node finds out that it lost state: a peer shows a head that this node's key signed, and
//! that is not in its log. Then it stops, until two people have reviewed what is in force.

use crate::audit::{Event, Operation, RESTORE_TYP, Restore};
use crate::exchange::greeting::Resume;
use crate::exchange::restores::own_restores;
use crate::exchange::stop::{begin_stop, lost_state, told};
use crate::id::{AuthorityId, CLOCK_TOLERANCE_S};
use crate::jose;
use crate::node::{LogWord, Node, SharedNode};
use crate::store::{CommitError, Committed, LostHead, LostHeads, StoreError};

/// Compares what a peer holds of this node's log with the log; stops the node when the log lacks
/// it.
pub(super) async fn compare(
    node: &SharedNode,
    peer: &AuthorityId,
    theirs: &Resume,
) -> Result<bool, StoreError> {
    let mut lost: Option<LogWord> = None;
    for jws in [&theirs.log, &theirs.head].into_iter().filter(|jws| !jws.is_empty()) {
        let word = LogWord::of_own(node, peer, jws);
        if let Some(word) = word.filter(|word| lost.as_ref().is_none_or(|l| l.size < word.size))
            && lacks(node, &word)?
        {
            lost = Some(word);
        }
    }
    if let Some(word) = lost {
        stop(node, peer, &word).await?;
        return Ok(true);
    }
    if lost_state(node)? {
        return Ok(false);
    }
    // This is another log under our keys. The peer also holds ours, so this node continues.
    let other = LogWord::of_own(node, peer, &theirs.other_log);
    match other {
        Some(word) if lacks(node, &word)? => note_other(node, peer, &word).await?,
        _ => forget_other(node, peer).await?,
    }
    Ok(false)
}

/// Whether a signed word of this node is not in its log, and no restore that two people approved
/// explains it.
fn lacks(node: &Node, word: &LogWord) -> Result<bool, StoreError> {
    Ok(!holds(node, word)? && !is_explained(node, word)?)
}

/// Whether a signed word of this node belongs to a log that two people gave up.
pub(super) fn is_given_up(node: &Node, peer: &AuthorityId, jws: &str) -> Result<bool, StoreError> {
    let Some(word) = LogWord::of_own(node, peer, jws) else { return Ok(false) };
    Ok(!holds(node, &word)? && is_explained(node, &word)?)
}

fn holds(node: &Node, word: &LogWord) -> Result<bool, StoreError> {
    let held = node.store.log_at(word.size)?;
    Ok(held.is_some_and(|log| log.root() == word.root))
}

/// The restores were verified before they were kept: the key of an old one may have left the
/// descriptor since.
fn is_explained(node: &Node, word: &LogWord) -> Result<bool, StoreError> {
    let restores = own_restores(node)?;
    Ok(restores.iter().any(|jws| {
        let restore = jose::peek::<Restore>(RESTORE_TYP, jws);
        restore.is_ok_and(|r| r.covers(word.size, &word.root, word.signed_at.seconds()))
    }))
}

/// What a word that the log lacks says about it. The lost log can have in common with the present
/// one at most what this one had when the process began, and what it got up to the time of the
/// word.
fn lost_head(node: &Node, word: &LogWord, both: bool) -> Result<LostHead, StoreError> {
    let until = node.store.entries_until(word.signed_at.plus(CLOCK_TOLERANCE_S))?;
    let kept = until.min(node.log_size_at_start).min(word.size.saturating_sub(1));
    let LogWord { size, root, signed_at, .. } = *word;
    Ok(LostHead { size, root, signed_at, kept, both })
}

/// Stops issuing to everybody, and lets in only those who are needed: `peer` holds what this node's
/// log lacks.
async fn stop(node: &SharedNode, peer: &AuthorityId, word: &LogWord) -> Result<(), StoreError> {
    let known = node.store.get::<LostHeads>(peer)?;
    // What one peer has seen of a lost log does not grow, unless another node continues it.
    let grown = known.as_ref().is_some_and(|known| known.size < word.size);
    let stopped = lost_state(node)?;
    if stopped && known.is_some_and(|known| known.both || !grown) {
        return Ok(());
    }
    let (found, from) = (lost_head(node, word, stopped && grown)?, peer.clone());
    tracing::error!(%peer, "{}", told(peer, &found, node.store.log().size(), true));
    let committed = node.store.commit(move |tx| {
        begin_stop(tx)?;
        let kind = if found.both { "alarm.runs_twice" } else { "alarm.lost_state" };
        let event = lost_event(kind, &from, &found);
        let before = tx.get::<LostHeads>(&from)?.map_or(found.kept, |before| before.kept);
        tx.put::<LostHeads>(&from, &LostHead { kept: found.kept.min(before), ..found });
        Ok::<_, StoreError>(Committed::new((), event))
    });
    committed.await.map_err(CommitError::flatten)
}

/// Stops because a peer is at a place beyond this node's own, and has a head that proves it.
pub(super) async fn stop_for_place(
    node: &SharedNode,
    peer: &AuthorityId,
) -> Result<(), StoreError> {
    let from = peer.clone();
    let committed = node.store.commit(move |tx| {
        begin_stop(tx)?;
        let event = Event::new(Operation::Key, "alarm.lost_state", "node").peer(&from);
        Ok::<_, StoreError>(Committed::new((), event))
    });
    committed.await.map_err(CommitError::flatten)
}

fn lost_event(kind: &'static str, peer: &AuthorityId, found: &LostHead) -> Event {
    Event::new(Operation::Key, kind, "node")
        .peer(peer)
        .with("size", found.size)
        .with("root", found.root.to_string())
        .with("signed_at", found.signed_at.to_string())
        .with("kept", found.kept)
}

async fn note_other(
    node: &SharedNode,
    peer: &AuthorityId,
    word: &LogWord,
) -> Result<(), StoreError> {
    let (found, from) = (lost_head(node, word, false)?, peer.clone());
    let known = node.store.get::<LostHeads>(peer)?;
    if known.is_some_and(|known| (known.size, known.root) == (found.size, found.root)) {
        return Ok(());
    }
    tracing::error!(%peer, "{}", told(peer, &found, node.store.log().size(), false));
    let committed = node.store.commit(move |tx| {
        tx.put::<LostHeads>(&from, &found);
        let event = lost_event("alarm.runs_twice", &from, &found);
        Ok::<_, StoreError>(Committed::new((), event))
    });
    committed.await.map_err(CommitError::flatten)
}

async fn forget_other(node: &SharedNode, peer: &AuthorityId) -> Result<(), StoreError> {
    if lost_state(node)? || node.store.get::<LostHeads>(peer)?.is_none() {
        return Ok(());
    }
    let from = peer.clone();
    let committed = node.store.commit(move |tx| {
        tx.delete::<LostHeads>(&from);
        let event = Event::new(Operation::Key, "log.agreed", "node").peer(&from);
        Ok::<_, StoreError>(Committed::new((), event))
    });
    committed.await.map_err(CommitError::flatten)
}
