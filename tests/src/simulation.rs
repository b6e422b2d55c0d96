//! Operations and faults, drawn from a seed or kept in a file; when the dust has settled,
//! everything must agree.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::time::Duration;

use anyhow::{Context, ensure};
use entente_node::alert::{ClaimSet, View};
use entente_node::audit::Entry;
use entente_node::desk::{DeskError, Issued};
use entente_node::exchange::{RECEIPT_TYP, Receipt};
use entente_node::holding::{read_held, read_own};
use entente_node::id::{AlertId, CLOCK_TOLERANCE_S, Clock, Entropy, Version};
use entente_node::jose;
use entente_node::matching::Query;
use entente_node::node::Node;
use entente_node::policy::Sharing;
use entente_node::roles::{Actor, Role};
use entente_node::store::{
    Copies, Ledger, Notices, Own, ParkedOut, Read, Scan, StreamOut, StreamsIn, StreamsOut,
    Tombstones,
};
use entente_node::{admin, desk};
use serde_json::json;
use tokio::task::JoinSet;

use crate::federation::{ALL, Federation, TestNode, person, until};
use crate::marks::check_bytes;
use crate::proxy::Fault;

use restored::Backup;

mod clocks;
mod disks;
mod notices;
mod operation;
mod restored;
mod shrink;

pub use operation::{Operation, generate, parse, print};
pub use shrink::shrunk;

use operation::{Fill, Narrowing, Shape};

const NAMES: [&str; 4] = ["dk.politi", "fr.police-judiciaire", "de.bka", "pl.policja"];

/// Bytes of a key slot, and its first byte when it holds a key.
const SLOT: (usize, u8) = (64, 1);

/// Numbers that alerts are drawn from, so that two draw the same.
const ALERT_NUMBERS: u32 = 1000;

/// Passports that people in alerts have, so that several have the same.
const PASSPORTS: u64 = 24;

/// Alerts that are created at once, at most.
const AT_ONCE: usize = 6;

/// Of a node's disk: the reserve, and room for all that a simulation makes.
const DISK_MEGABYTES: u32 = 64;

/// Alerts that end early do so then, in days: far beyond what a simulation takes, and within the
/// leaps of clocks.
const ENDS_IN_DAYS: i64 = 10;

const DAY_S: i64 = 86_400;

/// What was parked for lack of room is offered again after this many seconds, and what a clock in
/// doubt held back.
const PARKED_S: i64 = CLOCK_TOLERANCE_S + 1;

/// What was done, for people.
#[derive(Default)]
pub struct Report {
    counts: BTreeMap<&'static str, usize>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in &self.counts {
            write!(f, "{count} {name}, ")?;
        }
        f.write_str("all agree")
    }
}

struct World {
    federation: Federation,
    officer: Actor,
    /// Every alert that was ever acknowledged, in that order.
    alerts: Vec<AlertId>,
    /// Every notice, likewise.
    notices: Vec<notices::Sent>,
    /// What was acknowledged to an officer: newest version, or withdrawn.
    acknowledged: BTreeMap<AlertId, Option<Version>>,
    backups: Vec<Option<Backup>>,
    created: u64,
    report: Report,
}

/// Runs operations; an error says what did not agree.
///
/// # Errors
/// The operation that failed, or what does not agree in the end.
pub async fn run(operations: &[Operation]) -> anyhow::Result<Report> {
    let entropy = Entropy::os().with_alert_numbers(ALERT_NUMBERS);
    let federation = Federation::start_with(&NAMES, &entropy, Some(DISK_MEGABYTES)).await?;
    let mut world = World {
        federation,
        officer: person(Role::Officer),
        alerts: Vec::new(),
        notices: Vec::new(),
        acknowledged: BTreeMap::new(),
        backups: NAMES.iter().map(|_| None).collect(),
        created: 0,
        report: Report::default(),
    };
    for node in &world.federation.nodes {
        node.apply(ALL).await?;
    }
    for (number, operation) in operations.iter().enumerate() {
        let done = world.operate(operation).await;
        done.with_context(|| format!("operation {}, {operation:?}", number + 1))?;
    }
    world.calm().await?;
    world.check().await?;
    let report = world.report;
    world.federation.stop().await?;
    Ok(report)
}

impl World {
    fn count(&mut self, what: &'static str) {
        *self.report.counts.entry(what).or_default() += 1;
    }

