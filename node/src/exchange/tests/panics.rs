//! What breaks off by a fault of this node is called so, and ends nothing else.

use super::ALL;
use super::link::{Cut, Link};
use super::nodes::{TestNode, join};
use crate::exchange::ReceiveError;
use crate::telemetry;
use crate::worker::planted::panic_in;

/// What the metrics say of a task of a node.
fn counted(node: &TestNode, task: &str) -> bool {
    let authority = &node.node.authority;
    let line = format!("entente_panics_total{{authority=\"{authority}\",task=\"{task}\"}} 1");
    telemetry::recorder().render().lines().any(|counted| counted == line)
}

async fn pair(from: &str, to: &str) -> (TestNode, TestNode) {
    let _ = telemetry::recorder();
    let (from, to) = (TestNode::new(from, 1), TestNode::new(to, 2));
    join(&from, &to).await;
    from.apply(ALL).await;
    (from, to)
}

#[tokio::test]
async fn a_planner_that_panics_is_a_fault_of_this_node_and_counted() {
    let (dk, fr) = pair("dk.plan", "fr.plan").await;
    let id = dk.create(7).await;
    let link = Link::open(&dk, &fr).await;
    panic_in(&dk.node.authority, "read");
    let error = link.sending().next(&dk.node, true).await.err().expect("it broke off");
    assert_eq!((error.reason(), error.waits_for_people()), ("node_fault", false));
    assert!(counted(&dk, "read"));
    Link::open(&dk, &fr).await.run().await;
    assert!(fr.copy(&id).is_some(), "the next stream delivers it");
}

#[tokio::test]
async fn a_replay_that_panics_is_a_fault_of_this_node_and_counted() {
    let (dk, fr) = pair("dk.replay", "fr.replay").await;
    let id = dk.create(7).await;
    Link::open(&dk, &fr).await.cut(Cut::Sending).await;
    panic_in(&dk.node.authority, "read");
    let error = Link::try_open(&dk, &fr).await.err().expect("it broke off");
    assert_eq!(error.reason(), "node_fault", "{error}");
    assert!(counted(&dk, "read"));
    Link::open(&dk, &fr).await.run().await;
    assert!(fr.copy(&id).is_some(), "the next stream delivers it");
}

#[tokio::test]
async fn a_judge_that_panics_is_a_fault_of_this_node_and_counted() {
    let (dk, fr) = pair("dk.judge", "fr.judge").await;
    let id = dk.create(7).await;
    panic_in(&fr.node.authority, "judge");
    let mut link = Link::open(&dk, &fr).await;
    let batch = link.offer().await;
    let error = link.give(batch).await.expect_err("it broke off");
    assert!(matches!(error, ReceiveError::Panicked(_)), "{error}");
    assert!(!error.to_string().contains(&id.to_string()), "{error}");
    assert!(counted(&fr, "judge") && fr.copy(&id).is_none());
    Link::open(&dk, &fr).await.run().await;
    assert!(fr.copy(&id).is_some(), "the next stream delivers it");
}
