//! What a hostile peer tries on a node that lost state.

use super::link::Link;
use super::nodes::{TestNode, join, person};
use super::{ALL, delivered};
use crate::admin::{self, Shown};
use crate::alert::{self, ClaimSet};
use crate::audit::{Restore, sign_restore};
use crate::exchange::ledger::POSSIBLE_MAX;
use crate::exchange::{self, RecoveryCursor, Standing};
use crate::holding::read_copy;
use crate::id::Digest;
use crate::jose::SigningKey;
use crate::node::{ClockWatch, clock_doubt, look_at_clock};
use crate::store::{Committed, Copies, Own, Restores, StoreError};

const DAY_S: i64 = 86_400;

fn restore_of(node: &TestNode, key: &SigningKey, sizes: (u64, u64, u64)) -> String {
    let (kept, old_size, new_size) = sizes;
    let (old_root, new_root) = (Digest::of(b"old"), Digest::of(&new_size.to_be_bytes()));
    let (iss, iat) = (node.node.authority.clone(), node.node.clock.now().seconds());
    sign_restore(&Restore { iss, iat, kept, old_size, old_root, new_size, new_root }, key).unwrap()
}

/// Two people confirm, and the peer says that it holds nothing more.
async fn confirm(node: &TestNode, peer: &TestNode) {
    let review = admin::review_epoch(&node.node).await.unwrap();
    let shown = Shown { review: review.name.clone(), again: review.again() };
    let (one, two) = (person("administrator"), person("coordinator"));
    let number = admin::propose_epoch(&node.node, "restored", &shown, &one).await.unwrap();
    admin::approve_epoch(&node.node, number, &shown, &two).await.unwrap();
    exchange::asked(&node.node, &peer.node.authority, 0).await.unwrap();
}

/// A log that grows lets nobody approve what was reviewed: no peer may make it grow in the stop.
#[tokio::test]
async fn a_peer_cannot_keep_a_node_in_the_stop_by_making_its_log_longer() {
    let mut dk = TestNode::new("dk.politi", 1);
    let fr = TestNode::new("fr.police-judiciaire", 2);
    join(&dk, &fr).await;
    dk.apply(ALL).await;
    let backup = dk.backup();
    dk.create(7).await;
    Link::open(&dk, &fr).await.run().await;
    Link::open(&fr, &dk).await.run().await;
    dk.restore(&backup);
    assert!(Link::try_open(&dk, &fr).await.is_err() && exchange::lost_state(&dk.node).unwrap());
    let size = dk.node.store.log().size();
    for round in 0..20 {
        let restores = (0..16).map(|n| restore_of(&fr, &fr.node.log_key, (0, 9, round * 16 + n)));
        let held = exchange::standing_of_log(&fr.node).unwrap();
        let standing = Standing { restores: restores.collect(), stopped: round % 2 == 0, ..held };
        exchange::hello(&dk.node, &fr.node.authority, &standing).await.unwrap();
    }
    assert_eq!(dk.node.store.log().size(), size);
    confirm(&dk, &fr).await;
    Link::open(&dk, &fr).await.run().await;
}

/// The log that is gone had begun an epoch by a later clock than the one that the two approved by.
#[tokio::test]
async fn an_epoch_that_was_given_up_stops_no_node_again() {
    let (mut dk, mut fr, _) = delivered(ALL).await;
    let backup = dk.backup();
    let old = fr.backup();
    dk.create(8).await;
    Link::open(&dk, &fr).await.run().await;
    dk.node.clock.pass(5 * DAY_S);
    fr.node.clock.pass(5 * DAY_S);
    fr.restore(&old);
    Link::open(&dk, &fr).await.run().await;
    let given_up = dk.stream(&fr).epoch;
    dk.restore(&backup);
    dk.node.clock.pass(-5 * DAY_S);
    assert!(Link::try_open(&dk, &fr).await.is_err() && exchange::lost_state(&dk.node).unwrap());
    confirm(&dk, &fr).await;
    assert!(dk.stream(&fr).epoch < given_up, "the clock was behind");
    Link::open(&dk, &fr).await.run().await;
    assert!(!exchange::lost_state(&dk.node).unwrap());
    assert!(dk.stream(&fr).epoch > given_up);
}

