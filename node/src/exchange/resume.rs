//! The sender compares what the receiver durably holds with its own record, and finds out who lost
//! state.

use super::dispatch::{DispatchError, drop_offers};
use super::plan::retraction;
use super::stream::{
    self, BATCH_BYTES_MAX, BATCH_ITEMS_MAX, Item, Statement, fresh, next_epoch, within,
};
use super::{HEAD_TYP, Head, Nonce};
use super::{lost, parked};
use crate::alert::{ClaimSet, SCHEMA};
use crate::audit::{Event, Operation};
use crate::holding::{HoldingError, read_own};
use crate::id::{AlertId, AuthorityId, Digest, Epoch, StreamSeq, Version};
use crate::jose;
use crate::node::{Node, SharedNode};
use crate::policy::Sharing;
use crate::store::{
    CommitError, Committed, Ledger, Offer, Offered, Offers, Own, StoreError, StreamOut, StreamsOut,
};

/// What a receiver says first: what it durably holds.
#[derive(Clone, Debug)]
pub struct Resume {
    /// Epoch last committed; 0 when there is none.
    pub epoch: Epoch,
    /// Last place committed in it.
    pub seq: StreamSeq,
    /// Chain value at that place.
    pub chain: Option<Digest>,
    /// The sender's newest head held there.
    pub head: String,
    /// The next head must answer it.
    pub nonce: Nonce,
    /// Newest alert schema the receiver reads.
    pub schema_max: u32,
    /// The sender's signed word with the largest log that was seen here; empty when none was.
    pub log: String,
    /// A signed word of the sender's on a log that contradicts it; empty when none was seen.
    pub other_log: String,
    /// The receiver lost state: it takes nothing before two persons there confirmed how it goes on.
    pub stopped: bool,
}

/// Why a stream cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The receiver holds later statements under our own signature: this node lost state.
    #[error("{0} holds later statements of this node: this node was restored from an old state")]
    LostState(AuthorityId),
    /// The receiver claims a place that we never reached, and has no head of ours to show for it.
    #[error("{0} claims a place in the stream that was never reached, without proof")]
    Unproven(AuthorityId),
    /// The receiver lost state itself.
    #[error("{0} lost state, and takes nothing before its people confirmed how it goes on")]
    PeerStopped(AuthorityId),
    /// The stream cannot be sent.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
}

impl From<StoreError> for ResumeError {
    fn from(error: StoreError) -> Self {
        Self::Dispatch(error.into())
    }
}

/// The place from which to send.
pub struct Resumed {
    /// The place the receiver stands at.
    pub place: Place,
    /// What was offered after it, to be sent again.
    pub items: Vec<Item>,
}

/// A place in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the stream.
    pub epoch: Epoch,
    /// Place; 0 before the first.
    pub seq: StreamSeq,
    /// Chain value there.
    pub chain: Digest,
}

impl Place {
    /// The place after these items.
    #[must_use]
    pub fn after(self, items: &[Item]) -> Self {
        items.iter().fold(self, |place, item| Self {
            epoch: place.epoch,
            seq: item.seq,
            chain: stream::chain_next(&place.chain, item.seq, &item.digest),
        })
    }
}

enum Standing {
    /// The receiver stands at this place of our stream.
    At(StreamSeq),
    /// It lost what it had acknowledged, or forked: everything is sent anew.
    Behind,
    /// It holds what this node does not remember.
    Ahead,
}

