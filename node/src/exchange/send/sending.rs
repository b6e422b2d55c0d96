//! One outgoing stream: what goes next under which head, and what a receipt settles.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::acknowledge::acknowledge;
use super::error::SendError;
use super::offer::{Dispatcher, Offering};
use super::resume::{Resumed, resume};
use crate::exchange::batch::{Batch, Item, StreamPosition, batches};
use crate::exchange::greeting::Resume;
use crate::exchange::statement::{HEAD_TYP, Head, Nonce};
use crate::id::AuthorityId;
use crate::jose::{self, SignError};
use crate::node::{Node, SharedNode};
use crate::store::StreamsOut;

/// One outgoing stream, from the receiver's resume on; the counterpart of
/// [`Reception`](crate::exchange::Reception). Receipts are taken while the next batch is made.
pub struct Sending {
    peer: AuthorityId,
    /// The version of the protocol that both ends speak.
    protocol: u32,
    /// The newest that the receiver gave: the next head answers it.
    nonce: Mutex<Nonce>,
    turn: tokio::sync::Mutex<Turn>,
}

/// What only one batch at a time may move.
struct Turn {
    /// Offered before the stream was cut, to be sent again first.
    again: VecDeque<Vec<Item>>,
    /// After the last batch.
    position: StreamPosition,
    dispatcher: Dispatcher,
    /// Revision of the peer's record that the stream began under.
    trust: u64,
}

impl Sending {
    /// Goes on from what the receiver says it holds.
    ///
    /// # Errors
    /// [`SendError`]; what it says was made durable before this returns.
    pub async fn resume(
        node: &SharedNode,
        peer: &AuthorityId,
        theirs: &Resume,
    ) -> Result<Self, SendError> {
        let Resumed { position, items } = resume(node, peer, theirs).await?;
        let turn = Turn {
            again: batches(items).into(),
            position,
            dispatcher: Dispatcher::new(peer.clone(), theirs.schemas, theirs.protocol),
            trust: trust_revision(node, peer)?,
        };
        let (peer, nonce) = (peer.clone(), Mutex::new(theirs.nonce));
        let protocol = theirs.protocol;
        Ok(Self { peer, protocol, nonce, turn: tokio::sync::Mutex::new(turn) })
    }

    /// The next batch, whose offers are durable. When there is nothing to send: a head alone where
    /// a `heartbeat` is due, else `None`.
    ///
    /// # Errors
    /// [`SendError`]; the stream has ended.
    pub async fn next(
        &self,
        node: &SharedNode,
        heartbeat: bool,
    ) -> Result<Option<Batch>, SendError> {
        let mut turn = self.turn.lock().await;
        if trust_revision(node, &self.peer)? != turn.trust {
            return Err(SendError::Moved);
        }
        if let Some(items) = turn.again.pop_front() {
            turn.position = turn.position.after(&items);
            return self.batch(node, turn.position, items, Progress::default()).map(Some);
        }
        let Offering { stream, items, caught_up } = turn.dispatcher.offer_next(node).await?;
        let next = turn.position.after(&items);
        if (stream.epoch, stream.tail) != (next.epoch, next.seq) {
            return Err(SendError::Moved);
        }
        turn.position = next;
        if items.is_empty() && !heartbeat {
            return Ok(None);
        }
        let progress = Progress { caught_up, snapshot_complete: !stream.snapshot };
        self.batch(node, next, items, progress).map(Some)
    }

    /// Makes durable what a receipt settles; the next head answers `nonce`.
    ///
    /// # Errors
    /// [`SendError`]; the stream has ended.
    pub async fn take(
        &self,
        node: &SharedNode,
        receipt: &str,
        nonce: Nonce,
    ) -> Result<(), SendError> {
        acknowledge(node, (&self.peer, self.protocol), receipt).await?;
        *self.nonce.lock().unwrap_or_else(PoisonError::into_inner) = nonce;
        Ok(())
    }

    fn batch(
        &self,
        node: &Node,
        position: StreamPosition,
        items: Vec<Item>,
        progress: Progress,
    ) -> Result<Batch, SendError> {
        let stream = node.store.get::<StreamsOut>(&self.peer)?;
        let acknowledged = stream.map_or(0, |stream| stream.acked);
        Ok(Batch { items, head: self.head(node, position, progress)?, acknowledged })
    }

    fn head(
        &self,
        node: &Node,
        position: StreamPosition,
        progress: Progress,
    ) -> Result<String, SignError> {
        let log = node.store.log();
        let head = Head {
            iss: node.authority.clone(),
            aud: self.peer.clone(),
            epoch: position.epoch,
            seq: position.seq,
            chain: position.chain,
            iat: node.clock.told().seconds(),
            nonce: *self.nonce.lock().unwrap_or_else(PoisonError::into_inner),
            caught_up: progress.caught_up,
            snapshot_complete: progress.snapshot_complete,
            log_size: log.size(),
            log_root: log.root(),
        };
        jose::sign(HEAD_TYP, &head, &node.statement_key)
    }
}

/// What a head says beside the place: nothing of either while offers are sent again.
#[derive(Clone, Copy, Default)]
struct Progress {
    caught_up: bool,
    snapshot_complete: bool,
}

fn trust_revision(node: &Node, peer: &AuthorityId) -> Result<u64, SendError> {
    let directory = node.directory.load();
    Ok(directory.active(peer).ok_or(SendError::NotActive)?.peer.revision)
}
