//! Decides what a peer gets next: compares the feed and the ledger with what policy allows now, and
//! picks the difference. Nothing is written here.

use std::collections::HashSet;

use super::error::SendError;
use super::opened::{Disclosed, Opened};
use crate::alert::{ClaimSet, Facts};
use crate::exchange::batch::{BATCH_BYTES_MAX, BATCH_ITEMS_MAX, Statement};
use crate::exchange::kind::Kind;
use crate::exchange::parked::{self, CLOCK_IN_DOUBT, PROTOCOL_LACKING, SCHEMA_LACKING};
use crate::exchange::statement::{RETRACTION_TYP, Retraction};
use crate::exchange::stop::{lost_state, must_ask};
use crate::holding::{NoticeKey, outgoing_acknowledgement, outgoing_notice};
use crate::id::{
    AlertId, AuthorityId, Digest, NoticeId, PolicyVersion, Timestamp, Version, Versions,
};
use crate::jose::{self, SignError};
use crate::node::Node;
use crate::policy::{Policy, Sharing};
use crate::store::{
    Feed, FeedEntry, Ledger, Offered, Own, PAGE, ParkedOut, Read, Scan, Snapshot, StoreError,
    StreamOut, StreamsOut, Subject, Sweep, TakenBack, Tombstones,
};

/// Most feed places decided as "nothing for this peer" before the cursor is stored: after a crash
/// they are decided again, to the same effect.
const CURSOR_LAG_MAX: u64 = 4096;

#[derive(Clone)]
pub(super) struct FeedPosition {
    pub(super) stored: (u64, Option<Sweep>, u64),
    pub(super) cursor: u64,
    pub(super) sweep: Option<Sweep>,
}

/// What makes a decision current; the writer compares it.
pub(super) struct Basis {
    pub(super) stream: StreamOut,
    pub(super) policy: PolicyVersion,
    pub(super) trust: u64,
}

pub(super) struct Plan {
    pub(super) basis: Basis,
    pub(super) position: FeedPosition,
    pub(super) picks: Vec<Pick>,
    /// With the reason.
    pub(super) parks: Vec<(Subject, Version, &'static str)>,
    pub(super) unparks: Vec<Subject>,
    pub(super) caught_up: bool,
}

/// A statement to be offered.
pub(super) struct Pick {
    pub(super) subject: Subject,
    pub(super) offered: Offered,
    pub(super) statement: Statement,
    pub(super) digest: Digest,
    pub(super) rule: Option<String>,
}

impl FeedPosition {
    fn of(stream: &StreamOut, ahead: Option<FeedPosition>) -> Self {
        let stored = (stream.cursor, stream.sweep.clone(), stream.sweeps);
        match ahead {
            Some(ahead) if ahead.stored == stored => ahead,
            _ => Self { cursor: stored.0, sweep: stored.1.clone(), stored },
        }
    }

