//! The sharing policy: a narrower one is in force at once, one that may disclose more waits for a
//! second person.

use super::AdminError;
use crate::audit::{Event, Operation};
use crate::exchange;
use crate::holding::read_own;
use crate::id::{AlertId, AuthorityId, PolicyVersion, Timestamp};
use crate::node::{Node, SharedNode};
use crate::policy::{Policy, Sharing};
use crate::roles::Actor;
use crate::store::{
    Change, CommitError, Committed, Growth, Ledger, LedgerEntry, Own, Policies, PolicyRecord,
    Proposal, Proposals, Proposed, Read, Scan, Snapshot, StoreError, TakenBack, Tx,
};

/// Most pending proposals: more are a mistake, or an attack on the second person's attention.
pub(super) const PROPOSALS_MAX: usize = 20;

/// The result of applying a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// In force now.
    pub version: PolicyVersion,
    /// The number of the proposal that waits for a coordinator.
    pub proposal: Option<u64>,
    /// Why a second person is needed.
    pub widens: Vec<String>,
    /// The differences from the policy in force, rule by rule.
    pub changes: Vec<String>,
    /// Names in rules that are no peer of this node.
    pub unmatched: Vec<String>,
    /// Pending proposals that can't be approved once this policy is in force: they were based on
    /// the one before it.
    pub outdated: Vec<Waiting>,
}

/// A policy that waits for a second person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The number under which a coordinator approves it.
    pub number: u64,
    /// Who proposed it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Its text.
    pub source: String,
}

/// What a peer gets of an alert, and why.
#[derive(Clone, Debug)]
pub struct Explained {
    /// What the policy gives.
    pub sharing: Sharing,
    /// Number and name of the rule that decided.
    pub rule: Option<(usize, String)>,
    /// Names of the claims that the peer gets.
    pub claims: Vec<&'static str>,
    /// Names of the alert's other claims.
    pub withheld: Vec<&'static str>,
    /// Why each earlier rule did not match.
    pub considered: Vec<String>,
    /// What the peer holds according to the ledger.
    pub ledger: Option<LedgerEntry>,
}

/// Applies a policy. This is a barrier: nothing that the policy withholds leaves afterwards. With
/// `dry_run` nothing changes.
///
/// # Errors
/// When it does not parse, or too many proposals are pending.
pub async fn apply(
    node: &SharedNode,
    source: &str,
    dry_run: bool,
    actor: &Actor,
) -> Result<Applied, AdminError> {
    let new = Policy::parse(source)?;
    let unmatched = new.unmatched(&known_peers(node));
    let (version, old) = &**node.policy.load();
    // The same text again changes nothing, unless it withdraws a pending proposal.
    let same = new.source() == old.source() && pending(node)?.is_empty();
    if dry_run || same {
        let (widens, changes) = (new.widens(old), new.changes(old));
        let outdated = if widens.is_empty() && !same { pending(node)? } else { vec![] };
        let version = *version;
        return Ok(Applied { version, proposal: None, widens, changes, unmatched, outdated });
    }
    let by = actor.name.clone();
    let committed = node.store.commit(move |tx| {
        let (version, old) = in_force(tx)?;
        let (widens, changes) = (new.widens(&old), new.changes(&old));
        if widens.is_empty() {
            let outdated = based_on(tx, version)?;
            let version = put_in_force(tx, version, new.source(), &by, None)?;
            let event =
                Event::new(Operation::Policy, "policy.applied", &by).with("version", version);
            let event = naming(event, &outdated);
            let applied = Applied { version, proposal: None, widens, changes, unmatched, outdated };
            return Ok::<_, AdminError>(Committed::new(applied, event));
        }
        let what = Proposed::Policy { source: new.source().to_owned(), base: version };
        let number = propose(tx, what, &by)?;
        let event = Event::new(Operation::Policy, "policy.proposed", &by).with("proposal", number);
        let (proposal, outdated) = (Some(number), vec![]);
        let applied = Applied { version, proposal, widens, changes, unmatched, outdated };
        Ok(Committed::new(applied, event))
    });
    let applied = committed.await.map_err(CommitError::flatten)?;
    node.refresh()?;
    Ok(applied)
}

