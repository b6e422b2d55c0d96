//! Live state of the streams: what is true only while this process runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Witness;
use super::witness::{LogWord, SeenLog};
use crate::id::{AlertId, AuthorityId, FeedSeq, Timestamp, Version};
use crate::node::Node;
use crate::store::{Feed, ParkedIn, StoreError, StreamOut};
use crate::trust::{Peer, PeerState};

/// Live state of the streams to and from every peer; what is durable lies in the store.
#[derive(Default)]
pub struct Streams {
    peers: Mutex<HashMap<AuthorityId, Arc<Live>>>,
}

/// Live state of the two streams with one peer.
#[derive(Default)]
pub struct Live {
    /// Number of the newest incoming stream: an older one may commit no more.
    incoming: watch::Sender<u64>,
    /// Counts its contacts with us: whoever calls can be called.
    contacts: watch::Sender<u64>,
    status: Mutex<StreamStatus>,
    log: Mutex<SeenLog>,
}

/// How the streams with one peer stand.
#[derive(Clone, Debug, Default)]
pub struct StreamStatus {
    /// Our stream to it is open.
    pub sending: bool,
    /// Its stream to us is open.
    pub receiving: bool,
    /// When what we hold of it was last known to be current: the time of our nonce that a head
    /// answered at the end of its feed. Forgotten at a restart, so that every copy is then
    /// unconfirmed.
    pub confirmed_at: Option<Timestamp>,
    /// What time its last head said it is.
    pub witness: Option<Witness>,
    /// The feed is decided up to here; the store learns it later.
    pub decided: FeedSeq,
    /// Why nothing goes, e.g. a schema it lacks.
    pub waiting: Option<String>,
    /// The last failure to reach it.
    pub problem: Option<String>,
}

impl Streams {
    /// The live state of the streams with `peer`.
    pub fn live(&self, peer: &AuthorityId) -> Arc<Live> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(peers.entry(peer.clone()).or_default())
    }

    /// What time it is by the last head of each peer that was heard.
    pub(super) fn witnesses(&self) -> Vec<(AuthorityId, Witness)> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let word =
            |(peer, live): (&AuthorityId, &Arc<Live>)| Some((peer.clone(), live.status().witness?));
        peers.iter().filter_map(word).collect()
    }

    /// How the streams with `peer` stand.
    pub fn status(&self, peer: &AuthorityId) -> StreamStatus {
        self.live(peer).status().clone()
    }
}

impl Live {
    /// The status, to read or change.
    pub fn status(&self) -> MutexGuard<'_, StreamStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The peer has called: what waits to call it need wait no longer.
    pub fn note_contact(&self) {
        self.contacts.send_modify(|count| *count += 1);
    }

    /// Tells of each contact from now on.
    pub fn contacts(&self) -> watch::Receiver<u64> {
        self.contacts.subscribe()
    }

    /// The newest word of the peer on its log that was seen in this process.
    pub(super) fn log_seen(&self) -> Option<LogWord> {
        self.seen_log().word.clone()
    }

    /// When such a word was last written down in this process.
    pub(super) fn log_kept_at(&self) -> Option<Timestamp> {
        self.seen_log().kept_at
    }

    /// Notes a word of the peer on its log, and when it was written down, if it was.
    pub(super) fn note_log(&self, word: LogWord, kept_at: Option<Timestamp>) {
        let mut seen = self.seen_log();
        seen.word = Some(word);
        seen.kept_at = kept_at.or(seen.kept_at);
    }

    /// What is written down of the peer's log is what counts.
    pub(crate) fn forget_log(&self) {
        *self.seen_log() = SeenLog::default();
    }

    fn seen_log(&self) -> MutexGuard<'_, SeenLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a newer incoming stream, which ends the older; returns its number.
    pub(super) fn begin_incoming(&self) -> u64 {
        self.note_contact();
        self.status().receiving = true;
        self.incoming.send_modify(|number| *number += 1);
        *self.incoming.borrow()
    }

