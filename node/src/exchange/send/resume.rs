//! Compares what the receiver durably holds with the sender's own record, and finds out who lost
//! state.

use super::compare;
use super::error::SendError;
use super::replay::replay_after;
use crate::alert::SCHEMA;
use crate::audit::{Event, Operation};
use crate::exchange::batch::{Item, StreamPosition, chain_start};
use crate::exchange::greeting::Resume;
use crate::exchange::kind::Kind;
use crate::exchange::parked::{self, PROTOCOL_LACKING, SCHEMA_LACKING, waits_for_schema};
use crate::exchange::statement::{HEAD_TYP, Head};
use crate::exchange::stop::lost_state;
use crate::exchange::stream::{self, drop_offers, fresh, next_epoch};
use crate::id::{AuthorityId, Epoch, StreamSeq, Versions};
use crate::jose;
use crate::node::{Node, SharedNode};
use crate::store::{CommitError, Committed, Offers, StoreError, StreamOut, StreamsOut};

/// The place from which to send.
pub(super) struct Resumed {
    /// The receiver's place.
    pub(super) position: StreamPosition,
    /// What was offered after it, to be sent again.
    pub(super) items: Vec<Item>,
}

enum Standing {
    /// The receiver is at this place of our stream.
    At(StreamSeq),
    /// It lost what it had acknowledged, or forked: everything is sent again.
    Behind,
    /// It holds what this node does not remember.
    Ahead,
}

/// Finds the place from which to send, and makes the offers after it again.
///
/// # Errors
/// [`SendError`]; what it says was made durable before this returns.
pub(super) async fn resume(
    node: &SharedNode,
    peer: &AuthorityId,
    theirs: &Resume,
) -> Result<Resumed, SendError> {
    // An offer that is applied but not durable yet must not be sent again.
    node.store.settled().await?;
    if compare::compare(node, peer, theirs).await? {
        return Err(SendError::LostStateShown(peer.clone()));
    }
    if lost_state(node)? {
        return Err(SendError::LostState);
    }
    if theirs.stopped {
        return Err(SendError::PeerStopped(peer.clone()));
    }
    let ours = node.store.get::<StreamsOut>(peer)?.ok_or(SendError::NotActive)?;
    wake_for_schema(node, peer, theirs.schemas).await?;
    wake_for_protocol(node, peer, theirs.protocol).await?;
    match standing(node, peer, &ours, theirs)? {
        Standing::At(seq) => {
            let replayed = replay_after(node, peer, (ours.epoch, seq), theirs.protocol).await?;
            let Some(items) = replayed else {
                return renew(node, peer, (&ours, ours.epoch)).await;
            };
            let start = chain_start(&node.authority, peer, ours.epoch);
            let chain = theirs.chain.filter(|_| seq > 0).unwrap_or(start);
            Ok(Resumed { position: StreamPosition { epoch: ours.epoch, seq, chain }, items })
        }
        Standing::Behind => renew(node, peer, (&ours, ours.epoch)).await,
        // The head is of a log that two people gave up, whose clock was ahead: the new epoch's
        // number is beyond it.
        Standing::Ahead
            if proves(node, peer, theirs) && compare::is_given_up(node, peer, &theirs.head)? =>
        {
            renew(node, peer, (&ours, theirs.epoch)).await
        }
        Standing::Ahead if proves(node, peer, theirs) => {
            compare::stop_for_place(node, peer).await?;
            Err(SendError::LostStateShown(peer.clone()))
        }
        Standing::Ahead => {
            halt_unproven(node, peer).await?;
            Err(SendError::Unproven(peer.clone()))
        }
    }
}

fn standing(
    node: &Node,
    peer: &AuthorityId,
    ours: &StreamOut,
    theirs: &Resume,
) -> Result<Standing, StoreError> {
    if theirs.epoch < ours.epoch {
        // A new epoch of which no receipt came: the receiver may never have heard of it.
        return Ok(if ours.acked == 0 { Standing::At(0) } else { Standing::Behind });
    }
    if theirs.epoch > ours.epoch || theirs.seq > ours.tail {
        return Ok(Standing::Ahead);
    }
    // It signed a receipt for more than it holds now.
    if theirs.seq < ours.acked {
        return Ok(Standing::Behind);
    }
    let chain = match theirs.seq {
        0 => Some(chain_start(&node.authority, peer, ours.epoch)),
        // The offer of an acknowledged place is forgotten.
        seq if seq == ours.acked => Some(ours.acked_chain),
        seq => node.store.get::<Offers>(&(peer.clone(), seq))?.map(|offer| offer.chain),
    };
    // Before the first place a receiver may name no chain value at all.
    Ok(if chain == theirs.chain || theirs.seq == 0 {
        Standing::At(theirs.seq)
    } else if proves(node, peer, theirs) {
        Standing::Ahead
    } else {
        Standing::Behind
    })
}

