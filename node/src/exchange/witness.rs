//! Peers are witnesses of each other's logs: every signed word of a peer on its log, in whatever
//! batch, is held against the newest that is known of it.
//!
//! A log only grows. One that is shorter than it was, or has another root at the same size, shows
//! that its node was restored from an old state, or that two nodes run with the same keys.

use super::resume::done;
use super::stream::within;
use super::{HEAD_TYP, Head};
use crate::audit::{self, Event, Operation, RESTORE_TYP, Restore};
use crate::id::{AuthorityId, Digest, KeyId, Timestamp};
use crate::jose::{self, PublicKey};
use crate::node::{Node, SharedNode};
use crate::store::{
    CommitError, Committed, OtherLog, PeerLog, PeerLogs, Restores, StoreError, StreamsIn, Tx,
};

/// How often the newest head of a stream without statements is written down after the first, in
/// seconds. Every search makes a log longer, and each write makes ours longer, which the peer would
/// write down in turn. In between it is held in memory: should this node and its peer both fail,
/// then this much of the peer's log is known to nobody here.
const KEPT_EVERY_S: i64 = 600;

/// Restores of one authority that are kept and told: more than that in the life of a node is a
/// fault of its own.
pub(super) const RESTORES_MAX: usize = 16;

/// A signed word of an authority on the log that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogWord {
    /// Entries.
    pub(super) size: u64,
    /// Root over them.
    pub(super) root: Digest,
    /// When it was signed.
    pub(super) signed_at: Timestamp,
    /// The word: a head, a checkpoint, or a restore.
    pub(super) jws: String,
}

impl LogWord {
    /// Reads a word of `iss`: a head for `aud`, a checkpoint, or the head that a restore goes on
    /// from.
    pub(super) fn verify(
        jws: &str,
        (iss, aud): (&AuthorityId, &AuthorityId),
        statement_key: impl FnOnce(&KeyId) -> Option<PublicKey>,
        log_key: impl Fn(&KeyId) -> Option<PublicKey>,
    ) -> Option<Self> {
        let word = |size, root, iat| {
            Some(Self { size, root, signed_at: Timestamp::from_seconds(iat), jws: jws.to_owned() })
        };
        if let Ok(head) = jose::verify::<Head>(HEAD_TYP, jws, statement_key) {
            let ours = head.iss == *iss && head.aud == *aud;
            return ours.then(|| word(head.log_size, head.log_root, head.iat)).flatten();
        }
        if let Ok(checkpoint) = audit::verify_checkpoint_by(jws, &log_key) {
            let ours = checkpoint.iss == *iss;
            return ours.then(|| word(checkpoint.size, checkpoint.root, checkpoint.iat)).flatten();
        }
        let restore = audit::verify_restore(jws, &log_key).ok().filter(|r| r.iss == *iss)?;
        word(restore.new_size, restore.new_root, restore.iat)
    }

    /// A word of a peer's.
    pub(super) fn of_peer(node: &Node, peer: &AuthorityId, jws: &str) -> Option<Self> {
        let (directory, now) = (node.directory.load(), node.clock.now());
        Self::verify(
            jws,
            (peer, &node.authority),
            |kid| directory.statement_key(peer, kid, now),
            |kid| directory.log_key(peer, kid, now),
        )
    }

    /// A word of this node's own, shown by a peer.
    pub(super) fn of_own(node: &Node, peer: &AuthorityId, jws: &str) -> Option<Self> {
        Self::verify(
            jws,
            (&node.authority, peer),
            |kid| node.own_statement_key(kid),
            |kid| node.own_log_key(kid),
        )
    }

    pub(super) fn of_head(head: &Head, jws: &str) -> Self {
        Self {
            size: head.log_size,
            root: head.log_root,
            signed_at: Timestamp::from_seconds(head.iat),
            jws: jws.to_owned(),
        }
    }
}

/// How a word came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Before it could compare its log with what is known here.
    AtHello,
    /// As [`Said::AtHello`], by a node that knows that it lost state.
    Stopped,
    /// With the first batch of a stream.
    First,
    /// With a later batch without statements.
    Alone,
    /// With statements: the newest head is written down with them.
    WithStatements,
}