/// Finds the place from which to send, and makes again what was offered after it.
///
/// # Errors
/// [`ResumeError`]; what it says was made durable before this returns.
pub async fn resume(
    node: &SharedNode,
    peer: &AuthorityId,
    theirs: &Resume,
) -> Result<Resumed, ResumeError> {
    // No offer is sent again that is applied and not durable yet.
    node.store.settled().await.map_err(DispatchError::from)?;
    if lost::compare(node, peer, theirs).await? {
        return Err(ResumeError::LostState(peer.clone()));
    }
    if super::lost_state(node)? {
        return Err(DispatchError::LostState.into());
    }
    if theirs.stopped {
        return Err(ResumeError::PeerStopped(peer.clone()));
    }
    let ours = node.store.get::<StreamsOut>(peer)?.ok_or(DispatchError::NotActive)?;
    wake_for_schema(node, peer, theirs.schema_max).await?;
    match standing(node, peer, &ours, theirs)? {
        Standing::At(seq) => {
            let items = replay_after(node, peer, (ours.epoch, seq)).await?;
            let start = stream::chain_start(&node.authority, peer, ours.epoch);
            let chain = theirs.chain.filter(|_| seq > 0).unwrap_or(start);
            Ok(Resumed { place: Place { epoch: ours.epoch, seq, chain }, items })
        }
        Standing::Behind => renew(node, peer, (&ours, ours.epoch)).await,
        // Of a log that two persons gave up, whose clock was ahead: the new epoch lies beyond it.
        Standing::Ahead
            if proves(node, peer, theirs) && lost::is_given_up(node, peer, &theirs.head)? =>
        {
            renew(node, peer, (&ours, theirs.epoch)).await
        }
        Standing::Ahead if proves(node, peer, theirs) => {
            lost::stop_for_place(node, peer).await?;
            Err(ResumeError::LostState(peer.clone()))
        }
        Standing::Ahead => {
            halt_unproven(node, peer).await?;
            Err(ResumeError::Unproven(peer.clone()))
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
        return Ok(if ours.acked == 0 { Standing::At(0) } else { Standing::Behind });
    }
    if theirs.epoch > ours.epoch || theirs.seq > ours.tail {
        return Ok(Standing::Ahead);
    }
    if theirs.seq < ours.acked {
        return Ok(Standing::Behind);
    }
    let chain = match theirs.seq {
        0 => Some(stream::chain_start(&node.authority, peer, ours.epoch)),
        seq if seq == ours.acked => Some(ours.acked_chain),
        seq => node.store.get::<Offers>(&(peer.clone(), seq))?.map(|offer| offer.chain),
    };
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

/// Makes again what was offered after `seq`, and writes down what changed in place.
async fn replay_after(
    node: &SharedNode,
    peer: &AuthorityId,
    (epoch, seq): (Epoch, StreamSeq),
) -> Result<Vec<Item>, ResumeError> {
    let (held, to) = (node.clone(), peer.clone());
    let worked = tokio::task::spawn_blocking(move || {
        let from = (to.clone(), seq + 1);
        let offers = held.store.scan::<Offers>(&within(&to), Some(&from), OFFERS_OPEN_MAX)?;
        offers
            .into_iter()
            .map(|((_, seq), offer)| Ok((replay(&held, &to, seq, &offer)?, offer)))
            .collect::<Result<Vec<_>, DispatchError>>()
    });
    let replayed = worked.await.unwrap_or(Err(DispatchError::NotActive))?;
    let mut replaced = Vec::new();
    let mut items = Vec::with_capacity(replayed.len());
    for (replay, offer) in replayed {
        if let Some(text) = replay.replaced {
            replaced.push((replay.item.seq, offer, text));
        }
        items.push(replay.item);
    }
    if !replaced.is_empty() {
        replace(node, peer, epoch, replaced).await?;
    }
    Ok(items)
}

/// Offers that may stand unacknowledged: the window of a connection is a few batches.
const OFFERS_OPEN_MAX: usize = 1024;

async fn replace(
    node: &SharedNode,
    peer: &AuthorityId,
    epoch: Epoch,
    replaced: Vec<(StreamSeq, crate::store::Offer, String)>,
) -> Result<(), ResumeError> {
    let peer = peer.clone();
    done(node.store.commit(move |tx| {
        let mut events = Vec::new();
        let same_epoch = tx.get::<StreamsOut>(&peer)?.is_some_and(|s| s.epoch == epoch);
        for (seq, mut offer, text) in replaced {
            let stands = tx.get::<Offers>(&(peer.clone(), seq))?;
            if !same_epoch || stands.is_none_or(|stands| stands.digest != offer.digest) {
                // Acknowledged meanwhile, or of an epoch that has ended.
                continue;
            }
            let key = (peer.clone(), offer.alert.clone());
            let mut ledger = tx.get::<Ledger>(&key)?.unwrap_or_default();
            // A later offer of the same alert still stands.
            if ledger.possible.iter().all(|offered| (offered.epoch, offered.seq) <= (epoch, seq)) {
                ledger.taken_back = Some((epoch, seq));
            }
            tx.put::<Ledger>(&key, &ledger);
            offer.offered = Offered::Retraction(text);
            events.push(
                Event::new(Operation::Erase, "disclose.replaced", "node")
                    .alert(&offer.alert)
                    .peer(&peer)
                    .with("epoch", epoch)
                    .with("seq", seq)
                    .with("in_place_of", offer.digest.to_string()),
            );
            tx.put::<Offers>(&(peer.clone(), seq), &offer);
        }
        let first = Event::new(Operation::Disclose, "disclose.resumed", "node").peer(&peer);
        Ok(events.into_iter().fold(Committed::new((), first), Committed::and))
    }))
    .await
}

/// The first place of a new epoch beyond `before`.
async fn renew(
    node: &SharedNode,
    peer: &AuthorityId,
    (seen, before): (&StreamOut, Epoch),
) -> Result<Resumed, ResumeError> {
    start_epoch(node, peer, (seen, before)).await?;
    let renewed = node.store.get::<StreamsOut>(peer)?.ok_or(DispatchError::NotActive)?;
    let (epoch, chain) = (renewed.epoch, renewed.tail_chain);
    Ok(Resumed { place: Place { epoch, seq: 0, chain }, items: vec![] })
}

/// The receiver was restored or forked: a new epoch, in which the present view is sent whole.
async fn start_epoch(
    node: &SharedNode,
    peer: &AuthorityId,
    (seen, before): (&StreamOut, Epoch),
) -> Result<(), ResumeError> {
    let (from, peer, seen) = (node.authority.clone(), peer.clone(), seen.epoch);
    done(node.store.commit(move |tx| {
        let mut event = Event::new(Operation::Disclose, "stream.epoch_started", "node").peer(&peer);
        if let Some(stream) = tx.get::<StreamsOut>(&peer)?.filter(|held| held.epoch == seen) {
            let next = next_epoch(tx, &stream).max(before.saturating_add(1));
            event = event.with("epoch", next).with("ended", stream.epoch);
            drop_offers(tx, &peer)?;
            let now = tx.now();
            tx.put::<StreamsOut>(&peer, &fresh(&from, &peer, next, stream.policy, now));
        }
        Ok(Committed::new((), event))
    }))
    .await
}

async fn halt_unproven(node: &SharedNode, peer: &AuthorityId) -> Result<(), ResumeError> {
    let peer = peer.clone();
    done(node.store.commit(move |tx| {
        let event = stream::halt(
            tx,
            &peer,
            "the peer claims a place in the stream that was never reached, without proof; speak with its \
             contact desk, then run `entente peer suspend` and `entente peer resume`",
        )?;
        Ok(Committed::new((), event))
    }))
    .await
}

/// What operators read while alerts wait for a peer to be updated.
pub(super) fn waits_for_schema(peer: &AuthorityId) -> String {
    format!("{peer} lacks schema {SCHEMA}")
}

/// What waited because the peer could not read its schema is offered again once it can.
async fn wake_for_schema(
    node: &SharedNode,
    peer: &AuthorityId,
    schema_max: u32,
) -> Result<(), ResumeError> {
    let lacking = parked::lacks_schema(node, peer)?;
    let waiting = lacking && schema_max < SCHEMA;
    node.streams.live(peer).status().waiting = waiting.then(|| waits_for_schema(peer));
    if waiting || !lacking {
        return Ok(());
    }
    let peer = peer.clone();
    done(node.store.commit(move |tx| {
        let retried =
            parked::retry_parked(tx, &peer, |parked| parked.reason == parked::SCHEMA_LACKING)?;
        let event = Event::new(Operation::Disclose, "disclose.retried", "node").peer(&peer);
        Ok(Committed::new((), event.with("count", retried)))
    }))
    .await
}

/// Waits for a commit whose transaction fails only with the store.
pub(super) async fn done<E: From<StoreError>>(
    committed: impl Future<Output = Result<(), CommitError<StoreError>>>,
) -> Result<(), E> {
    committed.await.map_err(|error| match error {
        CommitError::Refused(error) | CommitError::Store(error) => error.into(),
    })
}

/// Splits items into batches within the bounds of a batch.
pub fn batches(items: Vec<Item>) -> Vec<Vec<Item>> {
    let mut batches: Vec<Vec<Item>> = Vec::new();
    let mut bytes = 0;
    for item in items {
        let size = item.statement.text().len();
        match batches.last_mut() {
            Some(last) if last.len() < BATCH_ITEMS_MAX && bytes + size <= BATCH_BYTES_MAX => {
                bytes += size;
                last.push(item);
            }
            _ => {
                bytes = size;
                batches.push(vec![item]);
            }
        }
    }
    batches
}

/// An offer that is sent again, or the retraction that took its place.
struct Replayed {
    item: Item,
    /// The text that now stands at the place, when the right to the offer has ended.
    replaced: Option<String>,
}

/// Makes the statement of an offer once more, byte for byte; a retraction in its place when the
/// alert changed meanwhile or policy no longer allows the view.
fn replay(
    node: &Node,
    peer: &AuthorityId,
    seq: StreamSeq,
    offer: &Offer,
) -> Result<Replayed, DispatchError> {
    let digest = offer.digest;
    let same = |statement| Replayed { item: Item { seq, digest, statement }, replaced: None };
    let (version, claims) = match &offer.offered {
        Offered::Withdrawal(text) => return Ok(same(Statement::Withdrawal(text.clone()))),
        Offered::Retraction(text) => return Ok(same(Statement::Retraction(text.clone()))),
        Offered::View { version, claims } => (*version, *claims),
    };
    if let Some(text) = still_allowed(node, peer, &offer.alert, version, claims)?
        && Digest::of(text.as_bytes()) == digest
    {
        return Ok(same(Statement::Alert(text)));
    }
    let text = retraction(node, peer, &offer.alert, Some(digest));
    let statement = Statement::Retraction(text.clone());
    Ok(Replayed { item: Item { seq, digest, statement }, replaced: Some(text) })
}

fn still_allowed(
    node: &Node,
    peer: &AuthorityId,
    alert: &AlertId,
    version: Version,
    claims: ClaimSet,
) -> Result<Option<String>, DispatchError> {
    let now = node.clock.now();
    let own = node.store.get::<Own>(alert)?;
    let own = own.filter(|own| own.version == version && own.expires_at > now);
    let Some(own) = own else { return Ok(None) };
    let view = read_own(node, alert, &own)?;
    let decision = node.policy.load().1.decide(peer, &view.facts(), now);
    match decision.sharing {
        Sharing::View(allowed) if claims.is_subset(allowed) => {
            let text = view.disclose(claims);
            Ok(Some(text.map_err(|error| HoldingError::Alert(alert.clone(), error))?))
        }
        _ => Ok(None),
    }
}
