//! Use cases of alerts and searches, for the authority's own people. The door decides who may do
//! what.

mod conflicts;
mod create;
mod expire;
mod import;
mod imported;
mod issue;
mod list;
mod notice;
mod read;
mod reissue;
mod search;
mod status;
mod update;
mod watch;
mod withdraw;

pub use create::create;
pub use expire::expire;
pub use import::{Imported, Line, import};
pub use list::{Listed, Page, Wanted, list};
pub use notice::{
    ListedNotice, NoticePage, NoticeState, OpenedNotice, Outgoing, WantedNotices,
    acknowledge_notice, get_notice, list_notices, listed_notice, open_notices, send_notice,
};
pub use read::{Export, Opened, State, get};
pub use reissue::{Ahead, reissue};
pub use search::{Aim, Found, Hit, Justification, search};
pub use status::{ClockStatus, NodeStatus, PeerStatus, status};
pub use update::update;
pub use watch::{Place, Seen, SeenAlert, SeenNotice, changes, watch};
pub use withdraw::withdraw;

use crate::alert::{AlertError, Fault};
use crate::holding::{HoldingError, NOTICES_A_DAY_MAX, NOTICES_HELD_MAX, NOTICES_OPEN_MAX};
use crate::id::{AlertId, AuthorityId, NoticeId, Timestamp, Version};
use crate::matching::MatchError;
use crate::node::ClockDoubt;
use crate::notice::NoticeError;
use crate::reason::Reason;
use crate::store::{Erased, StoreError};

/// Longest justification or reason, in bytes.
pub const REASON_BYTES_MAX: usize = 500;

/// An own alert after it was created, updated or withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Which.
    pub id: AlertId,
    /// Its version now.
    pub version: Version,
    /// What its author should look at again.
    pub warnings: Vec<String>,
}

