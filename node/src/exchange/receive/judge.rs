//! Judges each statement of a batch by itself: signature, form, issuer, time. The transaction
//! judges what needs history.

use crate::alert::{self, AlertError, WITHDRAWAL_TYP, Withdrawal};
use crate::exchange::batch::{Item, Statement};
use crate::exchange::parked::NO_ROOM;
use crate::exchange::statement::{RETRACTION_TYP, Retraction};
use crate::holding::Sealed;
use crate::id::{AlertId, AuthorityId, Digest, StreamSeq, Version};
use crate::jose;
use crate::matching::{self, MATCH_KEYS_MAX};
use crate::node::Node;
use crate::store::Copies;

/// The verdict on a statement.
pub(super) enum Judged {
    /// A view, sealed and indexed, ready to be kept.
    Keep(Box<Kept>),
    /// Its issuer's last word.
    Withdraw(Withdrawal, String),
    /// Taken back from us.
    Retract(Retraction, String),
    /// Refused.
    Refuse(Refusal),
}

impl Judged {
    /// Refused only for lack of room.
    pub(super) fn lacked_room(&self) -> bool {
        matches!(self, Self::Refuse(refusal) if refusal.reason == NO_ROOM)
    }
}

/// A view that verified.
pub(super) struct Kept {
    pub(super) seq: StreamSeq,
    pub(super) sealed: Sealed,
}

/// A refused statement, with the alert that it claims to be about.
pub(super) struct Refusal {
    pub(super) seq: StreamSeq,
    pub(super) alert: Option<(AlertId, Version)>,
    pub(super) reason: &'static str,
}

/// Judges the statements of a batch of `peer`, one by one. Without `room` it refuses views, and
/// withdrawals of alerts that are not held; statements that erase are still accepted.
pub(super) fn judge(node: &Node, peer: &AuthorityId, items: &[Item], room: bool) -> Vec<Judged> {
    let judge = Judge { node, peer, room };
    items.iter().map(|item| judge.item(item)).collect()
}

struct Judge<'a> {
    node: &'a Node,
    peer: &'a AuthorityId,
    room: bool,
}

impl Judge<'_> {
    fn item(&self, item: &Item) -> Judged {
        let judged = match &item.statement {
            Statement::Alert(text) => self.alert(item, text),
            Statement::Withdrawal(text) => self.withdrawal(item, text),
            Statement::Retraction(text) => self.retraction(item, text),
        };
        judged.unwrap_or_else(|reason| {
            Judged::Refuse(Refusal { seq: item.seq, alert: self.claimed_id(item), reason })
        })
    }

    fn alert(&self, item: &Item, text: &str) -> Result<Judged, &'static str> {
        self.check_digest(item, text)?;
        let now = self.node.clock.now();
        let directory = self.node.directory.load();
        let key_of = |issuer: &AuthorityId, kid: &_| {
            (issuer == self.peer).then(|| directory.statement_key(issuer, kid, now)).flatten()
        };
        let view = alert::verify(text, key_of, self.node.clock.bounds())
            .map_err(|error| error.reason().as_str())?;
        if view.head.id.authority() != self.peer {
            return Err(NOT_THE_ISSUER);
        }
        if matching::match_keys(&view).len() > MATCH_KEYS_MAX {
            return Err("too_many_match_keys");
        }
        if !self.room {
            return Err(NO_ROOM);
        }
        // A new key each time, so that what an earlier view disclosed can be erased for good.
        let sealed = Sealed::copy(self.node, view);
        Ok(Judged::Keep(Box::new(Kept { seq: item.seq, sealed })))
    }

    fn withdrawal(&self, item: &Item, text: &str) -> Result<Judged, &'static str> {
        self.check_digest(item, text)?;
        check_length(text)?;
        let now = self.node.clock.now();
        let directory = self.node.directory.load();
        let key_of = |issuer: &AuthorityId, kid: &_| {
            (issuer == self.peer).then(|| directory.statement_key(issuer, kid, now)).flatten()
        };
        let withdrawal = alert::verify_withdrawal(text, key_of, self.node.clock.bounds())
            .map_err(|error| error.reason().as_str())?;
        if withdrawal.jti.authority() != self.peer {
            return Err(NOT_THE_ISSUER);
        }
        let held = self.node.store.get::<Copies>(&withdrawal.jti);
        if !self.room && held.is_ok_and(|held| held.is_none()) {
            return Err(NO_ROOM);
        }
        Ok(Judged::Withdraw(withdrawal, text.to_owned()))
    }

    fn retraction(&self, item: &Item, text: &str) -> Result<Judged, &'static str> {
        check_length(text)?;
        let now = self.node.clock.now();
        let directory = self.node.directory.load();
        let key_of = |kid: &_| directory.statement_key(self.peer, kid, now);
        let retraction: Retraction =
            jose::verify(RETRACTION_TYP, text, key_of).map_err(|error| error.reason().as_str())?;
        if retraction.iss != *self.peer || retraction.jti.authority() != self.peer {
            return Err(NOT_THE_ISSUER);
        }
        if retraction.aud != self.node.authority {
            return Err("not_for_this_receiver");
        }
        if retraction.in_place_of != Some(item.digest) {
            self.check_digest(item, text)?;
        }
        Ok(Judged::Retract(retraction, text.to_owned()))
    }

    fn check_digest(&self, item: &Item, text: &str) -> Result<(), &'static str> {
        let same = Digest::of(text.as_bytes()) == item.digest;
        if same { Ok(()) } else { Err("digest_differs") }
    }

    /// The id a refused statement claims, so that people can speak about it; it proves nothing.
    fn claimed_id(&self, item: &Item) -> Option<(AlertId, Version)> {
        match &item.statement {
            Statement::Alert(text) => {
                let head = alert::read(text).ok()?.head;
                Some((head.id, head.version))
            }
            Statement::Withdrawal(text) => {
                let said: Withdrawal = jose::peek(WITHDRAWAL_TYP, text).ok()?;
                Some((said.jti, said.ver))
            }
            Statement::Retraction(text) => {
                let said: Retraction = jose::peek(RETRACTION_TYP, text).ok()?;
                Some((said.jti, 0))
            }
        }
    }
}

/// Most bytes of a withdrawal or retraction: they are kept as received, and five short claims need
/// no more.
const WORD_BYTES_MAX: usize = 2048;

fn check_length(word: &str) -> Result<(), &'static str> {
    if word.len() <= WORD_BYTES_MAX { Ok(()) } else { Err("statement_too_long") }
}

/// The refusal of somebody else's alert: only its issuer may send it.
const NOT_THE_ISSUER: &str = "not_the_issuer";

/// The stable reason of an error of `alert::succeeds`, and whether it is equivocation.
pub(super) fn history_reason(error: &AlertError) -> (&'static str, bool) {
    (error.reason().as_str(), matches!(error, AlertError::Equivocation))
}
