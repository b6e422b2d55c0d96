//! An alert is opened once for all peers, and what is held of it ends before its key does.

use super::ALL;
use super::link::Link;
use super::nodes::{TestNode, join};
use crate::audit::{Event, Operation};
use crate::holding::{erase_own, read_own};
use crate::id::AlertId;
use crate::store::{Committed, Erased, Own, Snapshot, StoreError};

/// DK and two peers, to which it sends everything.
async fn three() -> (TestNode, TestNode, TestNode) {
    let dk = TestNode::new("dk.politi", 1);
    let (fr, de) = (TestNode::new("fr.police-judiciaire", 2), TestNode::new("de.bka", 3));
    join(&dk, &fr).await;
    join(&dk, &de).await;
    dk.apply(ALL).await;
    (dk, fr, de)
}

fn held(node: &TestNode) -> usize {
    node.node.store.opened_now().0
}

#[tokio::test]
async fn an_alert_is_opened_once_for_all_peers_that_get_it() {
    let (dk, fr, de) = three().await;
    let id = dk.create(7).await;
    Link::open(&dk, &fr).await.run().await;
    assert_eq!(held(&dk), 1);
    // From here on the sealed token can't be opened: the second peer gets what the first one got.
    dk.spoil_tokens();
    Link::open(&dk, &de).await.run().await;
    let (first, second) = (fr.copy(&id).unwrap(), de.copy(&id).unwrap());
    assert_eq!((first.token, first.claims), (second.token, second.claims));
}

#[tokio::test]
async fn nothing_is_held_of_what_was_replaced_or_withdrawn() {
    let (dk, fr, de) = three().await;
    let id = dk.create(7).await;
    for change in ["update", "withdraw"] {
        Link::open(&dk, &fr).await.run().await;
        assert_eq!(held(&dk), 1, "{change}");
        match change {
            "update" => dk.update(&id, 8).await,
            _ => dk.withdraw(&id).await,
        }
        assert_eq!(held(&dk), 0, "{change}: it ended before the answer");
    }
    Link::open(&dk, &fr).await.run().await;
    Link::open(&dk, &de).await.run().await;
    assert!(fr.copy(&id).is_none() && de.copy(&id).is_none());
    assert_eq!(dk.node.store.opened_now(), (0, 0));
}

/// The key is overwritten while somebody reads the content: that reader takes nothing in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_erased_while_it_is_opened_is_not_held() {
    let (dk, _fr, _de) = three().await;
    let id = dk.create(7).await;
    let own = dk.node.store.get::<Own>(&id).unwrap().unwrap();
    let store = &dk.node.store;
    let token = store.read_blocking(|now: &Snapshot<'_>| {
        let read = now.opened(own.slot, || {
            let token = read_own(now, &id, &own).map_err(|error| error.to_string())?.token;
            erase(&dk, &id);
            let bytes = token.len();
            Ok::<_, String>((token, bytes))
        });
        Ok::<_, StoreError>(read)
    });
    assert!(!token.unwrap().unwrap().is_empty(), "it was read before");
    assert_eq!(store.opened_now(), (0, 0));
}

fn erase(node: &TestNode, id: &AlertId) {
    let id = id.clone();
    let erased = node.node.store.commit_blocking(move |tx| {
        if let Some(own) = tx.get::<Own>(&id)? {
            erase_own(tx, &id, &own, Erased::Withdrawn, None);
        }
        let event = Event::new(Operation::Erase, "test", "test");
        Ok::<_, StoreError>(Committed::new((), event))
    });
    erased.map_err(|error| error.to_string()).unwrap();
}

#[tokio::test]
async fn what_was_opened_is_forgotten_after_some_seconds() {
    let (dk, fr, _de) = three().await;
    dk.create(7).await;
    let mut link = Link::open(&dk, &fr).await;
    link.offer().await;
    assert_eq!(held(&dk), 1);
    dk.node.clock.pass(5);
    link.offer().await;
    assert_eq!(dk.node.store.opened_now(), (0, 0), "a heartbeat looks");
}
