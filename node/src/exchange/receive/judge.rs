//! Judges each statement of a batch by itself: signature, form, issuer, time. The transaction
//! judges what needs history.

use crate::alert::{self, AlertError, Withdrawal};
use crate::exchange::batch::Item;
use crate::exchange::kind::Kind;
use crate::exchange::statement::{RETRACTION_TYP, Retraction};
use crate::holding::{Sealed, SealedAcknowledgement, SealedNotice};
use crate::id::{AuthorityId, Digest, StreamSeq, Version};
use crate::jose;
use crate::matching::{self, MATCH_KEYS_MAX};
use crate::node::Node;
use crate::notice::{Acknowledgement, Notice};
use crate::reason::Reason;
use crate::store::{Copies, Subject};

/// The verdict on a statement.
pub(super) enum Judged {
    /// A view, sealed and indexed, ready to be kept.
    Keep(Box<Kept>),
    /// Its issuer's last word.
    Withdraw(Withdrawal, String),
    /// Taken back from us.
    Retract(Retraction, String),
    /// A notice, sealed, at its place.
    Notice(StreamSeq, Box<SealedNotice>),
    /// The word that a notice was read, sealed, at its place.
    Acknowledge(StreamSeq, Box<SealedAcknowledgement>),
    /// Refused.
    Refuse(Refusal),
}

impl Judged {
    /// Refused only for lack of room.
    pub(super) fn lacked_room(&self) -> bool {
        matches!(self, Self::Refuse(refusal) if refusal.reason == Reason::NoRoom)
    }
}

/// A view that verified.
pub(super) struct Kept {
    pub(super) seq: StreamSeq,
    pub(super) sealed: Sealed,
}

/// A refused statement, with the subject that it claims to have.
pub(super) struct Refusal {
    pub(super) seq: StreamSeq,
    pub(super) subject: Option<(Subject, Version)>,
    pub(super) reason: Reason,
}

/// Judges the statements that a peer sends on one stream.
pub(super) struct Judge<'a> {
    pub(super) node: &'a Node,
    pub(super) peer: &'a AuthorityId,
    /// Version of the protocol that the stream goes by.
    pub(super) protocol: u32,
    /// Without it views are refused, and withdrawals of alerts that are not held; statements that
    /// erase are still accepted.
    pub(super) room: bool,
}

