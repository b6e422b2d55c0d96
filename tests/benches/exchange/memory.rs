//! Resident memory of a node as a process of its own.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use entente_node::home::Layout;
use entente_proto::desk::ListAlertsRequest;
use entente_proto::desk::desk_client::DeskClient;
use entente_tests::federation::TestNode;
use tokio::process::Command;
use tonic::transport::Channel;

use super::search::search;

/// Searches made before the memory of a node in use is looked at.
const SEARCHES: usize = 5000;

/// Starts a stopped node as a process, uses it if `used`, waits until it has come to rest, and
/// returns its resident memory in MiB.
pub async fn resident(node: &TestNode, used: bool) -> anyhow::Result<f64> {
    let home = &node.home;
    let addresses = Layout::new(home).addresses();
    let _ = std::fs::remove_file(&addresses);
    let mut child = Command::new(env!("CARGO_BIN_EXE_simulate"))
        .args(["node", "run", "--home"])
        .arg(home)
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    while !addresses.exists() {
        anyhow::ensure!(child.try_wait()?.is_none(), "the node ended");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    if used {
        let addresses: serde_json::Value = serde_json::from_slice(&std::fs::read(&addresses)?)?;
        let desk = addresses["desk"].as_str().context("the desk's address")?.parse()?;
        use_it(node.call("officer", desk).await?).await?;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let pid = child.id().context("the node ended")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    child.kill().await?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 =
        line.and_then(|line| line.trim().strip_suffix("kB")).context("VmRSS")?.trim().parse()?;
    Ok(kib / 1024.0)
}

/// Every alert is read once, and many are searched for.
async fn use_it(desk: Channel) -> anyhow::Result<()> {
    let mut officer = DeskClient::new(desk.clone());
    let mut asked = ListAlertsRequest { page_size: 1000, ..ListAlertsRequest::default() };
    loop {
        let page = officer.list_alerts(asked.clone()).await?.into_inner();
        asked.page_token = page.next_page_token;
        if asked.page_token.is_empty() {
            break;
        }
    }
    for number in 0..SEARCHES {
        search(desk.clone(), number).await?;
    }
    Ok(())
}