/// Holds a word of a peer against the newest that is known of its log; what contradicts it is in
/// the log, and shown.
pub(super) async fn hold(
    node: &SharedNode,
    (peer, stream): (&AuthorityId, u64),
    word: LogWord,
    said: Said,
) -> Result<(), StoreError> {
    let (known, now, live) = (known(node, peer)?, node.clock.now(), node.streams.live(peer));
    // What an older stream said after a newer one began came late: it shows nothing.
    if !live.is_newest(stream) {
        return Ok(());
    }
    let Some(news) = noted(known.clone(), &word, said, now) else {
        if known.is_some_and(|known| (known.size, known.root) == (word.size, word.root)) {
            // Nothing new, and signed later: a second node with the same keys would learn from it
            // that this one runs.
            live.note_log(word, None);
        }
        return Ok(());
    };
    let due = live.log_kept_at().is_none_or(|at| now.since(at) >= KEPT_EVERY_S);
    let other = news.log.other.is_some() && news.log.word != word.jws;
    let writes = news.alarm.is_some() || other || said == Said::First || said == Said::Alone && due;
    if writes {
        keep(node, (peer, stream), known, word.clone(), said).await?;
    }
    if news.log.word == word.jws {
        let kept = writes || said == Said::WithStatements;
        live.note_log(word, kept.then_some(now));
    }
    Ok(())
}

async fn keep(
    node: &SharedNode,
    (peer, stream): (&AuthorityId, u64),
    seen: Option<PeerLog>,
    word: LogWord,
    said: Said,
) -> Result<(), StoreError> {
    let (peer, live) = (peer.clone(), node.streams.live(peer));
    done(node.store.commit(move |tx| {
        let known = newest(stored(tx, &peer)?, seen);
        let event = Event::new(Operation::Trust, "peer.log_seen", "node").peer(&peer);
        let noted = noted(known.clone(), &word, said, tx.now());
        let Some(Noted { log, alarm }) = noted.filter(|_| live.is_newest(stream)) else {
            return Ok(Committed::new((), event.with("size", word.size)));
        };
        tx.put::<PeerLogs>(&peer, &log);
        let event = match alarm {
            None => event.with("size", word.size).with("root", word.root.to_string()),
            Some(kind) => Event::new(Operation::Trust, kind, "node")
                .peer(&peer)
                .with("before", known.as_ref().map_or(0, |known| known.size))
                .with("now", word.size)
                .with("root", word.root.to_string()),
        };
        if let (Some(kind), Some(told)) = (alarm, alarm_of(&peer, &log)) {
            tracing::error!(%peer, alarm = kind, "{told}");
        }
        Ok::<_, StoreError>(Committed::new((), event))
    }))
    .await
}

/// What is to be written down.
struct Noted {
    log: PeerLog,
    alarm: Option<&'static str>,
}

/// What was seen of a peer's log in this process.
#[derive(Default)]
pub(super) struct SeenLog {
    /// The newest.
    pub(super) word: Option<LogWord>,
    /// When one was last written down.
    pub(super) kept_at: Option<Timestamp>,
}

/// What a word adds to what is known; `None` when nothing.
fn noted(known: Option<PeerLog>, word: &LogWord, said: Said, now: Timestamp) -> Option<Noted> {
    let hello = matches!(said, Said::AtHello | Said::Stopped);
    let Some(known) = known else {
        let log = PeerLog {
            size: word.size,
            root: word.root,
            signed_at: word.signed_at,
            word: word.jws.clone(),
            other: None,
        };
        return (!hello).then_some(Noted { log, alarm: None });
    };
    let same = (word.size, word.root) == (known.size, known.root);
    let goes_on = said != Said::Stopped && (word.size > known.size || same);
    if !goes_on {
        return went_back(known, word, now);
    }
    // Before a sender compared its log with ours, a longer one may be another one.
    if hello {
        return None;
    }
    match known.other {
        Some(OtherLog { both: None, .. }) => {
            let other = known.other.clone().map(|other| OtherLog { both: Some(now), ..other });
            let log = PeerLog { other, ..grown(known, word) };
            Some(Noted { log, alarm: Some("alarm.peer_runs_twice") })
        }
        _ if same => None,
        _ => Some(Noted { log: grown(known, word), alarm: None }),
    }
}

