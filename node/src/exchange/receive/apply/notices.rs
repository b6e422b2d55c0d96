//! Applies notices, and the words that notices were read.

use super::{Applying, ReceiveError, Refusal};
use crate::audit::{Event, Operation};
use crate::holding::{SealedAcknowledgement, SealedNotice, note_taken};
use crate::id::{NoticeId, StreamSeq};
use crate::reason::Reason;
use crate::store::{Notices, ParkedIn, Subject, Tx};

/// Statements of a batch that changed nothing. They are logged once for a batch: a peer that
/// repeats itself makes the log no longer than any batch does.
#[derive(Default)]
pub(super) struct Repeated {
    notices: u64,
    acknowledgements: u64,
}

impl Applying<'_> {
    /// A notice that is held already, sent again in a new epoch, changes nothing.
    pub(super) fn take_notice(
        &mut self,
        tx: &mut Tx<'_>,
        seq: StreamSeq,
        sealed: &SealedNotice,
    ) -> Result<(), ReceiveError> {
        let peer = self.arrival.peer.clone();
        let subject = Subject::Notice(sealed.id.clone());
        match tx.get::<Notices>(&(peer.clone(), sealed.id.clone()))? {
            Some(held) if held.digest != sealed.digest => {
                return self.refuse_notice(tx, seq, subject, Reason::Equivocation);
            }
            Some(_) => self.repeated.notices += 1,
            None if !sealed.enter_received(tx, &peer)? => {
                return self.refuse_notice(tx, seq, subject, Reason::TooManyNotices);
            }
            None => {
                let event = self.notice_event("notice.received", &sealed.id);
                self.events.push(event.with("jws", sealed.digest.to_string()));
            }
        }
        tx.delete::<ParkedIn>(&(peer, subject));
        Ok(())
    }

    /// The newest word stands: a receiver that was restored may have forgotten the one before.
    pub(super) fn take_acknowledgement(
        &mut self,
        tx: &mut Tx<'_>,
        seq: StreamSeq,
        sealed: &SealedAcknowledgement,
    ) -> Result<(), ReceiveError> {
        let peer = self.arrival.peer.clone();
        let key = (peer.clone(), sealed.id.clone());
        let subject = Subject::Acknowledgement(sealed.id.clone());
        note_taken(tx, &key)?;
        let Some(held) = tx.get::<Notices>(&key)? else {
            return self.refuse_notice(tx, seq, subject, Reason::NoticeUnknown);
        };
        if !sealed.is_newer(&held) {
            self.repeated.acknowledgements += 1;
        } else if sealed.enter_received(tx, &peer, held)? {
            let event = self.notice_event("notice.acknowledgement_received", &sealed.id);
            self.events.push(event.with("jws", sealed.digest.to_string()));
        } else {
            return self.refuse_notice(tx, seq, subject, Reason::TooManyNotices);
        }
        tx.delete::<ParkedIn>(&(peer, subject));
        Ok(())
    }

    /// Logs how many statements of the batch changed nothing.
    pub(super) fn log_repeated(&mut self) {
        let Repeated { notices, acknowledgements } = self.repeated;
        let counted =
            [("notice.repeated", notices), ("notice.acknowledgement_repeated", acknowledgements)];
        for (kind, count) in counted.into_iter().filter(|(_, count)| *count > 0) {
            let event = Event::new(Operation::Collect, kind, "node").peer(&self.arrival.peer);
            self.events.push(event.with("count", count));
        }
    }

    fn refuse_notice(
        &mut self,
        tx: &mut Tx<'_>,
        seq: StreamSeq,
        subject: Subject,
        reason: Reason,
    ) -> Result<(), ReceiveError> {
        let refusal = Refusal { seq, subject: Some((subject, 0)), reason };
        Ok(self.refuse(tx, refusal, reason == Reason::Equivocation)?)
    }

    fn notice_event(&self, kind: &'static str, id: &NoticeId) -> Event {
        let event = Event::new(Operation::Collect, kind, "node").peer(&self.arrival.peer);
        event.with("notice", id.to_string())
    }
}
