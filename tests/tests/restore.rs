//! A node that is restored from an old backup: nothing is disclosed anew, nobody comes in, and
//! nothing is forgotten that a peer knows, before two people confirmed what is to be in force.

use std::path::Path;
use std::time::Duration;

use entente_node::admin::{self, AdminError, Shown};
use entente_node::audit::{
    Checkpoint, Compared, Comparison, Entry, VerifyError, verify_checkpoint,
};
use entente_node::home::Layout;
use entente_node::id::{AlertId, Clock, Entropy};
use entente_node::reason::Reason;
use entente_node::roles::Role;
use entente_node::run::{Options, Running, start};
use entente_node::sample::Samples;
use entente_node::store::{Change, Copies, Ledger, Own};
use entente_node::trust::PeerState;
use entente_node::{desk, exchange};
use entente_proto::admin::admin_client::AdminClient;
use entente_proto::admin::{ListUsersRequest, PeerRequest, ReviewEpochRequest, UserRequest};
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::{CreateAlertRequest, StatusRequest, WhoamiRequest};
use entente_tests::federation::{ALL, Federation, TestNode, copy_folder, free_port, person, until};
use entente_tests::proxy::Fault;
use tonic::Status;
use tonic_types::StatusExt;

const NOTHING: &str = "";

/// Two heartbeats and some: whatever a peer is told without a statement has arrived.
const HEARD: Duration = Duration::from_millis(2600);

async fn federation(names: &[&str]) -> anyhow::Result<Federation> {
    let federation = Federation::start(names).await?;
    federation.nodes[0].apply(ALL).await?;
    federation.settle().await?;
    Ok(federation)
}

async fn pair() -> anyhow::Result<Federation> {
    federation(&["dk.politi", "fr.police-judiciaire"]).await
}

async fn create(node: &TestNode, seed: u64, count: usize) -> anyhow::Result<Vec<AlertId>> {
    let mut ids = Vec::new();
    for sample in Samples::new(seed).take(count) {
        ids.push(node.create(&sample).await?);
    }
    Ok(ids)
}

