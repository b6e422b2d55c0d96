//! `entente-node compact`: what erased alerts left is given back, and nothing else is lost,
//! whenever it is killed.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use entente_node::sample::Samples;
use entente_proto::admin::ListEntriesRequest;
use entente_proto::admin::audit_client::AuditClient;
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::notices_client::NoticesClient;
use entente_proto::desk::{
    AcknowledgeNoticeRequest, CreateAlertRequest, GetAlertRequest, GetNoticeRequest,
    ListAlertsRequest, ListNoticesRequest, SendNoticeRequest, WithdrawAlertRequest,
};
use entente_tests::processes::Process;
use tokio::time::Instant;

const PROGRAM: &str = env!("CARGO_BIN_EXE_simulate");

/// Alerts created; of each five one stays.
const ALERTS: usize = 150;

/// How long a notice and its acknowledgement may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn node(command: &str, home: &Path) -> Command {
    let mut program = Command::new(PROGRAM);
    program.args(["node", command, "--home"]).arg(home);
    program.stdout(Stdio::piped()).stderr(Stdio::piped());
    program
}

fn said(command: &str, home: &Path) -> anyhow::Result<String> {
    let output = node(command, home).output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said)?;
    anyhow::ensure!(output.status.success(), "{command}: {said}");
    Ok(said)
}

/// Blocks of the files below a folder, without what is kept back.
fn bytes_below(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for file in std::fs::read_dir(folder)? {
        let file = file?;
        if file.file_type()?.is_dir() {
            bytes += bytes_below(&file.path())?;
        } else if file.file_name() != *"reserve" {
            bytes += file.metadata()?.blocks() * 512;
        }
    }
    Ok(bytes)
}

async fn filled(dk: &Process) -> anyhow::Result<()> {
    let mut officer = DeskClient::new(dk.desk("officer").await?);
    let mut created = Vec::new();
    for sample in Samples::new(3).take(ALERTS) {
        let asked = CreateAlertRequest { draft: sample.to_string(), ..Default::default() };
        // Two samples may have one name and birth date.
        let Ok(answer) = officer.create_alert(asked).await else { continue };
        created.push(answer.into_inner().id);
    }
    for (number, id) in created.into_iter().enumerate() {
        if !number.is_multiple_of(5) {
            officer.withdraw_alert(WithdrawAlertRequest { id, reason: "done".to_owned() }).await?;
        }
    }
    Ok(())
}

/// Sends a notice to another authority, whose desk acknowledges it.
async fn noticed(dk: &Process, fr: &Process) -> anyhow::Result<()> {
    dk.admit(&fr.descriptor()?).await?;
    fr.admit(&dk.descriptor()?).await?;
    let mut ours = NoticesClient::new(dk.desk("officer").await?);
    let mut theirs = NoticesClient::new(fr.desk("officer").await?);
    let sent = SendNoticeRequest {
        to: "fr.police-judiciaire".to_owned(),
        text: "The vehicle was seen again.".to_owned(),
        ..Default::default()
    };
    let id = ours.send_notice(sent).await?.into_inner().id;
    let read = AcknowledgeNoticeRequest { id: id.clone(), who: "night desk".to_owned() };
    let arrived = Instant::now() + PATIENCE;
    while let Err(status) = theirs.acknowledge_notice(read.clone()).await {
        anyhow::ensure!(Instant::now() < arrived, "{status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let asked = GetNoticeRequest { id };
    while ours.get_notice(asked.clone()).await?.into_inner().who.is_empty() {
        anyhow::ensure!(Instant::now() < arrived, "no word of it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Every notice with its text and with who acknowledged it.
async fn notices(dk: &Process) -> anyhow::Result<BTreeSet<String>> {
    let mut desk = NoticesClient::new(dk.desk("officer").await?);
    let listed = desk.list_notices(ListNoticesRequest::default()).await?.into_inner();
    let mut found = BTreeSet::new();
    for notice in listed.notices {
        let shown = desk.get_notice(GetNoticeRequest { id: notice.id }).await?.into_inner();
        found.insert(format!("{} {} {}", shown.id, shown.text, shown.who));
    }
    Ok(found)
}

/// Every alert with its content, withdrawn ones by their ids, and every entry of the log.
async fn held(dk: &Process) -> anyhow::Result<(BTreeSet<String>, Vec<Vec<u8>>)> {
    let mut officer = DeskClient::new(dk.desk("officer").await?);
    let mut held = BTreeSet::new();
    for state in ["live", "withdrawn"] {
        let state = state.to_owned();
        let asked = ListAlertsRequest { state, page_size: 1000, ..Default::default() };
        for alert in officer.list_alerts(asked).await?.into_inner().alerts {
            let (id, live) = (alert.id.clone(), alert.state == "live");
            let asked = GetAlertRequest { id, export: live, ..Default::default() };
            // Of a withdrawn one nothing is left to be shown.
            let shown = officer.get_alert(asked).await.map(|shown| shown.into_inner().token);
            assert_eq!(shown.is_ok(), live, "{alert:?}");
            held.insert(format!("{alert:?} {:?}", shown.ok()));
        }
    }
    let mut auditor = AuditClient::new(dk.desk("auditor").await?);
    let mut entries = auditor.list_entries(ListEntriesRequest::default()).await?.into_inner();
    let mut log = Vec::new();
    while let Some(entry) = entries.message().await? {
        log.push(entry.leaf);
    }
    Ok((held, log))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_erased_alerts_left_is_given_back_through_kills_at_any_moment() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut dk = Process::prepare(folder.path(), "dk.politi", PROGRAM)?;
    dk.start().await?;
    filled(&dk).await?;
    let mut fr = Process::prepare(folder.path(), "fr.police-judiciaire", PROGRAM)?;
    fr.start().await?;
    noticed(&dk, &fr).await?;
    assert!(fr.terminate().await?);
    let told = notices(&dk).await?;
    assert_eq!(told.len(), 1);
    let (before, log) = held(&dk).await?;
    assert!(said("compact", &dk.home).is_err(), "a node runs on it");
    assert!(dk.terminate().await?);
    let took = bytes_below(&dk.home.join("store"))?;
    let mut killed = 0;
    for pause in (0..).map(|try_| Duration::from_millis(try_ * 4)) {
        let mut compact = node("compact", &dk.home).spawn()?;
        std::thread::sleep(pause);
        let ended = compact.try_wait()?;
        compact.kill()?;
        compact.wait()?;
        match ended {
            None => killed += 1,
            Some(ended) => {
                assert!(ended.success());
                break;
            }
        }
    }
    assert!(killed > 1, "{killed} kills");
    let takes = bytes_below(&dk.home.join("store"))?;
    assert!(takes < took / 2, "{takes} of {took} bytes");
    assert!(!dk.home.join("store/compact").exists());
    let checked = said("check", &dk.home)?;
    assert!(checked.contains("all of them sound"), "{checked}");
    dk.start().await?;
    let (after, longer) = held(&dk).await?;
    assert_eq!(after, before);
    assert_eq!(notices(&dk).await?, told);
    assert_eq!(longer.get(..log.len()), Some(log.as_slice()));
    let compacted = longer.iter().filter(|leaf| {
        std::str::from_utf8(leaf).is_ok_and(|leaf| leaf.contains("store.compacted"))
    });
    assert!(compacted.count() >= 1, "it is in the log");
    filled(&dk).await?;
    assert!(dk.terminate().await?);
    let checked = said("check", &dk.home)?;
    assert!(checked.contains("all of them sound"), "{checked}");
    Ok(())
}
