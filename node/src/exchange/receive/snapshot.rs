//! The end of a snapshot: drops copies that their issuer did not confirm.

use super::error::ReceiveError;
use crate::audit::{Event, Operation};
use crate::holding::erase_copy;
use crate::id::{AlertId, AuthorityId, Epoch};
use crate::node::SharedNode;
use crate::store::{CommitError, Committed, Copies, Erased, PAGE, Scan, StreamIn, StreamsIn};

/// Completes the issuer's snapshot: drops copies that it did not confirm in this epoch, a page at a
/// time, and finally marks the stream as complete.
pub(super) async fn complete_snapshot(
    node: &SharedNode,
    peer: &AuthorityId,
    epoch: Epoch,
) -> Result<(), ReceiveError> {
    let mut pages = Scan::<Copies>::of(peer).pages(PAGE);
    while let Some(page) = pages.next(&node.store)? {
        let stale = page.into_iter().filter(|(_, copy)| copy.epoch < epoch);
        let stale: Vec<_> = stale.map(|(id, _)| id).collect();
        if !stale.is_empty() {
            drop_copies(node, peer, stale, (epoch, false)).await?;
        }
    }
    drop_copies(node, peer, vec![], (epoch, true)).await
}

async fn drop_copies(
    node: &SharedNode,
    peer: &AuthorityId,
    stale: Vec<AlertId>,
    (epoch, completes): (Epoch, bool),
) -> Result<(), ReceiveError> {
    let peer = peer.clone();
    let committed = node.store.commit(move |tx| {
        let mut events = Vec::new();
        let stream = tx.get::<StreamsIn>(&peer)?.filter(|stream| stream.epoch == epoch);
        for id in stale {
            let held = tx.get::<Copies>(&id)?.filter(|copy| copy.epoch < epoch);
            let Some(copy) = held.filter(|_| stream.is_some()) else { continue };
            erase_copy(tx, &id, Erased::Dropped, copy.version, None)?;
            let event = Event::new(Operation::Erase, "alert.dropped", "node");
            events.push(event.peer(&peer).alert(&id));
        }
        if let Some(stream) = stream.filter(|_| completes) {
            tx.put::<StreamsIn>(&peer, &StreamIn { snapshot: false, ..stream });
        }
        let first = Event::new(Operation::Collect, "exchange.snapshot", "node")
            .peer(&peer)
            .with("complete", completes);
        Ok(events.into_iter().fold(Committed::new((), first), Committed::and))
    });
    committed.await.map_err(CommitError::flatten)
}
