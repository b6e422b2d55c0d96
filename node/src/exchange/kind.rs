//! The kinds of statements, in one table: planner, receiver and wire dispatch on it.

use super::statement::RETRACTION_TYP;
use crate::alert::{ALERT_TYP, TOKEN_BYTES_MAX, WITHDRAWAL_TYP};
use crate::audit::Event;
use crate::notice::{ACKNOWLEDGEMENT_BYTES_MAX, ACKNOWLEDGEMENT_TYP, NOTICE_BYTES_MAX, NOTICE_TYP};
use crate::store::{Offered, Subject};

/// Bytes of a withdrawal or retraction: they are kept as received, and five short claims make no
/// more.
const WORD_BYTES_MAX: usize = 2048;

/// A kind of statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A view of an alert.
    Alert,
    /// The issuer's last word on an alert, the same for everybody.
    Withdrawal,
    /// The issuer takes an alert back from this peer.
    Retraction,
    /// A text from desk to desk.
    Notice,
    /// The word that a notice was read.
    Acknowledgement,
}

/// What a peer that took a statement holds of its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// What the statement says, in place of what it held before.
    Content,
    /// Nothing any more.
    Nothing,
}

/// What is so of every statement of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// `typ` of its header.
    pub typ: &'static str,
    /// What a peer that took it holds: for the ledger.
    pub leaves: Leaves,
    /// Policy says who gets it, and when it is taken back; what is not under policy goes to the
    /// one active peer that it is addressed to.
    pub under_policy: bool,
    /// Largest as signed, in bytes.
    pub bytes_max: usize,
    /// Version of the protocol that first has it: a peer that speaks an older one is not sent it.
    pub protocol: u32,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::Alert, Self::Withdrawal, Self::Retraction, Self::Notice, Self::Acknowledgement];

    /// The kind of what stands at a place of a stream.
    pub fn of(offered: &Offered) -> Self {
        match offered {
            Offered::View { .. } => Self::Alert,
            Offered::Withdrawal(_) => Self::Withdrawal,
            Offered::Retraction(_) => Self::Retraction,
            Offered::Notice => Self::Notice,
            Offered::Acknowledgement => Self::Acknowledgement,
        }
    }

    /// The table.
    pub const fn rules(self) -> Rules {
        use Leaves::{Content, Nothing};
        let (typ, leaves, under_policy, bytes_max, protocol) = match self {
            Self::Alert => (ALERT_TYP, Content, true, TOKEN_BYTES_MAX, 1),
            Self::Withdrawal => (WITHDRAWAL_TYP, Nothing, true, WORD_BYTES_MAX, 1),
            Self::Retraction => (RETRACTION_TYP, Nothing, true, WORD_BYTES_MAX, 1),
            Self::Notice => (NOTICE_TYP, Content, false, NOTICE_BYTES_MAX, 2),
            Self::Acknowledgement => {
                (ACKNOWLEDGEMENT_TYP, Content, false, ACKNOWLEDGEMENT_BYTES_MAX, 2)
            }
        };
        Rules { typ, leaves, under_policy, bytes_max, protocol }
    }
}

/// The event, about this subject.
pub(super) fn about(event: Event, subject: &Subject) -> Event {
    match subject {
        Subject::Alert(id) => event.alert(id),
        Subject::Notice(id) | Subject::Acknowledgement(id) => event.with("notice", id.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::batch::BATCH_BYTES_MAX;

    #[test]
    fn every_kind_has_a_typ_of_its_own_and_fits_into_a_batch() {
        for kind in Kind::ALL {
            let rules = kind.rules();
            let same = Kind::ALL.into_iter().filter(|other| other.rules().typ == rules.typ);
            assert_eq!(same.count(), 1, "{kind:?}");
            assert!(rules.bytes_max <= BATCH_BYTES_MAX, "{kind:?}");
        }
    }
}
