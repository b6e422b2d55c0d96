//! After a loss of state two people review the policy, the peers and the users that will be in
//! force, and how much each peer would get. What one proposes and the other approves is exactly
//! what both were shown; then the node issues again.

use super::policy::{PROPOSALS_MAX, propose};
use super::{AdminError, reason, users};
use crate::audit::{Event, Operation, Restore, sign_restore};
use crate::exchange::{self, Approval};
use crate::holding::read_own;
use crate::id::{AlertId, AuthorityId, Digest, PolicyVersion, Timestamp};
use crate::node::{Node, SharedNode};
use crate::policy::Sharing;
use crate::roles::Actor;
use crate::store::{
    Change, CommitError, Committed, Ledger, Own, Proposal, Proposals, Proposed, Read, Scan,
    StoreError, Subject, TakenBack, Tx, User, UserState,
};
use crate::trust::PeerState;
use crate::worker;

/// Alerts read at a time while counting what peers would get.
const PAGE: usize = 256;

/// Characters in the name of a review: enough that no two reviews have the same name.
const REVIEW_CHARS: usize = 16;

/// How often a review is repeated because something changed before the approval was stored.
const TRIES_MAX: usize = 8;

/// What two people confirm.
#[derive(Clone, Debug)]
pub struct Review {
    /// Whether the node is stopped; otherwise only retractions that peers handed back are to be
    /// confirmed.
    pub stopped: bool,
    /// What is wrong with this node's log, in a sentence.
    pub found: Option<String>,
    /// Policy version in force.
    pub policy: PolicyVersion,
    /// Every peer that is not removed.
    pub peers: Vec<Reviewed>,
    /// Every user that is not removed.
    pub users: Vec<(String, User)>,
    /// The name of this review: a digest of what is shown.
    pub name: String,
    taken_back: u64,
    log_size: u64,
}

/// What one peer would get.
#[derive(Clone, Debug)]
pub struct Reviewed {
    /// Which.
    pub authority: AuthorityId,
    /// The state that would be in force.
    pub state: PeerState,
    /// The fingerprint of the key that signed its descriptor.
    pub fingerprint: String,
    /// Whether it has handed back everything that it holds of ours.
    pub asked: bool,
    /// How many of our alerts it would get; none unless it is active.
    pub counts: Counts,
}

/// Alerts that a policy gives to a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub alerts: u64,
    /// Those that the peer does not hold now.
    pub anew: u64,
    /// Those that were offered to it and that it may never have received: with `anew` the most
    /// that it does not hold.
    pub unsure: u64,
    /// Those that had been taken back from it with a signed retraction.
    pub again: u64,
}

/// A proposal that waits for the second person.
#[derive(Clone, Debug)]
pub struct WaitingRestart {
    /// The number under which a coordinator approves it.
    pub number: u64,
    /// Who proposed it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The name of the review that this person was shown.
    pub review: String,
}

/// What a person confirms to have read.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Name of the review.
    pub review: String,
    /// Number of alerts that peers get again although they had been taken back.
    pub again: u64,
}

impl Review {
    /// Alerts of all peers together that had been taken back, and that the policy gives again.
    pub fn again(&self) -> u64 {
        self.peers.iter().map(|peer| peer.counts.again).sum()
    }

    fn confirmed_by(&self, shown: &Shown) -> Result<(), AdminError> {
        if shown.review != self.name {
            return Err(AdminError::ReviewChanged);
        }
        let again = self.again();
        if shown.again == again { Ok(()) } else { Err(AdminError::Again(again)) }
    }

    /// The digest of what people see. What is unsure is left out: it becomes sure with each
    /// receipt, while people read.
    fn named(&self) -> String {
        let mut lines = vec![format!("policy {}", self.policy)];
        for peer in &self.peers {
            let Counts { alerts, anew, again, unsure: _ } = peer.counts;
            lines.push(format!(
                "peer {} {} {} {} {alerts} {anew} {again}",
                peer.authority,
                peer.state.as_str(),
                peer.fingerprint,
                peer.asked
            ));
        }
        for (name, user) in &self.users {
            lines.push(format!("user {name} {:?} {:?} {}", user.state, user.roles, user.key));
        }
        hex::encode(Digest::of(lines.join("\n").as_bytes()).0).chars().take(REVIEW_CHARS).collect()
    }
}

/// The present review.
///
/// # Errors
/// When a record cannot be read.
pub async fn review_epoch(node: &SharedNode) -> Result<Review, AdminError> {
    let held = node.clone();
    worker::run(&node.authority, "review", move || review(&held)).await?
}

