//! `entente-node check`: everything that would stop a node, or should be looked after, named before it is started.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Credentials, Home, HomeError, Layout, read_config, read_node_key, shown};
use crate::id::{Clock, Entropy};
use crate::pki::read_signing_key;
use crate::store::StoreError;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `configuration`, `keys`, `certificates`, `permissions`, `addresses` or `store`.
    pub part: &'static str,
    /// Whether a node can run with it.
    pub ok: bool,
    /// What was found, and what to do about it.
    pub found: String,
}

/// Looks at all parts of a home folder, each by itself. The store is read once, whole, unless a node has it open.
pub fn check(home: &Path, clock: &Clock) -> Vec<Finding> {
    let layout = Layout::new(home);
    let mut findings = vec![
        finding("configuration", read_config(&layout).map(|c| format!("of {}", c.authority))),
        finding("keys", keys(&layout)),
        finding("permissions", permissions(&layout)),
        finding("certificates", credentials(&layout, clock)),
    ];
    if findings.iter().all(|finding| finding.ok) {
        let store = store(home, clock);
        let running = matches!(store, Err(HomeError::Store(StoreError::InUse)));
        findings.push(finding("addresses", addresses(&layout, running)));
        let beside = || Ok("not read: a node runs on this home and has it open".to_owned());
        findings.push(finding("store", if running { beside() } else { store }));
    }
    findings
}

/// A running node holds its addresses itself.
fn addresses(layout: &Layout, running: bool) -> Result<String, HomeError> {
    if running {
        return Ok("not tried: a node runs on this home and holds them".to_owned());
    }
    let config = read_config(layout)?;
    let listens = [
        ("exchange.listen", config.exchange.listen),
        ("desk.listen", config.desk.listen),
        ("telemetry.listen", config.telemetry.listen.address()),
    ];
    for (setting, address) in listens {
        TcpListener::bind(address).map_err(|error| {
            HomeError::Unfit(format!(
                "{setting} {address} can't be bound: {error}; end what listens there, or change the setting"
            ))
        })?;
    }
    Ok("every address can be bound".to_owned())
}

fn finding(part: &'static str, result: Result<String, HomeError>) -> Finding {
    match result {
        Ok(found) => Finding { part, ok: true, found },
        Err(error) => Finding { part, ok: false, found: error.to_string() },
    }
}

fn keys(layout: &Layout) -> Result<String, HomeError> {
    let statement = read_signing_key(&layout.statement_key())?.key_id();
    let log = read_signing_key(&layout.log_key())?.key_id();
    read_node_key(&layout.node_key())?;
    Ok(format!("statement key {statement}, log key {log}"))
}

fn permissions(layout: &Layout) -> Result<String, HomeError> {
    let secret =
        [layout.statement_key(), layout.log_key(), layout.node_key(), layout.certificate_key()];
    for path in &secret {
        let file = |error| HomeError::File(shown(path), error);
        let mode = fs::metadata(path).map_err(file)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let file = shown(path);
            return Err(HomeError::Unfit(format!(
                "{file} can be read by others (mode {mode:o}): run `chmod 600 {file}`"
            )));
        }
    }
    Ok("keys are readable by their owner only".to_owned())
}

fn credentials(layout: &Layout, clock: &Clock) -> Result<String, HomeError> {
    let config = read_config(layout)?;
    let statement = read_signing_key(&layout.statement_key())?;
    let log = read_signing_key(&layout.log_key())?;
    let credentials = Credentials::read(layout, &config, &statement, &log, clock)?;
    let descriptor = &credentials.descriptor;
    let (serial, fingerprint) = (descriptor.descriptor().serial, descriptor.fingerprint());
    Ok(format!("descriptor {serial}, identity {fingerprint}"))
}

fn store(home: &Path, clock: &Clock) -> Result<String, HomeError> {
    let home = Home::read(home, clock)?;
    let store = home.open_store(clock.clone(), Entropy::os())?;
    let report = store.fsck(&home.log_key.public())?;
    store.close();
    if let Some(problem) = report.problems.first() {
        let more = report.problems.len() - 1;
        return Err(HomeError::Unfit(format!(
            "{problem}, and {more} more: set the folder aside and restore a backup"
        )));
    }
    let (own, copies, log) = (report.own, report.copies, report.log);
    Ok(format!("{own} own alerts, {copies} copies, {log} log entries, all of them sound"))
}
