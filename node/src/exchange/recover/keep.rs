//! A node that lost state fetches its own later statements back from the peers that hold them:
//! alerts, withdrawals, retractions, notices, and the restores that it signed before. They are in
//! force again.

use super::fork::note_fork;
use crate::alert::{self, AlertError, ClaimSet, View};
use crate::audit::{self, Event, Operation, RESTORE_RECOVERED, STATEMENT};
use crate::exchange::addressed::feed_to;
use crate::exchange::ledger::Effect;
use crate::exchange::restores::keep_restore;
use crate::exchange::statement::{RETRACTION_TYP, Retraction};
use crate::exchange::stream::feed;
use crate::holding::{HoldingError, Sealed, SealedNotice, forget_own, read_own};
use crate::id::{AlertId, AuthorityId, Bounds, TIMESTAMP_MAX, Timestamp};
use crate::jose;
use crate::node::{Node, SharedNode};
use crate::notice::Notice;
use crate::store::{
    CommitError, Committed, Erased, Ledger, LedgerEntry, Notices, Offered, Own, OwnAlert, Read,
    Restores, StoreError, StreamsOut, Subject, TakenBack, Tombstone, Tombstones, Tx,
};

/// Why a recovered statement was not kept.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// It is not a valid statement of this node.
    #[error("not a statement of this node: {0}")]
    Alert(#[from] AlertError),
    /// The node can't read what it holds of it.
    #[error(transparent)]
    Holding(#[from] HoldingError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps a statement of this node that `peer` handed back; returns whether it brought anything new.
/// Only claims that peers had been given come back, joined from all peers.
///
/// # Errors
/// When it is not this node's own, or the store failed.
pub async fn keep_recovered(
    node: &SharedNode,
    peer: &AuthorityId,
    statement: &str,
) -> Result<bool, RecoverError> {
    let key_of = |issuer: &AuthorityId, kid: &_| {
        (*issuer == node.authority).then(|| node.own_statement_key(kid)).flatten()
    };
    // What this node signed counts, whatever its clock showed then: after an old backup the clock
    // may be behind it now.
    let now = Bounds { latest: Timestamp::from_seconds(TIMESTAMP_MAX), ..node.clock.bounds() };
    let (text, from) = (statement.to_owned(), peer.clone());
    if let Ok(withdrawal) = alert::verify_withdrawal(statement, key_of, now) {
        let (id, version) = (withdrawal.jti, withdrawal.ver);
        return kept(node.store.commit(move |tx| keep_withdrawal(tx, &id, version, text)).await);
    }
    if let Some(retraction) = retraction_of(node, peer, statement) {
        let committed =
            node.store.commit(move |tx| keep_retraction(tx, &from, &retraction.jti, text));
        return kept(committed.await);
    }
    if let Ok(restore) = audit::verify_restore(statement, |kid| node.own_log_key(kid)) {
        let me = node.authority.clone();
        let committed =
            node.store.commit(move |tx| keep_older_restore(tx, &me, &from, &restore, text));
        return kept(committed.await);
    }
    let own_key = |kid: &_| node.own_statement_key(kid);
    if let Ok(notice) = Notice::verify(statement, (&node.authority, peer), own_key, now) {
        let sealed = SealedNotice::new(node, &notice, statement);
        return kept(node.store.commit(move |tx| keep_notice(tx, &from, &sealed)).await);
    }
    keep_alert(node, peer, &alert::verify(statement, key_of, now)?).await
}

/// A retraction that this node signed for the peer that hands it back.
fn retraction_of(node: &Node, peer: &AuthorityId, statement: &str) -> Option<Retraction> {
    let key = |kid: &_| node.own_statement_key(kid);
    let retraction: Retraction = jose::verify(RETRACTION_TYP, statement, key).ok()?;
    let ours = retraction.iss == node.authority && *retraction.jti.authority() == node.authority;
    (ours && retraction.aud == *peer).then_some(retraction)
}

/// Joins again if somebody else kept more of the alert meanwhile.
async fn keep_alert(
    node: &SharedNode,
    peer: &AuthorityId,
    view: &View,
) -> Result<bool, RecoverError> {
    loop {
        let held = held_own(node, &view.head.id)?;
        let joined = match &held {
            Some(held) if held.own.recovered && held.own.jwt_digest == view.jwt_digest => {
                alert::joined(&held.view, view)?
            }
            _ => view.clone(),
        };
        let (sealed, from, given) = (Sealed::own(node, joined), peer.clone(), view.claims);
        let seen = held.map(|held| Seen { own: held.own, issued_at: held.view.head.issued_at });
        let committed =
            node.store.commit(move |tx| enter_recovered(tx, &from, &sealed, given, seen.as_ref()));
        if let Some(new) = committed.await.map_err(CommitError::flatten)? {
            return Ok(new);
        }
    }
}

struct HeldOwn {
    own: OwnAlert,
    view: View,
}

fn held_own(node: &Node, id: &AlertId) -> Result<Option<HeldOwn>, RecoverError> {
    node.store.read_blocking(|now| {
        let Some(own) = now.get::<Own>(id)? else { return Ok(None) };
        let view = read_own(now, id, &own)?;
        Ok(Some(HeldOwn { own, view }))
    })
}

/// The own alert that a decision was made from.
struct Seen {
    own: OwnAlert,
    issued_at: Timestamp,
}

fn kept(committed: Result<bool, CommitError<StoreError>>) -> Result<bool, RecoverError> {
    Ok(committed.map_err(CommitError::flatten)?)
}

fn keep_withdrawal(
    tx: &mut Tx<'_>,
    id: &AlertId,
    version: u32,
    text: String,
) -> Result<Committed<bool>, StoreError> {
    let known = tx.get::<Tombstones>(id)?.is_some_and(|t| t.erased == Erased::Withdrawn);
    if !known {
        let own = tx.get::<Own>(id)?;
        if let Some(own) = &own {
            forget_own(tx, id, own);
        }
        let tombstone = Tombstone {
            erased: Erased::Withdrawn,
            version,
            jwt_digest: own.as_ref().map(|own| own.jwt_digest),
            at: tx.now(),
            statement: Some(text),
        };
        tx.put::<Tombstones>(id, &tombstone);
        feed(tx, id, true, own.map(|own| own.feed));
    }
    let event = Event::new(Operation::Erase, "alert.withdrawal_recovered", "node").alert(id);
    Ok(Committed::new(!known, event.with("new", !known)))
}

/// Keeps back what was taken back: the ledger says that the peer erased it, and nothing of the
/// alert is offered to it before two people confirmed that.
fn keep_retraction(
    tx: &mut Tx<'_>,
    peer: &AuthorityId,
    id: &AlertId,
    text: String,
) -> Result<Committed<bool>, StoreError> {
    let key = (peer.clone(), id.clone());
    let new = tx.get::<TakenBack>(&key)?.is_none();
    let subject = (peer.clone(), Subject::Alert(id.clone()));
    let mut ledger = tx.get::<Ledger>(&subject)?.unwrap_or_default();
    ledger.retraction_handed_back();
    tx.put::<Ledger>(&subject, &ledger);
    tx.put::<TakenBack>(&key, &text);
    let event = Event::new(Operation::Erase, "disclose.retraction_recovered", "node");
    Ok(Committed::new(new, event.alert(id).peer(peer).with("new", new)))
}

/// A notice that the peer has is sent to it again only in a new epoch, as every notice is: in the
/// present one the ledger says that it has it.
fn keep_notice(
    tx: &mut Tx<'_>,
    peer: &AuthorityId,
    sealed: &SealedNotice,
) -> Result<Committed<bool>, StoreError> {
    let new = tx.get::<Notices>(&(peer.clone(), sealed.id.clone()))?.is_none();
    if new {
        let subject = Subject::Notice(sealed.id.clone());
        let feed = feed_to(tx, subject.clone(), peer);
        sealed.enter_recovered(tx, peer, feed)?;
        let epoch = tx.get::<StreamsOut>(peer)?.map(|stream| stream.epoch).unwrap_or_default();
        let (place, effect) = ((epoch, 0), Effect::of(&Offered::Notice));
        let mut ledger = LedgerEntry::default();
        ledger.offered(place, effect, tx.now());
        ledger.acknowledged(place, effect);
        tx.put::<Ledger>(&(peer.clone(), subject), &ledger);
    }
    let event = Event::new(Operation::Collect, "notice.recovered", "node").peer(peer);
    Ok(Committed::new(new, event.with("notice", sealed.id.to_string()).with("new", new)))
}

/// A restore of before the present one, which a backup from before it had forgotten.
fn keep_older_restore(
    tx: &mut Tx<'_>,
    me: &AuthorityId,
    peer: &AuthorityId,
    restore: &audit::Restore,
    text: String,
) -> Result<Committed<bool>, StoreError> {
    let new = restore.iss == *me
        && tx.get::<Restores>(&(me.clone(), restore.new_size))?.as_ref() != Some(&text);
    let event = Event::new(Operation::Key, RESTORE_RECOVERED, "node").peer(peer);
    if new {
        keep_restore(tx, me, restore, &text)?;
        return Ok(Committed::new(new, event.with(STATEMENT, text)));
    }
    Ok(Committed::new(new, event.with("new", new)))
}

/// Enters a version that a peer handed back, and what the peer holds of it; `None` when the own
/// alert is not the one that was looked at.
fn enter_recovered(
    tx: &mut Tx<'_>,
    peer: &AuthorityId,
    sealed: &Sealed,
    given: ClaimSet,
    seen: Option<&Seen>,
) -> Result<Committed<Option<bool>>, StoreError> {
    let (id, view) = (&sealed.view.head.id, &sealed.view);
    let own = tx.get::<Own>(id)?;
    let state = |own: &OwnAlert| (own.version, own.jwt_digest, own.claims);
    let event = Event::new(Operation::Collect, "alert.recovered", "node")
        .alert(id)
        .peer(peer)
        .with("version", view.head.version);
    if own.as_ref().map(state) != seen.map(|seen| state(&seen.own)) {
        return Ok(Committed::new(None, event.with("again", true)));
    }
    note_held(tx, peer, view, given)?;
    let relation = relation(seen, view);
    let later = relation == Relation::Later && tx.get::<Tombstones>(id)?.is_none();
    if later {
        if let Some(own) = &own {
            forget_own(tx, id, own);
        }
        let feed = feed(tx, id, false, own.map(|own| own.feed));
        sealed.enter_own(tx, feed, true);
    }
    let committed = Committed::new(Some(later), event.with("new", later).of_case(sealed.case));
    let forked = relation == Relation::Forked && note_fork(tx, view)?;
    Ok(if forked { committed.and(fork_event(peer, seen, view)) } else { committed })
}

/// How a version that a peer holds stands to the own alert.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// It is newer, or tells more of the same.
    Later,
    /// It is known, or older.
    Known,
    /// It was issued by a log that is gone, and another version was issued here since.
    Forked,
}

fn relation(seen: Option<&Seen>, view: &View) -> Relation {
    let Some(Seen { own, issued_at }) = seen else { return Relation::Later };
    if own.jwt_digest == view.jwt_digest {
        let fuller = own.recovered && own.claims != view.claims;
        return if fuller { Relation::Later } else { Relation::Known };
    }
    // The version after this one names it, whatever the clock said then; of later ones the dates
    // tell.
    let follows = view.head.previous == Some(own.jwt_digest) || *issued_at <= view.head.issued_at;
    match view.head.version {
        newer if newer > own.version && (own.recovered || follows) => Relation::Later,
        older if older < own.version => Relation::Known,
        _ => Relation::Forked,
    }
}

fn fork_event(peer: &AuthorityId, seen: Option<&Seen>, view: &View) -> Event {
    let event = Event::new(Operation::Alter, "alarm.alert_forked", "node")
        .alert(&view.head.id)
        .peer(peer)
        .with("version", view.head.version)
        .with("jwt", view.jwt_digest.to_string());
    match seen {
        Some(seen) => event
            .with("own_version", seen.own.version)
            .with("own_jwt", seen.own.jwt_digest.to_string()),
        None => event,
    }
}

/// What the peer handed back is what it holds: it is in the ledger, though the offer was forgotten.
fn note_held(
    tx: &mut Tx<'_>,
    peer: &AuthorityId,
    view: &View,
    claims: ClaimSet,
) -> Result<(), StoreError> {
    let key = (peer.clone(), Subject::Alert(view.head.id.clone()));
    let mut ledger = tx.get::<Ledger>(&key)?.unwrap_or_default();
    if ledger.handed_back(view.head.version, claims, tx.now()) {
        tx.put::<Ledger>(&key, &ledger);
    }
    Ok(())
}