/// Whether the receiver shows a head of ours for the place it claims.
fn proves(node: &Node, peer: &AuthorityId, theirs: &Resume) -> bool {
    let own = |kid: &_| node.own_statement_key(kid);
    jose::verify::<Head>(HEAD_TYP, &theirs.head, own).is_ok_and(|head| {
        head.iss == node.authority
            && head.aud == *peer
            && (head.epoch, head.seq, Some(head.chain)) == (theirs.epoch, theirs.seq, theirs.chain)
    })
}

/// The first place of a new epoch beyond `before`.
async fn renew(
    node: &SharedNode,
    peer: &AuthorityId,
    (seen, before): (&StreamOut, Epoch),
) -> Result<Resumed, SendError> {
    start_epoch(node, peer, (seen, before)).await?;
    let renewed = node.store.get::<StreamsOut>(peer)?.ok_or(SendError::NotActive)?;
    let (epoch, chain) = (renewed.epoch, renewed.tail_chain);
    Ok(Resumed { position: StreamPosition { epoch, seq: 0, chain }, items: vec![] })
}

/// The receiver was restored or forked: begins a new epoch, in which the whole present view is
/// sent.
async fn start_epoch(
    node: &SharedNode,
    peer: &AuthorityId,
    (seen, before): (&StreamOut, Epoch),
) -> Result<(), SendError> {
    let (from, peer, seen) = (node.authority.clone(), peer.clone(), seen.epoch);
    let committed = node.store.commit(move |tx| {
        let mut event = Event::new(Operation::Disclose, "stream.epoch_started", "node").peer(&peer);
        if let Some(stream) = tx.get::<StreamsOut>(&peer)?.filter(|held| held.epoch == seen) {
            let next = next_epoch(tx, &stream).max(before.saturating_add(1));
            event = event.with("epoch", next).with("ended", stream.epoch);
            drop_offers(tx, &peer)?;
            let now = tx.now();
            tx.put::<StreamsOut>(&peer, &fresh(&from, &peer, next, stream.policy, now));
        }
        Ok(Committed::new((), event))
    });
    committed.await.map_err(CommitError::flatten)
}

async fn halt_unproven(node: &SharedNode, peer: &AuthorityId) -> Result<(), SendError> {
    let peer = peer.clone();
    let committed = node.store.commit(move |tx| {
        let event = stream::halt(
            tx,
            &peer,
            "the peer claims a place in the stream that was never reached, without proof; speak \
             with its contact desk, then run `entente peer suspend` and `entente peer resume`",
        )?;
        Ok(Committed::new((), event))
    });
    committed.await.map_err(CommitError::flatten)
}

/// Offers again what waited because the peer could not read its schema, once it can.
async fn wake_for_schema(
    node: &SharedNode,
    peer: &AuthorityId,
    schemas: Versions,
) -> Result<(), SendError> {
    let lacking = parked::waits_for(node, peer, SCHEMA_LACKING)?;
    let waiting = lacking && !schemas.contains(SCHEMA);
    node.streams.live(peer).status().waiting = waiting.then(|| waits_for_schema(peer));
    if waiting || !lacking {
        return Ok(());
    }
    retry(node, peer, SCHEMA_LACKING).await
}

/// What waited because the peer spoke an older protocol is offered again once it does not.
async fn wake_for_protocol(
    node: &SharedNode,
    peer: &AuthorityId,
    protocol: u32,
) -> Result<(), SendError> {
    let addressed = [Kind::Notice, Kind::Acknowledgement];
    let reads_all = addressed.into_iter().all(|kind| kind.rules().protocol <= protocol);
    if !reads_all || !parked::waits_for(node, peer, PROTOCOL_LACKING)? {
        return Ok(());
    }
    retry(node, peer, PROTOCOL_LACKING).await
}

async fn retry(
    node: &SharedNode,
    peer: &AuthorityId,
    reason: &'static str,
) -> Result<(), SendError> {
    let peer = peer.clone();
    let committed = node.store.commit(move |tx| {
        let retried = parked::retry_parked(tx, &peer, |parked| parked.reason == reason)?;
        let event = Event::new(Operation::Disclose, "disclose.retried", "node").peer(&peer);
        Ok(Committed::new((), event.with("count", retried)))
    });
    committed.await.map_err(CommitError::flatten)
}