/// The key of an old restore may have left the descriptor: what it explained stays explained.
#[tokio::test]
async fn a_restore_counts_after_its_key_has_gone() {
    let (mut dk, fr, _) = delivered(ALL).await;
    let backup = dk.backup();
    dk.create(8).await;
    Link::open(&dk, &fr).await.run().await;
    dk.restore(&backup);
    let jws = restore_of(&dk, &SigningKey::generate(&dk.node.entropy), (1, 1000, 40));
    let me = dk.node.authority.clone();
    let kept = dk.node.store.commit(move |tx| {
        tx.put::<Restores>(&(me, 40), &jws);
        let event = crate::audit::Event::new(crate::audit::Operation::Key, "test", "node");
        Ok::<_, StoreError>(Committed::new((), event))
    });
    kept.await.unwrap();
    let _ = Link::try_open(&dk, &fr).await;
    assert!(!exchange::lost_state(&dk.node).unwrap());
}

/// A backup that is older than two days leaves the clock in doubt, behind what was signed since:
/// that stands all the same.
#[tokio::test]
async fn what_was_signed_after_an_old_backup_is_recovered_while_the_clock_is_in_doubt() {
    let (mut dk, fr, withdrawn) = delivered(ALL).await;
    look_at_clock(&dk.node, &mut ClockWatch::default()).await.unwrap();
    let backup = dk.backup();
    dk.node.clock.pass(3 * DAY_S);
    fr.node.clock.pass(3 * DAY_S);
    dk.withdraw(&withdrawn).await;
    let later = dk.create(8).await;
    Link::open(&dk, &fr).await.run().await;
    dk.restore(&backup);
    assert!(clock_doubt(&dk.node).is_some() && dk.tombstone(&withdrawn).is_none());
    let mut next = Some(RecoveryCursor::Alerts(None));
    while let Some(after) = next {
        let me = &dk.node.authority;
        let (statements, more) = exchange::statements_of(&fr.node, me, &after, 1).unwrap();
        for statement in statements {
            let kept = exchange::keep_recovered(&dk.node, &fr.node.authority, &statement).await;
            assert!(kept.unwrap());
        }
        next = more;
    }
    assert!(dk.tombstone(&withdrawn).is_some(), "it stays withdrawn");
    assert!(dk.node.store.get::<Own>(&later).unwrap().is_some());
}

/// Every subset of what a peer was given verifies: the ledger keeps few, and forgets nothing that
/// they disclose.
#[tokio::test]
async fn parts_of_an_alert_that_are_handed_back_one_by_one_fill_no_record() {
    let (mut dk, fr, _) = delivered(ALL).await;
    let backup = dk.backup();
    let id = dk.create(8).await;
    Link::open(&dk, &fr).await.run().await;
    dk.restore(&backup);
    let copy = fr.node.store.get::<Copies>(&id).unwrap().unwrap();
    let view = fr.node.store.read_blocking(|now| read_copy(now, &id, &copy)).unwrap();
    let names = view.claims.names();
    let mut all = ClaimSet::core().intersection(view.claims);
    for number in 1..200_usize {
        let bits = |place: &usize| number >> place & 1 == 1;
        let some = (0..8).filter(bits).filter_map(|place| names.get(names.len() - 1 - place));
        let some = some.fold(ClaimSet::core(), |set, name| {
            set.union(ClaimSet::parse(name).unwrap()).intersection(view.claims)
        });
        all = all.union(some);
        let statement = view.disclose(some).unwrap();
        let peer = &fr.node.authority;
        exchange::keep_recovered(&dk.node, peer, &statement).await.unwrap();
    }
    let possible = dk.ledger(&fr, &id).possible;
    assert!(possible.len() <= POSSIBLE_MAX, "{} entries", possible.len());
    let joined = possible.iter().fold(ClaimSet::EMPTY, |set, d| set.union(d.claims));
    assert!(all.is_subset(joined));
    assert!(alert::read(&view.token).is_ok());
}