    async fn operate(&mut self, operation: &Operation) -> anyhow::Result<()> {
        match operation {
            Operation::Create { at, drafts } => self.create(*at, drafts).await,
            Operation::Update { alert, draft } => self.update(*alert, *draft).await,
            Operation::Withdraw { alert } => self.withdraw(*alert).await,
            Operation::Apply { at, policy } => self.apply(*at, policy).await,
            Operation::Disturb { at, fault } => self.disturb(*at, *fault),
            Operation::Restart { at } => self.restart(*at).await,
            Operation::Jump { at, seconds } => self.jump(*at, *seconds),
            Operation::Leap { at, ahead } => self.leap(*at, *ahead).await,
            Operation::LeapAcrossAStart { at, ahead, restart, draft } => {
                self.leap_across_a_start(*at, *ahead, *restart, *draft).await
            }
            Operation::Fill { at, fill } => self.fill(*at, fill).await,
            Operation::BackUp { at } => self.back_up(*at).await,
            Operation::Restore { at, now, narrowing, again } => {
                self.restore(*at, *now, narrowing, *again).await
            }
            Operation::Suspend { at } => self.suspend(*at).await,
            Operation::SendNotice { from, to } => self.send_notice(*from, *to).await,
            Operation::AcknowledgeNotice { notice } => self.acknowledge_notice(*notice).await,
        }
    }

    fn draft(&mut self, shape: Shape) -> serde_json::Value {
        self.created += 1;
        let (number, passport) = (self.created, shape.passport);
        let category = if shape.missing { "missing_protect" } else { "discreet_check" };
        let handling = if shape.restricted { "H1" } else { "H0" };
        let person = if shape.missing { "missing" } else { "suspect" };
        let early = Clock::system().now().plus(ENDS_IN_DAYS * DAY_S).to_string();
        let mut draft = json!({
            "category": category,
            "exploitation": ["labour"],
            "handling": [handling],
            "legal_basis": "act 1",
            "case_ref": format!("MARKc{number:06}"),
            "subjects": [{
                "category": person,
                "names": [{ "family": format!("MARKf{number:06}"), "given": "Given" }],
                "birth_date": "1990-01-31",
                "marks": [format!("MARKm{number:06}")],
                "identifiers": [
                    { "type": "passport", "country": "DK", "number": passport_number(passport) },
                ],
            }],
            "locations": [
                { "kind": "transit", "nuts3": "DK011", "text": format!("MARKt{number:06}") },
            ],
        });
        if shape.ends {
            draft["expires_at"] = early.into();
        }
        draft
    }

    /// It was acknowledged to the officer; nothing was under its number before.
    fn acknowledge(&mut self, id: AlertId) -> anyhow::Result<()> {
        let before = self.acknowledged.insert(id.clone(), Some(1));
        ensure!(before.is_none(), "{id} was given twice");
        self.alerts.push(id);
        self.count("created");
        Ok(())
    }

