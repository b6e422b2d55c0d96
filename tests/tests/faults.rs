//! Faults one at a time: what happens is said clearly, and nothing acknowledged is lost.

use std::time::Duration;

use entente_node::admin;
use entente_node::desk;
use entente_node::home::{Home, Layout};
use entente_node::id::Entropy;
use entente_node::sample::Samples;
use entente_node::store::{Copies, ParkedOut, StoreError};
use entente_node::trust::PeerState;
use entente_tests::federation::{ALL, Federation, person, until};
use entente_tests::proxy::Fault;

async fn pair() -> anyhow::Result<Federation> {
    let federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    federation.nodes[0].apply(ALL).await?;
    federation.settle().await?;
    Ok(federation)
}

fn draft(seed: u64) -> serde_json::Value {
    Samples::new(seed).next().expect("a sample")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_peer_on_an_open_stream_gets_nothing_more() -> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let before = dk.create(&draft(1)).await?;
    federation.settle().await?;
    let (one, two) = (person("administrator"), person("coordinator"));
    let change = |to, by| admin::change_peer(dk.node(), &fr.authority, to, "incident", by);
    change(PeerState::Suspended, &one).await?;
    let after = dk.create(&draft(2)).await?;
    until("the streams to end", || {
        let status = dk.node().streams.status(&fr.authority);
        Ok((!status.sending && !status.receiving).then_some(()))
    })
    .await?;
    assert!(fr.holds(&before)? && !fr.holds(&after)?);
    change(PeerState::Active, &two).await?;
    fr.wake();
    federation.settle().await?;
    assert!(fr.holds(&after)?, "and goes on where it was");
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_what_grows_and_takes_what_shrinks() -> anyhow::Result<()> {
    let mut federation = pair().await?;
    let id = federation.nodes[0].create(&draft(1)).await?;
    federation.settle().await?;
    for node in &mut federation.nodes {
        node.stop().await?;
        let path = Layout::new(&node.home).config();
        let config = std::fs::read_to_string(&path)?;
        let full = "disk_free_bytes_min = 1099511627776";
        std::fs::write(path, config.replace("disk_free_bytes_min = 0", full))?;
        node.start().await?;
    }
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let refused = desk::create(dk.node(), &draft(2).to_string(), "", &person("officer")).await;
    assert_eq!(refused.expect_err("no room").reason(), "disk_full");
    desk::withdraw(dk.node(), &id, "found", &person("officer")).await?;
    until("the withdrawal at the peer", || Ok((!fr.holds(&id)?).then_some(()))).await?;
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_of_a_clock_that_is_off_waits_and_its_next_version_arrives() -> anyhow::Result<()>
{
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    dk.clock.shift(1000);
    let id = dk.create(&draft(1)).await?;
    let parked = until("the refusal", || {
        Ok(dk.node().store.get::<ParkedOut>(&(fr.authority.clone(), id.clone()))?)
    })
    .await?;
    assert_eq!(parked.reason, "future_iat");
    assert!(!fr.holds(&id)?);
    dk.clock.shift(0);
    desk::update(dk.node(), &id, 0, &draft(2).to_string(), "", &person("officer")).await?;
    until("the next version", || Ok(fr.holds(&id)?.then_some(()))).await?;
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_was_away_gets_everything_and_costs_nothing_meanwhile() -> anyhow::Result<()> {
    let mut federation = pair().await?;
    federation.nodes[1].stop().await?;
    let mut ids = Vec::new();
    for sample in Samples::new(3).take(200) {
        ids.push(federation.nodes[0].create(&sample).await?);
    }
    federation.nodes[1].start().await?;
    federation.nodes[0].wake();
    federation.settle().await?;
    for id in ids {
        assert!(federation.nodes[1].holds(&id)?, "{id}");
    }
    federation.stop().await
}

/// Slow, reset in the middle of a batch, cut, and a peer whose answers never come.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_link_delays_and_loses_nothing() -> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let faults = [
        Fault::Slow(Duration::from_millis(5)),
        Fault::ResetAfter(40_000),
        Fault::Swallow,
        Fault::Cut,
    ];
    let mut created = 0;
    for (seed, fault) in (10..).zip(faults) {
        fr.proxy.set(fault);
        for sample in Samples::new(seed).take(25) {
            dk.create(&sample).await?;
            created += 1;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        fr.proxy.set(Fault::Cut);
        tokio::time::sleep(Duration::from_millis(20)).await;
        fr.proxy.set(Fault::None);
        dk.wake();
        federation.settle().await?;
        assert_eq!(fr.node().store.count::<Copies>(), created, "{fault:?}");
    }
    federation.stop().await
}

/// The thief of the disk, and the administrator who swaps parts of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_opens_with_its_own_keys_and_owner_only() -> anyhow::Result<()> {
    let mut federation = pair().await?;
    federation.nodes[0].create(&draft(1)).await?;
    let clock = entente_node::id::Clock::system();
    let running = Home::read(&federation.nodes[0].home, &clock)?;
    let open = |home: &Home| home.open_store(clock.clone(), Entropy::os()).err();
    assert_eq!(open(&running), Some(StoreError::InUse), "while the node runs");
    for node in &mut federation.nodes {
        node.stop().await?;
    }
    let (dk, fr) = (&federation.nodes[0].home, &federation.nodes[1].home);
    let mut stolen = Home::read(dk, &clock)?;
    stolen.node_key = Home::read(fr, &clock)?.node_key;
    assert_eq!(open(&stolen), Some(StoreError::WrongKey));
    let mut other = Home::read(dk, &clock)?;
    other.layout = Layout::new(fr);
    assert!(matches!(open(&other), Some(StoreError::OtherOwner(_))));
    // One leaf of the log changed on disk, in the database's own file: the check says so, or it does not open.
    let file = dk.join("store/db/db");
    let mut bytes = std::fs::read(&file)?;
    let place =
        bytes.windows(13).position(|window| window == b"alert.created").expect("in the log");
    bytes[place] ^= 1;
    std::fs::write(&file, bytes)?;
    let findings = entente_node::home::check(dk, &clock);
    assert!(findings.iter().any(|finding| !finding.ok), "{findings:?}");
    Ok(())
}
