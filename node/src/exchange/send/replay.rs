//! Makes unacknowledged offers again, byte for byte, or replaces them in their place.

use super::error::SendError;
use super::plan::retraction;
use crate::alert::ClaimSet;
use crate::audit::{Event, Operation};
use crate::exchange::batch::{Item, Statement};
use crate::holding::{HoldingError, read_own};
use crate::id::{AlertId, AuthorityId, Digest, Epoch, StreamSeq, Version};
use crate::node::{Node, SharedNode};
use crate::policy::Sharing;
use crate::store::{
    CommitError, Committed, Ledger, Offer, Offered, Offers, Own, Read, Scan, Snapshot, StreamsOut,
};

/// Most unacknowledged offers: the window of a connection is a few batches.
const OFFERS_OPEN_MAX: usize = 1024;

/// Makes the offers after `seq` again, and stores what changed in their place.
pub(super) async fn replay_after(
    node: &SharedNode,
    peer: &AuthorityId,
    (epoch, seq): (Epoch, StreamSeq),
) -> Result<Vec<Item>, SendError> {
    let (from, to) = (node.clone(), peer.clone());
    let read = node.store.read(move |held| {
        let after = Scan::<Offers>::of(&to).after(&(to.clone(), seq));
        let offers = held.scan(after, OFFERS_OPEN_MAX)?;
        offers
            .into_iter()
            .map(|((_, seq), offer)| Ok((replay(&from, held, &to, seq, &offer)?, offer)))
            .collect::<Result<Vec<_>, SendError>>()
    });
    let replayed = read.await?;
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

async fn replace(
    node: &SharedNode,
    peer: &AuthorityId,
    epoch: Epoch,
    replaced: Vec<(StreamSeq, Offer, String)>,
) -> Result<(), SendError> {
    let peer = peer.clone();
    let committed = node.store.commit(move |tx| {
        let mut events = Vec::new();
        let same_epoch = tx.get::<StreamsOut>(&peer)?.is_some_and(|s| s.epoch == epoch);
        for (seq, mut offer, text) in replaced {
            let stands = tx.get::<Offers>(&(peer.clone(), seq))?;
            if !same_epoch || stands.is_none_or(|stands| stands.digest != offer.digest) {
                // It was acknowledged meanwhile, or belongs to an epoch that has ended.
                continue;
            }
            let key = (peer.clone(), offer.alert.clone());
            let mut ledger = tx.get::<Ledger>(&key)?.unwrap_or_default();
            ledger.replaced((epoch, seq));
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
    });
    committed.await.map_err(CommitError::flatten)
}

/// An offer that is sent again, or the retraction that took its place.
struct Replayed {
    item: Item,
    /// The text now at this place, if the right to the offer has ended.
    replaced: Option<String>,
}

/// Makes the statement of an offer again, byte for byte, or a retraction in its place if the alert
/// changed meanwhile or policy no longer allows the view.
fn replay(
    node: &Node,
    held: &Snapshot<'_>,
    peer: &AuthorityId,
    seq: StreamSeq,
    offer: &Offer,
) -> Result<Replayed, SendError> {
    let digest = offer.digest;
    let same = |statement| Replayed { item: Item { seq, digest, statement }, replaced: None };
    let (version, claims) = match &offer.offered {
        Offered::Withdrawal(text) => return Ok(same(Statement::Withdrawal(text.clone()))),
        Offered::Retraction(text) => return Ok(same(Statement::Retraction(text.clone()))),
        Offered::View { version, claims } => (*version, *claims),
    };
    if let Some(text) = still_allowed(node, held, peer, &offer.alert, version, claims)?
        && Digest::of(text.as_bytes()) == digest
    {
        return Ok(same(Statement::Alert(text)));
    }
    let text = retraction(node, peer, &offer.alert, Some(digest))?;
    let statement = Statement::Retraction(text.clone());
    Ok(Replayed { item: Item { seq, digest, statement }, replaced: Some(text) })
}

fn still_allowed(
    node: &Node,
    held: &Snapshot<'_>,
    peer: &AuthorityId,
    alert: &AlertId,
    version: Version,
    claims: ClaimSet,
) -> Result<Option<String>, SendError> {
    let now = node.clock.now();
    let own = held.get::<Own>(alert)?;
    let own = own.filter(|own| own.version == version && own.expires_at > now);
    let Some(own) = own else { return Ok(None) };
    let view = read_own(held, alert, &own)?;
    let decision = node.policy.load().1.decide(peer, &view.facts(), now);
    match decision.sharing {
        Sharing::View(allowed) if claims.is_subset(allowed) => {
            let text = view.disclose(claims);
            Ok(Some(text.map_err(|error| HoldingError::Alert(alert.clone(), error))?))
        }
        _ => Ok(None),
    }
}
