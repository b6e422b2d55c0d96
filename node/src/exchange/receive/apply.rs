//! Applies a judged batch in one transaction. History is judged here, including what the batch
//! itself already changed.

mod notices;

use std::sync::Arc;

use self::notices::Repeated;
use super::error::ReceiveError;
use super::judge::{Judged, Kept, Refusal, history_reason};
use super::verified::VerifiedBatch;
use crate::alert::{ClaimSet, Succession, View, Withdrawal, succeeds};
use crate::audit::{Event, Operation};
use crate::exchange::kind;
use crate::exchange::restores::last_restore;
use crate::exchange::statement::{Refused, Retraction};
use crate::holding::{Sealed, erase_copy, forget_copy};
use crate::id::{AlertId, AuthorityId, CLOCK_TOLERANCE_S, Digest, Epoch};
use crate::node::Live;
use crate::reason::Reason;
use crate::store::{
    Change, Committed, Copies, Erased, HeldCopy, Parked, ParkedIn, Peers, Read, Scan, StoreError,
    StreamIn, StreamsIn, Tombstone, Tombstones, Tx,
};
use crate::trust::PeerState;

/// Most refused statements about alerts of one peer kept for people to see: a hostile peer must not
/// fill the disk.
const PARKED_MAX: usize = 1024;

/// Most of its other refused statements: they take no place from alerts, and people read no more.
const PARKED_ADDRESSED_MAX: usize = 128;

/// Most refusals that the sender may not know yet: its window is four batches of 64.
const REFUSED_OPEN_MAX: usize = 512;

/// A batch at the moment it is committed.
pub(super) struct Arrival {
    pub(super) peer: AuthorityId,
    pub(super) live: Arc<Live>,
    pub(super) number: u64,
    pub(super) verified: VerifiedBatch,
}

/// The result of a batch.
pub(super) struct Outcome {
    /// All refusals that the sender may not know yet.
    pub(super) refused: Vec<Refused>,
    /// Why statements of this batch were refused.
    pub(super) reasons: Vec<&'static str>,
}

/// Keeps, erases and refuses according to the batch.
pub(super) fn apply(
    tx: &mut Tx<'_>,
    arrival: Arrival,
    judged: Vec<Judged>,
) -> Result<Committed<Outcome>, ReceiveError> {
    let held = arrival.still_right(tx)?;
    let refused = arrival.verified.refused_open();
    let outcome = Outcome { refused, reasons: vec![] };
    let repeated = Repeated::default();
    let mut batch = Applying { arrival: &arrival, outcome, events: vec![], parked: None, repeated };
    for judged in judged {
        batch.one(tx, judged)?;
    }
    batch.log_repeated();
    let (outcome, events) = (batch.outcome, batch.events);
    if outcome.refused.len() > REFUSED_OPEN_MAX {
        return Err(ReceiveError::TooManyRefused);
    }
    let event = arrival.enter_stream(tx, &held, &outcome.refused);
    Ok(events.into_iter().fold(Committed::new(outcome, event), Committed::and))
}

impl Arrival {
    /// The present state of the stream, if it is the newest of an active peer, is at the place
    /// where the batch begins, and the peer still has the keys by which the batch was judged.
    fn still_right(&self, tx: &Tx<'_>) -> Result<StreamIn, ReceiveError> {
        if !self.live.is_newest(self.number) {
            return Err(ReceiveError::Superseded);
        }
        let peer = tx.get::<Peers>(&self.peer)?.filter(|peer| peer.state == PeerState::Active);
        if peer.ok_or(ReceiveError::NotActive)?.revision != self.verified.trust {
            return Err(ReceiveError::Superseded);
        }
        let held = tx.get::<StreamsIn>(&self.peer)?.unwrap_or_default();
        let seen = &self.verified.held;
        if (held.epoch, held.seq) != (seen.epoch, seen.seq) {
            return Err(ReceiveError::Superseded);
        }
        Ok(held)
    }

    fn enter_stream(&self, tx: &mut Tx<'_>, held: &StreamIn, refused: &[Refused]) -> Event {
        let head = &self.verified.head;
        let log = (head.log_size, head.log_root);
        let stream = StreamIn {
            epoch: head.epoch,
            seq: head.seq,
            chain: Some(head.chain),
            head: self.verified.jws.clone(),
            snapshot: held.snapshot || self.verified.renews(),
            log: Some(log),
            refused: refused.iter().map(|r| (r.seq, r.reason.clone())).collect(),
        };
        tx.put::<StreamsIn>(&self.peer, &stream);
        Event::new(Operation::Collect, "exchange.received", "node")
            .peer(&self.peer)
            .with("epoch", head.epoch)
            .with("seq", head.seq)
            .with("head", Digest::of(self.verified.jws.as_bytes()).to_string())
    }
}

/// How many statements are parked.
#[derive(Clone, Copy)]
struct ParkedCounts {
    alerts: usize,
    addressed: usize,
}

