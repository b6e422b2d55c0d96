//! Resident memory of a node as a process of its own.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::process::Command;

/// Starts a node on this home, waits until it answers and has come to rest, and returns its resident memory in MiB.
pub async fn resident(home: &Path) -> anyhow::Result<f64> {
    let addresses = home.join("run/addresses.json");
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
    tokio::time::sleep(Duration::from_secs(1)).await;
    let pid = child.id().context("the node ended")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    child.kill().await?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 =
        line.and_then(|line| line.trim().strip_suffix("kB")).context("VmRSS")?.trim().parse()?;
    Ok(kib / 1024.0)
}