fn grown(known: PeerLog, word: &LogWord) -> PeerLog {
    let (size, root, signed_at) = (word.size, word.root, word.signed_at);
    PeerLog { size, root, signed_at, word: word.jws.clone(), ..known }
}

/// A log that is not the one which is known: an alarm each time that it went back, and its newest
/// word is kept.
fn went_back(known: PeerLog, word: &LogWord, now: Timestamp) -> Option<Noted> {
    let (size, root, jws) = (word.size, word.root, word.jws.clone());
    let (other, alarm) = match known.other.clone() {
        Some(other) if (other.size, other.root) == (size, root) => return None,
        Some(other) if other.size < size => (OtherLog { size, root, word: jws, ..other }, None),
        before => {
            let both = before.and_then(|other| other.both);
            let other = OtherLog { size, root, word: jws, at: now, both };
            (other, Some("alarm.peer_log_went_back"))
        }
    };
    Some(Noted { log: PeerLog { other: Some(other), ..known }, alarm })
}

/// The newest that is known of a peer's log: written down, or seen since.
pub(super) fn known(node: &Node, peer: &AuthorityId) -> Result<Option<PeerLog>, StoreError> {
    let (kept, stream) =
        (node.store.get::<PeerLogs>(peer)?, node.store.get::<StreamsIn>(peer)?.unwrap_or_default());
    let seen = node.streams.live(peer).log_seen().map(|word| PeerLog {
        size: word.size,
        root: word.root,
        signed_at: word.signed_at,
        word: word.jws,
        other: None,
    });
    Ok(newest(newest(kept, committed(stream)), seen))
}

fn stored(tx: &Tx<'_>, peer: &AuthorityId) -> Result<Option<PeerLog>, StoreError> {
    let stream = tx.get::<StreamsIn>(peer)?.unwrap_or_default();
    Ok(newest(tx.get::<PeerLogs>(peer)?, committed(stream)))
}

/// What the newest committed head says.
fn committed(stream: crate::store::StreamIn) -> Option<PeerLog> {
    let (size, root) = stream.log?;
    let signed_at = jose::peek::<Head>(HEAD_TYP, &stream.head).map_or(0, |head| head.iat);
    let signed_at = Timestamp::from_seconds(signed_at);
    Some(PeerLog { size, root, signed_at, word: stream.head, other: None })
}

/// The larger; what contradicts it stays with it.
fn newest(kept: Option<PeerLog>, seen: Option<PeerLog>) -> Option<PeerLog> {
    match (kept, seen) {
        (Some(kept), Some(seen)) if seen.size > kept.size || later(&kept, &seen) => {
            Some(PeerLog { other: kept.other, ..seen })
        }
        (kept, seen) => kept.or(seen),
    }
}

/// The same log, signed later.
fn later(kept: &PeerLog, seen: &PeerLog) -> bool {
    (kept.size, kept.root) == (seen.size, seen.root) && seen.signed_at > kept.signed_at
}

/// Takes what a peer says of restores that two persons there approved: the shorter log is then the
/// one that counts.
pub(super) async fn take_restores(
    node: &SharedNode,
    peer: &AuthorityId,
    restores: &[String],
) -> Result<(), StoreError> {
    for jws in restores.iter().take(RESTORES_MAX) {
        let (directory, now) = (node.directory.load_full(), node.clock.now());
        let verified = audit::verify_restore(jws, |kid| directory.log_key(peer, kid, now));
        let Ok(restore) = verified else { continue };
        let key = (peer.clone(), restore.new_size);
        if restore.iss == *peer && node.store.get::<Restores>(&key)?.as_ref() != Some(jws) {
            take_restore(node, peer, restore, jws.clone()).await?;
        }
    }
    Ok(())
}

