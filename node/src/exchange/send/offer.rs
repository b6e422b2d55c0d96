//! Makes each decision for a peer durable before its first byte leaves.
//!
//! The writer refuses an offer whose policy, trust or alert version is no longer current, and the
//! decision is made again: that is what makes a change of policy a barrier.

use serde_json::Value;

use super::error::SendError;
use super::plan::{FeedPosition, Pick, Plan, Planner};
use super::rules::{key_in_force, sweep_after_rule_end};
use crate::alert::ClaimSet;
use crate::audit::{Event, Operation};
use crate::exchange::batch::{Item, chain_next};
use crate::exchange::kind::about;
use crate::exchange::ledger::Effect;
use crate::exchange::parked::{self, SCHEMA_LACKING, waits_for_schema};
use crate::exchange::stop::is_stopped;
use crate::id::{AuthorityId, Timestamp, Version, Versions};
use crate::node::SharedNode;
use crate::store::{
    CommitError, Committed, Ledger, Notices, Offer, Offered, Offers, Own, Parked, Peers, Snapshot,
    StoreError, StreamOut, StreamsOut, Subject, Tx,
};
use crate::trust::PeerState;

/// What was offered, durable, ready to be sent.
pub(super) struct Offering {
    /// The stream after it.
    pub(super) stream: StreamOut,
    /// In the order of the stream.
    pub(super) items: Vec<Item>,
    /// Whether nothing more is to be decided for this peer at this moment.
    pub(super) caught_up: bool,
}

/// Decides for one peer, during one connection.
pub(super) struct Dispatcher {
    peer: AuthorityId,
    schemas: Versions,
    protocol: u32,
    /// The place up to which was decided, if it is beyond the one in the store.
    ahead: Option<FeedPosition>,
}

