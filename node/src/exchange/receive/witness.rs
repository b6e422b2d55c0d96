//! Peers are witnesses of each other's logs: every signed word of a peer on its log, in any batch,
//! is compared with the newest that is known.
//!
//! A log only grows. If it is shorter than it was, or has another root at the same size, then its
//! node was restored from an old state, or two nodes run with the same keys.

use crate::audit::{self, Event, Operation, Restore};
use crate::exchange::peer_log::{alarm_of, known, newest, stored};
use crate::exchange::restores::{RESTORES_MAX, keep_restore};
use crate::id::{AuthorityId, Timestamp};
use crate::node::{LogWord, SharedNode};
use crate::store::{
    CommitError, Committed, OtherLog, PeerLog, PeerLogs, Restores, StoreError, StreamIn, StreamsIn,
};

/// How often the newest head of a stream without statements is stored after the first, in seconds.
/// Every search makes a log longer, and each write makes ours longer, which the peer would store in
/// turn. In between only memory has it: if this node and its peer both fail, nobody here knows this
/// much of the peer's log.
const KEPT_EVERY_S: i64 = 600;

/// How a word arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// Before it could compare its log with what is known here.
    AtHello,
    /// Like [`Occasion::AtHello`], from a node that knows that it lost state.
    Stopped,
    /// With the first batch of a stream.
    First,
    /// With a later batch without statements.
    Alone,
    /// With statements: the newest head is stored with them.
    WithStatements,
}

/// Compares a word of a peer with the newest that is known of its log; logs and shows a
/// contradiction.
pub(super) async fn hear(
    node: &SharedNode,
    (peer, stream): (&AuthorityId, u64),
    word: LogWord,
    occasion: Occasion,
) -> Result<(), StoreError> {
    let (known, now, live) = (known(node, peer)?, node.clock.now(), node.streams.live(peer));
    // A word from an older stream that came after a newer one began is late, and proves nothing.
    if !live.is_newest(stream) {
        return Ok(());
    }
    let Some(news) = noted(known.clone(), &word, occasion, now) else {
        if known.is_some_and(|known| (known.size, known.root) == (word.size, word.root)) {
            // Nothing new, only signed later. Storing it would tell a second node with the same
            // keys that this one runs.
            live.note_log(word, None);
        }
        return Ok(());
    };
    let due = live.log_kept_at().is_none_or(|at| now.since(at) >= KEPT_EVERY_S);
    let other = news.log.other.is_some() && news.log.word != word.jws;
    let writes = news.alarm.is_some()
        || other
        || occasion == Occasion::First
        || occasion == Occasion::Alone && due;
    if writes {
        write_down(node, (peer, stream), known, word.clone(), occasion).await?;
    }
    if news.log.word == word.jws {
        let kept = writes || occasion == Occasion::WithStatements;
        live.note_log(word, kept.then_some(now));
    }
    Ok(())
}

async fn write_down(
    node: &SharedNode,
    (peer, stream): (&AuthorityId, u64),
    seen: Option<PeerLog>,
    word: LogWord,
    occasion: Occasion,
) -> Result<(), StoreError> {
    let (peer, live) = (peer.clone(), node.streams.live(peer));
    let committed = node.store.commit(move |tx| {
        let known = newest(stored(tx, &peer)?, seen);
        let event = Event::new(Operation::Trust, "peer.log_seen", "node").peer(&peer);
        let noted = noted(known.clone(), &word, occasion, tx.now());
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
    });
    committed.await.map_err(CommitError::flatten)
}

/// What to store.
struct Noted {
    log: PeerLog,
    alarm: Option<&'static str>,
}

/// What a word adds to what is known; `None` if nothing.
fn noted(
    known: Option<PeerLog>,
    word: &LogWord,
    occasion: Occasion,
    now: Timestamp,
) -> Option<Noted> {
    let hello = matches!(occasion, Occasion::AtHello | Occasion::Stopped);
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
    let goes_on = occasion != Occasion::Stopped && (word.size > known.size || same);
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

/// Handles a log that is not the known one: raises an alarm each time that it went back, and keeps
/// its newest word.
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

/// Accepts restores that two people at a peer approved: the shorter log counts then.
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
                tx.put::<StreamsIn>(&from, &StreamIn { log: None, ..stream });
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
