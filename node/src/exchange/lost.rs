//! This node finds out that it lost state: a peer shows a head that this node's key signed, and
//! that is not in its log. Then it stops, until two persons confirmed how it goes on.

use super::resume::{Resume, done};
use super::stream::{self, within};
use super::witness::{LogWord, RESTORES_MAX, keep_restore};
use crate::audit::{
    Checkpoint, Event, Operation, RESTORE_TYP, RESTORED, Restore, STATEMENT, sign_checkpoint,
    sign_restore,
};
use crate::id::{AuthorityId, CLOCK_TOLERANCE_S, Timestamp};
use crate::jose::{self, SigningKey};
use crate::node::{Node, SharedNode};
use crate::store::{
    Change, Committed, LostHead, LostHeads, Meta, Restores, StoreError, StreamsOut, TakenBack, Tx,
    Unasked,
};

/// Key in [`Meta`] of the stop: present while this node may not issue.
const STOP_KEY: &str = "lost_state";

/// Peers whose records are walked at once: ten times those that a node is sized for.
const PEERS_MAX: usize = 1024;

/// Whether the node found that it lost state (its own later heads came back from a peer): nothing
/// is issued, and nobody is let in but who confirms how it goes on.
///
/// # Errors
/// When the store cannot be read.
pub fn lost_state(node: &Node) -> Result<bool, StoreError> {
    Ok(node.store.get::<Meta>(&STOP_KEY.to_owned())?.is_some())
}

/// As [`lost_state`], inside a transaction.
pub(crate) fn is_stopped(tx: &Tx<'_>) -> Result<bool, StoreError> {
    Ok(tx.get::<Meta>(&STOP_KEY.to_owned())?.is_some())
}

/// What a sender says of its log before anything else.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Its log now: a checkpoint, as signed. Empty from a node of an older version.
    pub checkpoint: String,
    /// The restores that two persons there approved, as signed.
    pub restores: Vec<String>,
    /// It knows that it lost state.
    pub stopped: bool,
}

/// What this node says of its log at the beginning of a stream.
///
/// # Errors
/// When the store cannot be read.
pub fn standing_of_log(node: &Node) -> Result<Standing, StoreError> {
    let (log, me) = (node.store.log(), &node.authority);
    let checkpoint = Checkpoint {
        iss: me.clone(),
        size: log.size(),
        root: log.root(),
        iat: node.clock.now().seconds(),
    };
    Ok(Standing {
        checkpoint: sign_checkpoint(&checkpoint, &node.log_key),
        restores: own_restores(node)?,
        stopped: lost_state(node)?,
    })
}

fn own_restores(node: &Node) -> Result<Vec<String>, StoreError> {
    let held = node.store.scan::<Restores>(&within(&node.authority), None, RESTORES_MAX)?;
    Ok(held.into_iter().map(|(_, jws)| jws).collect())
}

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
    // Of another log under our keys: the peer holds ours too, so that this node goes on.
    let other = LogWord::of_own(node, peer, &theirs.other_log);
    match other {
        Some(word) if lacks(node, &word)? => note_other(node, peer, &word).await?,
        _ => forget_other(node, peer).await?,
    }
    Ok(false)
}

/// Whether a signed word of this node's own is not in its log, and no restore that two persons
/// approved says why.
fn lacks(node: &Node, word: &LogWord) -> Result<bool, StoreError> {
    Ok(!holds(node, word)? && !is_explained(node, word)?)
}

/// Whether a signed word of this node's own is of a log that two persons gave up.
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

/// What a word that the log lacks says of it. What the log had when this process began, and what it
/// got up to the time of the word, is the most that it has in common with the log that is gone.
fn lost_head(node: &Node, word: &LogWord, both: bool) -> Result<LostHead, StoreError> {
    let until = node.store.entries_until(word.signed_at.plus(CLOCK_TOLERANCE_S))?;
    let kept = until.min(node.log_size_at_start).min(word.size.saturating_sub(1));
    let LogWord { size, root, signed_at, .. } = *word;
    Ok(LostHead { size, root, signed_at, kept, both })
}

