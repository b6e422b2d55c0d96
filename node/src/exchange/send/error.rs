//! Why nothing, or nothing more, is sent to a peer.

use crate::holding::HoldingError;
use crate::id::{AuthorityId, StreamSeq, Timestamp};
use crate::jose::{JoseError, SignError};
use crate::node::NodeError;
use crate::store::StoreError;

/// Why a stream to a peer does not begin, or ends.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
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
    /// The receiver holds later statements under our own signature: this node lost state.
    #[error("{0} holds later statements of this node: this node was restored from an old state")]
    LostStateShown(AuthorityId),
    /// The receiver claims a place that we never reached, without a head of ours that proves it.
    #[error("{0} claims a place in the stream that was never reached, without proof")]
    Unproven(AuthorityId),
    /// The receiver lost state itself.
    #[error("{0} lost state, and takes nothing before its people confirmed how it goes on")]
    PeerStopped(AuthorityId),
    /// The statement key has expired: peers would refuse what it signs.
    #[error("the statement key ended on {}: `entente status` says what to do", .0.date())]
    KeyEnded(Timestamp),
    /// Since this node lost state, the peer has not been asked what it holds of ours.
    #[error("the peer was not asked yet what it holds of this authority")]
    Unasked,
    /// Another epoch, another place or another record of the peer counts since the stream began.
    #[error("the stream begins anew")]
    Moved,
    /// Not a receipt that this peer signed.
    #[error("the receipt does not verify: {0}")]
    Receipt(#[from] JoseError),
    /// A receipt of another version than the stream goes by.
    #[error("the receipt is not of the form that protocol {0} has")]
    ReceiptForm(u32),
    /// A receipt for other parties, another epoch, or a place that was never offered.
    #[error("the receipt is not for this stream")]
    Misdirected,
    /// The receipt's chain value is not ours: the receiver committed something else.
    #[error("the receipt's chain value at {0} is not the one that was sent")]
    Forked(StreamSeq),
    /// A token of our own cannot be read.
    #[error(transparent)]
    Holding(#[from] HoldingError),
    /// The node's memory could not be rebuilt.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A statement could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SendError {
    /// Stable, for logs and counters.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotActive => "not_active",
            Self::Halted(_) => "stream_halted",
            Self::LostState | Self::LostStateShown(_) => "lost_state",
            Self::Unproven(_) => "unproven_place",
            Self::PeerStopped(_) => "peer_lost_state",
            Self::KeyEnded(_) => "statement_key_ended",
            Self::Unasked => "not_asked_yet",
            Self::Moved => "stream_moved",
            Self::Receipt(_) | Self::ReceiptForm(_) | Self::Misdirected | Self::Forked(_) => {
                "receipt_refused"
            }
            Self::Holding(_) => "own_alert_unreadable",
            Self::Store(StoreError::Panicked(_)) => "node_fault",
            Self::Sign(_) => "signing_failed",
            Self::Node(_) | Self::Store(_) => "store_unavailable",
        }
    }

    /// Whether trying again soon would be useless.
    pub fn waits_for_people(&self) -> bool {
        matches!(
            self,
            Self::Halted(_)
                | Self::LostState
                | Self::LostStateShown(_)
                | Self::Unproven(_)
                | Self::PeerStopped(_)
                | Self::KeyEnded(_)
        )
    }
}