struct Applying<'a> {
    arrival: &'a Arrival,
    outcome: Outcome,
    events: Vec<Event>,
    /// Parked statements of this peer, once they were counted.
    parked: Option<ParkedCounts>,
    repeated: Repeated,
}

impl Applying<'_> {
    fn one(&mut self, tx: &mut Tx<'_>, judged: Judged) -> Result<(), ReceiveError> {
        match judged {
            Judged::Keep(kept) => self.keep(tx, *kept),
            Judged::Withdraw(withdrawal, text) => self.withdraw(tx, &withdrawal, text),
            Judged::Retract(retraction, text) => self.retract(tx, &retraction, text),
            Judged::Notice(seq, sealed) => self.take_notice(tx, seq, &sealed),
            Judged::Acknowledge(seq, sealed) => self.take_acknowledgement(tx, seq, &sealed),
            Judged::Refuse(refusal) => Ok(self.refuse(tx, refusal, false)?),
        }
    }

    fn keep(&mut self, tx: &mut Tx<'_>, kept: Kept) -> Result<(), ReceiveError> {
        let (id, case) = (kept.sealed.view.head.id.clone(), kept.sealed.case);
        let held = tx.get::<Copies>(&id)?;
        let succession = match succession(tx, held.as_ref(), &kept.sealed.view)? {
            Ok(succession) => succession,
            Err((reason, equivocation)) => {
                let subject = Some((id.into(), kept.sealed.view.head.version));
                let refusal = Refusal { seq: kept.seq, subject, reason };
                return Ok(self.refuse(tx, refusal, equivocation)?);
            }
        };
        if let Some(held) = &held {
            forget_copy(tx, &id, held);
        }
        let copy = enter_copy(
            tx,
            &kept.sealed,
            held.as_ref(),
            succession,
            self.arrival.verified.head.epoch,
        );
        tx.delete::<Tombstones>(&id);
        tx.delete::<ParkedIn>(&(self.arrival.peer.clone(), id.clone().into()));
        tx.announce(Change::Alert { kind: "received", id: id.clone(), version: copy.version });
        self.events.push(
            self.event(Operation::Collect, "alert.received", &id)
                .with("seq", kept.seq)
                .with("version", copy.version)
                .with("jwt", copy.jwt_digest.to_string())
                .with("gap", copy.gap)
                .of_case(case),
        );
        if succession == Succession::Forked {
            self.events.push(
                self.event(Operation::Collect, "alarm.alert_forked", &id)
                    .with("version", copy.version)
                    .with("before", held.map(|held| held.jwt_digest.to_string())),
            );
        }
        Ok(())
    }

    fn withdraw(
        &mut self,
        tx: &mut Tx<'_>,
        withdrawal: &Withdrawal,
        text: String,
    ) -> Result<(), ReceiveError> {
        let id = &withdrawal.jti;
        let erased = erase_copy(tx, id, Erased::Withdrawn, withdrawal.ver, Some(text))?;
        tx.delete::<ParkedIn>(&(self.arrival.peer.clone(), id.clone().into()));
        self.events.push(
            self.event(Operation::Erase, "alert.withdrawal_received", id)
                .with("version", withdrawal.ver)
                .with("held", erased),
        );
        Ok(())
    }

    fn retract(
        &mut self,
        tx: &mut Tx<'_>,
        retraction: &Retraction,
        text: String,
    ) -> Result<(), ReceiveError> {
        let id = &retraction.jti;
        let held = tx.get::<Copies>(id)?.map(|held| held.version);
        if let Some(version) = held {
            erase_copy(tx, id, Erased::Retracted, version, Some(text))?;
        }
        tx.delete::<ParkedIn>(&(self.arrival.peer.clone(), id.clone().into()));
        let event = self.event(Operation::Erase, "alert.retraction_received", id);
        self.events.push(event.with("held", held.is_some()));
        Ok(())
    }

    fn refuse(
        &mut self,
        tx: &mut Tx<'_>,
        refusal: Refusal,
        equivocation: bool,
    ) -> Result<(), StoreError> {
        let addressed = refusal.subject.as_ref().is_some_and(|(of, _)| of.alert().is_none());
        let kind = match (equivocation, addressed) {
            (true, _) => "alarm.equivocation",
            (false, true) => "notice.refused",
            (false, false) => "alert.refused",
        };
        let mut event = Event::new(Operation::Collect, kind, "node")
            .peer(&self.arrival.peer)
            .with("seq", refusal.seq)
            .with("reason", refusal.reason.as_str());
        if let Some((subject, version)) = refusal.subject {
            let parked = Parked {
                version,
                claims: ClaimSet::EMPTY,
                reason: refusal.reason.as_str().to_owned(),
                at: tx.now(),
                epoch: self.arrival.verified.head.epoch,
                seq: refusal.seq,
                retry_at: None,
            };
            if let Some(id) = subject.alert() {
                self.carry_over(tx, id)?;
            }
            if self.has_room_to_park(tx, addressed)? {
                tx.put::<ParkedIn>(&(self.arrival.peer.clone(), subject.clone()), &parked);
            }
            event = kind::about(event, &subject);
        }
        self.events.push(event);
        let reason = refusal.reason.as_str().to_owned();
        self.outcome.refused.push(Refused { seq: refusal.seq, reason });
        self.outcome.reasons.push(refusal.reason.as_str());
        Ok(())
    }

    fn has_room_to_park(&mut self, tx: &Tx<'_>, addressed: bool) -> Result<bool, StoreError> {
        // Counted once for a batch: otherwise the writer would read them all again for every
        // refusal.
        let mut counts = match self.parked {
            Some(counts) => counts,
            None => count_parked(tx, &self.arrival.peer)?,
        };
        let (count, max) = match addressed {
            true => (&mut counts.addressed, PARKED_ADDRESSED_MAX),
            false => (&mut counts.alerts, PARKED_MAX),
        };
        let has_room = *count < max;
        *count += usize::from(has_room);
        self.parked = Some(counts);
        Ok(has_room)
    }

    /// An older copy of a refused alert survives the end of the snapshot, since the newer version
    /// is still due.
    fn carry_over(&self, tx: &mut Tx<'_>, id: &AlertId) -> Result<(), StoreError> {
        let epoch = self.arrival.verified.head.epoch;
        if *id.authority() == self.arrival.peer
            && let Some(copy) = tx.get::<Copies>(id)?.filter(|copy| copy.epoch < epoch)
        {
            tx.put::<Copies>(id, &HeldCopy { epoch, ..copy });
        }
        Ok(())
    }

    fn event(&self, operation: Operation, kind: &'static str, id: &AlertId) -> Event {
        Event::new(operation, kind, "node").peer(&self.arrival.peer).alert(id)
    }
}