impl Judge<'_> {
    pub(super) fn item(&self, item: &Item) -> Judged {
        let judged = self.of_its_kind(item);
        judged.unwrap_or_else(|reason| {
            Judged::Refuse(Refusal { seq: item.seq, subject: self.claimed(item), reason })
        })
    }

    fn of_its_kind(&self, item: &Item) -> Result<Judged, Reason> {
        let (kind, text) = (item.statement.kind, item.statement.text.as_str());
        if text.len() > kind.rules().bytes_max {
            return Err(Reason::StatementTooLong);
        }
        if kind.rules().protocol > self.protocol {
            return Err(Reason::PeerLacksProtocol);
        }
        match kind {
            Kind::Alert => self.alert(item, text),
            Kind::Withdrawal => self.withdrawal(item, text),
            Kind::Retraction => self.retraction(item, text),
            Kind::Notice => self.notice(item, text),
            Kind::Acknowledgement => self.acknowledgement(item, text),
        }
    }

    fn alert(&self, item: &Item, text: &str) -> Result<Judged, Reason> {
        self.check_digest(item, text)?;
        let now = self.node.clock.now();
        let directory = self.node.directory.load();
        let key_of = |issuer: &AuthorityId, kid: &_| {
            (issuer == self.peer).then(|| directory.statement_key(issuer, kid, now)).flatten()
        };
        let view = alert::verify(text, key_of, self.node.clock.bounds())
            .map_err(|error| error.reason())?;
        if view.head.id.authority() != self.peer {
            return Err(Reason::NotTheIssuer);
        }
        if matching::match_keys(&view).len() > MATCH_KEYS_MAX {
            return Err(Reason::TooManyMatchKeys);
        }
        if !self.room {
            return Err(Reason::NoRoom);
        }
        // A new key each time, so that what an earlier view disclosed can be erased for good.
        let sealed = Sealed::copy(self.node, view);
        Ok(Judged::Keep(Box::new(Kept { seq: item.seq, sealed })))
    }

    fn withdrawal(&self, item: &Item, text: &str) -> Result<Judged, Reason> {
        self.check_digest(item, text)?;
        let now = self.node.clock.now();
        let directory = self.node.directory.load();
        let key_of = |issuer: &AuthorityId, kid: &_| {
            (issuer == self.peer).then(|| directory.statement_key(issuer, kid, now)).flatten()
        };
        let withdrawal = alert::verify_withdrawal(text, key_of, self.node.clock.bounds())
            .map_err(|error| error.reason())?;
        if withdrawal.jti.authority() != self.peer {
            return Err(Reason::NotTheIssuer);
        }
        let held = self.node.store.get::<Copies>(&withdrawal.jti);
        if !self.room && held.is_ok_and(|held| held.is_none()) {
            return Err(Reason::NoRoom);
        }
        Ok(Judged::Withdraw(withdrawal, text.to_owned()))
    }

    fn retraction(&self, item: &Item, text: &str) -> Result<Judged, Reason> {
        let now = self.node.clock.now();
        let directory = self.node.directory.load();
        let key_of = |kid: &_| directory.statement_key(self.peer, kid, now);
        let retraction: Retraction =
            jose::verify(RETRACTION_TYP, text, key_of).map_err(|error| error.reason())?;
        if retraction.iss != *self.peer || retraction.jti.authority() != self.peer {
            return Err(Reason::NotTheIssuer);
        }
        if retraction.aud != self.node.authority {
            return Err(Reason::NotForThisReceiver);
        }
        if retraction.in_place_of != Some(item.digest) {
            self.check_digest(item, text)?;
        }
        Ok(Judged::Retract(retraction, text.to_owned()))
    }

    fn notice(&self, item: &Item, text: &str) -> Result<Judged, Reason> {
        self.check_digest(item, text)?;
        let now = self.node.clock.now();
        let directory = self.node.directory.load();
        let key_of = |kid: &_| directory.statement_key(self.peer, kid, now);
        let parties = (self.peer, &self.node.authority);
        let notice = Notice::verify(text, parties, key_of, self.node.clock.bounds())
            .map_err(|error| error.reason())?;
        if !self.room {
            return Err(Reason::NoRoom);
        }
        Ok(Judged::Notice(item.seq, Box::new(SealedNotice::new(self.node, &notice, text))))
    }

    fn acknowledgement(&self, item: &Item, text: &str) -> Result<Judged, Reason> {
        self.check_digest(item, text)?;
        let now = self.node.clock.now();
        let directory = self.node.directory.load();
        let key_of = |kid: &_| directory.statement_key(self.peer, kid, now);
        let parties = (self.peer, &self.node.authority);
        let said = Acknowledgement::verify(text, parties, key_of, self.node.clock.bounds())
            .map_err(|error| error.reason())?;
        if !self.room {
            return Err(Reason::NoRoom);
        }
        let sealed = SealedAcknowledgement::new(self.node, &said, text);
        Ok(Judged::Acknowledge(item.seq, Box::new(sealed)))
    }

    fn check_digest(&self, item: &Item, text: &str) -> Result<(), Reason> {
        let same = Digest::of(text.as_bytes()) == item.digest;
        if same { Ok(()) } else { Err(Reason::DigestDiffers) }
    }

    /// What a refused statement says it is about, so that people can speak about it; it proves
    /// nothing.
    fn claimed(&self, item: &Item) -> Option<(Subject, Version)> {
        let (kind, text) = (item.statement.kind, item.statement.text.as_str());
        let typ = kind.rules().typ;
        Some(match kind {
            Kind::Alert => {
                let head = alert::read(text).ok()?.head;
                (Subject::Alert(head.id), head.version)
            }
            Kind::Withdrawal => {
                let said: Withdrawal = jose::peek(typ, text).ok()?;
                (Subject::Alert(said.jti), said.ver)
            }
            Kind::Retraction => {
                let said: Retraction = jose::peek(typ, text).ok()?;
                (Subject::Alert(said.jti), 0)
            }
            Kind::Notice => {
                let said: Notice = jose::peek(typ, text).ok()?;
                (Subject::Notice(said.jti), 0)
            }
            Kind::Acknowledgement => {
                let said: Acknowledgement = jose::peek(typ, text).ok()?;
                (Subject::Acknowledgement(said.jti), 0)
            }
        })
    }
}

/// The stable reason of an error of `alert::succeeds`, and whether it is equivocation.
pub(super) fn history_reason(error: &AlertError) -> (Reason, bool) {
    (error.reason(), matches!(error, AlertError::Equivocation))
}