fn review(node: &Node) -> Result<Review, AdminError> {
    let log_size = node.store.log().size();
    let mut peers = Vec::new();
    for known in node.directory.load().all() {
        let authority = known.peer.authority.clone();
        if known.peer.state != PeerState::Removed {
            let asked = !exchange::is_unasked(node, &authority)?;
            let fingerprint = known.descriptor.fingerprint().to_string();
            let (state, counts) = (known.peer.state, Counts::default());
            peers.push(Reviewed { authority, state, fingerprint, asked, counts });
        }
    }
    peers.sort_by(|a, b| a.authority.cmp(&b.authority));
    count(node, &mut peers)?;
    let mut users = users(node)?;
    users.retain(|(_, user)| user.state != UserState::Removed);
    let mut review = Review {
        stopped: exchange::lost_state(node)?,
        found: exchange::own_log_alarm(node)?,
        policy: node.policy.load().0,
        taken_back: taken_back(node, &peers)?,
        peers,
        users,
        name: String::new(),
        log_size,
    };
    review.name = review.named();
    Ok(review)
}

fn active(peers: &[Reviewed]) -> impl Iterator<Item = &Reviewed> {
    peers.iter().filter(|peer| peer.state == PeerState::Active)
}

/// Decides every own alert for every active peer.
fn count(node: &Node, peers: &mut [Reviewed]) -> Result<(), AdminError> {
    let (policy, time) = (node.policy.load_full(), node.clock.now());
    let mut pages = Scan::<Own>::all().pages(PAGE);
    loop {
        let counted = node.store.read_blocking(|now| {
            let (mut pages, mut peers) = (pages.clone(), peers.to_vec());
            let Some(page) = pages.next(now)? else { return Ok(None) };
            for (id, own) in page.into_iter().filter(|(_, own)| own.expires_at > time) {
                let facts = read_own(now, &id, &own)?.facts();
                for peer in peers.iter_mut().filter(|peer| peer.state == PeerState::Active) {
                    let decision = policy.1.decide(&peer.authority, &facts, time);
                    if decision.sharing != Sharing::None {
                        count_one(now, peer, &id)?;
                    }
                }
            }
            Ok::<_, AdminError>(Some((pages, peers)))
        });
        let Some((rest, counted)) = counted? else { return Ok(()) };
        pages = rest;
        peers.clone_from_slice(&counted);
    }
}

fn count_one(now: &impl Read, peer: &mut Reviewed, id: &AlertId) -> Result<(), StoreError> {
    let key = (peer.authority.clone(), id.clone());
    let subject = (peer.authority.clone(), Subject::Alert(id.clone()));
    let ledger = now.get::<Ledger>(&subject)?.unwrap_or_default();
    peer.counts.alerts += 1;
    peer.counts.anew += u64::from(!ledger.may_hold());
    peer.counts.unsure += u64::from(ledger.is_unsure());
    peer.counts.again += u64::from(now.get::<TakenBack>(&key)?.is_some());
    Ok(())
}

/// Number of alerts that are kept back from active peers, whether or not a policy gives them.
fn taken_back(node: &Node, peers: &[Reviewed]) -> Result<u64, StoreError> {
    let mut count = 0;
    for peer in active(peers) {
        Scan::<TakenBack>::of(&peer.authority).for_each(&node.store, |_, _| count += 1)?;
    }
    Ok(count)
}

/// The proposals that wait for a second person.
///
/// # Errors
/// When the store cannot be read.
pub fn waiting_restarts(node: &Node) -> Result<Vec<WaitingRestart>, StoreError> {
    let waiting = |(number, proposal): (u64, Proposal)| match proposal.what {
        Proposed::Restart { reason, review } => {
            Some(WaitingRestart { number, by: proposal.by, reason, review })
        }
        _ => None,
    };
    let proposals = node.store.scan(Scan::<Proposals>::all(), PROPOSALS_MAX)?;
    Ok(proposals.into_iter().filter_map(waiting).collect())
}

/// Proposes to resume as shown; returns the number to approve.
///
/// # Errors
/// When there is nothing to confirm, the review has changed, or the reason is missing.
pub async fn propose_epoch(
    node: &SharedNode,
    why: &str,
    shown: &Shown,
    actor: &Actor,
) -> Result<u64, AdminError> {
    let why = reason(why)?.to_owned();
    still_needed(node)?;
    review_epoch(node).await?.confirmed_by(shown)?;
    let (by, review) = (actor.name.clone(), shown.review.clone());
    let committed = node.store.commit(move |tx| {
        needed(tx)?;
        let what = Proposed::Restart { reason: why.clone(), review: review.clone() };
        let number = propose(tx, what, &by)?;
        let event = Event::new(Operation::Key, "epoch.proposed", &by).with("proposal", number);
        Ok(Committed::new(number, event.with("reason", why).with("review", review)))
    });
    committed.await.map_err(CommitError::flatten)
}

/// Refuses early, before counting what peers would get.
fn still_needed(node: &Node) -> Result<(), AdminError> {
    needed(&node.store).map(|_| ())
}

/// Whether the node is stopped.
fn needed(from: &impl Read) -> Result<bool, AdminError> {
    let stopped = exchange::is_stopped(from)?;
    if stopped || exchange::any_taken_back(from)? {
        Ok(stopped)
    } else {
        Err(AdminError::NotStopped)
    }
}

