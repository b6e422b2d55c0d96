//! Live state of the streams: what is true only while this process runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::id::{AuthorityId, Digest, FeedSeq, Timestamp};

/// Live state of the streams to and from every peer; what is durable lies in the store.
#[derive(Default)]
pub struct Streams {
    peers: Mutex<HashMap<AuthorityId, Arc<Live>>>,
}

/// Live state of the two streams with one peer.
#[derive(Default)]
pub struct Live {
    /// Number of the newest incoming stream; an older one may not commit any more.
    incoming: watch::Sender<u64>,
    /// Counts its contacts with us: a peer that calls can be called.
    contacts: watch::Sender<u64>,
    status: Mutex<StreamStatus>,
    log: Mutex<SeenLog>,
}

/// The state of the streams with one peer.
#[derive(Clone, Debug, Default)]
pub struct StreamStatus {
    /// Our stream to it is open.
    pub sending: bool,
    /// Its stream to us is open.
    pub receiving: bool,
    /// When our copies were last known to be current: the time of our nonce that a head answered at
    /// the end of the peer's feed. It is forgotten at a restart, so that every copy is unconfirmed
    /// then.
    pub confirmed_at: Option<Timestamp>,
    /// The time in its last head.
    pub witness: Option<Witness>,
    /// The place up to which the feed is decided; the store learns it later.
    pub decided: FeedSeq,
    /// Why nothing is sent, e.g. a schema that it lacks.
    pub waiting: Option<String>,
    /// The last failure to reach it.
    pub problem: Option<String>,
}

/// A peer's word on the time: when it signed its last head.
#[derive(Clone, Copy, Debug)]
pub struct Witness {
    /// When it was heard, by the monotonic clock.
    pub heard: i64,
    /// What it said.
    pub said: Timestamp,
}

/// A signed word of an authority on the state of its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogWord {
    /// Entries.
    pub(crate) size: u64,
    /// Root over them.
    pub(crate) root: Digest,
    /// When it was signed.
    pub(crate) signed_at: Timestamp,
    /// The word: a head, a checkpoint, or a restore.
    pub(crate) jws: String,
}

/// What this process has seen of a peer's log.
#[derive(Default)]
pub(crate) struct SeenLog {
    /// The newest.
    pub(crate) word: Option<LogWord>,
    /// When one was last stored.
    pub(crate) kept_at: Option<Timestamp>,
}

impl Streams {
    /// The live state of the streams with `peer`.
    pub fn live(&self, peer: &AuthorityId) -> Arc<Live> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(peers.entry(peer.clone()).or_default())
    }

    /// The time according to the last head of each peer that was heard from.
    pub(crate) fn witnesses(&self) -> Vec<(AuthorityId, Witness)> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let word =
            |(peer, live): (&AuthorityId, &Arc<Live>)| Some((peer.clone(), live.status().witness?));
        peers.iter().filter_map(word).collect()
    }

    /// The state of the streams with `peer`.
    pub fn status(&self, peer: &AuthorityId) -> StreamStatus {
        self.live(peer).status().clone()
    }
}

impl Live {
    /// The status, to read or change.
    pub fn status(&self) -> MutexGuard<'_, StreamStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the peer has called, so that whatever waits to call it need not wait any longer.
    pub fn note_contact(&self) {
        self.contacts.send_modify(|count| *count += 1);
    }

    /// Announces each contact from now on.
    pub fn contacts(&self) -> watch::Receiver<u64> {
        self.contacts.subscribe()
    }

    /// The newest word of the peer on its log that was seen in this process.
    pub(crate) fn log_seen(&self) -> Option<LogWord> {
        self.seen_log().word.clone()
    }

    /// When this process last stored such a word.
    pub(crate) fn log_kept_at(&self) -> Option<Timestamp> {
        self.seen_log().kept_at
    }

    /// Notes a word of the peer on its log, and when it was stored, if it was.
    pub(crate) fn note_log(&self, word: LogWord, kept_at: Option<Timestamp>) {
        let mut seen = self.seen_log();
        seen.word = Some(word);
        seen.kept_at = kept_at.or(seen.kept_at);
    }

    /// Forgets what this process has seen of the peer's log: what is stored counts.
    pub(crate) fn forget_log(&self) {
        *self.seen_log() = SeenLog::default();
    }

    fn seen_log(&self) -> MutexGuard<'_, SeenLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a new incoming stream, which ends the older one; returns its number.
    pub(crate) fn begin_incoming(&self) -> u64 {
        self.note_contact();
        self.status().receiving = true;
        self.incoming.send_modify(|number| *number += 1);
        *self.incoming.borrow()
    }

    /// Whether `stream` is still the newest incoming one.
    pub(crate) fn is_newest(&self, stream: u64) -> bool {
        *self.incoming.borrow() == stream
    }

    /// Returns once a newer incoming stream than this has begun.
    pub(crate) async fn superseded(&self, stream: u64) {
        // The sender of this channel is in `self`.
        let _ = self.incoming.subscribe().wait_for(|newest| *newest != stream).await;
    }

    /// Notes the end of an incoming stream, unless a newer one has begun.
    pub(crate) fn end_incoming(&self, stream: u64) {
        let mut status = self.status();
        if self.is_newest(stream) {
            status.receiving = false;
        }
    }
}
