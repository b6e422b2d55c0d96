//! Takes a receipt: what it covers is acknowledged, what it refuses is parked.

use std::collections::HashMap;

use super::error::SendError;
use crate::audit::{Event, Operation};
use crate::exchange::kind;
use crate::exchange::ledger::{Effect, OfferedAt};
use crate::exchange::parked;
use crate::exchange::statement::{RECEIPT_TYP, Receipt};
use crate::holding::note_taken;
use crate::id::{AuthorityId, Digest, StreamSeq};
use crate::jose;
use crate::node::SharedNode;
use crate::store::{
    CommitError, Committed, Ledger, Offer, Offers, PAGE, Parked, Read, Scan, StoreError, StreamOut,
    StreamsOut, Subject, Tx,
};
use crate::telemetry;

/// Longest reason of a refusal that is kept, in bytes, since it is the peer's text.
const REASON_BYTES_MAX: usize = 64;

/// Why a receipt is not entered.
enum Refusal {
    /// A later receipt on another connection was quicker; the place that it settled.
    Overtaken(StreamSeq),
    Failed(SendError),
}

impl<E: Into<SendError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Stores durably that `peer` holds everything up to the receipt's place; returns that place. The
/// stream goes by this version of the protocol.
///
/// # Errors
/// When the receipt is not the peer's, not of the version's form, not for this stream, or names
/// another chain value.
pub(super) async fn acknowledge(
    node: &SharedNode,
    (peer, protocol): (&AuthorityId, u32),
    jws: &str,
) -> Result<StreamSeq, SendError> {
    let now = node.clock.now();
    let directory = node.directory.load_full();
    let receipt: Receipt =
        jose::verify(RECEIPT_TYP, jws, |kid| directory.statement_key(peer, kid, now))?;
    if !receipt.fits(protocol) {
        return Err(SendError::ReceiptForm(protocol));
    }
    if receipt.iss != *peer || receipt.aud != node.authority {
        return Err(SendError::Misdirected);
    }
    let stream = node.store.get::<StreamsOut>(peer)?.ok_or(SendError::Misdirected)?;
    if receipt.epoch != stream.epoch || receipt.seq > stream.tail {
        return Err(SendError::Misdirected);
    }
    if receipt.seq <= stream.acked {
        return Ok(stream.acked);
    }
    let (from, jws, place) = (peer.clone(), jws.to_owned(), receipt.seq);
    let committed = node.store.commit(move |tx| enter(tx, &from, &receipt, jws)).await;
    match committed {
        Ok(refused) => {
            (0..refused).for_each(|_| telemetry::refused(&node.authority, peer, "out", "by_peer"));
            Ok(place)
        }
        Err(CommitError::Refused(Refusal::Overtaken(place))) => Ok(place),
        Err(CommitError::Refused(Refusal::Failed(error))) => Err(error),
        Err(CommitError::Store(error)) => Err(error.into()),
    }
}

/// Settles each place that the receipt covers; returns how many statements it refuses.
fn enter(
    tx: &mut Tx<'_>,
    peer: &AuthorityId,
    receipt: &Receipt,
    jws: String,
) -> Result<Committed<usize>, Refusal> {
    let stream = tx.get::<StreamsOut>(peer)?.ok_or(SendError::Misdirected)?;
    if stream.epoch != receipt.epoch {
        return Err(SendError::Misdirected.into());
    }
    if receipt.seq <= stream.acked {
        return Err(Refusal::Overtaken(stream.acked));
    }
    let refused: HashMap<_, _> =
        receipt.refused.iter().map(|r| (r.seq, shortened(&r.reason))).collect();
    let mut chain = stream.acked_chain;
    let mut events = Vec::new();
    let mut seq = stream.acked;
    while seq < receipt.seq {
        let last = (receipt.seq - seq).min(PAGE as u64) as usize;
        let page = tx.scan(Scan::<Offers>::of(peer).after(&(peer.clone(), seq)), last)?;
        if page.is_empty() {
            return Err(SendError::Forked(receipt.seq).into());
        }
        for ((_, place), offer) in page {
            let refusal = refused.get(&place).map(String::as_str);
            settle(tx, peer, (receipt.epoch, place), &offer, refusal)?;
            if let Some(reason) = refusal {
                events.push(refused_event(peer, place, &offer, reason));
            }
            tx.delete::<Offers>(&(peer.clone(), place));
            (chain, seq) = (offer.chain, place);
        }
    }
    if seq != receipt.seq || chain != receipt.chain {
        return Err(SendError::Forked(receipt.seq).into());
    }
    let event = acknowledged_event(peer, &stream, receipt, &jws);
    let held = StreamOut { acked: seq, acked_chain: chain, receipt: jws, ..stream };
    tx.put::<StreamsOut>(peer, &held);
    let refused = events.len();
    Ok(events.into_iter().fold(Committed::new(refused, event), Committed::and))
}

/// Enters in the ledger what the receipt says of one place.
fn settle(
    tx: &mut Tx<'_>,
    peer: &AuthorityId,
    place: OfferedAt,
    offer: &Offer,
    refusal: Option<&str>,
) -> Result<(), StoreError> {
    let key = (peer.clone(), offer.subject.clone());
    let mut ledger = tx.get::<Ledger>(&key)?.unwrap_or_default();
    let (overtaken, effect) = (ledger.newest_place() > place, Effect::of(&offer.offered));
    match refusal {
        Some(_) => ledger.refused(place, effect),
        None => ledger.acknowledged(place, effect),
    }
    match refusal {
        Some(reason) if !overtaken => {
            let parked = Parked {
                version: ledger.newest_version(),
                claims: effect.claims(),
                reason: reason.to_owned(),
                at: tx.now(),
                epoch: place.0,
                seq: place.1,
                retry_at: parked::retry_at(reason, tx.now()),
            };
            parked::park(tx, &key, &parked)?;
        }
        Some(_) => {}
        None => {
            parked::unpark(tx, &key)?;
            if let Subject::Notice(id) = &offer.subject {
                note_taken(tx, &(peer.clone(), id.clone()))?;
            }
        }
    }
    tx.put::<Ledger>(&key, &ledger);
    Ok(())
}

fn shortened(reason: &str) -> String {
    reason.chars().filter(|c| c.is_ascii_lowercase() || *c == '_').take(REASON_BYTES_MAX).collect()
}

fn refused_event(peer: &AuthorityId, place: StreamSeq, offer: &Offer, reason: &str) -> Event {
    kind::about(Event::new(Operation::Disclose, "disclose.refused", "node"), &offer.subject)
        .peer(peer)
        .with("seq", place)
        .with("reason", reason)
}

fn acknowledged_event(
    peer: &AuthorityId,
    stream: &StreamOut,
    receipt: &Receipt,
    jws: &str,
) -> Event {
    Event::new(Operation::Disclose, "disclose.acknowledged", "node")
        .peer(peer)
        .with("epoch", receipt.epoch)
        .with("from", stream.acked + 1)
        .with("to", receipt.seq)
        .with("receipt", Digest::of(jws.as_bytes()).to_string())
}
