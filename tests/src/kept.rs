//! What earlier versions left behind: their homes, and what they said to each other
//! (`tests/data/README.md`).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use entente_node::desk::{self, State, Wanted};
use entente_node::home::{self, Home};
use entente_node::id::{Clock, Entropy};
use entente_node::node::{Node, Parts, SharedNode};
use entente_node::roles::Role;
use entente_node::store::{UPGRADE_RECORDS_AT_ONCE, Upgrade};
use serde_json::Value;

use crate::federation::person;

/// While the certificates in the homes hold.
pub const DAY: &str = "2026-11-26T12:00:00Z";

/// Unpacks a file of `tests/data`; nothing listens where its nodes did.
///
/// # Errors
/// When it can't be unpacked.
pub fn unpacked(file: &str, to: &Path) -> anyhow::Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(file);
    let done = Command::new("tar").arg("-xzf").arg(&file).arg("-C").arg(to).status()?;
    ensure!(done.success(), "{} was not unpacked", file.display());
    for home in ["old/dk", "old/fr", "wire/dk"] {
        let path = to.join(home).join("entente.toml");
        let Ok(config) = std::fs::read_to_string(&path) else { continue };
        let lines = config.lines().map(|line| match line.starts_with("listen = ") {
            true => "listen = \"127.0.0.1:0\"",
            false => line,
        });
        std::fs::write(&path, lines.collect::<Vec<_>>().join("\n") + "\n")?;
    }
    Ok(())
}

/// Upgrades the store of a home.
///
/// # Errors
/// When it can't be upgraded.
pub fn upgrade(home: &Path, clock: &Clock) -> anyhow::Result<()> {
    let (records_at_once, told) = (UPGRADE_RECORDS_AT_ONCE, &mut |_: &_| {});
    let whole = Upgrade::Whole { records_at_once, told };
    Ok(home::upgrade(home, clock.clone(), Entropy::os(), whole)?)
}

/// The node of a home, without its doors.
///
/// # Errors
/// When its store is of an earlier version, or doesn't open.
pub fn open(home: &Path, clock: &Clock) -> anyhow::Result<SharedNode> {
    let home = Home::read(home, clock)?;
    let store = home.open_store(clock.clone(), Entropy::os())?;
    Ok(Node::new(Parts {
        home: home.layout.folder().to_owned(),
        config: home.config,
        clock: clock.clone(),
        entropy: Entropy::os(),
        store,
        statement_key: home.statement_key,
        log_key: home.log_key,
        descriptor: Some(home.credentials.descriptor),
    })?)
}

/// Id, version, own, category and end of an alert.
pub type Line = (String, u64, bool, String, i64);

/// Each alert that is listed, in the order of their ids.
///
/// # Errors
/// When they can't be listed.
pub async fn listed(node: &SharedNode) -> anyhow::Result<Vec<Line>> {
    found(node, Wanted::all(State::Live)).await
}

/// Of the alerts that are listed those that an officer wants.
///
/// # Errors
/// When they can't be listed.
pub async fn found(node: &SharedNode, wanted: Wanted) -> anyhow::Result<Vec<Line>> {
    let page = desk::list(node, wanted, None, 500, &person(Role::Officer)).await?;
    ensure!(page.next.is_none(), "one page");
    let alerts = page.alerts.into_iter().map(|alert| {
        let category = alert.category.map(|category| category.as_str()).unwrap_or_default();
        let (id, version) = (alert.id.to_string(), alert.version.into());
        let end = alert.expires_at.map_or(0, |end| end.seconds());
        (id, version, alert.own, category.to_owned(), end)
    });
    let mut alerts: Vec<_> = alerts.collect();
    alerts.sort();
    Ok(alerts)
}

/// As an earlier version listed them with `--format json`, in the order of their ids.
///
/// # Errors
/// When it is no such list.
pub fn as_it_was(list: &Path) -> anyhow::Result<Vec<Line>> {
    let list: Value = serde_json::from_str(&std::fs::read_to_string(list)?)?;
    let items = list.get("items").or(list.get("alerts")).and_then(Value::as_array);
    let alerts = items.context("a list")?.iter().map(|alert| {
        let text = |name: &str| alert[name].as_str().map(str::to_owned).context("a text");
        let own = alert["own"].as_bool().context("own")?;
        let version = alert["version"].as_u64().context("a version")?;
        // The first versions said the end in seconds.
        let end = match alert["at"].as_i64() {
            Some(at) => at,
            None => text("expires_at")?.parse::<entente_node::id::Timestamp>()?.seconds(),
        };
        Ok((text("id")?, version, own, text("category")?, end))
    });
    let mut alerts = alerts.collect::<anyhow::Result<Vec<_>>>()?;
    alerts.sort();
    Ok(alerts)
}

/// What was recorded: messages one after the other, each after its length in four bytes.
///
/// # Errors
/// When it can't be read, or is cut off.
pub fn recorded(file: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let bytes = std::fs::read(file)?;
    let (mut messages, mut rest) = (Vec::new(), bytes.as_slice());
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length))?;
        let (message, tail) = tail.split_at_checked(length).context("a whole message")?;
        messages.push(message.to_owned());
        rest = tail;
    }
    ensure!(rest.is_empty() && !messages.is_empty(), "whole messages");
    Ok(messages)
}

/// Where the homes of a kept home lie below the folder that it was unpacked to.
pub fn root(folder: &Path) -> PathBuf {
    folder.join("old")
}
