//! A person says that a notice was read, and who will act: its sender is told.

use super::find;
use crate::audit::{Event, Operation};
use crate::desk::DeskError;
use crate::desk::issue::{key_in_force, may_date, may_issue};
use crate::exchange::feed_to;
use crate::holding::{NoticeKey, SealedAcknowledgement, is_sent, read_notice};
use crate::id::NoticeId;
use crate::node::{Node, SharedNode};
use crate::notice::{Acknowledgement, who_text};
use crate::roles::Actor;
use crate::store::{CommitError, Committed, Growth, Notices, Peers, Snapshot, StoreError, Subject};
use crate::trust::PeerState;

/// Acknowledges a received notice; returns whether that is new. The same word again is no fault:
/// its answer may have been lost.
///
/// # Errors
/// When it is not held, was sent by this node, or was acknowledged with another word; when its
/// sender is no active peer.
pub async fn acknowledge_notice(
    node: &SharedNode,
    id: &NoticeId,
    who: &str,
    actor: &Actor,
) -> Result<bool, DeskError> {
    may_date(node)?;
    key_in_force(node)?;
    let who = who_text(who)?;
    let (here, wanted) = (node.clone(), id.clone());
    let found = node.store.read(move |now| held(&here, now, &wanted)).await?;
    let (key, before) = found.ok_or_else(|| DeskError::NoticeUnknown(id.clone()))?;
    if is_sent(&key) {
        return Err(DeskError::OwnNotice(id.clone()));
    }
    if let Some(before) = before {
        let same = before.who == who;
        return if same { Ok(false) } else { Err(DeskError::NoticeAcknowledged(id.clone())) };
    }
    let said = Acknowledgement {
        iss: node.authority.clone(),
        aud: key.0.clone(),
        jti: id.clone(),
        iat: node.clock.now().seconds(),
        who,
    };
    enter(node, key, said, actor).await?;
    Ok(true)
}

type Held = (NoticeKey, Option<Acknowledgement>);

/// The notice, with the word that it was read where there is one already.
fn held(node: &Node, now: &Snapshot<'_>, id: &NoticeId) -> Result<Option<Held>, StoreError> {
    let Some((key, held)) = find(&node.authority, now, id)? else { return Ok(None) };
    let (_, said) = read_notice(now, &key, &held)?;
    Ok(Some((key, said)))
}

async fn enter(
    node: &SharedNode,
    key: NoticeKey,
    said: Acknowledgement,
    actor: &Actor,
) -> Result<(), DeskError> {
    let jws = said.sign(&node.statement_key)?;
    let sealed = SealedAcknowledgement::new(node, &said, &jws);
    let by = actor.name.clone();
    let event = Event::new(Operation::Disclose, "notice.acknowledged", &by)
        .peer(&key.0)
        .with("notice", sealed.id.to_string())
        .with("jws", sealed.digest.to_string());
    let committed = node.store.commit_growing(Growth::Content, move |tx| {
        may_issue(tx)?;
        let (peer, id) = &key;
        let known = tx.get::<Peers>(peer)?.filter(|peer| peer.state == PeerState::Active);
        if known.is_none() {
            return Err(DeskError::NotAPeer(peer.clone()));
        }
        let Some(held) = tx.get::<Notices>(&key)? else {
            return Err(DeskError::NoticeUnknown(id.clone()));
        };
        if held.acknowledged.is_some() {
            return Err(DeskError::NoticeAcknowledged(id.clone()));
        }
        let feed = feed_to(tx, Subject::Acknowledgement(id.clone()), peer);
        sealed.enter_sent(tx, peer, &by, feed, held)?;
        Ok(Committed::new((), event))
    });
    committed.await.map_err(CommitError::flatten)
}
