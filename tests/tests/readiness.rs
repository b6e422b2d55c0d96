//! What a node can't do is said wherever somebody looks: health, status, a peer's test, the check
//! of its home.

use std::fs;
use std::time::Duration;

use entente_node::admin;
use entente_node::desk::{DeskError, create, update, withdraw};
use entente_node::home::{Layout, State, check, draft_descriptor};
use entente_node::id::{Clock, Entropy};
use entente_node::jose::SigningKey;
use entente_node::outbound::test_peer;
use entente_node::readiness::{Level, readiness};
use entente_node::reason::Reason;
use entente_node::roles::Role;
use entente_node::sample::Samples;
use entente_node::store::Own;
use entente_node::trust::{Draft, SignedDescriptor};
use entente_proto::desk::StatusRequest;
use entente_proto::desk::desk_client::DeskClient;
use entente_tests::federation::{
    ALL, Federation, TestNode, person, search_by_passport, sign, until,
};
use entente_tests::processes::http_get;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Status line and body of `/health/ready`.
async fn ready(node: &TestNode) -> anyhow::Result<(String, String)> {
    http_get(node.running().telemetry, "/health/ready").await
}

/// What the status says: its state, and the reasons.
async fn status(node: &TestNode) -> anyhow::Result<(String, Vec<String>)> {
    let mut desk = DeskClient::new(node.desk("officer").await?);
    let status = desk.status(StatusRequest {}).await?.into_inner();
    Ok((status.state, status.reasons.into_iter().map(|reason| reason.reason).collect()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_room_says_so_to_whoever_looks() -> anyhow::Result<()> {
    let mut federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    assert_eq!(ready(&federation.nodes[0]).await?.1, "ready\n");
    assert_eq!(status(&federation.nodes[0]).await?, ("ready".to_owned(), vec![]));
    let dk = &mut federation.nodes[0];
    dk.configure("disk_free_bytes_min = 0", "disk_free_bytes_min = 1099511627776").await?;
    let (line, body) = ready(dk).await?;
    assert!(line.contains("503") && body.starts_with("refusing\ndisk_full: "), "{line} {body}");
    assert!(http_get(dk.running().telemetry, "/health/live").await?.0.contains("200"));
    assert_eq!(status(dk).await?, ("refusing".to_owned(), vec!["disk_full".to_owned()]));
    let metrics = http_get(dk.running().telemetry, "/metrics").await?.1;
    assert!(metrics.contains("entente_readiness{authority=\"dk.politi\"} 2"), "{metrics}");

    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let mut health = HealthClient::new(dk.desk("officer").await?);
    for _ in 0..100 {
        let asked = health.check(HealthCheckRequest::default()).await?.into_inner();
        if asked.status == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let asked = health.check(HealthCheckRequest::default()).await?.into_inner();
    assert_eq!(asked.status, 2, "not serving");
    fr.wake();
    let steps = test_peer(fr.node(), &dk.authority).await;
    let step = steps.iter().find(|step| step.name == "health").expect("looked at");
    assert!(step.ok && step.found.contains("disk_full") && !step.hint.is_empty(), "{step:?}");
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_nobody_believes_is_a_reason() -> anyhow::Result<()> {
    let mut federation = Federation::start(&["dk.politi"]).await?;
    let dk = &mut federation.nodes[0];
    tokio::time::sleep(Duration::from_millis(200)).await;
    dk.stop().await?;
    dk.clock.shift(40 * 86_400);
    dk.start().await?;
    let (line, body) = ready(dk).await?;
    assert!(line.contains("503") && body.contains("clock_in_doubt: "), "{line} {body}");
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_certificate_that_has_ended_is_no_fault_of_a_peer() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    federation.settle().await?;
    // TLS goes by the clock of the machine; what is said, and whether a peer is called, by the
    // node's.
    dk.clock.shift(400 * 86_400);
    let (line, body) = ready(dk).await?;
    assert!(line.contains("503") && body.contains("certificate_ended: "), "{line} {body}");
    let steps = test_peer(dk.node(), &fr.authority).await;
    let last = steps.last().expect("a step");
    assert!(!last.ok && last.found.contains("the node's own certificate ended on"), "{last:?}");
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_state_says_so_until_it_is_started_anew() -> anyhow::Result<()> {
    let mut federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    federation.nodes[0].apply(ALL).await?;
    federation.settle().await?;
    let aside = federation.folder().join("aside");
    federation.nodes[0].copy_store(&aside, false).await?;
    federation.nodes[0].create(&Samples::new(1).next().expect("a sample")).await?;
    federation.settle().await?;
    federation.nodes[0].copy_store(&aside, true).await?;
    let dk = &federation.nodes[0];
    until("the stop", || Ok(entente_node::exchange::lost_state(dk.node())?.then_some(()))).await?;
    let (line, body) = ready(dk).await?;
    assert!(line.contains("503") && body.starts_with("refusing\nlost_state: "), "{line} {body}");
    dk.recover().await?;
    assert_eq!(ready(dk).await?.1, "ready\n");
    federation.stop().await
}

/// Signs a new descriptor with `identity`, in which the statement key ends so many seconds from
/// now, and reads it anew.
async fn sign_until(node: &TestNode, identity: &SigningKey, seconds: i64) -> anyhow::Result<()> {
    let (layout, now) = (Layout::new(&node.home), node.clock.now());
    draft_descriptor(&node.home, &node.clock)?;
    let mut draft: Draft = serde_json::from_str(&fs::read_to_string(layout.draft())?)?;
    for key in &mut draft.statement_keys {
        key.not_after = now.seconds() + seconds;
    }
    let signed = SignedDescriptor::sign(draft, now, identity)?;
    fs::write(layout.descriptor(), signed.jws())?;
    admin::reload(node.node(), "administrator").await?;
    Ok(())
}

/// A withdrawal under a key that has ended erases here; peers take it once they hold the descriptor
/// that prolongs the key.
#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_under_an_ended_key_stays_owed_until_it_is_prolonged() -> anyhow::Result<()> {
    let (ours, theirs) =
        (Federation::start(&["dk.politi"]).await?, Federation::start(&["fr.pj"]).await?);
    let (dk, fr) = (&ours.nodes[0], &theirs.nodes[0]);
    let identity = SigningKey::generate(&Entropy::os());
    sign_until(dk, &identity, 3600).await?;
    dk.trust(fr).await?;
    fr.trust(dk).await?;
    dk.apply(ALL).await?;
    let id = dk.create(&Samples::new(5).next().expect("a sample")).await?;
    let held = || Ok(fr.holds(&id)?.then_some(()));
    until("the peer to hold the alert", held).await?;

    for node in [dk, fr] {
        node.clock.pass(3600 + 400);
    }
    withdraw(dk.node(), &id, "found safe", &person(Role::Officer)).await?;
    assert!(dk.node().store.get::<Own>(&id)?.is_none(), "erased here");
    dk.wake();
    until("the stream to stand", || {
        let problem = dk.node().streams.status(&fr.authority).problem;
        Ok(problem.filter(|problem| problem.contains("statement key ended")))
    })
    .await?;
    assert!(fr.holds(&id)?, "still owed");

    sign_until(dk, &identity, 86_400 * 730).await?;
    fr.trust(dk).await?;
    dk.wake();
    let erased = || Ok((!fr.holds(&id)?).then_some(()));
    until("the peer to erase it", erased).await?;
    ours.stop().await?;
    theirs.stop().await
}

/// A new descriptor in which the keys end so many seconds from now, read anew.
async fn keys_end_in(node: &TestNode, seconds: i64) -> anyhow::Result<()> {
    let (layout, clock) = (Layout::new(&node.home), Clock::system());
    draft_descriptor(&node.home, &clock)?;
    let mut draft: Draft = serde_json::from_str(&fs::read_to_string(layout.draft())?)?;
    let end = clock.now().seconds() + seconds;
    for key in draft.statement_keys.iter_mut().chain(&mut draft.log_keys) {
        key.not_after = end;
    }
    fs::write(layout.draft(), serde_json::to_string(&draft)?)?;
    sign(&layout)?;
    if node.is_running() {
        admin::reload(node.node(), "administrator").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_has_ended_stops_issuing_and_nothing_else() -> anyhow::Result<()> {
    let mut federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    let dk = &federation.nodes[0];
    dk.apply(ALL).await?;
    let mut samples = Samples::new(3);
    let mut draft = || samples.next().expect("a sample").to_string();
    let officer = person(Role::Officer);
    let first = create(dk.node(), &draft(), "", &officer).await?.id;

    keys_end_in(dk, 89 * 86_400).await?;
    let (line, body) = ready(dk).await?;
    assert!(line.contains("200") && body.starts_with("degraded\nstatement_key_ends: "), "{body}");
    assert!(body.contains("log_key_ends: ") && body.contains("`entente-node draft`"), "{body}");
    let expected = ["statement_key_ends", "log_key_ends"].map(str::to_owned).to_vec();
    assert_eq!(status(dk).await?, ("degraded".to_owned(), expected));
    let findings = check(&dk.home, &Clock::system());
    let warned = |finding: &&entente_node::home::Finding| finding.state == State::Warning;
    let keys = findings.iter().filter(warned).filter(|finding| finding.part == "keys").count();
    assert_eq!(keys, 2, "{findings:?}");
    create(dk.node(), &draft(), "", &officer).await?;

    keys_end_in(dk, -1).await?;
    let refused = create(dk.node(), &draft(), "", &officer).await.expect_err("ended");
    assert!(matches!(refused, DeskError::KeyEnded(_)), "{refused}");
    let text = draft();
    let refused = update(dk.node(), &first, 0, &text, "", &officer).await.expect_err("ended");
    assert_eq!(refused.reason(), Reason::StatementKeyEnded);
    DeskClient::new(dk.desk("officer").await?).search(search_by_passport()).await?;
    withdraw(dk.node(), &first, "found safe", &officer).await?;
    let (line, body) = ready(dk).await?;
    assert!(line.contains("200") && body.contains("statement_key_ended: "), "{line} {body}");
    let peer = &federation.nodes[1].authority;
    dk.wake();
    until("the stream to say why it stands", || {
        let problem = dk.node().streams.status(peer).problem;
        Ok(problem.filter(|problem| problem.contains("statement key ended")))
    })
    .await?;

    let dk = &mut federation.nodes[0];
    dk.stop().await?;
    assert!(check(&dk.home, &Clock::system()).iter().all(entente_node::home::Finding::ok));
    dk.start().await?;
    assert!(readiness(dk.node()).iter().all(|reason| reason.level == Level::Degraded));
    create(dk.node(), &draft(), "", &officer).await.expect_err("still ended");
    draft_descriptor(&dk.home, &Clock::system())?;
    sign(&Layout::new(&dk.home))?;
    admin::reload(dk.node(), "administrator").await?;
    create(dk.node(), &draft(), "", &officer).await?;
    assert_eq!(ready(dk).await?.1, "ready\n");
    federation.stop().await
}
