//! SIGKILL at any moment under load: nothing that was acknowledged is lost, on either side.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;

use entente_node::home::Layout;
use entente_node::sample::Samples;
use entente_proto::admin::admin_client::AdminClient;
use entente_proto::admin::{ApplyPolicyRequest, ApprovePolicyRequest};
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::notices_client::NoticesClient;
use entente_proto::desk::{
    AcknowledgeNoticeRequest, CreateAlertRequest, GetNoticeRequest, ListAlertsRequest,
    ListNoticesRequest, SendNoticeRequest, StatusRequest, UpdateAlertRequest, WithdrawAlertRequest,
};
use entente_tests::federation::{ALL, PATIENCE, search_by_passport};
use entente_tests::marks::check_bytes;
use entente_tests::processes::Process;
use serde_json::Value;
use tokio::time::Instant;

const PROGRAM: &str = env!("CARGO_BIN_EXE_simulate");

async fn apply_all(node: &Process) -> anyhow::Result<()> {
    let mut one = AdminClient::new(node.desk("administrator").await?);
    let asked = ApplyPolicyRequest { source: ALL.to_owned(), dry_run: false };
    let proposal = one.apply_policy(asked).await?.into_inner().proposal;
    let mut two = AdminClient::new(node.desk("coordinator").await?);
    two.approve_policy(ApprovePolicyRequest { proposal }).await?;
    Ok(())
}

/// Versions by id; 0 for withdrawn.
type Acknowledged = HashMap<String, u32>;

