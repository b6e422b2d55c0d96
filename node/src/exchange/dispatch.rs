//! The sender: decides what a peer gets next, and makes it durable before the first byte leaves.
//!
//! What stands in the feed or the ledger is compared with what policy allows now; the difference is
//! offered. The writer refuses an offer whose policy, trust or alert version is no longer current, and
//! the decision is made again: that is what makes a change of policy a barrier.

use std::collections::HashSet;

use serde_json::Value;

use super::parked::{self, SCHEMA_LACKING};
use super::stream::{
    BATCH_BYTES_MAX, BATCH_ITEMS_MAX, Item, PAGE, Statement, begin_sweep, chain_next, may_hold,
    may_outlive, within,
};
use super::{RETRACTION_TYP, Retraction};
use crate::alert::{ClaimSet, View};
use crate::audit::{Event, Operation};
use crate::holding::{HoldingError, read_own};
use crate::id::{
    AlertId, AuthorityId, CLOCK_TOLERANCE_S, Digest, PolicyVersion, StreamSeq, Timestamp, Version,
};
use crate::jose;
use crate::node::{Node, NodeError, SharedNode};
use crate::policy::{Policy, Sharing};
use crate::store::{
    CommitError, Committed, Disclosed, Feed, FeedEntry, Ledger, LedgerEntry, Offer, Offered,
    Offers, Own, Parked, ParkedOut, Peers, StoreError, StreamOut, StreamsOut, Sweep, Tombstones,
    Tx,
};
use crate::trust::PeerState;

