//! Faults one at a time: what happens is said clearly, and nothing acknowledged is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use entente_node::admin;
use entente_node::alert::SCHEMAS;
use entente_node::desk;
use entente_node::exchange::{Nonce, PROTOCOLS, Resume};
use entente_node::home::{Home, Layout};
use entente_node::id::Entropy;
use entente_node::reason::Reason;
use entente_node::roles::Role;
use entente_node::sample::Samples;
use entente_node::store::{Copies, ParkedOut, StoreError, StreamsIn};
use entente_node::trust::PeerState;
use entente_node::wire::exchange::{FromReceiver, FromSender};
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::{CreateAlertRequest, GetAlertRequest, UpdateAlertRequest};
use entente_proto::exchange as proto;
use entente_proto::exchange::exchange_server;
use entente_tests::federation::{ALL, Federation, person, search_by_passport, until};
use entente_tests::processes::{Process, http_get};
use entente_tests::proxy::Fault;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tonic_types::StatusExt;

/// Lines of the configuration: as much room as there is, and none.
const ROOM: &str = "disk_free_bytes_min = 0";
/// Most batches that a peer may leave unanswered.
const BATCHES_UNANSWERED_MAX: usize = 4;
const FULL: &str = "disk_free_bytes_min = 1099511627776";

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
    let (one, two) = (person(Role::Administrator), person(Role::Coordinator));
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
        node.configure(ROOM, FULL).await?;
    }
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let refused = desk::create(dk.node(), &draft(2).to_string(), "", &person(Role::Officer)).await;
    assert_eq!(refused.expect_err("no room").reason(), Reason::DiskFull);
    desk::withdraw(dk.node(), &id, "found", &person(Role::Officer)).await?;
    until("the withdrawal at the peer", || Ok((!fr.holds(&id)?).then_some(()))).await?;
    federation.stop().await
}

/// What a full peer has no room for waits with us, and what takes no room still gets through.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_peer_gets_later_what_it_has_no_room_for() -> anyhow::Result<()> {
    let mut federation = pair().await?;
    let before = federation.nodes[0].create(&draft(1)).await?;
    federation.settle().await?;
    federation.nodes[1].configure(ROOM, FULL).await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    dk.wake();
    let after = dk.create(&draft(2)).await?;
    let key = (fr.authority.clone(), after.clone().into());
    let parked = until("the refusal", || Ok(dk.node().store.get::<ParkedOut>(&key)?)).await?;
    assert_eq!(parked.reason, "no_room");
    assert!(parked.retry_at.is_some(), "it is offered again by itself");
    desk::withdraw(dk.node(), &before, "found", &person(Role::Officer)).await?;
    until("the withdrawal at the peer", || Ok((!fr.holds(&before)?).then_some(()))).await?;
    let mut officer = DeskClient::new(fr.desk("officer").await?);
    let refused =
        officer.search(search_by_passport()).await.expect_err("its entry in the log has no room");
    let reason = refused.get_details_error_info().map(|info| info.reason);
    assert_eq!(reason.as_deref(), Some("disk_full"));
    federation.nodes[1].configure(FULL, ROOM).await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    admin::retry_parked(dk.node(), &fr.authority, &person(Role::Administrator)).await?;
    dk.wake();
    until("the alert", || Ok(fr.holds(&after)?.then_some(()))).await?;
    federation.settle().await?;
    assert!(dk.node().store.get::<ParkedOut>(&key)?.is_none());
    federation.stop().await
}