    pub(super) fn must_be_kept(&self) -> bool {
        self.cursor - self.stored.0.min(self.cursor) > CURSOR_LAG_MAX
            || self.stored.1.is_some() && self.sweep.is_none()
    }
}

impl Plan {
    /// Whether it contains anything that must be durable now.
    pub(super) fn must_be_kept(&self) -> bool {
        let completes = self.caught_up && self.basis.stream.snapshot;
        let empty = self.picks.is_empty() && self.parks.is_empty() && self.unparks.is_empty();
        !empty || completes || self.position.must_be_kept()
    }
}

pub(super) struct Planner<'a> {
    node: &'a Node,
    /// What is decided from.
    held: &'a Snapshot<'a>,
    peer: &'a AuthorityId,
    policy: std::sync::Arc<(PolicyVersion, Policy)>,
    schemas: Versions,
    protocol: u32,
    now: Timestamp,
    bytes: usize,
    seen: HashSet<Subject>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        node: &'a Node,
        held: &'a Snapshot<'a>,
        peer: &'a AuthorityId,
        (schemas, protocol): (Versions, u32),
        ahead: Option<FeedPosition>,
    ) -> Result<Self, SendError> {
        if lost_state(node)? {
            return Err(SendError::LostState);
        }
        if must_ask(node, peer)? {
            return Err(SendError::Unasked);
        }
        let directory = node.directory.load();
        let trust = directory.active(peer).ok_or(SendError::NotActive)?.peer.revision;
        let stream = held.get::<StreamsOut>(peer)?.ok_or(SendError::NotActive)?;
        if let Some(reason) = stream.halted {
            return Err(SendError::Halted(reason));
        }
        let policy = node.policy.load_full();
        let position = FeedPosition::of(&stream, ahead);
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
        Ok(Self {
            node,
            held,
            peer,
            policy,
            schemas,
            protocol,
            now,
            bytes: 0,
            seen: HashSet::new(),
            plan,
        })
    }

    pub(super) fn plan(mut self) -> Result<Plan, SendError> {
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

    /// Decides again what is parked and due; returns false if there is more than fits.
    fn retry_parked(&mut self) -> Result<bool, SendError> {
        let due = parked::due(self.held, self.peer, self.now)?;
        let all = due.len() < PAGE;
        for subject in due {
            if self.full() {
                return Ok(false);
            }
            let before = (self.plan.picks.len(), self.plan.parks.len());
            self.decide(&subject, true)?;
            if (self.plan.picks.len(), self.plan.parks.len()) == before {
                self.plan.unparks.push(subject);
            }
        }
        Ok(all)
    }

    fn sweep_held(&mut self, after: Option<Subject>) -> Result<(), SendError> {
        let from = after.clone().map(|subject| (self.peer.clone(), subject));
        let page = self.held.scan(Scan::<Ledger>::of(self.peer).after(&from), PAGE)?;
        let ended = page.len() < PAGE;
        let mut last = after;
        for ((_, subject), _) in page {
            if self.full() {
                self.plan.position.sweep = Some(Sweep::Held(last));
                return Ok(());
            }
            self.decide(&subject, false)?;
            last = Some(subject);
        }
        self.plan.position.sweep = Some(if ended { Sweep::Feed(0) } else { Sweep::Held(last) });
        Ok(())
    }

    fn sweep_feed(&mut self, after: u64) -> Result<(), SendError> {
        let page = self.held.scan(Scan::<Feed>::all().after(&after), PAGE)?;
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
            if !entry.withdrawn && entry.to.may_be(self.peer) {
                self.decide(&entry.subject, false)?;
            }
            last = place;
        }
        self.plan.position.sweep = (!ended).then_some(Sweep::Feed(last));
        Ok(())
    }

    fn follow_feed(&mut self) -> Result<(), SendError> {
        let after = self.plan.position.cursor;
        let page = self.held.scan(Scan::<Feed>::all().after(&after), PAGE)?;
        let ended = page.len() < PAGE;
        for (place, FeedEntry { subject, to, withdrawn }) in page {
            if self.full() {
                return Ok(());
            }
            match subject {
                _ if !to.may_be(self.peer) => {}
                Subject::Alert(alert) if withdrawn => self.last_word(&alert)?,
                subject => self.decide(&subject, false)?,
            }
            self.plan.position.cursor = place;
        }
        self.plan.caught_up = ended;
        Ok(())
    }

    /// Compares what the peer is to have of a subject with what the ledger says, and picks the
    /// difference.
    fn decide(&mut self, subject: &Subject, again: bool) -> Result<(), SendError> {
        // A sweep goes through the ledger and then through the feed, so a subject comes up twice.
        if !self.seen.insert(subject.clone()) {
            return Ok(());
        }
        match subject {
            Subject::Alert(alert) => self.decide_alert(alert, again),
            Subject::Notice(id) => self.decide_addressed(subject, id, Offered::Notice, again),
            Subject::Acknowledgement(id) => {
                self.decide_addressed(subject, id, Offered::Acknowledgement, again)
            }
        }
    }

    /// What is addressed to the peer goes whatever policy says, once in each epoch.
    fn decide_addressed(
        &mut self,
        subject: &Subject,
        id: &NoticeId,
        offered: Offered,
        again: bool,
    ) -> Result<(), SendError> {
        let key = (self.peer.clone(), subject.clone());
        let epoch = self.plan.basis.stream.epoch;
        let ledger = self.held.get::<Ledger>(&key)?.unwrap_or_default();
        let parked = self.held.get::<ParkedOut>(&key)?;
        let waits = parked.is_some_and(|parked| parked.epoch == epoch);
        if !again && (waits || ledger.stands(epoch, 1, ClaimSet::EMPTY)) {
            return Ok(());
        }
        let kind = Kind::of(&offered);
        if kind.rules().protocol > self.protocol {
            self.plan.parks.push((subject.clone(), 1, PROTOCOL_LACKING));
            return Ok(());
        }
        let Some(text) = signed(self.held, &(self.peer.clone(), id.clone()), &offered)? else {
            return Ok(());
        };
        self.pick(subject.clone(), offered, text);
        Ok(())
    }

    /// Compares what policy allows with what the ledger says, and picks the difference.
    fn decide_alert(&mut self, alert: &AlertId, again: bool) -> Result<(), SendError> {
        let taken_back = (self.peer.clone(), alert.clone());
        let key = (self.peer.clone(), Subject::Alert(alert.clone()));
        let Some(own) = self.held.get::<Own>(alert)? else {
            return if again { self.last_word(alert) } else { Ok(()) };
        };
        // The peer erases it by itself.
        if own.expires_at <= self.now {
            return Ok(());
        }
        let ledger = self.held.get::<Ledger>(&key)?.unwrap_or_default();
        let opened = Opened::read(self.held, alert, &own)?;
        let view = &opened.view;
        let decision = self.policy.1.decide(self.peer, &opened.facts, self.now);
        let stays_back = self.held.get::<TakenBack>(&taken_back)?.is_some();
        match decision.sharing {
            // It was taken back before a restore, and nobody has confirmed that it may go out
            // again.
            Sharing::View(_) if stays_back => {}
            Sharing::None if ledger.may_hold() => self.retract(alert)?,
            Sharing::None => {}
            Sharing::View(allowed) => {
                // A rule may give claims that the alert lacks: the ledger knows only what is sent.
                let claims = allowed.intersection(view.claims);
                // Refused by the peer, and nothing changed since: it waits for its time, or for
                // somebody to offer it again.
                let epoch = self.plan.basis.stream.epoch;
                let parked = !again
                    && self.held.get::<ParkedOut>(&key)?.is_some_and(|p| {
                        (p.epoch, p.version, p.claims) == (epoch, own.version, claims)
                    });
                if !self.schemas.contains(view.head.schema) {
                    self.plan.parks.push((key.1, own.version, SCHEMA_LACKING));
                } else if !parked && (again || !ledger.stands(epoch, own.version, claims)) {
                    if self.may_have_ended(own.expires_at, &opened.facts, claims) {
                        self.plan.parks.push((key.1, own.version, CLOCK_IN_DOUBT));
                    } else {
                        self.pick_view(&opened, claims, decision.rule.map(|(_, name)| name))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the right to a view has ended according to a clock that is in doubt since the start.
    /// A disclosure can't be undone, so it waits.
    fn may_have_ended(&self, end: Timestamp, facts: &Facts, claims: ClaimSet) -> bool {
        let Some(doubt) = self.node.clock.doubt().filter(|doubt| doubt.since_start) else {
            return false;
        };
        let then = self.policy.1.decide(self.peer, facts, doubt.shown).sharing;
        let allowed = matches!(then, Sharing::View(allowed) if claims.is_subset(allowed));
        end <= doubt.shown || !allowed
    }

    fn pick_view(
        &mut self,
        opened: &Opened,
        claims: ClaimSet,
        rule: Option<String>,
    ) -> Result<(), SendError> {
        let head = &opened.view.head;
        let Disclosed { text, digest } = opened.disclose(claims)?;
        self.bytes += text.len();
        self.plan.picks.push(Pick {
            subject: Subject::Alert(head.id.clone()),
            offered: Offered::View { version: head.version, claims },
            digest,
            statement: Statement::new(Kind::Alert, text.as_ref().to_owned()),
            rule,
        });
        Ok(())
    }

    fn retract(&mut self, alert: &AlertId) -> Result<(), SendError> {
        let text = retraction(self.node, self.peer, alert, None)?;
        let subject = Subject::Alert(alert.clone());
        self.pick(subject, Offered::Retraction(text.clone()), text);
        Ok(())
    }

    /// A withdrawal goes to every peer that ever held something of the alert. An expired alert
    /// needs one only where an older version may outlive it.
    fn last_word(&mut self, alert: &AlertId) -> Result<(), SendError> {
        let key = (self.peer.clone(), Subject::Alert(alert.clone()));
        let Some(tombstone) = self.held.get::<Tombstones>(alert)? else { return Ok(()) };
        let Some(ledger) = self.held.get::<Ledger>(&key)? else {
            if self.held.get::<ParkedOut>(&key)?.is_some() {
                self.plan.unparks.push(key.1);
            }
            return Ok(());
        };
        match tombstone.statement {
            Some(text) => {
                self.pick(key.1, Offered::Withdrawal(text.clone()), text);
            }
            None if ledger.may_outlive(tombstone.version) => self.retract(alert)?,
            None => {}
        }
        Ok(())
    }

    fn pick(&mut self, subject: Subject, offered: Offered, text: String) {
        let statement = Statement::new(Kind::of(&offered), text);
        let digest = Digest::of(statement.text.as_bytes());
        self.bytes += statement.text.len();
        self.plan.picks.push(Pick { subject, offered, statement, digest, rule: None });
    }
}

/// What is addressed to a peer, as signed; `None` when it is not to be sent any more.
pub(super) fn signed(
    now: &Snapshot<'_>,
    key: &NoticeKey,
    offered: &Offered,
) -> Result<Option<String>, StoreError> {
    match offered {
        Offered::Notice => outgoing_notice(now, key),
        Offered::Acknowledgement => outgoing_acknowledgement(now, key),
        Offered::View { .. } | Offered::Withdrawal(_) | Offered::Retraction(_) => Ok(None),
    }
}

/// Signs a retraction of `alert` for `peer`; `in_place_of` when it stands in for an earlier offer.
pub(super) fn retraction(
    node: &Node,
    peer: &AuthorityId,
    alert: &AlertId,
    in_place_of: Option<Digest>,
) -> Result<String, SignError> {
    let retraction = Retraction {
        iss: node.authority.clone(),
        aud: peer.clone(),
        jti: alert.clone(),
        iat: node.clock.now().seconds(),
        in_place_of,
    };
    jose::sign(RETRACTION_TYP, &retraction, &node.statement_key)
}
