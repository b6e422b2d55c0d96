//! Why a batch is refused.

use crate::exchange::PROTOCOLS;
use crate::id::{StreamSeq, Versions};
use crate::jose::{JoseError, SignError};
use crate::store::StoreError;
use crate::worker::Panicked;

/// Why a batch was refused; the stream ends and the sender resumes.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The sender is not an active peer now.
    #[error("the sender is not an active peer")]
    NotActive,
    /// It speaks no version of the protocol that this node does.
    #[error("{}", no_common_protocol(*.0))]
    NoCommonProtocol(Versions),
    /// This node lost state.
    #[error(
        "this node lost state, and takes nothing before its people confirmed how it goes on: try \
         again later"
    )]
    LostState,
    /// A newer stream of the same sender has begun.
    #[error("a newer stream of this sender has begun")]
    Superseded,
    /// The head does not verify.
    #[error("the head of the batch does not verify: {0}")]
    Head(JoseError),
    /// The head is for other parties or an epoch that has ended.
    #[error("the head is not for this stream")]
    Misdirected,
    /// Too many items.
    #[error("a batch has at most 64 items")]
    TooLarge,
    /// Places are missing, repeated or out of order.
    #[error("place {0} was expected next")]
    OutOfOrder(StreamSeq),
    /// The items do not give the chain value that the head was signed for.
    #[error("the chain over the items is not the one that the head was signed for")]
    Chain,
    /// The sender continues without reading receipts.
    #[error("more than 512 refusals are not acknowledged: resume the stream")]
    TooManyRefused,
    /// This node failed at judging it.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// The receipt could not be signed; what was committed is told when the stream is resumed.
    #[error("this node could not sign the receipt: resume the stream later")]
    Sign(#[from] SignError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// As the sender reads it.
fn no_common_protocol(theirs: Versions) -> String {
    let older = if theirs.max < PROTOCOLS.min { "the sender" } else { "this node" };
    format!("this node speaks protocol {PROTOCOLS}, the sender {theirs}: upgrade {older}")
}