/// Answers at a peer's door, takes every batch, and sends no receipt.
struct Silent {
    resume: Resume,
    batches: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl exchange_server::Exchange for Silent {
    type DeliverStream = ReceiverStream<Result<proto::FromReceiver, Status>>;
    type RecoverStream = ReceiverStream<Result<proto::RecoverResponse, Status>>;

    async fn deliver(
        &self,
        request: Request<Streaming<proto::FromSender>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let (answers, stream) = mpsc::channel(1);
        let _ = answers.send(Ok(FromReceiver::Resume(self.resume.clone()).into())).await;
        let (mut inbox, batches) = (request.into_inner(), Arc::clone(&self.batches));
        tokio::spawn(async move {
            let mut seen = 0;
            while let Ok(Some(message)) = inbox.message().await {
                if matches!(FromSender::try_from(message), Ok(FromSender::Batch(_))) {
                    seen += 1;
                    batches.fetch_max(seen, Ordering::SeqCst);
                }
            }
            drop(answers);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn describe(
        &self,
        _: Request<proto::DescribeRequest>,
    ) -> Result<Response<proto::DescribeResponse>, Status> {
        Err(Status::unavailable("silent"))
    }

    async fn recover(
        &self,
        _: Request<proto::RecoverRequest>,
    ) -> Result<Response<Self::RecoverStream>, Status> {
        Err(Status::unavailable("silent"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_never_sends_a_receipt_holds_up_nobody() -> anyhow::Result<()> {
    let names = ["dk.politi", "fr.police-judiciaire", "de.bka"];
    let mut federation = Federation::start(&names).await?;
    federation.nodes[0].apply(ALL).await?;
    federation.settle().await?;
    federation.nodes[0].configure("receipt_timeout_s = 30", "receipt_timeout_s = 1").await?;
    let held = federation.nodes[1].node().store.get::<StreamsIn>(&federation.nodes[0].authority)?;
    let held = held.expect("a stream");
    let batches = Arc::new(AtomicUsize::new(0));
    let silent = Silent {
        resume: Resume {
            epoch: held.epoch,
            seq: held.seq,
            chain: held.chain,
            head: held.head,
            nonce: Nonce([7; 16]),
            protocol: PROTOCOLS.max,
            schemas: SCHEMAS,
            log: String::new(),
            other_log: String::new(),
            stopped: false,
        },
        batches: Arc::clone(&batches),
    };
    let trigger = federation.nodes[1].stand_in(silent).await?;
    let (dk, fr, de) = (&federation.nodes[0], &federation.nodes[1], &federation.nodes[2]);
    dk.wake();
    let mut ids = Vec::new();
    for sample in Samples::new(5).take(1000) {
        ids.push(dk.create(&sample).await?);
    }
    let last = ids.last().expect("some").clone();
    until("the other peer to have all", || Ok(de.holds(&last)?.then_some(()))).await?;
    let problem =
        until("the problem to be told", || Ok(dk.node().streams.status(&fr.authority).problem))
            .await?;
    assert!(problem.contains("receipt"), "{problem}");
    let unanswered = batches.load(Ordering::SeqCst);
    assert!((1..=BATCHES_UNANSWERED_MAX).contains(&unanswered), "{unanswered}");
    drop(trigger);
    federation.nodes[1].start().await?;
    federation.nodes[0].wake();
    federation.settle().await?;
    for id in ids {
        assert!(federation.nodes[1].holds(&id)?, "{id}");
    }
    federation.stop().await
}

/// What is acknowledged before a file can't grow further: new alerts fill the tokens' file, new
/// versions the database.
async fn filled(
    node: &Process,
    new_versions: bool,
) -> anyhow::Result<(BTreeMap<String, u32>, Vec<Status>)> {
    let mut officer = DeskClient::new(node.desk("officer").await?);
    let (mut acknowledged, mut refused) = (BTreeMap::new(), Vec::new());
    for sample in Samples::new(1) {
        let draft = sample.to_string();
        let done = if new_versions && acknowledged.len() == 30 {
            let id = acknowledged.keys().nth(refused.len()).cloned().expect("some");
            let override_reason = "another kind".to_owned();
            let asked = UpdateAlertRequest { id, draft, override_reason, ..Default::default() };
            officer.update_alert(asked).await.map(|done| done.into_inner())
        } else {
            let asked = CreateAlertRequest { draft, override_reason: String::new() };
            officer.create_alert(asked).await.map(|done| done.into_inner())
        };
        match done {
            Ok(done) => drop(acknowledged.insert(done.id, done.version)),
            Err(status) => refused.push(status),
        }
        if refused.len() == 20 {
            break;
        }
    }
    Ok((acknowledged, refused))
}

/// What the disk takes no more is refused, and what was acknowledged before is there after a
/// restart with room.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_is_refused_and_loses_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let program = env!("CARGO_BIN_EXE_simulate");
    for new_versions in [false, true] {
        let folder = folder.path().join(new_versions.to_string());
        let mut node = Process::prepare(&folder, "dk.politi", program)?.with_files_up_to(4096);
        node.start().await?;
        let (acknowledged, refused) = filled(&node, new_versions).await?;
        assert!(acknowledged.len() >= 30, "{refused:?}");
        for status in refused {
            let reason = status.get_details_error_info().map(|info| info.reason);
            assert_eq!(reason.as_deref(), Some("store_unavailable"), "{status:?}");
        }
        let (status, why) = http_get(node.telemetry, "/health/ready").await?;
        assert!(status.contains("503") && why.contains("stopped writing"), "{status} {why}");
        node.kill().await?;
        let mut node = node.with_program(program);
        node.start().await?;
        let mut officer = DeskClient::new(node.desk("officer").await?);
        for (id, version) in acknowledged {
            let asked = GetAlertRequest { id: id.clone(), ..Default::default() };
            let held = officer.get_alert(asked).await.with_context(|| id.clone())?.into_inner();
            assert!(held.version >= version, "{id}: {} held, {version} acknowledged", held.version);
        }
        let draft = draft(7).to_string();
        officer.create_alert(CreateAlertRequest { draft, override_reason: String::new() }).await?;
        assert!(node.terminate().await?);
        let findings = entente_node::home::check(&node.home, &entente_node::id::Clock::system());
        assert!(findings.iter().all(entente_node::home::Finding::ok), "{findings:?}");
    }
    Ok(())
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
        Fault::Slow { millis: 5 },
        Fault::ResetAfter { bytes: 40_000 },
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
    for (file, missing) in [("cells", "file of cells"), ("slots", "file of keys")] {
        let (there, aside) = (dk.join("store").join(file), dk.join(file));
        std::fs::rename(&there, &aside)?;
        let refused = open(&Home::read(dk, &clock)?).context("opened")?.to_string();
        assert!(refused.contains(missing), "{refused}");
        std::fs::rename(&aside, &there)?;
    }
    assert_eq!(open(&Home::read(dk, &clock)?), None);
    // One leaf of the log changed on disk, in the database's own file: the check says so, or it
    // does not open.
    let file = dk.join("store/db/db");
    let mut bytes = std::fs::read(&file)?;
    let place =
        bytes.windows(13).position(|window| window == b"alert.created").expect("in the log");
    bytes[place] ^= 1;
    std::fs::write(&file, bytes)?;
    let findings = entente_node::home::check(dk, &clock);
    assert!(findings.iter().any(|finding| !finding.ok()), "{findings:?}");
    Ok(())
}
