//! Peers: imported by one person, approved by another who compared the fingerprint.

use super::{AdminError, reason};
use crate::audit::{Event, Operation};
use crate::exchange;
use crate::id::AuthorityId;
use crate::node::{Node, SharedNode};
use crate::roles::Actor;
use crate::store::{
    Change, CommitError, Committed, Parked, ParkedIn, ParkedOut, Peers, Read, Scan, StoreError,
    Subject, Tx,
};
use crate::trust::{Fingerprint, Peer, PeerState, SignedDescriptor};

/// Most parked statements shown for one peer in one direction.
const PARKED_SHOWN_MAX: usize = 1000;

/// Imports a descriptor. The peer exchanges nothing until another person approves it.
///
/// # Errors
/// When it does not verify, is our own, is not newer, or names another identity than the one known.
pub async fn import_peer(node: &SharedNode, jws: &str, actor: &Actor) -> Result<Peer, AdminError> {
    let descriptor = SignedDescriptor::admit(jws)?;
    let authority = descriptor.descriptor().authority.clone();
    if authority == node.authority {
        return Err(crate::trust::TrustError::Own.into());
    }
    let fingerprint = descriptor.fingerprint().to_string();
    let serial = descriptor.descriptor().serial;
    let by = actor.name.clone();
    change(node, authority, "peer.imported", actor, move |tx, held| {
        let peer = Peer::import(held.as_ref(), &descriptor, &by, tx.now())?;
        Ok((peer, vec![("fingerprint", fingerprint), ("serial", serial.to_string())]))
    })
    .await
}

/// Approves an imported descriptor; the fingerprint is the one that the other side read out.
///
/// # Errors
/// When nothing is pending, it is the same person, or the fingerprint differs.
pub async fn approve_peer(
    node: &SharedNode,
    authority: &AuthorityId,
    fingerprint: &Fingerprint,
    actor: &Actor,
) -> Result<Peer, AdminError> {
    let (by, fingerprint) = (actor.name.clone(), fingerprint.clone());
    let (me, named) = (node.authority.clone(), authority.clone());
    change(node, authority.clone(), "peer.approved", actor, move |tx, held| {
        let held = held.ok_or(AdminError::UnknownPeer(named))?;
        let peer = held.approve(&by, &fingerprint, tx.now())?;
        if peer.state == PeerState::Active {
            exchange::open_stream(tx, &me, &peer.authority)?;
        }
        Ok((peer, vec![("fingerprint", fingerprint.to_string())]))
    })
    .await
}

/// Suspends, resumes or removes a peer. The ledger keeps what it holds of ours; its copies here
/// stay, unconfirmed, until they expire. Notices that wait for a removed peer are not sent any
/// more.
///
/// # Errors
/// When its present state does not allow it, or the reason is missing.
pub async fn change_peer(
    node: &SharedNode,
    authority: &AuthorityId,
    to: PeerState,
    why: &str,
    actor: &Actor,
) -> Result<Peer, AdminError> {
    let why = reason(why)?.to_owned();
    let kind = match to {
        PeerState::Active => "peer.resumed",
        PeerState::Suspended => "peer.suspended",
        PeerState::Removed | PeerState::Pending => "peer.removed",
    };
    let me = node.authority.clone();
    let named = authority.clone();
    let changed = change(node, authority.clone(), kind, actor, move |tx, held| {
        let peer = held.ok_or(AdminError::UnknownPeer(named))?.change(to, tx.now())?;
        let mut facts = vec![("reason", why)];
        match to {
            PeerState::Active => exchange::open_stream(tx, &me, &peer.authority)?,
            PeerState::Removed => {
                let stopped = exchange::stop_addressed(tx, &peer.authority)?;
                facts.push(("notices_stopped", stopped.to_string()));
            }
            PeerState::Suspended | PeerState::Pending => {}
        }
        Ok((peer, facts))
    });
    let peer = changed.await?;
    if to == PeerState::Active {
        node.streams.live(authority).forget_log();
    }
    Ok(peer)
}

type Facts = Vec<(&'static str, String)>;
type Decided = Result<(Peer, Facts), AdminError>;

async fn change(
    node: &SharedNode,
    authority: AuthorityId,
    kind: &'static str,
    actor: &Actor,
    next: impl FnOnce(&mut Tx<'_>, Option<Peer>) -> Decided + Send + 'static,
) -> Result<Peer, AdminError> {
    let event = Event::new(Operation::Trust, kind, &actor.name).peer(&authority);
    let committed = node.store.commit(move |tx| {
        let held = tx.get::<Peers>(&authority)?;
        let (peer, facts) = next(tx, held)?;
        tx.put::<Peers>(&authority, &peer);
        let with = |event: Event, (name, value): (&'static str, String)| event.with(name, value);
        let event = facts.into_iter().fold(event.with("state", peer.state.as_str()), with);
        Ok::<_, AdminError>(Committed::new(peer, event))
    });
    let peer = committed.await.map_err(CommitError::flatten)?;
    node.refresh()?;
    node.store.announce(Change::Peers);
    Ok(peer)
}

/// Offers the statements again that a peer refused; returns how many.
///
/// # Errors
/// When the store failed.
pub async fn retry_parked(
    node: &SharedNode,
    authority: &AuthorityId,
    actor: &Actor,
) -> Result<u64, AdminError> {
    let event = Event::new(Operation::Trust, "peer.parked_retried", &actor.name).peer(authority);
    let peer = authority.clone();
    let committed = node.store.commit(move |tx| {
        let retried = exchange::retry_parked(tx, &peer, |_| true)?;
        Ok::<_, AdminError>(Committed::new(retried, event.with("retried", retried)))
    });
    committed.await.map_err(CommitError::flatten)
}

/// The statements parked with a peer: theirs that we refused (`true`), and ours that they refused.
///
/// # Errors
/// When the store failed.
pub fn parked(
    node: &Node,
    authority: &AuthorityId,
) -> Result<Vec<(bool, Subject, Parked)>, StoreError> {
    let parked = node.store.read_blocking(|now| {
        let out = now.scan(Scan::<ParkedOut>::of(authority), PARKED_SHOWN_MAX)?;
        let theirs = now.scan(Scan::<ParkedIn>::of(authority), PARKED_SHOWN_MAX)?;
        Ok::<_, StoreError>((out, theirs))
    });
    let (out, theirs) = parked?;
    let out = out.into_iter().map(|((_, id), parked)| (false, id, parked));
    Ok(out.chain(theirs.into_iter().map(|((_, id), parked)| (true, id, parked))).collect())
}
