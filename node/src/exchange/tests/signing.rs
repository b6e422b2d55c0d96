//! A key that does not sign for a while, as one in a module of its own may: nothing is lost, and
//! nothing is said that is not so.

use std::sync::Arc;

use super::link::Link;
use super::nodes::{TestNode, draft, person};
use super::{ALL, NOTHING, delivered};
use crate::jose::SigningKey;
use crate::reason::Reason;
use crate::store::Own;
use crate::{admin, desk};

/// The node with other keys than it has.
fn with_keys(node: &mut TestNode, change: impl Fn(&SigningKey) -> SigningKey) {
    let node = Arc::get_mut(&mut node.node).expect("nobody else has it");
    node.statement_key = change(&node.statement_key);
    node.log_key = change(&node.log_key);
}

fn again(key: &SigningKey) -> SigningKey {
    SigningKey::from_seed(key.seed())
}

#[tokio::test]
async fn what_cannot_be_signed_is_refused_and_nothing_is_written() {
    let (mut dk, _fr, id) = delivered(ALL).await;
    with_keys(&mut dk, SigningKey::out_of_reach);
    let (node, officer) = (&dk.node, person("officer"));
    let before = node.store.log();
    let refused = [
        desk::create(node, &draft(8), "another one", &officer).await.unwrap_err(),
        desk::update(node, &id, 0, &draft(8), "another one", &officer).await.unwrap_err(),
        desk::withdraw(node, &id, "found", &officer).await.unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.reason(), Reason::SigningFailed, "{error}");
    }
    let refused = admin::checkpoint(node).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::SigningFailed);
    assert_eq!(node.store.log(), before);
    assert!(node.store.get::<Own>(&id).unwrap().is_some(), "it is still in force");
}

#[tokio::test]
async fn a_stream_goes_on_once_the_keys_of_both_ends_sign_again() {
    let (mut dk, mut fr, id) = delivered(ALL).await;
    let later = dk.create(8).await;
    with_keys(&mut fr, SigningKey::out_of_reach);
    let mut link = Link::open(&dk, &fr).await;
    let batch = link.offer().await;
    assert!(link.give(batch).await.is_err(), "no receipt without a signature");
    drop(link);
    assert!(fr.copy(&later).is_some(), "what was committed before it stays");
    with_keys(&mut fr, again);
    dk.apply(NOTHING).await;
    with_keys(&mut dk, SigningKey::out_of_reach);
    assert_eq!(Link::refused(&dk, &fr).await.reason(), "signing_failed");
    with_keys(&mut dk, again);
    Link::open(&dk, &fr).await.run().await;
    assert!(fr.copy(&id).is_none() && fr.copy(&later).is_none(), "the retractions arrived");
}