/// Why a desk call was refused or failed. No variant holds a value of a claim.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The draft is not permitted.
    #[error(transparent)]
    Draft(#[from] AlertError),
    /// The search is not permitted.
    #[error(transparent)]
    Query(#[from] MatchError),
    /// A mandatory reason is missing or too long.
    #[error("{0} is mandatory: 1 to 500 bytes without control characters")]
    Reason(&'static str),
    /// Not held here, or not an own alert where one is needed.
    #[error("{0} is not held here: check the id")]
    NotFound(AlertId),
    /// A received alert cannot be changed.
    #[error("{0} is another authority's alert: only its issuer changes it")]
    NotOwn(AlertId),
    /// It was erased.
    #[error("{id} is {}: its content is erased", state.as_str())]
    Gone {
        /// Which.
        id: AlertId,
        /// Why.
        state: Erased,
    },
    /// Somebody else was quicker.
    #[error("{id} has version {held} now, not {expected}: look at it again, then repeat")]
    VersionMoved {
        /// Which.
        id: AlertId,
        /// As held.
        held: Version,
        /// The version that the caller expected.
        expected: Version,
    },
    /// A check of somebody whom an own alert shows as missing or protected.
    #[error(
        "a check is incompatible with the own alert {0} on a missing or protected person: agree \
         with its case officer, then update or withdraw one of the two"
    )]
    Incompatible(AlertId),
    /// The same by a received alert, or by a match that may be another person.
    #[error(
        "{0} shows the person as missing or protected: speak to its issuer, then repeat with \
         --override-reason and your reason"
    )]
    ConfirmationNeeded(AlertId),
    /// A live own alert has the same document, vehicle identification number or plate.
    #[error(
        "the same {} as in own alerts, {}: update what is there, or repeat with --override-reason \
         and your reason",
        fields.join(" and "), named(ids)
    )]
    SameIdentifier {
        /// Own alerts that have it.
        ids: Vec<AlertId>,
        /// Types of identifier.
        fields: Vec<&'static str>,
    },
    /// The draft is of another category than the alert.
    #[error(
        "this turns the alert from {from} into {to} at every peer: give your reason with \
         --override-reason, or withdraw it and create another"
    )]
    CategoryChanges {
        /// Category it has.
        from: &'static str,
        /// Category of the draft.
        to: &'static str,
    },
    /// Another alert about the same person or thing came in at the same moment.
    #[error("{0}, about the same person or thing, came in at this moment: repeat")]
    Raced(AlertId),
    /// More values than are indexed.
    #[error("an alert has at most 24 searchable values: names with birth date, and identifiers")]
    TooManyMatchKeys,
    /// The same draft was imported before, or by another line at the same moment.
    #[error("this draft was imported before, as {0}")]
    AlreadyImported(AlertId),
    /// The same draft was imported before, and its alert is no longer live.
    #[error(
        "this line made {id} before, which was {state} on {}: give the line a new case, or import \
         it with --recreate", at.date()
    )]
    ImportEnded {
        /// The alert it made.
        id: AlertId,
        /// `withdrawn` or `expired`.
        state: &'static str,
        /// When it ended.
        at: Timestamp,
    },
    /// The issuer of a received alert permits no dissemination.
    #[error(
        "H2 stands on {0}: its issuer permits no dissemination, so it is not exported; ask the \
         issuer's 24 h desk"
    )]
    ExportBarred(AlertId),
    /// Handling codes of a received alert restrict its use.
    #[error(
        "{codes} stands on {id}: give the reason for which it is exported; it stays in this node's \
         log"
    )]
    ExportReason {
        /// Which.
        id: AlertId,
        /// `H1`, `H3` or both.
        codes: String,
    },
    /// Sixteen numbers were drawn, and all are in use.
    #[error("no unused number was found for a new alert of this year: repeat")]
    NoFreeId,
    /// The case of an erased alert is not kept.
    #[error("the case of an erased alert is erased, too: leave out the case, or list live ones")]
    CaseOfErased,
    /// The log of this node does not have this place.
    #[error(
        "this node's log does not have this place, e.g. since a backup was restored: list the \
         alerts anew, and watch from the place that the list gives"
    )]
    PlaceUnknown,
    /// The text of a notice, or of the word on who read it.
    #[error(transparent)]
    NoticeText(#[from] NoticeError),
    /// No such notice.
    #[error("{0} is not held here: check the id, or look at `entente notice list`")]
    NoticeUnknown(NoticeId),
    /// Only its receiver acknowledges a notice.
    #[error("{0} is a notice that this authority sent: only its receiver acknowledges it")]
    OwnNotice(NoticeId),
    /// It was acknowledged, with another word.
    #[error("{0} was acknowledged already: `entente notice show` says by whom")]
    NoticeAcknowledged(NoticeId),
    /// The peer is not active.
    #[error("{0} is no active peer of this authority: `entente peer list` says how it stands")]
    NotAPeer(AuthorityId),
    /// Too many to this peer today, not taken yet, or held.
    #[error(
        "too many notices for {0}: at most {NOTICES_A_DAY_MAX} go in a day, {NOTICES_OPEN_MAX} \
         wait, and {NOTICES_HELD_MAX} are kept; call its 24 h desk"
    )]
    TooManyNotices(AuthorityId),
    /// The key of the caller is too long.
    #[error("a key has at most 64 bytes")]
    NoticeKey,
    /// Another notice was sent under the caller's key.
    #[error("another notice was sent under this key: leave it out, or send the same text")]
    NoticeKeyUsed,
    /// The same call came twice at this moment.
    #[error("the same notice was sent at this moment: repeat, and nothing is sent twice")]
    NoticeRaced,
    /// The node forgot what it issued.
    #[error(
        "this node lost state and issues nothing until two people have reviewed what is in force: \
         `entente epoch recover`, then `entente epoch show`"
    )]
    LostState,
    /// The key that would sign it has expired, so peers would refuse it.
    #[error(
        "the statement key ended on {}, so nothing is created or updated: an administrator signs a \
         new descriptor (`entente-node draft`); searching and withdrawing go on", .0.date()
    )]
    KeyEnded(Timestamp),
    /// The clock shows a time that nobody has confirmed.
    #[error("{0}")]
    ClockInDoubt(Box<ClockDoubt>),
    /// A record of our own cannot be read.
    #[error(transparent)]
    Holding(#[from] HoldingError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DeskError {
    /// The faults of the draft, if they are the reason.
    pub fn faults(&self) -> &[Fault] {
        match self {
            Self::Draft(AlertError::Content(faults)) => faults.as_slice(),
            _ => &[],
        }
    }

    /// Stable and machine-readable.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Draft(error) => error.reason(),
            Self::Query(error) => error.reason(),
            Self::Reason(_) => Reason::ReasonMissing,
            Self::NotFound(_) => Reason::NotFound,
            Self::NotOwn(_) => Reason::NotOwn,
            Self::Gone { state, .. } => match state {
                Erased::Withdrawn => Reason::Withdrawn,
                Erased::Expired => Reason::Expired,
                Erased::Retracted => Reason::Retracted,
                Erased::Dropped => Reason::Dropped,
            },
            Self::VersionMoved { .. } => Reason::VersionMoved,
            Self::Incompatible(_) => Reason::Incompatible,
            Self::ConfirmationNeeded(_) => Reason::ConfirmationNeeded,
            Self::CategoryChanges { .. } => Reason::CategoryChanges,
            Self::SameIdentifier { .. } => Reason::SameIdentifier,
            Self::ImportEnded { .. } => Reason::ImportEnded,
            Self::ExportBarred(_) => Reason::ExportBarred,
            Self::ExportReason { .. } => Reason::ExportReasonMissing,
            Self::Raced(_) => Reason::Raced,
            Self::TooManyMatchKeys => Reason::TooManyMatchKeys,
            Self::AlreadyImported(_) => Reason::AlreadyImported,
            Self::NoFreeId => Reason::NoFreeId,
            Self::CaseOfErased => Reason::CaseOfErased,
            Self::PlaceUnknown => Reason::PlaceUnknown,
            Self::NoticeText(error) => error.reason(),
            Self::NoticeUnknown(_) => Reason::NoticeUnknown,
            Self::OwnNotice(_) => Reason::NotForThisReceiver,
            Self::NoticeAcknowledged(_) => Reason::NoticeAcknowledged,
            Self::NotAPeer(_) => Reason::UnknownPeer,
            Self::TooManyNotices(_) => Reason::TooManyNotices,
            Self::NoticeKey => Reason::MalformedMessage,
            Self::NoticeKeyUsed => Reason::NoticeKeyUsed,
            Self::NoticeRaced => Reason::Raced,
            Self::LostState => Reason::LostState,
            Self::KeyEnded(_) => Reason::StatementKeyEnded,
            Self::ClockInDoubt(_) => Reason::ClockInDoubt,
            Self::Holding(_) => Reason::RecordUnreadable,
            Self::Store(StoreError::Panicked(_)) => Reason::NodeFault,
            Self::Store(StoreError::Full) => Reason::DiskFull,
            Self::Store(_) => Reason::StoreUnavailable,
        }
    }
}

/// Most alerts named in one message; more are only counted.
const NAMED_MAX: usize = 8;

/// Ids for people.
fn named(ids: &[AlertId]) -> String {
    let some: Vec<String> = ids.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    match ids.len().saturating_sub(NAMED_MAX) {
        0 => some.join(", "),
        more => format!("{} and {more} more", some.join(", ")),
    }
}

/// Checks a mandatory text: a reason or justification.
fn reason<'a>(name: &'static str, text: &'a str) -> Result<&'a str, DeskError> {
    let text = text.trim();
    let sound = (1..=REASON_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    if sound { Ok(text) } else { Err(DeskError::Reason(name)) }
}