    /// Whether `stream` is still the newest incoming one.
    pub(super) fn is_newest(&self, stream: u64) -> bool {
        *self.incoming.borrow() == stream
    }

    /// Returns once a newer incoming stream than this has begun.
    pub(super) async fn superseded(&self, stream: u64) {
        // The sender of this channel is in `self`.
        let _ = self.incoming.subscribe().wait_for(|newest| *newest != stream).await;
    }

    /// Notes the end of an incoming stream, unless a newer one has begun.
    pub(super) fn end_incoming(&self, stream: u64) {
        let mut status = self.status();
        if self.is_newest(stream) {
            status.receiving = false;
        }
    }
}

/// Whether copies of `issuer` are within their lease now, and when they were last confirmed.
pub fn lease(node: &Node, issuer: &AuthorityId) -> (bool, Option<Timestamp>) {
    let confirmed_at = node.streams.status(issuer).confirmed_at;
    let age = |at| node.clock.now().since(at);
    (confirmed_at.is_some_and(|at| (0..=node.copy_lease_s).contains(&age(at))), confirmed_at)
}

/// As [`lease`], of one copy: where a newer version was sent and refused here it is not confirmed,
/// though the issuer was heard.
///
/// # Errors
/// When the store cannot be read.
pub fn lease_of(
    node: &Node,
    id: &AlertId,
    version: Version,
) -> Result<(bool, Option<Timestamp>), StoreError> {
    let (leased, confirmed_at) = lease(node, id.authority());
    let parked = node.store.get::<ParkedIn>(&(id.authority().clone(), id.clone()))?;
    let refused_newer = parked.is_some_and(|parked| parked.version > version);
    Ok((leased && !refused_newer, confirmed_at))
}

/// When a peer was last heard, in seconds before now, as far as this process knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Its last head came so long ago.
    Ago(i64),
    /// Not yet: the node started, or the peer became active, so long ago. Nothing is known of
    /// before.
    NotYet(i64),
}

/// When an active peer was last heard; `None` for others, which are not listened to.
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

/// Whether an active peer was not heard for longer than the configured silence. That it was not
/// heard yet is no silence.
pub fn is_silent(node: &Node, peer: &Peer) -> bool {
    heard(node, peer).is_some_and(|heard| match heard {
        Heard::Ago(seconds) | Heard::NotYet(seconds) => seconds > node.peer_silence_s,
    })
}

/// Active peers of which something is so, in the order of their names.
fn peers_which(node: &Node, is_so: impl Fn(&Peer) -> bool) -> Vec<AuthorityId> {
    let directory = node.directory.load();
    let found = directory.all().filter(|known| is_so(&known.peer));
    let mut found: Vec<_> = found.map(|known| known.peer.authority.clone()).collect();
    found.sort();
    found
}

/// Active peers that were not heard for longer than the configured silence.
pub fn silent_peers(node: &Node) -> Vec<AuthorityId> {
    peers_which(node, |peer| is_silent(node, peer))
}

/// Active peers that were not heard yet, and are not silent either.
pub fn unheard_peers(node: &Node) -> Vec<AuthorityId> {
    peers_which(node, |peer| {
        matches!(heard(node, peer), Some(Heard::NotYet(_))) && !is_silent(node, peer)
    })
}

/// Most places counted as waiting: beyond it the number says "many".
const BEHIND_MAX: usize = 10_000;

/// Places of the feed that are not decided yet for a peer, up to 10 000.
///
/// # Errors
/// When the store cannot be read.
pub fn behind(node: &Node, peer: &AuthorityId, stream: &StreamOut) -> Result<u64, StoreError> {
    let decided = node.streams.status(peer).decided.max(stream.cursor);
    let waiting = node.store.scan::<Feed>(&[], Some(&(decided + 1)), BEHIND_MAX)?;
    Ok(waiting.len() as u64)
}
