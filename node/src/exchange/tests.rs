//! Two nodes joined without a network: every step of a stream by hand, so that it can be cut anywhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod link;
mod nodes;

use link::{Cut, Link};
use nodes::{TestNode, join};

use crate::id::AlertId;
use crate::store::{Erased, Ledger, StreamsOut};

const ALL: &str = "[[rule]]\nname = 'all'\npeers = ['*']\nlevel = 'view'\nclaims = ['*']\n";
const LITTLE: &str =
    "[[rule]]\nname = 'little'\npeers = ['*']\nlevel = 'view'\nclaims = ['subjects.birth_year']\n";
const NOTHING: &str = "";

/// DK, FR and the alert that DK issued under `policy`; FR has received it.
async fn delivered(policy: &str) -> (TestNode, TestNode, AlertId) {
    let (dk, fr) = (TestNode::new("dk.politi", 1), TestNode::new("fr.police-judiciaire", 2));
    join(&dk, &fr).await;
    dk.apply(policy).await;
    let id = dk.create(7).await;
    Link::open(&dk, &fr).await.run().await;
    (dk, fr, id)
}

#[tokio::test]
async fn an_alert_arrives_with_the_claims_that_policy_names() {
    for (policy, name_held) in [(ALL, true), (LITTLE, false)] {
        let (_dk, fr, id) = delivered(policy).await;
        let view = fr.copy(&id).expect("the view arrived");
        assert_eq!(view.claims.names().contains(&"subjects.names"), name_held, "{policy}");
        assert!(view.claims.names().contains(&"category"));
    }
    let (_dk, fr, id) = delivered(NOTHING).await;
    assert!(fr.copy(&id).is_none());
}

#[tokio::test]
async fn an_update_replaces_the_version_held() {
    let (dk, fr, id) = delivered(ALL).await;
    dk.update(&id, 8).await;
    Link::open(&dk, &fr).await.run().await;
    assert_eq!(fr.copy(&id).unwrap().head.version, 2);
}

#[tokio::test]
async fn a_narrower_policy_takes_back_what_it_withholds() {
    let (dk, fr, id) = delivered(ALL).await;
    dk.apply(LITTLE).await;
    Link::open(&dk, &fr).await.run().await;
    assert!(!fr.copy(&id).unwrap().claims.names().contains(&"subjects.names"));
    dk.apply(NOTHING).await;
    Link::open(&dk, &fr).await.run().await;
    assert!(fr.copy(&id).is_none());
    assert_eq!(fr.tombstone(&id).unwrap().erased, Erased::Retracted);
    assert!(dk.ledger(&fr, &id).erased);
    dk.apply(ALL).await;
    Link::open(&dk, &fr).await.run().await;
    assert!(fr.copy(&id).is_some(), "a retraction is not for ever");
}

#[tokio::test]
async fn a_withdrawal_is_for_ever() {
    let (dk, fr, id) = delivered(ALL).await;
    dk.withdraw(&id).await;
    Link::open(&dk, &fr).await.run().await;
    assert!(fr.copy(&id).is_none());
    assert_eq!(fr.tombstone(&id).unwrap().erased, Erased::Withdrawn);
    assert!(dk.ledger(&fr, &id).erased);
}

/// Wherever a stream is cut, going on delivers everything once and the two ends agree.
#[tokio::test]
async fn a_cut_stream_goes_on_where_it_was() {
    for cut in [Cut::Sending, Cut::Commit, Cut::Receipt] {
        let (dk, fr, first) = delivered(ALL).await;
        let second = dk.create(9).await;
        Link::open(&dk, &fr).await.cut(cut).await;
        Link::open(&dk, &fr).await.run().await;
        for id in [&first, &second] {
            assert!(fr.copy(id).is_some(), "{cut:?}");
            let ledger = dk.ledger(&fr, id);
            assert!(ledger.held.is_some() && ledger.possible.is_empty(), "{cut:?}");
        }
        let stream = dk.node.store.get::<StreamsOut>(&fr.node.authority).unwrap().unwrap();
        assert_eq!((stream.acked, stream.tail, stream.epoch), (2, 2, 1), "{cut:?}");
    }
}

#[tokio::test]
async fn an_offer_whose_right_ended_is_replaced_in_its_place() {
    for cut in [Cut::Sending, Cut::Commit, Cut::Receipt] {
        let (dk, fr, _) = delivered(ALL).await;
        let id = dk.create(9).await;
        Link::open(&dk, &fr).await.cut(cut).await;
        dk.apply(NOTHING).await;
        Link::open(&dk, &fr).await.run().await;
        assert!(fr.copy(&id).is_none(), "{cut:?}");
        assert!(dk.ledger(&fr, &id).erased, "{cut:?}");
    }
}

#[tokio::test]
async fn an_offer_decided_under_an_older_policy_is_refused_by_the_writer() {
    let (dk, fr, _) = delivered(ALL).await;
    let id = dk.create(9).await;
    dk.apply_without_refresh(NOTHING).await;
    Link::open(&dk, &fr).await.run().await;
    assert!(fr.copy(&id).is_none());
    let key = (fr.node.authority.clone(), id);
    assert!(dk.node.store.get::<Ledger>(&key).unwrap().is_none(), "nothing was ever offered");
}

#[tokio::test]
async fn a_receiver_restored_from_a_backup_gets_the_present_view_whole() {
    let (dk, mut fr, kept) = delivered(ALL).await;
    let backup = fr.backup();
    let withdrawn = kept;
    let later = dk.create(9).await;
    dk.withdraw(&withdrawn).await;
    Link::open(&dk, &fr).await.run().await;
    fr.restore(&backup);
    assert!(fr.copy(&withdrawn).is_some(), "the backup holds what was withdrawn since");
    Link::open(&dk, &fr).await.run().await;
    assert!(fr.copy(&withdrawn).is_none());
    assert!(fr.copy(&later).is_some());
    let stream = dk.node.store.get::<StreamsOut>(&fr.node.authority).unwrap().unwrap();
    assert!(stream.epoch > 1 && stream.acked == stream.tail);
}

#[tokio::test]
async fn a_sender_restored_from_a_backup_stops_issuing() {
    let (mut dk, fr, _) = delivered(ALL).await;
    let backup = dk.backup();
    dk.create(9).await;
    Link::open(&dk, &fr).await.run().await;
    dk.restore(&backup);
    let error = Link::try_open(&dk, &fr).await.err().expect("the stream stops");
    assert!(matches!(error, super::ResumeError::LostState(_)), "{error}");
    assert!(super::lost_state(&dk.node).unwrap());
}

#[tokio::test]
async fn copies_are_confirmed_by_heads_and_the_lease_runs_out() {
    let (_dk, fr, id) = delivered(ALL).await;
    let issuer = id.authority();
    assert!(super::lease(&fr.node, issuer).0);
    let now = fr.node.clock.now();
    fr.node.clock.set(now.plus(fr.node.copy_lease_s + 1));
    assert!(!super::lease(&fr.node, issuer).0);
    fr.node.clock.set(now.plus(-10));
    assert!(!super::lease(&fr.node, issuer).0, "a clock set back confirms nothing");
}