fn known_peers(node: &Node) -> Vec<AuthorityId> {
    node.directory.load().all().map(|known| known.peer.authority.clone()).collect()
}

/// Puts a proposed policy in force, approved by a second person.
///
/// # Errors
/// When it is not pending, the same person proposed it, or another policy is in force now.
pub async fn approve(node: &SharedNode, number: u64, actor: &Actor) -> Result<Applied, AdminError> {
    let by = actor.name.clone();
    let known = known_peers(node);
    let committed = node.store.commit(move |tx| {
        let proposal = tx.get::<Proposals>(&number)?.ok_or(AdminError::UnknownProposal(number))?;
        let Proposed::Policy { source, base } = proposal.what else {
            return Err(AdminError::UnknownProposal(number));
        };
        if proposal.by == by {
            return Err(AdminError::SamePerson);
        }
        let (version, old) = in_force(tx)?;
        if version != base {
            return Err(AdminError::Outdated);
        }
        let new = Policy::parse(&source)?;
        let (widens, changes) = (new.widens(&old), new.changes(&old));
        tx.delete::<Proposals>(&number);
        let outdated = based_on(tx, version)?;
        let version = put_in_force(tx, version, &source, &proposal.by, Some(by.clone()))?;
        let event = Event::new(Operation::Policy, "policy.approved", &by)
            .with("version", version)
            .with("proposal", number)
            .with("applied_by", proposal.by);
        let event = naming(event, &outdated);
        let unmatched = new.unmatched(&known);
        let applied = Applied { version, proposal: None, widens, changes, unmatched, outdated };
        Ok(Committed::new(applied, event))
    });
    let applied = committed.await.map_err(CommitError::flatten)?;
    node.refresh()?;
    Ok(applied)
}

fn in_force(tx: &Tx<'_>) -> Result<(PolicyVersion, Policy), AdminError> {
    let version = exchange::policy_version(tx)?;
    match tx.get::<Policies>(&version)? {
        Some(record) => Ok((version, Policy::parse(&record.source)?)),
        None => Ok((version, Policy::empty())),
    }
}

fn put_in_force(
    tx: &mut Tx<'_>,
    before: PolicyVersion,
    source: &str,
    by: &str,
    approved_by: Option<String>,
) -> Result<PolicyVersion, StoreError> {
    let version = before + 1;
    let (source, applied_by, applied_at) = (source.to_owned(), by.to_owned(), tx.now());
    tx.put::<Policies>(&version, &PolicyRecord { source, applied_by, approved_by, applied_at });
    exchange::sweep(tx, version)?;
    tx.announce(Change::Policy);
    Ok(version)
}

/// Enters a proposal; a newer one of the same kind by the same person replaces the older one.
pub(super) fn propose(tx: &mut Tx<'_>, what: Proposed, by: &str) -> Result<u64, AdminError> {
    let waiting = tx.scan(Scan::<Proposals>::all(), PROPOSALS_MAX)?;
    let same_kind =
        |other: &Proposed| std::mem::discriminant(other) == std::mem::discriminant(&what);
    for (number, proposal) in &waiting {
        if proposal.by == by && same_kind(&proposal.what) {
            tx.delete::<Proposals>(number);
        }
    }
    if waiting.len() >= PROPOSALS_MAX {
        return Err(AdminError::TooManyProposals);
    }
    // A place in the log is never used twice, so a number can never mean another proposal.
    let number = tx.log_index();
    tx.put::<Proposals>(&number, &Proposal { what, by: by.to_owned(), at: tx.now() });
    Ok(number)
}

/// The policies that wait for a second person. Those that were based on an earlier policy can't be
/// approved any more, and are left out.
///
/// # Errors
/// When the store failed.
pub fn pending(node: &Node) -> Result<Vec<Waiting>, StoreError> {
    based_on(&node.store, node.policy.load().0)
}