async fn take_restore(
    node: &SharedNode,
    peer: &AuthorityId,
    restore: Restore,
    jws: String,
) -> Result<(), StoreError> {
    let (from, seen) = (peer.clone(), known(node, peer)?);
    let committed = node.store.commit(move |tx| {
        let known = newest(stored(tx, &from)?, seen);
        let covered = known
            .is_none_or(|known| restore.covers(known.size, &known.root, known.signed_at.seconds()));
        if covered {
            let log = PeerLog {
                size: restore.new_size,
                root: restore.new_root,
                signed_at: Timestamp::from_seconds(restore.iat),
                word: jws.clone(),
                other: None,
            };
            tx.put::<PeerLogs>(&from, &log);
            if let Some(stream) = tx.get::<StreamsIn>(&from)? {
                tx.put::<StreamsIn>(&from, &crate::store::StreamIn { log: None, ..stream });
            }
        }
        keep_restore(tx, &from, &restore, &jws)?;
        let event = Event::new(Operation::Trust, "peer.log_restored", "node").peer(&from);
        let event = event
            .with("kept", restore.kept)
            .with("old_size", restore.old_size)
            .with("new_size", restore.new_size)
            .with("explains", covered);
        Ok::<_, StoreError>(Committed::new((), event))
    });
    committed.await.map_err(CommitError::flatten)?;
    node.streams.live(peer).forget_log();
    Ok(())
}

/// When the last restore was approved that is kept of an authority, UTC seconds.
pub(super) fn last_restore(
    tx: &Tx<'_>,
    authority: &AuthorityId,
) -> Result<Option<i64>, StoreError> {
    let held = tx.scan::<Restores>(&within(authority), None, RESTORES_MAX)?;
    // They were verified before they were kept.
    let approved = held.iter().filter_map(|(_, jws)| jose::peek::<Restore>(RESTORE_TYP, jws).ok());
    Ok(approved.map(|restore| restore.iat).max())
}

/// Keeps a restore among the newest of its authority.
pub(super) fn keep_restore(
    tx: &mut Tx<'_>,
    authority: &AuthorityId,
    restore: &Restore,
    jws: &str,
) -> Result<(), StoreError> {
    tx.put::<Restores>(&(authority.clone(), restore.new_size), &jws.to_owned());
    let held = tx.scan::<Restores>(&within(authority), None, RESTORES_MAX + 1)?;
    if held.len() > RESTORES_MAX
        && let Some((oldest, _)) = held.first()
    {
        tx.delete::<Restores>(oldest);
    }
    Ok(())
}

/// What is wrong with a peer's log, in a sentence for people.
///
/// # Errors
/// When the store cannot be read.
pub fn log_alarm(node: &Node, peer: &AuthorityId) -> Result<Option<String>, StoreError> {
    Ok(known(node, peer)?.and_then(|log| alarm_of(peer, &log)))
}

fn alarm_of(peer: &AuthorityId, log: &PeerLog) -> Option<String> {
    let OtherLog { size, at, both, .. } = log.other.as_ref()?;
    let before = log.size;
    Some(match both {
        Some(again) => format!(
            "two nodes run with the keys of {peer}: a log of {size} entries was shown on {at}, and the other one, of \
             {before} entries now, again on {again}; speak with its contact desk"
        ),
        None if *size < before => format!(
            "the log of {peer} went back from {before} to {size} entries on {at}: it was restored from a backup, and \
             its people have not confirmed yet how it goes on"
        ),
        None => format!(
            "the log that {peer} showed on {at} is not the one of {before} entries that it signed before: it was \
             restored from a backup, and its people have not confirmed yet how it goes on"
        ),
    })
}

/// People looked into a peer's log and go on with it: the one that it showed last is the one that
/// counts.
pub(super) fn settle_log(tx: &mut Tx<'_>, peer: &AuthorityId) -> Result<(), StoreError> {
    let Some(log) = tx.get::<PeerLogs>(peer)? else { return Ok(()) };
    let Some(other) = log.other else { return Ok(()) };
    if other.both.is_some() {
        tx.put::<PeerLogs>(peer, &PeerLog { other: None, ..log });
        return Ok(());
    }
    let signed_at = other.at;
    let log =
        PeerLog { size: other.size, root: other.root, signed_at, word: other.word, other: None };
    tx.put::<PeerLogs>(peer, &log);
    if let Some(stream) = tx.get::<StreamsIn>(peer)? {
        tx.put::<StreamsIn>(peer, &crate::store::StreamIn { log: None, ..stream });
    }
    Ok(())
}
