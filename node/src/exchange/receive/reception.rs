//! The receiver: verifies strictly, commits a batch at once, and signs the receipt after the flush.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::error::ReceiveError;
use super::verified::VerifiedBatch;
use super::witness::{self, Occasion};
use super::{apply, judge, snapshot};
use crate::alert::SCHEMAS;
use crate::exchange::PROTOCOLS;
use crate::exchange::batch::{BATCH_ITEMS_MAX, Batch};
use crate::exchange::greeting::{Resume, Standing};
use crate::exchange::peer_log;
use crate::exchange::statement::{
    HEAD_TYP, Head, Nonce, RECEIPT_PROTOCOL, RECEIPT_TYP, Receipt, Refused,
};
use crate::exchange::stop::lost_state;
use crate::id::{AuthorityId, Timestamp};
use crate::jose::{self, SignError};
use crate::node::{Live, LogWord, SharedNode, Witness, believe_with_peers};
use crate::store::{CommitError, StreamsIn};
use crate::telemetry;
use crate::worker;

/// Most nonces of one connection that a head may still answer: batches are under way while receipts
/// return.
const NONCES_OPEN_MAX: usize = 16;

/// Pause before the receipt of a batch for which there was no room: every refusal takes a place in
/// the log, so refusals must be slow, while withdrawals and retractions still get through.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(5);

/// Pause before a batch is refused because this node lost state: a sender that ignores what it was
/// told would return at once.
const NOT_TAKEN_PAUSE: Duration = Duration::from_secs(5);

/// One incoming stream, from its hello on.
pub struct Reception {
    peer: AuthorityId,
    number: u64,
    live: Arc<Live>,
    nonces: VecDeque<(Nonce, Timestamp)>,
    /// The version of the protocol that both ends speak.
    protocol: u32,
    /// The result of a batch that was taken.
    begun: bool,
}

/// Begins an incoming stream of `peer`, which ends an older one; says what is durably held.
/// Compares what the peer says about its log with what is known of it.
///
/// # Errors
/// When the peer is not active, speaks no version of the protocol that this node does, or the store
/// failed.
pub async fn hello(
    node: &SharedNode,
    peer: &AuthorityId,
    standing: &Standing,
) -> Result<(Reception, Resume), ReceiveError> {
    node.directory.load().active(peer).ok_or(ReceiveError::NotActive)?;
    let protocol = PROTOCOLS.common(standing.protocols);
    let protocol = protocol.ok_or(ReceiveError::NoCommonProtocol(standing.protocols))?;
    let live = node.streams.live(peer);
    let number = live.begin_incoming();
    // A batch of the older stream may be on its way to the disk, and the answer must not change
    // afterwards.
    node.store.settled().await?;
    // While this node is stopped its log shows that nothing changed since people looked, so no peer
    // may make it longer.
    if !lost_state(node)? {
        witness::take_restores(node, peer, &standing.restores).await?;
        if let Some(word) = LogWord::of_peer(node, peer, &standing.checkpoint) {
            let occasion = if standing.stopped { Occasion::Stopped } else { Occasion::AtHello };
            witness::hear(node, (peer, number), word, occasion).await?;
        }
    }
    let held = node.store.get::<StreamsIn>(peer)?.unwrap_or_default();
    let log = peer_log::known(node, peer)?;
    let other_log = log.as_ref().and_then(|log| log.other.clone());
    let nonces = VecDeque::new();
    let mut reception =
        Reception { peer: peer.clone(), number, live, nonces, protocol, begun: false };
    let resume = Resume {
        epoch: held.epoch,
        seq: held.seq,
        chain: held.chain,
        head: held.head,
        nonce: reception.fresh_nonce(node),
        protocol,
        schemas: SCHEMAS,
        log: log.map(|log| log.word).unwrap_or_default(),
        other_log: other_log.map(|other| other.word).unwrap_or_default(),
        stopped: lost_state(node)?,
    };
    Ok((reception, resume))
}

impl Reception {
    /// Takes a batch: verifies, commits, and returns the signed receipt with the next nonce.
    ///
    /// # Errors
    /// [`ReceiveError`]; nothing of the batch is kept then.
    pub async fn receive(
        &mut self,
        node: &SharedNode,
        batch: Batch,
    ) -> Result<(String, Nonce), ReceiveError> {
        if lost_state(node)? {
            tokio::time::sleep(NOT_TAKEN_PAUSE).await;
            return Err(ReceiveError::LostState);
        }
        let verified = self.verify(node, batch)?;
        let head = verified.head.clone();
        // This comes before its statements are judged by the time.
        let (heard, said) = (node.clock.elapsed(), Timestamp::from_seconds(head.iat));
        self.live.status().witness = Some(Witness { heard, said });
        believe_with_peers(node).await?;
        let occasion = match std::mem::replace(&mut self.begun, true) {
            false => Occasion::First,
            true if verified.items.is_empty() => Occasion::Alone,
            true => Occasion::WithStatements,
        };
        witness::hear(
            node,
            (&self.peer, self.number),
            LogWord::of_head(&head, &verified.jws),
            occasion,
        )
        .await?;
        let completes = head.snapshot_complete && (verified.held.snapshot || verified.renews());
        let refused = if verified.items.is_empty() && !verified.renews() {
            verified.refused_open()
        } else {
            self.commit(node, verified).await?
        };
        if completes {
            snapshot::complete_snapshot(node, &self.peer, head.epoch).await?;
        }
        self.confirm(&head);
        Ok((self.receipt(node, &head, refused)?, self.fresh_nonce(node)))
    }

