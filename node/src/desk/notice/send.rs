//! A notice is signed, sealed, and given to the feed for the one peer that it is for.

use super::find;
use crate::audit::{Event, Operation};
use crate::desk::DeskError;
use crate::desk::issue::{key_in_force, may_date, may_issue};
use crate::exchange::feed_to;
use crate::holding::{SealedNotice, read_notice};
use crate::id::{AlertId, AuthorityId, NOTICE_NUMBER_BYTES, NoticeId};
use crate::node::{Node, SharedNode};
use crate::notice::{Notice, notice_text};
use crate::roles::Actor;
use crate::store::{CommitError, Committed, Growth, Peers, StoreError, Subject};
use crate::trust::PeerState;

/// Longest key of a caller, in bytes: a UUID or 16 bytes in hexadecimal fit.
const KEY_BYTES_MAX: usize = 64;

/// A notice to be sent.
pub struct Outgoing<'a> {
    /// Whom it is for.
    pub to: &'a AuthorityId,
    /// What it says.
    pub text: &'a str,
    /// The alert that it is about.
    pub about: Option<AlertId>,
    /// Chosen by the caller: what is sent again under the same key, because its answer was lost, is
    /// sent once. Empty: every call sends another notice.
    pub key: &'a str,
}

/// Sends a notice to an active peer; returns its id, and whether it is new.
///
/// # Errors
/// When the text is refused, the peer is not active, too many notices wait for it, or another
/// notice was sent under the key.
pub async fn send_notice(
    node: &SharedNode,
    outgoing: Outgoing<'_>,
    actor: &Actor,
) -> Result<(NoticeId, bool), DeskError> {
    may_date(node)?;
    key_in_force(node)?;
    let text = notice_text(outgoing.text)?;
    let id = NoticeId::new(node.authority.clone(), number(node, &outgoing, actor)?);
    if let Some(sent) = sent_before(node, &id).await? {
        let same = sent.aud == *outgoing.to && sent.text == text && sent.about == outgoing.about;
        return if same { Ok((id, false)) } else { Err(DeskError::NoticeKeyUsed) };
    }
    let notice = Notice {
        iss: node.authority.clone(),
        aud: outgoing.to.clone(),
        jti: id.clone(),
        iat: node.clock.now().seconds(),
        text,
        about: outgoing.about,
    };
    enter(node, notice, actor).await?;
    Ok((id, true))
}

async fn sent_before(node: &SharedNode, id: &NoticeId) -> Result<Option<Notice>, StoreError> {
    let (here, id) = (node.clone(), id.clone());
    let read = node.store.read(move |now| {
        let Some((key, held)) = find(&here.authority, now, &id)? else { return Ok(None) };
        read_notice(now, &key, &held).map(|(notice, _)| Some(notice))
    });
    read.await
}

async fn enter(node: &SharedNode, notice: Notice, actor: &Actor) -> Result<(), DeskError> {
    let jws = notice.sign(&node.statement_key)?;
    let sealed = SealedNotice::new(node, &notice, &jws);
    let (me, to, by) = (notice.iss, notice.aud, actor.name.clone());
    let event = Event::new(Operation::Disclose, "notice.sent", &by)
        .peer(&to)
        .with("notice", sealed.id.to_string())
        .with("jws", sealed.digest.to_string());
    let event = match &notice.about {
        Some(about) => event.alert(about),
        None => event,
    };
    let committed = node.store.commit_growing(Growth::Content, move |tx| {
        may_issue(tx)?;
        let peer = tx.get::<Peers>(&to)?.filter(|peer| peer.state == PeerState::Active);
        if peer.is_none() {
            return Err(DeskError::NotAPeer(to));
        }
        // Two calls came at this moment under one key: the second finds what the first entered.
        match find(&me, tx, &sealed.id)? {
            Some(((other, _), _)) if other != to => return Err(DeskError::NoticeKeyUsed),
            Some(_) => return Err(DeskError::NoticeRaced),
            None => {}
        }
        let feed = feed_to(tx, Subject::Notice(sealed.id.clone()), &to);
        if !sealed.enter_sent(tx, &to, &by, feed)? {
            return Err(DeskError::TooManyNotices(to));
        }
        Ok(Committed::new((), event))
    });
    committed.await.map_err(CommitError::flatten)
}

/// The number of the notice: random, or the same whenever the same user comes with the same key.
fn number(
    node: &Node,
    outgoing: &Outgoing<'_>,
    actor: &Actor,
) -> Result<[u8; NOTICE_NUMBER_BYTES], DeskError> {
    let key = outgoing.key;
    if key.len() > KEY_BYTES_MAX {
        return Err(DeskError::NoticeKey);
    }
    let hash = match key {
        "" => node.entropy.bytes::<16>(),
        key => node.store.index_key(format!("notice key\0{}\0{key}", actor.name).as_bytes()),
    };
    hash.first_chunk().copied().ok_or(DeskError::NoticeKey)
}
