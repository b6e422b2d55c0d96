//! A disk that is really full, and gets room again: what takes back, withdraws and erases goes on,
//! and nobody has to restart anything. The disk is one in memory, which takes the right to mount.

use std::path::Path;
use std::time::Duration;

use entente_node::home::check;
use entente_node::id::Clock;
use entente_node::sample::Samples;
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::{
    CreateAlertRequest, GetAlertRequest, ListAlertsRequest, UpdateAlertRequest,
    WithdrawAlertRequest,
};
use entente_tests::disk::{Disk, LOOKED_AT_EVERY};
use entente_tests::federation::PATIENCE;
use entente_tests::processes::{Process, http_get};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

const PROGRAM: &str = env!("CARGO_BIN_EXE_simulate");

/// A node on a disk of this size, which takes new alerts as long as any room is left.
async fn node_on(disk: &Disk) -> anyhow::Result<Process> {
    let node = Process::prepare(&disk.folder, "dk.politi", PROGRAM)?;
    let path = node.home.join("entente.toml");
    let config = std::fs::read_to_string(&path)?;
    std::fs::write(&path, config.replace("= 536870912", "= 0"))?;
    Ok(node)
}

type Desk = DeskClient<Channel>;

async fn create(officer: &mut Desk, seed: u64) -> Result<String, Status> {
    let draft = Samples::new(seed).next().expect("a sample").to_string();
    let asked = CreateAlertRequest { draft, override_reason: "another one".to_owned() };
    Ok(officer.create_alert(asked).await?.into_inner().id)
}

async fn withdraw(officer: &mut Desk, id: &str) -> Result<(), Status> {
    let asked = WithdrawAlertRequest { id: id.to_owned(), reason: "found".to_owned() };
    officer.withdraw_alert(asked).await.map(drop)
}

async fn state(officer: &mut Desk, id: &str) -> Result<&'static str, Status> {
    let asked = GetAlertRequest { id: id.to_owned(), ..Default::default() };
    match officer.get_alert(asked).await {
        Ok(_) => Ok("live"),
        Err(status) if reason(&status) == "withdrawn" => Ok("withdrawn"),
        Err(status) => Err(status),
    }
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

fn assert_sound(home: &Path) {
    let findings = check(home, &Clock::system());
    assert!(findings.iter().all(|finding| finding.ok()), "{findings:?}");
}

/// Until it is ready again, without a restart.
async fn ready(node: &Process) -> anyhow::Result<()> {
    let waiting = async {
        while !http_get(node.telemetry, "/health/ready").await?.0.contains("200") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, waiting).await?
}

#[tokio::test(flavor = "multi_thread")]
async fn at_no_byte_free_alerts_are_withdrawn_and_a_node_starts_and_is_checked()
-> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(disk) = Disk::mount(&folder.path().join("disk"), 64) else { return Ok(()) };
    let mut node = node_on(&disk).await?;
    node.start().await?;
    let mut officer = DeskClient::new(node.desk("officer").await?);
    let mut ids = Vec::new();
    for seed in 0..6 {
        ids.push(create(&mut officer, seed).await?);
    }
    disk.fill()?;
    tokio::time::sleep(LOOKED_AT_EVERY).await;
    let refused = create(&mut officer, 10).await.expect_err("no room");
    assert_eq!(reason(&refused), "disk_full");
    withdraw(&mut officer, &ids[0]).await?;
    disk.fill()?;
    withdraw(&mut officer, &ids[1]).await?;
    disk.fill()?;
    // Killed, so that the database has something to catch up with.
    node.kill().await?;
    assert_sound(&node.home);
    disk.fill()?;
    node.start().await?;
    let mut officer = DeskClient::new(node.desk("officer").await?);
    withdraw(&mut officer, &ids[2]).await?;
    disk.empty()?;
    tokio::time::sleep(LOOKED_AT_EVERY).await;
    create(&mut officer, 10).await?;
    for (id, expected) in ids.iter().zip(["withdrawn", "withdrawn", "withdrawn", "live", "live"]) {
        assert_eq!(state(&mut officer, id).await?, expected, "{id}");
    }
    assert!(node.terminate().await?);
    assert_sound(&node.home);
    Ok(())
}

/// Even the reserve is eaten up, and a write fails.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_write_that_failed_the_store_goes_on_by_itself_once_there_is_room()
-> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(disk) = Disk::mount(&folder.path().join("disk"), 64) else { return Ok(()) };
    let mut node = node_on(&disk).await?;
    node.start().await?;
    let mut officer = DeskClient::new(node.desk("officer").await?);
    let mut live = Vec::new();
    for seed in 0..120 {
        live.push(create(&mut officer, seed).await?);
    }
    let (mut withdrawn, mut unsure) = (Vec::new(), Vec::new());
    while let Some(id) = live.pop() {
        disk.fill()?;
        match withdraw(&mut officer, &id).await {
            Ok(()) => withdrawn.push(id),
            Err(status) => {
                assert_eq!(
                    (status.code(), reason(&status)),
                    (Code::Unavailable, "store_unavailable".to_owned())
                );
                unsure.push(id);
                break;
            }
        }
    }
    assert_eq!(unsure.len(), 1, "a write failed after {} withdrawals", withdrawn.len());
    let (status, why) = http_get(node.telemetry, "/health/ready").await?;
    assert!(status.contains("503") && why.contains("stopped writing"), "{status} {why}");
    // What failed is not held against anybody: it is not "withdrawn".
    let draft = Samples::new(500).next().expect("a sample").to_string();
    let asked = UpdateAlertRequest {
        id: unsure[0].clone(),
        draft,
        override_reason: "another kind".to_owned(),
        ..Default::default()
    };
    let refused = officer.update_alert(asked.clone()).await.expect_err("nothing is written");
    assert_ne!(reason(&refused), "withdrawn");
    disk.empty()?;
    ready(&node).await?;
    tokio::time::sleep(LOOKED_AT_EVERY).await;
    create(&mut officer, 1000).await?;
    for id in &withdrawn {
        assert_eq!(state(&mut officer, id).await?, "withdrawn", "{id}");
    }
    assert_eq!(state(&mut officer, &unsure[0]).await?, "live");
    officer.update_alert(asked).await?;
    let listed = ListAlertsRequest { page_size: 500, ..Default::default() };
    let listed = officer.list_alerts(listed).await?.into_inner().alerts;
    assert_eq!(listed.len(), live.len() + 2);
    let reserve = node.home.join("store/reserve");
    let full = std::fs::metadata(&reserve)?.len() == 16 * 1024 * 1024;
    assert!(full || create(&mut officer, 1001).await.is_ok());
    assert!(node.terminate().await?);
    assert_sound(&node.home);
    Ok(())
}
