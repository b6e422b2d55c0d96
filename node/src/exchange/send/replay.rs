//! Makes unacknowledged offers again, byte for byte, or replaces them in their place.

use super::error::SendError;
use super::opened::Opened;
use super::plan::{retraction, signed};
use crate::alert::ClaimSet;
use crate::audit::{Event, Operation};
use crate::exchange::batch::{Item, Statement};
use crate::exchange::kind::{Kind, Leaves, about};
use crate::id::{AlertId, AuthorityId, Digest, Epoch, StreamSeq, Version};
use crate::node::{Node, SharedNode};
use crate::policy::Sharing;
use crate::store::{
    CommitError, Committed, Ledger, Offer, Offered, Offers, Own, Read, Scan, Snapshot, StreamsOut,
    Subject,
};

/// Most unacknowledged offers: the window of a connection is a few batches.
const OFFERS_OPEN_MAX: usize = 1024;

/// Makes the offers after `seq` again, and stores what changed in their place. `None` when one of
/// the places can't be filled any more: the epoch can't go on.
pub(super) async fn replay_after(
    node: &SharedNode,
    peer: &AuthorityId,
    (epoch, seq): (Epoch, StreamSeq),
    protocol: u32,
) -> Result<Option<Vec<Item>>, SendError> {
    let (from, to) = (node.clone(), peer.clone());
    let read = node.store.read(move |held| {
        let after = Scan::<Offers>::of(&to).after(&(to.clone(), seq));
        let offers = held.scan(after, OFFERS_OPEN_MAX)?;
        offers
            .into_iter()
            .map(|((_, seq), offer)| Ok((replay(&from, held, &to, seq, &offer, protocol)?, offer)))
            .collect::<Result<Vec<_>, SendError>>()
    });
    let replayed = read.await?;
    let mut replaced = Vec::new();
    let mut items = Vec::with_capacity(replayed.len());
    for (replay, offer) in replayed {
        let Some(replay) = replay else { return Ok(None) };
        if let Some(text) = replay.replaced {
            replaced.push((replay.item.seq, offer, text));
        }
        items.push(replay.item);
    }
    if !replaced.is_empty() {
        replace(node, peer, epoch, replaced).await?;
    }
    Ok(Some(items))
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
            let key = (peer.clone(), offer.subject.clone());
            let mut ledger = tx.get::<Ledger>(&key)?.unwrap_or_default();
            ledger.replaced((epoch, seq));
            tx.put::<Ledger>(&key, &ledger);
            offer.offered = Offered::Retraction(text);
            events.push(
                about(Event::new(Operation::Erase, "disclose.replaced", "node"), &offer.subject)
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
/// changed meanwhile or policy no longer allows the view. `None` when nothing may stand at the
/// place: what was addressed to the peer is erased, or the peer no longer knows its kind.
fn replay(
    node: &Node,
    held: &Snapshot<'_>,
    peer: &AuthorityId,
    seq: StreamSeq,
    offer: &Offer,
    protocol: u32,
) -> Result<Option<Replayed>, SendError> {
    let digest = offer.digest;
    let replayed = |kind, text: String| Replayed {
        item: Item { seq, digest, statement: Statement::new(kind, text) },
        replaced: None,
    };
    let kind = Kind::of(&offer.offered);
    let text = match (&offer.subject, &offer.offered) {
        (_, Offered::Withdrawal(text) | Offered::Retraction(text)) => Some(text.clone()),
        (Subject::Alert(alert), Offered::View { version, claims }) => {
            still_allowed(node, held, peer, alert, *version, *claims)?
        }
        (Subject::Notice(id) | Subject::Acknowledgement(id), offered) => {
            signed(held, &(peer.clone(), id.clone()), offered)?
        }
        (Subject::Alert(_), Offered::Notice | Offered::Acknowledgement) => None,
    };
    // A retraction that stands in for an offer has another digest than the place.
    let erases = kind.rules().leaves == Leaves::Nothing;
    let stands = |text: &String| erases || Digest::of(text.as_bytes()) == digest;
    if let Some(text) = text.filter(stands) {
        let spoken = kind.rules().protocol <= protocol;
        return Ok(spoken.then(|| replayed(kind, text)));
    }
    let Some(alert) = offer.subject.alert().filter(|_| kind.rules().under_policy) else {
        return Ok(None);
    };
    let text = retraction(node, peer, alert, Some(digest))?;
    let replaced = Some(text.clone());
    Ok(Some(Replayed { replaced, ..replayed(Kind::Retraction, text) }))
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
    let opened = Opened::read(held, alert, &own)?;
    let decision = node.policy.load().1.decide(peer, &opened.facts, now);
    match decision.sharing {
        Sharing::View(allowed) if claims.is_subset(allowed) => {
            Ok(Some(opened.disclose(claims)?.text.as_ref().to_owned()))
        }
        _ => Ok(None),
    }
}