fn copies(node: &TestNode) -> u64 {
    node.node().store.count::<Copies>()
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

async fn stopped(node: &TestNode) -> anyhow::Result<()> {
    until("the stop", || Ok(exchange::lost_state(node.node())?.then_some(()))).await
}

/// The kinds of what a node's log says.
fn logged(node: &TestNode, kind: &str) -> anyhow::Result<Vec<Entry>> {
    let leaves = node.node().store.leaves(0, 1_000_000)?;
    let entries = leaves.into_iter().map(|(_, leaf)| Entry::parse(&leaf));
    let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
    entries.retain(|entry| entry.kind == kind);
    Ok(entries)
}

async fn shown(node: &TestNode) -> anyhow::Result<(admin::Review, Shown)> {
    let review = admin::review_epoch(node.node()).await?;
    let shown = Shown { review: review.name.clone(), again: review.again() };
    Ok((review, shown))
}

async fn propose(node: &TestNode, shown: &Shown) -> Result<u64, AdminError> {
    admin::propose_epoch(node.node(), "restored", shown, &person(Role::Administrator)).await
}

/// DK had shared 200 alerts and taken them back; its backup is from before that.
async fn taken_back() -> anyhow::Result<(Federation, Vec<AlertId>)> {
    let mut federation = pair().await?;
    let ids = create(&federation.nodes[0], 1, 200).await?;
    federation.settle().await?;
    let backup = federation.folder().join("backup");
    federation.nodes[0].copy_store(&backup, false).await?;
    federation.nodes[0].apply(NOTHING).await?;
    federation.nodes.iter().for_each(TestNode::wake);
    federation.settle().await?;
    assert_eq!(copies(&federation.nodes[1]), 0, "all were taken back");
    federation.nodes[0].copy_store(&backup, true).await?;
    stopped(&federation.nodes[0]).await?;
    Ok((federation, ids))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_back_goes_out_again_only_by_a_confirmation_that_names_the_number()
-> anyhow::Result<()> {
    let (federation, ids) = taken_back().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let recovered = entente_node::outbound::recover(dk.node()).await;
    assert!(recovered.failed.is_empty() && recovered.recovered >= 200, "{recovered:?}");
    let key = (fr.authority.clone(), ids[7].clone().into());
    let ledger = dk.node().store.get::<Ledger>(&key)?.expect("in the ledger");
    assert!(ledger.taken_back.is_some() && ledger.erased, "{ledger:?}");
    let (review, mut said) = shown(dk).await?;
    let france = review.peers.iter().find(|peer| peer.authority == fr.authority).expect("France");
    assert!(france.asked);
    let counts = (france.counts.alerts, france.counts.anew, france.counts.again);
    assert_eq!(counts, (200, 200, 200));
    said.again = 0;
    let refused = propose(dk, &said).await.expect_err("the number is not named");
    assert!(matches!(refused, AdminError::Again(200)), "{refused}");
    // Nobody sees the same review after something changed, and what narrows goes on in the stop.
    dk.apply(NOTHING).await?;
    said.again = 200;
    let refused = propose(dk, &said).await.expect_err("another policy is in force");
    assert_eq!(refused.reason(), Reason::ReviewChanged);
    assert_eq!(shown(dk).await?.0.again(), 0, "the narrower policy gives none");
    dk.confirm().await?;
    federation.nodes.iter().for_each(TestNode::wake);
    federation.settle().await?;
    assert_eq!(copies(fr), 0);
    // A policy that widens is an act of its own, by two people.
    dk.apply(ALL).await?;
    federation.settle().await?;
    assert_eq!(copies(fr), 200);
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_number_is_confirmed_and_one_person_is_not_enough() -> anyhow::Result<()> {
    let (federation, _) = taken_back().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    entente_node::outbound::recover(dk.node()).await;
    let (_, said) = shown(dk).await?;
    let number = propose(dk, &said).await?;
    let approve = |said: &Shown, role| {
        let (said, node) = (said.clone(), dk.node());
        async move { admin::approve_epoch(node, number, &said, &person(role)).await }
    };
    let same = approve(&said, Role::Administrator).await.expect_err("the same person");
    assert_eq!(same.reason(), Reason::SamePerson);
    let other = Shown { again: 7, ..said.clone() };
    let refused = approve(&other, Role::Coordinator).await.expect_err("another number");
    assert!(matches!(refused, AdminError::Again(200)));
    assert_eq!(copies(fr), 0);
    approve(&said, Role::Coordinator).await?;
    federation.nodes.iter().for_each(TestNode::wake);
    federation.settle().await?;
    assert_eq!(copies(fr), 200, "they are two, and they were told the number");
    let started = logged(dk, "epoch.started")?;
    assert_eq!(started[0].facts["again"], 200);
    federation.stop().await
}

/// The peer could not be asked before the two people confirmed: it is asked before anything goes to
/// it, and what it hands back as taken back stays back until they confirm that, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_asked_late_gets_nothing_again_unconfirmed() -> anyhow::Result<()> {
    let (federation, ids) = taken_back().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let (review, said) = shown(dk).await?;
    assert!(!review.peers[0].asked && said.again == 0);
    dk.confirm().await?;
    federation.nodes.iter().for_each(TestNode::wake);
    federation.settle().await?;
    assert_eq!(copies(fr), 0, "they stay back");
    let by = person(Role::Administrator);
    let why = admin::explain(dk.node(), &ids[3], &fr.authority, &by).await?;
    let looks = logged(dk, "policy.explained")?;
    assert!(looks.iter().any(|look| look.actor == by.name && look.alert.as_ref() == Some(&ids[3])));
    assert!(why.considered.iter().any(|why| why.contains("taken back")), "{why:?}");
    let (review, _) = shown(dk).await?;
    assert_eq!((review.stopped, review.again()), (false, 200));
    dk.confirm().await?;
    federation.settle().await?;
    assert_eq!(copies(fr), 200);
    federation.stop().await
}

/// Nothing was issued since the backup: what was forgotten is that a peer was suspended and an
/// officer removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_peer_and_a_removed_officer_stay_out() -> anyhow::Result<()> {
    for peer_restarts in [false, true] {
        let mut federation = federation(&["dk.politi", "fr.police-judiciaire", "de.bka"]).await?;
        let backup = federation.folder().join("backup");
        federation.nodes[0].copy_store(&backup, false).await?;
        federation.settle().await?;
        let (dk, de) = (&federation.nodes[0], federation.nodes[2].authority.clone());
        let (one, two) = (person(Role::Administrator), person(Role::Coordinator));
        let suspend = admin::change_peer(dk.node(), &de, PeerState::Suspended, "incident", &one);
        suspend.await?;
        admin::remove_user(dk.node(), "officer", &one).await?;
        if peer_restarts {
            // A head that begins a stream is written down; later ones are, now and then.
            federation.nodes[0].stop().await?;
            federation.nodes[0].start().await?;
        }
        federation.nodes.iter().for_each(TestNode::wake);
        tokio::time::sleep(HEARD).await;
        if peer_restarts {
            federation.nodes[1].stop().await?;
            federation.nodes[1].start().await?;
        }
        federation.nodes[0].copy_store(&backup, true).await?;
        let (dk, fr, germany) = (&federation.nodes[0], &federation.nodes[1], &federation.nodes[2]);
        stopped(dk).await?;
        closed(dk).await?;
        let told = exchange::own_log_alarm(dk.node())?.expect("a reason");
        assert!(told.contains("was restored from an old state: fr.police-judiciaire"), "{told}");
        // The two people do again what was forgotten, and confirm.
        assert!(entente_node::outbound::recover(dk.node()).await.failed.is_empty());
        admin::change_peer(dk.node(), &de, PeerState::Suspended, "incident", &one).await?;
        admin::remove_user(dk.node(), "officer", &one).await?;
        dk.confirm().await?;
        let id = desk::create(dk.node(), &sample(9), "", &person(Role::Officer)).await?.id;
        fr.wake();
        dk.wake();
        until("the new alert in France", || Ok(fr.holds(&id)?.then_some(()))).await?;
        assert!(!germany.holds(&id)?, "it is suspended");
        let refused = whoami(dk, "officer").await.expect_err("removed");
        assert_eq!(reason(&refused), "unknown_user");
        admin::change_peer(dk.node(), &de, PeerState::Active, "closed", &two).await?;
        federation.stop().await?;
    }
    Ok(())
}

fn sample(seed: u64) -> String {
    Samples::new(seed).next().expect("a sample").to_string()
}

async fn whoami(node: &TestNode, user: &str) -> Result<(), Status> {
    let channel = node.desk(user).await.map_err(|error| Status::unknown(error.to_string()))?;
    DeskClient::new(channel).whoami(WhoamiRequest {}).await.map(drop)
}

/// Nobody comes in but who confirms how the node goes on, and nothing widens.
async fn closed(node: &TestNode) -> anyhow::Result<()> {
    let lost = |answer: Result<(), Status>| assert_eq!(reason(&answer.unwrap_err()), "lost_state");
    lost(whoami(node, "officer").await);
    let mut officer = DeskClient::new(node.desk("officer").await?);
    let asked = CreateAlertRequest { draft: sample(3), override_reason: String::new() };
    lost(officer.create_alert(asked).await.map(drop));
    let mut one = AdminClient::new(node.desk("administrator").await?);
    let mut two = AdminClient::new(node.desk("coordinator").await?);
    one.list_users(ListUsersRequest {}).await?;
    let shown = two.review_epoch(ReviewEpochRequest {}).await?.into_inner();
    assert!(shown.stopped && shown.users.iter().any(|user| user.name == "officer"), "{shown:?}");
    let peer = PeerRequest { authority: "de.bka".to_owned() };
    lost(one.retry_parked(peer).await.map(drop));
    lost(two.approve_user(UserRequest { name: "officer".to_owned() }).await.map(drop));
    let mut desk = DeskClient::new(node.desk("coordinator").await?);
    let status = desk.status(StatusRequest {}).await?.into_inner();
    assert!(status.lost_state && status.found.contains("old state"), "{status:?}");
    Ok(())
}

/// DK updates an alert between the restore and the first contact with the peer that holds another
/// version 2.
#[tokio::test(flavor = "multi_thread")]
async fn a_forked_alert_is_healed_by_its_next_version() -> anyhow::Result<()> {
    let mut federation = federation(&["dk.politi", "fr.police-judiciaire", "de.bka"]).await?;
    let id = create(&federation.nodes[0], 1, 1).await?.remove(0);
    federation.settle().await?;
    let officer = person(Role::Officer);
    let version = |node: &TestNode| {
        anyhow::Ok(node.node().store.get::<Copies>(&id)?.map_or(0, |copy| copy.version))
    };
    federation.nodes[2].stop().await?;
    let backup = federation.folder().join("backup");
    federation.nodes[0].copy_store(&backup, false).await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let content = |seed| Samples::new(seed).next().expect("a sample").to_string();
    desk::update(dk.node(), &id, 0, &content(2), "changed", &officer).await?;
    fr.wake();
    dk.wake();
    until("version 2 in France", || Ok((version(fr)? == 2).then_some(()))).await?;
    federation.nodes[1].proxy.set(Fault::Cut);
    federation.nodes[0].copy_store(&backup, true).await?;
    federation.nodes[2].start().await?;
    let (dk, fr, de) = (&federation.nodes[0], &federation.nodes[1], &federation.nodes[2]);
    desk::update(dk.node(), &id, 0, &content(3), "changed", &officer).await?;
    dk.wake();
    until("another version 2 in Germany", || Ok((version(de)? == 2).then_some(()))).await?;
    fr.proxy.set(Fault::None);
    dk.wake();
    stopped(dk).await?;
    dk.recover().await?;
    let own = dk.node().store.get::<Own>(&id)?.expect("it lives");
    assert_eq!(own.version, 2, "what was acknowledged to the officer stands");
    assert_eq!(logged(dk, "alarm.alert_forked")?.len(), 1);
    federation.nodes.iter().for_each(TestNode::wake);
    federation.settle().await?;
    assert!(fr.holds(&id)?, "the copy stays until the next version comes");
    let next = desk::update(dk.node(), &id, 0, &content(4), "changed", &officer).await?;
    assert_eq!(next.version, 3);
    for peer in [fr, de] {
        until("version 3", || Ok((version(peer)? == 3).then_some(()))).await?;
    }
    let noted = logged(de, "alarm.alert_forked")?;
    assert_eq!(noted.iter().filter(|entry| entry.alert.as_ref() == Some(&id)).count(), 1);
    desk::update(dk.node(), &id, 0, &content(5), "changed", &officer).await?;
    federation.settle().await?;
    assert_eq!((version(fr)?, version(de)?), (4, 4), "and none after it is refused");
    federation.stop().await
}

/// The clock was set back by some minutes between two versions: the second is no fork of the first
/// for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_dated_before_the_one_it_follows_comes_back() -> anyhow::Result<()> {
    let mut federation = pair().await?;
    federation.nodes[0].clock.shift(140);
    let id = create(&federation.nodes[0], 1, 1).await?.remove(0);
    federation.settle().await?;
    let backup = federation.folder().join("backup");
    federation.nodes[0].copy_store(&backup, false).await?;
    federation.nodes[0].clock.shift(-140);
    let dk = &federation.nodes[0];
    desk::update(dk.node(), &id, 0, &sample(2), "changed", &person(Role::Officer)).await?;
    federation.nodes.iter().for_each(TestNode::wake);
    federation.settle().await?;
    federation.nodes[0].copy_store(&backup, true).await?;
    stopped(&federation.nodes[0]).await?;
    let dk = &federation.nodes[0];
    dk.recover().await?;
    let own = dk.node().store.get::<Own>(&id)?.expect("it lives");
    assert_eq!(own.version, 2, "what was acknowledged to the officer stands");
    assert!(logged(dk, "alarm.alert_forked")?.is_empty());
    federation.stop().await
}

