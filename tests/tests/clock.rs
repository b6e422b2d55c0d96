//! Clocks that leap, at running nodes and across a start: nothing is erased on the word of one
//! clock.

use entente_node::desk::{self, DeskError};
use entente_node::id::AlertId;
use entente_node::node::clock_doubt;
use entente_node::reason::Reason;
use entente_node::sample::Samples;
use entente_node::store::ParkedOut;
use entente_proto::admin::ConfirmClockRequest;
use entente_proto::admin::admin_client::AdminClient;
use entente_proto::desk::StatusRequest;
use entente_proto::desk::desk_client::DeskClient;
use entente_tests::federation::{ALL, Federation, TestNode, until};
use serde_json::Value;
use tonic_types::StatusExt;

const DAY_S: i64 = 86_400;

async fn pair() -> anyhow::Result<Federation> {
    let federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    federation.nodes[0].apply(ALL).await?;
    federation.settle().await?;
    Ok(federation)
}

fn draft(seed: u64) -> Value {
    Samples::new(seed).next().expect("a sample")
}

/// An alert that ends so much later than the node's time.
async fn ending(node: &TestNode, seed: u64, seconds: i64) -> anyhow::Result<AlertId> {
    let mut draft = draft(seed);
    draft["expires_at"] = node.node().clock.now().plus(seconds).to_string().into();
    node.create(&draft).await
}

async fn trusted(node: &TestNode) -> anyhow::Result<()> {
    until("the clock to be believed", || Ok(clock_doubt(node.node()).is_none().then_some(()))).await
}

fn in_doubt(expired: Result<usize, DeskError>) -> bool {
    expired.is_err_and(|error| error.reason() == Reason::ClockInDoubt)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_two_days_ahead_for_a_while_erases_no_copy() -> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let id = ending(dk, 1, DAY_S).await?;
    federation.settle().await?;
    fr.clock.shift(2 * DAY_S);
    assert!(in_doubt(desk::expire(fr.node()).await));
    // Its peer's heads, by which that time is wrong, come every second.
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert!(in_doubt(desk::expire(fr.node()).await));
    let doubt = clock_doubt(fr.node()).expect("in doubt");
    assert_eq!(doubt.differ, std::slice::from_ref(&dk.authority));
    let mut desk = DeskClient::new(fr.desk("officer").await?);
    let clock = desk.status(StatusRequest {}).await?.into_inner().clock.expect("a clock");
    assert!(clock.shown - clock.believed > DAY_S, "{clock:?}");
    assert!(clock.doubt.contains("nothing is erased until"), "{clock:?}");
    // What comes meanwhile is taken, though it has ended by that clock.
    let other = ending(dk, 2, DAY_S).await?;
    until("the other", || Ok(fr.holds(&other)?.then_some(()))).await?;
    fr.clock.shift(0);
    assert_eq!(desk::expire(fr.node()).await?, 0);
    assert!(fr.holds(&id)? && fr.holds(&other)?);
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_a_month_ahead_for_a_while_issues_and_erases_as_before()
-> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let id = ending(dk, 1, DAY_S).await?;
    federation.settle().await?;
    dk.clock.shift(29 * DAY_S);
    let other = dk.create(&draft(2)).await?;
    federation.settle().await?;
    assert!(in_doubt(desk::expire(dk.node()).await));
    assert!(fr.holds(&id)? && fr.holds(&other)?, "dated by the time before the leap");
    dk.clock.shift(0);
    assert_eq!(desk::expire(dk.node()).await?, 0);
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_far_from_the_last_time_noted_waits_for_a_peer() -> anyhow::Result<()> {
    let mut federation = pair().await?;
    let id = ending(&federation.nodes[0], 1, DAY_S).await?;
    federation.settle().await?;
    // Its clock is wrong: the peer says so, and nothing is issued with the date of a time long
    // gone.
    federation.nodes[1].stop().await?;
    federation.nodes[1].clock.shift(3 * DAY_S);
    federation.nodes[1].start().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    until("the peer's word", || {
        let doubt = clock_doubt(fr.node()).expect("in doubt");
        Ok((!doubt.differ.is_empty()).then_some(()))
    })
    .await?;
    assert!(in_doubt(desk::expire(fr.node()).await));
    let refused = fr.create(&draft(7)).await.expect_err("no date to give").to_string();
    assert!(refused.contains("entente clock confirm"), "{refused}");
    let mut admin = AdminClient::new(fr.desk("administrator").await?);
    let read = dk.node().clock.now().seconds();
    let wrong = admin.confirm_clock(ConfirmClockRequest { read }).await.expect_err("another time");
    let reason = wrong.get_details_error_info().map(|info| info.reason);
    assert_eq!(reason.as_deref(), Some("clock_differs"), "{wrong:?}");
    fr.clock.shift(0);
    trusted(fr).await?;
    fr.create(&draft(7)).await?;
    assert!(fr.holds(&id)?);
    // Both were off for three days: each believes the other.
    for node in &mut federation.nodes {
        node.stop().await?;
        node.clock.pass(3 * DAY_S);
    }
    for node in &mut federation.nodes {
        node.start().await?;
        assert!(clock_doubt(node.node()).is_some());
    }
    for node in &federation.nodes {
        trusted(node).await?;
        desk::expire(node.node()).await?;
        assert!(!node.holds(&id)?, "what has ended is erased");
        node.create(&draft(8)).await?;
    }
    federation.stop().await
}

/// What came while a node was off is taken though it does not know yet for how long that was, with
/// a right clock and with a wrong one.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_off_for_days_refuses_nothing_for_its_date() -> anyhow::Result<()> {
    let mut federation = pair().await?;
    for (seed, off, wrong) in [(1, 3 * DAY_S, 0), (2, DAY_S, 5 * DAY_S), (3, DAY_S, -2 * DAY_S)] {
        tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
        federation.nodes[1].stop().await?;
        for node in &federation.nodes {
            node.clock.pass(off);
        }
        federation.nodes[1].clock.shift(wrong);
        let id = federation.nodes[0].create(&draft(seed)).await?;
        federation.nodes[1].start().await?;
        let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
        until("the alert", || Ok(fr.holds(&id)?.then_some(()))).await?;
        let parked =
            dk.node().store.get::<ParkedOut>(&(fr.authority.clone(), id.clone().into()))?;
        assert!(parked.is_none(), "{parked:?}", parked = parked.map(|parked| parked.reason));
        assert_eq!(clock_doubt(fr.node()).is_some(), wrong != 0);
        fr.clock.shift(0);
        trusted(fr).await?;
    }
    federation.stop().await
}