    async fn create(&mut self, at: usize, drafts: &[Shape]) -> anyhow::Result<()> {
        let mut creating = JoinSet::new();
        for draft in drafts {
            let (draft, officer) = (self.draft(*draft).to_string(), self.officer.clone());
            let node = self.federation.nodes[at].node().clone();
            creating.spawn(async move { desk::create(&node, &draft, "seen both", &officer).await });
        }
        while let Some(created) = creating.join_next().await {
            match created? {
                Ok(Issued { id, .. }) => self.acknowledge(id)?,
                Err(error) if is_conflict(&error) => self.count("conflicts"),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// One of those that live, by the order of their creation, of one node or of all.
    fn live(&self, alert: usize, at: Option<usize>) -> Option<(AlertId, usize)> {
        let is_live = |id: &&AlertId| matches!(self.acknowledged.get(*id), Some(Some(_)));
        let place = |id: &AlertId| NAMES.iter().position(|n| *n == id.authority().as_str());
        let live = self.alerts.iter().filter(is_live).filter_map(|id| Some((id, place(id)?)));
        let live: Vec<_> = live.filter(|(_, owner)| at.is_none_or(|at| at == *owner)).collect();
        let (id, owner) = live.get(alert % live.len().max(1))?;
        Some(((*id).clone(), *owner))
    }

    async fn update(&mut self, alert: usize, draft: Shape) -> anyhow::Result<()> {
        let Some((id, owner)) = self.live(alert, None) else { return Ok(()) };
        let draft = self.draft(draft).to_string();
        let node = self.federation.nodes[owner].node();
        match desk::update(node, &id, 0, &draft, "found out", &self.officer).await {
            Ok(updated) => {
                self.acknowledged.insert(id, Some(updated.version));
                self.count("updated");
            }
            Err(error) if is_conflict(&error) => self.count("conflicts"),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn withdraw(&mut self, alert: usize) -> anyhow::Result<()> {
        let Some((id, owner)) = self.live(alert, None) else { return Ok(()) };
        desk::withdraw(self.federation.nodes[owner].node(), &id, "done", &self.officer).await?;
        self.acknowledged.insert(id, None);
        self.count("withdrawn");
        Ok(())
    }

    async fn apply(&mut self, at: usize, policy: &str) -> anyhow::Result<()> {
        self.federation.nodes[at].apply(policy).await?;
        self.count("policies");
        Ok(())
    }

    fn disturb(&mut self, at: usize, fault: Fault) -> anyhow::Result<()> {
        self.federation.nodes[at].proxy.set(fault);
        self.count("faults");
        Ok(())
    }

    async fn restart(&mut self, at: usize) -> anyhow::Result<()> {
        self.federation.nodes[at].stop().await?;
        self.federation.nodes[at].start().await?;
        self.count("restarts");
        Ok(())
    }

    async fn suspend(&mut self, at: usize) -> anyhow::Result<()> {
        use entente_node::trust::PeerState;
        let peer = self.federation.nodes[(at + 1) % NAMES.len()].authority.clone();
        let node = self.federation.nodes[at].node();
        let (one, two) = (person(Role::Administrator), person(Role::Coordinator));
        admin::change_peer(node, &peer, PeerState::Suspended, "incident", &one).await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
        admin::change_peer(node, &peer, PeerState::Active, "closed", &two).await?;
        self.count("suspensions");
        Ok(())
    }

    /// What peers hold of this node's alerts.
    fn known_elsewhere(&self, at: usize) -> anyhow::Result<Vec<(AlertId, Version)>> {
        let mut known = Vec::new();
        for node in self.federation.nodes.iter().enumerate().filter(|(n, _)| *n != at).map(|x| x.1)
        {
            for (id, copy) in node.node().store.scan(Scan::<Copies>::all(), 10_000)? {
                if id.authority() == &self.federation.nodes[at].authority {
                    known.push((id, copy.version));
                }
            }
        }
        Ok(known)
    }

    /// A backup that is restored loses what no peer had been given: the model follows the store.
    fn forget_what_only_it_held(&mut self, at: usize) -> anyhow::Result<()> {
        let node = self.federation.nodes[at].node();
        let own = |id: &AlertId| id.authority() == &self.federation.nodes[at].authority;
        let ids: Vec<AlertId> = self.acknowledged.keys().filter(|id| own(id)).cloned().collect();
        for id in ids {
            match node.store.get::<Own>(&id)? {
                Some(held) => self.acknowledged.insert(id, Some(held.version)),
                None if node.store.get::<Tombstones>(&id)?.is_some() => {
                    self.acknowledged.insert(id, None)
                }
                None => self.acknowledged.remove(&id),
            };
        }
        Ok(())
    }

    /// Every fault ends, every clock is right, and every stream says all it has to say.
    async fn calm(&mut self) -> anyhow::Result<()> {
        for node in &self.federation.nodes {
            node.proxy.set(Fault::Cut);
            node.clock.shift(0);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        for node in &self.federation.nodes {
            node.proxy.set(Fault::None);
            node.wake();
        }
        self.federation.settle().await?;
        if self.parked()?.is_empty() {
            return Ok(());
        }
        // What a peer had no room for, or the clock forbade, is offered again by itself some
        // minutes later.
        for node in &self.federation.nodes {
            node.clock.pass(PARKED_S);
        }
        self.federation.nodes.iter().for_each(TestNode::wake);
        let offered = until("what was parked to be offered again", || {
            Ok(self.parked()?.is_empty().then_some(()))
        });
        offered.await.with_context(|| self.parked().unwrap_or_default().join(", "))?;
        self.federation.settle().await
    }

    fn parked(&self) -> anyhow::Result<Vec<String>> {
        let mut parked = Vec::new();
        for node in &self.federation.nodes {
            for ((peer, id), why) in node.node().store.scan(Scan::<ParkedOut>::all(), 1000)? {
                parked.push(format!("{id} with {peer}: {}", why.reason));
            }
        }
        Ok(parked)
    }

    async fn check(&self) -> anyhow::Result<()> {
        self.check_notices().await?;
        for here in &self.federation.nodes {
            self.check_acknowledged(here)?;
            self.check_searches(here).await?;
            for there in &self.federation.nodes {
                if here.authority != there.authority {
                    check_pair(here, there).with_context(|| {
                        format!("from {} to {}", here.authority, there.authority)
                    })?;
                }
            }
            let (store, key) = (here.node().store.clone(), here.node().log_key.public());
            let report = tokio::task::spawn_blocking(move || store.fsck(&key)).await??;
            ensure!(report.problems.is_empty(), "{}: {:?}", here.authority, report.problems);
            check_slots(here)?;
            check_bytes(&here.home)?;
        }
        Ok(())
    }

    /// A search finds what the records say, and nothing else.
    async fn check_searches(&self, here: &TestNode) -> anyhow::Result<()> {
        let (store, mut expected) = (&here.node().store, BTreeMap::<String, BTreeSet<_>>::new());
        let own = store.scan(Scan::<Own>::all(), 100_000)?.into_iter().map(|(id, _)| id);
        let copies = store.scan(Scan::<Copies>::all(), 100_000)?.into_iter().map(|(id, _)| id);
        for id in own.chain(copies) {
            let (view, _) = alert_held(here.node(), &id)?;
            let people = view.content.subjects.iter().flat_map(|subject| &subject.identifiers);
            for passport in people {
                expected.entry(passport.number().to_owned()).or_default().insert(id.clone());
            }
        }
        for passport in 0..PASSPORTS {
            let number = passport_number(passport);
            let asked = ("passport".to_owned(), "DK".to_owned(), number.clone());
            let query = Query::parse(&[asked], "", "", "")?;
            let why = desk::Justification {
                case_ref: "case".to_owned(),
                offence: "labour".parse().map_err(anyhow::Error::msg)?,
                subject: None,
                aim: desk::Aim::Identify,
            };
            let found = desk::search(here.node(), &query, &why, &self.officer).await?;
            let found: BTreeSet<_> = found.hits.into_iter().map(|hit| hit.id).collect();
            let expected = expected.remove(&number).unwrap_or_default();
            ensure!(found == expected, "{}: {number} finds {found:?}", here.authority);
        }
        Ok(())
    }

    fn check_acknowledged(&self, here: &TestNode) -> anyhow::Result<()> {
        for (id, version) in &self.acknowledged {
            if id.authority() == &here.authority {
                let held = here.node().store.get::<Own>(id)?.map(|own| own.version);
                ensure!(held == *version, "{id}: acknowledged {version:?}, held {held:?}");
            }
        }
        Ok(())
    }
}

fn passport_number(passport: u64) -> String {
    format!("MARKP{passport:06}")
}

/// What other alerts say of the same person forbids it, or came in at the same moment.
fn is_conflict(error: &DeskError) -> bool {
    matches!(error, DeskError::Incompatible(_) | DeskError::Raced(_))
}

/// An alert that is held, and whether it is an own one.
fn alert_held(node: &Node, id: &AlertId) -> anyhow::Result<(View, bool)> {
    let held = node.store.read_blocking(|now| anyhow::Ok(read_held(now, id)?))?;
    held.with_context(|| format!("{id} is not held"))
}

/// What `there` holds is what `here`'s policy names, and `here`'s ledger says so.
fn check_pair(here: &TestNode, there: &TestNode) -> anyhow::Result<()> {
    let (sender, receiver) = (here.node(), there.node());
    let out = sender.store.get::<StreamsOut>(&there.authority)?.context("no stream out")?;
    let held = receiver.store.get::<StreamsIn>(&here.authority)?.context("no stream in")?;
    let ends = (out.epoch, out.acked, out.acked_chain)
        == (held.epoch, held.seq, held.chain.unwrap_or(out.acked_chain));
    ensure!(ends, "the ends disagree: {} {} and {} {}", out.epoch, out.acked, held.epoch, held.seq);
    check_receipt(here, there, &out)?;
    let mut expected = HashSet::new();
    for (id, own) in sender.store.scan(Scan::<Own>::all(), 100_000)? {
        let view = sender.store.read_blocking(|now| read_own(now, &id, &own))?;
        let policy = sender.policy.load();
        let decision = policy.1.decide(&there.authority, &view.facts(), sender.clock.now());
        let Sharing::View(allowed) = decision.sharing else { continue };
        let copy = receiver.store.get::<Copies>(&id)?;
        let copy = copy.with_context(|| format!("{id} is missing, rule {:?}", decision.rule))?;
        let allowed = allowed.intersection(view.claims);
        ensure!(copy.version == own.version, "{id}: {} held, {} issued", copy.version, own.version);
        ensure!(copy.claims == allowed, "{id}: {:?} held, {allowed:?} allowed", copy.claims);
        let (opened, _) = alert_held(receiver, &id)?;
        ensure!(opened.claims == allowed, "{id}: the token has other claims than its record");
        let key = (there.authority.clone(), id.clone());
        let ledger =
            sender.store.get::<Ledger>(&(key.0, key.1.into()))?.context("not in the ledger")?;
        let all = ledger.possible.iter().chain(&ledger.held);
        let known = all.fold(ClaimSet::EMPTY, |known, d| known.union(d.claims));
        ensure!(
            copy.claims.is_subset(known),
            "{id} is held and not in the ledger: {ledger:?}\n{}",
            story(here, there, &id)?
        );
        ensure!(ledger.possible.is_empty() && !ledger.erased, "{id}: the ledger is not settled");
        expected.insert(id);
    }
    for (id, _) in receiver.store.scan(Scan::<Copies>::all(), 100_000)? {
        let theirs = id.authority() == &here.authority;
        ensure!(!theirs || expected.contains(&id), "{id} is held, and no rule names it");
    }
    Ok(())
}

/// The receipt that `here` keeps is signed by `there`, for the place up to which all is
/// acknowledged.
fn check_receipt(here: &TestNode, there: &TestNode, out: &StreamOut) -> anyhow::Result<()> {
    if out.acked == 0 {
        return Ok(());
    }
    let (directory, now) = (here.node().directory.load_full(), here.node().clock.now());
    let key = |kid: &_| directory.statement_key(&there.authority, kid, now);
    let receipt: Receipt = jose::verify(RECEIPT_TYP, &out.receipt, key).context("the receipt")?;
    let ends = (&receipt.iss, &receipt.aud) == (&there.authority, &here.authority);
    let place = (receipt.epoch, receipt.seq, receipt.chain);
    ensure!(ends && place == (out.epoch, out.acked, out.acked_chain), "{receipt:?} for {out:?}");
    Ok(())
}

/// What both ends' audit logs say of an alert, and of policies, for whoever looks for what went
/// wrong.
fn story(here: &TestNode, there: &TestNode, id: &AlertId) -> anyhow::Result<String> {
    let mut told = Vec::new();
    for node in [here, there] {
        for (_, leaf) in node.node().store.leaves(0, 1_000_000)? {
            let entry = Entry::parse(&leaf)?;
            let other = if node.authority == here.authority { there } else { here };
            let about = entry.alert.as_ref().is_none_or(|alert| alert == id)
                && entry.peer.as_ref().is_none_or(|peer| *peer == other.authority);
            if about {
                let facts = serde_json::to_string(&entry.facts)?;
                told.push(format!(
                    "{} {} {}: {} {facts:.300}",
                    node.authority, entry.index, entry.at, entry.kind
                ));
            }
        }
    }
    Ok(told.join("\n"))
}

/// As many keys as records: what was erased can be opened by nobody.
fn check_slots(node: &TestNode) -> anyhow::Result<()> {
    let slots = std::fs::read(node.home.join("store/slots"))?;
    let kept = slots.chunks(SLOT.0).filter(|slot| slot.first() == Some(&SLOT.1)).count() as u64;
    let store = &node.node().store;
    let notices = store.scan(Scan::<Notices>::all(), 100_000)?;
    let words = notices.iter().filter(|(_, notice)| notice.acknowledged.is_some()).count();
    let notices = (notices.len() + words) as u64;
    let records = store.count::<Own>() + store.count::<Copies>() + notices;
    ensure!(kept == records, "{}: {kept} keys for {records} records", node.authority);
    Ok(())
}