/// Stops issuing to all, and whoever need not come in: `peer` holds what this node's log lacks.
async fn stop(node: &SharedNode, peer: &AuthorityId, word: &LogWord) -> Result<(), StoreError> {
    let known = node.store.get::<LostHeads>(peer)?;
    // What one peer has seen of a log that is gone does not grow, unless another node goes on with
    // it.
    let grown = known.as_ref().is_some_and(|known| known.size < word.size);
    let stopped = lost_state(node)?;
    if stopped && known.is_some_and(|known| known.both || !grown) {
        return Ok(());
    }
    let (found, from) = (lost_head(node, word, stopped && grown)?, peer.clone());
    tracing::error!(%peer, "{}", told(peer, &found, node.store.log().size(), true));
    done(node.store.commit(move |tx| {
        begin_stop(tx)?;
        let kind = if found.both { "alarm.runs_twice" } else { "alarm.lost_state" };
        let event = lost_event(kind, &from, &found);
        let before = tx.get::<LostHeads>(&from)?.map_or(found.kept, |before| before.kept);
        tx.put::<LostHeads>(&from, &LostHead { kept: found.kept.min(before), ..found });
        Ok::<_, StoreError>(Committed::new((), event))
    }))
    .await
}

/// Stops for a place in a stream that is beyond this node's own, with a head to show for it.
pub(super) async fn stop_for_place(
    node: &SharedNode,
    peer: &AuthorityId,
) -> Result<(), StoreError> {
    let from = peer.clone();
    done(node.store.commit(move |tx| {
        begin_stop(tx)?;
        let event = Event::new(Operation::Key, "alarm.lost_state", "node").peer(&from);
        Ok::<_, StoreError>(Committed::new((), event))
    }))
    .await
}

fn begin_stop(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    if !is_stopped(tx)? {
        tx.put::<Meta>(&STOP_KEY.to_owned(), &tx.now().seconds().to_be_bytes().to_vec());
        for (peer, _) in tx.scan::<StreamsOut>(&[], None, PEERS_MAX)? {
            tx.put::<Unasked>(&peer, &());
        }
        // Whoever is in is judged anew, and streams end.
        tx.announce(Change::Users);
        tx.announce(Change::Peers);
    }
    Ok(())
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
    done(node.store.commit(move |tx| {
        tx.put::<LostHeads>(&from, &found);
        let event = lost_event("alarm.runs_twice", &from, &found);
        Ok::<_, StoreError>(Committed::new((), event))
    }))
    .await
}

async fn forget_other(node: &SharedNode, peer: &AuthorityId) -> Result<(), StoreError> {
    if lost_state(node)? || node.store.get::<LostHeads>(peer)?.is_none() {
        return Ok(());
    }
    let from = peer.clone();
    done(node.store.commit(move |tx| {
        tx.delete::<LostHeads>(&from);
        let event = Event::new(Operation::Key, "log.agreed", "node").peer(&from);
        Ok::<_, StoreError>(Committed::new((), event))
    }))
    .await
}

/// The heads that peers showed and this node's log lacks, the largest first.
///
/// # Errors
/// When the store cannot be read.
pub fn lost_heads(node: &Node) -> Result<Vec<(AuthorityId, LostHead)>, StoreError> {
    let mut heads = node.store.scan::<LostHeads>(&[], None, PEERS_MAX)?;
    heads.sort_by_key(|(_, head)| (!head.both, std::cmp::Reverse(head.size)));
    Ok(heads)
}

/// What is wrong with this node's own log, in a sentence for people; `None` when nothing is known
/// to be.
///
/// # Errors
/// When the store cannot be read.
pub fn own_log_alarm(node: &Node) -> Result<Option<String>, StoreError> {
    let (heads, stopped) = (lost_heads(node)?, lost_state(node)?);
    let size = node.store.log().size();
    Ok(heads.first().map(|(peer, head)| told(peer, head, size, stopped)))
}

fn told(peer: &AuthorityId, head: &LostHead, size: u64, stopped: bool) -> String {
    let LostHead { size: lost, signed_at, kept, both, .. } = head;
    if *both {
        return format!(
            "two nodes run with this authority's keys: what {peer} has seen of the other's log grows while this node \
             stands, and had {lost} entries on {signed_at}; end one of the two"
        );
    }
    if stopped {
        return format!(
            "this node was restored from an old state: {peer} holds a head of its log with {lost} entries, signed on \
             {signed_at}; of those entries at most {kept} are in the log here, which has {size}"
        );
    }
    format!(
        "two nodes run with this authority's keys, or an old state of this one was started and given up: {peer} was \
         shown another log, with {lost} entries, on {signed_at}"
    )
}

