//! What happens between a look and the commit that rests on it: the writer is held until both are
//! there.

use std::sync::mpsc::{SyncSender, sync_channel};

use super::link::Link;
use super::nodes::{TestNode, person};
use super::{ALL, delivered};
use crate::admin;
use crate::audit::Entry;
use crate::desk;
use crate::exchange::ReceiveError;
use crate::id::Timestamp;
use crate::store::{Committed, Expiries, Read, Scan, Store, StoreError};
use crate::trust::PeerState;

/// The writer waits from now on, until what is returned is dropped; commits queue up in their
/// order.
fn hold(store: &Store) -> SyncSender<()> {
    let (release, held) = sync_channel::<()>(0);
    let (begun, waiting) = sync_channel(1);
    let store = store.clone();
    std::thread::spawn(move || {
        let _ = store.commit_blocking(move |_| {
            begun.send(()).unwrap();
            let _ = held.recv();
            Err::<Committed<()>, _>(StoreError::Full)
        });
    });
    waiting.recv().unwrap();
    release
}

#[tokio::test]
async fn a_receipt_that_a_later_one_overtook_changes_nothing() {
    let (dk, fr, _) = delivered(ALL).await;
    let mut link = Link::open(&dk, &fr).await;
    let mut receipts = Vec::new();
    for number in [11, 12] {
        dk.create(number).await;
        let batch = link.offer().await;
        receipts.push(link.give(batch).await.unwrap());
    }
    let held = hold(&dk.node.store);
    let later = link.take(&receipts[1].0, receipts[1].1);
    let earlier = link.take(&receipts[0].0, receipts[0].1);
    let release = async { drop(held) };
    let (later, earlier, ()) = tokio::join!(later, earlier, release);
    later.unwrap();
    earlier.unwrap();
    let stream = dk.stream(&fr);
    assert_eq!((stream.acked, stream.acked_chain), (stream.tail, stream.tail_chain));
}

/// Who is trusted, and by which keys, may change while a batch is judged.
#[tokio::test]
async fn a_batch_that_was_judged_by_an_older_record_of_its_sender_is_not_kept() {
    let (dk, fr, _) = delivered(ALL).await;
    let mut link = Link::open(&dk, &fr).await;
    let id = dk.create(11).await;
    let batch = link.offer().await;
    let (one, two) = (person("administrator"), person("coordinator"));
    let before = fr.node.directory.load_full();
    let peer = &dk.node.authority;
    for (to, by) in [(PeerState::Suspended, &one), (PeerState::Active, &two)] {
        admin::change_peer(&fr.node, peer, to, "incident", by).await.unwrap();
    }
    // As if the batch had been judged before the change.
    fr.node.directory.store(before);
    let refused = link.give(batch).await;
    assert!(matches!(refused, Err(ReceiveError::Superseded)), "{:?}", refused.err());
    assert!(fr.copy(&id).is_none());
}

/// An alert that was withdrawn, or got another end, between the look and the commit did not expire.
#[tokio::test]
async fn what_did_not_expire_is_not_said_to_have() {
    let dk = TestNode::new("dk.politi", 1);
    let (kept, withdrawn) = (dk.create(7).await, dk.create(8).await);
    let past = dk.node.clock.now().plus(-60);
    let ids = [kept.clone(), withdrawn.clone()];
    let entered = dk.node.store.commit(move |tx| {
        for id in ids {
            tx.put::<Expiries>(&(past, id), &());
        }
        let event = crate::audit::Event::new(crate::audit::Operation::Key, "test", "test");
        Ok::<_, StoreError>(Committed::new((), event))
    });
    entered.await.unwrap();
    let held = hold(&dk.node.store);
    let withdrawal = dk.withdraw(&withdrawn);
    let expiry = desk::expire(&dk.node);
    let release = async { drop(held) };
    let ((), expired, ()) = tokio::join!(withdrawal, expiry, release);
    expired.unwrap();
    assert!(
        dk.node
            .store
            .scan(Scan::<Expiries>::all(), 10)
            .unwrap()
            .iter()
            .all(|(key, ())| { key.0 > Timestamp::from_seconds(past.seconds()) })
    );
    let leaves = dk.node.store.leaves(0, 1000).unwrap();
    let entries = leaves.iter().map(|(_, leaf)| Entry::parse(leaf).unwrap());
    let said: Vec<_> = entries.filter(|entry| entry.kind == "alert.expired").collect();
    assert!(said.is_empty(), "{said:?}");
}
