//! What must stay level as a store grows: one node imports, a second receives all of it, each a
//! process of its own. Minutes for a million alerts.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use entente_proto::admin::admin_client::AdminClient;
use entente_proto::admin::audit_client::AuditClient;
use entente_proto::admin::{ApplyPolicyRequest, ApprovePolicyRequest, ListEntriesRequest};
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::{ListAlertsRequest, StatusRequest};
use entente_tests::federation::ALL;
use entente_tests::processes::Process;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::imports::import;
use super::{Bar, Row, median};

/// Alerts over which the first and the last rate are taken, at most.
const SLICE: usize = 50_000;

/// Imports that are open at once.
const IMPORTS: usize = 4;

/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Longest that nothing more may arrive at the receiver before the bench gives up.
const STILL: Duration = Duration::from_secs(60);

/// Pages and filtered looks that are timed: the middle one counts.
const TURNS: usize = 9;

const MIB: f64 = 1024.0 * 1024.0;

pub async fn rows(alerts: usize) -> anyhow::Result<Vec<Row>> {
    let folder = TempDir::with_prefix("entente-scale-")?;
    let prepare = |name| Process::prepare(folder.path(), name, env!("CARGO_BIN_EXE_simulate"));
    let mut dk = prepare("dk.politi")?;
    dk.start().await?;
    let mut rows = imported(&dk, alerts).await?;
    let mut fr = prepare("fr.police-judiciaire")?;
    fr.start().await?;
    rows.extend(received(&dk, &fr, alerts).await?);
    fr.terminate().await?;
    dk.kill().await?;
    rows.extend(after_a_kill(&mut dk).await?);
    dk.terminate().await?;
    rows.extend(checked(&dk).await?);
    Ok(rows)
}