    /// Returns once a newer stream of the same sender has begun: nothing of this one is taken any
    /// more.
    pub async fn superseded(&self) {
        self.live.superseded(self.number).await;
    }

    fn verify(&self, node: &SharedNode, batch: Batch) -> Result<VerifiedBatch, ReceiveError> {
        if batch.items.len() > BATCH_ITEMS_MAX {
            return Err(ReceiveError::TooLarge);
        }
        let now = node.clock.now();
        let directory = node.directory.load();
        let trust = directory.active(&self.peer).ok_or(ReceiveError::NotActive)?.peer.revision;
        let key_of = |kid: &_| directory.statement_key(&self.peer, kid, now);
        let head: Head = jose::verify(HEAD_TYP, &batch.head, key_of).map_err(ReceiveError::Head)?;
        let held = node.store.get::<StreamsIn>(&self.peer)?.unwrap_or_default();
        if head.iss != self.peer || head.aud != node.authority || head.epoch < held.epoch {
            return Err(ReceiveError::Misdirected);
        }
        let Batch { items, head: jws, acknowledged } = batch;
        let verified = VerifiedBatch { head, jws, held, trust, items, acknowledged };
        verified.check_chain(&node.authority)?;
        Ok(verified)
    }

    /// Stores what the batch says; returns the refusals that the sender may not know yet.
    async fn commit(
        &self,
        node: &SharedNode,
        verified: VerifiedBatch,
    ) -> Result<Vec<Refused>, ReceiveError> {
        let (judging, from, protocol) = (node.clone(), self.peer.clone(), self.protocol);
        let judged = worker::run(&node.authority, "judge", move || {
            let room = judging.store.room();
            let judge = judge::Judge { node: &judging, peer: &from, protocol, room };
            let judged: Vec<_> = verified.items.iter().map(|item| judge.item(item)).collect();
            (verified, judged)
        });
        let (verified, judged) = judged.await?;
        let no_room = judged.iter().any(judge::Judged::lacked_room);
        let arrival = apply::Arrival {
            peer: self.peer.clone(),
            live: Arc::clone(&self.live),
            number: self.number,
            verified,
        };
        let committed = node.store.commit(move |tx| apply::apply(tx, arrival, judged)).await;
        let outcome = committed.map_err(CommitError::flatten)?;
        for reason in outcome.reasons {
            telemetry::refused(&node.authority, &self.peer, "in", reason);
        }
        if no_room {
            tokio::time::sleep(NO_ROOM_PAUSE).await;
        }
        Ok(outcome.refused)
    }

    /// Renews the lease of this issuer's copies, if the head answers a nonce of ours and nothing is
    /// left to send.
    fn confirm(&self, head: &Head) {
        let answered = self.nonces.iter().find(|(nonce, _)| *nonce == head.nonce);
        if let Some((_, at)) = answered.filter(|_| head.caught_up && head.snapshot_complete) {
            self.live.status().confirmed_at = Some(*at);
        }
    }

    fn receipt(
        &self,
        node: &SharedNode,
        head: &Head,
        refused: Vec<Refused>,
    ) -> Result<String, SignError> {
        let receipt = Receipt {
            iss: node.authority.clone(),
            aud: self.peer.clone(),
            epoch: head.epoch,
            seq: head.seq,
            chain: head.chain,
            iat: node.clock.now().seconds(),
            refused,
            protocol: (self.protocol >= RECEIPT_PROTOCOL).then_some(self.protocol),
        };
        jose::sign(RECEIPT_TYP, &receipt, &node.statement_key)
    }

    fn fresh_nonce(&mut self, node: &SharedNode) -> Nonce {
        let nonce = Nonce::random(&node.entropy);
        self.nonces.push_back((nonce, node.clock.now()));
        if self.nonces.len() > NONCES_OPEN_MAX {
            self.nonces.pop_front();
        }
        nonce
    }
}

impl Drop for Reception {
    fn drop(&mut self) {
        self.live.end_incoming(self.number);
    }
}
