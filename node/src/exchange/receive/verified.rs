//! A batch whose head and chain verify.

use super::error::ReceiveError;
use crate::exchange::batch::{Item, chain_next, chain_start};
use crate::exchange::statement::{Head, Refused};
use crate::id::{AuthorityId, Digest, StreamSeq};
use crate::store::StreamIn;

/// A batch whose head and chain verify, before its statements are looked at.
pub(super) struct VerifiedBatch {
    pub(super) head: Head,
    pub(super) jws: String,
    pub(super) held: StreamIn,
    /// The revision of the sender's record by which it is judged.
    pub(super) trust: u64,
    pub(super) items: Vec<Item>,
    pub(super) acknowledged: StreamSeq,
}

impl VerifiedBatch {
    /// Whether the head begins an epoch that this node has not seen.
    pub(super) fn renews(&self) -> bool {
        self.head.epoch > self.held.epoch
    }

    /// Refusals in this epoch before this batch that the sender may not know yet.
    pub(super) fn refused_open(&self) -> Vec<Refused> {
        if self.renews() {
            return Vec::new();
        }
        let open = self.held.refused.iter().filter(|(seq, _)| *seq > self.acknowledged);
        open.map(|(seq, reason)| Refused { seq: *seq, reason: reason.clone() }).collect()
    }

    fn place(&self, me: &AuthorityId) -> (StreamSeq, Digest) {
        let start = || chain_start(&self.head.iss, me, self.head.epoch);
        if self.renews() {
            return (0, start());
        }
        (self.held.seq, self.held.chain.unwrap_or_else(start))
    }

    pub(super) fn check_chain(&self, me: &AuthorityId) -> Result<(), ReceiveError> {
        let (mut seq, mut chain) = self.place(me);
        for item in &self.items {
            if item.seq != seq + 1 {
                return Err(ReceiveError::OutOfOrder(seq + 1));
            }
            seq = item.seq;
            chain = chain_next(&chain, seq, &item.digest);
        }
        let same = (self.head.seq, self.head.chain) == (seq, chain);
        if same { Ok(()) } else { Err(ReceiveError::Chain) }
    }
}