/// Resumes as proposed and shown, approved by a second person: starts new epochs with every peer,
/// ends the stop, and records and signs the restore.
///
/// # Errors
/// When no proposal is pending, it is the same person, or the review has changed.
pub async fn approve_epoch(
    node: &SharedNode,
    number: u64,
    shown: &Shown,
    actor: &Actor,
) -> Result<(), AdminError> {
    for _ in 0..TRIES_MAX {
        still_needed(node)?;
        let review = review_epoch(node).await?;
        proposed(node.store.get::<Proposals>(&number)?, number, actor, shown)?;
        review.confirmed_by(shown)?;
        let restore = if review.stopped { signed_restore(node)? } else { None };
        let (here, actor) = (node.clone(), actor.clone());
        let approving = Approving { node: here, number, review, restore, actor };
        let shown = shown.clone();
        match node.store.commit(move |tx| approving.approve(tx, &shown)).await {
            Ok(()) => {
                // Streams that waited for people retry at once.
                node.store.announce(Change::Peers);
                return Ok(());
            }
            Err(CommitError::Refused(AdminError::ReviewChanged)) => {}
            Err(error) => return Err(error.flatten()),
        }
    }
    Err(AdminError::ReviewChanged)
}

/// The proposal with its reason, if this person may approve it.
fn proposed(
    proposal: Option<Proposal>,
    number: u64,
    actor: &Actor,
    shown: &Shown,
) -> Result<(String, String), AdminError> {
    let Some(Proposal { what: Proposed::Restart { reason, review }, by, .. }) = proposal else {
        return Err(AdminError::UnknownProposal(number));
    };
    if by == actor.name {
        return Err(AdminError::SamePerson);
    }
    if review == shown.review { Ok((by, reason)) } else { Err(AdminError::ReviewChanged) }
}

/// The restore that is due now, signed before the writer's thread has to wait for that.
fn signed_restore(node: &Node) -> Result<Option<(Restore, String)>, AdminError> {
    let time = node.clock.now();
    let due = node
        .store
        .read_blocking(|now| exchange::restore_due(now, now.log(), &node.authority, time))?;
    let sign = |restore: Restore| {
        let jws = sign_restore(&restore, &node.log_key)?;
        Ok((restore, jws))
    };
    due.map(sign).transpose()
}

struct Approving {
    node: SharedNode,
    number: u64,
    review: Review,
    restore: Option<(Restore, String)>,
    actor: Actor,
}

impl Approving {
    fn approve(self, tx: &mut Tx<'_>, shown: &Shown) -> Result<Committed<()>, AdminError> {
        let stopped = needed(tx)?;
        let proposal = tx.get::<Proposals>(&self.number)?;
        let (proposed_by, reason) = proposed(proposal, self.number, &self.actor, shown)?;
        self.unchanged(tx, stopped)?;
        let (me, approved_by) = (self.node.authority.clone(), self.actor.name.clone());
        let approval = Approval { proposed_by, approved_by, reason, review: shown.review.clone() };
        let restored = match self.restore {
            Some((restore, jws)) => Some(exchange::record_restore(tx, &restore, jws, &approval)?),
            None => None,
        };
        let active: Vec<_> = active(&self.review.peers).map(|p| p.authority.clone()).collect();
        if exchange::confirm_taken_back(tx, &active)? != self.review.taken_back {
            return Err(AdminError::ReviewChanged);
        }
        match stopped {
            true => exchange::start_epochs(tx, &me)?,
            false => exchange::decide_anew(tx)?,
        }
        tx.delete::<Proposals>(&self.number);
        let event = Event::new(Operation::Key, "epoch.started", &approval.approved_by)
            .with("proposal", self.number)
            .with("proposed_by", approval.proposed_by)
            .with("review", approval.review)
            .with("policy", self.review.policy)
            .with("again", self.review.again());
        Ok(match restored {
            Some(restored) => Committed::new((), restored).and(event),
            None => Committed::new((), event),
        })
    }

    /// Nothing is written without an entry in the log. So while the node is stopped, an unchanged
    /// size of the log means that nothing changed since the review. Otherwise others write all the
    /// time, and the policy version decides.
    fn unchanged(&self, tx: &Tx<'_>, stopped: bool) -> Result<(), AdminError> {
        let same_policy = exchange::policy_version(tx)? == self.review.policy;
        let same_log = !stopped || tx.log_index() == self.review.log_size;
        let signed = self.restore.as_ref().map(|(restore, _)| restore);
        let due = match stopped {
            true => {
                let at = Timestamp::from_seconds(signed.map_or(0, |signed| signed.iat));
                exchange::restore_due(tx, tx.log(), &self.node.authority, at)?
            }
            false => None,
        };
        if same_policy && same_log && due.as_ref() == signed {
            Ok(())
        } else {
            Err(AdminError::ReviewChanged)
        }
    }
}