/// Alone, after a week: only a person can say what time it is.
#[tokio::test(flavor = "multi_thread")]
async fn without_peers_a_person_confirms_the_time() -> anyhow::Result<()> {
    let mut federation = Federation::start(&["dk.politi"]).await?;
    let dk = &mut federation.nodes[0];
    until("the time to be noted", || Ok((dk.node().store.log().size() > 3).then_some(()))).await?;
    ending(dk, 1, DAY_S).await?;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    dk.stop().await?;
    dk.clock.pass(7 * DAY_S);
    dk.start().await?;
    assert!(in_doubt(desk::expire(dk.node()).await));
    let mut admin = AdminClient::new(dk.desk("administrator").await?);
    let read = dk.node().clock.shown().seconds() - 100;
    let confirmed = admin.confirm_clock(ConfirmClockRequest { read }).await?.into_inner();
    assert!(confirmed.confirmed, "{confirmed:?}");
    assert_eq!(desk::expire(dk.node()).await?, 1);
    let mut desk = DeskClient::new(dk.desk("officer").await?);
    let status = desk.status(StatusRequest {}).await?.into_inner();
    assert_eq!((status.own_alerts, status.clock.expect("a clock").doubt.as_str()), (0, ""));
    federation.stop().await
}

/// Ahead by a time that the node may have been off: peers refuse what it issues, and get it as soon
/// as the clock is right.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_issued_by_a_clock_that_was_ahead_arrives_once_it_is_right() -> anyhow::Result<()>
{
    let mut federation = pair().await?;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    federation.nodes[0].stop().await?;
    federation.nodes[0].clock.shift(DAY_S);
    federation.nodes[0].start().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let id = dk.create(&draft(1)).await?;
    let key = (fr.authority.clone(), id.clone().into());
    let parked = until("the refusal", || Ok(dk.node().store.get::<ParkedOut>(&key)?)).await?;
    assert_eq!(parked.reason, "future_iat");
    dk.clock.shift(0);
    until("the alert", || Ok(fr.holds(&id)?.then_some(()))).await?;
    assert!(dk.node().store.get::<ParkedOut>(&key)?.is_none());
    // By a few minutes, without a leap: the same.
    dk.clock.shift(500);
    let id = dk.create(&draft(2)).await?;
    let key = (fr.authority.clone(), id.clone().into());
    until("the refusal", || Ok(dk.node().store.get::<ParkedOut>(&key)?)).await?;
    dk.clock.shift(0);
    until("the alert", || Ok(fr.holds(&id)?.then_some(()))).await?;
    federation.stop().await
}
