//! Use cases of administration: peers, the sharing policy, users, epochs. None of them gives alert
//! content, and what widens disclosure or trust takes two people.

mod checkpoint;
mod clock;
mod epochs;
mod peer_test;
mod peers;
mod policy;
mod recovery;
mod users;

pub use checkpoint::checkpoint;
pub use clock::confirm_clock;
pub use epochs::{
    Counts, Review, Reviewed, Shown, WaitingRestart, approve_epoch, propose_epoch, review_epoch,
    waiting_restarts,
};
pub use peer_test::{Described, THEIR_TRUST_HINT, TestStep, our_trust, stream, told_by};
pub use peers::{approve_peer, change_peer, import_peer, parked, retry_parked};
pub use policy::{Applied, Explained, Waiting, apply, approve, explain, pending, shown};
pub use recovery::Recovered;
pub use users::{actor, add_user, approve_user, remove_user, users};

use crate::audit::{Event, Operation};
use crate::holding::HoldingError;
use crate::home::{self, Reloaded};
use crate::id::{AlertId, AuthorityId, Timestamp};
use crate::jose::SignError;
use crate::node::{NodeError, SharedNode};
use crate::policy::PolicyError;
use crate::reason::Reason;
use crate::store::{CommitError, Committed, StoreError};
use crate::telemetry;
use crate::trust::{CertificateError, TrustError};
use crate::worker::{self, Panicked};

/// Why an administrative call was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Trust does not allow it.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The policy is refused.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A certificate does not fit.
    #[error("the certificate does not fit: {0}")]
    Certificate(#[from] CertificateError),
    /// No such peer.
    #[error("{0} is not known here: import its descriptor with `entente peer import FILE`")]
    UnknownPeer(AuthorityId),
    /// No such policy version.
    #[error("there is no policy version {0}")]
    UnknownPolicy(u64),
    /// No such alert of our own.
    #[error("{0} is not a live alert of this authority")]
    UnknownAlert(AlertId),
    /// No such user.
    #[error("no user of this name is pending or active: `entente user list` shows all")]
    UnknownUser,
    /// The user was approved already.
    #[error("this user is active already: there is nothing to approve")]
    ActiveUser,
    /// The user exists already with this key.
    #[error("this user is there already; remove it first to give it another key or other roles")]
    KnownUser,
    /// A user needs roles, a valid name and a certificate of this authority.
    #[error("{0}")]
    User(&'static str),
    /// Nothing is pending under this number.
    #[error("no proposal {0} waits: `entente policy show` and `entente status` name those that do")]
    UnknownProposal(u64),
    /// One person can't propose and approve.
    #[error("who proposed can't approve: ask another person")]
    SamePerson,
    /// The policy in force changed since the proposal was made.
    #[error("the policy in force changed since this was proposed: apply it again")]
    Outdated,
    /// Too many proposals are pending.
    #[error("too many proposals wait: approve or replace one first")]
    TooManyProposals,
    /// A mandatory reason is missing or too long.
    #[error("a reason is mandatory: 1 to 500 bytes without control characters")]
    Reason,
    /// The last active user with a role can't be removed.
    #[error("this is the last active {0}: nobody could appoint another")]
    LastOne(&'static str),
    /// The node did not lose state.
    #[error("this node did not lose state: there is nothing to start anew")]
    NotStopped,
    /// The clock shows another time than the person read.
    #[error(
        "the node's clock shows {shown}, not {read}: set the machine's clock right, or look at \
         yours again (UTC, or with its offset)"
    )]
    ClockDiffers {
        /// By the node's clock.
        shown: Timestamp,
        /// By the person's.
        read: Timestamp,
    },
    /// What is in force, or would be disclosed, differs from what was shown.
    #[error(
        "this is not what is to be confirmed now: look again with `entente epoch show`, and name \
         the review it gives"
    )]
    ReviewChanged,
    /// Peers would get alerts that had been taken back from them.
    #[error(
        "peers would get {0} alerts again that had been taken back from them: apply a narrower \
         policy or suspend the peers, and look again; if it is meant, name the number with --again \
         {0}"
    )]
    Again(u64),
    /// The files to reload do not validate.
    #[error("nothing was reloaded, the old stays in force: {0}")]
    Reload(String),
    /// Nothing could be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A record can't be read.
    #[error(transparent)]
    Holding(#[from] HoldingError),
    /// The node's memory can't be rebuilt.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The node failed at it.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AdminError {
    /// Stable and machine-readable.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Trust(error) => error.reason(),
            Self::Policy(error) => error.reason(),
            Self::Certificate(_) => Reason::CertificateNotInProfile,
            Self::UnknownPeer(_) => Reason::UnknownPeer,
            Self::UnknownPolicy(_) => Reason::UnknownPolicy,
            Self::UnknownAlert(_) => Reason::UnknownAlert,
            Self::UnknownUser => Reason::UnknownUser,
            Self::ActiveUser => Reason::ActiveUser,
            Self::KnownUser => Reason::KnownUser,
            Self::User(_) => Reason::UserRefused,
            Self::UnknownProposal(_) => Reason::UnknownProposal,
            Self::SamePerson => Reason::SamePerson,
            Self::Outdated => Reason::ProposalOutdated,
            Self::TooManyProposals => Reason::TooManyProposals,
            Self::Reason => Reason::ReasonMissing,
            Self::LastOne(_) => Reason::LastOne,
            Self::NotStopped => Reason::NotStopped,
            Self::ClockDiffers { .. } => Reason::ClockDiffers,
            Self::ReviewChanged => Reason::ReviewChanged,
            Self::Again(_) => Reason::AgainNotConfirmed,
            Self::Reload(_) => Reason::ReloadRefused,
            Self::Sign(error) => error.reason(),
            Self::Holding(_) => Reason::RecordUnreadable,
            Self::Node(_) => Reason::NodeUnreadable,
            Self::Panicked(_) | Self::Store(StoreError::Panicked(_)) => Reason::NodeFault,
            Self::Store(StoreError::Full) => Reason::DiskFull,
            Self::Store(_) => Reason::StoreUnavailable,
        }
    }
}

/// Reloads certificates, the descriptor and peers; if they do not validate, the old ones stay in
/// force. Either outcome is counted and logged.
///
/// # Errors
/// [`AdminError::Reload`] with what did not validate.
pub async fn reload(node: &SharedNode, by: &str) -> Result<Reloaded, AdminError> {
    let reloading = node.clone();
    let reloaded = worker::run(&node.authority, "reload", move || home::reload(&reloading)).await;
    let outcome = reloaded
        .map_err(AdminError::from)
        .and_then(|outcome| outcome.map_err(|error| AdminError::Reload(error.to_string())));
    let refused = outcome.as_ref().err().map(|error| match error {
        AdminError::Reload(why) => why.clone(),
        error => error.to_string(),
    });
    telemetry::reloaded(&node.authority, if refused.is_none() { "done" } else { "refused" });
    let event = Event::new(Operation::Key, "node.reloaded", by);
    let event = match &refused {
        None => event,
        Some(why) => event.with("refused", why.as_str()),
    };
    let committed = node.store.commit(|_| Ok::<_, AdminError>(Committed::new((), event)));
    committed.await.map_err(CommitError::flatten)?;
    outcome
}

/// Checks a mandatory reason.
fn reason(text: &str) -> Result<&str, AdminError> {
    let text = text.trim();
    let sound = (1..=500).contains(&text.len()) && !text.chars().any(char::is_control);
    if sound { Ok(text) } else { Err(AdminError::Reason) }
}