/// Alerts come first in the table, so that none is left out.
fn count_parked(tx: &Tx<'_>, peer: &AuthorityId) -> Result<ParkedCounts, StoreError> {
    let parked = tx.scan(Scan::<ParkedIn>::of(peer), PARKED_MAX + PARKED_ADDRESSED_MAX)?;
    let alerts = parked.iter().filter(|((_, subject), _)| subject.alert().is_some()).count();
    Ok(ParkedCounts { alerts, addressed: parked.len() - alerts })
}

type Judgement = Result<Succession, (Reason, bool)>;

/// Judges a view by what this node holds, or held, of its alert.
fn succession(tx: &Tx<'_>, held: Option<&HeldCopy>, view: &View) -> Result<Judgement, StoreError> {
    let tombstone = tx.get::<Tombstones>(&view.head.id)?;
    let erased = tombstone.as_ref().map(|tombstone| tombstone.erased);
    let before = match (held, &tombstone) {
        (Some(held), _) => Some((held.version, held.jwt_digest)),
        (None, Some(t)) => t.jwt_digest.map(|digest| (t.version, digest)),
        (None, None) => None,
    };
    let again = before.is_some_and(|(version, _)| version >= view.head.version);
    Ok(match erased {
        Some(Erased::Withdrawn) => Err((Reason::Withdrawn, false)),
        Some(Erased::Expired) if again => Err((Reason::Expired, false)),
        // Its issuer forgot the version that it took back, and continues from an older one.
        Some(Erased::Retracted) if again && restored_since(tx, tombstone.as_ref(), view)? => {
            Ok(Succession::First)
        }
        _ => succeeds(before, view).map_err(|error| history_reason(&error)),
    })
}

/// Whether two people at the issuer confirmed a restore after it took the alert back.
fn restored_since(
    tx: &Tx<'_>,
    tombstone: Option<&Tombstone>,
    view: &View,
) -> Result<bool, StoreError> {
    let restored_at = last_restore(tx, view.head.id.authority())?;
    let taken_back_at = tombstone.map(|tombstone| tombstone.at.seconds());
    Ok(restored_at.zip(taken_back_at).is_some_and(|(restored_at, taken_back_at)| {
        restored_at.saturating_add(CLOCK_TOLERANCE_S) >= taken_back_at
    }))
}

fn enter_copy(
    tx: &mut Tx<'_>,
    sealed: &Sealed,
    held: Option<&HeldCopy>,
    succession: Succession,
    epoch: Epoch,
) -> HeldCopy {
    let view = &sealed.view;
    let first_gap = succession == Succession::First && view.head.version > 1;
    let follows = matches!(succession, Succession::Next | Succession::Forked);
    let kept_gap = held.is_some_and(|held| held.gap) && !follows;
    let token = sealed.keep(tx, false);
    let copy = HeldCopy {
        version: view.head.version,
        jwt_digest: view.jwt_digest,
        claims: view.claims,
        epoch,
        received_at: tx.now(),
        gap: first_gap || kept_gap || matches!(succession, Succession::Gap | Succession::Forked),
        expires_at: sealed.expires_at(),
        slot: sealed.slot.id(),
        token,
        match_keys: sealed.match_keys(),
    };
    tx.insert::<Copies>(&view.head.id, &copy);
    copy
}