/// Feed places that may be decided as "nothing for this peer" before the cursor is written down: after a
/// crash they are decided again, to the same effect.
const CURSOR_LAG_MAX: u64 = 4096;

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// The peer is not active, or has no stream.
    #[error("the peer is not active")]
    NotActive,
    /// The stream was stopped until a person acts.
    #[error("the stream is stopped: {0}")]
    Halted(String),
    /// This node lost state: nothing is issued.
    #[error("this node lost state: run `entente epoch recover`, then `entente epoch start`")]
    LostState,
    /// By our clock an alert has ended, and the clock is not believed.
    #[error("the clock leapt, see the metric entente_clock_leapt: set it right")]
    ClockLeapt,
    /// A token of our own cannot be read.
    #[error(transparent)]
    Holding(#[from] HoldingError),
    /// What the node holds in memory could not be read anew.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was offered, durable, ready to be sent.
pub struct Offering {
    /// The stream after it.
    pub stream: StreamOut,
    /// In the order of the stream.
    pub items: Vec<Item>,
    /// Nothing more is to be decided for this peer at this moment.
    pub caught_up: bool,
}

/// Decides for one peer, during one connection.
pub struct Dispatcher {
    peer: AuthorityId,
    schema_max: u32,
    /// Where deciding stands, when it is further than the store says.
    ahead: Option<Position>,
}

#[derive(Clone)]
struct Position {
    stored: (u64, Option<Sweep>, u64),
    cursor: u64,
    sweep: Option<Sweep>,
}

/// What makes a decision current: the writer compares it.
struct Basis {
    stream: StreamOut,
    policy: PolicyVersion,
    trust: u64,
}

struct Plan {
    basis: Basis,
    position: Position,
    picks: Vec<Pick>,
    parks: Vec<(AlertId, Version)>,
    unparks: Vec<AlertId>,
    caught_up: bool,
}

/// A statement to be offered.
struct Pick {
    alert: AlertId,
    offered: Offered,
    statement: Statement,
    digest: Digest,
    rule: Option<String>,
}

enum Refusal {
    /// What was decided is no longer current: decide again.
    Stale,
    Failed(DispatchError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl Dispatcher {
    /// For a peer that reads alert schemas up to `schema_max`.
    pub fn new(peer: AuthorityId, schema_max: u32) -> Self {
        Self { peer, schema_max, ahead: None }
    }

    /// Offers what is next for the peer; with no items when there is nothing.
    ///
    /// # Errors
    /// When the peer is not active, its stream or the node is stopped, or the store failed.
    pub async fn offer_next(&mut self, node: &SharedNode) -> Result<Offering, DispatchError> {
        sweep_after_rule_end(node, &self.peer).await?;
        loop {
            let plan = self.plan_on_worker(node).await?;
            if !plan.must_be_kept() {
                let done = plan.caught_up;
                node.streams.live(&self.peer).status().decided = plan.position.cursor;
                self.ahead = Some(plan.position);
                if done {
                    return Ok(Offering {
                        stream: plan.basis.stream,
                        items: vec![],
                        caught_up: true,
                    });
                }
                continue;
            }
            self.ahead = None;
            if !plan.parks.is_empty() {
                let waiting = super::resume::waits_for_schema(&self.peer);
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

    async fn plan_on_worker(&self, node: &SharedNode) -> Result<Plan, DispatchError> {
        let (node, peer) = (node.clone(), self.peer.clone());
        let (schema_max, ahead) = (self.schema_max, self.ahead.clone());
        let planned = tokio::task::spawn_blocking(move || {
            Planner::new(&node, &peer, schema_max, ahead).and_then(Planner::plan)
        });
        planned.await.unwrap_or(Err(DispatchError::NotActive))
    }
}

impl Position {
    fn of(stream: &StreamOut, ahead: Option<Position>) -> Self {
        let stored = (stream.cursor, stream.sweep.clone(), stream.sweeps);
        match ahead {
            Some(ahead) if ahead.stored == stored => ahead,
            _ => Self { cursor: stored.0, sweep: stored.1.clone(), stored },
        }
    }

    fn must_be_kept(&self) -> bool {
        self.cursor - self.stored.0.min(self.cursor) > CURSOR_LAG_MAX
            || self.stored.1.is_some() && self.sweep.is_none()
    }
}

impl Plan {
    /// Whether it holds anything that must be durable now.
    fn must_be_kept(&self) -> bool {
        let completes = self.caught_up && self.basis.stream.snapshot;
        let empty = self.picks.is_empty() && self.parks.is_empty() && self.unparks.is_empty();
        !empty || completes || self.position.must_be_kept()
    }
}

struct Planner<'a> {
    node: &'a Node,
    peer: &'a AuthorityId,
    policy: std::sync::Arc<(PolicyVersion, Policy)>,
    schema_max: u32,
    now: Timestamp,
    bytes: usize,
    seen: HashSet<AlertId>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn new(
        node: &'a Node,
        peer: &'a AuthorityId,
        schema_max: u32,
        ahead: Option<Position>,
    ) -> Result<Self, DispatchError> {
        if super::lost_state(node)? {
            return Err(DispatchError::LostState);
        }
        let directory = node.directory.load();
        let trust = directory.active(peer).ok_or(DispatchError::NotActive)?.peer.revision;
        let stream = node.store.get::<StreamsOut>(peer)?.ok_or(DispatchError::NotActive)?;
        if let Some(reason) = stream.halted {
            return Err(DispatchError::Halted(reason));
        }
        let policy = node.policy.load_full();
        let position = Position::of(&stream, ahead);
        let basis = Basis { stream, policy: policy.0, trust };
        let plan = Plan {
            basis,
            position,
            picks: vec![],
            parks: vec![],
            unparks: vec![],
            caught_up: false,
        };
        let now = node.clock.now();
        Ok(Self { node, peer, policy, schema_max, now, bytes: 0, seen: HashSet::new(), plan })
    }

    fn plan(mut self) -> Result<Plan, DispatchError> {
        if !self.retry_parked()? {
            return Ok(self.plan);
        }
        if let Some(Sweep::Held(after)) = self.plan.position.sweep.clone() {
            self.sweep_held(after)?;
        } else if let Some(Sweep::Feed(after)) = self.plan.position.sweep.clone() {
            self.sweep_feed(after)?;
        } else {
            self.follow_feed()?;
        }
        Ok(self.plan)
    }

    fn full(&self) -> bool {
        self.plan.picks.len() >= BATCH_ITEMS_MAX
            || self.bytes + crate::alert::TOKEN_BYTES_MAX > BATCH_BYTES_MAX
    }

    /// Decides again what was parked and is due; false when more is left of it than fits.
    fn retry_parked(&mut self) -> Result<bool, DispatchError> {
        let due = parked::due(self.node, self.peer, self.now)?;
        let all = due.len() < PAGE;
        for alert in due {
            if self.full() {
                return Ok(false);
            }
            let before = (self.plan.picks.len(), self.plan.parks.len());
            self.decide(&alert, true)?;
            if (self.plan.picks.len(), self.plan.parks.len()) == before {
                self.plan.unparks.push(alert);
            }
        }
        Ok(all)
    }

    fn sweep_held(&mut self, after: Option<AlertId>) -> Result<(), DispatchError> {
        let from = after.clone().map(|alert| (self.peer.clone(), alert));
        let page = self.node.store.scan::<Ledger>(&within(self.peer), from.as_ref(), PAGE)?;
        let ended = page.len() < PAGE;
        let mut last = after;
        for ((_, alert), _) in page {
            if self.full() {
                self.plan.position.sweep = Some(Sweep::Held(last));
                return Ok(());
            }
            self.decide(&alert, false)?;
            last = Some(alert);
        }
        self.plan.position.sweep = Some(if ended { Sweep::Feed(0) } else { Sweep::Held(last) });
        Ok(())
    }

    fn sweep_feed(&mut self, after: u64) -> Result<(), DispatchError> {
        let page = self.node.store.scan::<Feed>(&[], Some(&(after + 1)), PAGE)?;
        let ended = page.len() < PAGE;
        let mut last = after;
        for (place, entry) in page {
            if place > self.plan.position.cursor {
                self.plan.position.sweep = None;
                return Ok(());
            }
            if self.full() {
                self.plan.position.sweep = Some(Sweep::Feed(last));
                return Ok(());
            }
            if !entry.withdrawn {
                self.decide(&entry.alert, false)?;
            }
            last = place;
        }
        self.plan.position.sweep = (!ended).then_some(Sweep::Feed(last));
        Ok(())
    }

    fn follow_feed(&mut self) -> Result<(), DispatchError> {
        let from = self.plan.position.cursor + 1;
        let page = self.node.store.scan::<Feed>(&[], Some(&from), PAGE)?;
        let ended = page.len() < PAGE;
        for (place, FeedEntry { alert, withdrawn }) in page {
            if self.full() {
                return Ok(());
            }
            if withdrawn {
                self.last_word(&alert)?;
            } else {
                self.decide(&alert, false)?;
            }
            self.plan.position.cursor = place;
        }
        self.plan.caught_up = ended;
        Ok(())
    }

    /// Compares what policy allows with what the ledger says, and picks the difference.
    fn decide(&mut self, alert: &AlertId, again: bool) -> Result<(), DispatchError> {
        if !self.seen.insert(alert.clone()) {
            return Ok(());
        }
        let key = (self.peer.clone(), alert.clone());
        let Some(own) = self.node.store.get::<Own>(alert)? else {
            return if again { self.last_word(alert) } else { Ok(()) };
        };
        if own.expires_at <= self.now {
            // Passed over for good: only on a clock that is believed.
            let believed = super::clock_believed(self.node)?;
            return if believed { Ok(()) } else { Err(DispatchError::ClockLeapt) };
        }
        let ledger = self.node.store.get::<Ledger>(&key)?.unwrap_or_default();
        let view = match read_own(self.node, alert, &own) {
            Err(_) if self.node.store.get::<Own>(alert)?.is_none() => return Ok(()),
            view => view?,
        };
        let decision = self.policy.1.decide(self.peer, &view.facts(), self.now);
        match decision.sharing {
            Sharing::None if may_hold(&ledger) => self.retract(alert),
            Sharing::None => {}
            Sharing::View(allowed) => {
                let claims = allowed.intersection(view.claims);
                let epoch = self.plan.basis.stream.epoch;
                let parked = !again
                    && self.node.store.get::<ParkedOut>(&key)?.is_some_and(|p| {
                        (p.epoch, p.version, p.claims) == (epoch, own.version, claims)
                    });
                if view.head.schema > self.schema_max {
                    self.plan.parks.push((alert.clone(), own.version));
                } else if !parked && (again || !stands(&ledger, epoch, own.version, claims)) {
                    self.pick_view(view, claims, decision.rule.map(|(_, name)| name))?;
                }
            }
        }
        Ok(())
    }

    fn pick_view(
        &mut self,
        view: View,
        claims: ClaimSet,
        rule: Option<String>,
    ) -> Result<(), DispatchError> {
        let alert = view.head.id.clone();
        let text =
            view.disclose(claims).map_err(|error| HoldingError::Alert(alert.clone(), error))?;
        self.bytes += text.len();
        self.plan.picks.push(Pick {
            alert,
            offered: Offered::View { version: view.head.version, claims },
            digest: Digest::of(text.as_bytes()),
            statement: Statement::Alert(text),
            rule,
        });
        Ok(())
    }

    fn retract(&mut self, alert: &AlertId) {
        let text = retraction(self.node, self.peer, alert, None);
        self.pick_word(alert, Offered::Retraction(text.clone()), Statement::Retraction(text));
    }

    /// The issuer's last word goes to whoever ever held something of the alert; the end of its time needs a word only
    /// where an older version may outlive it.
    fn last_word(&mut self, alert: &AlertId) -> Result<(), DispatchError> {
        let key = (self.peer.clone(), alert.clone());
        let Some(tombstone) = self.node.store.get::<Tombstones>(alert)? else { return Ok(()) };
        let Some(ledger) = self.node.store.get::<Ledger>(&key)? else {
            if self.node.store.get::<ParkedOut>(&key)?.is_some() {
                self.plan.unparks.push(alert.clone());
            }
            return Ok(());
        };
        match tombstone.statement {
            Some(text) => {
                let offered = Offered::Withdrawal(text.clone());
                self.pick_word(alert, offered, Statement::Withdrawal(text));
            }
            None if may_outlive(&ledger, tombstone.version) => self.retract(alert),
            None => {}
        }
        Ok(())
    }

    fn pick_word(&mut self, alert: &AlertId, offered: Offered, statement: Statement) {
        let digest = Digest::of(statement.text().as_bytes());
        self.bytes += statement.text().len();
        self.plan.picks.push(Pick { alert: alert.clone(), offered, statement, digest, rule: None });
    }
}

/// Signs a retraction of `alert` for `peer`; `in_place_of` when it stands in for an earlier offer.
pub(super) fn retraction(
    node: &Node,
    peer: &AuthorityId,
    alert: &AlertId,
    in_place_of: Option<Digest>,
) -> String {
    let retraction = Retraction {
        iss: node.authority.clone(),
        aud: peer.clone(),
        jti: alert.clone(),
        iat: node.clock.now().seconds(),
        in_place_of,
    };
    jose::sign(RETRACTION_TYP, &retraction, &node.statement_key)
}

/// Whether the newest that was offered is just this.
fn stands(ledger: &LedgerEntry, epoch: u64, version: Version, claims: ClaimSet) -> bool {
    let newest = ledger.possible.last().or(ledger.held.as_ref());
    ledger.taken_back.is_none()
        && newest.is_some_and(|d| (d.epoch, d.version, d.claims) == (epoch, version, claims))
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
    for (alert, version) in plan.parks {
        park_for_schema(tx, peer, &stream, alert, version)?;
    }
    for alert in plan.unparks {
        parked::unpark(tx, &(peer.clone(), alert))?;
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

/// The stream as it stands, if everything the plan was made from still holds.
fn current(tx: &Tx<'_>, peer: &AuthorityId, plan: &Plan) -> Result<StreamOut, Refusal> {
    if super::recover::is_stopped(tx)? {
        return Err(Refusal::Failed(DispatchError::LostState));
    }
    let held = tx.get::<Peers>(peer)?.filter(|held| held.state == PeerState::Active);
    let held = held.ok_or(Refusal::Failed(DispatchError::NotActive))?;
    let stream = tx.get::<StreamsOut>(peer)?.ok_or(Refusal::Failed(DispatchError::NotActive))?;
    let basis = &plan.basis;
    let same_place = (stream.epoch, stream.tail) == (basis.stream.epoch, basis.stream.tail)
        && (stream.cursor, stream.sweeps) == (basis.stream.cursor, basis.stream.sweeps)
        && stream.sweep == basis.stream.sweep;
    let same_rules = stream.policy == basis.policy && held.revision == basis.trust;
    if !same_place || !same_rules || stream.halted.is_some() {
        return Err(Refusal::Stale);
    }
    for pick in &plan.picks {
        if let Offered::View { version, .. } = pick.offered {
            let own = tx.get::<Own>(&pick.alert)?;
            if own.map(|own| own.version) != Some(version) {
                return Err(Refusal::Stale);
            }
        }
    }
    Ok(stream)
}

fn enter_ledger(
    tx: &mut Tx<'_>,
    peer: &AuthorityId,
    stream: &StreamOut,
    pick: &Pick,
    at: Timestamp,
) -> Result<(), Refusal> {
    let key = (peer.clone(), pick.alert.clone());
    let mut ledger = tx.get::<Ledger>(&key)?.unwrap_or_default();
    match pick.offered {
        Offered::View { version, claims } => {
            let (epoch, seq) = (stream.epoch, stream.tail);
            ledger.possible.retain(|d| (d.version, d.claims) != (version, claims));
            ledger.possible.push(Disclosed { epoch, seq, version, claims, at });
            bound(&mut ledger.possible);
            ledger.taken_back = None;
            ledger.erased = false;
        }
        _ => ledger.taken_back = Some((stream.epoch, stream.tail)),
    }
    parked::unpark(tx, &key)?;
    tx.put::<Ledger>(&key, &ledger);
    let offer = Offer {
        alert: pick.alert.clone(),
        offered: pick.offered.clone(),
        digest: pick.digest,
        chain: stream.tail_chain,
        policy: stream.policy,
        at,
    };
    tx.put::<Offers>(&(peer.clone(), stream.tail), &offer);
    Ok(())
}

/// Disclosures of one alert that a peer may hold, kept apart: a peer that acknowledges none makes no record too large.
const POSSIBLE_MAX: usize = 64;

/// Joins the oldest two: what they disclosed stays in the ledger.
fn bound(possible: &mut Vec<Disclosed>) {
    if possible.len() > POSSIBLE_MAX {
        let oldest = possible.remove(0);
        if let Some(next) = possible.first_mut() {
            next.claims = next.claims.union(oldest.claims);
        }
    }
}

fn offered_event(peer: &AuthorityId, stream: &StreamOut, pick: &Pick) -> Event {
    let (operation, kind) = match pick.offered {
        Offered::View { .. } => (Operation::Disclose, "disclose.offered"),
        Offered::Withdrawal(_) => (Operation::Erase, "disclose.withdrawal_offered"),
        Offered::Retraction(_) => (Operation::Erase, "disclose.retraction_offered"),
    };
    let mut event = Event::new(operation, kind, "node")
        .alert(&pick.alert)
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

fn park_for_schema(
    tx: &mut Tx<'_>,
    peer: &AuthorityId,
    stream: &StreamOut,
    alert: AlertId,
    version: Version,
) -> Result<(), StoreError> {
    let parked = Parked {
        version,
        claims: ClaimSet::EMPTY,
        reason: SCHEMA_LACKING.to_owned(),
        at: tx.now(),
        epoch: stream.epoch,
        seq: 0,
        retry_at: None,
    };
    parked::park(tx, &(peer.clone(), alert), &parked)
}

/// Forgets the offers of a stream whose epoch ends; the ledger keeps what they disclosed.
pub(super) fn drop_offers(tx: &mut Tx<'_>, peer: &AuthorityId) -> Result<(), StoreError> {
    loop {
        let page = tx.scan::<Offers>(&within(peer), None, PAGE)?;
        for (key, _) in &page {
            tx.delete::<Offers>(key);
        }
        if page.len() < PAGE {
            return Ok(());
        }
    }
}

/// When the next rule ends, since this peer's stream last decided everything anew: a time in the past when one ended while
/// nothing was sent, and now when the clock was set back since: rules that had ended for it may hold again.
///
/// # Errors
/// When the store cannot be read.
pub fn next_rule_end(node: &Node, peer: &AuthorityId) -> Result<Option<Timestamp>, StoreError> {
    let Some(stream) = node.store.get::<StreamsOut>(peer)? else { return Ok(None) };
    let now = node.clock.now();
    if stream.swept_at > now.plus(CLOCK_TOLERANCE_S) {
        return Ok(Some(now));
    }
    Ok(node.policy.load().1.next_change(stream.swept_at))
}

/// Where a rule has ended, the stream decides everything anew.
async fn sweep_after_rule_end(node: &SharedNode, peer: &AuthorityId) -> Result<(), DispatchError> {
    if next_rule_end(node, peer)?.is_none_or(|end| end > node.clock.now()) {
        return Ok(());
    }
    let held = peer.clone();
    super::resume::done(node.store.commit(move |tx| {
        if let Some(stream) = tx.get::<StreamsOut>(&held)? {
            tx.put::<StreamsOut>(&held, &begin_sweep(stream, tx.now()));
        }
        let event = Event::new(Operation::Policy, "policy.rule_ended", "node").peer(&held);
        Ok::<_, StoreError>(Committed::new((), event))
    }))
    .await
}

/// An offer that is sent again, or the retraction that took its place.
pub(super) struct Replayed {
    pub(super) item: Item,
    /// The text that now stands at the place, when the right to the offer has ended.
    pub(super) replaced: Option<String>,
}

/// Makes the statement of an offer once more, byte for byte; a retraction in its place when the alert
/// changed meanwhile or policy no longer allows the view.
pub(super) fn replay(
    node: &Node,
    peer: &AuthorityId,
    seq: StreamSeq,
    offer: &Offer,
) -> Result<Replayed, DispatchError> {
    let digest = offer.digest;
    let same = |statement| Replayed { item: Item { seq, digest, statement }, replaced: None };
    let (version, claims) = match &offer.offered {
        Offered::Withdrawal(text) => return Ok(same(Statement::Withdrawal(text.clone()))),
        Offered::Retraction(text) => return Ok(same(Statement::Retraction(text.clone()))),
        Offered::View { version, claims } => (*version, *claims),
    };
    if let Some(text) = still_allowed(node, peer, &offer.alert, version, claims)?
        && Digest::of(text.as_bytes()) == digest
    {
        return Ok(same(Statement::Alert(text)));
    }
    let text = retraction(node, peer, &offer.alert, Some(digest));
    let statement = Statement::Retraction(text.clone());
    Ok(Replayed { item: Item { seq, digest, statement }, replaced: Some(text) })
}

fn still_allowed(
    node: &Node,
    peer: &AuthorityId,
    alert: &AlertId,
    version: Version,
    claims: ClaimSet,
) -> Result<Option<String>, DispatchError> {
    let now = node.clock.now();
    let own = node.store.get::<Own>(alert)?;
    let own = own.filter(|own| own.version == version && own.expires_at > now);
    let Some(own) = own else { return Ok(None) };
    let view = read_own(node, alert, &own)?;
    let decision = node.policy.load().1.decide(peer, &view.facts(), now);
    match decision.sharing {
        Sharing::View(allowed) if claims.is_subset(allowed) => {
            let text = view.disclose(claims);
            Ok(Some(text.map_err(|error| HoldingError::Alert(alert.clone(), error))?))
        }
        _ => Ok(None),
    }
}