/// Whether a peer must be asked what it holds of ours before anything is sent to it: it was not
/// reached while the node stood still.
///
/// # Errors
/// When the store cannot be read.
pub fn must_ask(node: &Node, peer: &AuthorityId) -> Result<bool, StoreError> {
    Ok(!lost_state(node)? && is_unasked(node, peer)?)
}

/// Whether a peer was not asked, since state was lost, what it holds of ours.
///
/// # Errors
/// When the store cannot be read.
pub fn is_unasked(node: &Node, peer: &AuthorityId) -> Result<bool, StoreError> {
    Ok(node.store.get::<Unasked>(peer)?.is_some())
}

/// Notes that a peer gave everything that it holds of ours.
///
/// # Errors
/// When the store failed.
pub async fn asked(node: &SharedNode, peer: &AuthorityId, count: u64) -> Result<(), StoreError> {
    let from = peer.clone();
    done(node.store.commit(move |tx| {
        tx.delete::<Unasked>(&from);
        let event = Event::new(Operation::Collect, "recovery.asked", "node").peer(&from);
        Ok::<_, StoreError>(Committed::new((), event.with("statements", count)))
    }))
    .await
}

/// Ends the stop.
pub(super) fn end_stop(tx: &mut Tx<'_>) {
    tx.delete::<Meta>(&STOP_KEY.to_owned());
}

/// Who approved that a node goes on, and why.
pub struct Approval {
    /// The first person.
    pub proposed_by: String,
    /// The second.
    pub approved_by: String,
    /// As the first gave it.
    pub reason: String,
    /// Names what both were shown.
    pub review: String,
}

/// Records the restore, signed with the log key: in the log, for auditors, and for peers. `None`
/// when no head of the log that is gone is known.
///
/// # Errors
/// When the store cannot be read.
pub fn record_restore(
    tx: &mut Tx<'_>,
    me: &AuthorityId,
    key: &SigningKey,
    approval: &Approval,
) -> Result<Option<Event>, StoreError> {
    let heads = tx.scan::<LostHeads>(&[], None, PEERS_MAX)?;
    let Some((_, newest)) = heads.iter().max_by_key(|(_, head)| head.size) else { return Ok(None) };
    // A clock that is not believed yet, or is slow, does not date it before what was lost.
    let approved_at = heads.iter().map(|(_, head)| head.signed_at).fold(tx.now(), Timestamp::max);
    let restore = Restore {
        iss: me.clone(),
        iat: approved_at.seconds(),
        kept: heads.iter().map(|(_, head)| head.kept).min().unwrap_or_default(),
        old_size: newest.size,
        old_root: newest.root,
        new_size: tx.log().size(),
        new_root: tx.log().root(),
    };
    let jws = sign_restore(&restore, key);
    keep_restore(tx, me, &restore, &jws)?;
    for (peer, _) in heads {
        tx.delete::<LostHeads>(&peer);
    }
    let event = Event::new(Operation::Key, RESTORED, &approval.approved_by)
        .with("kept", restore.kept)
        .with("old_size", restore.old_size)
        .with("old_root", restore.old_root.to_string())
        .with("new_size", restore.new_size)
        .with("new_root", restore.new_root.to_string())
        .with("proposed_by", approval.proposed_by.as_str())
        .with("reason", approval.reason.as_str())
        .with("review", approval.review.as_str())
        .with(STATEMENT, jws);
    Ok(Some(event))
}

/// Two persons confirmed what these peers get: what was taken back from them and fetched back is
/// theirs again where the policy says so.
///
/// # Errors
/// When the store cannot be read.
pub fn confirm_taken_back(tx: &mut Tx<'_>, peers: &[AuthorityId]) -> Result<u64, StoreError> {
    let mut confirmed = 0;
    for peer in peers {
        loop {
            let page = tx.scan::<TakenBack>(&within(peer), None, stream::PAGE)?;
            page.iter().for_each(|(key, _)| tx.delete::<TakenBack>(key));
            confirmed += page.len() as u64;
            if page.len() < stream::PAGE {
                break;
            }
        }
    }
    Ok(confirmed)
}

/// Whether any alert stays back because a peer handed back its retraction.
///
/// # Errors
/// When the store cannot be read.
pub fn any_taken_back(tx: &Tx<'_>) -> Result<bool, StoreError> {
    Ok(!tx.scan::<TakenBack>(&[], None, 1)?.is_empty())
}