enum Refusal {
    /// The decision is no longer current: decide again.
    Stale,
    Failed(SendError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl Dispatcher {
    /// For a peer that reads these versions of the alert schema, by this version of the protocol.
    pub(super) fn new(peer: AuthorityId, schemas: Versions, protocol: u32) -> Self {
        Self { peer, schemas, protocol, ahead: None }
    }

    /// Offers what comes next for the peer; without items if there is nothing.
    ///
    /// # Errors
    /// When the peer is not active, its stream or the node is stopped, or the store failed.
    pub(super) async fn offer_next(&mut self, node: &SharedNode) -> Result<Offering, SendError> {
        key_in_force(node)?;
        sweep_after_rule_end(node, &self.peer).await?;
        loop {
            let plan = self.plan_on_worker(node).await?;
            if !plan.must_be_kept() {
                let done = plan.caught_up;
                node.streams.live(&self.peer).status().decided = plan.position.cursor;
                self.ahead = Some(plan.position);
                if done {
                    node.store.forget_opened();
                    return Ok(Offering {
                        stream: plan.basis.stream,
                        items: vec![],
                        caught_up: true,
                    });
                }
                continue;
            }
            self.ahead = None;
            if plan.parks.iter().any(|(.., reason)| *reason == SCHEMA_LACKING) {
                let waiting = waits_for_schema(&self.peer);
                node.streams.live(&self.peer).status().waiting = Some(waiting);
            }
            match commit(node, &self.peer, plan).await {
                Ok(offering) if offering.items.is_empty() && !offering.caught_up => {}
                Ok(offering) => return Ok(offering),
                Err(CommitError::Refused(Refusal::Stale)) => node.refresh()?,
                Err(CommitError::Refused(Refusal::Failed(error))) => return Err(error),
                Err(CommitError::Store(error)) => return Err(error.into()),
            }
        }
    }

    async fn plan_on_worker(&self, node: &SharedNode) -> Result<Plan, SendError> {
        let (node, peer) = (node.clone(), self.peer.clone());
        let (reads, ahead) = ((self.schemas, self.protocol), self.ahead.clone());
        let store = node.store.clone();
        let plan = move |held: &Snapshot<'_>| {
            Planner::new(&node, held, &peer, reads, ahead.clone()).and_then(Planner::plan)
        };
        store.read(plan).await
    }
}

async fn commit(
    node: &SharedNode,
    peer: &AuthorityId,
    plan: Plan,
) -> Result<Offering, CommitError<Refusal>> {
    let peer = peer.clone();
    node.store.commit(move |tx| offer(tx, &peer, plan)).await
}

fn offer(tx: &mut Tx<'_>, peer: &AuthorityId, plan: Plan) -> Result<Committed<Offering>, Refusal> {
    let mut stream = current(tx, peer, &plan)?;
    let now = tx.now();
    let mut events = Vec::with_capacity(plan.picks.len());
    let mut items = Vec::with_capacity(plan.picks.len());
    for pick in plan.picks {
        stream.tail += 1;
        stream.tail_chain = chain_next(&stream.tail_chain, stream.tail, &pick.digest);
        enter_ledger(tx, peer, &stream, &pick, now)?;
        events.push(offered_event(peer, &stream, &pick));
        items.push(Item { seq: stream.tail, digest: pick.digest, statement: pick.statement });
    }
    for parks in plan.parks {
        park(tx, peer, &stream, parks)?;
    }
    for subject in plan.unparks {
        parked::unpark(tx, &(peer.clone(), subject))?;
    }
    stream.cursor = plan.position.cursor;
    stream.sweep = plan.position.sweep;
    stream.snapshot &= !plan.caught_up;
    tx.put::<StreamsOut>(peer, &stream);
    let offering = Offering { stream, items, caught_up: plan.caught_up };
    let mut events = events.into_iter();
    let first = events.next().unwrap_or_else(|| decided_event(peer));
    Ok(events.fold(Committed::new(offering, first), Committed::and))
}

/// The present state of the stream, if everything that the plan was based on still holds.
fn current(tx: &Tx<'_>, peer: &AuthorityId, plan: &Plan) -> Result<StreamOut, Refusal> {
    if is_stopped(tx)? {
        return Err(Refusal::Failed(SendError::LostState));
    }
    let held = tx.get::<Peers>(peer)?.filter(|held| held.state == PeerState::Active);
    let held = held.ok_or(Refusal::Failed(SendError::NotActive))?;
    let stream = tx.get::<StreamsOut>(peer)?.ok_or(Refusal::Failed(SendError::NotActive))?;
    let basis = &plan.basis;
    let same_place = (stream.epoch, stream.tail) == (basis.stream.epoch, basis.stream.tail)
        && (stream.cursor, stream.sweeps) == (basis.stream.cursor, basis.stream.sweeps)
        && stream.sweep == basis.stream.sweep;
    let same_rules = stream.policy == basis.policy && held.revision == basis.trust;
    if !same_place || !same_rules || stream.halted.is_some() {
        return Err(Refusal::Stale);
    }
    for pick in &plan.picks {
        if !stands(tx, peer, pick)? {
            return Err(Refusal::Stale);
        }
    }
    Ok(stream)
}

/// Whether what was picked is still what is held here.
fn stands(tx: &Tx<'_>, peer: &AuthorityId, pick: &Pick) -> Result<bool, StoreError> {
    Ok(match (&pick.subject, &pick.offered) {
        (Subject::Alert(alert), Offered::View { version, .. }) => {
            tx.get::<Own>(alert)?.map(|own| own.version) == Some(*version)
        }
        (Subject::Notice(id) | Subject::Acknowledgement(id), _) => {
            tx.get::<Notices>(&(peer.clone(), id.clone()))?.is_some()
        }
        (Subject::Alert(_), _) => true,
    })
}

fn enter_ledger(
    tx: &mut Tx<'_>,
    peer: &AuthorityId,
    stream: &StreamOut,
    pick: &Pick,
    at: Timestamp,
) -> Result<(), Refusal> {
    let key = (peer.clone(), pick.subject.clone());
    let mut ledger = tx.get::<Ledger>(&key)?.unwrap_or_default();
    ledger.offered((stream.epoch, stream.tail), Effect::of(&pick.offered), at);
    parked::unpark(tx, &key)?;
    tx.put::<Ledger>(&key, &ledger);
    let offer = Offer {
        subject: pick.subject.clone(),
        offered: pick.offered.clone(),
        digest: pick.digest,
        chain: stream.tail_chain,
        policy: stream.policy,
        at,
    };
    tx.put::<Offers>(&(peer.clone(), stream.tail), &offer);
    Ok(())
}

fn offered_event(peer: &AuthorityId, stream: &StreamOut, pick: &Pick) -> Event {
    let (operation, kind) = match pick.offered {
        Offered::View { .. } => (Operation::Disclose, "disclose.offered"),
        Offered::Withdrawal(_) => (Operation::Erase, "disclose.withdrawal_offered"),
        Offered::Retraction(_) => (Operation::Erase, "disclose.retraction_offered"),
        Offered::Notice => (Operation::Disclose, "notice.offered"),
        Offered::Acknowledgement => (Operation::Disclose, "notice.acknowledgement_offered"),
    };
    let mut event = about(Event::new(operation, kind, "node"), &pick.subject)
        .peer(peer)
        .with("epoch", stream.epoch)
        .with("seq", stream.tail)
        .with("digest", pick.digest.to_string())
        .with("policy", stream.policy);
    if let Offered::View { version, claims } = pick.offered {
        let names = claims.names().into_iter().map(Value::from).collect::<Vec<_>>();
        event = event.with("version", version).with("claims", names);
    }
    match &pick.rule {
        Some(rule) => event.with("rule", rule.as_str()),
        None => event,
    }
}

fn decided_event(peer: &AuthorityId) -> Event {
    Event::new(Operation::Disclose, "disclose.decided", "node").peer(peer)
}

fn park(
    tx: &mut Tx<'_>,
    peer: &AuthorityId,
    stream: &StreamOut,
    (subject, version, reason): (Subject, Version, &'static str),
) -> Result<(), StoreError> {
    let at = tx.now();
    let parked = Parked {
        version,
        claims: ClaimSet::EMPTY,
        reason: reason.to_owned(),
        at,
        epoch: stream.epoch,
        seq: 0,
        retry_at: parked::retry_at(reason, at),
    };
    parked::park(tx, &(peer.clone(), subject), &parked)
}
