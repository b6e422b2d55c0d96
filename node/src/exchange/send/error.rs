//! Why nothing is sent to a peer.

use crate::holding::HoldingError;
use crate::id::{AuthorityId, Timestamp};
use crate::node::NodeError;
use crate::store::StoreError;

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
    #[error(
        "this node lost state: run `entente epoch recover`, then `entente epoch show`, which says \
         how to go on"
    )]
    LostState,
    /// The statement key has ended: peers would refuse what it signs.
    #[error("the statement key ended on {}: `entente status` says what to do", .0.date())]
    KeyEnded(Timestamp),
    /// The peer was not asked, since this node lost state, what it holds of ours.
    #[error("the peer was not asked yet what it holds of this authority")]
    Unasked,
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

/// Why a stream cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The receiver holds later statements under our own signature: this node lost state.
    #[error("{0} holds later statements of this node: this node was restored from an old state")]
    LostState(AuthorityId),
    /// The receiver claims a place that we never reached, and has no head of ours to show for it.
    #[error("{0} claims a place in the stream that was never reached, without proof")]
    Unproven(AuthorityId),
    /// The receiver lost state itself.
    #[error("{0} lost state, and takes nothing before its people confirmed how it goes on")]
    PeerStopped(AuthorityId),
    /// The stream cannot be sent.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
}

impl From<StoreError> for ResumeError {
    fn from(error: StoreError) -> Self {
        Self::Dispatch(error.into())
    }
}
