//! `entente-node check`: names everything that would stop a node, or needs attention, before it
//! starts.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::people::keys_left;
use super::{Credentials, Home, HomeError, Layout, read_config, read_node_key, shown};
use crate::id::{Clock, Entropy};
use crate::pki::read_signing_key;
use crate::store::{Problem, Remedy, StoreError, Upgrade};
use crate::trust::{Ending, Ends, Part};

/// How many problems of a store are named one by one: somebody who has more starts with these.
const PROBLEMS_SHOWN_MAX: usize = 10;

/// The finding about one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `configuration`, `keys`, `certificates`, `permissions`, `peers`, `people`, `addresses` or
    /// `store`.
    pub part: &'static str,
    /// How serious it is.
    pub state: State,
    /// What was found, and what to do about it.
    pub found: String,
}

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Ok,
    /// The node can run, but somebody should act.
    Warning,
    /// The node can't run.
    Failed,
}

impl Finding {
    /// Whether the node can run with it.
    pub fn ok(&self) -> bool {
        self.state != State::Failed
    }

    fn warning(part: &'static str, found: String) -> Self {
        Self { part, state: State::Warning, found }
    }
}

/// Checks all parts of a home folder, each separately. Reads the whole store once, unless a node
/// has it open.
pub fn check(home: &Path, clock: &Clock) -> Vec<Finding> {
    let layout = Layout::new(home);
    let mut findings = vec![
        finding("configuration", read_config(&layout).map(|c| format!("of {}", c.authority))),
        finding("keys", keys(&layout)),
        finding("permissions", permissions(&layout)),
        finding("certificates", credentials(&layout, clock)),
    ];
    findings.extend(endings(&layout, clock));
    findings.extend(peers(&layout));
    findings.extend(people(&layout));
    if findings.iter().all(Finding::ok) {
        let store = store(home, clock);
        let running = matches!(store, Err(HomeError::Store(StoreError::InUse)));
        findings.push(finding("addresses", addresses(&layout, running)));
        let beside = || Ok("not read: a node runs on this home and has it open".to_owned());
        findings.push(match store {
            Err(HomeError::Store(error @ StoreError::Older { slow: false })) => {
                Finding::warning("store", format!("not read: {error}"))
            }
            _ if running => finding("store", beside()),
            store => finding("store", store),
        });
    }
    findings
}

/// Tries to bind the addresses, unless the node runs and holds them itself.
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
                "{setting} {address} can't be bound: {error}; end what listens there, or change \
                 the setting"
            ))
        })?;
    }
    Ok("every address can be bound".to_owned())
}

fn finding(part: &'static str, result: Result<String, HomeError>) -> Finding {
    match result {
        Ok(found) => Finding { part, state: State::Ok, found },
        Err(error) => Finding { part, state: State::Failed, found: error.to_string() },
    }
}

/// Warns of parts that expire soon, and of expired keys, with which a node still reads, searches
/// and erases.
fn endings(layout: &Layout, clock: &Clock) -> Vec<Finding> {
    let read = || -> Result<Ends, HomeError> {
        let config = read_config(layout)?;
        let statement = read_signing_key(&layout.statement_key())?;
        let log = read_signing_key(&layout.log_key())?;
        let credentials = Credentials::read(layout, &config, &statement, &log, clock)?;
        Ok(credentials.ends(&statement, &log))
    };
    // An unreadable part is a separate finding.
    let near = read().unwrap_or_default().near(clock.shown(), clock.now());
    let part = |ending: &Ending| match ending.part {
        Part::StatementKey | Part::LogKey => "keys",
        Part::Certificate | Part::Root | Part::UserCa => "certificates",
    };
    near.iter().map(|ending| Finding::warning(part(ending), ending.to_string())).collect()
}

/// Warns when peers can't reach this node, or have nobody to call about a hit.
fn peers(layout: &Layout) -> Vec<Finding> {
    let Ok(config) = read_config(layout) else { return Vec::new() };
    let advertise = &config.exchange.advertise;
    let who = advertise.reach().too_few();
    let reach = who.map(|who| format!("exchange.advertise {advertise} can be reached by {who}"));
    let contact = config.contact.is_empty().then(|| {
        "contact is empty: peers must know whom to call about a hit, day and night".to_owned()
    });
    let warnings = reach.into_iter().chain(contact);
    warnings.map(|found| Finding::warning("peers", found)).collect()
}

/// Warns when the keys of several people lie in one place, since then one person can act as two.
fn people(layout: &Layout) -> Option<Finding> {
    let left = keys_left(layout).ok().filter(|left| left.len() > 1)?;
    Some(Finding::warning(
        "people",
        format!(
            "keys of {} people lie here ({}): give each to its owner, and delete it here",
            left.len(),
            left.join(", ")
        ),
    ))
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
    // A check changes nothing: what it finds may be a reason to go back to the earlier version.
    let store = home.open_store_with((clock.clone(), Entropy::os()), Upgrade::No)?;
    let report = store.fsck(&home.log_key.public())?;
    store.close();
    if !report.problems.is_empty() {
        return Err(HomeError::Unfit(listed(&report.problems)));
    }
    let (own, copies, log) = (report.own, report.copies, report.log);
    Ok(format!("{own} own alerts, {copies} copies, {log} log entries, all of them sound"))
}

/// The first problems, with what to do about each; if a backup must be restored, only that one.
fn listed(problems: &[Problem]) -> String {
    let shown: Vec<_> = match problems.iter().find(|problem| problem.remedy == Remedy::Restore) {
        Some(gravest) => vec![gravest],
        None => problems.iter().take(PROBLEMS_SHOWN_MAX).collect(),
    };
    let more = match problems.len() - shown.len() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let shown: Vec<_> = shown.into_iter().map(ToString::to_string).collect();
    format!("{}{more}", shown.join("; "))
}
