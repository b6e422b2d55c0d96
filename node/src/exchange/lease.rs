//! What the live state of the streams means for people: whether copies are confirmed, which peers
//! are silent, how far behind a peer is.

use crate::id::{AlertId, AuthorityId, Timestamp, Version};
use crate::node::Node;
use crate::store::{Feed, ParkedIn, Read, Scan, StoreError, StreamOut, Subject};
use crate::trust::{Peer, PeerState};

/// Whether copies of `issuer` are within their lease now, and when they were last confirmed.
pub fn lease(node: &Node, issuer: &AuthorityId) -> (bool, Option<Timestamp>) {
    let confirmed_at = node.streams.status(issuer).confirmed_at;
    let age = |at| node.clock.now().since(at);
    (confirmed_at.is_some_and(|at| (0..=node.copy_lease_s).contains(&age(at))), confirmed_at)
}

/// Like [`lease`], for one copy: if a newer version was sent and refused here, the copy is not
/// confirmed, although the issuer was heard from.
///
/// # Errors
/// When the store cannot be read.
pub fn lease_of(
    node: &Node,
    now: &impl Read,
    id: &AlertId,
    version: Version,
) -> Result<(bool, Option<Timestamp>), StoreError> {
    let (leased, confirmed_at) = lease(node, id.authority());
    let key = (id.authority().clone(), Subject::Alert(id.clone()));
    let parked = now.get::<ParkedIn>(&key)?;
    let refused_newer = parked.is_some_and(|parked| parked.version > version);
    Ok((leased && !refused_newer, confirmed_at))
}

/// How long ago a peer was last heard from, in seconds, as far as this process knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Its last head came this long ago.
    Ago(i64),
    /// Not yet: the node started, or the peer became active, this long ago. Nothing is known of the
    /// time before.
    NotYet(i64),
}

/// When an active peer was last heard from; `None` for other peers.
pub fn heard(node: &Node, peer: &Peer) -> Option<Heard> {
    if peer.state != PeerState::Active {
        return None;
    }
    let elapsed = node.clock.elapsed();
    let active = node.clock.now().since(peer.changed_at).max(0);
    let last = node.streams.status(&peer.authority).witness;
    let ago = last.map(|witness| elapsed - witness.heard).filter(|ago| *ago <= active);
    Some(ago.map_or(Heard::NotYet(active.min(elapsed - node.started)), Heard::Ago))
}

/// Whether an active peer was not heard from for longer than the configured silence. A peer that
/// was not heard from yet is not silent.
pub fn is_silent(node: &Node, peer: &Peer) -> bool {
    heard(node, peer).is_some_and(|heard| match heard {
        Heard::Ago(seconds) | Heard::NotYet(seconds) => seconds > node.peer_silence_s,
    })
}

/// Active peers that satisfy a condition, in the order of their names.
fn peers_which(node: &Node, is_so: impl Fn(&Peer) -> bool) -> Vec<AuthorityId> {
    let directory = node.directory.load();
    let found = directory.all().filter(|known| is_so(&known.peer));
    let mut found: Vec<_> = found.map(|known| known.peer.authority.clone()).collect();
    found.sort();
    found
}

/// Active peers that were not heard from for longer than the configured silence.
pub fn silent_peers(node: &Node) -> Vec<AuthorityId> {
    peers_which(node, |peer| is_silent(node, peer))
}

/// Active peers that were not heard from yet, and are not silent either.
pub fn unheard_peers(node: &Node) -> Vec<AuthorityId> {
    peers_which(node, |peer| {
        matches!(heard(node, peer), Some(Heard::NotYet(_))) && !is_silent(node, peer)
    })
}

/// Most places counted as waiting; a larger number only means "many".
const BEHIND_MAX: usize = 10_000;

/// Places of the feed that are not decided yet for a peer, up to 10 000.
///
/// # Errors
/// When the store cannot be read.
pub fn behind(node: &Node, peer: &AuthorityId, stream: &StreamOut) -> Result<u64, StoreError> {
    let decided = node.streams.status(peer).decided.max(stream.cursor);
    let waiting = node.store.scan(Scan::<Feed>::all().after(&decided), BEHIND_MAX)?;
    Ok(waiting.iter().filter(|(_, entry)| entry.to.may_be(peer)).count() as u64)
}