async fn checkpoint(node: &TestNode) -> anyhow::Result<Checkpoint> {
    let jws = admin::checkpoint(node.node()).await?;
    Ok(verify_checkpoint(&jws, &node.node().log_key.public())?)
}

/// What an auditor's own machine finds.
fn compare(node: &TestNode, kept: &[&Checkpoint]) -> Result<Compared, VerifyError> {
    let (store, key) = (&node.node().store, node.node().log_key.public());
    let mut comparison = Comparison::with(kept.iter().map(|kept| (*kept).clone()));
    let log = store.log();
    for (index, leaf) in store.leaves(0, 1_000_000).expect("leaves") {
        if index < log.size() {
            comparison.push(index, &leaf, |_| Some(key.clone()))?;
        }
    }
    let head =
        Checkpoint { iss: node.authority.clone(), size: log.size(), root: log.root(), iat: 0 };
    comparison.end(&head)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_recorded_and_the_peer_and_the_auditor_learn_of_it() -> anyhow::Result<()> {
    let mut federation = pair().await?;
    create(&federation.nodes[0], 1, 3).await?;
    federation.settle().await?;
    let old = checkpoint(&federation.nodes[0]).await?;
    let backup = federation.folder().join("backup");
    federation.nodes[0].copy_store(&backup, false).await?;
    create(&federation.nodes[0], 2, 40).await?;
    federation.settle().await?;
    let lost = checkpoint(&federation.nodes[0]).await?;
    create(&federation.nodes[0], 3, 3).await?;
    federation.settle().await?;
    tokio::time::sleep(HEARD).await;
    federation.nodes[0].copy_store(&backup, true).await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    stopped(dk).await?;
    // The peer says that we lost state, in its status and in its log.
    dk.wake();
    let told = until("the alarm", || Ok(exchange::log_alarm(fr.node(), &dk.authority)?)).await?;
    assert!(told.contains("the log of dk.politi went back from"), "{told}");
    let alarms = logged(fr, "alarm.peer_log_went_back")?;
    assert_eq!(alarms.len(), 1);
    assert!(alarms[0].facts["before"].as_u64() > alarms[0].facts["now"].as_u64());
    let mut desk = DeskClient::new(fr.desk("coordinator").await?);
    let status = desk.status(StatusRequest {}).await?.into_inner();
    assert!(status.peers[0].found.contains("went back"), "{status:?}");
    // Without a record it is an alarm for the auditor.
    assert!(compare(dk, &[&old]).is_ok());
    let alarm = compare(dk, &[&old, &lost]).expect_err("nobody approved it yet");
    assert!(matches!(alarm, VerifyError::Shorter { .. } | VerifyError::Root(_)), "{alarm}");
    dk.recover().await?;
    federation.nodes.iter().for_each(TestNode::wake);
    federation.settle().await?;
    until("the peer to learn of it", || {
        Ok(exchange::log_alarm(fr.node(), &dk.authority)?.is_none().then_some(()))
    })
    .await?;
    let learned = logged(fr, "peer.log_restored")?;
    assert_eq!((learned.len(), &learned[0].facts["explains"]), (1, &true.into()));
    let compared = compare(dk, &[&old, &lost]).map_err(anyhow::Error::from)?;
    assert_eq!(compared.gone, std::slice::from_ref(&lost));
    let [recorded] = compared.restores.as_slice() else { panic!("{compared:?}") };
    assert_eq!(recorded.by, ["administrator", "coordinator"]);
    assert_eq!(recorded.reason, "restored");
    let restore = &recorded.restore;
    assert!(old.size <= restore.kept && restore.kept < lost.size, "{restore:?}");
    assert!(restore.old_size >= lost.size);
    // A checkpoint of entries that were kept must agree, whatever was recorded; one that nobody
    // lost is an alarm.
    let forged = Checkpoint { root: lost.root, ..old.clone() };
    assert_eq!(compare(dk, &[&forged]).err(), Some(VerifyError::Root(old.size)));
    let later = Checkpoint { size: restore.old_size + 1000, ..lost };
    assert!(compare(dk, &[&later]).is_err());
    // It goes on: the peer is told once, and nothing is an alarm any more.
    create(dk, 5, 2).await?;
    federation.settle().await?;
    assert!(!exchange::lost_state(dk.node())?);
    federation.stop().await
}

/// Starts a second node from a copy of a home, on ports of its own.
async fn started_twice(home: &Path, folder: &Path, clock: Clock) -> anyhow::Result<Running> {
    copy_folder(home, folder)?;
    let path = Layout::new(folder).config();
    let mut config = String::new();
    for line in std::fs::read_to_string(&path)?.lines() {
        config += &match line.starts_with("listen = \"127.0.0.1:") {
            true => format!("listen = \"{}\"\n", free_port()?),
            false => format!("{line}\n"),
        };
    }
    std::fs::write(&path, config)?;
    start(folder, Options { clock, entropy: Entropy::os() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_with_the_same_keys_are_named_at_both() -> anyhow::Result<()> {
    let mut federation = pair().await?;
    create(&federation.nodes[0], 1, 3).await?;
    federation.settle().await?;
    federation.nodes[0].stop().await?;
    let copied = federation.folder().join("copied");
    copy_folder(&federation.nodes[0].home, &copied)?;
    federation.nodes[0].start().await?;
    federation.nodes.iter().for_each(TestNode::wake);
    create(&federation.nodes[0], 2, 30).await?;
    federation.settle().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let second = federation.folder().join("second");
    let twin = started_twice(&copied, &second, Clock::shifted()).await?;
    until("the twin to stop", || Ok(exchange::lost_state(&twin.node)?.then_some(()))).await?;
    // Each comes again after a minute at most, and takes the place of the other.
    let twice = |told: Option<String>| told.is_some_and(|told| told.contains("two nodes run with"));
    for round in 0..100 {
        let at_the_peer = twice(exchange::log_alarm(fr.node(), &dk.authority)?);
        let at_both = twice(exchange::own_log_alarm(&twin.node)?)
            && twice(exchange::own_log_alarm(dk.node())?);
        if at_the_peer && at_both {
            break;
        }
        twin.node.store.announce(Change::Peers);
        tokio::time::sleep(Duration::from_millis(300)).await;
        create(dk, 100 + round, 1).await?;
        dk.wake();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let told = exchange::log_alarm(fr.node(), &dk.authority)?.unwrap_or_default();
    assert!(told.contains("two nodes run with the keys of dk.politi"), "{told}");
    for node in [&twin.node, dk.node()] {
        let told = exchange::own_log_alarm(node)?;
        assert!(twice(told.clone()), "{told:?}");
    }
    assert!(!exchange::lost_state(dk.node())?, "the first of the two goes on");
    assert_eq!(logged(fr, "alarm.peer_runs_twice")?.len(), 1);
    assert!(!logged(dk, "alarm.runs_twice")?.is_empty());
    twin.stop().await?;
    federation.stop().await
}