/// Creates, updates and withdraws until a call fails; what was acknowledged is noted.
async fn load(node: &Process, seed: u64, acknowledged: &mut Acknowledged) -> anyhow::Result<()> {
    let mut officer = DeskClient::new(node.desk("officer").await?);
    let samples = Samples::new(seed).map(|mut sample| {
        mark(&mut sample);
        sample.to_string()
    });
    for draft in samples {
        let asked = CreateAlertRequest { draft: draft.clone(), override_reason: String::new() };
        let Ok(created) = officer.create_alert(asked).await else { return Ok(()) };
        let id = created.into_inner().id;
        acknowledged.insert(id.clone(), 1);
        if acknowledged.len().is_multiple_of(3) {
            let asked = UpdateAlertRequest { id: id.clone(), draft, ..Default::default() };
            let Ok(updated) = officer.update_alert(asked).await else {
                // Whether it was done is unknown: either version is right.
                acknowledged.remove(&id);
                return Ok(());
            };
            acknowledged.insert(id.clone(), updated.into_inner().version);
        }
        if acknowledged.len().is_multiple_of(2)
            && officer.search(search_by_passport()).await.is_err()
        {
            return Ok(());
        }
        if acknowledged.len().is_multiple_of(7) {
            let asked = WithdrawAlertRequest { id: id.clone(), reason: "done".to_owned() };
            let withdrawn = officer.withdraw_alert(asked).await.is_ok();
            acknowledged.insert(id.clone(), 0);
            if !withdrawn {
                acknowledged.remove(&id);
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Every text that may be marked says so, to be looked for in every byte on disk.
fn mark(sample: &mut Value) {
    sample["case_ref"] = "MARKcase".into();
    if let Some(location) = sample.pointer_mut("/locations/0") {
        location["text"] = "MARKplace".into();
    }
}

async fn held(node: &Process) -> anyhow::Result<Acknowledged> {
    let mut officer = DeskClient::new(node.desk("officer").await?);
    let mut held = Acknowledged::new();
    for state in ["live", "withdrawn"] {
        let mut asked =
            ListAlertsRequest { state: state.to_owned(), page_size: 500, ..Default::default() };
        loop {
            let page = officer.list_alerts(asked.clone()).await?.into_inner();
            for alert in page.alerts {
                held.insert(alert.id, if state == "live" { alert.version } else { 0 });
            }
            if page.next_page_token.is_empty() {
                break;
            }
            asked.page_token = page.next_page_token;
        }
    }
    Ok(held)
}

async fn settled(here: &Process) -> anyhow::Result<()> {
    let waiting = async {
        loop {
            let mut officer = DeskClient::new(here.desk("officer").await?);
            let status = officer.status(StatusRequest {}).await?.into_inner();
            let done = status
                .peers
                .iter()
                .all(|peer| peer.sending && peer.behind == 0 && peer.offered == peer.acknowledged);
            if done {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await?
}

/// Two nodes that exchange, each a process of its own.
async fn pair(folder: &Path) -> anyhow::Result<Vec<Process>> {
    let mut nodes = Vec::new();
    for name in ["dk.politi", "fr.police-judiciaire"] {
        let mut node = Process::prepare(folder, name, PROGRAM)?;
        node.start().await?;
        nodes.push(node);
    }
    nodes[0].admit(&nodes[1].descriptor()?).await?;
    nodes[1].admit(&nodes[0].descriptor()?).await?;
    Ok(nodes)
}

async fn killed(which: usize, rounds: u64) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut nodes = pair(folder.path()).await?;
    apply_all(&nodes[0]).await?;
    let mut acknowledged = Acknowledged::new();
    for round in 0..rounds {
        let pause = Duration::from_millis(150 + 90 * round);
        if which == 0 {
            let (mut own, rest) = (nodes.remove(0), &mut acknowledged);
            let before = rest.clone();
            let mut added = Acknowledged::new();
            tokio::select! {
                loaded = load(&own, round, &mut added) => loaded?,
                () = tokio::time::sleep(pause) => {}
            }
            own.kill().await?;
            own.start().await?;
            // The last call may have been cut: its outcome is unknown, and its alert the newest.
            *rest = before;
            rest.extend(checked(&own, added).await?);
            nodes.insert(0, own);
        } else {
            let (sender, receiver) = nodes.split_at_mut(1);
            tokio::select! {
                loaded = load(&sender[0], round, &mut acknowledged) => loaded?,
                killed = async {
                    tokio::time::sleep(pause).await;
                    receiver[0].kill().await
                } => killed?,
            }
            receiver[0].start().await?;
        }
    }
    settled(&nodes[0]).await?;
    let (own, copies) = (held(&nodes[0]).await?, held(&nodes[1]).await?);
    assert!(acknowledged.len() > 20, "there was load: {}", acknowledged.len());
    for (id, version) in &acknowledged {
        assert!(
            own.get(id) >= Some(version) || own.get(id) == Some(&0),
            "{id} {version}: {:?}",
            own.get(id)
        );
    }
    for (id, version) in own.iter().filter(|(_, version)| **version > 0) {
        assert_eq!(copies.get(id), Some(version), "{id} at the peer");
    }
    for (id, version) in copies.iter().filter(|(_, version)| **version > 0) {
        assert_eq!(own.get(id), Some(version), "{id} only at the peer");
    }
    for node in &mut nodes {
        assert!(node.terminate().await?, "ends well after SIGTERM");
        check_bytes(&node.home)?;
        let findings = entente_node::home::check(&node.home, &entente_node::id::Clock::system());
        assert!(findings.iter().all(entente_node::home::Finding::ok), "{findings:?}");
        assert!(Layout::new(&node.home).store().exists());
    }
    Ok(())
}

/// What was acknowledged, compared with what is there right after the restart.
async fn checked(node: &Process, added: Acknowledged) -> anyhow::Result<Acknowledged> {
    let held = held(node).await?;
    for (id, version) in &added {
        let now = held.get(id);
        assert!(
            now == Some(&0) || now >= Some(version),
            "{id}: {version} acknowledged, {now:?} held"
        );
    }
    Ok(added)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_is_killed_loses_nothing_acknowledged() -> anyhow::Result<()> {
    killed(0, 8).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_killed_gets_everything() -> anyhow::Result<()> {
    killed(1, 8).await
}

/// Texts of notices by their ids.
type Told = BTreeMap<String, String>;

/// Sends some notices until a call fails; those that were acknowledged are noted.
async fn tell(node: &Process, round: usize, told: &mut Told) -> anyhow::Result<()> {
    let mut desk = NoticesClient::new(node.desk("officer").await?);
    for number in 0..NOTICES_A_ROUND {
        let text = format!("MARKnotice {round} {number}");
        let to = "fr.police-judiciaire".to_owned();
        let asked = SendNoticeRequest { to, text: text.clone(), ..Default::default() };
        let Ok(sent) = desk.send_notice(asked).await else { return Ok(()) };
        told.insert(sent.into_inner().id, text);
    }
    Ok(())
}

/// Every notice that a node holds, with its state.
async fn notices(node: &Process) -> anyhow::Result<Vec<(String, String)>> {
    let mut desk = NoticesClient::new(node.desk("officer").await?);
    let asked = ListNoticesRequest { page_size: 1000, ..Default::default() };
    let listed = desk.list_notices(asked).await?.into_inner().notices;
    Ok(listed.into_iter().map(|notice| (notice.id, notice.state)).collect())
}

/// Fewer in all than a peer takes in a day.
const NOTICES_A_ROUND: usize = 10;

/// Rounds, in which sender and receiver are killed in turn.
const NOTICE_ROUNDS: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn notices_and_their_acknowledgements_survive_kills_of_either_side() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut nodes = pair(folder.path()).await?;
    let mut told = Told::new();
    for round in 0..NOTICE_ROUNDS {
        let pause = Duration::from_millis(20 + 15 * round as u64);
        tokio::select! {
            sent = tell(&nodes[0], round, &mut told) => sent?,
            () = tokio::time::sleep(pause) => {}
        }
        nodes[round % 2].kill().await?;
        nodes[round % 2].start().await?;
    }
    assert!(told.len() > NOTICES_A_ROUND / 2, "{}", told.len());
    let began = Instant::now();
    let mut desk = NoticesClient::new(nodes[1].desk("officer").await?);
    for (id, text) in &told {
        let asked = GetNoticeRequest { id: id.clone() };
        let shown = loop {
            match desk.get_notice(asked.clone()).await {
                Ok(shown) => break shown.into_inner(),
                Err(status) => anyhow::ensure!(began.elapsed() < PATIENCE, "{id}: {status}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert_eq!(shown.text, *text);
        let read = AcknowledgeNoticeRequest { id: id.clone(), who: "night desk".to_owned() };
        desk.acknowledge_notice(read).await?;
    }
    nodes[1].kill().await?;
    nodes[1].start().await?;
    loop {
        let here = notices(&nodes[0]).await?;
        let open =
            |(id, state): &&(String, String)| told.contains_key(id) && state != "acknowledged";
        let open: Vec<_> = here.iter().filter(open).collect();
        let ids: BTreeSet<_> = here.iter().map(|(id, _)| id).collect();
        assert_eq!(ids.len(), here.len(), "each is there once");
        assert!(told.keys().all(|id| ids.contains(id)), "none that was acknowledged is lost");
        if open.is_empty() {
            break;
        }
        anyhow::ensure!(began.elapsed() < PATIENCE, "{open:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let there = notices(&nodes[1]).await?;
    let ids: BTreeSet<_> = there.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), there.len(), "each is there once");
    for node in &mut nodes {
        assert!(node.terminate().await?, "ends well after SIGTERM");
        check_bytes(&node.home)?;
    }
    Ok(())
}