async fn imported(dk: &Process, alerts: usize) -> anyhow::Result<Vec<Row>> {
    let slice = SLICE.min(alerts / 4).max(1);
    let created = Arc::new(AtomicUsize::new(0));
    let mut imports = JoinSet::new();
    for seed in 0..IMPORTS {
        imports.spawn(import(dk.desk("officer").await?, seed, Arc::clone(&created)));
    }
    let mut reached = [0, slice, alerts - slice, alerts].into_iter().peekable();
    let mut times = Vec::new();
    while let Some(next) = reached.peek() {
        if created.load(Ordering::Relaxed) >= *next {
            times.push((Instant::now(), created.load(Ordering::Relaxed)));
            reached.next();
            continue;
        }
        if let Some(ended) = imports.try_join_next() {
            ended??;
            anyhow::bail!("an import ended by itself");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let resident = dk.resident_bytes()? as f64 / MIB;
    imports.shutdown().await;
    let rate = |from: (Instant, usize), to: (Instant, usize)| {
        (to.1 - from.1) as f64 / (to.0 - from.0).as_secs_f64()
    };
    let [began, first, before, end] = times.as_slice() else { anyhow::bail!("four times") };
    let (first, last) = (rate(*began, *first), rate(*before, *end));
    Ok(vec![
        Row::new(format!("import, first {slice}"), first, "alerts/s", Bar::None),
        Row::new(format!("import, last {slice} of {alerts}"), last, "alerts/s", Bar::None),
        Row::new("import, last / first", last / first, "ratio", Bar::AtLeast(0.85)),
        Row::new("resident memory after importing", resident, "MiB", Bar::AtMost(400.0)),
        Row::new("disk an alert of one's own", disk_each(dk, alerts)?, "kB", Bar::AtMost(8.0)),
    ])
}

async fn received(dk: &Process, fr: &Process, alerts: usize) -> anyhow::Result<Vec<Row>> {
    let mut one = AdminClient::new(dk.desk("administrator").await?);
    let asked = ApplyPolicyRequest { source: ALL.to_owned(), dry_run: false };
    let proposal = one.apply_policy(asked).await?.into_inner().proposal;
    let mut two = AdminClient::new(dk.desk("coordinator").await?);
    two.approve_policy(ApprovePolicyRequest { proposal }).await?;
    fr.admit(&dk.descriptor()?).await?;
    dk.admit(&fr.descriptor()?).await?;
    let mut officer = DeskClient::new(fr.desk("officer").await?);
    let (began, mut most) = (Instant::now(), 0);
    let (mut copies, mut changed) = (0, Instant::now());
    while copies < alerts as u64 {
        tokio::time::sleep(LOOK).await;
        most = most.max(fr.resident_bytes()?);
        let held = officer.status(StatusRequest {}).await?.into_inner().copies;
        if held > copies {
            (copies, changed) = (held, Instant::now());
        }
        anyhow::ensure!(changed.elapsed() < STILL, "only {copies} of {alerts} alerts arrived");
    }
    let rate = copies as f64 / began.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = fr.resident_bytes()? as f64 / MIB;
    let most = most as f64 / MIB;
    Ok(vec![
        Row::new("receive", rate, "alerts/s", Bar::None),
        Row::new("resident memory while receiving", most, "MiB", Bar::AtMost(400.0)),
        Row::new("resident memory after receiving", after, "MiB", Bar::AtMost(400.0)),
        Row::new("disk an alert received", disk_each(fr, alerts)?, "kB", Bar::AtMost(8.0)),
    ])
}

/// Blocks that the store takes, without what it keeps back, in kB an alert.
fn disk_each(node: &Process, alerts: usize) -> anyhow::Result<f64> {
    let mut bytes = 0;
    let mut folders = vec![node.home.join("store")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() != *"reserve" {
                bytes += entry.metadata()?.blocks() * 512;
            }
        }
    }
    Ok(bytes as f64 / alerts as f64 / 1000.0)
}

async fn after_a_kill(dk: &mut Process) -> anyhow::Result<Vec<Row>> {
    let began = Instant::now();
    dk.start().await?;
    let ready = began.elapsed().as_secs_f64();
    let page = pages(dk).await?;
    let look = looks(dk).await?;
    let resident = dk.resident_bytes()? as f64 / MIB;
    Ok(vec![
        Row::new("ready after kill -9", ready, "s", Bar::AtMost(5.0)),
        Row::new("a page of 1000 alerts", page, "ms", Bar::AtMost(30.0)),
        Row::new("a filtered look through the log, the slowest", look, "ms", Bar::AtMost(50.0)),
        Row::new("resident memory after lists and looks", resident, "MiB", Bar::AtMost(400.0)),
    ])
}

async fn pages(dk: &Process) -> anyhow::Result<f64> {
    let mut officer = DeskClient::new(dk.desk("officer").await?);
    let mut asked = ListAlertsRequest { page_size: 1000, ..Default::default() };
    let mut times = Vec::new();
    for _ in 0..TURNS {
        let began = Instant::now();
        asked.page_token = officer.list_alerts(asked.clone()).await?.into_inner().next_page_token;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(median(times))
}

/// A hundred entries at most of each: by operation, actor, alert and time.
async fn looks(dk: &Process) -> anyhow::Result<f64> {
    let mut officer = DeskClient::new(dk.desk("officer").await?);
    let listed = ListAlertsRequest { page_size: 1, ..Default::default() };
    let listed = officer.list_alerts(listed).await?.into_inner().alerts;
    let alert = listed.first().context("an alert")?.id.clone();
    let limited = ListEntriesRequest { limit: 100, ..Default::default() };
    let asked = [
        ListEntriesRequest { operation: "policy".to_owned(), ..limited.clone() },
        ListEntriesRequest { actor: "coordinator".to_owned(), ..limited.clone() },
        ListEntriesRequest { alert, ..limited },
    ];
    let mut audit = AuditClient::new(dk.desk("auditor").await?);
    let mut slowest: f64 = 0.0;
    for asked in asked {
        let mut times = Vec::new();
        for _ in 0..TURNS {
            let (began, mut found) = (Instant::now(), 0);
            let mut entries = audit.list_entries(asked.clone()).await?.into_inner();
            while entries.message().await?.is_some() {
                found += 1;
            }
            anyhow::ensure!(found > 0, "no entry fits {asked:?}");
            times.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        slowest = slowest.max(median(times));
    }
    Ok(slowest)
}

/// `entente-node check`, off-line.
async fn checked(dk: &Process) -> anyhow::Result<Vec<Row>> {
    let began = Instant::now();
    let mut check = Command::new(env!("CARGO_BIN_EXE_simulate"))
        .args(["node", "check", "--home"])
        .arg(&dk.home)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let status = format!("/proc/{}/status", check.id().context("it runs")?);
    let mut most = 0.0;
    let ended = loop {
        if let Some(ended) = check.try_wait()? {
            break ended;
        }
        most = most_resident(Path::new(&status)).unwrap_or(most);
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    anyhow::ensure!(ended.success(), "the check found something");
    Ok(vec![
        Row::new("check", began.elapsed().as_secs_f64(), "s", Bar::AtMost(25.0)),
        Row::new("check, most memory", most, "MB", Bar::AtMost(200.0)),
    ])
}

/// Most that a process ever had resident, in MB.
fn most_resident(status: &Path) -> Option<f64> {
    let status = std::fs::read_to_string(status).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0 / 1e6)
}