/// The pending policies that were based on this one.
fn based_on(store: &impl Read, version: PolicyVersion) -> Result<Vec<Waiting>, StoreError> {
    let waiting = |(number, proposal): (u64, Proposal)| match proposal.what {
        Proposed::Policy { source, base } if base == version => {
            Some(Waiting { number, by: proposal.by, at: proposal.at, source })
        }
        _ => None,
    };
    let proposals = store.scan(Scan::<Proposals>::all(), PROPOSALS_MAX)?;
    Ok(proposals.into_iter().filter_map(waiting).collect())
}

/// The event, with the proposals that a policy makes outdated.
fn naming(event: Event, outdated: &[Waiting]) -> Event {
    let each: Vec<_> = outdated.iter().map(|one| format!("{} by {}", one.number, one.by)).collect();
    if each.is_empty() { event } else { event.with("outdated", each.join(", ")) }
}

/// A policy that is or was in force; 0 means the present one. A new node has the empty policy.
///
/// # Errors
/// When there is no such version.
pub fn shown(
    node: &Node,
    version: PolicyVersion,
) -> Result<(PolicyVersion, PolicyRecord), AdminError> {
    let wanted = if version == 0 { node.policy.load().0 } else { version };
    match node.store.get::<Policies>(&wanted)? {
        Some(record) => Ok((wanted, record)),
        None if version == 0 => Ok((
            0,
            PolicyRecord {
                source: String::new(),
                applied_by: "node".to_owned(),
                approved_by: None,
                applied_at: Timestamp::from_seconds(0),
            },
        )),
        None => Err(AdminError::UnknownPolicy(version)),
    }
}

/// Why an alert is kept back although a rule gives it.
const STAYS_BACK: &str = "it was taken back from this peer before this node lost state, and is \
                          kept back until two people confirm that it goes out again (`entente \
                          epoch show`)";

/// What `peer` gets of an own alert under the policy in force, and why. It names claims, never
/// values. Since the deciding rule still reveals something about the alert, the look is logged
/// before it is answered.
///
/// # Errors
/// When the alert is not a live own one, or the store failed.
pub async fn explain(
    node: &SharedNode,
    alert: &AlertId,
    peer: &AuthorityId,
    actor: &Actor,
) -> Result<Explained, AdminError> {
    let explained = node.store.read_blocking(|now| explained(node, now, alert, peer))?;
    let event = Event::new(Operation::Consult, "policy.explained", &actor.name);
    let event = event.alert(alert).peer(peer);
    let looked =
        node.store.commit_growing(Growth::Log, |_| Ok::<_, AdminError>(Committed::new((), event)));
    looked.await.map_err(CommitError::flatten)?;
    Ok(explained)
}

fn explained(
    node: &Node,
    now: &Snapshot<'_>,
    alert: &AlertId,
    peer: &AuthorityId,
) -> Result<Explained, AdminError> {
    let own = now.get::<Own>(alert)?;
    let own = own.ok_or_else(|| AdminError::UnknownAlert(alert.clone()))?;
    let view = read_own(now, alert, &own)?;
    let (policy, time) = (node.policy.load(), node.clock.now());
    let mut decision = policy.1.decide(peer, &view.facts(), time);
    let mut considered = policy.1.considered(peer, &view.facts(), time);
    let key = (peer.clone(), alert.clone());
    if decision.sharing != Sharing::None && now.get::<TakenBack>(&key)?.is_some() {
        decision.sharing = Sharing::None;
        considered.push(STAYS_BACK.to_owned());
    }
    let given = match decision.sharing {
        Sharing::None => crate::alert::ClaimSet::EMPTY,
        Sharing::View(claims) => claims.intersection(view.claims),
    };
    Ok(Explained {
        sharing: decision.sharing,
        rule: decision.rule,
        claims: given.names(),
        withheld: view.claims.minus(given).names(),
        considered,
        ledger: now.get::<Ledger>(&(peer.clone(), alert.clone().into()))?,
    })
}
